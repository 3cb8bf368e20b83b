"""A histogram of durations of which some are known only to be longer than a bound (right-censored samples).

A request without an answer has a latency too: longer than we waited. A silence that no answered request ended
has a length: longer than its lower bound. Both count, so that what is worst is not what is missing. What such a
sample may be is the whole range above its bound: a count or an order statistic that depends on it is given as a
range (set identification; C. F. Manski, "Partial Identification of Probability Distributions", 2003).
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from chatload.run.histogram import Histogram


class Reading(NamedTuple):
    """A duration in seconds; with `over`, a lower bound of it: the true one is longer."""

    seconds: float
    over: bool = False


class CensoredHistogram:
    """observed: the durations that are known. censored: the lower bounds of those that are not, both seconds."""

    __slots__ = ("censored", "observed")

    def __init__(self, observed: Histogram | None = None, censored: Histogram | None = None) -> None:
        self.observed = Histogram() if observed is None else observed
        self.censored = Histogram() if censored is None else censored

    def add(self, seconds: float) -> None:
        """Count a duration that is known."""
        self.observed.add(seconds)

    def add_longer_than(self, seconds: float) -> None:
        """Count a duration of which only a lower bound is known."""
        self.censored.add(max(seconds, 0.0))

    @property
    def count(self) -> int:
        """How many were counted, known or not."""
        return self.observed.count + self.censored.count

    @property
    def total_us(self) -> int:
        """The sum of the known ones and of the bounds, microseconds: at least so much."""
        return self.observed.total_us + self.censored.total_us

    def merge(self, other: CensoredHistogram) -> None:
        """Add another one's counts to this one."""
        self.observed.merge(other.observed)
        self.censored.merge(other.censored)

    def since(self, earlier: CensoredHistogram | None) -> CensoredHistogram:
        """What was counted since `earlier`, a former state of this one (see `Histogram.since`)."""
        earlier = CensoredHistogram() if earlier is None else earlier
        return CensoredHistogram(self.observed.since(earlier.observed), self.censored.since(earlier.censored))

    def quantile(self, q: float) -> Reading | None:
        """The q-quantile (0..1), the censored ranked behind all that are known; None where nothing was counted.

        Where it falls among the censored, it is a lower bound that holds for every rank they may have.
        """
        if not self.count:
            return None
        rank, known = q * (self.count - 1), self.observed.count
        if q == 1.0:
            return self.maximum
        if int(rank) < known:
            return Reading(self.observed.value_at(rank))
        return Reading(self._least(int(rank)), over=True)

    def figure(self, q: float) -> float | None:
        """The q-quantile as one number to compare with others of its kind.

        Where it falls among the censored it is not below the longest that is known, so that what never came is not
        taken for fast.
        """
        reading = self.quantile(q)
        if reading is None:
            return None
        return max(reading.seconds, self.observed.maximum or 0.0) if reading.over else reading.seconds

    @property
    def minimum(self) -> Reading | None:
        """The least; None where nothing was counted."""
        bounds = [h.minimum for h in (self.observed, self.censored) if h.minimum is not None]
        return Reading(min(bounds), over=not self.observed.count) if bounds else None

    @property
    def maximum(self) -> Reading | None:
        """The greatest, a lower bound of it where any is censored; None where nothing was counted."""
        bounds = [h.maximum for h in (self.observed, self.censored) if h.maximum is not None]
        return Reading(max(bounds), over=self.censored.count > 0) if bounds else None

    def count_above(self, value: float) -> tuple[int, int]:
        """How many samples are at or above `value` (seconds): surely, and at most."""
        surely, at_most = self.observed.count_above(value)
        least = self.censored.minimum
        # One that is longer than its bound is longer than what equals the bound.
        bounds = self.censored.count if least is not None and value <= least else self.censored.count_above(value)[0]
        return surely + bounds, at_most + self.censored.count

    def bracket(self, rank: int) -> tuple[float, float]:
        """Between which durations (seconds) the sample lies that has `rank` smaller ones before it; the upper one
        is infinite where it may be a censored one."""
        if not 0 <= rank < self.count:
            raise IndexError(rank)
        return self._least(rank), self.observed.bracket(rank)[1] if rank < self.observed.count else inf

    def _least(self, rank: int) -> float:
        """A lower bound of the sample that has `rank` smaller ones before it: each censored one taken as its bound."""
        if not self.censored.count:
            return self.observed.bracket(rank)[0]
        together = Histogram()
        together.merge(self.observed)
        together.merge(self.censored)
        least = together.bracket(rank)[0]
        known = self.observed.count
        # At least rank - known of the censored have a smaller bound. Often their own minimum is the sharper one.
        return least if rank < known else max(least, self.censored.bracket(rank - known)[0])
