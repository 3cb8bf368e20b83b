"""The slow change of a noisy series: whether there is one, its slope with an interval, and the instants of its jumps.

Method. The series is given as block values (see `chatload.features.report.drift`), because neighbouring measurements of
a running system are correlated. It is assumed that the correlation between two instants falls exponentially, with a
time constant of DEPENDENCE blocks at most. All sums of squares are taken after the correlation of the blocks that
follows from it was removed (generalised least squares; A. C. Aitken, 1935).

One test decides whether the series changes at all. Its alternatives are the shapes that a change may have: a slope, a
step at each place, and two changes: a slope that bends, a slope with a step (a leak that a restart resets), a step there
and back (a failover that is undone). Each shape has its F test. Each of the three kinds gets a third of the level, which
its shapes share equally (Bonferroni). The best shape is compared with the best shapes of simulated series without
change, because the shapes resemble each other and Bonferroni's bound alone would be too cautious. This is the supremum
of F tests over all places of D. W. K. Andrews, "Tests for parameter instability and structural change with unknown
change point" (1993), with more kinds of shapes.

If the series changes, its shapes are found one after the other: the best single shape if it is significant, else the
best two, then more beside those found (J. Bai and P. Perron, "Estimating and testing linear models with multiple
structural changes", 1998). A shape that is not significant beside the later ones is removed again.

The slope is Theil's and Sen's, the median of the slopes of all pairs of blocks between the same two jumps, and its
interval is Sen's (P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968). The S of the parts
are added, as for the seasons of R. M. Hirsch and J. R. Slack (1984). Correlation widens the interval: the variance of S
is multiplied by the correction of K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for autocorrelated
data" (1998), computed from the ranks of the residuals and at least 1. One block in ten may have any error.
"""

from dataclasses import dataclass
from functools import cache
from math import inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

#: The longest time constant of the correlation that the test allows for, in blocks.
DEPENDENCE = 1 / 3
#: The least number of blocks between two jumps, and the greatest number of shapes in a series.
_LEAST, _MOST_SHAPES = 3, 8
#: Series without change that are simulated, at a time and at most; and the number of them that may look as changed as
#: the limit. For a smaller level than _PASS / _MOST_SIMULATED, Bonferroni's bound is used.
_AT_ONCE, _MOST_SIMULATED, _PASS = 2000, 60_000, 60
#: Residuals are clipped at this many times the median absolute residual.
_FAR = 5.0
#: Sums of squares below this part of the whole are rounding errors.
_NOTHING = 1e-18
#: The number of fitted parameters before neighbours are compared: level, slope and curvature.
_FITTED = 3
#: Indices of the shapes. The step before block k is _STEPS + k - _LEAST.
_SLOPE, _BEND, _STEPS = 0, 1, 2

_Array = NDArray[np.float64]
_Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Jump:
    """The level changes between the blocks index - 1 and index, by `size` (the series' unit)."""

    index: int
    size: float


@dataclass(frozen=True)
class Trend:
    """slope: per unit of time, with the interval low..high. drifts: the slope is part of the change that was found.
    jumps: those that were found, in order of time. level: of the line at the first block."""

    slope: float
    low: float
    high: float
    drifts: bool
    jumps: tuple[Jump, ...]
    level: float


def find_trend(
    times: _Array,
    values: _Array,
    confidence: float,
    level: float,
    scores: _Array | None = None,
    noise: float = 0.0,
) -> Trend:
    """Return the trend of a series of blocks.

    Args:
        times, values: of the blocks, in order of time.
        confidence: of the slope's interval, between 0 and 1.
        level: the greatest probability that a slope or a jump is found in a series without change.
        scores: the values on a scale on which their noise is about normal, for the test. Default: values.
        noise: the least standard deviation of a score that is possible. More may be seen.

    Raises:
        ValueError: there are fewer than 2 * 3 blocks.
    """
    if len(values) < 2 * _LEAST:
        raise ValueError(f"{len(values)} blocks are too few")
    shapes = _find_shapes(times, values if scores is None else scores, level, noise)
    cuts = _cuts(shapes)
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
    drifts = _SLOPE in shapes and (low > 0 or high < 0)
    return Trend(slope, low, high, drifts, jumps, levels[0] + slope * float(times[0]))


# -- which shapes a series has ---------------------------------------------------------------------


def _find_shapes(times: _Array, scores: _Array, level: float, noise: float) -> list[int]:
    """Return the shapes that are significant."""
    n = len(scores)
    known: list[int] = []
    limit = _limit(n, level)
    white = _whitener(n)
    while len(known) < _MOST_SHAPES:
        y = (white @ _clipped(times, scores, _cuts(known), noise))[None, :]
        search = _Search(times, known)
        single, double = search.adjusted(y, noise)
        # Smaller models first.
        if single.size and single.min() <= limit:
            known.append(int(search.singles[int(np.argmin(single))]))
        elif double.size and double.min() <= limit:
            known.extend(int(shape) for shape in search.doubles[int(np.argmin(double))])
        else:
            break
    return known


def _cuts(shapes: list[int]) -> list[int]:
    """Return the first blocks after each of the steps."""
    return sorted(shape - _STEPS + _LEAST for shape in shapes if shape >= _STEPS)


def _clipped(times: _Array, scores: _Array, cuts: list[int], noise: float) -> _Array:
    """Return the scores, those far from the line through their stretch drawn in, so that no block dominates."""
    slope = float(np.median(_pairs(times, scores, cuts)[0]))
    left = _residuals(times, scores, cuts, slope)
    spread = max(float(np.median(np.abs(left))), noise)
    return scores - left + np.clip(left, -_FAR * spread, _FAR * spread) if spread > 0 else scores


@cache
def _whitener(n: int) -> _Array:
    """Return the matrix that removes the correlation of n blocks.

    Correlation of the means of two blocks k apart, if that between instants falls by exp(-1) in 1/a blocks:
    (1 - exp(-a))^2 exp(-(k - 1) a) / (2 (a - 1 + exp(-a))), by integration over both blocks.
    """
    a, apart = 1 / DEPENDENCE, np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    between = (1 - np.exp(-a)) ** 2 * np.exp(-(apart - 1) * a) / (2 * (a - 1 + np.exp(-a)))
    made: _Array = np.linalg.inv(np.linalg.cholesky(np.where(apart == 0, 1.0, between)))
    return made


class _Search:
    """The shapes that may be added to those known. singles: their indices; doubles: pairs of them, in rows."""

    def __init__(self, times: _Array, known: list[int]) -> None:
        n = len(times)
        middle = times - times.mean()
        starts = np.arange(_LEAST, n - _LEAST + 1)
        every = np.vstack([middle, middle**2, np.arange(n)[None, :] >= starts[:, None]]).astype(np.float64)
        shapes = every @ _whitener(n).T
        self._basis = np.linalg.qr(np.vstack([_whitener(n) @ np.ones(n), shapes[known]]).T)[0]
        left = shapes - (shapes @ self._basis) @ self._basis.T
        size = np.linalg.norm(left, axis=1)
        self._shapes = left / np.where(size > 0, size, 1.0)[:, None]
        cuts = _cuts(known)
        steps = [
            int(start) + _STEPS - _LEAST for start in starts if all(abs(start - cut) >= _LEAST for cut in cuts)
        ]
        # A bend is no shape of its own: only a slope bends.
        free = [shape for shape in (_SLOPE, _BEND) if shape not in known and (shape == _SLOPE or _SLOPE in known)]
        pairs = [(_SLOPE, _BEND)] if _SLOPE in free else []
        pairs += [(_SLOPE, step) for step in steps] if _SLOPE in free else []
        pairs += [(a, b) for a in steps for b in steps if b - a >= _LEAST]
        self.singles: _Indices = np.array([*free, *steps], dtype=np.int64)
        self.doubles: _Indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        #: The factor of Bonferroni of each single shape.
        self._factors = np.where(self.singles < _STEPS, 3.0 * max(len(free), 1), 3.0 * max(len(steps), 1))

    def adjusted(self, series: _Array, noise: float) -> tuple[_Array, _Array]:
        """Return the adjusted p values of single shapes and of two, a row for each series (rows, whitened)."""
        y = series - (series @ self._basis) @ self._basis.T
        total = np.sum(y * y, axis=1, keepdims=True)
        total = np.where(total > _NOTHING * np.sum(series * series, axis=1, keepdims=True), total, 0.0)
        along = y @ self._shapes.T
        free = y.shape[1] - self._basis.shape[1] - 1
        single = _p_values(along[:, self.singles] ** 2, total, 1, free, noise) * self._factors
        i, j = self.doubles.T
        like = np.einsum("ij,ij->i", self._shapes[i], self._shapes[j])
        both = (along[:, i] ** 2 + along[:, j] ** 2 - 2 * like * along[:, i] * along[:, j]) / (1 - like**2)
        double = _p_values(both, total, 2, free - 1, noise) * (3.0 * len(self.doubles))
        return single, double


def _p_values(explained: _Array, total: _Array, parameters: int, free: int, noise: float) -> _Array:
    """Return the p value of the F test of 1 or 2 parameters, with so many degrees of freedom left. noise: the least
    standard deviation of what is left."""
    left = np.maximum(np.maximum(total - explained, _NOTHING * total), free * noise**2)
    # 0 explained of 0 is no change.
    share = np.where(left > 0, left / np.where(left > 0, left + explained, 1.0), 1.0)
    return betainc(free / 2, parameters / 2, share)  # type: ignore[no-any-return]


@cache
def _limit(n: int, level: float) -> float:
    """Return the adjusted p value that a series of n blocks without change falls below with the probability `level`."""
    count = int(_PASS / level)
    if count > _MOST_SIMULATED:
        return level
    random, search = np.random.default_rng(n), _Search(np.arange(float(n)), [])
    least: list[float] = []
    for drawn in range(0, count, _AT_ONCE):
        single, double = search.adjusted(random.standard_normal((min(_AT_ONCE, count - drawn), n)), 0.0)
        least.extend(np.minimum(single.min(axis=1), double.min(axis=1)))
    return max(float(np.partition(least, _PASS)[_PASS]), level)


# -- the size of the slope -------------------------------------------------------------------------


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


def _tamed(residuals: _Array) -> _Array:
    """Return the clipped residuals; their ranks if most residuals are 0."""
    spread = float(np.median(np.abs(residuals)))
    if spread > 0:
        return np.clip(residuals, -_FAR * spread, _FAR * spread)
    ranks: _Array = _ranks(residuals)
    # If all values are equal this gives exactly 0: rounding errors would look autocorrelated.
    return ranks - float(ranks.mean())


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
