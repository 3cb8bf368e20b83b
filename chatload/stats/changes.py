"""Change points: where the level of a series of independent values changes, by exact rank tests.

Method: circular binary segmentation (A. B. Olshen, E. S. Venkatraman, R. Lucito and M. Wigler, "Circular binary
segmentation for the analysis of array-based DNA copy number data", Biostatistics 5(4), 2004). Each stretch of the
series is compared with the rest of it: the stretches that begin or end with the series (one change), and those within
it (a change there and back). If the stretch that differs most does so significantly, the series is cut at its ends, and
each part is searched in the same way.

Test: H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the
other", Annals of Mathematical Statistics 18(1), 1947. U is the number of pairs, one value in the stretch and one in the
rest, in which the first is greater. Its distribution without a change is exact, the same for every distribution of the
values, and needs no random numbers. Equal values, and values known only as intervals that overlap, count as pairs that
speak against a change. So the test also holds for series with many equal values.

The level is divided by the number of stretches compared (Bonferroni): four fifths of it among those with one change,
the rest among those with two, which are many and less usual. A part of the series has a share of the level as large as
the part itself. So the probability that a series without a change has one is at most the level, if the values are
independent.

If neighbouring values correlate by r, as in an AR(1) process, the variance of the mean of a stretch is larger by the
factor (1 + r) / (1 - r) (K. H. Hamed and A. R. Rao, "A modified Mann-Kendall trend test for autocorrelated data",
Journal of Hydrology 204, 1998, correct a rank test in the same way). The p value is taken as that of a normal deviate,
and this deviate is divided by the root of the factor. r is estimated from the ranks, and corrected for its bias (M. G.
Kendall, "Note on bias in the estimation of autocorrelation", Biometrika 41, 1954). One short series gives a poor
estimate. A caller that has several series of the same runs should use their mean.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import binom, ndtr, ndtri

#: The least number of values in a stretch.
LEAST = 3
#: A series may have at most this many values: the tables of the test grow with the third power.
MOST = 400
#: The part of the level for stretches with one change.
_FOR_ONE = 0.8
#: The sum of squares of ranks that are all equal is smaller than this. The least divisor in the correction of a bias.
_NOTHING, _LEAST_DIVISOR = 1e-9, 0.3

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def find_changes(low: _Floats, high: _Floats, level: float, correlation: float = 0.0) -> tuple[int, ...]:
    """Return the index of the first value after each change of the level of a series.

    Args:
        low, high: bounds of each value, in order of time; equal where a value is known. At most MOST.
        level: the greatest probability that a change is found in a series without changes, between 0 and 1.
        correlation: of neighbouring values, 0 to less than 1.

    Raises:
        ValueError: there are more than MOST values.
    """
    n = len(low)
    if n > MOST:
        raise ValueError(f"{n} values are more than {MOST}")
    cuts: list[int] = []
    parts = [(0, n)] if n else []
    while parts:
        start, end = parts.pop()
        found = _search(low[start:end], high[start:end], level * (end - start) / n, correlation)
        if found:
            inner = [start + cut for cut in found]
            cuts += inner
            parts += pairwise([start, *inner, end])
    return tuple(sorted(cuts))


def can_be_found(n: int, after: int, level: float, correlation: float = 0.0) -> bool:
    """Return whether a change can be significant in a series of n values, of which the last `after` may be changed.

    The change that is easiest to find is one after which each value is greater than all those before. level,
    correlation: as in `find_changes`.
    """
    sizes = np.arange(LEAST, min(after, n - LEAST) + 1)
    return bool(np.any(_corrected(1 / binom(n, sizes), n, 1, correlation) <= level))


def neighbour_correlation(values: _Floats, cuts: Sequence[int]) -> float | None:
    """Return the correlation of neighbouring values of a series with changes at `cuts`; None if no two differ.

    Of the ranks of the values, less their mean between two changes. Where L levels were taken out of n values, an
    estimate of r is too small by L (1 + 3 r) / n (Kendall 1954, for L = 1). The result may be below 0 or above 1.
    """
    n, levels = len(values), len(cuts) + 1
    different, places, counted = np.unique(values, return_inverse=True, return_counts=True)
    if len(different) < 2:
        return None
    # Equal values share their mean rank.
    ranks = (np.cumsum(counted) - (counted - 1) / 2)[places]
    left = np.concatenate([part - part.mean() for part in np.split(ranks, cuts)])
    total = float(left @ left)
    if total < _NOTHING:
        return None
    return (float(left[1:] @ left[:-1]) / total + levels / n) / max(1 - 3 * levels / n, _LEAST_DIVISOR)


def _corrected(p: _Floats, n: int, changes: int, correlation: float) -> _Floats:
    """Return p values of one side and one stretch, corrected for correlation, both sides and the number of stretches.

    changes: of each stretch, 1 or 2.
    """
    if correlation > 0:
        p = ndtr(ndtri(np.minimum(p, 0.5)) * np.sqrt((1 - correlation) / (1 + correlation)))
    inside = _inside(n)
    if changes == 1:
        return p * 2 * (n - 2 * LEAST + 1) / (_FOR_ONE if inside else 1)
    return p * 2 * inside / (1 - _FOR_ONE)


def _inside(n: int) -> int:
    """Return the number of stretches within a series of n values: at least LEAST values long, as far from its ends."""
    return comb(max(n - 3 * LEAST + 2, 0), 2)


def _search(low: _Floats, high: _Floats, level: float, correlation: float) -> tuple[int, ...]:
    """Return the ends of the stretch that differs most from the rest of the series; () if none does."""
    n = len(low)
    if n < 2 * LEAST:
        return ()
    # greater[i, j]: value j is certainly greater than value i.
    greater = low[None, :] > high[:, None]
    places = np.arange(LEAST, n - LEAST + 1)
    begins, ends = _stretches(n)
    best = level
    found: tuple[int, ...] = ()
    for changes, a, b in ((1, places, np.full_like(places, n)), (2, begins, ends)):
        if not len(a):
            continue
        pairs = np.maximum(_pairs(greater, a, b), _pairs(greater.T, a, b))
        p = _corrected(rank_tail(n, b - a, pairs), n, changes, correlation)
        i = int(np.argmin(p))
        if p[i] <= best:
            best, found = float(p[i]), (int(a[i]), int(b[i]))[:changes]
    return found


@lru_cache(maxsize=16)
def _stretches(n: int) -> tuple[_Ints, _Ints]:
    """Return where each stretch within a series of n values begins and ends (see `_inside`)."""
    places = np.arange(LEAST, n - LEAST + 1)
    begins, ends = (places[at] for at in np.triu_indices(len(places), LEAST))
    return begins, ends


def _pairs(greater: NDArray[np.bool_], a: _Ints, b: _Ints) -> _Ints:
    """Return the number of true pairs [i, j] with j from a to b - 1 and i outside, for each a and b."""
    sums = np.zeros((len(greater) + 1, len(greater) + 1), dtype=np.int64)
    np.cumsum(greater, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    inner = sums[b, b] - sums[a, b] - sums[b, a] + sums[a, a]
    counted: _Ints = sums[-1, b] - sums[-1, a] - inner
    return counted


def rank_tail(n: int, sizes: _Ints, pairs: _Ints) -> _Floats:
    """Return P(U >= pairs) without a change, for stretches of these sizes (less than n) in a series of n values."""
    starts, table = _tables(n)
    tail: _Floats = table[starts[np.minimum(sizes, n - sizes)] + pairs]
    return tail


@lru_cache(maxsize=64)
def _tables(n: int) -> tuple[_Ints, _Floats]:
    """Return P(U >= u) for samples of m and n - m values, m from 0 to n / 2, u from 0 to m (n - m): all in one array,
    and where in it each m begins.

    The number of orders with U = u is the coefficient of q^u of the Gaussian binomial coefficient, the product of
    (1 - q^(n-m+i)) / (1 - q^i) over i from 1 to m (G. E. Andrews, "The Theory of Partitions", 1976, ch. 3).
    """
    tails, orders = [np.ones(1)], np.ones(1)
    for m in range(1, n // 2 + 1):
        power = n - m + 1
        orders = np.pad(orders, (0, power)) - np.pad(orders, (power, 0))
        # Division by 1 - q^m: running sums of every m-th coefficient. What is beyond the degree is 0.
        rows = -(-len(orders) // m)
        orders = np.pad(orders, (0, rows * m - len(orders))).reshape(rows, m).cumsum(axis=0).ravel()[: m * (n - m) + 1]
        # The coefficients are symmetric. The lower half has the smaller rounding errors.
        half = len(orders) // 2
        orders[len(orders) - half :] = orders[:half][::-1]
        tails.append(np.minimum(orders.cumsum() / comb(n, m), 1.0)[::-1])
    lengths = [len(tail) for tail in tails]
    return np.cumsum([0, *lengths[:-1]]), np.concatenate(tails)
