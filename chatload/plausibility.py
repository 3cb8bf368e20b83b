"""Values that are allowed but surely meant otherwise, each with the likely meaning. The one list of them.

A value that cannot be right is an error elsewhere. These are only warnings, because a test may want such a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

_HOUR_S, _DAY_S = 3600.0, 86_400.0
#: The environment variable of `chatload simulator`, which may be set beside those of runs.
SIMULATOR_KEY: Final = "CHATLOAD_SIMULATOR_APIKEY"


@dataclass(frozen=True)
class DoubtfulValue:
    """A rule about the value of one option. is_doubtful: whether it is meant otherwise. meant: the warning."""

    flag: str
    is_doubtful: Callable[[float], bool]
    meant: Callable[[float], str]


@dataclass(frozen=True)
class DoubtfulPair:
    """A rule about the values of two options."""

    flag: str
    other: str
    is_doubtful: Callable[[float, float], bool]
    meant: Callable[[float, float], str]


def _length(seconds: float) -> str:
    units = (("day", _DAY_S), ("hour", _HOUR_S), ("minute", 60.0), ("second", 1.0))
    unit, unit_s = next((pair for pair in units if seconds >= pair[1]), units[-1])
    amount = f"{seconds / unit_s:.3g}"
    return f"{amount} {unit}" if amount == "1" else f"{amount} {unit}s"


def _as_ms(seconds: float) -> str:
    return f"is {_length(seconds)}: did you mean {seconds:g}ms, that is {seconds / 1000:g}s?"


def _as_minutes(seconds: float) -> str:
    return f"is {_length(seconds)}: did you mean {seconds:g}m?"


def _as_percent(share: float) -> str:
    return f"is {100 * share:g} %: did you mean {share:g}%?"


def _request_timeout(request_s: float, timeout_s: float) -> str:
    instead = _as_ms(request_s) if request_s >= 1000 else f"is {_length(request_s)}: did you mean less?"
    return f"{instead} A request may take longer than --flex-disconnect-timeout ({timeout_s:g}s), which ends its chat"


VALUES: Final = (
    DoubtfulValue("--flex-disconnect-timeout", lambda value: value > 2 * _HOUR_S, _as_ms),
    DoubtfulValue("--refresh-interval", lambda value: value >= 1000, _as_ms),
    DoubtfulValue("--poll-interval", lambda value: value >= 1000, _as_ms),
    DoubtfulValue("--long-poll", lambda value: value >= 1000, _as_ms),
    DoubtfulValue("--chat-length", lambda value: value > _DAY_S, _as_ms),
    DoubtfulValue("--handling-time", lambda value: value < 30, _as_minutes),
    DoubtfulValue("--handling-time", lambda value: value > _DAY_S, _as_ms),
    DoubtfulValue("--patience", lambda value: value < 5, _as_minutes),
    DoubtfulValue("--service-time", lambda value: value >= 5, _as_ms),
    DoubtfulValue(
        "--arrival-rate",
        lambda rate: rate > 500,
        lambda rate: f"is {rate:g} chats per second: did you mean {rate:g}/h, that is {rate / 3600:.3g}/s?",
    ),
    DoubtfulValue("--resolution", lambda percent: percent < 1, lambda percent: f"is {percent:g} %: did you mean "
                  f"{100 * percent:g}%?"),
    DoubtfulValue("--target", lambda share: share == 1, _as_percent),
    DoubtfulValue("--target-drop-rate", lambda share: share == 1, _as_percent),
    DoubtfulValue("--drop-rate-bound", lambda share: share == 1, _as_percent),
)  # fmt: skip
PAIRS: Final = (
    DoubtfulPair(
        "--request-timeout", "--flex-disconnect-timeout",
        lambda request_s, timeout_s: request_s > timeout_s, _request_timeout,
    ),
)  # fmt: skip


def doubtful(values: Mapping[str, float], about: str = "") -> list[str]:
    """Return a warning for each value that is surely meant otherwise.

    values: by the flag of the option; seconds, shares from 0 to 1, rates per second. about: only rules that concern
    this flag.
    """
    found = [
        f"{rule.flag} {values[rule.flag]:g} {rule.meant(values[rule.flag])}"
        for rule in VALUES
        if rule.flag in values and about in ("", rule.flag) and rule.is_doubtful(values[rule.flag])
    ]
    for pair in PAIRS:
        if pair.flag in values and pair.other in values and about in ("", pair.flag, pair.other):
            value, other = values[pair.flag], values[pair.other]
            if pair.is_doubtful(value, other):
                found.append(f"{pair.flag} {value:g} {pair.meant(value, other)}")
    return found


def doubtful_limit(threshold: str, kind: str, operator: str, limit: float) -> str:
    """Return a warning about a threshold that surely is meant otherwise; "" for others.

    threshold: its text. kind: of its metric. limit: as a share, for a rate.
    """
    if kind == "rate" and operator == "<" and limit == 1:
        metric = threshold.rpartition(f" {operator} ")[0]
        return f"threshold '{threshold}' is met by any rate below 100 %: did you mean '{metric} < 1%'?"
    return ""


def unknown_variables(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a warning for each environment variable of chatload that sets nothing, with the closest known name."""
    known = sorted(known)
    found = []
    for name in sorted(names):
        if name.startswith("CHATLOAD_") and name not in known:
            near = get_close_matches(name, known, 1, 0.8)
            meant = f"; did you mean {near[0]}?" if near else "; chatload options lists all of them"
            found.append(f"the environment variable {name} sets nothing{meant}")
    return found
