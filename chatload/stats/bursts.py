"""Bursts of drops: an outage that drops forty chats at once is one incident, not forty.

Method. If the drops were independent, their instants would be uniformly distributed over the run. For n such instants,
the stretch from one instant to the (c-1)th after it, as a share of the run's length, is distributed as Beta(c-1, n-c+2)
(H. A. David and H. N. Nagaraja, "Order Statistics", 2003, 2.3: uniform spacings). There are n-c+1 such stretches for
each c, and the weights 1/(c(c-1)) of all c sum to 1; so, by Bonferroni's inequality,

    (n-c+1) c (c-1) P(Beta(c-1, n-c+2) <= width/length) <= LEVEL

holds for *any* stretch with a probability of at most LEVEL if there are no bursts: it is corrected for multiple tests.
The stretches tested are single-linkage clusters at link lengths of 1/2, 1/4, ... of the mean spacing; of those that
overlap the most likely one is used (M. Kulldorff, "A spatial scan statistic", 1997). The bursts found are then removed,
their drops and their time, and the rest is searched again (Z. Zhang, R. Assunção and M. Kulldorff, "Spatial Scan
Statistics Adjusted for Multiple Clusters", 2010). So the rate of the *isolated* drops becomes the baseline, even if
nearly all drops of a run are in one burst. Finally, a drop that is nearer to a burst than 95 % of incidents are to each
other is added to the burst.

The null hypothesis is a constant rate. A run in which one third has three times the drops of the rest does not fulfil
it, and bursts may be reported.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, rel_entr

from chatload.stats.rates import per_unit

#: In at most this share of the runs without bursts, a burst is reported.
LEVEL = 0.01
#: A drop joins a burst that is nearer than this quantile of the spacing of incidents (isolated drops and bursts).
_JOINS = 0.05
#: The resolution of instants (seconds): two equal instants are not infinitely unlikely.
_RESOLUTION_S = 0.001
_SCALES = 24
_PASSES = 50

_Instants = NDArray[np.float64]
_Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Burst:
    """Drops that came together: the first and the last instant (seconds), and how many."""

    start: float
    end: float
    count: int


@dataclass(frozen=True)
class Incidence:
    """Drops grouped into incidents (bursts and isolated drops). events: drops in all. length_s: length of the run."""

    events: int
    bursts: tuple[Burst, ...]
    length_s: float

    @property
    def incidents(self) -> int:
        """Bursts, and the drops that are in none."""
        return self.events - sum(burst.count for burst in self.bursts) + len(self.bursts)

    def sizes(self) -> list[int]:
        """Return the number of drops of each incident, the bursts first."""
        alone = self.events - sum(burst.count for burst in self.bursts)
        return [*(burst.count for burst in self.bursts), *[1] * alone]

    @property
    def worst(self) -> Burst | None:
        """The largest burst, the first of equals; None if there was none."""
        return max(self.bursts, key=lambda burst: burst.count, default=None)

    def incidents_per_hour(self) -> tuple[float, float] | None:
        """Return the two-sided exact Poisson interval of incidents per hour; None for a run of no length.

        It assumes that incidents are independent, which is more plausible than for drops.
        """
        return per_unit(self.incidents, self.length_s / 3600) if self.length_s > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON; instants are as given."""
        hourly = self.incidents_per_hour()
        return {
            "drops": self.events,
            "incidents": self.incidents,
            "bursts": [asdict(burst) for burst in self.bursts],
            "incidents_per_hour": None if hourly is None else list(hourly),
        }


def find_incidence(instants: Sequence[float], start: float | None, end: float | None) -> Incidence:
    """Return the incidents of a run from start to end (seconds), with drops at `instants` (in any order).

    If its start or end is not known, that is the first or the last drop.
    """
    start = min(instants, default=0.0) if start is None else start
    end = max(instants, default=start) if end is None else end
    bursts = find_bursts(instants, start, end)
    return Incidence(len(instants), tuple(bursts), max(end - start, 0.0))


def find_bursts(instants: Sequence[float], start: float, end: float) -> list[Burst]:
    """Return the bursts among the `instants` (in any order) of a run from start to end (seconds), in order of time.

    Takes O(n log n). An instant outside the run is moved to its edge.
    """
    times = np.clip(np.sort(np.asarray(instants, dtype=np.float64)), start, end)
    length = end - start
    if len(times) < 2 or not length > _RESOLUTION_S:
        return []
    # The stretches of time that bursts cover, in order of time; whether each instant is in one; the time outside them.
    low, high = np.empty(0), np.empty(0)
    inside, free_s, found = np.zeros(len(times), dtype=np.bool_), length, 0
    for _ in range(_PASSES):
        remaining = times[~inside]
        spans = _search(_contracted(remaining, low, high), free_s)
        if not spans:
            break
        found += len(spans)
        first, last = np.array(spans).T
        low, high = _merged(np.append(low, remaining[first]), np.append(high, remaining[last]))
        inside = np.searchsorted(low, times, side="right") > np.searchsorted(high, times, side="left")
        free_s = length - float(np.sum(high - low))
    # One more than were found: after a single incident, little is known about how often they come.
    rate = (len(times) - int(inside.sum()) + found + 1) / max(free_s, _RESOLUTION_S)
    return _joined(times, inside, high, rate) if found else []


def _search(times: _Instants, length: float) -> list[tuple[int, int]]:
    """Return the significant clusters of sorted instants (index of first and last), without overlaps."""
    n = len(times)
    if n < 2 or length <= _RESOLUTION_S:
        return []
    first, last = _clusters(times, length / n)
    count = last - first + 1
    share = np.minimum(np.maximum(times[last] - times[first], _RESOLUTION_S) / length, 1.0)
    chance = betainc(count - 1, n - count + 2, share) * (n - count + 1.0) * count * (count - 1.0)
    significant = chance <= LEVEL
    first, last, count, share = first[significant], last[significant], count[significant], share[significant]
    free = np.ones(n, dtype=np.bool_)
    spans = []
    # Kulldorff's log likelihood ratio of `count` of `n` in a `share` of the time, against a uniform rate.
    likelihood = rel_entr(count, n * share) + rel_entr(n - count, n * (1 - share))
    for i in np.argsort(-likelihood, kind="stable"):
        if free[first[i]] and free[last[i]] and free[first[i] : last[i] + 1].all():
            free[first[i] : last[i] + 1] = False
            spans.append((int(first[i]), int(last[i])))
    return spans


def _clusters(times: _Instants, spacing: float) -> tuple[_Indices, _Indices]:
    """Return the single-linkage clusters of two or more at each link length: index of first and last instant."""
    gaps = np.diff(times)
    firsts, lasts = [], []
    for scale in range(1, _SCALES + 1):
        link = spacing * 0.5**scale
        breaks = np.flatnonzero(gaps > link)
        first = np.concatenate(([0], breaks + 1))
        last = np.concatenate((breaks, [len(times) - 1]))
        several = last > first
        if not several.any():
            break
        firsts.append(first[several])
        lasts.append(last[several])
    none = np.empty(0, dtype=np.int64)
    spans = np.unique(np.stack((np.concatenate([none, *firsts]), np.concatenate([none, *lasts]))), axis=1)
    return spans[0], spans[1]


def _merged(low: _Instants, high: _Instants) -> tuple[_Instants, _Instants]:
    """Return start and end of the stretches covered by bursts, in order of time; nested ones count as one."""
    by_time = np.argsort(low, kind="stable")
    low, high = low[by_time], np.maximum.accumulate(high[by_time])
    new = low[1:] > high[:-1]
    return low[np.append(True, new)], high[np.append(new, True)]


def _contracted(times: _Instants, low: _Instants, high: _Instants) -> _Instants:
    """Return the instants on a time axis from which the stretches covered by bursts are removed."""
    before = np.concatenate(([0.0], np.cumsum(high - low)))
    contracted: _Instants = times - before[np.searchsorted(high, times, side="left")]
    return contracted


def _joined(times: _Instants, inside: NDArray[np.bool_], high: _Instants, rate: float) -> list[Burst]:
    """Return the bursts with the drops that lie inside them, or nearer than other incidents usually are."""
    near = -math.log1p(-_JOINS) / rate
    # By stretch of time: a burst that surrounds another one, found earlier, becomes one burst with it.
    index = np.searchsorted(high, times, side="left")
    linked = (np.diff(times) <= near) & (inside[:-1] | inside[1:])
    linked |= inside[:-1] & inside[1:] & (index[:-1] == index[1:])
    breaks = np.flatnonzero(~linked)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [len(times) - 1]))
    held = np.concatenate(([0], np.cumsum(inside)))
    return [
        Burst(float(times[first]), float(times[last]), int(last - first + 1))
        for first, last in zip(firsts, lasts, strict=True)
        if held[last + 1] > held[first]
    ]
