"""The capacity search in virtual time, against servers whose capacity is known."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.features.capacity.search import MOST_STEPS, REPEATS, _Recovery
from chatload.features.capacity.step import Look, StepRecord, Trouble
from chatload.features.capacity.view import step_facts
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.thresholds.metrics import parse
from simulations import capacity as simulated
from simulations.capacity import NO_DROP, NO_KNEE, NoisyServer, SearchWorld
from tests.unit.capacity_server import RULES, Server, World, find

#: Facts alone: decided by the smallest of loads.
COUNTS = replace(RULES, thresholds=(parse("refused.count == 0"), parse("dropped.count == 0")))
BUDGET = settings(max_examples=40, deadline=None)


@BUDGET
@given(limit=st.integers(1, 700), start=st.integers(1, 60), churn=st.sampled_from([0.0, 0.02]), seed=st.integers(0, 99))
def test_a_limit_that_refuses_chats_is_found_to_the_unit(limit: int, start: int, churn: float, seed: int) -> None:
    result, search = find(Server(limit=limit, churn=churn), replace(COUNTS, start=start), seed)
    assert (result.kind, result.held, result.failed, result.confirmed) == ("limit", limit, limit + 1, True)
    assert result.trouble is not None and result.trouble.metric == "refused.count == 0"
    assert result.capacity is not None and (result.capacity.lower, result.capacity.upper) == (limit, limit)
    assert len(search.steps) <= 2 * math.log2(max(limit, start)) + 9


@pytest.mark.parametrize("limit", [137, 20, 40, 41, 79])
def test_a_limit_is_found_by_the_thresholds_that_stand_where_none_are_given(limit: int) -> None:
    result, search = find(Server(limit=limit))
    assert (result.kind, result.held, result.failed, result.confirmed) == ("limit", limit, limit + 1, True)
    assert [str(threshold) for threshold in search.thresholds] == [
        "refused.count == 0", "dropped.per_chat_hour < 0.2", "GetMessages.unsuccessful.rate < 5%",
        "GetMessages.latency.p95 < 100 ms",
    ]  # fmt: skip
    failed = next(i for i, step in enumerate(search.steps) if step.outcome == "not held")
    after = {step.load for step in search.steps[failed:]}
    assert after <= {search.steps[failed].load, limit, limit + 1}, "no other load was tried than the plateau and above"
    assert [step.purpose for step in search.steps[-2:]] == ["repeat", "confirm"]


@settings(BUDGET, max_examples=12)
@given(knee=st.integers(30, 500), seed=st.integers(0, 99))
def test_a_knee_is_found_within_a_tenth(knee: int, seed: int) -> None:
    """How often the interval covers it, simulations/capacity.py says."""
    result, _ = find(Server(knee=knee), seed=seed)
    assert result.kind == "knee" and result.confirmed and result.capacity is not None
    assert 0.88 * knee <= result.held == result.capacity.lower <= 1.03 * knee
    assert 0.97 * knee <= result.capacity.upper <= 1.1 * knee
    assert result.trouble is not None and result.trouble.metric.startswith("GetMessages.latency.p95")


def test_drops_are_the_servers_knee_and_bracketed_by_the_resolution() -> None:
    result, _ = find(Server(breaks=300))
    assert (result.kind, result.confirmed) == ("knee", True)
    assert result.trouble is not None and result.trouble.metric == "dropped.per_chat_hour < 0.2"
    assert result.capacity is not None
    assert result.held <= 300 <= result.capacity.upper <= 1.1 * result.held


def test_drops_that_come_at_every_load_alike_are_no_knee() -> None:
    """Without the check, a search for no drop ends where the first one happens to come."""
    results = [SearchWorld(NO_KNEE, NO_DROP, seed).run() for seed in range(3)]
    assert {result.kind for result in results} <= {"undecided", "generator"}
    assert any(result.why.startswith("it is not shown that it drops more chats") for result in results)


def test_drops_too_rare_to_be_proven_leave_a_load_held() -> None:
    """0.05 drops per chat-hour are below the limit of 0.2; "no drop in a step" was broken by every one of them."""
    world = SearchWorld(NoisyServer(200.0, drops_per_chat_hour=0.05), simulated.RULES, 1)
    result = world.run()
    assert result.kind == "knee" and result.trouble is not None
    assert result.trouble.metric.startswith("GetMessages.latency.p95")


def test_a_server_that_stalls_once_a_minute_keeps_its_knee() -> None:
    """A step with a stall is not held at any load. At low loads, such a step ended the search before."""
    world = SearchWorld(NoisyServer(300.0, stall_s=2.0), simulated.RULES, 5)
    # At this instant of each minute, the stall comes while low loads are held, whatever the draws are.
    world.stalls_at = 35.0
    capacity = world.run().capacity
    assert capacity is not None and capacity.lapses > 0.1
    assert 260 < capacity.lower < capacity.upper < 340
    assert any(step.outcome == "not held" and step.load < 100 for step in world.search.steps)


@pytest.mark.parametrize(
    ("server", "held"),
    [
        (Server(slow_from=100), 80),
        (Server(slow_from=100, knee=300), 80),
        (Server(slow_from=100, breaks=150), 80),
        (Server(stuck_at=50), 40),
        (Server(), 5000),
        (Server(hogs=0.001, knee=900), 640),
    ],
)
def test_at_the_generators_own_limit_nothing_is_claimed(server: Server, held: int) -> None:
    result, _ = find(server)
    assert (result.kind, result.held, result.failed) == ("generator", held, None)
    assert not result.is_claim and result.why


def test_a_step_the_generator_spoilt_is_repeated_and_a_passing_disturbance_changes_nothing() -> None:
    world = World(Server(knee=300), RULES)
    disturbed = world.refresh

    def refresh(length: float) -> None:
        world.server = replace(world.server, slow_from=1 if 40 < world.now < 55 else None)
        disturbed(length)

    world.refresh = refresh  # type: ignore[method-assign]
    result = world.run()
    assert "spoilt" in [step.outcome for step in world.search.steps]
    assert result.kind == "knee" and result.confirmed and 270 <= result.held <= 309


def test_a_step_that_stays_spoilt_is_repeated_three_times() -> None:
    result, search = find(Server(slow_from=100))
    (load,) = {step.load for step in search.steps if step.outcome == "spoilt"}
    assert load == 160 and [step.load for step in search.steps].count(160) == 4
    assert result.why.startswith("at 160 sessions its own refreshes left ") and result.why.endswith(", 4 times")


def test_a_server_that_refuses_is_recovered_below_its_restore_threshold_before_the_next_step() -> None:
    world = World(Server(limit=137), COUNTS)
    second, lows = world.second, []

    def watched(wanted: int) -> None:
        if world.refusing:
            lows.append(wanted)
        second(wanted)

    world.second = watched  # type: ignore[method-assign]
    assert world.run().held == 137
    assert min(lows) < 0.8 * 137


def test_chats_that_left_without_a_confirmed_goodbye_are_waited_for() -> None:
    result, _ = find(Server(limit=137, ghosts=True), replace(COUNTS, timeout_s=30.0))
    assert (result.kind, result.held, result.failed) == ("limit", 137, 138)


def test_an_answer_that_is_not_held_again_is_no_claim_or_lowered() -> None:
    """A server that grows tired: what it held at first it does not hold later."""
    world = World(Server(breaks=200), RULES)
    second = world.second

    def tiring(wanted: int) -> None:
        if len(world.search.steps) >= 12:
            world.server = Server(breaks=120)
        second(wanted)

    world.second = tiring  # type: ignore[method-assign]
    result = world.run()
    assert not result.is_claim or result.held <= 120
    assert max(step.load for step in world.search.steps[:12] if step.is_held) > 150


def test_a_load_that_is_not_confirmed_is_lowered() -> None:
    """The last hold is longer than the steps, and sees what they do not: here, drops that come after 10 s."""
    world = World(Server(breaks=200), RULES)
    second, since = world.second, 0.0

    def late(wanted: int) -> None:
        nonlocal since
        since = since if world.open > 150 else world.now
        world.server = Server(breaks=150 if world.now - since > 10 else 200)
        second(wanted)

    world.second = late  # type: ignore[method-assign]
    result = world.run()
    confirmations = [step for step in world.search.steps if step.purpose == "confirm"]
    assert not confirmations[0].is_held
    assert not result.is_claim or result.held < confirmations[0].load


def test_a_refusal_that_does_not_come_again_is_no_limit() -> None:
    world = World(Server(limit=137), COUNTS)
    second, refusals = world.second, iter([True])

    def once(wanted: int) -> None:
        # One chat of the third step is refused, and none after it.
        limit = 30 if world.open >= 25 and next(refusals, False) else 137
        world.server = Server(limit=limit)
        second(wanted)

    world.second = once  # type: ignore[method-assign]
    result = world.run()
    assert ("repeat", "held") in [(step.purpose, step.outcome) for step in world.search.steps]
    assert (result.kind, result.held, result.failed) == ("limit", 137, 138)


def test_a_search_with_little_time_confirms_what_it_knows_before_the_time_is_over() -> None:
    wanted = replace(RULES, resolution=0.02, run_time_s=220.0)
    world = World(Server(knee=300), wanted)
    result = world.run()
    assert result.capacity is not None and world.now <= 220.0
    assert result.capacity.upper - result.capacity.lower > 0.02 * 300, "it is wider than wanted"
    assert result.capacity.lower <= 320 and result.capacity.upper >= 280


def test_too_few_samples_are_no_claim_and_no_load_is_called_held() -> None:
    rare = replace(
        RULES, interval_s=20.0, timeout_s=45.0, ceiling=15, thresholds=(parse("GetMessages.latency.p99 < 1s"),)
    )
    result, search = find(Server(), rare)
    assert not result.is_claim and result.held == 0
    assert {step.outcome for step in search.steps} == {"undecided"}


def test_what_few_sessions_leave_undecided_more_sessions_decide() -> None:
    rules = replace(RULES, start=2, thresholds=(parse("GetMessages.latency.p95 < 100ms"),))
    result, search = find(Server(knee=200), rules)
    assert search.steps[0].outcome == "undecided"
    assert search.steps[1].begun - search.steps[0].ended >= 0.9, "it recovers first"
    assert result.kind == "knee" and 180 <= result.held <= 206


def test_a_search_that_is_stopped_says_what_it_knew() -> None:
    world = World(Server(limit=137), RULES)
    with pytest.raises(AssertionError):
        world.run(seconds=60)
    result = world.search.stop()
    assert result.kind == "stopped" and not result.is_claim
    assert result.held == max(step.load for step in world.search.steps if step.outcome == "held")


def test_a_search_that_is_stopped_near_the_knee_says_the_interval_so_far() -> None:
    world = World(Server(knee=300), RULES)
    with pytest.raises(AssertionError):
        world.run(seconds=150)
    result = world.search.stop()
    assert result.kind == "stopped" and not result.is_claim and result.capacity is None
    said = re.search(r"so far its steps say (\d+) to (\d+) sessions with 90 % confidence, not confirmed", result.why)
    assert said is not None and 200 < int(said[1]) < 300 < int(said[2]) < 400


def test_a_server_that_holds_nothing_is_said_to() -> None:
    result, _ = find(Server(limit=0), COUNTS)
    assert (result.kind, result.held, result.failed, result.confirmed) == ("limit", 0, 1, False)
    assert result.why == "not even 1 could be held" and result.trouble is not None


@pytest.mark.parametrize("breaks", [3, 7, 12])
def test_a_knee_of_a_few_sessions_is_bracketed_to_the_unit(breaks: int) -> None:
    result, _ = find(Server(breaks=breaks), replace(RULES, start=1, thresholds=(parse("dropped.count == 0"),)))
    assert (result.kind, result.held, result.failed, result.confirmed) == ("knee", breaks, breaks + 1, True)
    assert result.capacity is not None and result.capacity.upper == breaks + 1


def test_a_recovery_is_over_when_one_refresh_interval_went_well() -> None:
    # Of the 15 s that it may take.
    world = World(Server(breaks=300), replace(RULES, thresholds=(parse("dropped.count == 0"),)))
    world.run()
    failed = [step for step in world.search.steps if step.outcome == "not held"]
    after = [world.search.steps[world.search.steps.index(step) + 1] for step in failed]
    assert len(failed) >= 2
    assert all(1.0 <= following.begun - step.ended <= 8.0 for step, following in zip(failed, after, strict=True))


def test_a_recovery_is_over_once_a_refresh_interval_went_well_however_the_one_before() -> None:
    world = World(Server(breaks=300), replace(RULES, thresholds=(parse("GetMessages.latency.p95 < 100ms"),)))
    answered, bad_until = world.refresh, 0.0

    def refresh(length: float) -> None:
        nonlocal bad_until
        steps = world.search.steps
        if world.open > 300:
            bad_until = world.now + 4.0
        answered(length)
        if world.now < bad_until:
            world.books.latency["GetMessages"].observed.extend([0.5] * 100)
        assert steps is world.search.steps

    world.refresh = refresh  # type: ignore[method-assign]
    world.run()
    steps = world.search.steps
    after = [(step, steps[i + 1]) for i, step in enumerate(steps) if step.outcome == "not held"]
    assert after and all(following.begun - step.ended <= 9.0 for step, following in after)


def test_the_latency_allowed_is_three_times_that_of_the_first_step() -> None:
    world = World(Server(), replace(RULES, ceiling=20))
    world.server.mean_latency = lambda load: 0.5  # type: ignore[method-assign]
    world.run()
    (own,) = (t for t in world.search.thresholds if t.metric.subject == "latency")
    first = [step.figures["latency_p95_s"] for step in world.search.steps[:2]]
    assert own.limit == pytest.approx(3 * min(first), abs=0.0006) and own.limit > 1.4


def test_instants_are_written_to_the_millisecond() -> None:
    trouble = Trouble("knee", "m", 9.1234, "why")
    made = step_facts(StepRecord(5, "first", 2.1111, 3.2222, 4.3333, ended=10.4444, trouble=trouble))
    assert [made[name] for name in ("begun_s", "reached_s", "settled_s", "ended_s")] == [2.111, 3.222, 4.333, 10.444]
    assert made["trouble"] == {"cause": "knee", "metric": "m", "at_s": 9.123, "why": "why"}
    unsettled = step_facts(StepRecord(5, "first", 7.0))
    assert [unsettled[name] for name in ("begun_s", "reached_s", "settled_s", "trouble")] == [7.0, None, None, None]


def test_after_a_load_that_is_held_a_higher_one_is_put_on_at_once() -> None:
    _, search = find(Server(breaks=300), replace(RULES, thresholds=(parse("dropped.count == 0"),)))
    for step, following in itertools.pairwise(search.steps):
        at_once = step.outcome == "held" and following.load > step.load
        assert (following.begun == step.ended) is at_once


def test_a_generator_is_left_longer_alone_each_time() -> None:
    _, search = find(Server(slow_from=100))
    spoilt = [step for step in search.steps if step.load == 160]
    rests = [following.begun - step.ended for step, following in itertools.pairwise(spoilt)]
    # Not at all, for one hold of 3 s, and for two.
    assert len(rests) == 3 and rests[0] < 3.0 <= rests[1] < 6.0 <= rests[2] < 9.0


maybe = st.none()


@settings(BUDGET, max_examples=25)
@given(
    limit=maybe | st.integers(1, 500),
    knee=maybe | st.integers(20, 500),
    breaks=maybe | st.integers(1, 500),
    slow_from=maybe | st.integers(1, 500),
    stuck_at=maybe | st.integers(1, 500),
    churn=st.sampled_from([0.0, 0.01]),
    ceiling=st.integers(20, 600),
    seed=st.integers(0, 9),
)
def test_whatever_the_world_the_search_ends_and_claims_nothing_false(
    limit: int | None, knee: int | None, breaks: int | None, slow_from: int | None, stuck_at: int | None,
    churn: float, ceiling: int, seed: int,
) -> None:  # fmt: skip
    server = Server(limit, knee, breaks, slow_from, 0.0, churn, stuck_at)
    result, search = find(server, replace(RULES, ceiling=ceiling), seed)
    assert len(search.steps) <= MOST_STEPS + 2 * REPEATS
    can = min(
        n for n in (limit, knee and 1.03 * knee, breaks, ceiling, stuck_at and stuck_at + 5, 9999) if n is not None
    )
    # A first step that is past the knee makes its own latency the measure: start low.
    if knee is None or knee > 2 * RULES.start:
        assert result.held <= 1.05 * can
    if result.capacity is not None:
        fails = [n for n in (limit, breaks) if n is not None] + [0.95 * knee for _ in (1,) if knee is not None]
        assert fails and result.capacity.upper >= min(fails)
        assert result.kind != "limit" or result.held == limit


class Recovering:
    """A recovery to 5 sessions, looked at by hand; refreshes of a median of 10 ms unless told otherwise."""

    def __init__(self, rest_s: float = 0.0) -> None:
        self.books, self.rules = Books(), replace(COUNTS, thresholds=(parse("GetMessages.latency.p50 < 100ms"),))
        self.books.verdicts["cut_off"] = 3
        self.recovery = _Recovery(Look(100.0, self.books.copy()), 5, (7, "halve"), rest_s)

    def look(self, at: float, still: int = 5, latency_s: float = 0.01, opening: int = 0) -> bool:
        self.books.states.update({"held": still - self.books.states["held"], "opening": opening})
        self.books.states["opening"] = opening
        self.books.latency.setdefault("GetMessages", CensoredHistogram()).observed.extend([latency_s] * 50)
        return self.recovery.over(Look(at, self.books.copy()), self.rules.thresholds, self.rules)


def test_a_recovery_is_over_after_a_refresh_interval_that_went_well() -> None:
    made = Recovering()
    assert not made.look(101.0, still=6)
    assert not made.look(102.0, opening=1)
    assert not made.look(103.0), "from here on"
    assert not made.look(103.85), "not yet a whole interval"
    assert made.look(104.0)


def test_a_recovery_goes_on_while_intervals_go_badly_and_ends_when_it_may_last_no_longer() -> None:
    made = Recovering()
    for second in range(1, 15):
        assert not made.look(100.0 + second, latency_s=0.5)
    assert made.look(115.0, latency_s=0.5)
    made = Recovering()
    made.look(101.0, latency_s=0.5)
    made.look(102.0, latency_s=0.5)
    assert made.look(103.0)


def test_a_recovery_rests_as_long_as_it_is_to_and_until_chats_that_are_left_behind_are_dropped() -> None:
    made = Recovering(rest_s=6.0)
    assert [made.look(100.0 + second) for second in range(1, 8)] == [False] * 6 + [True]
    for confirmed, first in ((1, 5), (2, 2)):
        made = Recovering()
        made.books.verdicts["cut_off"] += 2
        made.books.outcomes["Disconnect"] = Counter({"0/true": confirmed})
        over = [made.look(100.0 + second) for second in range(1, 9)]
        assert over.index(True) + 1 == first


def test_a_server_that_is_too_slow_for_one_session_is_said_to_be_after_two_tries() -> None:
    rules = replace(RULES, start=1, hold_s=10.0, thresholds=(parse("GetMessages.latency.p50 < 1ms"),))
    result, search = find(Server(), rules)
    assert (result.kind, result.held, result.failed, result.is_claim) == ("knee", 0, 1, False)
    assert result.why == "not even 1 could be held" and len(search.steps) <= 5
