"""Capacity searches against servers whose knee is known, in a small form of simulations/capacity.py.

The servers without noise and without a knee are in tests/unit/test_capacity.py.
"""

import pytest

from simulations.capacity import ROWS, RULES, searches

TRIALS = 12


@pytest.mark.parametrize("name", ["cv 0.6 from step to step", "one stall of 2 s a minute"])
def test_the_interval_covers_the_knee(name):
    """At 90 %, fewer than 6 of 12 have a chance of 5e-5. A bracket of two steps covers it in 28 % at cv 0.6."""
    found = searches(ROWS[name], RULES, TRIALS, 7)
    assert sum(one.covers for one in found) >= 6
    assert sum(one.claimed for one in found) >= 9
    assert all(one.width <= 0.25 for one in found if one.claimed)
