"""The customer's script: what one customer does, as a small value with seeded distributions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any

from chatload.errors import FileError
from chatload.protocol.toml_file import read_toml

_SHAPES: Mapping[str, tuple[str, ...]] = {
    "fixed": ("value",),
    "uniform": ("low", "high"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of non-negative numbers (seconds, or counts after rounding).

    shape: fixed(value), uniform(low, high), exponential(mean), lognormal(median, sigma of the log).
    """

    shape: str
    a: float
    b: float = 0.0

    def sample(self, random: Random) -> float:
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
    hesitation: between a message typed and sent, for the persona `widget`.
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
    """Something the customer is going to do: the operation, due at an instant, with its text."""

    due: float
    operation: str
    message: str = ""


@dataclass(slots=True)
class Customer:
    """One customer following a script. `begin`, then `action` and `done` / `heard` in turn.

    Deterministic in (script, seed, the instants it is told).
    """

    script: CustomerScript
    random: Random
    end_at: float = 0.0
    left: int = 0
    action: Action | None = None
    _waiting_agent: bool = field(default=False)

    def begin(self, now: float) -> None:
        """The chat was accepted at `now`."""
        script = self.script
        self.end_at = now + script.chat_length.sample(self.random)
        self.left = round(script.messages.sample(self.random))
        self._waiting_agent = script.waits_for_agent
        if not self._waiting_agent:
            self._think(now)

    def done(self, now: float) -> None:
        """The pending action was carried out (well or not) by `now`."""
        action, script = self.action, self.script
        if action is None:
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
        length = max(1, round(self.script.message_bytes.sample(self.random)))
        return (_WORDS * (length // len(_WORDS) + 1))[:length]


_OPENERS = frozenset({"StartTyping", "SendMessage"})


def load_script(path: str | Path) -> CustomerScript:
    """A CustomerScript from TOML; raises FileError naming file, key and what was expected."""
    data = read_toml(path)
    known = {f.name: f.type for f in fields(CustomerScript)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            raise FileError(path, key, f"unknown key; expected one of {', '.join(known)}")
        if known[key] == "Distribution":
            values[key] = _distribution(path, key, value)
        elif known[key] == "bool":
            if not isinstance(value, bool):
                raise FileError(path, key, "expected true or false")
            values[key] = value
        else:
            if not isinstance(value, str) or not value:
                raise FileError(path, key, "expected text")
            values[key] = value
    return CustomerScript(**values)


def _distribution(path: str | Path, key: str, value: Any) -> Distribution:
    if _is_number(value):
        return Distribution("fixed", float(value))
    if not isinstance(value, dict) or value.get("shape") not in _SHAPES:
        raise FileError(path, key, f"expected a number or a table with shape = one of {', '.join(_SHAPES)}")
    names = _SHAPES[value["shape"]]
    if set(value) != {"shape", *names} or not all(_is_number(value[name]) for name in names):
        raise FileError(path, key, f"shape {value['shape']} expects {' and '.join(names)}, numbers not below 0")
    numbers = [float(value[name]) for name in names]
    if value["shape"] == "uniform" and numbers[0] > numbers[1]:
        raise FileError(path, key, "expected low not above high")
    return Distribution(value["shape"], *numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
