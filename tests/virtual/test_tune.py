"""The promise of a sweep, in virtual time: what it recommends keeps the target, and its curve is no accident."""

import pytest

from chatload.features.tune.compute import agree, tally, tune
from chatload.stats.rates import upper
from tests.virtual.sweeps import TIMEOUT_S, UNKIND, sweep

FRACTIONS = (0.5, 0.8, 0.9, 0.95, 1.02)
TARGET = 0.03


def judged(seed, fractions=FRACTIONS, sessions=250, target=TARGET):
    return tune(tally(sweep(fractions, sessions * len(fractions), seed)), TIMEOUT_S, target)


@pytest.fixture(scope="module")
def sweeps():
    return judged(1), judged(2)


def test_the_recommended_interval_keeps_its_promise_with_three_times_the_sessions(sweeps):
    best = sweeps[0].recommended
    assert 0.5 < best.fraction < 1
    (again,) = judged(77, (best.fraction,), 750).arms
    assert upper(again.most, again.sessions) < TARGET


def test_intervals_beyond_the_recommended_one_do_not_keep_it(sweeps):
    last = sweeps[0].arms[-1]
    assert last.fraction > 1 and last.lower > 0.5 and last.blames["plan"] > 0.9 * last.least


def test_sweeps_of_two_seeds_draw_the_same_curve(sweeps):
    one, other = sweeps
    assert [agree(a, b) for a, b in zip(one.arms, other.arms, strict=True)] == [True] * len(FRACTIONS)
    kind = tune(tally(sweep(FRACTIONS, 1000, 3, faults=UNKIND[:0])), TIMEOUT_S, TARGET)
    assert not all(agree(a, b) for a, b in zip(one.arms, kind.arms, strict=True))


def test_longer_intervals_cost_fewer_polls_and_leave_less_margin(sweeps):
    arms = sweeps[0].arms[:4]
    assert sorted((arm.polls_per_s for arm in arms), reverse=True) == [arm.polls_per_s for arm in arms]
    assert sorted((arm.margin_p1_s for arm in arms), reverse=True) == [arm.margin_p1_s for arm in arms]


def test_every_arm_has_as_many_sessions(sweeps):
    assert {arm.sessions for arm in sweeps[0].arms} == {250}
