"""Servers of which the engine still says what their ledger contradicts. Whoever repairs one takes its mark away."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chatload.analysis.ledger import FIELDS, LedgerRow
from chatload.analysis.reconcile import reconcile
from chatload.session.script import CustomerScript, Distribution
from chatload.simulator.config import SimulatorConfig
from chatload.virtual.network import NetworkModel, Stalls
from tests.virtual.schedules import TRANSFERS, TROUBLE, Schedule, fault, habitual

SCRIPT = CustomerScript(
    chat_length=Distribution("uniform", 1.0, 4.0),
    messages=Distribution("uniform", 0.0, 3.0),
    think=Distribution("lognormal", 0.8, 0.6),
    typing=Distribution("lognormal", 0.4, 0.5),
    answer_patience=Distribution("fixed", 3.0),
)
SILENT = replace(SCRIPT, shows_typing=False, waits_for_agent=False)

LONG = replace(SCRIPT, chat_length=Distribution("fixed", 60.0))
OVERLAPPING = {
    "transfer_chance": 1.0, "transfer_after_s": (0.2, 0.5), "transfer_gap_s": (0.1, 0.1), "transfer_overlaps": True,
    "agent_wait_s": (0.1, 0.1),
}  # fmt: skip
LOST = fault("status_2", 1.0, (5.0, None))


def schedule(policy, server, script=SCRIPT, request_timeout_s=0.6, faults=(), stalls=()):
    config = SimulatorConfig(**{"flex_disconnect_timeout_s": policy[1], "agent_wait_s": (0.1, 1.0), **server})
    network = NetworkModel(0.0005, 0.2)
    return Schedule(policy[1], policy, request_timeout_s, faults, network, Stalls(stalls), config, script, 5, None, 0)


def judged(schedule, chats=60):
    """(verdict, end reason of the ledger) of every session, and the contradictions."""
    run = schedule.run(chats)
    reasons = {row["chat_id"]: row["end_reason"] for row in run.ledger}
    result = reconcile(run.records, [LedgerRow(**{name: row[name] for name in FIELDS}) for row in run.ledger])
    return {(record.verdict, reasons.get(record.chat_id)) for record in run.records}, result.contradictions


LEFT_MEANS_ENDED = (
    "session/transcript.py takes a handed-on chat for ended: an agent's leave within 1 s before our own, \
or with no agent there since, is called the agent's ending"
)
BY_NAME = "session/transcript.py tells agents apart by nickname only"
SKIPS = "session/transcript.py moves its cursor to nextPosition on answers that carry no events (StartTyping), \
past events it never saw"
HELD = "session/trail.py counts a request without an answer as a contact at one instant, not for as long as it was held"
LOCKED_OUT = (
    "session/verdict.py takes statusCode 2 for an end of the session even where a secureKey was replaced unread"
)
UNREGISTERED = "session/verdict.py knows no other timeout: user-register-timeout struck before the silence was too long"

FINDINGS = {
    "a transfer, then our Disconnect": (
        LEFT_MEANS_ENDED, schedule(("fixed", 5.0), {**TRANSFERS, "transfer_chance": 1.0}, request_timeout_s=2.0),
    ),
    "an overlapping transfer, then our Disconnect": (
        LEFT_MEANS_ENDED,
        schedule(("fixed", 5.0), {**TRANSFERS, "transfer_chance": 1.0, "transfer_overlaps": True}),
    ),
    "a transfer, then silence": (
        LEFT_MEANS_ENDED,
        schedule(("fixed", 1.0, 1.1, None, True), {**TRANSFERS, "transfer_chance": 1.0},
                 replace(SCRIPT, chat_length=Distribution("uniform", 4.0, 9.0))),
    ),
    "a transfer to a namesake, then statusCode 2": (
        BY_NAME, schedule(("fixed", 5.0), {**OVERLAPPING, "agents_share_name": True}, LONG, faults=(LOST,)),
    ),
    "long polls longer than the client waits": (
        HELD, schedule(("fixed", 1.0), {"long_poll_s": 6.0}, SILENT, request_timeout_s=3.0),
    ),
    "long polls of 25 s, a client that gives up after 10 s": (
        HELD,
        schedule(("fixed", 5.0), {"long_poll_s": 25.0, "agents": False},
                 replace(SCRIPT, chat_length=Distribution("uniform", 10.0, 20.0)), request_timeout_s=10.0),
    ),
    "keys replaced in answers that said 1/false, without grace": (
        LOCKED_OUT,
        schedule(("fixed", 2.0, 2.04, None, True),
                 {"key_rotates_s": 0.8, "old_key_grace_s": 0.0, "idle_alert_s": 2.0, "idle_close_s": 1.0},
                 replace(SCRIPT, shows_typing=False, chat_length=Distribution("uniform", 1.0, 8.0)),
                 faults=(fault("status_1", 0.2, reaches=True),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(schedule, id=name, marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason))
        for name, (reason, schedule) in FINDINGS.items()
    ],
)
def test_what_the_ledger_contradicts(schedule):
    assert not judged(schedule)[1]


def test_a_transfer_to_another_name_then_status_2_is_not_the_agents_ending():
    pairs, _ = judged(schedule(("fixed", 5.0), OVERLAPPING, LONG, faults=(LOST,)), 5)
    assert pairs == {("failed", "unrecoverable")}


@pytest.mark.xfail(strict=True, raises=AssertionError, reason=SKIPS)
def test_an_agents_end_learned_by_typing_is_the_agents():
    script = replace(
        SCRIPT, chat_length=Distribution("fixed", 30.0), messages=Distribution("fixed", 9.0),
        think=Distribution("fixed", 0.3),
    )  # fmt: skip
    server = {"agent_leaves_chance": 1.0, "agent_leaves_after_s": (0.5, 5.0), "agent_answer_s": (0.1, 0.3)}
    pairs, _ = judged(schedule(("fixed", 20.0, 3.0), server, script))
    assert pairs == {("ended_by_agent", "agent")}


@pytest.mark.xfail(strict=True, raises=AssertionError, reason=UNREGISTERED)
def test_a_chat_dropped_for_not_registering_is_not_called_late():
    server = {"user_register_timeout_s": 0.6, "dropped_answer": "2"}
    stalled = schedule(("fraction", 1.0, None, 0.9), server, stalls=((0.5, 3.0),))
    assert not judged(stalled)[1]


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(name, marks=pytest.mark.xfail(strict=True, raises=AssertionError)) for name in TROUBLE],
)
def test_no_proven_verdict_is_contradicted_under(trouble):
    @settings(
        max_examples=80, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(habitual({trouble: TROUBLE[trouble]}, 1))
    def check(schedule):
        assert not judged(schedule, 200)[1]

    check()
