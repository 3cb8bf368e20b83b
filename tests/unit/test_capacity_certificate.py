"""What the steps of a search say together: the bound on drops, the check of knees by drops, and the time it takes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chatload.features.capacity.certificate import certify_knee, certify_limit, drops_depend_on_load
from chatload.features.capacity.length import forecast, search_s, width_within
from chatload.features.capacity.step import DropExposure, StepOutcome, StepRecord, StepRules, Trouble
from chatload.stats.response import ResponseCurve

BROKEN = Trouble("knee", "dropped.per_chat_hour < 0.2", 0.0, "")


def step(load: int, outcome: StepOutcome, drops: int = 0, hours: float = 1.0, proven: float = 0.0) -> StepRecord:
    record = StepRecord(load, "trial", 0.0, outcome=outcome, trouble=None if outcome == "held" else BROKEN)
    record.exposure = DropExposure(drops, hours)
    record.proven = DropExposure(0, proven)
    record.rates = [load / 3.0]
    return record


def test_no_drop_in_ten_chat_hours_is_at_most_three_tenths_of_a_drop_per_chat_hour() -> None:
    # -ln 0.05 is 2.996.
    assert DropExposure(0, 10.0).bounds(0.95) == (0.0, pytest.approx(0.29957, abs=1e-5))
    assert DropExposure(0, 0.0).bounds(0.95) == (0.0, math.inf)


def test_the_bound_on_drops_is_by_the_steps_of_the_interval_and_the_time_in_which_a_drop_shows() -> None:
    confirmed = step(290, "held", proven=2.0)
    curve = ResponseCurve(1.0, 1000.0)
    steps = [
        step(280, "held", proven=50.0),
        step(295, "not held", proven=1.0),
        step(600, "spoilt", proven=9.0),
        confirmed,
    ]
    for one in [*steps, *[step(285, "held"), step(310, "not held")] * 20]:
        curve.add(one.load, one.outcome == "held")
    found = certify_knee(steps, confirmed, curve, 0.95)
    assert found.lower == 290 <= found.upper < 330
    assert (found.drops, found.chat_hours, found.confidence) == (0, 3.0, 0.9)
    assert found.drops_per_chat_hour_upper == pytest.approx(2.9957 / 3, abs=1e-4)
    assert found.requests_per_s == pytest.approx(96.667)
    chances = [chance for _, chance in found.curve]
    assert chances == sorted(chances, reverse=True) and found.curve[0][0] < 290 < found.curve[-1][0]


def test_the_curve_of_a_limit_is_what_was_held_and_what_was_refused() -> None:
    confirmed = step(137, "held")
    found = certify_limit([step(137, "held"), step(138, "not held"), step(138, "not held"), confirmed], confirmed, 0.95)
    assert (found.lower, found.upper, found.curve) == (137, 137, ((137, 1.0), (138, 0.0)))
    assert found.drops_per_chat_hour_upper is None


@pytest.mark.parametrize(
    ("below", "above", "depends"),
    [
        ((2, 20.0), (1, 10.0), False),  # the same rate
        ((0, 20.0), (1, 10.0), False),  # of one drop nothing follows: the chance is a third
        ((0, 20.0), (3, 10.0), True),  # 1 / 27
        ((5, 20.0), (50, 1.0), True),
    ],
)
def test_a_knee_by_drops_needs_a_higher_rate_above_it(
    below: tuple[int, float], above: tuple[int, float], depends: bool
) -> None:
    steps = [step(100, "held", *below), step(200, "not held", *above)]
    assert drops_depend_on_load(steps, 150, 0.95) is depends
    slow = [
        replace(one, trouble=one.trouble and replace(BROKEN, metric="GetMessages.latency.p95 < 1 s")) for one in steps
    ]
    assert drops_depend_on_load(slow, 150, 0.95), "it is not by drops"


RULES = StepRules(start=10, ceiling=1000, interval_s=3.0, hold_s=10.0)


def test_a_search_is_longer_for_a_narrower_interval_and_a_variable_server() -> None:
    # 8 loads of doubling and 15 steps of 26.5 s; the last hold of 138 s, and 16.5 s before it; twice 4.25 trials.
    assert search_s(RULES, 0.05) == pytest.approx(23 * 26.5 + 138 + 16.5 + 2 * 4.25 * 26.5, abs=0.5)
    assert search_s(replace(RULES, resolution=0.05), 0.05) > search_s(RULES, 0.05) < search_s(RULES, 0.1)


def test_the_width_that_a_time_is_enough_for_is_the_one_that_takes_this_time() -> None:
    assert width_within(RULES, search_s(RULES, 0.05), 0.05) == pytest.approx(RULES.resolution)
    assert width_within(RULES, 60.0, 0.05) is None


def test_the_sentence_before_a_search_says_how_long_it_takes() -> None:
    assert forecast(RULES).startswith("The search takes up to about 14 min on a steady server and ")
    assert "--run-time" not in forecast(RULES)
    assert "--run-time 2 min is probably too short" in forecast(replace(RULES, run_time_s=120.0))
    assert "Within --run-time 20 min it becomes about 10 % or 12 % wide." in forecast(replace(RULES, run_time_s=1200.0))
    assert "Shorter: a wider --resolution" in forecast(RULES)
