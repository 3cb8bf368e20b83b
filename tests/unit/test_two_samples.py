"""Two samples: intervals, tests and power, against hand calculations, scipy and textbooks."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind, ttest_rel

from chatload.stats.two_samples import (
    MeanDifference,
    Paired,
    Separate,
    chance_of_equivalence,
    chance_to_find,
    level_of_each,
    order_inflation,
)


def test_welch_by_hand() -> None:
    """Means 2 and 5; variances 1 and 2; 1/3 + 2/2 = 4/3; df = (4/3)^2 / ((1/3)^2 / 2 + 1^2 / 1) = 32/19."""
    found = Separate(3, 2).estimate(np.array([1.0, 2.0, 3.0]), np.array([4.0, 6.0]))
    assert found == pytest.approx((3.0, (4 / 3) ** 0.5, 32 / 19))


def test_the_interval_is_welch_s() -> None:
    random = np.random.default_rng(1)
    base, new = random.normal(1, 1, 7), random.normal(2, 3, 5)
    theirs = ttest_ind(new, base, equal_var=False).confidence_interval(0.9)
    assert Separate(7, 5).estimate(base, new).interval(0.9) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_of_pairs_is_student_s() -> None:
    random = np.random.default_rng(2)
    base, new = random.normal(1, 1, 9), random.normal(2, 3, 9)
    theirs = ttest_rel(new, base).confidence_interval(0.95)
    assert Paired(9).estimate(base, new).interval(0.95) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize("design", [Separate(4, 4), Paired(4)])
def test_the_error_has_a_least_value(design: Separate | Paired) -> None:
    same = np.ones(4)
    assert design.estimate(same, same) == pytest.approx((0.0, 0.0, 6 if isinstance(design, Separate) else 3))
    assert design.estimate(same, same, 0.5).error == 0.5
    noisy = np.array([0.0, 10.0, 20.0, 30.0])
    assert design.estimate(same, noisy, 0.5).error == pytest.approx(noisy.std(ddof=1) / 2)


def test_no_error_means_no_width() -> None:
    assert MeanDifference(2.0, 0.0, 6.0).interval(0.9) == (2.0, 2.0)


@pytest.mark.parametrize(("base", "new"), [(4, 4), (3, 6), (7, 3)])
def test_every_labelling_has_its_own_statistic(base: int, new: int) -> None:
    """scipy's permutation test of the same statistic has the same p value."""
    random = np.random.default_rng((3, base))
    one, other = random.normal(5, 1, base), random.normal(6, 2, new)

    def statistic(a: np.ndarray, b: np.ndarray) -> float:
        return abs(ttest_ind(a, b, equal_var=False).statistic)

    theirs = permutation_test((one, other), statistic, alternative="greater", n_resamples=np.inf)
    found = Separate(base, new).labelled(one, other)
    assert found.statistics[0] == pytest.approx(theirs.statistic)
    assert np.mean(found.statistics >= found.statistics[0] * (1 - 1e-9)) == pytest.approx(theirs.pvalue)
    assert (found.base_means[0], found.new_means[0]) == pytest.approx((one.mean(), other.mean()))


def test_every_pair_can_be_exchanged() -> None:
    random = np.random.default_rng(4)
    base, new = random.normal(5, 1, 5), random.normal(6, 1, 5)
    found = Paired(5).labelled(base, new)
    expected = []
    for signs in product((1, -1), repeat=5):
        expected.append(abs(ttest_rel(np.array(signs) * (new - base), np.zeros(5)).statistic))
    assert sorted(found.statistics) == pytest.approx(sorted(expected))
    assert found.statistics[0] == pytest.approx(expected[0])
    assert (found.base_means[0], found.new_means[0]) == pytest.approx((base.mean(), new.mean()))
    assert (found.base_means[-1], found.new_means[-1]) == pytest.approx((new.mean(), base.mean()))


@pytest.mark.parametrize("design", [Separate(12, 12), Paired(20)])
def test_many_labellings_are_a_seeded_sample(design: Separate | Paired) -> None:
    n = design.base if isinstance(design, Separate) else design.pairs
    base = np.arange(n) * 0.01
    new = base + 0.03
    found = design.labelled(base, new)
    assert len(found.statistics) == 50_000
    assert (found.new_means - found.base_means)[0] == pytest.approx(0.03)
    assert np.array_equal(found.statistics, design.labelled(base, new).statistics)


def test_values_that_are_all_equal_show_nothing_and_two_constants_everything() -> None:
    same, other = np.ones(4), np.full(4, 2.0)
    assert Separate(4, 4).labelled(same, same).statistics.max() == 0
    seen = Separate(4, 4).labelled(same, other).statistics
    assert sum(seen >= seen[0] * (1 - 1e-9)) == 2


def test_large_values_lose_no_digits() -> None:
    random = np.random.default_rng(5)
    base, new = random.normal(0, 1, 5), random.normal(1, 1, 5)
    near, far = (Separate(5, 5).labelled(base + at, new + at).statistics for at in (0.0, 1e6))
    assert far == pytest.approx(near, rel=1e-6)


@pytest.mark.parametrize(("effect", "n"), [(0.5, 64), (0.8, 26), (1.0, 17)])
def test_power_is_that_of_cohen_s_table(effect: float, n: int) -> None:
    """J. Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), table 2.4.1: power 0.80, level 5 %."""
    error = (2 / n) ** 0.5
    assert chance_to_find(effect, error, 2 * n - 2, 0.0, 0.05) == pytest.approx(0.80, abs=0.01)


def test_an_effect_must_also_matter() -> None:
    """An effect as large as the least one is estimated below it in half of all cases."""
    assert chance_to_find(1.0, 0.01, 30, 1.0, 0.05) == pytest.approx(0.5)
    assert chance_to_find(1.0, 0.0, 30, 1.0, 0.05) == 1.0
    assert chance_to_find(0.9, 0.0, 30, 1.0, 0.05) == 0.0


def test_chance_of_equivalence() -> None:
    """Two one-sided tests at 5 %, error 1, many degrees of freedom: 2 Phi(margin - 1.645) - 1 = 2 Phi(1.2816) - 1."""
    assert chance_of_equivalence(1.0, 1e6, 1.6449 + 1.2816, 0.9) == pytest.approx(0.8, abs=1e-3)
    assert chance_of_equivalence(1.0, 1e6, 1.6, 0.9) == 0.0
    assert chance_of_equivalence(0.0, 6, 0.1, 0.9) == 1.0


def test_level_of_each() -> None:
    assert 1 - (1 - level_of_each(0.05, 6)) ** 6 == pytest.approx(0.05)
    assert level_of_each(0.05, 1) == pytest.approx(0.05) == level_of_each(0.05, 0)


def letters(text: str) -> list[bool]:
    return [letter == "N" for letter in text]


@pytest.mark.parametrize("text", ["BNBNBNBN", "BNNBBNNB", "BNNBNBBN", "BNBBBNBBNBBBNB"])
def test_an_order_that_alternates_is_never_worse_than_independence(text: str) -> None:
    assert order_inflation(letters(text)) <= 1.0
    assert order_inflation([not new for new in letters(text)]) == pytest.approx(order_inflation(letters(text)))


@pytest.mark.parametrize("text", ["BBBBNNNN", "NNNNNBBBBB", "BBBBBNNNNNBBBBBNNNNN"])
def test_an_order_in_blocks_is_worse(text: str) -> None:
    assert order_inflation(letters(text)) > 2


def test_inflation_by_hand() -> None:
    """BBNN, correlation r: the variance of the difference is 1 + r/2 - r^2 - r^3/2; its estimate is 1 - r.

    (Each mean has (1 + r) / 2; their covariance is (r + 2 r^2 + r^3) / 4.) The ratio grows with r.
    """
    r = 0.99
    variance = 2 * (1 + r) / 2 - 2 * (r + 2 * r**2 + r**3) / 4
    assert order_inflation(letters("BBNN")) == pytest.approx(variance / (1 - r))
