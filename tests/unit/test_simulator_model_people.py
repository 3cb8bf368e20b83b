"""Agents who hand a chat on, bots, supervisors, notices; the limits; who registers too late."""

import pytest

from chatload.features.reconcile.compute import ending_of
from chatload.features.reconcile.ledger import FIELDS, LedgerRow
from tests.unit.simulated import TIMEOUT, Client, kinds, service, status

AGENT = {"agents": True, "agent_wait_s": (1.0, 1.0), "agent_answer_s": (2.0, 2.0)}
TRANSFER = {**AGENT, "transfer_chance": 1.0, "transfer_after_s": (3.0, 3.0), "transfer_gap_s": (1.0, 1.0)}


def happened(client, at):
    """(seconds, type, nickname) of everything but the customer's own events."""
    return [
        ((item["utcTime"] - 1_700_000_000_000) / 1000, item["type"], item["from"]["nickname"])
        for item in client.transcript(at)
        if item["from"]["type"] != "Client"
    ]


def test_an_agent_hands_the_chat_on_and_it_goes_on():
    client = Client(service(**TRANSFER))
    assert happened(client, 5.5) == [
        (1.0, "ParticipantJoined", "agent"), (4.0, "ParticipantLeft", "agent"), (5.0, "ParticipantJoined", "agent-2"),
    ]  # fmt: skip
    assert status(client.ask(6.0)) == (0, False) and client.row(7.0)["end_reason"] is None
    assert len({item["from"]["participantId"] for item in client.transcript(7.0)}) == 3


def test_in_an_overlapping_transfer_the_other_joins_first():
    client = Client(service(**TRANSFER, transfer_overlaps=True, agents_share_name=True))
    assert happened(client, 5.5) == [
        (1.0, "ParticipantJoined", "agent"), (4.0, "ParticipantJoined", "agent"), (5.0, "ParticipantLeft", "agent"),
    ]  # fmt: skip


def test_what_is_said_in_the_middle_of_a_transfer_is_answered_by_the_next_agent():
    client = Client(service(**TRANSFER))
    client.ask(4.5, "SendMessage", message="anyone?")
    assert happened(client, 7.5)[3:] == [(7.0, "Message", "agent-2")]


def test_an_answer_the_agent_owes_when_handing_on_is_the_next_ones():
    client = Client(service(**TRANSFER))
    client.ask(2.5, "SendMessage", message="hi")
    assert happened(client, 7.5)[3:] == [(7.0, "Message", "agent-2")]


def test_only_the_last_agent_to_leave_ends_the_chat():
    """The first leaves at 6, by which time the second has joined."""
    settings = {**TRANSFER, "transfer_gap_s": (9.0, 9.0), "transfer_overlaps": True}
    client = Client(service(**settings, agent_leaves_chance=1.0, agent_leaves_after_s=(5.0, 5.0)))
    assert happened(client, 6.5)[1:] == [(4.0, "ParticipantJoined", "agent-2"), (6.0, "ParticipantLeft", "agent")]
    assert client.row(6.9)["end_reason"] is None


def test_an_overlapping_transfer_leaves_no_chat_without_an_agent():
    first_to_leave = set()
    settings = {
        **AGENT, "agent_leaves_chance": 0.5, "agent_leaves_after_s": (0.5, 20.0), "transfer_chance": 0.5,
        "transfer_after_s": (3.0, 3.0), "transfer_gap_s": (0.5, 9.0), "transfer_overlaps": True,
    }  # fmt: skip
    for seed in range(30):
        client = Client(service(**settings, seed=seed, flex_disconnect_timeout_s=60.0))
        present = 0
        for at, kind, name in happened(client, 40.0):
            present += {"ParticipantJoined": 1, "ParticipantLeft": -1}[kind]
            if kind == "ParticipantLeft":
                first_to_leave.add(name)
            if not present:
                assert int(client.row(40.0)["ended_at"] * 1000) == round(at * 1000)
    assert {"agent", "agent-2"} <= first_to_leave


def test_whoever_handed_the_chat_on_does_not_end_it_later():
    client = Client(service(**TRANSFER, agent_leaves_chance=1.0, agent_leaves_after_s=(4.5, 4.5)))
    assert status(client.ask(7.0)) == (0, False)


def test_a_bot_greets_answers_and_goes_when_an_agent_comes():
    client = Client(service(**{**AGENT, "agent_wait_s": (3.0, 3.0)}, bot_chance=1.0, bot_answer_s=(0.5, 0.5)))
    assert kinds(client.first)[1:] == [("ParticipantJoined", "Bot"), ("Message", "Bot")]
    client.ask(1.0, "SendMessage", message="hi")
    client.ask(2.8, "SendMessage", message="still there?")
    assert happened(client, 6.0)[2:] == [
        (1.5, "Message", "bot"), (3.0, "ParticipantJoined", "agent"), (3.0, "ParticipantLeft", "bot"),
        (5.0, "Message", "agent"),
    ]  # fmt: skip


def test_a_supervisor_joins_speaks_and_leaves_and_the_chat_goes_on():
    client = Client(
        service(**AGENT, supervisor_chance=1.0, supervisor_after_s=(2.0, 2.0), supervisor_stays_s=(1.0, 1.0))
    )
    assert happened(client, 5.0)[1:] == [
        (3.0, "ParticipantJoined", "supervisor"), (3.0, "Message", "supervisor"),
        (4.0, "ParticipantLeft", "supervisor"),
    ]  # fmt: skip
    assert status(client.ask(5.0)) == (0, False)


def test_agents_type_before_they_answer_and_push_urls():
    client = Client(service(**AGENT, agent_types=True, agent_pushes_chance=1.0))
    client.ask(1.5, "SendMessage", message="hi")
    assert [what[:2] for what in happened(client, 4.0)[1:]] == [
        (2.5, "TypingStarted"), (3.5, "TypingStopped"), (3.5, "Message"), (3.5, "PushUrl"),
    ]  # fmt: skip


def test_notices_are_pushed_but_are_not_speech():
    client = Client(service(notice_every_s=2.0, idle_alert_s=5.0, idle_close_s=2.0))
    client.ask(4.5)
    assert happened(client, 8.0) == [
        (2.0, "Notice", "system"), (4.0, "Notice", "system"), (5.0, "IdleAlert", "system"), (6.0, "Notice", "system"),
        (7.0, "IdleClose", "system"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "operation, fields, speech",
    [
        ("GetMessages", {}, False), ("GetMessages", {"message": "hi"}, True), ("SendMessage", {"message": "hi"}, True),
        ("StartTyping", {"message": "h"}, False), ("StopTyping", {}, False),
        ("UpdateNickname", {"nickname": "B"}, False), ("UpdateData", {"user_data.a": "1"}, False),
        ("PushUrl", {"url": "x"}, True), ("CustomNotice", {"message": "x"}, False),
        ("ReadReceipt", {"position": "1"}, False),
        ("FileLimits", {}, False), ("FileUpload", {"file_name": "a.txt", "content": b""}, True),
    ],
)  # fmt: skip
def test_what_counts_as_speech(operation, fields, speech):
    client = Client(service(idle_alert_s=5.0, idle_close_s=3.0))
    client.ask(4.0, operation, **fields)
    assert status(client.ask(8.5)) == (0, not speech)


# -- registration --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, expected", [("0/true", (0, True)), ("2", (2, True))])
def test_who_sends_nothing_after_requestchat_is_dropped_early_says_the_ledger(mode, expected):
    client = Client(service(user_register_timeout_s=3.0, dropped_answer=mode))
    assert status(client.ask(3.5)) == expected
    row = client.row(4.0)
    assert (row["end_reason"], row["detail"], row["ended_at"]) == ("early", "user-register-timeout", 3.0)
    assert ending_of(LedgerRow(**{name: row[name] for name in FIELDS})) == "early"


def test_whoever_registered_in_time_has_the_whole_timeout():
    client = Client(service(user_register_timeout_s=3.0))
    assert status(client.ask(3.0)) == (0, False)
    assert client.row(99.0)["ended_at"] == 3.0 + TIMEOUT


def test_a_timeout_shorter_than_registration_is_the_one_that_drops():
    client = Client(service(user_register_timeout_s=30.0))
    assert client.row(99.0)["end_reason"] == "expired"


# -- limits --------------------------------------------------------------------------------------


def leave(client, at):
    assert client.ask(at, "Disconnect")["chatEnded"]


@pytest.mark.parametrize("limit", ["limit_for_sessions", "limit_for_flex_users"])
@pytest.mark.parametrize("threshold, ends_needed", [(0.8, 3), (0.5, 6), (1.0, 1)])
def test_a_limit_once_hit_refuses_until_below_the_threshold(limit, threshold, ends_needed):
    chats = service(**{limit: 10}, limits_restore_threshold=threshold)
    clients = [Client(chats) for _ in range(10)]
    assert all(client.first["statusCode"] == 0 for client in clients)
    assert Client(chats, 1.0).first["statusCode"] == 2
    for count in range(1, ends_needed + 1):
        leave(clients[count], 1.0)
        assert Client(chats, 1.0).first["statusCode"] == (0 if count == ends_needed else 2)


def test_without_a_refusal_there_is_nothing_to_restore():
    chats = service(limit_for_sessions=10)
    clients = [Client(chats) for _ in range(10)]
    leave(clients[0], 1.0)
    assert Client(chats, 1.0).first["statusCode"] == 0


def test_one_flex_user_may_have_several_chats():
    chats = service(one_user_per_email=True, sessions_per_flex_user=2, limit_for_flex_users=2)
    first, second = (Client(chats, email=email) for email in ("ann@x.example", "Ann@X.example "))
    assert first.first["userId"] == second.first["userId"] and first.chat_id != second.chat_id
    assert first.first["secureKey"] != second.first["secureKey"]
    assert (chats.live_sessions, len(chats.limits.users)) == (2, 1)
    assert Client(chats, email="ann@x.example").first["statusCode"] == 2
    assert Client(chats).first["statusCode"] == 0  # who names no address is a user of their own
    assert Client(chats, email="bob@x.example").first["statusCode"] == 2
    leave(first, 1.0)
    assert Client(chats, 1.0, email="ann@x.example").first["userId"] == second.first["userId"]


def test_without_the_option_an_address_says_nothing():
    chats = service(sessions_per_flex_user=1)
    users = {Client(chats, email="ann@x.example").first["userId"] for _ in range(2)}
    assert len(users) == len(chats.limits.users) == 2
