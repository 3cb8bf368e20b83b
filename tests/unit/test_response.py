"""A threshold estimated from binary trials: by hand, by its posterior, and by the trials it asks for."""

from __future__ import annotations

import math
from random import Random

import pytest

from chatload.stats.response import ResponseCurve, trials_needed


def after(*trials: tuple[float, bool], least: float = 1.0, most: float = 1000.0) -> ResponseCurve:
    curve = ResponseCurve(least, most)
    for dose, success in trials:
        curve.add(dose, success)
    return curve


def test_without_trials_the_threshold_is_anywhere_on_the_logarithmic_scale() -> None:
    assert after().quantiles(0.25, 0.5, 0.75) == pytest.approx([1000**0.25, 1000**0.5, 1000**0.75], rel=0.02)


def test_between_a_dose_that_succeeds_and_one_that_fails_lies_the_threshold() -> None:
    trials = [(100.0, True), (200.0, False)] * 8
    low, high = after(*trials).interval(0.9)
    assert 90 < low < 115 and 175 < high < 220
    assert math.sqrt(low * high) == pytest.approx(math.sqrt(100 * 200), rel=0.05)


def test_one_failure_at_a_low_dose_does_not_move_the_threshold() -> None:
    near = [(280.0, True), (290.0, True), (310.0, False), (320.0, False)] * 5
    calm, disturbed = after(*near), after((20.0, False), (40.0, True), *near)
    assert disturbed.interval(0.9) == pytest.approx(calm.interval(0.9), rel=0.02)
    assert disturbed.lapse > calm.lapse
    assert disturbed.chances([50.0])[0] < calm.chances([50.0])[0]


def test_the_chance_falls_with_the_dose_from_one_less_lapses_to_the_guess() -> None:
    curve = after(*[(100.0, True), (200.0, False)] * 10)
    chances = curve.chances([10.0, 100.0, 140.0, 200.0, 900.0])
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(1 - curve.lapse, abs=0.02) and chances[-1] == pytest.approx(0.01, abs=0.02)
    assert chances[2] == pytest.approx(0.5, abs=0.1)


def test_the_next_dose_halves_what_is_not_known_and_stays_within_what_is_allowed() -> None:
    curve = after(*[(100.0, True), (200.0, False)] * 8)
    assert 110 <= curve.next_dose(1, 1000) <= 185
    assert curve.next_dose(1, 120) <= 120
    assert curve.next_dose(300, 400) >= 300


def test_the_threshold_of_a_sharp_server_is_found_in_about_as_many_trials_as_halving_takes() -> None:
    curve, trials = ResponseCurve(0.5, 2000.0), 0
    while trials < 60:
        low, high = curve.interval(0.9)
        if high / low < 1.03:
            break
        dose = curve.next_dose(1, 2000)
        curve.add(dose, dose <= 300)
        trials += 1
    assert low <= 300.5 <= high * 1.01 and trials <= 30


def test_disturbances_in_a_quarter_of_the_trials_leave_the_threshold_in_place() -> None:
    random, curve = Random(3), ResponseCurve(0.5, 2000.0)
    for _ in range(60):
        dose = curve.next_dose(1, 2000)
        curve.add(dose, dose <= 300 and random.random() > 0.25)
    (middle,) = curve.quantiles(0.5)
    assert middle == pytest.approx(300, rel=0.05)


def test_the_number_of_trials_is_that_of_a_probit() -> None:
    # Finney: sd of the median is sqrt(pi / 2n) spreads; 1.645 of them on each side.
    assert trials_needed(0.1, 0.05, 0.9) == pytest.approx(math.pi / 2 * (2 * 1.6449 * 0.05 / 0.1) ** 2, rel=1e-4)
    assert trials_needed(0.05, 0.05, 0.9) == pytest.approx(4 * trials_needed(0.1, 0.05, 0.9))


@pytest.mark.parametrize(("least", "most"), [(0.0, 10.0), (10.0, 10.0), (-1.0, 1.0)])
def test_a_range_that_holds_no_threshold_is_refused(least: float, most: float) -> None:
    with pytest.raises(ValueError, match="no threshold lies between"):
        ResponseCurve(least, most)
