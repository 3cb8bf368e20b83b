"""Sizing, its sensitivity, drops and what a run held: worked by hand, and properties."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatload.errors import UsageError
from chatload.features.plan import compute
from chatload.features.plan.compute import (
    expected_drops,
    influences,
    judge_drops,
    make_plan,
    pool_size,
    servers_needed,
    servers_worth,
)
from chatload.features.plan.inputs import (
    PRESETS,
    Capacity,
    Constraint,
    DayProfile,
    Demand,
    Drops,
    LengthDistribution,
    Origin,
    ServerFigure,
    capacity_of,
    most_held,
    option,
)
from chatload.features.plan.queueing import above, whole_level
from chatload.run.books import Books
from chatload.run.windows import Window

HAND = Demand(handling_time_s=600, poll_interval_s=3, chats_per_hour=360, messages_per_chat=12)


def demand(**changes: Any) -> Demand:
    return replace(HAND, **changes)


def server(**figures: float) -> Capacity:
    return capacity_of(None, {}, {Constraint(name): value for name, value in figures.items()})


def test_worked_example():
    # 360 an hour of 10 minutes are 60 at once; 99.9 % of Poisson(60) is 85 (pdtr(84, 60) = 0.99864);
    # 85 chats make 85 (1/3 + 2/600) = 28.6 requests/s and 85 x 12 / 600 = 1.7 messages/s;
    # at 40 sessions a server 85 need 3, and one to spare.
    plan = make_plan(HAND, server(sessions_per_server=40, requests_per_server=20))
    assert (plan.peak.mean_chats, plan.peak.chats) == (60, 85)
    assert plan.loads[Constraint.REQUESTS] == pytest.approx(85 * (1 / 3 + 2 / 600))
    assert plan.loads[Constraint.MESSAGES] == pytest.approx(1.7)
    assert (plan.needed, plan.servers) == (3, 4)
    assert plan.binding.constraint is Constraint.SESSIONS
    assert plan.binding.margin(3) == pytest.approx(1 - 85 / 120)
    assert plan.binding.margin(4) == pytest.approx(1 - 85 / 160)


def test_a_day_with_a_peak_share_and_growth_is_an_hour():
    # 2 000 a day, 15 % of them in the peak hour, a fifth more: 360
    a_day = demand(chats_per_hour=None, chats_per_day=2000, peak_hour_share=0.15, growth=0.2)
    assert a_day.arrivals_per_hour == pytest.approx(360)


@pytest.mark.parametrize(
    ("capacity", "binding", "servers"),
    [
        (server(sessions_per_server=85), Constraint.SESSIONS, 1),
        (server(sessions_per_server=84), Constraint.SESSIONS, 2),
        (server(sessions_per_server=85, requests_per_server=14), Constraint.REQUESTS, 3),
        (server(sessions_per_server=85, messages_per_server=0.5), Constraint.MESSAGES, 4),
        (server(sessions_per_server=85, starts_per_server=0.03), Constraint.STARTS, 4),
    ],
)
def test_the_scarcest_decides(capacity: Capacity, binding: Constraint, servers: int):
    plan = make_plan(HAND, capacity)
    assert (plan.binding.constraint, plan.needed) == (binding, servers)


def test_headroom_is_the_factor_that_needs_one_more_server():
    capacity = server(sessions_per_server=40)
    plan = make_plan(HAND, capacity)
    assert servers_needed(demand(growth=plan.headroom * 0.999 - 1), capacity) == 3
    assert servers_needed(demand(growth=plan.headroom * 1.001 - 1), capacity) == 4


def test_servers_at_random_need_more():
    # Poisson(6 000) at 99.9 % is 6 241: 13 servers of 500 spread evenly. At random each has Poisson(6 000 / n):
    # with 13 the mean is 461.5 and 99.9 % is 529, with 14 it is 428.6 and 494.
    plan = make_plan(demand(chats_per_hour=36_000), server(sessions_per_server=500))
    assert (plan.peak.chats, plan.needed, plan.at_random) == (6241, 13, 14)


def test_days_with_other_rates_need_more_of_everything_by_hand():
    # A deviation of 5 % adds (0.05 x 360)^2 = 324 to the variance of 360 arrivals: it is 26.2^2 instead of 19.0^2.
    some_days = make_plan(demand(rate_cv=0.05), server(sessions_per_server=40))
    assert some_days.peak.arrivals == whole_level(360, 0.001, rate_cv=0.05) == 445
    # 600 chats on servers of 40. If they go to random servers, each has its part of the same rate.
    many = make_plan(demand(chats_per_hour=3600, rate_cv=0.05), server(sessions_per_server=40))
    fits = [n for n in range(1, 100) if above(40, 600 / n, rate_cv=0.05) <= 0.001]
    known = [n for n in range(1, 100) if above(40, 600 / n) <= 0.001]
    assert many.needed == 19 and many.at_random == fits[0] > known[0]


def test_the_peak_hour_by_hand():
    # 360 an hour are a Poisson number of 360 arrivals: 99.9 % of them 420 at most; an hour of 10 minutes is 6 lengths.
    peak = make_plan(HAND, server(sessions_per_server=40)).peak
    assert (peak.mean_arrivals, peak.arrivals) == (360, 420)
    assert peak.built_up == pytest.approx(1 - math.exp(-6), abs=1e-9)
    assert make_plan(HAND, server(sessions_per_server=40)).loads[Constraint.STARTS] == pytest.approx(420 / 3600)


def test_a_hundred_thousand_servers_are_planned_and_no_more():
    loads = make_plan(HAND, server(requests_per_server=1)).loads
    needed = loads[Constraint.REQUESTS]
    assert needed is not None
    assert make_plan(HAND, server(requests_per_server=needed / 100_000)).needed == 100_000
    with pytest.raises(UsageError, match=r"needs 1e\+300 servers, more than 100000"):
        make_plan(HAND, server(requests_per_server=needed / 1e300))
    with pytest.raises(UsageError, match="needs 100001 servers, more than 100000"):
        make_plan(HAND, server(requests_per_server=needed / 100_000.5))


def test_a_plan_is_never_worth_less_than_one_chat():
    few = demand(chats_per_hour=0.001)
    assert servers_worth(few, server(sessions_per_server=40)) == pytest.approx(1 / 40)
    assert servers_worth(few, server(starts_per_server=0.01)) == pytest.approx(1 / 36)
    assert servers_worth(HAND, server(starts_per_server=0.01)) == pytest.approx(420 / 36, rel=0.01)


def test_refresh_pool_size():
    assert pool_size(500, 3) == 34  # 500 / 15 = 33.3
    assert pool_size(450, 3) == 30


def test_the_vendors_presets():
    sizing = PRESETS["genesys-sizing"]
    assert sizing.figures == {Constraint.SESSIONS: 500, Constraint.MESSAGES: 50, Constraint.STARTS: 10}
    assert PRESETS["genesys-limits"].figures == {Constraint.SESSIONS: 1000}
    assert all("Genesys" in preset.source for preset in PRESETS.values())


def test_typed_in_goes_before_held_and_that_before_the_preset():
    made = capacity_of(None, {Constraint.SESSIONS: 500, Constraint.STARTS: 10}, {Constraint.SESSIONS: 300})
    assert made == {
        Constraint.SESSIONS: ServerFigure(300, Origin.TYPED),
        Constraint.STARTS: ServerFigure(10, Origin.PRESET),
    }


# -- sensitivity ---------------------------------------------------------------------------------


def test_influences_of_a_plan_that_requests_bind():
    plan = make_plan(demand(chats_per_hour=36_000), server(sessions_per_server=1e6, requests_per_server=100))
    found = {item.name: item for item in influences(plan)}
    # requests/s = chats (1/3 + 2/600): 99 % of them are polls, so a tenth longer is 99 % of 1 - 1/1.1 less
    assert found["poll_interval_s"].up == pytest.approx(-0.99 * (1 - 1 / 1.1), abs=1e-3)
    assert found["requests_per_server"].down == pytest.approx(1 / 0.9 - 1)
    assert found["sessions_per_server"].strength == 0
    assert influences(plan)[0].name in ("requests_per_server", "poll_interval_s")
    strengths = [item.strength for item in influences(plan)]
    assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("name", ["chats_per_hour", "handling_time_s", "poll_interval_s", "peakedness"])
def test_one_more_at_is_where_one_more_server_is_needed(name: str):
    capacity = server(sessions_per_server=500, requests_per_server=160)
    plan = make_plan(demand(chats_per_hour=36_000), capacity)
    item = next(item for item in influences(plan) if item.name == name)
    assert item.one_more_at is not None and item.one_more_change
    back = 1e-4 * math.copysign(1, -item.one_more_change)
    assert servers_needed(replace(plan.demand, **{name: item.one_more_at}), capacity) > plan.needed
    assert servers_needed(replace(plan.demand, **{name: item.one_more_at * (1 + back)}), capacity) == plan.needed


def test_one_more_is_found_up_to_the_last_value_that_is_possible():
    # Half of 1 000 chats a day in the peak hour: at most twice as many could come, 166.7 at once.
    a_day = demand(chats_per_hour=None, chats_per_day=1000, peak_hour_share=0.5)
    plan = make_plan(a_day, server(sessions_per_server=200))
    (item,) = (item for item in influences(plan) if item.name == "peak_hour_share")
    assert plan.needed == 1 and item.one_more_at is not None
    assert servers_needed(replace(a_day, peak_hour_share=item.one_more_at), server(sessions_per_server=200)) == 2
    assert 0.9 < item.one_more_at < 1 and item.one_more_change == pytest.approx(item.one_more_at / 0.5 - 1)
    # With room for 250 not even all of them in one hour need another server.
    (item,) = (
        item for item in influences(make_plan(a_day, server(sessions_per_server=250))) if item.name == "peak_hour_share"
    )
    assert (item.one_more_at, item.one_more_change) == (None, None)


def test_the_influence_of_the_percentile_is_that_of_its_tail():
    # 79 chats are open at most 99 % of the time, 85 for 99.9 %.
    capacity = server(sessions_per_server=81)
    plan = make_plan(demand(percentile=99.0), capacity)
    (item,) = (item for item in influences(plan) if item.name == "percentile")
    assert item.value == 99.0 and item.down is not None and item.up is not None and item.down > 0 > item.up
    at = item.one_more_at
    assert at is not None and 99.0 < at < 99.9 and item.one_more_change == pytest.approx(at / 99 - 1)
    assert plan.needed == 1
    assert servers_needed(demand(percentile=at), capacity) == 2
    assert servers_needed(demand(percentile=at - 1e-6), capacity) == 1


def test_an_input_that_cannot_be_higher_has_no_influence_upwards():
    whole = demand(chats_per_hour=None, chats_per_day=360, peak_hour_share=1.0)
    (item,) = (
        item for item in influences(make_plan(whole, server(sessions_per_server=40))) if item.name == "peak_hour_share"
    )
    assert item.up is None and item.down is not None and item.down < 0
    assert item.strength == -item.down and option(item.name) == "--peak-hour-share"


# -- drops ---------------------------------------------------------------------------------------


def test_no_drop_in_so_much_time_bounds_the_share():
    # -ln 0.05 = 2.9957 drops at most, in 1 000 chats of 600 s: 2.9957 / 600 000 per second, times 600 s
    claim = judge_drops(Drops(chat_seconds=600_000), demand(target_drop_rate=0.01))
    assert claim.upper == pytest.approx(1 - math.exp(-2.9957 / 1000), rel=1e-4)
    assert (claim.result, claim.lower, claim.rate) == (compute.SHOWN, 0, 0)


def test_chats_of_another_length_are_bounded_for_that_length():
    short = judge_drops(Drops(chat_seconds=600_000), demand(handling_time_s=60))
    long = judge_drops(Drops(chat_seconds=600_000), demand(handling_time_s=600))
    assert long.upper == pytest.approx(10 * (short.upper or 0), rel=0.01)


def test_a_chat_that_waits_for_an_agent_is_in_danger_while_it_waits():
    # 2 agents and one arrival per 600 s: chats wait 200 s on average (docs/plan.md), so they are open for 800 s.
    waiting = demand(chats_per_hour=6, agents=2)
    assert waiting.open_s == pytest.approx(800)
    assert demand().open_s == 600
    claim = judge_drops(Drops(chat_seconds=600_000), waiting)
    assert claim.upper == pytest.approx(-math.expm1(math.log(0.05) / 600_000 * 800))


def test_drops_are_expected_of_a_thousand_chats_and_of_those_in_the_inputs(tmp_path: Path):
    # 36 drops in 1 000 hours that a chat was open are 0.006 in 10 minutes: 1 - e^-0.006 = 0.5982 %.
    drops = Drops(36, 36, 3_600_000.0)
    day = tmp_path / "day.csv"
    day.write_text("time,chats\n08:00,360\n09:00,540\n10:00,0\n")
    inputs = {
        "the peak hour": (demand(), 360),
        "a day": (demand(chats_per_hour=None, chats_per_day=2000, peak_hour_share=0.2, growth=0.5), 3000),
        "the profile": (demand(chats_per_hour=None, arrival_profile=DayProfile.load(day)), 900),
    }
    for period, (wanted, chats) in inputs.items():
        of_1000, of_all = expected_drops(judge_drops(drops, wanted), wanted)
        assert (of_1000.chats, of_1000.period, of_all.period) == (1000, "", period)
        assert of_1000.expected == pytest.approx(5.982, abs=0.001)
        assert of_all.chats == pytest.approx(chats) and of_all.expected == pytest.approx(chats * 0.005982, rel=1e-3)
        assert of_all.upper / of_all.chats == of_1000.upper / 1000 > 0.005982
    assert expected_drops(judge_drops(None, demand()), demand()) == []
    of_bound = expected_drops(judge_drops(Drops(bound=0.01), demand()), demand())
    assert [(item.expected, item.upper) for item in of_bound] == [(None, 10), (None, 3.6)]


@pytest.mark.parametrize(
    ("drops", "word"),
    [
        (Drops(0, 0, 600_000), compute.INCONCLUSIVE),
        (Drops(20, 20, 600_000), compute.MISSED),
        (Drops(0, 20, 600_000), compute.INCONCLUSIVE),
        (Drops(0, 0, 6_000_000), compute.SHOWN),
        (Drops(0, 20, 6_000_000), compute.INCONCLUSIVE),
        (Drops(bound=0.0009), compute.SHOWN),
        (Drops(bound=0.002), compute.INCONCLUSIVE),
        (Drops(bound=0.001), compute.INCONCLUSIVE),  # not below it
        (None, compute.NOT_MEASURED),
        (Drops(), compute.NOT_MEASURED),
    ],
)
def test_target_drop_rate(drops: Drops | None, word: str):
    assert judge_drops(drops, demand(target_drop_rate=0.001)).result == word


def test_how_many_chats_would_show_the_target():
    claim = judge_drops(Drops(0, 0, 600_000), demand(target_drop_rate=0.001))
    assert claim.chats_needed == 2995


# -- what a run held -----------------------------------------------------------------------------


def window(start: int, still: int, sent: int = 0, started: int = 0) -> Window:
    books = Books()
    books.sent, books.started = Counter(GetMessages=sent), started
    return Window(start, start + 1, still, books)


def test_held_is_what_was_there_for_a_whole_timeout():
    opens = [10, 90, 95, 40, 60, 61, 62, 63, 20]
    windows = [window(i, n, sent=n, started=1) for i, n in enumerate(opens)]
    held = most_held(windows, 4.0)
    assert held is not None
    assert held.sessions == 60  # 95 was there for a second only
    assert held.requests_per_s == pytest.approx((90 + 95 + 40 + 60) / 4)
    assert held.starts_per_s == 1
    assert most_held(windows, 10.0) is None


# -- properties ----------------------------------------------------------------------------------

demands = st.builds(
    Demand,
    handling_time_s=st.floats(10, 7200),
    poll_interval_s=st.floats(0.5, 40),
    chats_per_hour=st.floats(1, 50_000),
    growth=st.floats(-0.5, 2),
    percentile=st.floats(50, 99.99),
    messages_per_chat=st.floats(0, 100),
    other_requests_per_chat=st.floats(0, 100),
    spare=st.integers(0, 5),
)
figures = st.floats(50, 5000)
capacities = st.builds(
    server, sessions_per_server=figures, requests_per_server=figures,
    starts_per_server=figures, messages_per_server=figures,
)  # fmt: skip
UP = ("chats_per_hour", "handling_time_s", "other_requests_per_chat", "messages_per_chat")


@given(demands, capacities)
def test_servers_carry_every_need_and_one_less_does_not(found: Demand, capacity: Capacity):
    plan = make_plan(found, capacity)
    assert plan.servers == plan.needed + found.spare
    for constraint, (per_server, _) in capacity.items():
        assert (plan.loads[constraint] or 0) <= plan.needed * per_server * (1 + 1e-9)
    assert plan.needed == 1 or any(
        (plan.loads[constraint] or 0) > (plan.needed - 1) * per_server
        for constraint, (per_server, _) in capacity.items()
    )
    assert plan.peak.chats >= math.floor(plan.peak.mean_chats)
    assert plan.headroom >= 1


@given(demands, capacities, st.sampled_from(UP), st.floats(1, 3))
def test_more_of_anything_never_needs_fewer_servers(found: Demand, capacity: Capacity, name: str, factor: float):
    if name == "handling_time_s":  # the requests and messages of a chat are spread over more time
        capacity = server(sessions_per_server=capacity[Constraint.SESSIONS].value)
    more = replace(found, **{name: getattr(found, name) * factor})
    assert servers_needed(more, capacity) >= servers_needed(found, capacity)


@given(demands, capacities, st.sampled_from([*Constraint]), st.floats(1, 3))
def test_servers_that_carry_more_are_never_more(found: Demand, capacity: Capacity, which: Constraint, by: float):
    more = {**capacity, which: ServerFigure(capacity[which].value * by)}
    assert servers_needed(found, more) <= servers_needed(found, capacity)


@given(demands, capacities, st.floats(0.1, 1))
def test_polling_more_often_or_a_stricter_percentile_never_needs_fewer(found: Demand, capacity: Capacity, by: float):
    now = servers_needed(found, capacity)
    assert servers_needed(replace(found, poll_interval_s=found.poll_interval_s * by), capacity) >= now
    assert servers_needed(replace(found, percentile=100 - (100 - found.percentile) * by), capacity) >= now


@given(demands, capacities, st.floats(1, 5), st.sampled_from([*LengthDistribution]))
def test_bunches_never_need_fewer(found: Demand, capacity: Capacity, z: float, shape: LengthDistribution):
    cv = 1.5 if shape is LengthDistribution.LOGNORMAL else None
    assume(found.arrivals_per_hour * found.handling_time_s / 3600 > 5 * z)
    assume(found.arrivals_per_hour > 60)
    calm = replace(found, percentile=99, handling_distribution=shape, handling_cv=cv)
    bunched = replace(calm, peakedness=z)
    assert servers_needed(bunched, capacity) >= servers_needed(calm, capacity)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chats_per_hour": None}, "the number of chats is missing"),
        ({"chats_per_hour": 0}, "--chats-per-hour 0 is not above 0"),
        ({"chats_per_hour": math.nan}, "--chats-per-hour nan"),
        ({"chats_per_hour": math.inf}, "--chats-per-hour inf"),
        ({"chats_per_day": 10, "peak_hour_share": 0.1}, "--chats-per-hour and --chats-per-day contradict"),
        ({"peak_hour_share": 0.1}, "--chats-per-hour and --peak-hour-share contradict"),
        ({"chats_per_hour": None, "chats_per_day": 10}, "--chats-per-day needs --peak-hour-share"),
        ({"chats_per_hour": None, "chats_per_day": 10, "peak_hour_share": 1.2}, "--peak-hour-share 120 %"),
        ({"chats_per_hour": None, "chats_per_day": 10, "peak_hour_share": 0.01}, "--peak-hour-share 1 %"),
        ({"handling_time_s": -600}, "--handling-time -600 is not above 0"),
        ({"poll_interval_s": 0}, "--poll-interval 0 is not above 0"),
        ({"poll_interval_s": 45}, "--poll-interval 45 s is not below --flex-disconnect-timeout 45 s"),
        ({"growth": -1}, "--growth -100 % leaves no chats"),
        ({"percentile": 100}, "--percentile 100"),
        ({"percentile": 49}, "--percentile 49"),
        ({"peakedness": 0.5}, "--peakedness 0.5 is below 1"),
        ({"peakedness": 61}, "--peakedness 61 is more than the 60 chats"),
        ({"handling_distribution": LengthDistribution.LOGNORMAL}, "needs --handling-cv"),
        ({"handling_cv": 1.0}, "--handling-cv contradicts --handling-distribution exponential"),
        ({"spare": -1}, "--spare -1"),
        ({"target_drop_rate": 0}, "--target-drop-rate is not between 0 and 1"),
        ({"messages_per_chat": -1}, "--messages-per-chat -1 is below 0"),
        ({"other_requests_per_chat": -1}, "--other-requests-per-chat -1 is below 0"),
        ({"handling_distribution": LengthDistribution.LOGNORMAL, "handling_cv": 0}, "--handling-cv 0 is not above 0"),
        ({"chats_per_hour": 3, "peakedness": 1.5}, "--peakedness 1.5 is more than the 0.5 chats"),
        ({"handling_time_s": math.inf}, "--handling-time inf is not a number"),
    ],
)
def test_impossible_demands_are_refused_by_name(changes: dict[str, Any], said: str):
    with pytest.raises(UsageError) as refused:
        demand(**changes)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"percentile": 50},
        {"peakedness": 60},
        {"peakedness": 1},
        {"chats_per_hour": 0.1, "peakedness": 1},
        {"messages_per_chat": 0},
        {"other_requests_per_chat": 0},
        {"growth": -0.999},
        {"spare": 0},
        {"poll_interval_s": 44.9},
        {"handling_distribution": LengthDistribution.LOGNORMAL, "handling_cv": 0.01},
        {"chats_per_hour": None, "chats_per_day": 10, "peak_hour_share": 1},
        {"chats_per_hour": None, "chats_per_day": 10, "peak_hour_share": 1 / 24},
    ],
)
def test_a_demand_that_is_just_possible_is_planned_for(changes: dict[str, Any]):
    assert make_plan(demand(**changes), server(sessions_per_server=50)).needed >= 1


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({}, "the capacity of a server is missing"),
        ({"sessions_per_server": 0}, "--sessions-per-server 0 is not above 0"),
        ({"requests_per_server": -2}, "--requests-per-server -2 is not above 0"),
        ({"starts_per_server": math.nan}, "--starts-per-server nan"),
    ],
)
def test_impossible_capacities_are_refused_by_name(figures: dict[str, float], said: str):
    with pytest.raises(UsageError) as refused:
        server(**figures)
    assert said in str(refused.value)


def test_what_cannot_be_judged_or_bought_is_refused():
    with pytest.raises(UsageError, match="--messages-per-server needs --messages-per-chat"):
        make_plan(demand(messages_per_chat=None), server(messages_per_server=50))
    with pytest.raises(UsageError, match="more than 100000"):
        make_plan(demand(chats_per_hour=1e9), server(sessions_per_server=1))
