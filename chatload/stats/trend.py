"""A slow change in a noisy series: its slope with an interval, and the instants at which its level jumps.

Method. The series is given as block values (see `chatload.features.report.drift`): neighbouring measurements of a
running system resemble each other, and a plain Mann-Kendall test on them finds trends that are not there.
What resemblance is left between blocks widens the interval: the variance of Kendall's S is multiplied by
the correction of K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for autocorrelated data"
(1998), taken from the ranks of what the line leaves, and never below 1.

The slope is Theil's and Sen's, the median of the slopes of all pairs, and its interval is Sen's (P. K. Sen,
"Estimates of the regression coefficient based on Kendall's tau", 1968): one block in ten may be off by
anything. Where the level jumps (a restart, a failover), only pairs between two jumps count, and their S add
up, as do the seasons of R. M. Hirsch and J. R. Slack (1984): so that a leak that a restart resets is still a
leak. (Resets that come again and again may hide each other: each jump is sought by itself.)

A jump is sought where it explains most of what slope and levels leave: the greatest of the statistics of all
places (D. W. K. Andrews, "Tests for parameter instability and structural change with unknown change point",
1993), its ratio of variances divided by the same correction, against its distribution over permutations of what
is left (D. Freedman and D. Lane, "A nonstochastic interpretation of reported significance levels", 1983): that
all places are tried is so paid for. What is far off is drawn in before, so that one block does not outweigh all.
Where no jump is found, a jump there and back (a failover that is undone) is sought alike, each of the two
questions having half of the chance. Then the stretches are searched again. A permutation knows no more than the
number of blocks: a jump among the first or last three of twenty, and a stay of less than about five blocks, is
not told from chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

#: A stretch between jumps has at least so many blocks, and a series at most so many jumps.
_LEAST, _MOST_JUMPS = 3, 6
#: A level is told by so many permutations for each 1/level, so that one or the other may do as well by chance; drawn
#: so many at a time, and at most so many.
_FOR_A_LEVEL, _AT_ONCE, _MOST_PERMUTATIONS = 5, 250, 200_000
#: What is so many times as far off as half of the blocks are counts as no farther.
_FAR = 5.0
#: Values that are all alike leave less than this when a line is taken away, and shares that are alike differ by less.
_NOTHING = 1e-9
#: What is fitted before neighbours are compared: a level, a line and a bend.
_FITTED = 3

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jump:
    """The level changes between the blocks index - 1 and index, by `size` (the series' unit)."""

    index: int
    size: float


@dataclass(frozen=True)
class Trend:
    """slope: per unit of time, with the interval low..high; jumps: in order of time; level: the line's at the
    first block."""

    slope: float
    low: float
    high: float
    jumps: tuple[Jump, ...]
    level: float

    @property
    def sure(self) -> bool:
        """Whether the interval does not hold 0."""
        return self.low > 0 or self.high < 0


def find_trend(times: _Array, values: _Array, confidence: float, jump_level: float) -> Trend:
    """The trend of a series of blocks, by time; confidence: of the slope's interval. jump_level: a series
    without any jump has one reported with at most this probability.

    Raises ValueError of fewer than 2 * 3 blocks.
    """
    if len(values) < 2 * _LEAST:
        raise ValueError(f"{len(values)} blocks are too few")
    cuts: list[int] = []
    while len(cuts) < _MOST_JUMPS:
        more = _next_cuts(times, values, cuts, jump_level)
        if not more:
            break
        cuts = sorted([*cuts, *more])
    slope, low, high = _slope(times, values, cuts, confidence)
    levels = [float(np.median(part)) for part in np.split(values - slope * times, cuts)]
    jumps = tuple(Jump(cut, after - before) for cut, before, after in zip(cuts, levels, levels[1:], strict=False))
    return Trend(slope, low, high, jumps, levels[0] + slope * float(times[0]))


def _slope(times: _Array, values: _Array, cuts: list[int], confidence: float) -> tuple[float, float, float]:
    """Theil and Sen's slope over the pairs within stretches, and its interval."""
    slopes, variance = _pairs(times, values, cuts)
    middle = float(np.median(slopes))
    variance *= _inflation(_residuals(times, values, cuts, middle))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(variance)
    count = len(slopes)
    low, high = int(np.floor((count - reach) / 2)) - 1, int(np.ceil((count + reach) / 2))
    return middle, float(slopes[low]) if low >= 0 else -inf, float(slopes[high]) if high < count else inf


def _pairs(times: _Array, values: _Array, cuts: list[int]) -> tuple[_Array, float]:
    """The slopes of all pairs within stretches, sorted, and the variance of Kendall's S."""
    slopes, variance = [], 0.0
    for t, v in zip(np.split(times, cuts), np.split(values, cuts), strict=True):
        i, j = np.triu_indices(len(v), 1)
        slopes.append((v[j] - v[i]) / (t[j] - t[i]))
        n = len(v)
        tied = np.unique(v, return_counts=True)[1]
        variance += (n * (n - 1) * (2 * n + 5) - float(np.sum(tied * (tied - 1) * (2 * tied + 5)))) / 18
    return np.sort(np.concatenate(slopes)), variance


def _residuals(times: _Array, values: _Array, cuts: list[int], slope: float) -> _Array:
    """What slope and levels leave."""
    level = values - slope * times
    return np.concatenate([part - np.median(part) for part in np.split(level, cuts)])


def _ranks(values: _Array) -> _Array:
    """Return the rank of each value, from 1; equal values share their mean rank.

    scipy.stats has the same, but its import takes half a second in every process of a run.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: _Array = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _inflation(residuals: _Array) -> float:
    """By how much resemblance between neighbours multiplies the variance of a rank statistic; from 1 on."""
    n = len(residuals)
    # A slow change need not be a line; what bends it is no resemblance of the noise, and one block bends nothing.
    tamed = _tamed(residuals)
    bend = np.polynomial.Polynomial.fit(np.arange(n), tamed, 2)(np.arange(n))
    ranks = _ranks(tamed - bend)
    ranks = ranks - ranks.mean()
    total = float(ranks @ ranks)
    if total <= 0:
        return 1.0
    added = 0.0
    for lag in range(1, n // 4 + 1):
        # A correlation estimated about what was fitted is too small by about so much at any lag.
        correlation = float(ranks[:-lag] @ ranks[lag:]) / total + _FITTED / n
        if correlation <= 0:
            break
        added += (n - lag) * (n - lag - 1) * (n - lag - 2) * correlation
    return 1.0 + 2.0 * added / (n * (n - 1) * (n - 2))


def _next_cuts(times: _Array, values: _Array, cuts: list[int], level: float) -> tuple[int, ...]:
    """The next jump, as the index of its first block, or the next two, there and back; none where there is none."""
    n = len(values)
    edges = [0, *cuts, n]
    slope = float(np.median(_pairs(times, values, cuts)[0]))
    scores = _tamed(_residuals(times, values, cuts, slope))
    # A bend is no jump either.
    known = np.column_stack([*(_steps(n, edges[:-1])), times, times**2])
    basis = np.linalg.qr(known)[0]
    for places in _places(edges):
        if not places:
            continue
        steps = np.array([_steps(n, list(place)).T @ (1.0, -1.0)[: len(place)] for place in places])
        steps -= (steps @ basis) @ basis.T
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        seen = _fits(basis, steps, scores[None, :])[0]
        best, part = places[int(np.argmax(seen))], float(seen.max())
        after = sorted([*cuts, *best])
        left = _residuals(times, values, after, float(np.median(_pairs(times, values, after)[0])))
        # Of the two parts' ratio, as far as it is resemblance that widens it.
        if _rare(basis, steps, scores, part / (part + _inflation(left) * (1 - part)) if part else 0.0, level / 2):
            return best
    return ()


def _places(edges: list[int]) -> Iterator[list[tuple[int, ...]]]:
    """Where stretches between these edges may jump; and where they may jump and jump back."""
    stretches = [range(a + _LEAST, b - _LEAST + 1) for a, b in itertools.pairwise(edges)]
    yield [(k,) for inside in stretches for k in inside]
    yield [(a, b) for inside in stretches for a, b in itertools.combinations(inside, 2) if b - a >= _LEAST]


def _tamed(residuals: _Array) -> _Array:
    """Residuals of which none is too far off; their ranks where most are nothing."""
    spread = float(np.median(np.abs(residuals)))
    if spread > 0:
        return np.clip(residuals, -_FAR * spread, _FAR * spread)
    ranks: _Array = _ranks(residuals)
    # Where all are alike exactly 0: what is left of them by rounding resembles itself.
    return ranks - float(ranks.mean())


def _rare(basis: _Array, steps: _Array, scores: _Array, least: float, level: float) -> bool:
    """Whether scores in any order fit a step so well with a probability of at most `level`.

    Told by permutations, of which a small level takes many: fewer than 1 / level could never tell it. They end where
    too many have fitted as well for the rest to matter.
    """
    count = min(ceil(_FOR_A_LEVEL / level), _MOST_PERMUTATIONS)
    random = np.random.default_rng(len(scores))
    as_good, least = 1, least * (1 - _NOTHING)
    for drawn in range(0, count, _AT_ONCE):
        orders = random.permuted(np.tile(scores, (min(_AT_ONCE, count - drawn), 1)), axis=1)
        as_good += int(np.sum(_fits(basis, steps, orders).max(axis=1) >= least))
        if as_good > level * (1 + count):
            return False
    return True


def _steps(n: int, starts: list[int]) -> _Array:
    """A row a start: 0 before it, 1 from it on."""
    return (np.arange(n)[None, :] >= np.array(starts)[:, None]).astype(np.float64)


def _fits(basis: _Array, steps: _Array, scores: _Array) -> _Array:
    """Of each row of scores (rows) the part that each step (columns) explains of what the basis leaves."""
    left = scores - (scores @ basis) @ basis.T
    total = np.sum(left * left, axis=1, keepdims=True)
    explained: _Array = (left @ steps.T) ** 2 / np.where(total > _NOTHING, total, np.inf)
    return explained
