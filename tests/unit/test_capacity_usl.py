"""The Universal Scalability Law fitted to throughput whose law is known, and when its peak is named."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.stats.usl import _middle, fit, peak_of, throughput

LOADS = (10, 20, 40, 80, 160, 320)
UNNAMED = "no peak named: the run did not measure past it"


def measured(parameters: tuple[float, float, float], loads: tuple[int, ...], noise: float = 0.01, seed: int = 1):
    random = Random(seed)
    return {n: [float(throughput(n, parameters)) * random.gauss(1, noise) for _ in range(8)] for n in loads}


@pytest.mark.parametrize("truth", [(1.0, 0.02, 0.0001), (3.0, 0.1, 0.00005), (0.4, 0.0, 0.00003), (1.0, 0.05, 0.0)])
def test_the_law_is_found_again_and_its_intervals_hold_it(truth: tuple[float, float, float]) -> None:
    usl = fit(measured(truth, LOADS))
    assert usl is not None
    assert usl.parameters == pytest.approx(truth, rel=0.15, abs=2e-5)
    for (low, high), value in zip(usl.intervals, truth, strict=True):
        slack = 0.05 * value + 1e-5
        assert low - slack <= value <= high + slack
    load, fitted, low, high = usl.curve[-1]
    assert load == pytest.approx(1.1 * 320) and low <= fitted <= high


def test_a_peak_that_was_measured_past_is_named() -> None:
    truth = (1.0, 0.02, 0.0001)
    usl = fit(measured(truth, LOADS))
    assert usl is not None and usl.peak is not None and usl.peak_interval is not None
    assert usl.peak == pytest.approx(peak_of(truth), rel=0.05)
    assert usl.peak_interval[0] <= usl.peak <= usl.peak_interval[1] and not usl.why


def test_a_fit_that_stops_short_of_the_peak_names_none() -> None:
    usl = fit(measured((1.0, 0.02, 0.0001), (5, 10, 20, 40, 60)))
    assert usl is not None and usl.peak is None and usl.peak_interval is None and usl.why == UNNAMED


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(0.1, 5), noise=st.floats(0.001, 0.1), most=st.integers(40, 2000), seed=st.integers(0, 1000))
def test_a_workload_by_the_clock_is_a_straight_line_and_no_peak_is_read_into_its_noise(
    scale: float, noise: float, most: int, seed: int
) -> None:
    loads = tuple(most * k // 8 for k in range(1, 9))
    usl = fit(measured((scale, 0.0, 0.0), loads, noise, seed))
    assert usl is not None and usl.peak is None and usl.why == UNNAMED


def test_saturation_without_a_fall_has_no_peak() -> None:
    """The sessions past the knee wait: throughput stays, and does not fall."""
    flat = {n: [min(n, 100.0) * (1 + d) for d in (-0.01, 0.0, 0.01)] for n in (10, 20, 40, 80, 110, 160)}
    usl = fit(flat)
    assert usl is not None and usl.peak is None


def test_a_fall_that_the_law_does_not_fit_names_no_peak_either() -> None:
    """A straight line to 110, then a collapse: as the simulator's knee really gave it."""
    line = {n: [0.2 * n * (1 + d) for d in (-0.02, 0.0, 0.02)] for n in (20, 40, 80, 90, 95, 100, 105, 110)}
    usl = fit({**line, 120: [18.0, 18.4, 18.8], 160: [7.0, 12.4, 20.0]})
    assert usl is not None and usl.peak is None
    assert usl.why.startswith("no peak named: throughput had fallen at 160 sessions, but")


def test_three_loads_are_too_few() -> None:
    assert fit(measured((1.0, 0.02, 0.0001), LOADS[:3])) is None
    assert fit({**measured((1.0, 0.02, 0.0001), LOADS[:3]), 99: []}) is None


def test_a_window_without_a_success_is_no_measurement() -> None:
    samples = measured((1.0, 0.02, 0.0001), LOADS)
    assert fit({load: [0.0, *rates] for load, rates in samples.items()}) == fit(samples)


@pytest.mark.parametrize(("last", "fell"), [(50.0, True), (80.0, True), (120.0, False)])
def test_throughput_fell_where_it_is_less_at_the_last_load_than_before(last: float, fell: bool) -> None:
    rates = {10: 60.0, 20: 85.0, 40: 100.0, 80: 104.0, 160: 106.0, 320: last}
    usl = fit({load: [rate * (1 + d) for d in (-0.001, 0.0, 0.001)] for load, rate in rates.items()})
    assert usl is not None
    assert (usl.why != UNNAMED) is fell


def test_without_coherency_there_is_no_peak() -> None:
    assert peak_of((1.0, 0.1, 0.0)) == math.inf
    assert peak_of((1.0, 0.19, 0.0001)) == pytest.approx(90.0)


def test_the_middle_of_a_bootstrap_is_between_two_of_its_values() -> None:
    assert _middle(list(range(200))) == (4, 195)
    assert _middle([3.0, 1.0, math.inf, 2.0]) == (1.0, math.inf)
