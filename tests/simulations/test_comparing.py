"""`chatload compare` in the small form of its simulation: limits that a correct method exceeds in 1 of 10 000 cases."""

from __future__ import annotations

import pytest

from chatload.features.compare.compute import DROPPED_HOURLY
from simulations.comparing import Case, RareDrops, table, tally, tally_drops

TRIALS = 200
#: 25 of 200 at a rate of 5 %, and 27 at one of 6 %, are exceeded with a probability below 1e-4.
FALSE = 25


@pytest.mark.parametrize(
    "case",
    [
        Case("pairs", runs=5, drift=0.0),
        Case("pairs", runs=5, drift=0.9),
        Case("pairs", runs=8, drift=0.5),
        Case("BN eight times", "BN" * 8, trend=1.0),
        Case("alternating", "BNBBBNBBNBBBNB", noise=0.05, new_noise=3.0),
    ],
)
def test_equal_things_are_rarely_called_different(case: Case) -> None:
    counted = tally(case, TRIALS, 11)
    assert counted.false_alarms <= FALSE
    assert counted.false_equivalences <= FALSE
    # 80 % are predicted. Below 64 % with a probability below 1e-4 if that is true.
    if not case.drift and not case.trend and case.new_noise == 1:
        assert counted.predicted_found >= 0.64 * TRIALS


def test_blocked_runs_with_drift_are_called_different_too_often() -> None:
    """It is why they are refused: a test that judges them all the same is wrong in more than 1 of 10 cases."""
    assert tally(Case("blocked", "BBBBBNNNNN", drift=0.9), TRIALS, 12).false_alarms > 0.1 * TRIALS


@pytest.mark.parametrize(
    "case", [RareDrops(0.0, 200, 5), RareDrops(0.001, 2000, 5), RareDrops(0.01, 200, 5, DROPPED_HOURLY)]
)
def test_rare_drops_are_judged_by_their_sessions(case: RareDrops) -> None:
    counted = tally_drops(case, TRIALS, 13)
    assert counted.false_alarms <= FALSE
    assert counted.false_equivalences <= FALSE
    assert counted.predicted_found >= 0.64 * TRIALS


def test_the_table_has_a_row_for_each_case() -> None:
    cases = [Case("pairs", runs=4), Case("mine", "BNBNBNBNB", new_noise=2.0)]
    made = table(10, 1, cases, [RareDrops(0.001, 50, 4)])
    assert [row[:4] for row in made.rows] == [
        ("pairs", "4 + 4", "15 and 15 %", "0"),
        ("mine", "5 + 4", "15 and 30 %", "0"),
        ("pairs; drops of 50 sessions a run", "4 + 4", "binomial at 0.1 %", "0"),
    ]
    assert all(len(row) == len(made.header) for row in made.rows)
