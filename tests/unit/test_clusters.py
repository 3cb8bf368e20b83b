"""Rates whose events come in clusters: bounds by hand and by simulation, design effects, evidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.stats import rates
from chatload.stats.clusters import (
    INDEPENDENT,
    Design,
    RateEvidence,
    design_effect,
    design_effect_of_blocks,
    largest_cluster,
    log_evidence_above,
    log_evidence_below,
    lower,
    per_unit_lower,
    per_unit_upper,
    upper,
)

COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS)
def test_clusters_of_one_are_clopper_and_pearson(counts: tuple[int, int]) -> None:
    k, n = counts
    assert upper(k, n, INDEPENDENT) == rates.upper(k, n) and lower(k, n, INDEPENDENT) == rates.lower(k, n)
    # The formula itself, without its short cut.
    if k + 1 < n:
        assert upper(k, n, Design(1.0, 1.0 + 1e-12)) == pytest.approx(rates.upper(k, n), rel=1e-6)


def test_without_an_event_it_is_the_rule_of_three_times_the_largest_cluster() -> None:
    # 0 of 100 clusters of 20: 1 - 0.05^(20/2000)
    assert upper(0, 2000, Design(1.0, 20)) == pytest.approx(1 - 0.05 ** (20 / 2000))
    assert upper(0, 0, Design(1.0, 20)) == upper(10, 10, Design(1.0, 20)) == 1.0
    assert lower(0, 0, Design(20, 20)) == 0.0


def test_equal_clusters_are_trials_of_their_own() -> None:
    # 3 clusters of 10 in 5000 trials are 3 events in 500
    three = Design(10.0, 10.0)
    assert upper(30, 5000, three) == pytest.approx(rates.upper(3, 500))
    assert lower(30, 5000, three) == pytest.approx(rates.lower(3, 500))


def test_a_run_in_which_everything_was_dropped_at_once_is_one_trial() -> None:
    assert lower(40, 40, Design(40, 40)) == pytest.approx(0.05)


@given(COUNTS, st.floats(1, 50), st.floats(1, 50))
def test_clusters_only_widen_the_bounds(counts: tuple[int, int], effect: float, largest: float) -> None:
    k, n = counts
    design = Design(effect, max(effect, largest))
    assert lower(k, n, design) <= rates.lower(k, n) + 1e-9
    assert upper(k, n, design) >= rates.upper(k, n) - 1e-9


@pytest.mark.parametrize("size", [1, 5, 20])
def test_bounds_of_clusters_that_are_known_keep_their_confidence(size: int) -> None:
    draw, runs, n, rate = np.random.default_rng(3), 4000, 2000, 0.02
    clusters = draw.poisson(rate * n / size, runs)
    design = Design(size, size)
    below = sum(upper(size * int(count), n, design) < rate for count in clusters)
    above = sum(lower(size * int(count), n, design) > rate for count in clusters)
    # At most 5 % each: 5 standard errors of 4000 runs are 1.7 %.
    assert below / runs < 0.067 and above / runs < 0.067
    ignored = sum(upper(size * int(count), n, INDEPENDENT) < rate for count in clusters)
    assert size == 1 or ignored / runs > 0.1


def test_the_design_effect_is_the_size_of_the_cluster_that_an_event_belongs_to() -> None:
    # (10^2 + 2 * 1^2) / 12
    assert design_effect([10, 1, 1]) == pytest.approx(102 / 12)
    assert design_effect([1] * 7) == design_effect([]) == 1.0


def test_the_design_effect_by_blocks_by_hand() -> None:
    # p = 12/400; (12 - 3)^2 + 3 * 3^2 = 108, times 4/3, over 400 * 0.03 * 0.97
    assert design_effect_of_blocks([(100, 12), (100, 0), (100, 0), (100, 0)]) == pytest.approx(108 * 4 / 3 / 11.64)
    assert design_effect_of_blocks([(100, 12), (0, 0)]) == 1.0  # one block says nothing
    assert design_effect_of_blocks([(100, 3)] * 4) == 1.0  # more even than by chance
    assert design_effect_of_blocks([(5, 5), (7, 7)]) == design_effect_of_blocks([]) == 1.0


def test_the_largest_cluster_is_where_the_bound_meets_the_limit() -> None:
    # 3 w / 2000 < 0.5 %
    size = largest_cluster(lambda design: upper(0, 2000, design), 0.005, INDEPENDENT, 2000)
    assert size == 3
    assert upper(0, 2000, Design(1.0, size)) < 0.005 <= upper(0, 2000, Design(1.0, size + 1))
    assert largest_cluster(lambda design: upper(20, 100, design), 0.01, INDEPENDENT, 100) == 0


def test_evidence_by_hand() -> None:
    # The factor c = 1 alone: e^-1 (1 + 3) (1 + 1) = 2.94; its weight is 1 of 3.76. That of c = 4: e^-4 * 13 * 5 = 1.19.
    evidence = math.exp(log_evidence_above([3, 1], 1.0))
    assert (2.94 + 1.19 / 2) / 3.762 < evidence < 2.94
    # c = 1, 3/4, 1/2, 1/4, 1/10 without an event: the mean of e^(c A)
    expected = np.mean(np.exp(np.array([1, 0.75, 0.5, 0.25, 0.1]) * 6))
    assert math.exp(log_evidence_below([], 6.0)) == pytest.approx(expected)
    # Of clusters up to 2, a factor is at most 1/2; an event of size 3 leaves only the factors below 1/3.
    assert math.exp(log_evidence_below([3], 6.0, 2)) == pytest.approx(
        np.sum([(1 - 3 * c) * math.exp(6 * c) for c in (0.05, 0.125, 0.25)]) / 5
    )
    assert log_evidence_below([1000], 6.0) == -math.inf


def test_groups_may_be_joined_but_are_then_worth_less() -> None:
    assert log_evidence_above([4, 4], 1.0) > log_evidence_above([8], 1.0)
    assert log_evidence_below([0.2, 0.2], 9.0) >= log_evidence_below([0.4], 9.0)


def test_the_evidence_of_a_group_that_is_not_complete_counts_once() -> None:
    evidence = RateEvidence()
    evidence.add(4)
    before = evidence.log(2.0, 3)
    evidence.add(3)
    assert evidence.log(2.0) == pytest.approx(before) == pytest.approx(log_evidence_above([4, 3], 2.0))


@pytest.mark.parametrize("size", [1, 20])
def test_evidence_has_a_mean_of_at_most_one_at_the_limit(size: int) -> None:
    # 200 clusters are expected in all: after each tenth of them the mean over runs is at most 1, by its theory.
    draw, runs = np.random.default_rng(5), 3000
    counts = draw.poisson(2.0, (runs, 5)).cumsum(axis=1)
    for column, clusters in enumerate(counts.T, 1):
        expected = 2.0 * size * column
        above = [math.exp(log_evidence_above([size] * int(count), expected)) for count in clusters[:300]]
        below = [math.exp(log_evidence_below([size] * int(count), expected, size)) for count in clusters[:300]]
        assert np.mean(above) < 1 + 5 * max(np.std(above), 0.1) / 300**0.5
        assert np.mean(below) < 1 + 5 * max(np.std(below), 0.1) / 300**0.5


@pytest.mark.parametrize("design", [Design(), Design(1.0, 5.0), Design(4.0, 10.0)])
@pytest.mark.parametrize("k", [0, 3, 40])
def test_bounds_per_unit_are_the_limit_of_those_for_many_trials(k: int, design: Design) -> None:
    n, exposure = 10**8, 25.0
    assert per_unit_lower(k, exposure, design) == pytest.approx(lower(k, n, design) * n / exposure, rel=1e-5)
    assert per_unit_upper(k, exposure, design) == pytest.approx(upper(k, n, design) * n / exposure, rel=1e-5)
