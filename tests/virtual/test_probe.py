"""The probe in virtual time, against servers whose settings are known: what it claims holds, whatever happens."""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chatload.features.probe.evidence import make_settings
from chatload.features.probe.measurement import answer, measurement
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.network import NetworkModel
from tests.virtual.probe_driver import VirtualProbe

#: CHATLOAD_EVERY_WAY=1 draws twenty times as many.
EXAMPLES, SEEDS = (500, range(20)) if os.environ.get("CHATLOAD_EVERY_WAY") else (25, range(1))
#: What the issue asks for: a tail of 300 ms, some of it before the request is handled, and 5 % statusCode 1.
ROUGH = [Fault("status_1", 0.05), Fault("stall", 0.03, delay_s=0.3), Fault("slow", 0.03, delay_s=0.3)]
LAN = NetworkModel(0.001, 0.5)


def probed(server, network=LAN, faults=(), seed=0, stop_at=None, begin_at=77.7, **given):
    """A finished probe of a simulated server, and the server's ledger."""
    service = ChatService(SimulatorConfig(**server), FaultPlan(faults, seed))
    driver = VirtualProbe(make_settings(seed=seed, **given), service, network, seed, stop_at, begin_at)
    probe = driver.run()
    return measurement(probe), list(service.ledger_rows(driver.now)), probe


def ages_of(found):
    """For how long a dropped and a disconnected chat stay known: at least and at most."""
    return (
        (found.ended_known_s, found.ended_known_upper_s),
        (found.disconnected_known_s, found.disconnected_known_upper_s),
    )


def server_of(timeout, **more):
    return {"flex_disconnect_timeout_s": timeout, **more}


# -- accuracy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [[], ROUGH], ids=["smooth", "rough"])
@pytest.mark.parametrize("answer", ["0/true", "2"])
@pytest.mark.parametrize("timeout", [2.0, 5.0, 45.0])
def test_the_timeout_within_2_percent(timeout, answer, faults):
    for seed in SEEDS:
        found, _, _ = probed(server_of(timeout, dropped_answer=answer), LAN, faults, seed)
        assert found.timeout_s == pytest.approx(timeout, rel=0.02)
        assert found.timeout_lower_s <= timeout <= found.timeout_upper_s
        assert found.dropped_answer == answer and found.sweep_lower_s == 0
        assert all(found.resets_clock.values()) and "contradict" not in str(found.warnings)


@pytest.mark.parametrize("sweep", [0.5, 2.0])
@pytest.mark.parametrize("answer", ["0/true", "2"])
@pytest.mark.parametrize("timeout", [2.0, 5.0, 45.0])
def test_under_a_coarse_sweep_within_2_percent_or_a_tick(timeout, answer, sweep):
    for seed in SEEDS:
        server = server_of(timeout, dropped_answer=answer, sweep_interval_s=sweep)
        found, _, _ = probed(server, LAN, ROUGH, seed, begin_at=77.7 + 0.31 * seed)
        assert found.timeout_s == pytest.approx(timeout, abs=max(0.02 * timeout, sweep))
        assert found.sweep_lower_s <= sweep <= found.sweep_upper_s
        if answer == "0/true":  # with the server's own timestamps it is known closely
            assert found.sweep_s == pytest.approx(sweep, rel=0.1)


def test_a_server_that_refuses_every_refresh_has_no_timeout_of_milliseconds():
    refuses = [Fault("status_2", operations=frozenset({"GetMessages", "SendMessage", "StartTyping", "Disconnect"}))]
    found, _, _ = probed(server_of(45.0), LAN, refuses, configured_s=45.0)
    assert found.timeout_s is None and found.counts["dropped"] > 1
    assert "no chat lived until its first refresh" in answer(found)
    assert [warning for warning in found.warnings if "--dialect" in warning]
    assert not [warning for warning in found.warnings if "shorter" in warning]


def test_it_takes_about_one_timeout_where_the_server_stamps_its_ends():
    found, _, _ = probed(server_of(45.0), configured_s=45.0)
    assert found.duration_s < 1.3 * 45 and not found.warnings


@pytest.mark.parametrize("allowed, longest", [(None, 60.0), (30.0, 24.0)])
def test_no_timeout_within_the_time_allowed_is_said(allowed, longest):
    found, _, _ = probed(server_of(0.0), LAN, ROUGH, time_allowed_s=allowed)
    assert (found.timeout_s, found.timeout_lower_s, found.timeout_upper_s) == (None, None, None)
    assert 0.7 * longest < found.silence_survived_s < longest + 2
    assert found.dropped_answer is None and set(found.resets_clock.values()) == {None}
    assert found.duration_s <= (allowed or 70)


@pytest.mark.parametrize("configured, warned", [(5.0, ""), (4.0, "longer than the 4 s"), (6.0, "shorter than the 6 s")])
def test_a_difference_to_what_is_configured_is_warned_of(configured, warned):
    found, _, _ = probed(server_of(5.0), configured_s=configured)
    assert found.timeout_s == pytest.approx(5.0, rel=0.02)
    assert (warned in str(found.warnings)) if warned else found.warnings == []


@pytest.mark.parametrize(
    "server, expected",
    [
        ({}, (True, True, True)),
        ({"send_keeps_alive": False}, (False, True, False)),  # the request that fails is a SendMessage
        ({"typing_keeps_alive": False}, (True, False, True)),
        ({"failed_keeps_alive": False}, (True, True, False)),
    ],
)
def test_which_operations_reset_the_clock(server, expected):
    for dropped_answer in ("0/true", "2"):
        found, _, _ = probed(server_of(5.0, dropped_answer=dropped_answer, **server))
        assert tuple(found.resets_clock.values()) == expected


def test_how_long_an_ended_chat_stays_known():
    found, _, _ = probed(server_of(5.0, keeps_ended_s=20.0), ended_for_s=30.0)
    for known_s, known_upper_s in ages_of(found):
        assert 15 < known_s <= 20 <= known_upper_s < 25
    found, _, _ = probed(server_of(5.0))
    assert found.ended_known_upper_s is None and found.ended_known_s > 1


# -- what the server sees ------------------------------------------------------------------------------


def test_no_more_chats_than_said_and_every_one_is_ended_in_the_end():
    found, ledger, _ = probed(server_of(45.0), chats=40)
    assert len(ledger) == found.sessions_opened <= found.sessions_max == 40
    assert Counter(row["end_reason"] for row in ledger)[None] == 0
    assert found.counts["goodbyes_unconfirmed"] == 0


@pytest.mark.parametrize("stop_at", [0.5, 30.0, 46.5])
def test_interrupted_it_says_goodbye_to_all(stop_at):
    found, ledger, probe = probed(server_of(45.0), stop_at=77.7 + stop_at)
    assert found.interrupted and probe.ended_at < 77.7 + stop_at + 1
    assert {row["end_reason"] for row in ledger} <= {"disconnected", "expired"} and ledger


def test_a_server_that_goes_away_ends_the_probe_within_the_time_allowed():
    gone = [Fault("outage", from_s=3.0)]
    found, _, probe = probed(server_of(5.0), faults=gone, time_allowed_s=30.0)
    assert found.timeout_s is None and probe.ended_at - probe.begun_at <= 36
    assert found.counts["goodbyes_unconfirmed"] > 0 and "may still be open" in str(found.warnings)


def test_chats_that_agents_end_count_for_nothing():
    server = server_of(5.0, agent_leaves_chance=0.5, agent_leaves_after_s=(0.5, 4.0))
    found, _, _ = probed(server)
    assert found.timeout_lower_s <= 5.0 <= found.timeout_upper_s and found.timeout_s == pytest.approx(5, rel=0.02)
    assert found.counts["ended_by_agent"] > 0


def test_a_chat_that_an_agent_ended_does_not_show_that_an_operation_did_not_keep_it_alive():
    leaves = {"agent_leaves_chance": 0.6, "agent_leaves_after_s": (0.5, 4.0)}
    for seed in range(3):
        found, _, _ = probed(server_of(5.0, dropped_answer="2", **leaves), seed=seed)
        assert False not in found.resets_clock.values()


def test_keys_that_are_replaced_with_every_answer_are_followed():
    found, _, _ = probed(server_of(5.0, key_rotates_answers=1, old_key_grace_s=0.0))
    assert found.timeout_s == pytest.approx(5, rel=0.02) and found.dropped_answer == "0/true"
    assert found.disconnected_known_upper_s is None and found.counts["odd"] == 0


def test_a_limit_on_sessions_is_said_and_lived_with():
    found, _, _ = probed(server_of(5.0, limit_for_sessions=30))
    assert found.timeout_s == pytest.approx(5, rel=0.02) and found.counts["not_opened"] > 0
    assert "could not be opened" in str(found.warnings)


# -- whatever happens ----------------------------------------------------------------------------------

NETWORKS = [LAN, NetworkModel(0.0), NetworkModel(0.01, 0.8), NetworkModel(0.05, 0.5), NetworkModel(0.002, 0.5, 0.02)]
FAULTS = st.one_of(
    st.builds(Fault, st.just("status_1"), st.sampled_from([0.05, 0.3]), reaches=st.booleans()),
    st.builds(Fault, st.sampled_from(["stall", "slow"]), st.just(0.05), delay_s=st.floats(0.05, 6)),
    st.builds(Fault, st.sampled_from(["drop_connection", "http_500", "malformed"]), st.just(0.03)),
    st.builds(Fault, st.just("status_1_violation"), st.just(0.05)),
    st.builds(Fault, st.just("outage"), from_s=st.floats(1, 5), until_s=st.floats(5, 8)),
)
HABITS = [
    {},
    {"long_poll_s": 2.0},
    {"key_rotates_answers": 1, "old_key_grace_s": 1e4},
    {"repeat_events": 3},
    {"agent_leaves_chance": 0.3},
]
FLAGS = st.fixed_dictionaries(
    {name: st.booleans() for name in ("send_keeps_alive", "typing_keeps_alive", "failed_keeps_alive")}
)


# Shrinking whole probes takes minutes and makes nothing plainer.
@settings(max_examples=EXAMPLES, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    timeout=st.sampled_from([1.0, 1.7, 5.0, 30.0, 100.0]),
    coarse=st.sampled_from([0.0, 0.0, 0.05, 0.4, 1.5]),
    answer=st.sampled_from(["0/true", "2"]),
    keeps=st.sampled_from([0.3, 5.0, 60.0]),
    habits=st.sampled_from(HABITS),
    flags=FLAGS,
    network=st.sampled_from(NETWORKS),
    faults=st.lists(FAULTS, max_size=3),
    chats=st.sampled_from([20, 48, 96]),
    seed=st.integers(0, 2**20),
)
def test_no_bound_is_ever_false(timeout, coarse, answer, keeps, habits, flags, network, faults, chats, seed):
    sweep = coarse * timeout
    if "agent_leaves_chance" in habits:
        keeps = 1000.0  # else the server forgets that it was an agent
    server = server_of(
        timeout, sweep_interval_s=sweep, dropped_answer=answer, keeps_ended_s=keeps, seed=seed, **habits, **flags
    )
    found, ledger, probe = probed(server, network, faults, seed, chats=chats)
    if found.timeout_s is not None:
        assert found.timeout_lower_s <= timeout <= found.timeout_upper_s
        assert found.timeout_lower_s <= found.timeout_s <= found.timeout_upper_s
        assert found.sweep_lower_s <= sweep + 1e-6
        assert not sweep or found.sweep_upper_s is None or sweep <= found.sweep_upper_s + 1e-6
        for name, resets in truth(flags).items():
            assert found.resets_clock[name] in (resets, None), name
    assert found.silence_survived_s <= timeout + sweep + 1e-6
    dropped, disconnected = ages_of(found)
    for known_s, known_upper_s in [disconnected, *([dropped] if found.dropped_answer == "0/true" else [])]:
        assert (known_s or 0) <= keeps + 1e-6 and (known_upper_s is None or known_upper_s >= keeps - 1e-6)
    assert len(probe.chats) <= chats and found.sessions_opened <= len(ledger) <= chats
    assert found.duration_s <= probe.settings.time_allowed_s + 6


def truth(flags):
    """What the simulator's switches come to; the probe's request that fails is a SendMessage."""
    send, failed = flags["send_keeps_alive"], flags["failed_keeps_alive"]
    return {"SendMessage": send, "StartTyping": flags["typing_keeps_alive"], "failed_request": send and failed}
