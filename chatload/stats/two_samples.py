"""Two samples: an interval for the difference of their means, a test, the test's power, and the order of the values.

A `SampleDesign` says how the samples were taken. `Separate`: independent samples. `Paired`: the i-th values of both
samples belong together, so only their differences count.

Interval. B. L. Welch, "The generalization of Student's problem when several different population variances are
involved", Biometrika 34 (1947), with Satterthwaite's degrees of freedom; for pairs, Student's t of the differences.

Test. A permutation test of the studentised difference: the labels of the values are exchanged (the signs of the
differences, for pairs), and the statistic |difference| / standard error of the observed labels is compared with that of
all others. It is exact if the samples have the same distribution, and also holds approximately if only their means are
equal and their variances are not (A. Janssen, "Studentized permutation tests for non-i.i.d. hypotheses and the
generalized Behrens-Fisher problem", Statistics & Probability Letters 36 (1997); E. Chung and J. P. Romano, "Exact and
asymptotically robust permutation tests", Annals of Statistics 41 (2013)).

Power. The statistic has a noncentral t distribution if the values are normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb, inf, sqrt
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, stdtr, stdtrit

Floats = NDArray[np.float64]

#: If there are more ways than this to label the values, a seeded sample of this size takes their place.
_MOST_LABELLINGS = 50_000
_SEED = 20150404
#: A variance below this part of the sum of squares of all values is a rounding error of 0.
_ROUNDING = 1e-9
#: scipy's noncentral t distribution has no value for a larger noncentrality. The chance to find is then 1 but for 1e-5.
_MOST_NONCENTRAL = 37.0
#: Correlations of neighbouring values for which an order of values is examined.
_CORRELATIONS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


class MeanDifference(NamedTuple):
    """Mean of the new sample minus mean of the base sample. error: its standard error. df: degrees of freedom."""

    difference: float
    error: float
    df: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval: each end is wrong with probability (1 - confidence) / 2."""
        half = float(stdtrit(self.df, (1 + confidence) / 2)) * self.error
        return self.difference - half, self.difference + half

    def p(self, tests: int = 1) -> float:
        """Return the two-sided p value of "no difference", corrected for this number of independent tests (Šidák)."""
        if self.error <= 0:
            return float(self.difference == 0)
        alone = 2 * float(stdtr(self.df, -abs(self.difference) / self.error))
        return 1 - (1 - alone) ** tests


class LabelledDifferences(NamedTuple):
    """For each labelling, the observed one first: the means of both samples, and |t| of their difference."""

    base_means: Floats
    new_means: Floats
    statistics: Floats


class SampleDesign(Protocol):
    """How two samples were taken."""

    def estimate(self, base: Floats, new: Floats, least_error: float = 0.0) -> MeanDifference:
        """Return the difference of the means. least_error: its standard error is at least this."""
        ...

    def labelled(self, base: Floats, new: Floats) -> LabelledDifferences:
        """Return the differences for every labelling of the values."""
        ...


@dataclass(frozen=True)
class Separate:
    """Independent samples of `base` and `new` values, at least two each."""

    base: int
    new: int

    def estimate(self, base: Floats, new: Floats, least_error: float = 0.0) -> MeanDifference:
        parts = np.array([base.var(ddof=1) / len(base), new.var(ddof=1) / len(new)])
        variance = float(parts.sum())
        freedom = np.array([len(base) - 1, len(new) - 1])
        df = variance**2 / float((parts**2 / freedom).sum()) if variance > 0 else float(freedom.sum())
        return MeanDifference(float(new.mean() - base.mean()), max(sqrt(variance), least_error), df)

    def labelled(self, base: Floats, new: Floats) -> LabelledDifferences:
        values = np.concatenate([base, new])
        centre = values.mean()
        values = values - centre  # so that sums of squares lose no digits
        labels = _choices(len(base) + len(new), len(new))
        sums, squares = (labels @ np.column_stack([values, values**2])).T
        new_means, base_means = sums / len(new), (values.sum() - sums) / len(base)
        new_variances = (squares - len(new) * new_means**2) / (len(new) - 1)
        base_variances = ((values**2).sum() - squares - len(base) * base_means**2) / (len(base) - 1)
        variances = np.maximum(new_variances, 0) / len(new) + np.maximum(base_variances, 0) / len(base)
        statistics = _studentised(new_means - base_means, variances, float((values**2).sum()))
        return LabelledDifferences(base_means + centre, new_means + centre, statistics)


@dataclass(frozen=True)
class Paired:
    """`pairs` pairs of values, at least two."""

    pairs: int

    def estimate(self, base: Floats, new: Floats, least_error: float = 0.0) -> MeanDifference:
        differences = new - base
        error = sqrt(float(differences.var(ddof=1)) / len(differences))
        return MeanDifference(float(differences.mean()), max(error, least_error), len(differences) - 1)

    def labelled(self, base: Floats, new: Floats) -> LabelledDifferences:
        differences, middle = new - base, (new.mean() + base.mean()) / 2
        means = _signs(self.pairs) @ differences / self.pairs
        total = float((differences**2).sum())
        variances = np.maximum(total - self.pairs * means**2, 0) / (self.pairs - 1) / self.pairs
        return LabelledDifferences(middle - means / 2, middle + means / 2, _studentised(means, variances, total))


def _studentised(differences: Floats, variances: Floats, total: float) -> Floats:
    """Return |differences| / standard error. total: the sum of squares of all values."""
    least = _ROUNDING * total + _ROUNDING**3
    return np.asarray(np.abs(differences) / np.sqrt(np.maximum(variances, least)), dtype=np.float64)


@lru_cache(maxsize=4)
def _choices(total: int, new: int) -> Floats:
    """Return the ways to choose `new` of `total` values: a row each, 1 for those chosen; the last `new` first."""
    seen = tuple(range(total - new, total))
    if comb(total, new) <= _MOST_LABELLINGS:
        chosen = [seen, *(choice for choice in combinations(range(total), new) if choice != seen)]
        labels = np.zeros((len(chosen), total))
        np.put_along_axis(labels, np.array(chosen), 1.0, axis=1)
        return labels
    labels = np.tile(np.where(np.arange(total) >= total - new, 1.0, 0.0), (_MOST_LABELLINGS, 1))
    labels[1:] = np.random.default_rng(_SEED).permuted(labels[1:], axis=1)
    return labels


@lru_cache(maxsize=4)
def _signs(pairs: int) -> Floats:
    """Return the ways to give `pairs` differences a sign: a row each, 1 or -1; all 1 first."""
    if 2**pairs <= _MOST_LABELLINGS:
        exchanged = (np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1
        return np.where(exchanged, -1.0, 1.0)
    signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], (_MOST_LABELLINGS, pairs))
    signs[0] = 1.0
    return signs


def level_of_each(level: float, tests: int) -> float:
    """Return the level of each of `tests` independent tests that have `level` together (Šidák, 1967)."""
    return -float(np.expm1(np.log1p(-level) / max(tests, 1)))


def chance_to_find(effect: float, error: float, df: float, least: float, level: float) -> float:
    """Return the probability that a two-sided test finds an effect, and that the estimate is at least `least`.

    Args:
        effect: the true difference of the means, >= 0.
        error: the standard error of its estimate.
        df: degrees of freedom of that standard error.
        least: the smallest estimate that matters, >= 0.
        level: of the test, two-sided.

    Returns:
        The lower of the two probabilities: where one of them is near 1 it is their joint probability.
    """
    if error <= 0:
        return float(effect >= least)
    critical = float(stdtrit(df, 1 - level / 2))
    found = 1 - float(nctdtr(df, min(effect / error, _MOST_NONCENTRAL), critical))
    return min(found, float(stdtr(df, (effect - least) / error)))


def chance_of_equivalence(error: float, df: float, margin: float, confidence: float) -> float:
    """Return the probability that the interval of a difference lies within +-margin, if the true difference is 0.

    confidence: of the interval, two-sided. Normal values are assumed, and a standard error that is known.
    """
    if error <= 0:
        return 1.0
    room = margin / error - float(stdtrit(df, (1 + confidence) / 2))
    return max(0.0, 2 * float(stdtr(df, room)) - 1)


def order_inflation(is_new: Sequence[bool]) -> float:
    """Return how much larger the variance of a difference of means is than the test takes it to be, at worst.

    Args:
        is_new: for each value in the order of time, whether it belongs to the new sample. Both samples need two.

    Returns:
        The largest ratio over a range of first-order autoregressions, in which values at a distance of k have the
        correlation r ** k: the variance of the difference, divided by the expected value of its estimate from the
        variances within the samples. Above 1 the test is wrong too often, below 1 too rarely. It is 1 if values do not
        depend on each other. Source: both are quadratic forms in the values, with the expectation trace(A R).
    """
    labels = np.asarray(is_new, dtype=bool)
    distance = np.abs(np.subtract.outer(np.arange(len(labels)), np.arange(len(labels))))
    contrast = np.where(labels, 1 / labels.sum(), -1 / (~labels).sum())
    worst = -inf
    for correlation in _CORRELATIONS:
        covariance = correlation**distance
        estimated = 0.0
        for side in (labels, ~labels):
            n = int(side.sum())
            within = covariance[np.ix_(side, side)]
            estimated += float(np.trace(within) - within.sum() / n) / (n - 1) / n
        worst = max(worst, float(contrast @ covariance @ contrast) / estimated)
    return worst
