"""The customer's script: what a customer does and when, with random times and numbers. It is read from TOML."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from math import ceil, exp, log
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from chatload.chat.customer import INTRODUCTION, ChatCustomer
from chatload.chat.feeder import NO_ROW, Feeder, Row, columns_in, filled
from chatload.errors import FileError
from chatload.protocol.operations import CORE, FILE, OPERATION_FIELDS, UPLOAD, USER_DATA, USER_DATA_PREFIX
from chatload.protocol.toml_file import MistakeError, checked, load_toml
from chatload.random_numbers import SplitMix64
from chatload.units import DURATION_OR_0

#: Operations that a script may add, and the fields of each that the script may give (the engine gives the others).
EXTRA_FIELDS: Mapping[str, tuple[str, ...]] = {
    operation: tuple(
        f for f in fields if f in ("nickname", "first_name", "last_name", "url", "message", USER_DATA, *FILE)
    )
    for operation, fields in OPERATION_FIELDS.items()
    if operation not in CORE
}
#: Operations that need a file from an upload in the same chat.
OF_A_FILE = frozenset({"FileDownload", "FileDelete"})
#: The persona `widget` sends StopTyping after this time without a keystroke (seconds).
STOP_TYPING_S = 2.0

_SHAPES: Mapping[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("low", "high"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
}
#: The largest number in a script (30 years, in seconds), and the largest sigma: above it a sample may overflow.
_MOST, _MOST_SIGMA = 1e9, 10.0
#: The longest message and the largest upload (bytes). Larger samples are cut.
_LONGEST_MESSAGE, _MOST_UPLOAD = 2**20, 64 * 2**20
_WORDS = "the quick brown fox jumps over the lazy dog while nobody watches the clock "
_OPENERS = frozenset({"StartTyping", "SendMessage"})
#: More messages than a chat has.
_NO_LIMIT = 2**31


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of numbers of 0 or more: fixed(value), uniform(low, high), exponential(mean) or lognormal(median,
    sigma of the logarithm)."""

    shape: str
    a: float
    b: float = 0.0

    def sample(self, random: SplitMix64) -> float:
        if self.shape == "fixed":
            return self.a
        if self.shape == "uniform":
            return random.uniform(self.a, self.b)
        if self.shape == "exponential":
            return random.expovariate(1 / self.a) if self.a else 0.0
        return self.a * exp(random.gauss(0.0, self.b))

    def mean(self) -> float:
        if self.shape == "uniform":
            return (self.a + self.b) / 2
        return exp(log(self.a) + self.b**2 / 2) if self.shape == "lognormal" and self.a else self.a


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST


def _distribution(value: Any, *key: str) -> Distribution:
    """Return a distribution from a script: a number, or a table. key: where it is, from the place that is validated."""
    if isinstance(value, Distribution):
        return value
    if _is_number(value):
        return Distribution("fixed", float(value))
    shape = value.get("shape") if isinstance(value, dict) else None
    if not isinstance(shape, str) or shape not in _SHAPES:
        raise MistakeError(f"expected a number or a table with shape = one of {', '.join(_SHAPES)}", *key)
    names = _SHAPES[shape]
    if set(value) != {"shape", *names} or not all(_is_number(value[name]) for name in names):
        raise MistakeError(f"shape {shape} expects {' and '.join(names)}, numbers from 0 to {_MOST:g}", *key)
    numbers = [float(value[name]) for name in names]
    if shape == "uniform" and numbers[0] > numbers[1]:
        raise MistakeError("expected low not above high", *key)
    if shape == "lognormal" and numbers[1] > _MOST_SIGMA:
        raise MistakeError(f"expected sigma not above {_MOST_SIGMA:g}: the deviation of the logarithm", *key)
    return Distribution(shape, *numbers)


def _times(value: Any) -> Any:
    """Return a distribution of times with its texts ("2s", "250ms") as seconds; a text that is no time is left."""
    if isinstance(value, dict):
        return {name: inner if name in ("shape", "sigma") else _times(inner) for name, inner in value.items()}
    with suppress(ValueError):
        return DURATION_OR_0.read(value) if isinstance(value, str) else value
    return value


_Distributed = Annotated[Distribution, BeforeValidator(_distribution)]
_Times = Annotated[Distribution, BeforeValidator(lambda value: _distribution(_times(value)))]
_Text = Annotated[str, Field(strict=True, min_length=1)]
_Truth = Annotated[bool, Field(strict=True)]


@dataclass(frozen=True, slots=True)
class Extra:
    """Another operation of the chat service, done once in a chat with probability `chance` (0..1).

    fields: names as in `chatload.protocol.operations`; user data as user_data.KEY. size: bytes of an upload.
    """

    operation: str
    chance: float = 1.0
    fields: Mapping[str, str] = field(default_factory=dict)
    size: Distribution | None = None

    def content(self, random: SplitMix64) -> bytes | None:
        if self.operation != UPLOAD:
            return None
        return b"." * (1 if self.size is None else min(max(1, round(self.size.sample(random))), _MOST_UPLOAD))


def _extra(value: Any) -> Extra:
    if isinstance(value, Extra):
        return value
    operation, chance = str(value.get("operation")), value.get("chance", 1.0)
    if operation not in EXTRA_FIELDS:
        raise MistakeError(f"expected one of {', '.join(EXTRA_FIELDS)}", "operation")
    if not _is_number(chance) or chance > 1:
        raise MistakeError("expected a number from 0 to 1", "chance")
    known = ("chance", *EXTRA_FIELDS[operation], *(("size",) if operation == UPLOAD else ()))
    size = None
    fields = {"file_name": "chatload.txt", "file_type": "text/plain"} if operation == UPLOAD else {}
    for name, given in value.items():
        if name == USER_DATA and name in known and isinstance(given, dict):
            fields |= {f"{USER_DATA_PREFIX}{key}": str(text) for key, text in given.items()}
        elif name == "size" and name in known:
            size = _distribution(given, name)
        elif name in EXTRA_FIELDS[operation] and isinstance(given, str) and given:
            fields[name] = given
        elif name not in ("operation", "chance"):
            raise MistakeError(f"{operation} takes {', '.join(known)}, each as text but for chance", name)
    return Extra(operation, float(chance), fields, size)


def _user_data(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(text, str | int | float) for text in value.values()):
        raise MistakeError('expected a table of texts, such as CustomerId = "{id}"')
    return {key: text if isinstance(text, str) else _scalar(text) for key, text in value.items()}


def _scalar(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _extras(value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(isinstance(item, dict | Extra) for item in value):
        raise ValueError("expected [[extras]] tables")
    return tuple(value)


@dataclass(frozen=True, slots=True)
class CustomerScript:
    """What customers do. Times in seconds. The types are checked if a script is read from a file.

    In a file a time may have a unit: "2s", "250ms".

    chat_length: from the accepted RequestChat to Disconnect. messages: how many the customer sends at most.
    think: from an agent's message until the customer starts typing. typing: how long one message is typed.
    answer_patience: how long the customer waits for an answer before going on.
    shows_typing: StartTyping and StopTyping are sent. waits_for_agent: nothing is sent before an agent has joined.
    hesitation: from the last keystroke to the sending of a message, for the persona `widget`.
    nickname to subject, and user_data: sent with RequestChat; {COLUMN} in such a text is a value of the feeder.
    feeder: gives each chat a row of values.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    chat_length: _Times = Distribution("exponential", 60.0)
    messages: _Distributed = Distribution("uniform", 1.0, 6.0)
    think: _Times = Distribution("lognormal", 3.0, 0.6)
    typing: _Times = Distribution("lognormal", 2.0, 0.5)
    answer_patience: _Times = Distribution("fixed", 20.0)
    message_bytes: _Distributed = Distribution("uniform", 10.0, 120.0)
    shows_typing: _Truth = True
    waits_for_agent: _Truth = True
    hesitation: _Times = Distribution("fixed", 0.0)
    nickname: _Text = "chatload"
    first_name: _Text = ""
    last_name: _Text = ""
    email: _Text = ""
    subject: _Text = "load test"
    user_data: Annotated[Mapping[str, str], BeforeValidator(_user_data)] = field(default_factory=dict)
    feeder: Feeder | None = None
    extras: Annotated[tuple[Annotated[Extra, BeforeValidator(_extra)], ...], BeforeValidator(_extras)] = ()

    def customer(self, number: int = 0, row: Row = NO_ROW) -> ChatCustomer:
        """Return the customer of one chat. row: of the feeder; it has all columns that the texts name."""
        nickname, first_name, last_name, email, subject = (filled(getattr(self, name), row) for name in INTRODUCTION)
        data = {key: filled(text, row) for key, text in self.user_data.items()}
        return ChatCustomer(number, nickname, first_name, last_name, email, subject, data, row)

    def check_columns(self, source: str, columns: Collection[str]) -> None:
        """Raise FileError if a text names a column that is not one of `columns`. source: of the script, for errors."""
        texts = {name: getattr(self, name) for name in INTRODUCTION}
        texts |= {f"{USER_DATA}.{key}": text for key, text in self.user_data.items()}
        for key, text in texts.items():
            try:
                unknown = [name for name in columns_in(text) if name not in columns]
            except ValueError as error:
                raise FileError(source, key, str(error)) from None
            if unknown and self.feeder is None:
                raise FileError(source, key, f"{{{unknown[0]}}} needs a [feeder]; write {{{{ for the brace itself")
            if unknown and self.feeder is not None:
                known = ", ".join(columns)
                raise FileError(source, key, f"{{{unknown[0]}}} is no column of {self.feeder.file}, which has {known}")

    def with_chat_length(self, mean_s: float) -> CustomerScript:
        """Return this script with exponential chat lengths of this mean (seconds)."""
        return replace(self, chat_length=Distribution("exponential", mean_s))


@dataclass(slots=True)
class Action:
    """The customer's next operation. content: the bytes of an upload."""

    due: float
    operation: str
    message: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


@dataclass(slots=True)
class Customer:
    """One customer, who follows a script. Call `begin`, then `next`, `done` and `heard` as things happen.

    drafts: the client reports what the customer types: the text is fixed at the first keystroke, and a pause is sent as
        StopTyping.
    text: with drafts, the text in the input field: typed during typing_s from typing_from on, sent at sends_at.
    end_at: when the customer ends the chat. left: messages left to send.
    asks: the text of a message is asked for when the customer begins to write it (see `begin_message`).
    """

    script: CustomerScript
    random: SplitMix64
    drafts: bool = False
    asks: bool = False
    end_at: float = 0.0
    left: int = 0
    action: Action | None = None
    extras: list[Action] = field(default_factory=list)
    text: str = ""
    typing_from: float = 0.0
    typing_s: float = 0.0
    sends_at: float = 0.0
    _waiting_agent: bool = False

    def begin(self, now: float) -> None:
        """Begin the conversation: the chat was accepted."""
        script, random = self.script, self.random
        self.end_at = now + script.chat_length.sample(random)
        self.left = round(script.messages.sample(random))
        if self.asks:
            self.left = _NO_LIMIT
        if script.extras:
            # In the order of the script, at instants spread over the chat.
            chosen = [extra for extra in script.extras if random.random() < extra.chance]
            instants = sorted(random.uniform(now, self.end_at) for _ in chosen)
            self.extras = [
                Action(due, extra.operation, "", extra.fields, extra.content(random))
                for due, extra in zip(instants, chosen, strict=True)
            ]
        self._waiting_agent = script.waits_for_agent
        if not self._waiting_agent:
            self._think(now)

    def next(self) -> Action | None:
        """Return what is due first: the next step of the conversation, or an extra."""
        extras, action = self.extras, self.action
        if extras and (action is None or extras[0].due < action.due):
            return extras[0]
        return action

    def done(self, now: float, action: Action) -> None:
        """Plan the next action: the one that `next` returned was carried out by `now`, successfully or not."""
        script, random, operation = self.script, self.random, action.operation
        if self.extras and action is self.extras[0]:
            del self.extras[0]
        elif operation == "StartTyping" and self.drafts:
            self.typing_from, self.typing_s = now, script.typing.sample(random)
            stops_at = now + self.typing_s + STOP_TYPING_S
            self.sends_at = sends_at = now + self.typing_s + script.hesitation.sample(random)
            stops = stops_at < sends_at
            self.action = Action(stops_at, "StopTyping") if stops else Action(sends_at, "SendMessage", self.text)
        elif operation == "StartTyping":
            self.action = Action(now + script.typing.sample(random), "StopTyping")
        elif operation == "StopTyping":
            due = max(now, self.sends_at) if self.drafts else now
            self.action = Action(due, "SendMessage", self.text or self._new_text())
        else:
            self.text = ""
            self.left -= 1
            self._think(now + script.answer_patience.sample(random))

    def begin_message(self, action: Action, text: str | None) -> bool:
        """Take the text of the message that begins with `action`, None if there is none; return whether there is."""
        if not text:
            self.left, self.action = 0, None
            return False
        self.text = text
        if action.operation == "SendMessage":
            action.message = text
        elif self.drafts:
            action.message = text[:1]
        return True

    def begins_message(self, action: Action) -> bool:
        """Return whether the customer begins to write a message with this action."""
        return action is self.action and action.operation in _OPENERS and not self.text

    def heard(self, kind: str, now: float) -> None:
        """React to an event of an agent ("ParticipantJoined" or "Message") that was received at `now`."""
        if kind == "ParticipantJoined" and self._waiting_agent:
            self._waiting_agent = False
            self._think(now)
        elif kind == "Message" and self.action and self.action.operation in _OPENERS:
            self._think(min(now, self.action.due))

    def draft(self, now: float) -> str:
        """Return the part of `text` that is typed by `now`."""
        if not self.text or self.action is None or self.action.operation == "StartTyping":
            return ""
        typed = 1.0 if self.typing_s <= 0 else min(1.0, max(0.0, now - self.typing_from) / self.typing_s)
        return self.text[: max(1, ceil(typed * len(self.text)))]

    def _think(self, since: float) -> None:
        """Plan the next message: the customer thinks first, from `since` on."""
        if self.left <= 0:
            self.action = None
            return
        script, random = self.script, self.random
        due = since + script.think.sample(random)
        if not script.shows_typing:
            text = "" if self.asks else self._new_text()
            self.action = Action(due + script.typing.sample(random), "SendMessage", text)
        elif self.drafts and not self.asks:
            self.text = self._new_text()
            self.action = Action(due, "StartTyping", self.text[:1])
        else:
            self.action = Action(due, "StartTyping")

    def _new_text(self) -> str:
        length = min(max(1, round(self.script.message_bytes.sample(self.random))), _LONGEST_MESSAGE)
        return (_WORDS * (length // len(_WORDS) + 1))[:length]


def checked_script(script: CustomerScript, source: str) -> CustomerScript:
    """Return a script that was written in Python, with its values checked as those of a file. Raises FileError.

    source: names it in errors. A number may stand for a fixed Distribution.
    """
    plain = CustomerScript()
    values = {one.name: getattr(script, one.name) for one in fields(CustomerScript)}
    given = {name: value for name, value in values.items() if value != getattr(plain, name)}
    if isinstance(script.feeder, Feeder):
        given["feeder"] = {one.name: getattr(script.feeder, one.name) for one in fields(Feeder)}
    empty: dict[str, Any] = {name: "" for name, value in given.items() if value == "" and name in INTRODUCTION}
    made = checked({name: value for name, value in given.items() if name not in empty}, CustomerScript, source)
    return replace(made, **empty)


def script_table(script: CustomerScript) -> dict[str, Any]:
    """Return a script as the table of its TOML file, without the values that are defaults."""
    plain = CustomerScript()
    table = {}
    for one in fields(CustomerScript):
        value = getattr(script, one.name)
        if value != getattr(plain, one.name):
            table[one.name] = _as_toml(value)
    return table


def _as_toml(value: Any) -> Any:
    if isinstance(value, Distribution):
        if value.shape == "fixed":
            return value.a
        return {"shape": value.shape, **dict(zip(_SHAPES[value.shape], (value.a, value.b), strict=False))}
    if isinstance(value, Feeder):
        return {one.name: text for one in fields(Feeder) if (text := getattr(value, one.name))}
    if isinstance(value, Extra):
        data = {k.removeprefix(USER_DATA_PREFIX): v for k, v in value.fields.items() if k.startswith(USER_DATA_PREFIX)}
        given = {k: v for k, v in value.fields.items() if not k.startswith(USER_DATA_PREFIX)}
        size = {} if value.size is None else {"size": _as_toml(value.size)}
        user_data = {USER_DATA: data} if data else {}
        return {"operation": value.operation, "chance": value.chance, **given, **size, **user_data}
    if isinstance(value, tuple):
        return list(map(_as_toml, value))
    return dict(value) if isinstance(value, Mapping) else value


def load_script(path: str | Path) -> CustomerScript:
    """Return the CustomerScript in a TOML file. Raises FileError."""
    return load_toml(path, CustomerScript)
