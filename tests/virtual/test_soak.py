"""Long runs in virtual time: a leak is found, and none where there is none."""

import pytest

from chatload.simulator.model.faults import Fault
from tests.virtual.soak import claims, drift_of, leak, soak

pytestmark = pytest.mark.slow


def named(found, metric):
    return next(drift for drift in found.metrics if drift.metric == metric)


def test_a_leak_of_the_server_is_found_with_its_slope():
    found = drift_of(soak(12, 8, leak(0.05)))
    claimed = named(found, "GetMessages.latency.p50")
    assert claimed.drifts and claimed.worse
    # 20 ms growing by 5 % an hour grow by 1.06 ms in the second hour (after the warm-up), 1.7 ms in the last.
    assert 0.00106 < claimed.slope < 0.0017
    assert claimed.low < claimed.slope < claimed.high


def test_without_a_leak_nothing_is_claimed_in_three_runs():
    # Each has a false claim with a probability of 3.5 % at most: one of the three in 10 % of seeds.
    assert not any(claims(drift_of(soak(6, 8, leak(0.0), seed=seed))) for seed in (1, 2, 3))


def test_a_failover_is_a_jump_and_not_a_drift():
    slower = Fault("slow", delay_s=0.03, from_s=4 * 3600.0)
    found = drift_of(soak(8, 8, slower, leak(0.0)))
    claimed = named(found, "GetMessages.latency.p50")
    ((at, size, low, high),) = claimed.jumps
    assert abs(at - 4 * 3600) < 3600 * 0.5
    assert size == pytest.approx(0.01, abs=0.004) and low < size < high and not claimed.drifts


def test_a_short_run_has_nothing_said_of_it():
    found = drift_of(soak(0.1, 5))
    assert not found.metrics and "10 minutes" in found.why_not
