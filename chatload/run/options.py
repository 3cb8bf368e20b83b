"""Options: the flag of each, how its text is parsed to a value, and how the value is written as text again.

The options of a run are declared in `chatload.run.settings`, each beside the setting that it fills. Locust's parser,
`chatload options`, docs/options.md, the report's repeat command and the comparison of settings come from them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Any, Final

from chatload.chat.settings import fractions_in
from chatload.errors import UsageError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"([0-9.eE+-]+) *(ms|s|m|h)")


def written(value: Any) -> str:
    """Return a value as text for the command line: numbers exactly, whole ones without fraction, lists with commas."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple | list):
        return ",".join(map(written, value))
    return str(value)


@dataclass(frozen=True)
class OptionKind:
    """The type of an option's value.

    parse: returns the value of a text; raises ValueError. load: returns the value that a run file has; raises a
    TypeError that says what is expected. expected: what the text must be, for error messages. write: returns the text
    for the command line. dump: returns the value as JSON. repeated: the option is written once per item of a tuple.
    """

    parse: Callable[[str], Any]
    load: Callable[[Any], Any]
    expected: str = "text"
    write: Callable[[Any], str] = written
    dump: Callable[[Any], Any] = lambda value: list(value) if isinstance(value, tuple) else value
    repeated: bool = False


def _above_0(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _duration(text: str) -> float:
    """Return the seconds in "45", "45s", "250ms", "8m" or "1h"."""
    found = _DURATION.fullmatch(text)
    return _above_0(found[1]) * _UNITS[found[2]] if found else _above_0(text)


def _share(text: str) -> float:
    """Return the share in "0.5" or "50%"."""
    return _above_0(text.removesuffix("%")) / 100 if text.endswith("%") else _above_0(text)


def _percentage(text: str) -> float:
    return _above_0(text.removesuffix("%"))


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError
        return number

    return parse


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise ValueError
    return text


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


def _is_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError("a number")
    return float(value)


def _is_whole(value: Any) -> int:
    number = _is_number(value)
    if not number.is_integer():
        raise TypeError("a whole number")
    return int(number)


def _is_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _are_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError("a list of texts")
    return tuple(value)


def _are_numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a list of numbers")
    return tuple(map(_is_number, value))


def _rounded(value: float) -> str:
    return written(round(value, 9))


TEXT: Final = OptionKind(str, _is_text)
FLAG: Final = OptionKind(lambda text: text.strip().lower() in ("true", "1", "yes", "on"), bool, "true or false")
DURATION: Final = OptionKind(_duration, _is_number, "a duration above 0, such as 300, 300s or 5m")
DURATION_OR_0: Final = OptionKind(
    lambda text: 0.0 if text == "0" else _duration(text), _is_number, "0, or a duration such as 24h"
)
RUN_TIME: Final = OptionKind(_duration, _is_number, DURATION.expected, write=lambda seconds: f"{written(seconds)}s")
NUMBER: Final = OptionKind(_above_0, _is_number, "a number above 0")
SHARE: Final = OptionKind(_share, _is_number, "a share above 0, such as 0.5 or 50%")
#: PERCENT: text and value are percentages. CONFIDENCE: the text is a percentage, the value lies between 0 and 1.
PERCENT: Final = OptionKind(_percentage, _is_number, "a percentage above 0, such as 5 or 5%", write=_rounded)
CONFIDENCE: Final = OptionKind(
    lambda text: round(_percentage(text) / 100, 9),
    _is_number,
    "a percentage such as 95",
    write=lambda share: _rounded(100 * share),
)
WHOLE: Final = OptionKind(_whole(0), _is_whole, "a whole number from 0 on")
COUNT: Final = OptionKind(_whole(1), _is_whole, "a whole number from 1 on")
FILE: Final = OptionKind(_file, _is_text, "a file that exists")
WORDS: Final = OptionKind(_split, _are_texts, "words")
PARTS: Final = OptionKind(fractions_in, _are_numbers, "parts of the timeout, such as 0.5,0.9,1.02")
EXPRESSIONS: Final = OptionKind(_split, _are_texts, "thresholds", repeated=True)
#: Host names separated by ";", in JSON too.
HOSTS: Final = OptionKind(_split, lambda value: _split(_is_text(value)), "host names", write="; ".join, dump="; ".join)


class OptionGroup(StrEnum):
    """Who declares an option, and which locustfiles have it."""

    RUN = "every locustfile"
    ARRIVALS = "locustfiles/arrivals.py"
    SWEEP = "locustfiles/interval_sweep.py"
    CAPACITY = "locustfiles/capacity.py"
    LOCUST = "Locust itself"


@dataclass(frozen=True)
class Option:
    """One option of the command line.

    default: as text, for the parser and the web UI; "": not set. choices: the texts that are allowed. environment: it
    can be set by its environment variable. web_ui: it can be set in Locust's web UI. attribute: its name in the parsed
    options, if it differs from the flag.
    """

    flag: str
    help: str = ""
    default: str = ""
    kind: OptionKind = TEXT
    metavar: str = ""
    choices: tuple[str, ...] = ()
    group: OptionGroup = OptionGroup.RUN
    environment: bool = True
    web_ui: bool = True
    attribute: str = ""

    @property
    def dest(self) -> str:
        """The name of its attribute in the parsed options."""
        return self.attribute or self.flag.strip("-").replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable that sets it; "" if there is none."""
        return "CHATLOAD_" + self.dest.upper() if self.environment and self.group is not OptionGroup.LOCUST else ""

    def value(self, given: Any) -> Any:
        """Return the value of what the parser gave; None if it is not set.

        Raises:
            UsageError: the text is not a value of this option.
        """
        if given is None or given in ("", "None"):
            return None
        if not isinstance(given, str):
            return tuple(given) if isinstance(given, list) else given
        if self.group is OptionGroup.LOCUST and self.kind is not TEXT:
            return None  # a text from the form of the web UI: Locust itself parses it later
        if self.choices and given not in self.choices:
            raise UsageError(f"{self.flag} {given}: expected one of {', '.join(filter(None, self.choices))}")
        try:
            return self.kind.parse(given.strip())
        except ValueError:
            raise UsageError(f"{self.flag} {given}: expected {self.kind.expected}") from None

    def words(self, value: Any) -> list[list[str]]:
        """Return the words of the command line that set it to this value, one list for each use of the option."""
        if self.kind is FLAG:
            return [[self.flag]]
        if self.kind is WORDS:
            # A word that begins with a dash would be read as an option.
            return [[self.flag, *(word for word in value if not word.startswith("-"))]]
        texts = map(written, value) if self.kind.repeated else [self.kind.write(value)]
        return [[f"{self.flag}={text}"] if text.startswith("-") else [self.flag, text] for text in texts]

    def add_to(self, parser: Any, **more: Any) -> None:
        """Add it to an argparse parser, or to one of its groups; more: further arguments of `add_argument`."""
        if self.kind is FLAG:
            parser.add_argument(self.flag, default=False, action="store_true", help=self.help, **more)
            return
        if self.choices:
            more["choices"] = list(self.choices)
        else:
            more["metavar"] = self.metavar
        if self.kind in (EXPRESSIONS, HOSTS):
            more["action"] = _Joined
        parser.add_argument(self.flag, default=self.default, help=self.help, **more)


class _Joined(argparse._AppendAction):
    """A repeatable option whose value is one text, joined with "; ": Locust's web UI cannot show a list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add a value; the first one replaces the default."""
        given = getattr(namespace, f"_{self.dest}", [])
        setattr(namespace, f"_{self.dest}", [*given, values])
        setattr(namespace, self.dest, "; ".join([*given, values]))
