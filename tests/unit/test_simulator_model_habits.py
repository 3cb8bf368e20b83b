"""Habits of real servers that the model takes on: clocks, transcripts, reasons, error codes, fields of answers."""

import pytest

from chatload.simulator.model.answers import NoAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import VIRTUAL_EPOCH, ChatService
from tests.unit.simulated import TIMEOUT, Client, kinds, service, status

EPOCH_MS = int(VIRTUAL_EPOCH) * 1000
AGENT_LEAVES = {
    "agents": True,
    "agent_wait_s": (1.0, 1.0),
    "agent_leaves_chance": 1.0,
    "agent_leaves_after_s": (2.0, 2.0),
}
GOES_IDLE = {"idle_alert_s": 2.0, "idle_close_s": 1.0}


def stamps(client, at):
    return [event.get("utcTime") for event in client.transcript(at)]


def stamped_at(at, **habits):
    """What a chat begun at an instant is stamped with, ms after the epoch of virtual runs."""
    chats = service(**habits)
    chats.start_at(0.0)
    return Client(chats, at=at).first["messages"][0]["utcTime"] - EPOCH_MS


# -- clocks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resolution, rounds, expected",
    [
        (0.001, "down", 1678),
        (0.001, "nearest", 1679),
        (0.01, "down", 1670),
        (0.01, "nearest", 1680),
        (1.0, "down", 1000),
        (1.0, "nearest", 2000),
    ],
)
def test_a_stamp_is_a_whole_multiple_of_the_resolution(resolution, rounds, expected):
    assert stamped_at(1.6789, utc_resolution_s=resolution, utc_rounds=rounds) == expected


def test_a_clock_steps_once_at_its_instant():
    habits = {"clock_step_s": -3.0, "clock_step_at_s": 5.0}
    assert stamped_at(4.999, **habits) == 4999
    assert stamped_at(5.0, **habits) == 2000
    assert stamped_at(9.0, **habits) == 6000


def test_steps_and_drift_count_from_the_start_of_the_service():
    chats = service(clock_step_s=10.0, clock_step_at_s=5.0, clock_drift_ppm=1000.0)
    chats.start_at(100.0)
    told = [Client(chats, at=at).first["messages"][0]["utcTime"] - EPOCH_MS for at in (100.0, 104.0, 105.0)]
    assert told == pytest.approx([100_000, 104_004, 115_005], abs=1)


def test_a_clock_may_be_hours_off():
    assert stamped_at(1.0, clock_offset_s=-7200.0) == -7_199_000


def test_the_clock_changes_stamps_alone():
    plain, odd = (
        Client(service(**habits)).row(30.0)
        for habits in ({}, {"clock_offset_s": -7200.0, "clock_drift_ppm": 1e5, "utc_resolution_s": 60.0})
    )
    assert plain == odd


# -- nodes -------------------------------------------------------------------------------------


def test_events_of_nodes_drawn_anew_differ_by_the_nodes_offsets():
    client = Client(service(nodes=3, node_offset_s=1.0))
    for at in range(1, 40):
        client.ask(at, "SendMessage", message="a")
    expected = [0, *range(1000, 40_000, 1000)]
    ahead = [told - EPOCH_MS - true for told, true in zip(stamps(client, 39.5), expected, strict=True)]
    assert set(ahead) == {0, 500, 1000}
    assert stamps(client, 39.6) == stamps(client, 39.7)
    assert {client.ask(40 + n / 10)["alias"] for n in range(30)} == {"117", "118", "119"}


def test_a_chat_moves_once_to_another_node_and_answers_name_it():
    chats = service(nodes=2, node_offset_s=0.4, node_changes="chat", node_moves_after_s=(3.0, 3.0))
    firsts = set()
    for _ in range(20):
        client = Client(chats)
        before, after = client.first["alias"], client.ask(3.0, "SendMessage", message="a")["alias"]
        ahead = {"117": 0, "118": 400}
        assert {before, after} == set(ahead)
        assert stamps(client, 4.0) == [EPOCH_MS + ahead[before], EPOCH_MS + 3000 + ahead[after]]
        firsts.add(before)
    assert firsts == {"117", "118"}


# -- transcripts -------------------------------------------------------------------------------


def test_some_or_all_events_are_undated_and_stay_so():
    client = Client(service(undated_chance=0.5))
    for at in range(1, 40):
        client.ask(at, "SendMessage", message="a")
    told = stamps(client, 39.5)
    assert 10 < told.count(None) < 30 and told == stamps(client, 39.6)
    assert stamps(Client(service(undated_chance=1.0)), 1.0) == [None]


def test_without_participant_ids():
    (event,) = Client(service(participant_ids=False)).transcript(1.0)
    assert event["from"] == {"nickname": "Ann", "type": "Client"}


@pytest.mark.parametrize("opening, position", [("later", 1), ("skipped", 2)])
def test_request_chat_answered_without_events(opening, position):
    client = Client(service(opening_events=opening))
    assert (client.first["messages"], client.first["nextPosition"]) == ([], position)
    assert kinds(client.ask(1.0, position="1")) == [("ParticipantJoined", "Client")]


def test_a_customer_who_never_joins_or_leaves():
    client = Client(service(customer_join_told=False, customer_left_told=False))
    assert client.first["messages"] == [] and client.first["nextPosition"] == 1
    assert client.ask(1.0, "SendMessage", message="a", position="1")["messages"][0]["index"] == 1
    over = client.ask(2.0, "Disconnect", position="1")
    assert status(over) == (0, True) and kinds(over) == [("Message", "Client")]


@pytest.mark.parametrize("shares, name", [(False, "visitor"), (True, "Ann")])
def test_another_client_comes_and_goes_and_the_chat_goes_on(shares, name):
    client = Client(
        service(
            other_client_chance=1.0,
            other_client_after_s=(1.0, 1.0),
            other_client_stays_s=(2.0, 2.0),
            other_client_shares_name=shares,
        )
    )
    own, joined, left = client.transcript(5.0)
    assert [joined["type"], left["type"]] == ["ParticipantJoined", "ParticipantLeft"]
    assert joined["from"] == left["from"] == {"nickname": name, "participantId": 102, "type": "Client"}
    assert own["from"]["participantId"] != 102
    assert status(client.ask(6.0)) == (0, False)


# -- how ends are told -------------------------------------------------------------------------


def left(client, at):
    """The leavings in the transcript: who, and the code they carry."""
    return [
        (event["from"]["type"], event.get("eventAttributes", {}).get("GCTI_SYSTEM", {}).get("quit-reason-code"))
        for event in client.transcript(at)
        if event["type"] == "ParticipantLeft"
    ]


@pytest.mark.parametrize(
    "told, expected",
    [
        ("before", [("Agent", None), ("Client", None)]),
        ("after", [("Client", None), ("Agent", None)]),
        ("never", [("Client", None)]),
    ],
)
def test_an_agent_who_ends_a_chat_leaves_before_or_after_the_customer_or_never(told, expected):
    client = Client(service(**AGENT_LEAVES, removed_customer_leaves=True, agent_left_told=told))
    assert left(client, 5.0) == expected
    assert client.row(5.0)["end_reason"] == "agent"
    alone = [who for who in expected if who[0] == "Agent"]
    assert left(Client(service(**AGENT_LEAVES, agent_left_told=told)), 5.0) == alone


def test_an_agent_who_hands_a_chat_on_is_always_told_to_leave():
    hands_on = {"transfer_chance": 1.0, "transfer_after_s": (1.0, 1.0), "transfer_gap_s": (1.0, 1.0)}
    client = Client(service(agents=True, agent_wait_s=(1.0, 1.0), agent_left_told="never", **hands_on))
    assert left(client, 2.5) == [("Agent", None)]


def test_inactivity_control_closes_a_chat_with_or_without_saying_so():
    told, untold = (Client(service(**GOES_IDLE, idle_close_told=flag)) for flag in (True, False))
    closed = ("IdleClose", "External")
    assert closed in kinds(told.ask(4.0, position="1")) and closed not in kinds(untold.ask(4.0, position="1"))
    assert told.row(5.0)["end_reason"] == untold.row(5.0)["end_reason"] == "idle"


def struck(kind, **habits):
    client = Client(service(**habits))
    client.answer(1.0, fault=Fault(kind))
    return client


ENDS = {
    "0": lambda **habits: Client(service(**habits)),
    "3": lambda **habits: Client(service(**habits)),
    "4": lambda **habits: Client(service(**AGENT_LEAVES, **habits)),
    "5": lambda **habits: struck("early_end", **habits),
    "7": lambda **habits: Client(service(**GOES_IDLE, **habits)),
    "8": lambda **habits: struck("failed_restoration", **habits),
}


@pytest.mark.parametrize("code", ENDS)
@pytest.mark.parametrize("which", ["none", "documented", "all"])
def test_the_customers_leaving_carries_the_code_of_its_reason(code, which):
    client = ENDS[code](quit_reasons=which)
    client.ask(5.0, "Disconnect" if code == "0" else "GetMessages")
    delivered = which == "all" or (which == "documented" and code not in ("0", "3"))
    told = [shown for who, shown in left(client, 16.0 if code == "3" else 6.0) if who == "Client"]
    assert told == ([] if which == "none" and code in ("4", "7") else [code if delivered else None])


def test_a_code_may_be_a_json_number():
    client = Client(service(**AGENT_LEAVES, quit_reasons="documented", quit_reason_number=True))
    assert left(client, 5.0)[-1] == ("Client", 4)


def test_a_failed_restoration_is_an_early_end():
    row = struck("failed_restoration").row(5.0)
    assert (row["end_reason"], row["ended_at"], row["detail"]) == ("early", 1.0, "restoration failed")


# -- error codes -------------------------------------------------------------------------------


def codes(payload):
    return [error["code"] for error in payload.get("errors", [])]


@pytest.mark.parametrize("mode, expected", [("0/true", (0, True)), ("2", (2, True))])
def test_a_chat_dropped_for_silence_is_answered_8209(mode, expected):
    client = Client(service(error_8209=True, dropped_answer=mode))
    late = client.ask(TIMEOUT + 1)
    assert status(late) == expected and codes(late) == [8209]
    quiet = Client(service(dropped_answer=mode)).ask(TIMEOUT + 1)
    assert codes(quiet) == ([202] if mode == "2" else [])


def test_no_other_end_is_answered_8209():
    client = Client(service(error_8209=True, **GOES_IDLE))
    assert codes(client.ask(5.0)) == []
    gone = Client(service(error_8209=True))
    gone.ask(1.0, "Disconnect")
    assert codes(gone.ask(TIMEOUT + 2)) == []


def test_an_unknown_chat_is_answered_8201():
    for habits, code in (({}, 202), ({"error_8201": True}, 8201)):
        chats = service(**habits, keeps_ended_s=5.0)
        client = Client(chats)
        unknown = chats.process(0.0, "GetMessages", "nobody", {"user_id": "x", "secure_key": "y"}).payload
        assert status(unknown) == (2, True) and codes(unknown) == [code]
        assert codes(client.ask(TIMEOUT + 6)) == [code]


def test_a_wrong_key_is_answered_8210_and_ends_the_chat():
    client = Client(service(error_8210=True))
    assert codes(client.ask(1.0, secure_key="wrong")) == [8210]
    assert status(client.ask(2.0)) == (2, True)
    row = client.row(3.0)
    assert (row["end_reason"], row["detail"], row["ended_at"]) == ("unrecoverable", "wrong secureKey", 1.0)


def test_a_wrong_key_ends_no_chat_of_a_server_without_8210_and_none_that_is_over():
    client = Client(service())
    assert codes(client.ask(1.0, secure_key="wrong")) == [202] and status(client.ask(2.0)) == (0, False)
    over = Client(service(error_8210=True))
    assert codes(over.ask(TIMEOUT + 1, secure_key="wrong")) == [202]
    assert over.row(TIMEOUT + 1)["end_reason"] == "expired"


def test_a_key_that_was_replaced_is_answered_8210_too():
    client = Client(service(error_8210=True, key_rotates_answers=1, old_key_grace_s=0.0))
    client.ask(1.0)
    assert codes(client.ask(2.0)) == [8210] and client.row(3.0)["detail"] == "stale secureKey"


# -- fields ------------------------------------------------------------------------------------


def test_what_tells_nothing_new_is_null_or_left_out():
    null, sparse = (Client(service(answer_fields=mode)) for mode in ("null", "sparse"))
    for client in (null, sparse):
        assert {"chatId", "userId", "secureKey", "alias", "messages"} <= client.first.keys()
    assert null.ask(1.0) == {
        "statusCode": 0, "chatEnded": False, "messages": None, "nextPosition": None, "alias": None, "userId": None,
        "secureKey": None,
    }  # fmt: skip
    assert sparse.ask(1.0) == {"statusCode": 0, "chatEnded": False}
    assert kinds(sparse.ask(2.0, position="1")) and sparse.ask(2.0, position="1")["nextPosition"] == 2
    assert sparse.ask(3.0, "SendMessage").keys() == {"statusCode", "chatEnded", "errors"}


def test_a_key_that_is_new_is_told():
    client = Client(service(answer_fields="sparse", key_rotates_answers=1))
    assert client.ask(1.0).keys() == {"statusCode", "chatEnded", "secureKey"}


@pytest.mark.parametrize("told, living, over", [("true", None, True), ("never", None, None)])
def test_chat_ended_told_only_when_true_or_never(told, living, over):
    client = Client(service(chat_ended_told=told))
    assert client.first.get("chatEnded") is living and "chatEnded" not in client.ask(1.0)
    assert client.ask(2.0, "Disconnect").get("chatEnded") is over


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("bare", {"statusCode": 0}),
        (
            "null",
            {
                "statusCode": 0,
                "chatEnded": None,
                "alias": None,
                "secureKey": None,
                "userId": None,
                "messages": None,
            },
        ),
    ],
)
def test_a_disconnect_is_answered_with_its_status_alone(mode, expected):
    client = Client(service(disconnect_answer=mode))
    assert client.ask(1.0, "Disconnect", position="1") == expected
    assert client.ask(2.0, "Disconnect") == expected and client.ask(3.0)["chatEnded"] is True
    assert Client(service(disconnect_answer=mode)).ask(1.0, "Disconnect", secure_key="wrong")["statusCode"] == 2


def test_an_end_is_told_without_its_transcript():
    client = Client(service(end_transcript=False))
    assert kinds(client.ask(1.0, position="1"))
    over = client.ask(TIMEOUT + 2, position="1")
    assert status(over) == (0, True) and over["messages"] == []
    assert Client(service(end_transcript=False)).ask(1.0, "Disconnect", position="1")["messages"] == []


def test_a_held_request_is_answered_in_the_same_shape():
    chats = service(long_poll_s=3.0, answer_fields="sparse", chat_ended_told="true")
    client = Client(chats)
    held = client.answer(1.0, position="2").held
    assert chats.resume(4.0, held).payload == {"statusCode": 0}


# -- restarts, late and repeated requests ------------------------------------------------------


def faulty(*faults, **changes):
    chats = ChatService(
        SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT, agents=False, idle_alert_s=0.0, **changes), FaultPlan(faults)
    )
    chats.start_at(0.0)
    return chats


def test_a_restart_loses_every_chat_at_its_instant_and_none_is_known_afterwards():
    chats = faulty(Fault("restart", from_s=4.0, until_s=6.0), error_8201=True)
    client = Client(chats)
    gone = Client(chats)
    gone.ask(1.0, "Disconnect")
    client.ask(3.0)
    assert chats.live_sessions == 1
    chats.sweep(4.5)
    assert chats.live_sessions == 0 and not chats.limits.users
    assert client.answer(5.0).silence is NoAnswer.CLOSED and chats.is_down(5.999) and not chats.is_down(6.0)
    assert codes(client.ask(6.0)) == [8201] and codes(gone.ask(6.0)) == [8201]
    row = client.row(7.0)
    assert (row["end_reason"], row["ended_at"], len(row["contacts"])) == ("restarted", 4.0, 2)
    assert gone.row(7.0)["end_reason"] == "disconnected"
    assert Client(chats, at=7.0).chat_id not in (client.chat_id, gone.chat_id)


def test_a_chat_that_had_expired_before_a_restart_is_not_restarted():
    chats = faulty(Fault("restart", from_s=12.0, until_s=12.0))
    client = Client(chats)
    client.ask(13.0)
    row = client.row(14.0)
    assert (row["end_reason"], row["ended_at"], row["late_contact_at"]) == ("expired", 10.0, 13.0)


def test_a_restart_goes_before_other_faults_and_without_an_end_is_for_ever():
    chats = faulty(Fault("status_1"), Fault("restart", from_s=4.0))
    assert chats.draw(3.0, "GetMessages").kind == "status_1"
    assert chats.draw(4.0, "GetMessages").kind == "restart" and chats.is_down(1e9)


def test_a_request_under_way_when_the_service_goes_down_is_cut_off_and_a_new_one_is_refused():
    chats = faulty(Fault("restart", from_s=4.0))
    client = Client(chats)
    cut, refused = client.answer(5.0), client.answer(5.0, fault=chats.draw(5.0, "GetMessages"))
    assert (cut.silence, refused.silence) == (NoAnswer.CLOSED, NoAnswer.REFUSED)


def test_a_held_request_is_cut_off_by_a_restart():
    chats = faulty(Fault("restart", from_s=4.0, until_s=5.0), long_poll_s=8.0)
    client = Client(chats)
    held = client.answer(1.0, position="2").held
    woken = []
    held.wake = lambda: woken.append(True)
    assert chats.hold_due(held) == 4.0
    assert chats.resume(4.0, held).silence is NoAnswer.CLOSED and woken
    assert client.row(6.0)["ended_at"] == 4.0


def test_windows_of_restarts_count_from_the_first_request_and_no_earlier():
    chats = ChatService(SimulatorConfig(), FaultPlan([Fault("restart", from_s=2.0, until_s=3.0)]))
    chats.sweep(900.0)
    assert not chats.is_down(900.0)
    Client(chats, at=1000.0)
    assert not chats.is_down(1001.9) and chats.is_down(1002.0) and not chats.is_down(1003.0)


@pytest.mark.parametrize("delay", [0.0, 2.5])
def test_a_repeated_message_is_said_twice(delay):
    client = Client(faulty())
    answer = client.answer(1.0, "SendMessage", message="hi", fault=Fault("duplicate", delay_s=delay))
    assert answer.payload["statusCode"] == 0
    assert [event["utcTime"] - EPOCH_MS for event in client.transcript(5.0)] == [0, 1000, 1000 + int(delay * 1000)]
    assert [at for at, _ in client.row(5.0)["contacts"]][1:] == [1.0, 1.0 + delay, 5.0]


def test_a_request_that_arrives_again_after_the_end_is_a_late_contact():
    client = Client(faulty())
    client.answer(1.0, "GetMessages", fault=Fault("duplicate", delay_s=3.0))
    client.ask(2.0, "Disconnect")
    assert client.row(3.0)["late_contact_at"] is None and client.row(5.0)["late_contact_at"] == 4.0


def test_an_opening_that_arrives_twice_opens_two_chats():
    chats = faulty()
    chats.process(0.0, "RequestChat", None, {"nickname": "Ann"}, Fault("duplicate", delay_s=1.0))
    assert [row["started_at"] for row in chats.ledger_rows(2.0)] == [0.0, 1.0]


@pytest.mark.parametrize("reaches, delay, contacts", [(False, 0.0, []), (True, 0.0, [1.0]), (True, 3.0, [4.0])])
def test_a_lost_request_is_never_answered_and_arrives_never_or_late(reaches, delay, contacts):
    client = Client(faulty())
    answer = client.answer(1.0, fault=Fault("lost", reaches=reaches, delay_s=delay))
    assert answer.silence is NoAnswer.LOST and answer.payload is None
    assert [at for at, _ in client.row(5.0)["contacts"]][1:] == contacts


def test_what_arrives_late_finds_nobody_while_the_service_is_down():
    client = Client(faulty(Fault("restart", from_s=3.0, until_s=6.0)))
    client.answer(1.0, "SendMessage", message="a", fault=Fault("lost", reaches=True, delay_s=4.0))
    assert client.row(8.0)["late_contact_at"] is None


def test_a_repeated_poll_is_not_held():
    chats = faulty(long_poll_s=5.0)
    client = Client(chats)
    client.answer(1.0, position="2", fault=Fault("duplicate", delay_s=1.0))
    assert client.row(4.0)["contacts"] == [[0.0, "RequestChat"], [1.0, "GetMessages"], [2.0, "GetMessages"]]


def test_a_chat_goes_on_after_2_false():
    client = Client(faulty())
    assert status(client.answer(1.0, fault=Fault("status_2_open")).payload) == (2, False)
    assert status(client.ask(2.0)) == (0, False)
