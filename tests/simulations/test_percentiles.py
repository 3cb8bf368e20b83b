"""Percentiles of requests that depend on each other: the judgement is seldom wrong."""

import pytest

from simulations.percentiles import Kind, shares

TRIALS = 200
#: A method that is wrong in 7 % of runs exceeds this in fewer than 1 of 10 000 tests (binomial).
MOST = 29


@pytest.mark.parametrize("q", [0.95, 0.99])
@pytest.mark.parametrize(("tau_s", "length_s"), [(0, 1000), (20, 1000), (20, 10_000)])
def test_a_run_at_the_limit_is_seldom_judged_either_way(q, tau_s, length_s):
    found = shares(Kind(q, tau_s, length_s), TRIALS, 7)
    assert found.passed <= MOST and found.failed <= MOST
    assert (found.worth > 20_000) == (tau_s == 0)


def test_independent_requests_are_decided():
    assert shares(Kind(0.99, 0, 1000, times=2.0), 20, 7).failed == 20
    assert shares(Kind(0.99, 0, 1000, times=0.5), 20, 7).passed == 20


def test_dependent_requests_of_a_long_run_are_decided_more_often_than_by_chance():
    assert shares(Kind(0.95, 1, 10_000, times=2.0), 40, 7).failed >= 30
