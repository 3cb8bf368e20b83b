"""A mergeable histogram of durations with a stated relative error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, exp, log
from typing import Any

#: A percentile is within this fraction of the true sample value.
RELATIVE_ERROR = 0.01
_GAMMA_LOG = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_SMALLEST_S = 1e-6


def _key(value: float) -> int:
    return ceil(log(value) / _GAMMA_LOG)


class Histogram:
    """Counts of durations (seconds) in buckets growing by 2 %; below 1 us counts as 0.

    The bucketing is DDSketch's (Masson, Rim and Lee, VLDB 2019): value v falls into bucket
    ceil(log_gamma v), and a quantile is off by at most RELATIVE_ERROR. min and max are exact.
    total_us: the sum in whole microseconds, each sample rounded: so that merging in any order gives the same.
    """

    __slots__ = ("buckets", "count", "maximum", "minimum", "total_us", "zeros")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.zeros = 0
        self.count = 0
        self.total_us = 0
        self.minimum: float | None = None
        self.maximum: float | None = None

    def add(self, value: float) -> None:
        """Count one duration in seconds; a negative one counts as 0."""
        self.count += 1
        if self.maximum is None or value > self.maximum:
            self.maximum = value
        if self.minimum is None or value < self.minimum:
            self.minimum = value
        if value < _SMALLEST_S:
            self.zeros += 1
            return
        self.total_us += round(value * 1e6)
        key = ceil(log(value) / _GAMMA_LOG)
        buckets = self.buckets
        if key in buckets:
            buckets[key] += 1
        else:
            buckets[key] = 1

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        if self.buckets:
            mine, so_far = self.buckets, self.buckets.get
            for key, count in other.buckets.items():
                mine[key] = so_far(key, 0) + count
        else:
            self.buckets = dict(other.buckets)
        self.zeros += other.zeros
        self.count += other.count
        self.total_us += other.total_us
        for value in (other.minimum, other.maximum):
            if value is not None:
                self.minimum = value if self.minimum is None else min(self.minimum, value)
                self.maximum = value if self.maximum is None else max(self.maximum, value)

    def since(self, earlier: Histogram | None) -> Histogram:
        """What was counted since `earlier`, a former state of this one; min and max are then those of the
        buckets, within RELATIVE_ERROR."""
        earlier = Histogram() if earlier is None else earlier
        made = Histogram()
        made.count, made.zeros = self.count - earlier.count, self.zeros - earlier.zeros
        made.total_us = self.total_us - earlier.total_us
        before = earlier.buckets
        made.buckets = {key: more for key, n in self.buckets.items() if (more := n - before.get(key, 0))}
        if made.count and self.minimum is not None and self.maximum is not None:
            low, high = (min(made.buckets), max(made.buckets)) if made.buckets else (0, 0)
            made.minimum = 0.0 if made.zeros else max(_middle(low), self.minimum)
            made.maximum = min(_middle(high), self.maximum) if made.buckets else 0.0
        return made

    def quantile(self, q: float) -> float | None:
        """The q-quantile (0..1) in seconds, None where nothing was counted."""
        if not self.count or self.minimum is None or self.maximum is None:
            return None
        rank = q * (self.count - 1)
        seen = self.zeros
        if rank < seen:
            return max(0.0, self.minimum)
        for key in sorted(self.buckets):
            seen += self.buckets[key]
            if rank < seen:
                return min(max(_middle(key), self.minimum), self.maximum)
        return self.maximum

    def count_above(self, value: float) -> tuple[int, int]:
        """How many samples are above `value` (seconds): surely, and at most (or equal to it).

        The two differ by the bucket `value` falls into, whose samples lie on either side of it.
        """
        if self.minimum is None or self.maximum is None or value > self.maximum:
            return 0, 0
        if value < self.minimum:
            return self.count, self.count
        if value < _SMALLEST_S:
            return self.count - self.zeros, self.count
        own = _key(value)
        surely = sum(count for key, count in self.buckets.items() if key > own)
        return surely, surely + self.buckets.get(own, 0)

    def bracket(self, rank: int) -> tuple[float, float]:
        """Between which durations (seconds) the sample lies that has `rank` smaller ones before it."""
        if not 0 <= rank < self.count or self.minimum is None or self.maximum is None:
            raise IndexError(rank)
        low, high, seen = min(self.minimum, 0.0), _SMALLEST_S, self.zeros
        for key in sorted(self.buckets):
            if rank < seen:
                break
            seen += self.buckets[key]
            low, high = exp((key - 1) * _GAMMA_LOG), exp(key * _GAMMA_LOG)
        return max(low, self.minimum), min(high, self.maximum)

    def bins(self) -> Iterator[tuple[float, float, int]]:
        """Its buckets, from the shortest on: from, to (seconds), count."""
        if self.zeros:
            yield 0.0, _SMALLEST_S, self.zeros
        for key in sorted(self.buckets):
            yield exp((key - 1) * _GAMMA_LOG), exp(key * _GAMMA_LOG), self.buckets[key]

    def to_dict(self) -> dict[str, Any]:
        """A JSON- and msgpack-safe form; `from_dict` reads it back."""
        return {
            "buckets": {str(key): count for key, count in sorted(self.buckets.items())},
            "zeros": self.zeros,
            "count": self.count,
            "total_us": self.total_us,
            "min": self.minimum,
            "max": self.maximum,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram that `to_dict` wrote."""
        made = cls()
        made.buckets = dict(zip(map(int, data["buckets"]), data["buckets"].values(), strict=True))
        made.zeros, made.count = data["zeros"], data["count"]
        made.minimum, made.maximum = data["min"], data["max"]
        made.total_us = data.get("total_us", 0)  # not in run files made before it was kept
        return made


def _middle(key: int) -> float:
    """The value (seconds) that is within RELATIVE_ERROR of all that fall into a bucket."""
    return 2 * exp(key * _GAMMA_LOG) / (1 + exp(_GAMMA_LOG))
