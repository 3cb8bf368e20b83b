"""The Universal Scalability Law fitted to throughput whose law is known, and when its peak is named."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.stats.usl import _ratio, fit, peak_of, saturated, throughput

LOADS = (10, 20, 40, 80, 160, 320)


def measured(parameters: tuple[float, float, float], loads: tuple[int, ...], noise: float = 0.01, seed: int = 1):
    """By load its throughput in eight windows. noise: shared by all windows of a load."""
    random = Random(seed)
    shared = {n: float(throughput(n, parameters)) * random.gauss(1, noise) for n in loads}
    return {n: [rate] * 8 for n, rate in shared.items()}


@pytest.mark.parametrize("truth", [(1.0, 0.02, 0.0001), (3.0, 0.1, 0.00005), (0.4, 0.01, 0.00003), (1.0, 0.05, 0.0)])
def test_the_law_is_found_again_and_its_intervals_hold_it(truth: tuple[float, float, float]) -> None:
    usl = fit(measured(truth, LOADS), None)
    assert usl is not None
    assert usl.parameters == pytest.approx(truth, rel=0.15, abs=2e-5)
    for (low, high), value in zip(usl.intervals, truth, strict=True):
        slack = 0.05 * value + 1e-5
        assert low - slack <= value <= high + slack
    load, fitted, low, high = usl.curve[-1]
    assert load == pytest.approx(1.1 * 320) and low <= fitted <= high


def test_exact_throughput_gives_the_law_itself() -> None:
    truth = (2.0, 0.03, 0.0002)
    usl = fit(measured(truth, LOADS, 0.0), None)
    assert usl is not None and usl.parameters == pytest.approx(truth)
    assert usl.peak == pytest.approx(math.sqrt(0.97 / 0.0002))
    assert usl.peak_interval == pytest.approx((usl.peak, usl.peak), rel=1e-5)


def test_a_peak_that_was_measured_past_is_named() -> None:
    truth = (1.0, 0.02, 0.0001)
    usl = fit(measured(truth, LOADS), None)
    assert usl is not None and usl.peak is not None and usl.peak_interval is not None
    assert usl.peak == pytest.approx(peak_of(truth), rel=0.05)
    assert usl.peak_interval[0] <= usl.peak <= usl.peak_interval[1] < 320 and not usl.why


def test_noise_that_windows_of_a_load_share_makes_the_interval_wide() -> None:
    """Eight windows of a load are one observation. Their number must not narrow the interval."""
    truth = (1.0, 0.02, 0.0001)
    once = {load: rates[:1] for load, rates in measured(truth, LOADS, 0.1).items()}
    assert fit(once, None) == fit(measured(truth, LOADS, 0.1), None)


def test_a_fit_that_stops_short_of_the_peak_names_none() -> None:
    usl = fit(measured((1.0, 0.02, 0.0001), (5, 10, 20, 40, 60)), None)
    assert usl is not None and usl.peak is None and usl.why.startswith("no peak named: ")


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.1, 5), noise=st.floats(0.001, 0.03), most=st.integers(40, 2000), seed=st.integers(0, 1000))
def test_a_workload_by_the_clock_is_not_saturated_and_not_fitted(
    scale: float, noise: float, most: int, seed: int
) -> None:
    loads = tuple(most * k // 8 for k in range(1, 9))
    samples = measured((scale, 0.0, 0.0), loads, noise, seed)
    usl = fit(samples, scale)
    assert usl is None or usl.peak is None


def test_only_saturated_loads_are_fitted() -> None:
    """A straight line to 80 sessions, and above it the law with a peak at 99."""
    law = (1.0, 0.02, 0.0001)
    loads = (10, 20, 40, 80, 120, 160, 200, 240, 320)
    samples = {n: [min(0.2 * n, float(throughput(n, law)))] for n in loads}
    assert list(saturated(samples, 0.2)) == [160, 200, 240, 320]
    usl = fit(samples, 0.2)
    assert usl is not None and usl.parameters == pytest.approx(law, rel=1e-6)
    # By all loads, the line would count as the law's own: a peak elsewhere, and nearly twice as much contention.
    every = fit(samples, None)
    assert every is not None and every.parameters[1] != pytest.approx(0.02, rel=0.5)


def test_a_session_that_makes_nine_tenths_of_its_requests_is_saturated() -> None:
    assert list(saturated({10: [9.01], 20: [18.0], 30: [1.0], 40: [], 50: [0.0]}, 1.0)) == [20, 30]


def test_saturation_without_a_fall_has_no_peak() -> None:
    """The sessions past the knee wait: throughput stays, and does not fall."""
    flat = {n: [min(n, 100.0)] for n in (10, 20, 40, 80, 120, 140, 160, 240)}
    usl = fit(flat, 1.0)
    assert usl is not None and usl.peak is None


def test_three_loads_are_too_few() -> None:
    samples = measured((1.0, 0.02, 0.0001), LOADS)
    three = {load: samples[load] for load in LOADS[:3]}
    assert fit(three, None) is None
    assert fit({**three, 99: []}, None) is None


def test_without_coherency_there_is_no_peak() -> None:
    assert peak_of((1.0, 0.1, 0.0)) == math.inf
    assert peak_of((1.0, 0.19, 0.0001)) == pytest.approx(90.0)


def test_the_interval_of_a_ratio_is_fiellers() -> None:
    # 4 +- 1 over 2 +- 1/2, independent, t = 2: (4 - 2 r)^2 <= 4 (1 + r^2 / 4) is 3 r^2 - 16 r + 12 <= 0.
    solved, covariance = np.array([4.0, 2.0, 0.0]), np.diag([1.0, 0.25, 0.0])
    x, y, _ = np.eye(3)
    roots = [(16 - math.sqrt(112)) / 6, (16 + math.sqrt(112)) / 6]
    assert _ratio(x, y, solved, covariance, 2.0) == pytest.approx(roots)
    # A denominator of 2 +- 1 may be 0: no upper end.
    low, high = _ratio(x, y, solved, np.diag([1.0, 1.0, 0.0]), 2.0)
    assert high == math.inf and low == pytest.approx(0.75)


def test_the_ratio_of_a_numerator_that_may_be_zero_begins_at_zero() -> None:
    x, y, _ = np.eye(3)
    low, high = _ratio(x, y, np.array([1.0, 2.0, 0.0]), np.diag([1.0, 0.25, 0.0]), 2.0)
    assert low == 0.0 and 0.5 < high < math.inf


def test_a_peak_that_may_lie_below_the_saturated_loads_is_not_named() -> None:
    """Throughput falls over all of them: where it began to is not measured."""
    falling = {
        load: [4000.0 / load * (1 + d)]
        for load, d in zip((70, 80, 90, 100, 110), (0.01, -0.01, 0.01, -0.01, 0.0), strict=True)
    }
    usl = fit(falling, 1.0)
    assert usl is not None and usl.peak is None
    assert usl.why.endswith("it may lie anywhere, and the saturated loads go from 70 to 110")


def test_a_fit_without_a_finite_scale_gives_no_value_of_zero() -> None:
    """Measured with a real search: throughput fell so fast that the fit at one session is below 0."""
    measured = {73: [64.9], 74: [65.6], 76: [63.6], 78: [61.7], 80: [60.2], 95: [53.3], 142: [38.4]}
    usl = fit(measured, 1.0)
    assert usl is not None and usl.peak is None
    assert usl.parameters[0] == usl.parameters[2] == math.inf
    assert all(low <= value <= high for value, (low, high) in zip(usl.parameters, usl.intervals, strict=True))
