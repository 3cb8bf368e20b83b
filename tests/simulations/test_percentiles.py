"""Percentiles of requests that depend on each other: the judgement is seldom wrong."""

import pytest

from simulations.percentiles import INDEPENDENT, Kind, Process, shares

TRIALS = 150
#: A method that is wrong in 7 % of runs exceeds this in fewer than 1 of 10 000 tests (binomial).
MOST = 23


@pytest.mark.parametrize("q", [0.95, 0.99])
@pytest.mark.parametrize(
    ("process", "length_s"), [(INDEPENDENT, 1000), (Process("AR(1)", 20), 1000), (Process("incidents", 2), 1000)]
)
def test_a_run_at_the_limit_is_seldom_judged_either_way(q, process, length_s):
    found = shares(Kind(q, process, length_s), TRIALS, 7)
    assert found.passed <= MOST and found.failed <= MOST
    assert (found.worth > 20_000) == (process == INDEPENDENT)


def test_a_rate_of_requests_at_the_limit_is_seldom_judged_either_way():
    found = shares(Kind(0.99, Process("incidents", 2), 1000, of_rate=True), TRIALS, 7)
    assert found.passed <= MOST and found.failed <= MOST
    assert found.naive_passed > 2 * MOST and found.naive_failed > 2 * MOST


def test_independent_requests_are_decided():
    assert shares(Kind(0.99, INDEPENDENT, 1000, times=2.0), 20, 7).failed == 20
    assert shares(Kind(0.99, INDEPENDENT, 1000, times=0.5), 20, 7).passed == 20


def test_dependent_requests_of_a_long_run_are_decided_too():
    assert shares(Kind(0.95, Process("AR(1)", 1), 10_000, times=2.0), 20, 7).failed == 20
