"""The slow change of a noisy series: its slope with an interval, and the instants at which its level jumps.

Method. The series is given as block values (see `chatload.features.report.drift`), because neighbouring measurements of
a running system are autocorrelated, and a plain Mann-Kendall test on them finds trends that do not exist. The
autocorrelation between blocks widens the interval: the variance of Kendall's S is multiplied by the correction of K. H.
Hamed and A. R. Rao, "A modified Mann-Kendall trend test for autocorrelated data" (1998), computed from the ranks of the
residuals and at least 1.

The slope is Theil's and Sen's, the median of the slopes of all pairs, and its interval is Sen's (P. K. Sen,
"Estimates of the regression coefficient based on Kendall's tau", 1968): one block in ten may have any error. If the
level jumps (a restart, a failover), only pairs of blocks between the same two jumps count, and the S of the parts are
added, as for the seasons of R. M. Hirsch and J. R. Slack (1984). So a leak is found even if a restart resets it. (Many
resets may hide each other, because each jump is searched for on its own.)

The candidate for a jump is the place where it explains most of the residuals: the greatest of the statistics of all
places (D. W. K. Andrews, "Tests for parameter instability and structural change with unknown change point", 1993). Its
ratio of variances, divided by the same correction, is compared with its distribution over permutations of the residuals
(D. Freedman and D. Lane, "A nonstochastic interpretation of reported significance levels", 1983), which corrects for
testing all places. Outliers are clipped before, so that one block does not dominate. If no jump is found, a jump there
and back (a failover that is undone) is searched for in the same way; each of the two tests has half of the level. Then
the stretches are searched again. With few blocks there are few permutations: a jump among the first or last three of
twenty blocks, and a change that lasts less than about five blocks, cannot be distinguished from chance.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

#: The least number of blocks between two jumps, and the greatest number of jumps in a series.
_LEAST, _MOST_JUMPS = 3, 6
#: The number of permutations is the first number / level, so that a few may fit as well by chance. They are drawn in
#: batches of the second number, and at most the third number of them.
_FOR_A_LEVEL, _AT_ONCE, _MOST_PERMUTATIONS = 5, 250, 200_000
#: Residuals are clipped at this many times the median absolute residual.
_FAR = 5.0
#: Residuals of equal values are smaller than this, and equal shares differ by less: rounding errors.
_NOTHING = 1e-9
#: The number of fitted parameters before neighbours are compared: level, slope and curvature.
_FITTED = 3

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jump:
    """The level changes between the blocks index - 1 and index, by `size` (the series' unit)."""

    index: int
    size: float


@dataclass(frozen=True)
class Trend:
    """slope: per unit of time, with the interval low..high. jumps: in order of time. level: of the line at the first
    block."""

    slope: float
    low: float
    high: float
    jumps: tuple[Jump, ...]
    level: float

    @property
    def sure(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.low > 0 or self.high < 0


def find_trend(times: _Array, values: _Array, confidence: float, jump_level: float) -> Trend:
    """Return the trend of a series of blocks.

    Args:
        times, values: of the blocks, in order of time.
        confidence: of the slope's interval, between 0 and 1.
        jump_level: the greatest probability that a jump is reported in a series without jumps.

    Raises:
        ValueError: there are fewer than 2 * 3 blocks.
    """
    if len(values) < 2 * _LEAST:
        raise ValueError(f"{len(values)} blocks are too few")
    cuts: list[int] = []
    while len(cuts) < _MOST_JUMPS:
        more = _next_cuts(times, values, cuts, jump_level)
        if not more:
            break
        cuts = sorted([*cuts, *more])
    # Theil and Sen's slope over the pairs within stretches, and its interval.
    slopes, variance = _pairs(times, values, cuts)
    slope = float(np.median(slopes))
    variance *= _inflation(_residuals(times, values, cuts, slope))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(variance)
    count = len(slopes)
    first, last = int(np.floor((count - reach) / 2)) - 1, int(np.ceil((count + reach) / 2))
    low = float(slopes[first]) if first >= 0 else -inf
    high = float(slopes[last]) if last < count else inf
    levels = [float(np.median(part)) for part in np.split(values - slope * times, cuts)]
    jumps = tuple(Jump(cut, after - before) for cut, before, after in zip(cuts, levels, levels[1:], strict=False))
    return Trend(slope, low, high, jumps, levels[0] + slope * float(times[0]))


def _pairs(times: _Array, values: _Array, cuts: list[int]) -> tuple[_Array, float]:
    """Return the slopes of all pairs within stretches, sorted, and the variance of Kendall's S."""
    slopes, variance = [], 0.0
    for t, v in zip(np.split(times, cuts), np.split(values, cuts), strict=True):
        i, j = np.triu_indices(len(v), 1)
        slopes.append((v[j] - v[i]) / (t[j] - t[i]))
        n = len(v)
        tied = np.unique(v, return_counts=True)[1]
        variance += (n * (n - 1) * (2 * n + 5) - float(np.sum(tied * (tied - 1) * (2 * tied + 5)))) / 18
    return np.sort(np.concatenate(slopes)), variance


def _residuals(times: _Array, values: _Array, cuts: list[int], slope: float) -> _Array:
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
    """Return the factor (at least 1) by which autocorrelation multiplies the variance of a rank statistic."""
    n = len(residuals)
    # A slow change need not be linear: its curvature is removed, so that it does not count as autocorrelation of the
    # noise. Residuals are clipped before, so that one block alone does not cause a curvature.
    tamed = _tamed(residuals)
    bend = np.polynomial.Polynomial.fit(np.arange(n), tamed, 2)(np.arange(n))
    ranks = _ranks(tamed - bend)
    ranks = ranks - ranks.mean()
    total = float(ranks @ ranks)
    if total <= 0:
        return 1.0
    added = 0.0
    for lag in range(1, n // 4 + 1):
        # A correlation of residuals after fitting is too small by about this much at every lag.
        correlation = float(ranks[:-lag] @ ranks[lag:]) / total + _FITTED / n
        if correlation <= 0:
            break
        added += (n - lag) * (n - lag - 1) * (n - lag - 2) * correlation
    return 1.0 + 2.0 * added / (n * (n - 1) * (n - 2))


def _next_cuts(times: _Array, values: _Array, cuts: list[int], level: float) -> tuple[int, ...]:
    """Return the next jump as the index of its first block, or two (there and back); () if there is none."""
    n = len(values)
    edges = [0, *cuts, n]
    slope = float(np.median(_pairs(times, values, cuts)[0]))
    scores = _tamed(_residuals(times, values, cuts, slope))
    # A curvature is not a jump either.
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
        # The explained share, reduced by the autocorrelation of what it leaves.
        if _rare(basis, steps, scores, part / (part + _inflation(left) * (1 - part)) if part else 0.0, level / 2):
            return best
    return ()


def _places(edges: list[int]) -> Iterator[list[tuple[int, ...]]]:
    """Yield all places for one jump within the stretches between these edges, then all for a jump there and back."""
    stretches = [range(a + _LEAST, b - _LEAST + 1) for a, b in itertools.pairwise(edges)]
    yield [(k,) for inside in stretches for k in inside]
    yield [(a, b) for inside in stretches for a, b in itertools.combinations(inside, 2) if b - a >= _LEAST]


def _tamed(residuals: _Array) -> _Array:
    """Return the clipped residuals; their ranks if most residuals are 0."""
    spread = float(np.median(np.abs(residuals)))
    if spread > 0:
        return np.clip(residuals, -_FAR * spread, _FAR * spread)
    ranks: _Array = _ranks(residuals)
    # If all values are equal this gives exactly 0: rounding errors would look autocorrelated.
    return ranks - float(ranks.mean())


def _rare(basis: _Array, steps: _Array, scores: _Array, least: float, level: float) -> bool:
    """Return whether permuted scores fit a step as well as `least` with a probability of at most `level`.

    A small level needs many permutations: with fewer than 1 / level the answer would always be no. The test ends early
    once too many permutations have fitted as well.
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
    """Return one row for each start: 0 before it, 1 from it on."""
    return (np.arange(n)[None, :] >= np.array(starts)[:, None]).astype(np.float64)


def _fits(basis: _Array, steps: _Array, scores: _Array) -> _Array:
    """Return for each row of scores (rows) the share that each step (columns) explains of what the basis leaves."""
    left = scores - (scores @ basis) @ basis.T
    total = np.sum(left * left, axis=1, keepdims=True)
    explained: _Array = (left @ steps.T) ** 2 / np.where(total > _NOTHING, total, np.inf)
    return explained
