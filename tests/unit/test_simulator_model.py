"""The chat service model: expiry to the instant, order of events, ends, limits, inactivity, determinism."""

import json

import pytest

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from tests.unit.simulated import TIMEOUT, Client, kinds, service, status

# -- flex-disconnect-timeout -------------------------------------------------------------------


@pytest.mark.parametrize("first_gap, alive", [(9.999, True), (10.0, True), (10.001, False)])
def test_a_contact_is_in_time_up_to_the_timeout_and_including_it(first_gap, alive):
    client = Client(service())
    assert status(client.ask(first_gap)) == (0, not alive)
    row = client.row(first_gap)
    assert row["end_reason"] == (None if alive else "expired")
    assert len(row["contacts"]) == (2 if alive else 1)


def test_expiry_is_booked_at_the_instant_it_was_due_not_when_it_was_noticed():
    client = Client(service(), at=3.0)
    client.ask(8.0)
    late = client.ask(31.5, position="1")
    row = client.row(40.0)
    assert (row["ended_at"], row["end_reason"], row["late_contact_at"]) == (18.0, "expired", 31.5)
    assert row["contacts"] == [[3.0, "RequestChat"], [8.0, "GetMessages"]] and row["max_gap_s"] == 5.0
    assert kinds(late) == [("ParticipantJoined", "Client"), ("ParticipantLeft", "Client")]
    assert late["messages"][-1]["utcTime"] == 1_700_000_018_000


def test_the_first_late_contact_is_kept_not_the_last():
    client = Client(service())
    client.ask(20.0), client.ask(25.0)
    assert client.row(30.0)["late_contact_at"] == 20.0


@pytest.mark.parametrize("operation", ["GetMessages", "SendMessage", "StartTyping", "StopTyping"])
def test_every_operation_resets_the_clock(operation):
    client = Client(service())
    client.ask(9.0, operation, message="hello")
    assert status(client.ask(18.0)) == (0, False)


def test_a_sweep_at_the_deadline_itself_does_not_expire_a_chat():
    chats = service()
    client = Client(chats)
    chats.sweep(10.0)
    assert chats.live_sessions == 1 and status(client.ask(10.0)) == (0, False)
    chats.sweep(20.001)
    assert chats.live_sessions == 0


def test_how_late_the_look_was_that_found_a_silent_chat_ended():
    chats = service()
    first = Client(chats)
    Client(chats, at=2.0)
    chats.sweep(10.0)
    first.ask(10.25)  # the client's own request found its chat ended: no look was late
    assert chats.latest_expiry_s == 0
    chats.sweep(12.5)
    chats.sweep(20.0)
    assert chats.latest_expiry_s == 0.5


@pytest.mark.parametrize(
    "chat_id",
    [None, "", "CHAT", "00000000CHAT", "00000002CHAT", "-0000001CHAT", "1CHAT", " 0000001CHAT", "0000001xCHAT"],
)
def test_a_request_for_a_chat_that_never_was_is_in_nobodys_books(chat_id):
    chats = service()
    client = Client(chats)
    client.ask(1.0, "Disconnect")
    assert chats.process(2.0, "GetMessages", chat_id, {"user_id": "x", "secure_key": "y"}).payload["statusCode"] == 2
    assert client.row(3.0)["late_contact_at"] is None


@pytest.mark.parametrize("mode, expected", [("0/true", (0, True)), ("2", (2, True))])
def test_what_a_dropped_chat_answers(mode, expected):
    client = Client(service(dropped_answer=mode))
    assert status(client.ask(10.5)) == expected


def test_mode_2_leaves_chats_that_ended_otherwise_alone():
    client = Client(service(dropped_answer="2"))
    client.ask(1.0, "Disconnect")
    assert status(client.ask(2.0)) == (0, True)


# -- after the end -----------------------------------------------------------------------------


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("after, expected", [(60.0, (0, True)), (60.001, (2, True))])
def test_an_ended_chat_is_kept_for_so_long_then_unknown(swept, after, expected):
    chats = service()
    client = Client(chats)
    assert status(client.ask(1.0, "Disconnect")) == (0, True)
    if swept:
        chats.sweep(1.0 + after)
    assert status(client.ask(1.0 + after, position="1")) == expected
    row = client.row(100.0)
    assert (row["end_reason"], row["ended_at"], row["late_contact_at"]) == ("disconnected", 1.0, 1.0 + after)


def test_the_ledger_keeps_contacts_and_takes_late_ones_after_eviction():
    chats = service(keeps_ended_s=1.0)
    client = Client(chats)
    client.ask(4.0)
    chats.sweep(1000.0)
    assert client.ask(1001.0)["statusCode"] == 2
    row = client.row(1002.0)
    assert row["contacts"] == [[0.0, "RequestChat"], [4.0, "GetMessages"]]
    assert (row["ended_at"], row["late_contact_at"]) == (14.0, 1001.0)


# -- keys and positions ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"secure_key": "x"}, {"user_id": "x"}])
def test_wrong_keys_are_refused_and_are_no_contact(wrong):
    client = Client(service())
    answer = client.ask(9.0, **wrong)
    assert answer["statusCode"] == 2 and answer["errors"][0]["advice"]
    assert client.row(9.5)["contacts"] == [[0.0, "RequestChat"]]
    assert status(client.ask(10.5)) == (0, True)


def test_an_unknown_chat_is_2():
    assert service().process(0.0, "GetMessages", "nobody", {}).payload["statusCode"] == 2


@pytest.mark.parametrize(
    "position, indices", [(None, []), ("0", []), ("1", [1, 2]), ("2", [2]), ("3", []), ("x", []), ("-1", [])]
)
def test_positions(position, indices):
    client = Client(service())
    client.ask(1.0, "SendMessage", message="hello")
    answer = client.ask(2.0, **({} if position is None else {"position": position}))
    assert [event["index"] for event in answer["messages"]] == indices
    assert answer["nextPosition"] == 3


# -- the agent ---------------------------------------------------------------------------------


AGENT = {"agents": True, "agent_wait_s": (1.0, 1.0), "agent_answer_s": (2.0, 2.0)}


def test_the_agent_joins_answers_and_everything_is_in_order_of_time():
    client = Client(service(**AGENT))
    client.ask(3.0, "SendMessage", message="hello")
    answer = client.ask(9.0, position="1")
    assert kinds(answer) == [
        ("ParticipantJoined", "Client"), ("ParticipantJoined", "Agent"), ("Message", "Client"), ("Message", "Agent"),
    ]  # fmt: skip
    times = [event["utcTime"] - 1_700_000_000_000 for event in answer["messages"]]
    assert times == [0, 1000, 3000, 5000]
    assert [event["index"] for event in answer["messages"]] == [1, 2, 3, 4]


def test_an_agent_who_leaves_ends_the_chat():
    client = Client(service(**AGENT, agent_leaves_chance=1.0, agent_leaves_after_s=(4.0, 4.0)))
    answer = client.ask(6.0, position="1")
    assert status(answer) == (0, True)
    assert kinds(answer)[-1] == ("ParticipantLeft", "Agent") and ("ParticipantLeft", "Client") not in kinds(answer)
    row = client.row(7.0)
    assert (row["end_reason"], row["ended_at"]) == ("agent", 5.0)


def test_what_came_first_ended_the_chat():
    """The agent would leave at 12, but the customer was silent from 0: the timeout came first, at 10."""
    client = Client(service(**AGENT, agent_leaves_chance=1.0, agent_leaves_after_s=(11.0, 11.0)))
    client.ask(30.0)
    assert (client.row(31.0)["end_reason"], client.row(31.0)["ended_at"]) == ("expired", 10.0)


# -- inactivity control ------------------------------------------------------------------------


def poll(client, until, step=1.0):
    at, seen = step, None
    while at <= until:
        seen = client.ask(at, position="1")
        at += step
    return seen


def test_a_chat_in_which_nobody_speaks_is_alerted_then_closed_however_often_it_polls():
    client = Client(service(idle_alert_s=5.0, idle_close_s=3.0))
    assert kinds(poll(client, 7.0))[-1][0] == "IdleAlert"
    answer = client.ask(8.0, position="1")
    assert [kind for kind, _ in kinds(answer)] == ["ParticipantJoined", "IdleAlert", "IdleClose"]
    row = client.row(9.0)
    assert (row["end_reason"], row["ended_at"]) == ("idle", 8.0)


def test_speaking_resets_inactivity_and_typing_does_not():
    client = Client(service(idle_alert_s=5.0, idle_close_s=3.0))
    client.ask(6.0, "SendMessage", message="still here")
    client.ask(9.0, "StartTyping", message="d")
    assert status(client.ask(13.9)) == (0, False)
    assert status(client.ask(14.0)) == (0, True)


def test_an_agent_who_joins_resets_inactivity():
    client = Client(service(agents=True, agent_wait_s=(4.0, 4.0), idle_alert_s=5.0, idle_close_s=3.0))
    poll(client, 11.0)
    assert client.row(11.5)["end_reason"] is None
    poll(client, 12.0)
    assert client.row(12.5)["ended_at"] == 12.0


@pytest.mark.parametrize(
    "settings, ended",
    [((5.0, 2.0, 3.0), 10.0), ((5.0, 0.0, 3.0), 8.0), ((0.0, 2.0, 3.0), None), ((5.0, 0.0, 0.0), None)],
)
def test_alert2_and_what_is_off(settings, ended):
    alert, alert2, close = settings
    client = Client(service(idle_alert_s=alert, idle_alert2_s=alert2, idle_close_s=close))
    poll(client, 30.0)
    assert client.row(30.5)["ended_at"] == ended


# -- limits and determinism --------------------------------------------------------------------


def test_above_the_limit_a_chat_is_refused_until_one_has_ended():
    chats = service(limit_for_sessions=2)
    first, _ = Client(chats), Client(chats, at=5.0)
    refused = chats.process(6.0, "RequestChat", None, {"nickname": "Late"}).payload
    assert refused["statusCode"] == 2 and refused["errors"] and "chatId" not in refused
    assert len(list(chats.ledger_rows(6.0))) == 2
    assert Client(chats, at=10.5).first["statusCode"] == 0  # the first has just expired, unasked
    assert first.row(11.0)["end_reason"] == "expired"


def test_no_nickname_no_chat():
    assert service().process(0.0, "RequestChat", None, {}).payload["statusCode"] == 2


def play(seed):
    chats = ChatService(SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT, seed=seed, agent_leaves_chance=0.5))
    clients = [Client(chats, at=number / 10) for number in range(20)]
    answers = [client.first for client in clients]
    for turn in range(1, 40):
        for number, client in enumerate(clients):
            operation = ("GetMessages", "SendMessage")[(turn + number) % 2]
            answers.append(client.ask(2.0 * turn + number / 100, operation, message="m", position="1"))
    return json.dumps([answers, list(chats.ledger_rows(200.0))])


def test_the_same_calls_give_the_same_answers_byte_for_byte():
    assert play(3) == play(3)
    assert play(3) != play(4)


def test_one_chat_does_not_change_what_another_ones_agent_does():
    def transcript(noise):
        chats = ChatService(SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT))
        client, other = Client(chats), Client(chats)
        for turn in range(1, 9):
            if noise:
                other.ask(float(turn), "SendMessage", message="noise")
            client.ask(turn + 0.5, "SendMessage", message="hello")
        return client.ask(12.0, position="1")

    assert transcript(False) == transcript(True)


# -- how silence is noticed, and what ends it ------------------------------------------------------


def test_a_timeout_of_0_drops_nobody():
    client = Client(service(flex_disconnect_timeout_s=0.0))
    assert status(client.ask(1e9)) == (0, False)


@pytest.mark.parametrize("asked, alive", [(11.999, True), (12.001, False)])
def test_a_sweep_drops_at_its_next_look_and_until_then_the_chat_can_be_refreshed(asked, alive):
    client = Client(service(sweep_interval_s=4.0), at=0.5)  # its deadline, 10.5, lies between two looks
    assert status(client.ask(asked)) == (0, not alive)
    row = client.row(12.001 if not alive else 12.5)
    assert (row["ended_at"], row["end_reason"]) == ((None, None) if alive else (12.0, "expired"))


KEEPING = [
    ("send_keeps_alive", "SendMessage", {"message": "hello"}, 0),
    ("typing_keeps_alive", "StartTyping", {}, 0),
    ("typing_keeps_alive", "StopTyping", {}, 0),
    ("failed_keeps_alive", "SendMessage", {}, 1),
]


@pytest.mark.parametrize("setting, operation, fields, code", KEEPING)
def test_a_request_that_does_not_keep_alive_is_answered_and_ends_no_silence(setting, operation, fields, code):
    for keeps in (True, False):
        client = Client(service(**{setting: keeps}))
        assert client.ask(9.0, operation, **fields)["statusCode"] == code
        assert status(client.ask(10.5)) == (0, not keeps)
        assert ("SendMessage" in str(client.row(11.0)["contacts"])) == (keeps and operation == "SendMessage")
        assert client.row(11.0)["end_reason"] == (None if keeps else "expired")
