"""A mergeable histogram of durations with a stated relative error."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A percentile is within this fraction of the true sample value.
RELATIVE_ERROR = 0.01
_GAMMA_LOG = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_SMALLEST_S = 1e-6
#: So many samples are kept back at most: counted together, each costs a tenth.
_AT_ONCE = 1000


def _keys(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.ceil(np.log(values) / _GAMMA_LOG).astype(np.int64)


class Histogram:
    """Counts of durations (seconds) in buckets growing by 2 %; below 1 us counts as 0.

    The bucketing is DDSketch's (Masson, Rim and Lee, VLDB 2019): value v falls into bucket
    ceil(log_gamma v), and a quantile is off by at most RELATIVE_ERROR. min and max are exact.
    total_us: the sum in whole microseconds, each sample rounded: so that merging in any order gives the same.
    """

    __slots__ = ("_buckets", "_count", "_fresh", "_maximum", "_minimum", "_total_us", "_zeros")

    def __init__(self) -> None:
        self._fresh = array("d")
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self._count = 0
        self._total_us = 0
        self._minimum: float | None = None
        self._maximum: float | None = None

    def add(self, value: float) -> None:
        """Count one duration in seconds; a negative one counts as 0."""
        fresh = self._fresh
        fresh.append(value)
        if len(fresh) >= _AT_ONCE:
            self._settle()

    def extend(self, values: Sequence[float] | NDArray[np.float64]) -> None:
        """Count many durations in seconds."""
        self._fresh.frombytes(np.asarray(values, dtype=np.float64).tobytes())
        self._settle()

    @property
    def buckets(self) -> dict[int, int]:
        """Count by key; key k holds what is above gamma^(k-1) and up to gamma^k seconds."""
        self._settle()
        return self._buckets

    @property
    def zeros(self) -> int:
        """How many counted as 0."""
        self._settle()
        return self._zeros

    @property
    def count(self) -> int:
        """How many were counted."""
        return self._count + len(self._fresh)

    @property
    def total_us(self) -> int:
        """Their sum, microseconds."""
        self._settle()
        return self._total_us

    @property
    def minimum(self) -> float | None:
        """The least, seconds; None where nothing was counted."""
        self._settle()
        return self._minimum

    @property
    def maximum(self) -> float | None:
        """The greatest, seconds; None where nothing was counted."""
        self._settle()
        return self._maximum

    def _settle(self) -> None:
        """Put what was kept back into its buckets."""
        if not self._fresh:
            return
        values, self._fresh = np.frombuffer(self._fresh), array("d")
        self._count += len(values)
        self._widen(float(values.min()), float(values.max()))
        counted, buckets = values[values >= _SMALLEST_S], self._buckets
        self._zeros += len(values) - len(counted)
        self._total_us += int(np.rint(counted * 1e6).sum())
        if len(counted):
            keys = _keys(counted)
            lowest = int(keys.min())
            for key, count in enumerate(np.bincount(keys - lowest).tolist(), lowest):
                if count:
                    buckets[key] = buckets.get(key, 0) + count

    def _widen(self, least: float, most: float) -> None:
        self._minimum = least if self._minimum is None else min(self._minimum, least)
        self._maximum = most if self._maximum is None else max(self._maximum, most)

    def merge(self, other: Histogram) -> None:
        """Add another histogram's counts to this one."""
        self._settle()
        other._settle()
        if self._buckets:
            mine, so_far = self._buckets, self._buckets.get
            for key, count in other._buckets.items():
                mine[key] = so_far(key, 0) + count
        else:
            self._buckets = dict(other._buckets)
        self._zeros += other._zeros
        self._count += other._count
        self._total_us += other._total_us
        if other._minimum is not None and other._maximum is not None:
            self._widen(other._minimum, other._maximum)

    def since(self, earlier: Histogram | None) -> Histogram:
        """What was counted since `earlier`, a former state of this one.

        Its minimum and maximum are not known: they are the outer edges of its lowest and highest bucket, or the
        extremes of this histogram where these are nearer. So no sample lies outside them.
        """
        earlier = Histogram() if earlier is None else earlier
        made = Histogram()
        before, now = earlier.buckets, self.buckets
        made._count, made._zeros = self._count - earlier._count, self._zeros - earlier._zeros
        made._total_us = self._total_us - earlier._total_us
        made._buckets = {key: more for key, n in now.items() if (more := n - before.get(key, 0))}
        if made._count and self._minimum is not None and self._maximum is not None:
            keys = made._buckets
            made._minimum = 0.0 if made._zeros else max(_edge(min(keys) - 1), self._minimum)
            made._maximum = min(_edge(max(keys)), self._maximum) if keys else 0.0
        return made

    def quantile(self, q: float) -> float | None:
        """The q-quantile (0..1) in seconds, None where nothing was counted."""
        return self.value_at(q * (self.count - 1)) if self.count else None

    def value_at(self, rank: float) -> float:
        """The sample (seconds, within RELATIVE_ERROR) that has `rank` smaller ones before it, rounded down."""
        buckets = self.buckets
        if not 0 <= rank < self._count or self._minimum is None or self._maximum is None:
            raise IndexError(rank)
        seen = self._zeros
        if rank < seen:
            return max(0.0, self._minimum)
        for key in sorted(buckets):
            seen += buckets[key]
            if rank < seen:
                return min(max(_middle(key), self._minimum), self._maximum)
        return self._maximum

    def count_above(self, value: float) -> tuple[int, int]:
        """How many samples are above `value` (seconds): surely, and at most (or equal to it).

        The two differ by the bucket `value` falls into, whose samples lie on either side of it.
        """
        buckets = self.buckets
        if self._minimum is None or self._maximum is None or value > self._maximum:
            return 0, 0
        if value < self._minimum:
            return self._count, self._count
        if value < _SMALLEST_S:
            return self._count - self._zeros, self._count
        own = int(_keys(np.array([value]))[0])
        surely = sum(count for key, count in buckets.items() if key > own)
        return surely, surely + buckets.get(own, 0)

    def bracket(self, rank: int) -> tuple[float, float]:
        """Between which durations (seconds) the sample lies that has `rank` smaller ones before it."""
        buckets = self.buckets
        if not 0 <= rank < self._count or self._minimum is None or self._maximum is None:
            raise IndexError(rank)
        low, high, seen = min(self._minimum, 0.0), _SMALLEST_S, self._zeros
        for key in sorted(buckets):
            if rank < seen:
                break
            seen += buckets[key]
            low, high = _edge(key - 1), _edge(key)
        return max(low, self._minimum), min(high, self._maximum)

    def bins(self) -> Iterator[tuple[float, float, int]]:
        """Its buckets, from the shortest on: from, to (seconds), count."""
        buckets = self.buckets
        if self._zeros:
            yield 0.0, _SMALLEST_S, self._zeros
        for key in sorted(buckets):
            yield _edge(key - 1), _edge(key), buckets[key]

    def to_dict(self) -> dict[str, Any]:
        """A JSON- and msgpack-safe form; `from_dict` reads it back."""
        return {
            "buckets": {str(key): count for key, count in sorted(self.buckets.items())},
            "zeros": self._zeros,
            "count": self._count,
            "total_us": self._total_us,
            "min": self._minimum,
            "max": self._maximum,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram that `to_dict` wrote."""
        made = cls()
        made._buckets = dict(zip(map(int, data["buckets"]), data["buckets"].values(), strict=True))
        made._zeros, made._count = data["zeros"], data["count"]
        made._minimum, made._maximum = data["min"], data["max"]
        made._total_us = data.get("total_us", 0)  # not in run files made before it was kept
        return made


def _edge(key: int) -> float:
    """The greatest value (seconds) that falls into a bucket; the samples of the next bucket are above it."""
    return exp(key * _GAMMA_LOG)


def _middle(key: int) -> float:
    """The value (seconds) that is within RELATIVE_ERROR of all that fall into a bucket."""
    return 2 * exp(key * _GAMMA_LOG) / (1 + exp(_GAMMA_LOG))
