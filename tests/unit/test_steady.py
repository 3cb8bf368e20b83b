"""The part of a run that speed is judged on: which start is left out, and which never is."""

from __future__ import annotations

import numpy as np
import pytest

from chatload.errors import UsageError
from chatload.run.settings import ALL, JUDGE, STEADY, option_of
from chatload.run.steady import JudgedPart, find_ramp, judged_part

BEGAN = 1_000_000.0


def loads(load, length_s=600, fine_s=300):
    """The windows of a run: 1 s, then 10 s; `load` gives the open sessions at an instant."""
    ends = [*range(1, fine_s + 1), *range(fine_s + 10, length_s + 1, 10)]
    starts = [0, *ends[:-1]]
    return [(BEGAN + start, BEGAN + end, int(load(end))) for start, end in zip(starts, ends, strict=True)]


def found(load, length_s=600, judge=STEADY):
    part = judged_part(judge, loads(load, length_s), BEGAN, BEGAN + length_s)
    return part if part is None else JudgedPart(part.start - BEGAN, part.end - BEGAN, part.given)


def ramp(end_s, users=1000):
    return lambda at: users * min(1.0, at / end_s)


def test_mser_by_hand():
    # d = 1: mean 10, squares 0. d = 0: mean 8, squares 64 + 4 * 4 = 80, by 25.
    assert find_ramp(np.array([0.0, 10, 10, 10, 10])) == 1
    assert find_ramp(np.array([10.0, 10, 10, 10, 10, 10])) == 0
    # It still grows at the half: never steady.
    assert find_ramp(np.arange(20.0)) == 0


@pytest.mark.parametrize("end_s", [60, 120, 200])
def test_a_planned_ramp_is_left_out_to_its_end(end_s):
    part = found(ramp(end_s))
    assert part is not None and not part.given and part.end == 600
    assert end_s - 9 <= part.start <= end_s + 6


def test_an_open_workload_fills_up_and_is_then_steady():
    random = np.random.default_rng(3)
    part = found(lambda at: random.poisson(1000 * (1 - np.exp(-at / 60))), 1800)
    assert part is not None and 100 <= part.start <= 400


@pytest.mark.parametrize(
    "load",
    [
        lambda at: 1000,
        lambda at: 1000 - (at % 20),
        lambda at: at,  # it grows to the end
        lambda at: 1000 if at < 300 else 500,  # the load falls: no ramp
        lambda at: 0 if at > 60 else 1000,  # the server drops all of them, and they are not replaced
    ],
    ids=["flat", "noise", "growing", "falling", "dropped"],
)
def test_nothing_is_left_out_without_a_ramp(load):
    assert found(load) is None


def test_the_end_is_not_cut_where_the_load_falls():
    part = found(lambda at: 0 if at > 500 else ramp(60)(at))
    assert part is None or part.end == 600


def test_goodbyes_are_left_out():
    rows = loads(lambda at: 0 if at > 400 else ramp(60)(at))
    part = judged_part(STEADY, rows, BEGAN, BEGAN + 400)
    assert part is not None and part.end == BEGAN + 400 and 50 <= part.start - BEGAN <= 65


def test_a_short_run_is_judged_whole():
    assert found(ramp(10), 29) is None
    assert judged_part(STEADY, [], BEGAN, BEGAN + 600) is None
    assert judged_part(STEADY, loads(ramp(60)), None, None) is None


def test_a_user_may_name_the_part():
    assert found(ramp(60), judge=ALL) is None
    assert found(ramp(60), judge=JUDGE.parse("2m-10m")) == JudgedPart(120.0, 600.0, True)
    for text in ("0 - 90", "0s-90s", "0m-1.5m"):
        assert found(ramp(60), judge=JUDGE.parse(text)) == JudgedPart(0.0, 90.0, True)


@pytest.mark.parametrize("text", ["some", "5m", "5m-2m", "5m-5m", "-5", "1-", "a-b", "1-2-3", "nan-inf", "1-inf"])
def test_what_names_no_part_is_refused(text):
    with pytest.raises(UsageError, match="expected all, steady, or FROM-TO such as 2m-10m"):
        option_of("judge").value(text)
