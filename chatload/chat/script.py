"""The customer's script: what one customer does, as a small value with seeded distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import exp, log
from pathlib import Path
from typing import Any

from chatload.chat.draws import Draws
from chatload.chat.extras import EXTRA_FIELDS, Extra, plan
from chatload.errors import FileError
from chatload.protocol.operations import UPLOAD, USER_DATA, USER_DATA_PREFIX
from chatload.protocol.toml_file import parse_toml, read_toml

_SHAPES: Mapping[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("low", "high"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
}


#: No number in a script is larger (seconds: 30 years), and no sigma: from there on a draw may be no number.
_MOST, _MOST_SIGMA = 1e9, 10.0
#: No message is longer, whatever was drawn (bytes).
_LONGEST_MESSAGE = 2**20


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of non-negative numbers (seconds, or counts after rounding).

    shape: fixed(value), uniform(low, high), exponential(mean), lognormal(median, sigma of the log).
    """

    shape: str
    a: float
    b: float = 0.0

    def sample(self, random: Draws) -> float:
        """One draw."""
        if self.shape == "fixed":
            return self.a
        if self.shape == "uniform":
            return random.uniform(self.a, self.b)
        if self.shape == "exponential":
            return random.expovariate(1 / self.a) if self.a else 0.0
        return self.a * exp(random.gauss(0.0, self.b))

    def mean(self) -> float:
        """The expected value."""
        if self.shape == "uniform":
            return (self.a + self.b) / 2
        return exp(log(self.a) + self.b**2 / 2) if self.shape == "lognormal" and self.a else self.a


@dataclass(frozen=True, slots=True)
class CustomerScript:
    """What customers do. Times in seconds.

    chat_length: from the accepted RequestChat to Disconnect. messages: how many the customer
    sends at most. think: from an agent's words to the next typing. typing: how long a message is
    typed. shows_typing: StartTyping and StopTyping are sent. waits_for_agent: nothing is said
    before an agent has joined. answer_patience: how long an answer is awaited before speaking on.
    hesitation: between a message typed and sent, for the persona `widget`. extras: other operations,
    each once in a chat with a chance of its own.
    """

    chat_length: Distribution = Distribution("exponential", 60.0)
    messages: Distribution = Distribution("uniform", 1.0, 6.0)
    think: Distribution = Distribution("lognormal", 3.0, 0.6)
    typing: Distribution = Distribution("lognormal", 2.0, 0.5)
    answer_patience: Distribution = Distribution("fixed", 20.0)
    message_bytes: Distribution = Distribution("uniform", 10.0, 120.0)
    shows_typing: bool = True
    waits_for_agent: bool = True
    hesitation: Distribution = Distribution("fixed", 0.0)
    nickname: str = "chatload"
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    subject: str = "load test"
    extras: tuple[Extra, ...] = ()

    def introduction(self) -> dict[str, str]:
        """The fields of RequestChat: nickname or names, e-mail address and subject, where they are given."""
        names = ("nickname", "first_name", "last_name", "email", "subject")
        return {name: value for name in names if (value := getattr(self, name))}

    def with_chat_length(self, mean_s: float) -> CustomerScript:
        """This script with exponential chat lengths of the given mean (seconds)."""
        return replace(self, chat_length=Distribution("exponential", mean_s))


_WORDS = "the quick brown fox jumps over the lazy dog while nobody watches the clock "


@dataclass(slots=True)
class Action:
    """Something the customer is going to do: the operation, due at an instant, with what it carries."""

    due: float
    operation: str
    message: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


@dataclass(slots=True)
class Customer:
    """One customer following a script. `begin`, then `action` and `done` / `heard` in turn.

    Deterministic in (script, seed, the instants it is told).
    """

    script: CustomerScript
    random: Draws
    end_at: float = 0.0
    left: int = 0
    action: Action | None = None
    extras: list[Action] = field(default_factory=list)
    _waiting_agent: bool = field(default=False)

    def begin(self, now: float) -> None:
        """The chat was accepted at `now`."""
        script = self.script
        self.end_at = now + script.chat_length.sample(self.random)
        self.left = round(script.messages.sample(self.random))
        for due, extra in plan(script.extras, self.random, now, self.end_at) if script.extras else ():
            self.extras.append(Action(due, extra.operation, "", extra.fields, extra.content(self.random)))
        self._waiting_agent = script.waits_for_agent
        if not self._waiting_agent:
            self._think(now)

    def next(self) -> Action | None:
        """What comes first: of the conversation, or an extra."""
        extras, action = self.extras, self.action
        if extras and (action is None or extras[0].due < action.due):
            return extras[0]
        return action

    def done(self, now: float, action: Action) -> None:
        """What `next` gave was carried out (well or not) by `now`."""
        script = self.script
        if self.extras and action is self.extras[0]:
            del self.extras[0]
            return
        if action.operation == "StartTyping":
            self.action = Action(now + script.typing.sample(self.random), "StopTyping")
        elif action.operation == "StopTyping":
            self.action = Action(now, "SendMessage", self._text())
        else:
            self.left -= 1
            self._think(now + script.answer_patience.sample(self.random))

    def heard(self, kind: str, now: float) -> None:
        """An agent did `kind` ("ParticipantJoined" or "Message"), learned at `now`."""
        if kind == "ParticipantJoined" and self._waiting_agent:
            self._waiting_agent = False
            self._think(now)
        elif kind == "Message" and self.action and self.action.operation in _OPENERS:
            self._think(min(now, self.action.due))

    def _think(self, since: float) -> None:
        """Plan the next utterance a thinking time after `since`."""
        if self.left <= 0:
            self.action = None
            return
        script = self.script
        due = since + script.think.sample(self.random)
        if script.shows_typing:
            self.action = Action(due, "StartTyping")
        else:
            self.action = Action(due + script.typing.sample(self.random), "SendMessage", self._text())

    def _text(self) -> str:
        length = min(max(1, round(self.script.message_bytes.sample(self.random))), _LONGEST_MESSAGE)
        return (_WORDS * (length // len(_WORDS) + 1))[:length]


_OPENERS = frozenset({"StartTyping", "SendMessage"})


def load_script(path: str | Path) -> CustomerScript:
    """A CustomerScript from a TOML file; raises FileError naming file, key and what was expected."""
    return _script(read_toml(path), path)


def parse_script(text: str, source: str) -> CustomerScript:
    """A CustomerScript from TOML text; `source` names it in errors."""
    return _script(parse_toml(text, source), source)


def _script(data: dict[str, Any], path: str | Path) -> CustomerScript:
    known = {f.name: f.type for f in fields(CustomerScript)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise FileError(path, key, f"unknown key; expected one of {', '.join(known)}")
        if known[key] == "Distribution":
            values[key] = _distribution(path, key, value)
        elif key == "extras":
            values[key] = _extras(path, value)
        elif known[key] == "bool":
            if not isinstance(value, bool):
                raise FileError(path, key, "expected true or false")
            values[key] = value
        else:
            if not isinstance(value, str) or not value:
                raise FileError(path, key, "expected text")
            values[key] = value
    return CustomerScript(**values)


def _extras(path: str | Path, value: Any) -> tuple[Extra, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise FileError(path, "extras", "expected [[extras]] tables")
    return tuple(_extra(path, f"extras[{i}]", item) for i, item in enumerate(value))


def _extra(path: str | Path, key: str, item: dict[str, Any]) -> Extra:
    operation = str(item.get("operation"))
    if operation not in EXTRA_FIELDS:
        raise FileError(path, f"{key}.operation", f"expected one of {', '.join(EXTRA_FIELDS)}")
    chance = item.get("chance", 1.0)
    if not _is_number(chance) or chance > 1:
        raise FileError(path, f"{key}.chance", "expected a number from 0 to 1")
    size = _distribution(path, f"{key}.size", item["size"]) if operation == UPLOAD and "size" in item else None
    fields = {"file_name": "chatload.txt", "file_type": "text/plain"} if operation == UPLOAD else {}
    for name, said in item.items():
        if name in EXTRA_FIELDS[operation] and name == USER_DATA and isinstance(said, dict):
            fields |= {f"{USER_DATA_PREFIX}{ours}": str(text) for ours, text in said.items()}
        elif name in EXTRA_FIELDS[operation] and isinstance(said, str) and said:
            fields[name] = said
        elif name not in ("operation", "chance") and (name != "size" or operation != UPLOAD):
            known = ", ".join(("chance", *EXTRA_FIELDS[operation], *(("size",) if operation == UPLOAD else ())))
            raise FileError(path, f"{key}.{name}", f"{operation} takes {known}, each as text but for chance")
    return Extra(operation, float(chance), fields, size)


def _distribution(path: str | Path, key: str, value: Any) -> Distribution:
    if _is_number(value):
        return Distribution("fixed", float(value))
    if not isinstance(value, dict) or value.get("shape") not in _SHAPES:
        raise FileError(path, key, f"expected a number or a table with shape = one of {', '.join(_SHAPES)}")
    names = _SHAPES[value["shape"]]
    if set(value) != {"shape", *names} or not all(_is_number(value[name]) for name in names):
        raise FileError(path, key, f"shape {value['shape']} expects {' and '.join(names)}, numbers from 0 to {_MOST:g}")
    numbers = [float(value[name]) for name in names]
    if value["shape"] == "uniform" and numbers[0] > numbers[1]:
        raise FileError(path, key, "expected low not above high")
    if value["shape"] == "lognormal" and numbers[1] > _MOST_SIGMA:
        raise FileError(path, key, f"expected sigma not above {_MOST_SIGMA:g}: it is of the logarithm")
    return Distribution(value["shape"], *numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST
