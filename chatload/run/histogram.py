"""Histograms of durations that can be merged, with a stated relative error; also of durations known only to be longer.

A request without an answer has a latency too: longer than we waited. A silence that no answered request ended has a
length: longer than its lower bound. Both are counted, as right-censored samples, so that the worst are not missing. The
true value may be anything above the bound, so a count or an order statistic that depends on it is given as a range.
Source (set identification): C. F. Manski, "Partial Identification of Probability Distributions", 2003.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, inf, log
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator

#: A percentile is within this fraction of the true sample value.
RELATIVE_ERROR = 0.01
_GAMMA_LOG = log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_SMALLEST_S = 1e-6
#: The latest instant (Unix seconds) that a calendar can show; no duration is longer.
MOST_S = 253_402_300_799.0
#: The number of samples that are buffered: counted together, a sample costs a tenth of the time.
_AT_ONCE = 1000
#: No number in a run file is larger than this.
MOST_NUMBER = 10**18
#: A counter in a run file.
Count = Annotated[int, Field(strict=True, ge=0, le=MOST_NUMBER)]
_Extreme = Annotated[float, Field(strict=True, ge=-MOST_S, le=MOST_S)] | None


class _Stored(BaseModel):
    """What `Histogram.to_dict` writes. Its buckets reach from 1e-17 to 1e17 s."""

    buckets: dict[Annotated[int, Field(gt=-2000, lt=2000)], Count]
    zeros: Count
    count: Count
    total_us: Count
    min: _Extreme
    max: _Extreme


def _keys(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.ceil(np.log(values) / _GAMMA_LOG).astype(np.int64)


def _settled(name: str) -> Any:
    """Return a property that counts the buffered samples before it reads an attribute."""

    def read(histogram: Histogram) -> Any:
        histogram._settle()
        return getattr(histogram, name)

    return property(read)


class Histogram:
    """Counts of durations (seconds) in buckets growing by 2 %; below 1 us counts as 0.

    The value v falls into bucket ceil(log_gamma v), and a quantile is off by at most RELATIVE_ERROR. Minimum and
    maximum are exact. Source: DDSketch (Masson, Rim and Lee, VLDB 2019).
    """

    __slots__ = ("_buckets", "_count", "_fresh", "_maximum", "_minimum", "_total_us", "_zeros", "feed")

    #: The count of each bucket: bucket k has durations above gamma^(k-1) and up to gamma^k seconds.
    buckets: dict[int, int] = _settled("_buckets")
    #: How many durations were counted.
    count: int = _settled("_count")
    #: How many durations counted as 0.
    zeros: int = _settled("_zeros")
    #: The sum of all durations, each rounded to microseconds: merging in any order gives the same.
    total_us: int = _settled("_total_us")
    #: The extremes (seconds); None if nothing was counted.
    minimum: float | None = _settled("_minimum")
    maximum: float | None = _settled("_maximum")

    def __init__(self) -> None:
        #: Adds the samples that are buffered elsewhere; called before each read. None: there are none.
        self.feed: Callable[[], None] | None = None
        self._fresh = array("d")
        self._buckets: dict[int, int] = {}
        self._zeros = self._count = self._total_us = 0
        self._minimum: float | None = None
        self._maximum: float | None = None

    def add(self, value: float) -> None:
        """Count one duration in seconds; a negative one counts as 0."""
        fresh = self._fresh
        fresh.append(value)
        if len(fresh) >= _AT_ONCE:
            self._settle()

    def extend(self, values: Sequence[float] | NDArray[np.float64]) -> None:
        self._fresh.frombytes(np.asarray(values, dtype=np.float64).tobytes())
        self._settle()

    def _settle(self) -> None:
        """Count the buffered samples."""
        if self.feed is not None:
            self.feed()
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
        mine, others = self.buckets, other.buckets
        if mine:
            so_far = mine.get
            for key, count in others.items():
                mine[key] = so_far(key, 0) + count
        else:
            self._buckets = dict(others)
        self._zeros += other._zeros
        self._count += other._count
        self._total_us += other._total_us
        if other._minimum is not None and other._maximum is not None:
            self._widen(other._minimum, other._maximum)

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was counted since `earlier`, a former state of this one.

        Its true minimum and maximum are not known. They are the outer edges of its lowest and highest bucket, or the
        extremes of this histogram if these are nearer. So no sample lies outside them.
        """
        made = Histogram()
        before, now = earlier.buckets.get, self.buckets
        made._count, made._zeros = self._count - earlier._count, self._zeros - earlier._zeros
        if not made._count:
            return made
        made._total_us = self._total_us - earlier._total_us
        made._buckets = {key: more for key, n in now.items() if (more := n - before(key, 0))}
        if self._minimum is not None and self._maximum is not None:
            keys = made._buckets
            made._minimum = 0.0 if made._zeros else max(_edge(min(keys) - 1), self._minimum)
            made._maximum = min(_edge(max(keys)), self._maximum) if keys else 0.0
        return made

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile (0..1) in seconds, by the nearest rank; None if nothing was counted."""
        return self.value_at(nearest_rank(q, self.count)) if self.count else None

    def _find(self, rank: float) -> tuple[int | None, float, float]:
        """Return the bucket of the sample with `rank` smaller ones (None: it counted as 0), minimum and maximum."""
        self._settle()
        if not 0 <= rank < self._count or self._minimum is None or self._maximum is None:
            raise IndexError(rank)
        key, seen = None, self._zeros
        for following in sorted(self._buckets):
            if rank < seen:
                break
            key = following
            seen += self._buckets[key]
        return key, self._minimum, self._maximum

    def value_at(self, rank: float) -> float:
        """Return the sample (seconds, within RELATIVE_ERROR) with `rank` smaller ones; `rank` is rounded down."""
        key, minimum, maximum = self._find(rank)
        return max(0.0, minimum) if key is None else min(max(_middle(key), minimum), maximum)

    def count_above(self, value: float) -> tuple[int, int]:
        """Return how many samples are above `value` (seconds): at least, and at most.

        The two differ by the bucket that `value` falls into: its samples may lie on either side.
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
        """Return bounds (seconds) of the sample with `rank` smaller ones."""
        key, minimum, maximum = self._find(rank)
        if key is None:
            return minimum, min(_SMALLEST_S, maximum)
        return max(_edge(key - 1), minimum), min(_edge(key), maximum)

    def bins(self) -> Iterator[tuple[float, float, int]]:
        """Yield the buckets, the shortest first: from, to (seconds), count."""
        buckets = self.buckets
        if self._zeros:
            yield 0.0, _SMALLEST_S, self._zeros
        for key in sorted(buckets):
            yield _edge(key - 1), _edge(key), buckets[key]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and msgpack; `from_dict` reads them."""
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
        """Return the histogram that `to_dict` wrote. Raises ValueError for what it never writes."""
        stored = _Stored.model_validate(data)
        empty = {stored.min is None, stored.max is None, stored.count == 0}
        if len(empty) != 1 or stored.zeros + sum(stored.buckets.values()) != stored.count:
            raise ValueError("a histogram does not add up")
        made = cls()
        made._buckets, made._zeros, made._count = stored.buckets, stored.zeros, stored.count
        made._total_us, made._minimum, made._maximum = stored.total_us, stored.min, stored.max
        return made


StoredHistogram = Annotated[Histogram, PlainValidator(Histogram.from_dict)]


def nearest_rank(q: float, count: int) -> int:
    """Return how many of `count` samples are smaller than the q-quantile (0..1), at least 0.

    The quantile is the smallest sample that a share q of them does not exceed (nearest rank, the inverse of the
    empirical distribution function: definition 1 of Hyndman and Fan 1996).
    """
    # 1e-9: the product may be too large by a rounding error, as 0.07 * 100 is.
    return max(0, ceil(q * count - 1e-9) - 1)


def _edge(key: int) -> float:
    """Return the largest value (seconds) that falls into a bucket."""
    return exp(key * _GAMMA_LOG)


def _middle(key: int) -> float:
    """Return the value (seconds) that is within RELATIVE_ERROR of all that fall into a bucket."""
    return 2 * exp(key * _GAMMA_LOG) / (1 + exp(_GAMMA_LOG))


class Reading(NamedTuple):
    """A duration in seconds; with `over`, a lower bound: the true duration is longer."""

    seconds: float
    over: bool = False


@dataclass(eq=False, slots=True)
class CensoredHistogram:
    """Two histograms (seconds). observed: the known durations; censored: the lower bounds of the others."""

    observed: StoredHistogram = field(default_factory=Histogram)
    censored: StoredHistogram = field(default_factory=Histogram)

    def add(self, seconds: float) -> None:
        """Count a known duration."""
        self.observed.add(seconds)

    def add_longer_than(self, seconds: float) -> None:
        """Count a duration that is longer than this."""
        self.censored.add(max(seconds, 0.0))

    def to_dict(self) -> dict[str, Any]:
        observed = {"observed": self.observed.to_dict()}
        return {**observed, "censored": self.censored.to_dict()} if self.censored.count else observed

    @property
    def count(self) -> int:
        """How many durations were counted, known or not."""
        return self.observed.count + self.censored.count

    @property
    def total_us(self) -> int:
        """The sum of the known durations and of the bounds (microseconds): the true sum is at least this."""
        return self.observed.total_us + self.censored.total_us

    def merge(self, other: CensoredHistogram) -> None:
        self.observed.merge(other.observed)
        self.censored.merge(other.censored)

    def since(self, earlier: CensoredHistogram) -> CensoredHistogram:
        """Return what was counted since `earlier`, a former state of this one (see `Histogram.since`)."""
        return CensoredHistogram(self.observed.since(earlier.observed), self.censored.since(earlier.censored))

    def quantile(self, q: float) -> Reading | None:
        """Return the q-quantile (0..1); None if nothing was counted.

        The censored samples are ranked above all known ones. If the quantile is one of them, it is a lower bound that
        holds for every rank that they may have.
        """
        if not self.count:
            return None
        rank, known = nearest_rank(q, self.count), self.observed.count
        if q == 1.0:
            return self.maximum
        if rank < known:
            return Reading(self.observed.value_at(rank))
        return Reading(self._least(rank), over=True)

    def figure(self, q: float) -> float | None:
        """Return the q-quantile as one number, for comparison with another such number.

        If it is a censored sample, it is at least the longest known duration: an answer that never came is not fast.
        """
        reading = self.quantile(q)
        if reading is None:
            return None
        return max(reading.seconds, self.observed.maximum or 0.0) if reading.over else reading.seconds

    @property
    def maximum(self) -> Reading | None:
        """The longest duration, as a lower bound if any is censored; None if nothing was counted."""
        bounds = [h.maximum for h in (self.observed, self.censored) if h.maximum is not None]
        return Reading(max(bounds), over=self.censored.count > 0) if bounds else None

    def count_above(self, value: float) -> tuple[int, int]:
        """Return how many samples are at or above `value` (seconds): at least, and at most."""
        surely, at_most = self.observed.count_above(value)
        least = self.censored.minimum
        # A sample is longer than its bound, and so longer than a value equal to the bound.
        bounds = self.censored.count if least is not None and value <= least else self.censored.count_above(value)[0]
        return surely + bounds, at_most + self.censored.count

    def bracket(self, rank: int) -> tuple[float, float]:
        """Return bounds (seconds) of the sample with `rank` smaller ones; the upper one is infinite if it may be
        censored."""
        if not 0 <= rank < self.count:
            raise IndexError(rank)
        return self._least(rank), self.observed.bracket(rank)[1] if rank < self.observed.count else inf

    def _least(self, rank: int) -> float:
        """Return a lower bound of the sample with `rank` smaller ones: each censored one counts as its bound."""
        if not self.censored.count:
            return self.observed.bracket(rank)[0]
        together = Histogram()
        together.merge(self.observed)
        together.merge(self.censored)
        least = together.bracket(rank)[0]
        known = self.observed.count
        # At least rank - known of the censored have a smaller bound. Often their own minimum is the better bound.
        return least if rank < known else max(least, self.censored.bracket(rank - known)[0])


def _with_observed(data: Any) -> Any:
    if isinstance(data, dict) and "observed" not in data:
        raise ValueError("observed is missing")
    return data


StoredCensored = Annotated[CensoredHistogram, Field(default_factory=CensoredHistogram), BeforeValidator(_with_observed)]
