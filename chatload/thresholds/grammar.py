"""Thresholds as users write them: METRIC OP VALUE[UNIT], such as `dropped_late.rate < 0.1%`."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Literal

from chatload.errors import UsageError
from chatload.thresholds.metrics import Kind, Metric, metric_named

Op = Literal["<", "<=", ">", ">=", "=="]

#: A longer text is not accepted (characters).
_LONGEST = 300
EXAMPLE = "dropped_late.rate < 0.1%"
#: Unit -> the kind of metric, and two whole numbers: the first in this unit equals the second in ours (fraction or
#: second). With two whole numbers 0.1% becomes exactly the float 0.001.
_UNITS: dict[str, tuple[Kind, int, int]] = {
    "%": ("rate", 100, 1),
    "us": ("duration", 1_000_000, 1),
    "ms": ("duration", 1000, 1),
    "s": ("duration", 1, 1),
    "min": ("duration", 1, 60),
}
_TAKES = {
    "rate": "% or a bare fraction, as in 0.1% or 0.001",
    "duration": "us, ms, s or min, as in 250ms",
    "count": "a whole number without a unit",
}
_OPS: dict[Kind, tuple[Op, ...]] = {
    "rate": ("<", "<=", ">", ">="),
    "duration": ("<", "<=", ">", ">="),
    "count": ("<", "<=", ">", ">=", "=="),
}
_SHAPE = re.compile(r"\s*([^\s<>=!~]*)\s*([<>=!~]+)\s*(.*?)\s*", re.DOTALL)
_VALUE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Threshold:
    """One requirement on a run; `parse` reads what `str()` writes.

    number, unit: as written. limit: the same as a fraction, in seconds, or as a count.
    """

    metric: Metric
    op: Op
    number: float
    unit: str = ""
    limit: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _, units, ours = _UNITS.get(self.unit, ("count", 1, 1))
        object.__setattr__(self, "limit", self.number * ours / units)

    def __str__(self) -> str:
        return f"{self.metric.name} {self.op} {self.amount}"

    @property
    def amount(self) -> str:
        """The limit as written: number and unit."""
        number = repr(self.number).removesuffix(".0")
        return f"{number} {self.unit}" if self.unit.isalpha() else number + self.unit

    @property
    def wants_low(self) -> bool:
        """Whether the metric must stay below the limit."""
        return self.op in ("<", "<=")


def parse(text: str) -> Threshold:
    """Return the threshold in a text; raises UsageError, which says what is wrong and what is expected."""
    if len(text) > _LONGEST:
        raise _wrong(f"{text[:20]}…", "too long", f"write it like {EXAMPLE}")
    found = _SHAPE.fullmatch(text)
    if not found or not found[1]:
        raise _wrong(text, "no METRIC OP VALUE", f"write it like {EXAMPLE}")
    name, sign, rest = found.groups()
    metric = metric_named(name)
    op = next((fit for fit in _OPS[metric.kind] if fit == sign), None)
    if op is None:
        known = sign in _OPS["count"]
        what = f"{sign!r} does not fit {name}, which is a {metric.kind}" if known else f"unknown operator {sign!r}"
        raise _wrong(text, what, f"expected one of {' '.join(_OPS[metric.kind])}")
    number, unit = _amount(text, metric, rest)
    threshold = Threshold(metric, op, number, unit)
    _possible(text, threshold)
    return threshold


def parse_abort(text: str) -> Threshold:
    """Return a threshold for --abort-on; raises UsageError also if it cannot be lost before the end of the run."""
    threshold = parse(text)
    metric = threshold.metric
    if metric.subject == "cut_off":
        raise _wrong(text, "sessions are cut off only when the run ends", "leave it to --threshold")
    if metric.kind == "count" and threshold.op in (">", ">="):
        raise _wrong(text, "a count only grows, and may still reach it", "leave it to --threshold")
    if metric.kind == "duration" and metric.q is None and threshold.wants_low != (metric.statistic == "max"):
        raise _wrong(text, f"{metric.name} may still get there until the run ends", "leave it to --threshold")
    return threshold


def _wrong(text: str, what: str, hint: str) -> UsageError:
    return UsageError(f"threshold {' '.join(text.split())!r}: {what}", hint)


def _amount(text: str, metric: Metric, rest: str) -> tuple[float, str]:
    found = _VALUE.fullmatch(rest)
    if not found or not math.isfinite(float(found[1])):
        raise _wrong(text, f"{rest!r} is not a number" if rest else "no value", f"expected {_TAKES[metric.kind]}")
    number, unit = float(found[1]), found[2]
    if unit and unit not in _UNITS:
        near = difflib.get_close_matches(unit.lower(), _UNITS, 1, 0.4)
        meant = f"did you mean {near[0]}? " if near else ""
        raise _wrong(text, f"unknown unit {unit!r}", f"{meant}expected {_TAKES[metric.kind]}")
    if metric.kind == "duration" and not unit:
        raise _wrong(text, f"{metric.name} is a duration, and its value has no unit", f"expected {_TAKES['duration']}")
    if unit and _UNITS[unit][0] != metric.kind:
        hint = f"expected {_TAKES[metric.kind]}"
        raise _wrong(text, f"unit {unit!r} does not fit {metric.name}, which is a {metric.kind}", hint)
    return number, unit


def _possible(text: str, threshold: Threshold) -> None:
    """Refuse a threshold that no run can pass, or that no run can fail."""
    metric, limit = threshold.metric, threshold.limit
    if math.copysign(1, threshold.number) < 0:
        raise _wrong(text, f"a {metric.kind} is never negative", f"expected {_TAKES[metric.kind]}")
    if metric.kind == "count" and not limit.is_integer():
        raise _wrong(text, "a count is a whole number", f"expected {_TAKES['count']}")
    if limit == 0 and threshold.op == "<":
        raise _wrong(text, f"a {metric.kind} is never below 0, so no run passes", _zero_hint(metric))
    if metric.kind == "rate":
        if limit > 1:
            raise _wrong(text, "a rate is never above 100 %", f"expected {_TAKES['rate']}")
        if (limit, threshold.op) in ((0, "<="), (1, ">="), (1, ">")):
            raise _wrong(
                text, "no number of samples can show that", _zero_hint(metric) if limit == 0 else "write less than 100%"
            )
        if (limit, threshold.op) in ((0, ">="), (1, "<=")):
            raise _wrong(text, "that is always so", f"write it like {EXAMPLE}")


def _zero_hint(metric: Metric) -> str:
    if metric.kind == "rate":
        return f"write {metric.name.removesuffix('rate')}count == 0, or a rate above 0"
    return "write == 0" if metric.kind == "count" else "write a limit above 0"
