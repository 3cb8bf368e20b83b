"""Small form of the simulation of drops per chat-hour and by age that come in clusters."""

from __future__ import annotations

import pytest

from chatload.thresholds.metrics import Threshold
from chatload.vocabulary import ThresholdResult
from simulations.dependence import LIMIT
from simulations.exposure_in_clusters import BY_AGE, HOURLY, results

TRIALS = 100
#: A correct method exceeds it with a probability below 1e-4: 5 % and 4.3 standard errors.
_MOST = 0.05 + 4.3 * (0.05 * 0.95 / TRIALS) ** 0.5  # 14.4 %


@pytest.mark.parametrize("threshold", [HOURLY, BY_AGE], ids=["per_chat_hour", "by_age"])
@pytest.mark.parametrize("size", [5, 20])
def test_a_rate_at_its_limit_seldom_passes_or_fails(threshold: Threshold, size: int) -> None:
    # Without the design effect, 15 and 45 % of these runs pass, and 24 and 33 % fail.
    found = results(threshold, LIMIT, size, size, 20_000, TRIALS, 1)
    assert found.count(ThresholdResult.PASS) / TRIALS < _MOST
    assert found.count(ThresholdResult.FAIL) / TRIALS < _MOST
