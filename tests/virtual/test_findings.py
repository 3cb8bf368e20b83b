"""Servers of which the engine once said what their ledger contradicted: each what was wrong, as a schedule."""

from dataclasses import replace

import pytest

from chatload.chat.script import CustomerScript, Distribution
from chatload.features.reconcile.compute import reconcile
from chatload.features.reconcile.ledger import FIELDS, LedgerRow
from chatload.simulator.model.config import SimulatorConfig
from chatload.virtual.network import NetworkModel, Stalls
from tests.virtual.schedules import TRANSFERS, Schedule, fault

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


ALWAYS = {**TRANSFERS, "transfer_chance": 1.0}
LENGTHY = replace(SCRIPT, chat_length=Distribution("uniform", 4.0, 9.0))
LATER = replace(SCRIPT, chat_length=Distribution("uniform", 10.0, 20.0))
UNTYPED = replace(SCRIPT, shows_typing=False, chat_length=Distribution("uniform", 1.0, 8.0))
LOCKS_OUT = {"key_rotates_s": 0.8, "old_key_grace_s": 0.0, "idle_alert_s": 2.0, "idle_close_s": 1.0}
UNREAD = (fault("status_1", 0.2, reaches=True),)

FINDINGS = {
    "a transfer, then our Disconnect": schedule(("fixed", 5.0), ALWAYS, request_timeout_s=2.0),
    "an overlapping transfer, then our Disconnect": schedule(("fixed", 5.0), {**ALWAYS, "transfer_overlaps": True}),
    "a transfer, then silence": schedule(("fixed", 1.0, 1.1, None, True), ALWAYS, LENGTHY),
    "a transfer to a namesake, then statusCode 2": schedule(
        ("fixed", 5.0), {**OVERLAPPING, "agents_share_name": True}, LONG, faults=(LOST,)
    ),
    "long polls longer than the timeout": schedule(("fixed", 1.0), {"long_poll_s": 6.0}, SILENT, request_timeout_s=3.0),
    "long polls of 25 s under a timeout of 5 s": schedule(
        ("fixed", 5.0), {"long_poll_s": 25.0, "agents": False}, LATER, request_timeout_s=10.0
    ),
    "slow answers of a server that holds polls": schedule(
        ("deadline", 1.0),
        {"long_poll_s": 0.7, "agents": False},
        SILENT,
        request_timeout_s=3.0,
        faults=(fault("slow", 0.2, delay_s=1.6),),
    ),
    "an early end at once after a hand-over": schedule(
        ("fixed", 5.0, 0.02), {**ALWAYS, "transfer_after_s": (0.1, 0.2)}, LENGTHY, faults=(fault("early_end", 0.05),)
    ),
    "keys replaced in answers that said 1/false, without grace": schedule(
        ("fixed", 2.0, 2.04, None, True), LOCKS_OUT, UNTYPED, faults=UNREAD
    ),
    "a Disconnect after a silence that the server had not looked for yet": schedule(
        ("fixed", 1.0, 1.5, None, True), {"sweep_interval_s": 3.0, "agents": False}, SILENT
    ),
    "a chat closed without an event while one agent hands it on to another": replace(
        schedule(
            ("fixed", 5.0),
            {
                "idle_alert_s": 1.0,
                "idle_close_s": 0.7,
                "idle_close_told": False,
                "transfer_chance": 0.7,
                "transfer_after_s": (0.2, 3.0),
                "transfer_gap_s": (0.05, 1.5),
                "agent_answer_s": (0.2, 1.0),
                "utc_resolution_s": 60.0,
            },
            LATER,
        ),
        persona="widget",
    ),
    "a widget's poll lost that would have told of an early end": replace(
        schedule(("fixed", 5.0, 3.0), {"agents": False}, request_timeout_s=1.0, faults=(fault("early_end", 0.3),)),
        network=NetworkModel(0.0005, 0.2, loss=0.2),
        persona="widget",
    ),
}


@pytest.mark.parametrize(
    "schedule",
    [pytest.param(schedule, id=name) for name, schedule in FINDINGS.items()],
)
def test_the_ledger_contradicts_nothing(schedule):
    assert not judged(schedule)[1]


def test_a_transfer_to_another_name_then_status_2_is_not_the_agents_ending():
    pairs, _ = judged(schedule(("fixed", 5.0), OVERLAPPING, LONG, faults=(LOST,)), 5)
    assert pairs == {("failed", "unrecoverable")}


def test_an_agents_end_learned_by_typing_is_the_agents():
    script = replace(
        SCRIPT, chat_length=Distribution("fixed", 30.0), messages=Distribution("fixed", 9.0),
        think=Distribution("fixed", 0.3),
    )  # fmt: skip
    server = {"agent_leaves_chance": 1.0, "agent_leaves_after_s": (0.5, 5.0), "agent_answer_s": (0.1, 0.3)}
    pairs, _ = judged(schedule(("fixed", 20.0, 3.0), server, script))
    assert pairs == {("ended_by_agent", "agent")}


def test_a_chat_dropped_for_not_registering_is_not_called_late():
    server = {"user_register_timeout_s": 0.6, "dropped_answer": "2"}
    stalled = schedule(("fraction", 1.0, None, 0.9), server, stalls=((0.5, 3.0),))
    assert not judged(stalled)[1]


def test_nor_where_its_opening_took_long_and_its_transcript_is_there():
    # Taken as soon as it was sent, the chat would have lived for longer than the timeout.
    slow = fault("stall", 1.0, delay_s=0.8, operations=["RequestChat"])
    server = {"user_register_timeout_s": 0.6, "agents": False}
    policy, stalls = ("fraction", 1.0, None, 0.9), ((0.85, 5.0),)
    pairs, contradictions = judged(schedule(policy, server, request_timeout_s=2.0, faults=(slow,), stalls=stalls))
    assert ("dropped_unproven", "early") in pairs and not contradictions


def test_a_chat_never_refreshed_is_late_where_the_server_s_clock_shows_that_it_outlived_the_timeout():
    silent = schedule(("fraction", 1.0, None, 0.9), {"agents": False}, stalls=((0.5, 3.0),))
    # Requests that arrive at odd milliseconds: else the timestamps look coarser than they are.
    pairs, _ = judged(replace(silent, network=NetworkModel(0.005, 0.5)), 5)
    assert ("dropped_late", "expired") in pairs


def test_a_request_that_the_server_holds_is_answered_before_the_client_gives_it_up():
    held = schedule(("fixed", 1.0), {"long_poll_s": 6.0}, SILENT, request_timeout_s=30.0).run(5)
    assert held.books.outcomes["GetMessages"].keys() == {"0/false"}
