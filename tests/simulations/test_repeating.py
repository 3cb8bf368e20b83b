"""Small form of the simulation of repeated runs and --abort-on.

The limits are exceeded by a correct method with a probability below 1e-4: 5 % and 4.3 standard errors.
"""

from __future__ import annotations

import numpy as np
import pytest

from chatload.vocabulary import ThresholdResult
from simulations.repeating import aborted, decided


@pytest.mark.parametrize("size", [1, 20])
def test_runs_that_are_repeated_until_they_are_decided_keep_the_error(size: int) -> None:
    draw = np.random.default_rng(3)
    found = [decided("combine", 0.01, size, size, draw) for _ in range(150)]
    most = 0.05 + 4.3 * (0.05 * 0.95 / 150) ** 0.5
    assert found.count(ThresholdResult.PASS) / 150 < most and found.count(ThresholdResult.FAIL) / 150 < most
    assert size > 1 or [decided("combine", 0.02, size, size, draw) for _ in range(20)].count(ThresholdResult.FAIL) > 10


@pytest.mark.parametrize("size", [1, 20])
def test_abort_on_seldom_ends_a_run_at_its_limit(size: int) -> None:
    draw = np.random.default_rng(4)
    assert sum(aborted(0.01, size, 1.0, draw) for _ in range(60)) / 60 < 0.05 + 4.3 * (0.05 * 0.95 / 60) ** 0.5
