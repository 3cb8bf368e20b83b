"""Intervals of the Universal Scalability Law's peak, in a small form of simulations/usl.py."""

from chatload.stats.usl import fit
from simulations.usl import _BY_CLOCK, LAW, PEAK, _by_law, _clocked, measured, table

TRIALS = 150


def test_the_interval_covers_the_peak_where_a_load_shares_its_noise():
    """At 95 %, fewer than 86 % of 150 have a chance below 1e-5. Windows that count as observations cover it in 35 %."""
    fits = [fit(measured(_by_law, 0.05, n), None) for n in range(TRIALS)]
    peaks = [usl.peak_interval for usl in fits if usl is not None and usl.peak_interval is not None]
    assert len(peaks) > 0.95 * TRIALS
    assert sum(low <= PEAK <= high for low, high in peaks) >= 0.86 * len(peaks)
    named = sum(usl is not None and usl.peak is not None for usl in fits)
    assert named > 0.5 * TRIALS, "the interval is of use"


def test_clocked_requests_below_saturation_name_no_peak():
    fits = [fit(measured(_clocked, 0.05, n), _BY_CLOCK) for n in range(TRIALS)]
    assert not any(usl is not None and usl.peak is not None for usl in fits)


def test_the_table_has_a_row_for_each_case():
    assert LAW[2] > 0
    made = table(10, 1)
    assert len(made.rows) == 5 and all(len(row) == len(made.header) for row in made.rows)
