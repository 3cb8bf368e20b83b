"""Quantities as users write them: durations, shares, rates and counts.

The one parser of quantities: for options of runs and of commands, locust.conf, environment variables and TOML files.
A number may have separators between groups of three digits (`4,000`, `4_000`, `4 000`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

#: Unit of time -> two whole numbers: the first in this unit equals the second in seconds. Dividing whole numbers is
#: exact where the result is: 250ms is 0.25 s.
TIME_UNITS: Final[Mapping[str, tuple[int, int]]] = {
    "us": (1_000_000, 1),
    "ms": (1000, 1),
    "s": (1, 1),
    "m": (1, 60),
    "min": (1, 60),
    "h": (1, 3600),
    "d": (1, 86_400),
}
#: The longest duration (seconds): 3650 days. What is longer is a slip, and clocks and files cannot hold it.
LONGEST_S: Final = 3650 * 86_400.0
#: The smaller units that may be meant where a duration is too long, the largest first.
_MEANT: Final = ("h", "m", "s", "ms")
#: What a duration is likely meant to be, at most (seconds): 30 days, as a long soak test.
_LIKELY_S: Final = 30 * 86_400.0
#: The largest whole number: above it a float has no fractions of it.
MOST: Final = 10**15
_UNSIGNED: Final = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d*)?|\d{1,3}(?:[_ \xa0\u202f]\d{3})+(?:\.\d*)?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
)
#: ASCII digits only: a reader may not know the value of others.
_SIGNED: Final = re.compile(rf"([+-]?)({_UNSIGNED})", re.ASCII)
_PART: Final = re.compile(rf"({_UNSIGNED})\s*({'|'.join(sorted(TIME_UNITS, key=len, reverse=True))})\s*", re.ASCII)
_SEPARATOR: Final = re.compile(r"[,_ \xa0\u202f]")


class TooLargeError(ValueError):
    """A number is too large for a float."""


class TooLongError(ValueError):
    """A duration is longer than LONGEST_S. The message says what is expected, and what is likely meant."""


def number(text: str) -> float:
    """Return a finite number: 4, 0.5, -1e3, 4,000. Raises ValueError."""
    found = _SIGNED.fullmatch(text.strip())
    if not found:
        raise ValueError(f"not a number: {text}")
    value = float(found[1] + _SEPARATOR.sub("", found[2]))
    if not isfinite(value):
        raise TooLargeError(f"too large: {text}")
    return value


def count(text: str) -> int:
    """Return a whole number, of either sign: 40, 4,000. Raises ValueError."""
    value = number(text)
    if not value.is_integer() or abs(value) > MOST:
        raise ValueError(f"not a whole number: {text}")
    return int(value)


def duration(text: str, unit_needed: bool = False) -> float:
    """Return the seconds in 45, 45s, 250ms, 8m, 1h, 1h30m or -2s. Raises ValueError; TooLongError above LONGEST_S.

    unit_needed: 45 is refused.
    """
    try:
        seconds = _duration(text, unit_needed)
    except TooLargeError:
        seconds = inf
    if abs(seconds) > LONGEST_S:
        raise TooLongError(f"expected at most 10 years (3650d){_likely(text)}")
    return seconds


def _likely(text: str) -> str:
    """Return the same number in the largest unit that makes a likely duration, as a question."""
    found = _SIGNED.fullmatch(text.strip()) or _PART.fullmatch(text.strip())
    if found is None:
        return ""
    amount = re.sub("[a-z ]+$", "", text.strip())
    for unit in _MEANT:
        try:
            if 0 < abs(seconds := _seconds(number(amount), unit)) <= _LIKELY_S:
                return f"; did you mean {amount}{unit}, that is {seconds:.10g}s?"
        except ValueError:
            return ""
    return ""


def _duration(text: str, unit_needed: bool) -> float:
    if _SIGNED.fullmatch(text.strip()) and not unit_needed:
        return number(text)
    rest = text.strip()
    sign, rest = (-1, rest[1:]) if rest.startswith("-") else (1, rest)
    seconds, before = 0.0, inf
    while rest or before == inf:
        found = _PART.match(rest)
        unit_s = _seconds(1, found[2]) if found else inf
        if not found or unit_s >= before:  # 30m1h is a slip
            raise ValueError(f"not a duration: {text}")
        seconds += _seconds(number(found[1]), found[2])
        before, rest = unit_s, rest[found.end() :]
    return sign * seconds


def _seconds(value: float, unit: str) -> float:
    units, ours = TIME_UNITS[unit]
    return value * ours / units


def share(text: str) -> float:
    """Return the share in 0.5 or 50%. Raises ValueError."""
    text = text.strip()
    return number(text[:-1]) / 100 if text.endswith("%") else number(text)


def marked_share(text: str) -> float:
    """Return the share in 0.15 or 150%: one above 1 needs the % sign, so that 20 is not read as 2000 %.

    Raises ValueError.
    """
    found = share(text)
    if abs(found) > 1 and not text.strip().endswith("%"):
        raise ValueError(f"no % sign: {text}")
    return found


def percentage(text: str) -> float:
    """Return the percentage in 95 or 95%: both are 95. Raises ValueError."""
    return number(text.strip().removesuffix("%"))


def rate(text: str, per: str = "s") -> float:
    """Return a rate per `per`, a unit of time: 20, 20/s, 60/min or 4000/h. A plain number is per `per`.

    Raises ValueError.
    """
    amount, slash, unit = text.partition("/")
    unit = unit.strip() if slash else per
    if unit not in TIME_UNITS:
        raise ValueError(f"not a rate: {text}")
    (units, seconds), (own_units, own_seconds) = TIME_UNITS[unit], TIME_UNITS[per]
    return number(amount) * units * own_seconds / (seconds * own_units)


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: how its text is read, and what its help and its errors call it.

    metavar: for helps. expected: completes "expected ...". least, most: the allowed range; above, below: without its
    ends.
    """

    metavar: str
    expected: str
    parse: Callable[[str], float]
    least: float = -inf
    most: float = inf
    above: bool = False
    below: bool = False

    def read(self, given: str | float) -> float:
        """Return the value of a text or a number. Raises ValueError, which says what is expected."""
        try:
            # A number is read as its text: it has the same default unit and the same checks.
            value = self.parse(given if isinstance(given, str) else repr(given))
        except TooLongError:
            raise
        except ValueError:
            raise ValueError(f"expected {self.expected}") from None
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        if not (low and high and isfinite(value)):
            raise ValueError(f"expected {self.expected}")
        return value

    def within(self, least: float, most: float, expected: str) -> Quantity:
        """Return this kind with another range, ends included."""
        return Quantity(self.metavar, expected, self.parse, least, most)


DURATION: Final = Quantity("DURATION", "a duration above 0, such as 300, 300s or 5m", duration, 0, above=True)
DURATION_OR_0: Final = Quantity("DURATION", "0, or a duration such as 45s, 250ms, 8m or 24h", duration, 0)
SHIFT: Final = Quantity("DURATION", "a duration of either sign, such as 2s or -2s", duration)
NUMBER: Final = Quantity("X", "a number above 0", number, 0, above=True)
ANY_NUMBER: Final = Quantity("X", "a number", number)
MARKED_SHARE: Final = Quantity("SHARE", "a share such as 15% or 0.15", marked_share)
SHARE: Final = Quantity("SHARE", "a share above 0, such as 0.5 or 50%", share, 0, above=True)
SHARE_BELOW_1: Final = Quantity("SHARE", "0, or a share below 1, such as 0.1 or 10%", marked_share, 0, 1, below=True)
CHANCE: Final = Quantity("SHARE", "a share from 0 to 1, such as 0.1 or 10%", share, 0, 1)
PERCENTAGE: Final = Quantity("PERCENT", "a percentage above 0, such as 5 or 5%", percentage, 0, above=True)
CONFIDENCE: Final = Quantity(
    "PERCENT", "a percentage of 50 or more, below 100, such as 95", percentage, 50, 100, below=True
)
RATE_PER_S: Final = Quantity(
    "RATE", "a rate above 0, such as 20 or 20/s (per second), 600/min or 4000/h", rate, 0, above=True
)
RATE_PER_H: Final = Quantity(
    "RATE", "a rate above 0, such as 4000 or 4000/h (per hour), or 2/s", lambda text: rate(text, "h"), 0, above=True
)
HOURLY_RATE: Final = Quantity(
    "RATE", "a rate per chat-hour from 0 on, such as 0.01 or 0.01/h", lambda text: rate(text, "h"), 0
)
WHOLE: Final = Quantity("N", "a whole number from 0 on", count, 0)
COUNT: Final = Quantity("N", "a whole number from 1 on", count, 1)
INTEGER: Final = Quantity("N", "a whole number, such as 40 or 4,000", count)
