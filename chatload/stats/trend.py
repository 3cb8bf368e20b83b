"""The slow change of a noisy series: whether there is one, its slope with an interval, and the instants of its jumps.

Method. The series is given as block values (see `chatload.features.report.drift`), because neighbouring measurements of
a running system are correlated. It is assumed that the correlation between two instants falls exponentially, with a
time constant of DEPENDENCE blocks at most. All sums of squares are taken after the correlation of the blocks that
follows from it was removed (generalised least squares; A. C. Aitken, 1935).

One test decides whether the series changes at all. Its alternatives are the four kinds of shapes that a change may
have: a slope; a step; a slope that bends or is reset by a step (a leak and a restart); a step there and back (a
failover that is undone). Each shape has its F test. Each kind gets a quarter of the level, which its shapes, one for
each place, share equally (Bonferroni). The shapes resemble each other, so this bound alone would be too cautious: the
best shape is compared with the best shapes of simulated series without change. This is the supremum of F tests over all
places of D. W. K. Andrews, "Tests for parameter instability and structural change with unknown change point" (1993),
with more kinds of shapes.

If the series changes, its shapes are found one after the other: the best single shape if it is significant, else the
best two, then more beside those found (J. Bai and P. Perron, "Estimating and testing linear models with multiple
structural changes", 1998). The place of a step was searched for, a slope has none. So a single step is certain only
if its p value, multiplied by the number of places, is below that of a slope (straight or bent), and a single slope only
if its p value is below that of every step. Between the two the change is one of them, and it is not known which.

The slope is Theil's and Sen's, the median of the slopes of all pairs of blocks between the same two jumps, and its
interval is Sen's (P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968). The S of the
parts are added, as for the seasons of R. M. Hirsch and J. R. Slack (1984). Correlation widens the interval: the
variance of S is multiplied by the correction of K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for
autocorrelated data" (1998), computed from the ranks of the residuals and at least 1. One block in ten may have any
error.
"""

from dataclasses import dataclass
from functools import cache
from math import inf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, stdtrit

#: The longest time constant of the correlation that the test allows for, in blocks.
DEPENDENCE = 1 / 3
#: The least number of blocks between two jumps, and the greatest number of shapes in a series.
_LEAST, _MOST_SHAPES = 4, 8
#: Series without change are simulated so many at a time and at most, and the third number of them reaches the limit.
#: For a level below _PASS / _MOST_SIMULATED, Bonferroni's bound is used.
_AT_ONCE, _MOST_SIMULATED, _PASS = 2000, 60_000, 60
#: Residuals are clipped at this many times the median absolute residual.
_FAR = 5.0
#: A sum of squares below this part of the whole is a rounding error.
_NOTHING = 1e-24
#: The number of fitted parameters before neighbours are compared: level, slope and curvature.
_FITTED = 3
#: Indices of the shapes. The step before block k is _STEPS + k - _LEAST.
_SLOPE, _BEND, _STEPS = 0, 1, 2
#: The kinds of shapes, which share the level: a slope, a step, a slope that changes, a step there and back.
_KINDS = 4

_Array = NDArray[np.float64]
_Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Jump:
    """The level changes between the blocks index - 1 and index, by `size` (the series' unit, with the interval
    low..high)."""

    index: int
    size: float
    low: float
    high: float


@dataclass(frozen=True)
class Trend:
    """slope: per unit of time, with the interval low..high. drifts: the slope is part of the change that was found.
    jumps: those that were found, in order of time. either: the change is the slope or the jump, not both, and it is not
    known which. level: of the line at the first block."""

    slope: float
    low: float
    high: float
    drifts: bool
    jumps: tuple[Jump, ...]
    either: bool
    level: float


def find_trend(times: _Array, values: _Array, confidence: float, level: float) -> Trend:
    """Return the trend of a series of blocks.

    Args:
        times, values: of the blocks, in order of time.
        confidence: of the intervals, between 0 and 1.
        level: the greatest probability that a slope or a jump is found in a series without change.

    Raises:
        ValueError: there are fewer than 2 * 4 blocks.
    """
    if len(values) < 2 * _LEAST:
        raise ValueError(f"{len(values)} blocks are too few")
    shapes, either = _find_shapes(times, values, level)
    cuts = _cuts(shapes)
    slope, low, high = _slope(times, values, [] if either else cuts, confidence)
    if either and low <= 0 <= high:
        either = False
        slope, low, high = _slope(times, values, cuts, confidence)
    jumps = _jumps(times, values, shapes, confidence)
    drifts = either or (_SLOPE in shapes and (low > 0 or high < 0))
    first = np.split(values - slope * times, [] if either else cuts)[0]
    return Trend(slope, low, high, drifts, jumps, either, float(np.median(first)) + slope * float(times[0]))


# -- which shapes a series has ---------------------------------------------------------------------


def _find_shapes(times: _Array, values: _Array, level: float) -> tuple[list[int], bool]:
    """Return the shapes that are significant; and whether they are one step that may as well be a slope."""
    limit = _limit(len(values), level)
    known: list[int] = []
    either = False
    while len(known) < _MOST_SHAPES:
        search = _Search(times, known)
        series = _whitener(len(values)) @ _clipped(times, values, _cuts(known))
        single, double = (found[0] for found in search.p_values(series[None, :]))
        # Of several models that are significant the smaller one is chosen.
        one, two = single * search.single_factors, double * search.double_factors
        if one.size and one.min() <= limit:
            shape = int(search.singles[np.argmin(one)])
            if not known:
                shape, either = _slope_or_step(search, single, double)
            known.append(shape)
        elif two.size and two.min() <= limit:
            known += search.doubles[np.argmin(two)].tolist()
        else:
            break
    return known, either and len(known) == 1


def _slope_or_step(search: "_Search", single: _Array, double: _Array) -> tuple[int, bool]:
    """Return whether a single change is a slope or a step, as a shape; and whether the other is as likely.

    single, double: p values of all shapes. The slope may bend, so that a curve is not taken for a step.
    """
    line, step, places = min(single[0], double[0]), 1 + int(np.argmin(single[1:])), len(single) - 1
    if line < single[step]:
        return _SLOPE, False
    return int(search.singles[step]), bool(line <= places * single[step])


def _cuts(shapes: list[int]) -> list[int]:
    """Return the first block after each of the steps."""
    return sorted(shape - _STEPS + _LEAST for shape in shapes if shape >= _STEPS)


def _clipped(times: _Array, values: _Array, cuts: list[int]) -> _Array:
    """Return the values, those far from the line through their stretch moved nearer, so that no block dominates."""
    left = _residuals(times, values, cuts, float(np.median(_pairs(times, values, cuts)[0])))
    far = _FAR * float(np.median(np.abs(left)))
    return values + np.clip(left, -far, far) - left if far > 0 else values


@cache
def _whitener(n: int) -> _Array:
    """Return the matrix that removes the correlation of n blocks.

    The correlation of the means of two blocks, k > 0 apart, is (1 - exp(-a))^2 exp(-(k - 1) a) / (2 (a - 1 + exp(-a)))
    if that of two instants falls to exp(-1) in 1/a of a block: the integral over both blocks.
    """
    a, apart = 1 / DEPENDENCE, np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    between = (1 - np.exp(-a)) ** 2 * np.exp(-(apart - 1) * a) / (2 * (a - 1 + np.exp(-a)))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(np.where(apart == 0, 1.0, between))), dtype=np.float64)


class _Search:
    """The shapes that may be added to those that are known.

    singles, doubles: their indices, and pairs of them (in rows). single_factors, double_factors: Bonferroni's factors
    of their p values.
    """

    def __init__(self, times: _Array, known: list[int]) -> None:
        n = len(times)
        since, starts = times - times.mean(), np.arange(_LEAST, n - _LEAST + 1)
        every = np.vstack([since, since**2, np.arange(n) >= starts[:, None]]) @ _whitener(n).T
        self._basis = np.linalg.qr(np.vstack([_whitener(n).sum(axis=1), every[known]]).T)[0]
        left = every - (every @ self._basis) @ self._basis.T
        self._shapes: _Array = left / np.maximum(np.linalg.norm(left, axis=1, keepdims=True), _NOTHING)
        cuts = _cuts(known)
        steps = [k + _STEPS - _LEAST for k in starts.tolist() if all(abs(k - cut) >= _LEAST for cut in cuts)]
        # A bend is no shape of its own: it belongs to a slope.
        lines = [_SLOPE] if _SLOPE not in known else [_BEND] if _BEND not in known else []
        resets = [(_SLOPE, shape) for shape in (_BEND, *steps)] if _SLOPE in lines else []
        returns = [(a, b) for a in steps for b in steps if b - a >= _LEAST]
        self.singles: _Indices = np.array([*lines, *steps], dtype=np.int64)
        self.doubles: _Indices = np.array([*resets, *returns], dtype=np.int64).reshape(-1, 2)
        self.single_factors, self.double_factors = (
            _KINDS * np.repeat([len(one), len(other)], [len(one), len(other)])
            for one, other in ((lines, steps), (resets, returns))
        )

    def p_values(self, series: _Array) -> tuple[_Array, _Array]:
        """Return the p values of the single shapes and of the pairs, for each of the whitened series (rows)."""
        y = series - (series @ self._basis) @ self._basis.T
        total, whole = (np.sum(part * part, axis=1, keepdims=True) for part in (y, series))
        along = y @ self._shapes.T
        free = y.shape[1] - self._basis.shape[1]
        i, j = self.doubles.T
        like = np.sum(self._shapes[i] * self._shapes[j], axis=1)
        both = (along[:, i] ** 2 + along[:, j] ** 2 - 2 * like * along[:, i] * along[:, j]) / (1 - like**2)
        return (
            _p_values(along[:, self.singles] ** 2, total, _NOTHING * whole, 1, free - 1),
            _p_values(both, total, _NOTHING * whole, 2, free - 2),
        )


def _p_values(explained: _Array, total: _Array, rounding: _Array, parameters: int, free: int) -> _Array:
    """Return p values of F tests.

    Args:
        explained, total: sums of squares, a row for each series.
        rounding: a total of at most this is a rounding error, of which nothing can be explained.
        parameters: those that explain. free: degrees of freedom of what they leave.
    """
    left = np.maximum(total - explained, rounding) / np.where(total > rounding, total, np.inf)
    left = np.where(total > rounding, left, 1.0)
    return betainc(free / 2, parameters / 2, left)  # type: ignore[no-any-return]


@cache
def _limit(n: int, level: float) -> float:
    """Return the limit that the least adjusted p value of n blocks without change reaches with this probability."""
    count = int(_PASS / level)
    if count > _MOST_SIMULATED:
        return level
    random, search = np.random.default_rng(n), _Search(np.arange(float(n)), [])
    least: list[float] = []
    for drawn in range(0, count, _AT_ONCE):
        single, double = search.p_values(random.standard_normal((min(_AT_ONCE, count - drawn), n)))
        least.extend(
            np.minimum((single * search.single_factors).min(axis=1), (double * search.double_factors).min(axis=1))
        )
    return max(float(np.partition(least, _PASS)[_PASS]), level)


# -- the size of slope and jumps -------------------------------------------------------------------


def _slope(times: _Array, values: _Array, cuts: list[int], confidence: float) -> tuple[float, float, float]:
    """Return Theil's and Sen's slope over the pairs within stretches, and Sen's interval."""
    slopes, variance = _pairs(times, values, cuts)
    slope = float(np.median(slopes))
    variance *= _inflation(_residuals(times, values, cuts, slope))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * sqrt(variance)
    count = len(slopes)
    first, last = int(np.floor((count - reach) / 2)) - 1, int(np.ceil((count + reach) / 2))
    return slope, float(slopes[first]) if first >= 0 else -inf, float(slopes[last]) if last < count else inf


def _jumps(times: _Array, values: _Array, shapes: list[int], confidence: float) -> tuple[Jump, ...]:
    """Return the steps among the shapes in order of time, with the intervals of generalised least squares."""
    n, cuts = len(values), _cuts(shapes)
    since = (times - times.mean()) / np.ptp(times)
    lines = [since ** (1 + shape) for shape in (_SLOPE, _BEND) if shape in shapes]
    steps = [1.0 * (np.arange(n) >= cut) for cut in cuts]
    columns = _whitener(n) @ np.column_stack([np.ones(n), *lines, *steps])
    inverse = np.linalg.pinv(columns)
    series = _whitener(n) @ _clipped(times, values, cuts)
    sizes, free = inverse @ series, n - columns.shape[1]
    left = float(np.sum((series - columns @ sizes) ** 2))
    reach = stdtrit(free, 0.5 + confidence / 2) * np.sqrt(left / free * np.sum(inverse**2, axis=1))
    found = zip(cuts, sizes[-len(cuts) :], reach[-len(cuts) :], strict=True) if cuts else ()
    return tuple(Jump(cut, float(size), float(size - far), float(size + far)) for cut, size, far in found)


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
