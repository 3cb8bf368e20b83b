"""Small form of the simulation of sweeps.

The limits are exceeded by a correct method with a probability below 1e-4: 5 % and 4.3 standard errors.
"""

from __future__ import annotations

import numpy as np
import pytest

from simulations.tune import recommended

TRIALS = 300
_MOST = 0.05 + 4.3 * (0.05 * 0.95 / TRIALS) ** 0.5  # 10.4 %


@pytest.mark.parametrize("size", [1, 5, 20])
def test_tune_seldom_recommends_an_interval_at_the_target(size: int) -> None:
    draw = np.random.default_rng(5)
    chosen = [recommended((1.0, 1.0, 1.0, 1.0), size, size, draw) for _ in range(TRIALS)]
    assert sum(best is not None for best in chosen) / TRIALS < _MOST


@pytest.mark.parametrize("size", [1, 5])
def test_the_bound_per_chat_hour_of_a_recommended_interval_is_seldom_too_low(size: int) -> None:
    draw = np.random.default_rng(6)
    made = [recommended((0.2, 0.2, 0.5), size, size, draw) for _ in range(TRIALS)]
    bounds = [best.bound / best.rate for best in made if best is not None]
    assert len(bounds) > TRIALS / 2
    assert sum(bound < 1 for bound in bounds) / TRIALS < _MOST
