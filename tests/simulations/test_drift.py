"""Claims of drift, in a small simulation: hardly any where nothing changes, nearly all where something does.

Each limit is exceeded by a correct method with a probability below 1e-4. The full table is in
docs/statistics.md.
"""

import numpy as np
import pytest

from chatload.features.report.drift import CONFIDENCE, LEAST_S, error_budget
from chatload.stats.trend import find_trend
from simulations import drift

LEVEL = error_budget(LEAST_S, True) / drift.FAMILY
CHANGES = {change.name: change for change in drift.CHANGES}


def trends(tau, trials, added=0.0, level=LEVEL):
    series = added + drift.block_noise(np.random.default_rng(5), tau, trials)
    return [find_trend(drift.TIMES, row, CONFIDENCE, level) for row in series]


@pytest.mark.parametrize("tau", [0.0, 1 / 10, 1 / 3])
def test_without_a_change_the_level_is_kept(tau):
    # 5 % of 400 are 20; above 38 with a probability of 7e-5.
    assert sum(map(drift.changes, trends(tau, 400, level=0.05))) <= 38


def test_a_run_without_change_has_no_claim_at_any_look():
    # All eight metrics at seven looks: 5 % of 30 runs at most; above 7 with a probability of 8e-5.
    assert drift.false_alarms(30, 7, 1 / 10, ended_only=False) <= 7


@pytest.mark.parametrize("tau", [0.0, 1 / 3])
@pytest.mark.parametrize("where", ["early", "middle", "late"])
def test_a_step_of_four_deviations_is_found_and_is_a_step(tau, where):
    change = CHANGES[f"step of 4 deviations {where}"]
    found = trends(tau, 60, change.added)
    # 92 % of 60 are 55; below 44 with a probability below 1e-4.
    assert sum(map(drift.changes, found)) >= 44
    # A wrong kind in 2 %; in more than 8 of 60 with a probability below 1e-4.
    assert sum(map(change.is_wrong, found)) <= 8


def test_a_slope_is_found_and_is_a_slope():
    change = CHANGES["slope of 6 deviations over the run"]
    found = trends(1 / 3, 60, change.added)
    # 99 % are found, 88 % are found to be a slope.
    assert sum(map(drift.changes, found)) >= 52 and sum(map(change.is_right, found)) >= 38
    assert sum(map(change.is_wrong, found)) <= 8


def test_the_table_has_a_row_for_each_case_and_a_column_for_each_noise():
    table = drift.table(1, 3)
    assert len(table.rows) == 2 + len(drift.CHANGES) and {len(row) for row in table.rows} == {len(table.header)}


def bursts(random, shape):
    """Counts of drops: 0.3 bursts in a block, of 20 drops on average each."""
    return np.array([random.geometric(1 / 20, count).sum() for count in random.poisson(0.3, shape).flat]).reshape(shape)


@pytest.mark.parametrize(
    "draw",
    [
        lambda random, shape: random.poisson(0.3, shape),
        bursts,
        lambda random, shape: random.standard_t(2, shape),
        lambda random, shape: random.lognormal(0, 2, shape),
    ],
    ids=["rare drops", "bursts of drops", "heavy tails", "skewed"],
)
def test_noise_that_is_not_normal_keeps_the_level_too(draw):
    rows = draw(np.random.default_rng(8), (500, len(drift.TIMES))).astype(float)
    # 0.44 % of 500 are 2.2; above 10 with a probability of 2e-5.
    assert sum(drift.changes(find_trend(drift.TIMES, row, CONFIDENCE, LEVEL)) for row in rows) <= 10
