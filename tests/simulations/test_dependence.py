"""Small form of the simulation of drops in clusters.

The limits are exceeded by a correct method with a probability below 1e-4: 5 % and 4.3 standard errors.
"""

from __future__ import annotations

import pytest

from chatload.vocabulary import ThresholdResult
from simulations.dependence import LIMIT, SESSIONS, results

TRIALS = 300
_MOST = 0.05 + 4.3 * (0.05 * 0.95 / TRIALS) ** 0.5  # 10.4 %


@pytest.mark.parametrize(("size", "spread_s"), [(1, 0.0), (20, 1.0), (100, 1.0), (20, 45.0)])
def test_a_rate_at_its_limit_seldom_passes_or_fails(size: int, spread_s: float) -> None:
    for sessions in (SESSIONS, 20 * SESSIONS):
        found = results(LIMIT, size, spread_s, size, sessions, TRIALS, 1)
        assert found.count(ThresholdResult.PASS) / TRIALS < _MOST
        assert found.count(ThresholdResult.FAIL) / TRIALS < _MOST


def test_independent_drops_lose_no_power() -> None:
    assert results(2 * LIMIT, 1, 0.0, 1, SESSIONS, 100, 2).count(ThresholdResult.FAIL) > 55
