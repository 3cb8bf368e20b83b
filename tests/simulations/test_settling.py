"""Small form of the simulation of runs whose size "would settle it": they do as often as said, at the seen rate."""

from __future__ import annotations

import numpy as np
import pytest

from chatload.stats.rates import sessions_needed
from simulations.settling import LIMIT, SESSIONS, settled


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize("k", [3, 6, 14, 17])
def test_a_run_of_the_named_size_settles_it_as_often_as_said(k: int, power: float) -> None:
    draw, trials = np.random.default_rng(1), 1000
    needed = sessions_needed(k, SESSIONS, LIMIT, power=power)
    assert needed is not None
    share = sum(settled(int(hits), needed) for hits in draw.binomial(needed, k / SESSIONS, trials)) / trials
    # 4.3 standard errors below the promise; the number is whole, so it may be more.
    assert power - 4.3 * (power * (1 - power) / trials) ** 0.5 < share < power + 0.12
