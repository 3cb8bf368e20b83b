"""Chats that wait for agents: by hand, and by adding up the states of the process."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import solve_banded

from chatload.errors import UsageError
from chatload.features.plan.agents import AgentQueue, fluid_peak, profile_queue
from chatload.features.plan.compute import loads_of, make_plan
from chatload.features.plan.inputs import Constraint, DayProfile, Demand, ServerFigure
from chatload.features.plan.queueing import above
from chatload.run.arrivals import Piece, RateProfile


def added_up(offered: float, agents: int, patience: float | None, most: int = 20_000) -> np.ndarray:
    """P(N = k), from p(k) = p(k - 1) x births / deaths, with the mean time with an agent as the unit of time."""
    k = np.arange(1, most)
    deaths = np.minimum(k, agents) + (0.0 if patience is None else np.maximum(k - agents, 0) / patience)
    logarithms = np.concatenate([[0.0], np.cumsum(math.log(offered) - np.log(deaths))])
    weights = np.exp(logarithms - logarithms.max())
    return weights / weights.sum()


def test_two_agents_and_one_erlang_by_hand():
    # p = 1/3, 1/3, 1/6, 1/12, ...: P(2 or more) = 1/3, each further chat half as often. Waiting: 1/3 x 1/2 / (1/2).
    queue = AgentQueue(1.0, 2)
    assert [queue.above(k) for k in (0, 1, 2, 3)] == pytest.approx([2 / 3, 1 / 3, 1 / 6, 1 / 12])
    assert queue.mean == pytest.approx(4 / 3)
    figures = queue.figures(600.0)
    assert (figures.wait_share, figures.mean_wait_s, figures.busy) == pytest.approx((1 / 3, 200, 1 / 2))


def test_one_agent_and_customers_with_half_a_chat_of_patience_by_hand():
    # Deaths at 1, 3, 5, 7, ... : weights 1, 1, 1/3, 1/15, 1/105, 1/945, 1/10395: together 2.4106.
    queue = AgentQueue(1.0, 1, 0.5)
    whole = 1 + 1 + 1 / 3 + 1 / 15 + 1 / 105 + 1 / 945 + 1 / 10395 + 1 / 135135
    assert queue.above(0) == pytest.approx(1 - 1 / whole, abs=1e-6)
    assert queue.above(1) == pytest.approx((whole - 2) / whole, abs=1e-6)
    # Of a mean of 1 - p(0) = 0.585 chats in service, so many per chat length end: the rest gives up.
    assert queue.figures(600.0).give_up_share == pytest.approx(1 / whole, abs=1e-6)


@pytest.mark.parametrize("agents", [1, 7, 60, 200])
def test_patience_like_a_chat_is_a_queue_without_waiting(agents: int):
    # Then a chat leaves at the same rate whether it waits or not: Poisson, as with agents for everybody.
    queue = AgentQueue(60.0, agents, 1.0)
    for level in (40, 60, 85, 100):
        assert queue.above(level) == pytest.approx(above(level, 60), rel=1e-9)
    assert queue.mean == pytest.approx(60)


def test_fifty_agents_with_and_without_patience():
    # 48 calls a minute of one minute; patience 2 minutes. Waiting times by Little's law from the states.
    patient, impatient = AgentQueue(48.0, 50).figures(60.0), AgentQueue(48.0, 50, 2.0).figures(60.0)
    waiting = np.maximum(np.arange(20_000) - 50, 0)
    for figures, patience, wait_s in ((patient, None, 20.8), (impatient, 2.0, 3.7)):
        states = added_up(48.0, 50, patience)
        assert figures.mean_wait_s == pytest.approx(states @ waiting / 48 * 60, rel=1e-6)
        assert figures.mean_wait_s == pytest.approx(wait_s, abs=0.05)
        assert figures.wait_share == pytest.approx(states[50:].sum(), rel=1e-6)
    assert impatient.give_up_share == pytest.approx(0.031, abs=0.0005) and patient.give_up_share == 0
    assert (patient.busy, impatient.busy) == pytest.approx((0.96, 0.93), abs=0.0005)


@given(offered=st.floats(0.1, 400), agents=st.integers(1, 300), patience=st.floats(0.05, 20))
def test_erlang_a_is_what_the_states_add_up_to(offered: float, agents: int, patience: float):
    states = added_up(offered, agents, patience)
    queue = AgentQueue(offered, agents, patience)
    survival = 1 - np.cumsum(states)
    for level in (0, agents - 1, agents, agents + 3, agents + 30, int(offered)):
        assert queue.above(level) == pytest.approx(survival[level], rel=1e-6, abs=1e-9)
    assert queue.mean == pytest.approx(states @ np.arange(len(states)), rel=1e-6, abs=1e-6)


@given(agents=st.integers(1, 300), load=st.floats(0.05, 0.97))
def test_erlang_c_is_what_the_states_add_up_to(agents: int, load: float):
    states = added_up(load * agents, agents, None)
    queue = AgentQueue(load * agents, agents)
    survival = 1 - np.cumsum(states)
    for level in (0, agents - 1, agents, agents + 3, agents + 30):
        assert queue.above(level) == pytest.approx(survival[level], rel=1e-6, abs=1e-9)
    assert queue.mean == pytest.approx(states @ np.arange(len(states)), rel=1e-5)


@pytest.mark.parametrize(("offered", "agents", "patience"), [(1000, 10, 0.2), (20, 900, 1000), (0.95e6, 1e6, 1.0)])
def test_extreme_loads_have_shares_between_0_and_1(offered: float, agents: float, patience: float):
    queue = AgentQueue(offered, agents, patience)
    shares = [queue.above(level) for level in np.linspace(0, 2 * max(offered, agents), 50)]
    assert all(0 <= share <= 1 for share in shares) and shares == sorted(shares, reverse=True)
    assert math.isfinite(queue.mean)


def test_days_with_other_rates_are_drawn_and_averaged():
    random = np.random.default_rng(1)
    factors = random.gamma(100, 0.01, 4000)
    queue = AgentQueue(100.0, 105, 0.5, 0.1)
    for level in (90, 105, 125):
        drawn = [AgentQueue(100.0 * factor, 105, 0.5).above(level) for factor in factors]
        assert queue.above(level) == pytest.approx(np.mean(drawn), abs=4.5 * np.std(drawn) / 4000**0.5)
    # Means are those of a day with the expected rate.
    usual = AgentQueue(100.0, 105, 0.5)
    assert queue.mean == pytest.approx(usual.mean) and queue.figures(60.0) == pytest.approx(usual.figures(60.0))
    # As many agents as chats: the closed form of the same mixture.
    assert AgentQueue(60.0, 60, 1.0, 0.05).above(85) == pytest.approx(above(85, 60, rate_cv=0.05), rel=1e-6)


@given(offered=st.floats(1, 200), agents=st.integers(1, 200), patience=st.floats(0.1, 5), more=st.floats(1, 2))
def test_more_chats_are_open_at_a_higher_rate(offered: float, agents: int, patience: float, more: float):
    """The plan rests on it: a rate that lasts is an upper bound of one that is sometimes lower."""
    now, higher = AgentQueue(offered, agents, patience), AgentQueue(offered * more, agents, patience)
    for level in (agents // 2, agents, agents + 5):
        assert higher.above(level) >= now.above(level) - 1e-9


HAND = Demand(handling_time_s=600, poll_interval_s=3, chats_per_hour=360, agents=62, messages_per_chat=12)
SERVER = {Constraint.SESSIONS: ServerFigure(40.0)}


def test_a_plan_counts_chats_that_wait():
    # 60 erlangs and 62 agents: with nobody giving up, far more chats are open than the 85 of a plan without agents.
    plan = make_plan(HAND, SERVER)
    states = added_up(60, 62, None)
    assert plan.peak.chats == int(np.argmax(1 - np.cumsum(states) <= 0.001)) > 200
    assert plan.peak.waiting is not None and plan.peak.waiting.wait_share == pytest.approx(states[62:].sum())
    assert plan.at_random is None


def test_chats_that_wait_poll_and_write_nothing():
    loads = loads_of(HAND, 100, 360)
    assert loads[Constraint.SESSIONS] == 100
    assert loads[Constraint.REQUESTS] == pytest.approx(100 / 3 + 62 / 600 * 2)
    assert loads[Constraint.MESSAGES] == pytest.approx(62 * 12 / 600)
    # Those who give up after 300 s send two other requests at most.
    loads = loads_of(replace(HAND, patience_s=300), 100, 360)
    assert loads[Constraint.REQUESTS] == pytest.approx(100 / 3 + 62 / 600 * 2 + 38 / 300 * 2)


def test_a_profile_is_taken_at_its_highest_rate_if_nobody_gives_up():
    short = DayProfile("day.csv", RateProfile([Piece(0, 900, 0.1, 0.1), Piece(900, 1000, 0.1, 0.2)]))
    queued = replace(HAND, chats_per_hour=None, arrival_profile=short, agents=130)
    assert queued.offered == pytest.approx(120) and queued.arrivals_per_hour == pytest.approx(720)
    assert replace(queued, agents=None).offered < 70
    assert make_plan(queued, SERVER).peak.at_s is None


# -- the fluid model ------------------------------------------------------------------------------


def bump(rate: float, more: float, length_s: float) -> RateProfile:
    """A rate that is higher by the share `more` for a while."""
    high, end = rate * (1 + more), 1800 + length_s
    return RateProfile([Piece(0, 1800, rate, rate), Piece(1800, end, high, high), Piece(end, end + 1800, rate, rate)])


def test_the_fluid_model_by_hand():
    # 60 erlangs, for 15 minutes 84, agents for everybody: 60 + 24 (1 - e^-1.5) = 78.6.
    found = fluid_peak(bump(0.1, 0.4, 900), 1.0, 1000, 600.0, 300.0)
    assert found == pytest.approx((2700, 78.645, 78.645), abs=1e-3)
    # 60 agents: all that is more waits, and leaves after 5 minutes: 24 x 300 / 600 = 12 in the end, 12 (1 - e^-3) at
    # the end of the 15 minutes. As many wait at a constant load of 60 + 24 (1 - e^-3) erlangs.
    found = fluid_peak(bump(0.1, 0.4, 900), 1.0, 60, 600.0, 300.0)
    assert found == pytest.approx((2700, 71.4026, 82.8051), abs=1e-3)
    # Twice the rates, and 120 agents, are twice of everything.
    assert fluid_peak(bump(0.1, 0.4, 900), 2.0, 120, 600.0, 300.0)[1:] == pytest.approx((142.805, 165.610), abs=1e-2)


@pytest.mark.parametrize(("agents", "patience_s"), [(70, 300.0), (62, 1800.0), (65, 60.0)])
def test_the_fluid_model_against_small_steps(agents: int, patience_s: float):
    pieces = [Piece(0, 3600, 0.05, 0.15), Piece(3600, 5400, 0.13, 0.09), Piece(5400, 9000, 0.1, 0.02)]
    chats, most, at, step = 30.0, 0.0, 0.0, 0.5
    for piece in pieces:
        for i in range(round((piece.end - piece.start) / step)):
            rate = piece.first + piece.slope * (i + 0.5) * step
            chats += step * (rate - min(chats, agents) / 600 - max(chats - agents, 0) / patience_s)
            if chats > most:
                most, at = chats, piece.start + (i + 1) * step
    found = fluid_peak(RateProfile(pieces), 1.0, agents, 600.0, patience_s)
    assert found.chats == pytest.approx(most, rel=2e-3) and found.at_s == pytest.approx(at, abs=240)


def exact_level(profile: RateProfile, agents: int, patience_s: float, tail: float = 0.001, step: float = 15.0) -> int:
    """The level that is exceeded with the share `tail` at the worst instant, by Kolmogorov's forward equations.

    Handling times are 600 s on average. The equations are solved by the trapezoidal rule (Crank and Nicolson).
    """
    states = np.arange(4 * agents + 100)
    deaths = np.minimum(states, agents) / 600 + np.maximum(states - agents, 0) / patience_s
    logarithms = np.concatenate([[0.0], np.cumsum(math.log(profile.pieces[0].first) - np.log(deaths[1:]))])
    shares = np.exp(logarithms - logarithms.max())
    shares /= shares.sum()
    worst = 0
    for piece in profile.pieces:
        births = np.full(len(states), piece.first)
        births[-1] = 0
        matrix = np.zeros((3, len(states)))
        matrix[0, 1:], matrix[1], matrix[2, :-1] = deaths[1:], -(births + deaths), births[:-1]
        for _ in range(round((piece.end - piece.start) / step)):
            change = matrix[1] * shares
            change[1:] += matrix[2, :-1] * shares[:-1]
            change[:-1] += matrix[0, 1:] * shares[1:]
            implicit = -step / 2 * matrix
            implicit[1] += 1
            shares = solve_banded((1, 1), implicit, shares + step / 2 * change)
            worst = max(worst, int(np.argmax(1 - np.cumsum(shares) <= tail)))
    return worst


@pytest.mark.parametrize("load", [20.0, 100.0])
@pytest.mark.parametrize("agents", [0.9, 1.0, 1.25])
@pytest.mark.parametrize("patience_s", [60.0, 600.0, 1800.0])
@pytest.mark.parametrize(("more", "length_s"), [(0.4, 900.0), (0.4, 3600.0), (1.0, 900.0)])
def test_the_plan_of_a_profile_is_close_to_the_exact_level(
    load: float, agents: float, patience_s: float, more: float, length_s: float
):
    profile, n = bump(load / 600, more, length_s), round(agents * load)
    exact = exact_level(profile, n, patience_s)
    planned = replace(
        HAND, chats_per_hour=None, arrival_profile=DayProfile("day.csv", profile), agents=n, patience_s=patience_s
    )
    chats = make_plan(planned, SERVER).peak.chats
    assert min(0.985 * exact, exact - 1) <= chats <= max(1.1 * exact, exact + 1)


def test_days_of_a_profile_differ():
    profile = bump(0.1, 0.4, 900)
    random = np.random.default_rng(6)
    factors = random.gamma(400, 1 / 400, 1500)
    queue = profile_queue(profile, 1.0, 66, 600.0, 300.0, 0.05)
    for level in (66, 75, 85):
        drawn = [profile_queue(profile, factor, 66, 600.0, 300.0, 0.0).above(level) for factor in factors]
        assert queue.above(level) == pytest.approx(np.mean(drawn), abs=4.5 * np.std(drawn) / 1500**0.5 + 1e-4)
    assert queue.mean == pytest.approx(profile_queue(profile, 1.0, 66, 600.0, 300.0, 0.0).mean)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agents": 60}, "--agents 60: more chats come than the agents can end"),
        ({"agents": 64, "rate_cv": 0.05}, "--agents 64: on "),
        ({"agents": 0}, "--agents 0 is not a number from 1"),
        ({"patience_s": 0}, "--patience 0 is not above 0"),
        ({"agents": None, "patience_s": 60}, "--patience needs --agents"),
        ({"peakedness": 2}, "--agents contradicts --peakedness"),
        ({"handling_distribution": "fixed"}, "--agents contradicts --handling-distribution fixed"),
    ],
)
def test_agents_that_cannot_be_planned_with_are_refused(changes: dict[str, object], said: str):
    with pytest.raises(UsageError) as refused:
        replace(HAND, **changes)  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_impatient_customers_make_too_few_agents_possible():
    plan = make_plan(replace(HAND, agents=50, patience_s=180), SERVER)
    waiting = plan.peak.waiting
    assert waiting is not None and 0.1 < waiting.give_up_share < 0.25 and waiting.busy > 0.97
    assert plan.peak.chats < 85
