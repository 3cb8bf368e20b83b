"""Figures from repetitions: medians with their spread, and ratios only of quiet repetitions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Row = Mapping[str, Any]


class Figure(NamedTuple):
    """A median over repetitions. low, high: the least and the greatest; n: how many; quiet: whether all it rests on
    were quiet."""

    median: float
    low: float
    high: float
    n: int
    quiet: bool


class Ratio(NamedTuple):
    """One median over another; value is None where it is refused, and why says what for."""

    value: float | None
    why: str = ""


def is_quiet(row: Row) -> bool:
    """Whether a repetition was measured on a quiet machine."""
    return bool(row.get("noise", {}).get("quiet"))


def figure(rows: Iterable[Row], value: Callable[[Row], float | None]) -> Figure | None:
    """Over the quiet repetitions, where more than half are quiet; else over all, and said to be noisy.

    None where there is no value at all.
    """
    known = [(is_quiet(row), found) for row in rows if (found := value(row)) is not None]
    if not known:
        return None
    calm = [found for quiet, found in known if quiet]
    settled = 2 * len(calm) > len(known)
    values = calm if settled else [found for _, found in known]
    return Figure(statistics.median(values), min(values), max(values), len(values), settled)


def ratio(above: Figure | None, below: Figure | None) -> Ratio:
    """above / below, refused where either was not measured, or rests on noisy repetitions."""
    if above is None or below is None:
        return Ratio(None, "not measured")
    if not (above.quiet and below.quiet):
        return Ratio(None, "too noisy")
    if not below.median:
        return Ratio(None, "nothing to divide by")
    return Ratio(above.median / below.median)


def percentiles(values: Sequence[float] | np.ndarray) -> dict[str, float] | None:
    """p50, p99, p99_9 and max (nearest rank, so that each is a value that was seen); None of nothing."""
    if len(values) == 0:
        return None
    found = np.quantile(np.asarray(values), [0.5, 0.99, 0.999, 1.0], method="inverted_cdf")
    return dict(zip(("p50", "p99", "p99_9", "max"), map(float, found), strict=True))
