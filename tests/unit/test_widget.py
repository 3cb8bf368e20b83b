"""The persona `widget`, its customer and its chat, step by step."""

from dataclasses import replace

import pytest

from chatload.chat.script import Action, Customer, CustomerScript, Distribution, Extra
from chatload.random_numbers import SplitMix64
from tests.unit.placed_chat import ENDED, FINE, LOST, OK, QUIET, TIMEOUT, UNSUCCESSFUL, T, event, hold, opened, says


def fixed(value):
    return Distribution("fixed", value)


def customer(typing=4.0, hesitation=0.0, size=8.0):
    """A customer who began to think at 100 and starts to type at 101."""
    script = CustomerScript(
        chat_length=fixed(50.0), messages=fixed(2), think=fixed(1.0), typing=fixed(typing),
        hesitation=fixed(hesitation), message_bytes=fixed(size), waits_for_agent=False, answer_patience=fixed(20.0),
    )  # fmt: skip
    made = Customer(script, SplitMix64(1), drafts=True)
    made.begin(100.0)
    return made


def do(made, now):
    action = made.next()
    made.done(now, action)
    return action


def test_a_message_is_typed_and_sent():
    made = customer()
    assert do(made, 101.5) == Action(101.0, "StartTyping", "t")
    assert do(made, 105.5) == Action(105.5, "SendMessage", "the quic")
    assert made.next() == Action(126.5, "StartTyping", "t")


@pytest.mark.parametrize(
    ("hesitation", "now", "actions"),
    [
        (2.0, 101.0, [Action(107.0, "SendMessage", "the quic")]),
        (2.5, 101.0, [Action(107.0, "StopTyping"), Action(107.5, "SendMessage", "the quic")]),
        (2.5, 108.0, [Action(107.0, "StopTyping"), Action(108.0, "SendMessage", "the quic")]),
    ],
)
def test_who_hesitates_for_two_seconds_has_stopped_typing(hesitation, now, actions):
    made = customer(hesitation=hesitation)
    do(made, 101.0)
    assert do(made, now if now > 107.0 else 107.0) == actions[0]
    assert [made.next()] == actions[1:] or made.next().operation == "StartTyping"


@pytest.mark.parametrize(
    ("typing", "drafts"),
    [
        (4.0, {101.0: "t", 101.5: "t", 103.0: "the ", 103.25: "the q", 105.0: "the quic", 199.0: "the quic"}),
        (0.0, {101.0: "the quic"}),
        (0.5, {101.25: "the "}),
    ],
)
def test_the_draft_is_what_was_typed_so_far(typing, drafts):
    made = customer(typing=typing)
    assert made.draft(100.5) == ""
    do(made, 101.0)
    assert {now: made.draft(now) for now in drafts} == drafts
    do(made, 105.0)
    assert made.draft(106.0) == ""


def test_the_draft_stands_until_it_is_sent():
    made = customer(hesitation=3.0)
    do(made, 101.0)
    do(made, 107.0)
    assert made.draft(107.5) == "the quic"
    do(made, 108.0)
    assert made.draft(108.5) == ""


def test_an_extra_changes_no_draft():
    made = customer()
    extra = Action(101.0, "PushUrl")
    made.extras.append(extra)
    do(made, 101.0)
    made.extras.append(extra)
    made.done(102.0, extra)
    assert made.draft(103.0) == "the "


TALK = CustomerScript(
    chat_length=fixed(10.0), messages=fixed(1), think=fixed(0.5), typing=fixed(4.0), hesitation=fixed(3.0),
    answer_patience=fixed(30.0), message_bytes=fixed(9.0), waits_for_agent=False,
)  # fmt: skip
INTRODUCTION = {
    "nickname": "chatload", "subject": "load test", "text": "", "user_data._genesys_source": "web",
    "user_data._genesys_referrer": "", "user_data._genesys_pageTitle": "chatload",
    "user_data._genesys_browser": "chatload", "user_data._genesys_OS": "chatload",
}  # fmt: skip


def test_the_draft_rides_on_refreshes_and_the_cursor_is_the_highest_position():
    message = event(7, "Message", "Agent", "2")
    placed = hold(opened(next_position=9), OK, OK, says(FINE, message, next_position=20), widget=True, script=TALK)
    assert placed.asked == [
        (0.0, "RequestChat", INTRODUCTION),
        (0.01, "GetMessages", {"position": "1"}),
        (0.51, "StartTyping", {"message": "t"}),
        (2.01, "GetMessages", {"position": "1", "message": "the "}),
        (4.01, "GetMessages", {"position": "8", "message": "the quic"}),
        (6.01, "GetMessages", {"position": "8", "message": "the quick"}),
        (6.52, "StopTyping", {}),
        (7.52, "SendMessage", {"message": "the quick", "position": "8"}),
        (8.01, "GetMessages", {"position": "8"}),
        (10.01, "Disconnect", {}),
    ]
    assert (placed.record.messages_sent, placed.record.messages_received) == (1, 1)


@pytest.mark.parametrize("answer", [says(UNSUCCESSFUL), says(TIMEOUT, took=0.5)])
def test_a_message_in_vain_is_not_sent_again(answer):
    placed = hold(opened(), *[OK] * 6, answer, widget=True, script=TALK)
    assert [o for _, o in placed.operations].count("SendMessage") == 1
    assert placed.record.messages_sent == 0


def test_while_requests_fail_the_customer_goes_on():
    placed = hold(
        opened(), OK, OK, says(UNSUCCESSFUL), says(UNSUCCESSFUL), says(UNSUCCESSFUL), widget=True, script=TALK
    )
    assert placed.operations[3:7] == [
        (2.01, "GetMessages"), (4.01, "GetMessages"), (6.01, "GetMessages"), (6.52, "StopTyping"),
    ]  # fmt: skip


def test_a_file_that_is_there_can_be_loaded():
    script = replace(QUIET, extras=(Extra("FileUpload", size=fixed(3)), Extra("FileDownload")))
    placed = hold(opened(), *[says(FINE, file_id="f1")] * 9, widget=True, script=script)
    files = [(o, fields) for _, o, fields in placed.asked if o.startswith("File")]
    assert files == [("FileUpload", {}), ("FileDownload", {"file_id": "f1"})]
    nothing = hold(opened(), widget=True, script=script)
    assert "FileDownload" not in [o for _, o in nothing.operations]
    later = hold(opened(), *[OK] * 3, says(FINE, file_id="f1"), widget=True, script=script)
    assert later.asked[-2][1:] == ("FileDownload", {"file_id": "f1"})


@pytest.mark.parametrize(("failures", "offline"), [(5, 0), (6, 1), (7, 1), (12, 1)])
def test_after_more_than_five_unsuccessful_requests_it_says_once_that_the_server_is_offline(failures, offline):
    script = replace(QUIET, chat_length=fixed(40.0))
    placed = hold(opened(), OK, *[says(UNSUCCESSFUL)] * failures, widget=True, script=script)
    assert placed.books.offline == offline
    longer = replace(QUIET, chat_length=fixed(90.0))
    twice = hold(opened(), *([OK, *[says(UNSUCCESSFUL)] * failures] * 2), widget=True, script=longer, timeout=60.0)
    assert twice.books.offline == 2 * offline


JOINED = event(1, "ParticipantJoined", "Client", "1", 5_000_003)


def we_left(ms):
    return event(5, "ParticipantLeft", "Client", "1", ms)


@pytest.mark.parametrize(
    ("answer", "verdict", "why", "confirmed", "at"),
    [
        (says(ENDED), "completed", "we disconnected and it was confirmed", False, 10.01),
        (says(ENDED, we_left(5_010_015)), "completed", "we disconnected and it was confirmed", True, 10.01),
        (says(ENDED, we_left(5_009_115)), "dropped_unproven",
         "the server's timestamp puts the end before our Disconnect", False, None),
        (says(FINE, told=False), "completed", "we disconnected and it was confirmed", False, 10.01),
        (says(FINE), "gave_up", "Disconnect was never confirmed", False, None),
        (says(LOST), "failed", "statusCode 2 to our Disconnect, though every refresh was in time", False, None),
        (says(UNSUCCESSFUL), "gave_up", "Disconnect was never confirmed", False, None),
        # It may arrive much later, when the chat is over.
        (says(TIMEOUT, took=1.0), "dropped_unproven",
         "Disconnect was never confirmed; it may have been dropped by then", False, None),
        (says(TIMEOUT, took=9.0, left=False), "gave_up", "Disconnect was never confirmed", False, None),
    ],
)  # fmt: skip
def test_it_disconnects_once_whatever_comes_of_it(answer, verdict, why, confirmed, at):
    placed = hold(opened(JOINED), *[OK] * 5, answer, widget=True)
    assert placed.operations[-2:] == [(8.01, "GetMessages"), (10.01, "Disconnect")]
    assert placed.exchanges[-1][1].reply is answer.reply
    record = placed.record
    assert (record.verdict, record.why, record.goodbye_confirmed) == (verdict, why, confirmed)
    assert record.goodbye_at == (at if at is None else pytest.approx(T + at))


def test_a_late_goodbye_is_booked_from_the_instant_it_was_due():
    placed = hold(opened(), *[OK] * 5, says(ENDED, late=1.5), widget=True)
    assert placed.record.lateness_max_s == 1.5
    stopped = hold(opened(), OK, says(ENDED), widget=True, stop_at=1.5)
    assert stopped.operations[-1] == (1.5, "Disconnect")
    assert (stopped.record.verdict, stopped.record.goodbye_confirmed) == ("cut_off", True)


def test_a_chat_lost_is_judged_as_it_was_then_and_drawn_so():
    late = hold(opened(JOINED), OK, says(LOST), *[says(LOST, late=1.5)] * 3, says(LOST), widget=True)
    assert late.record.verdict == "failed"
    assert (late.record.gap_upper_s, late.record.ended_at - T) == pytest.approx((2.01, 2.02))
    timeline = late.session.timeline()
    assert [round(c.received - T, 2) for c in timeline.contacts] == [0.01, 0.02, 2.02]
    assert timeline.shares["planned"] == pytest.approx(1.99) and timeline.shares["retries"] == 0
    assert (late.record.requests, late.record.failures) == (7, 5)


@pytest.mark.parametrize(
    ("goodbye", "verdict"),
    [(says(LOST), "failed"), (says(ENDED), "failed"), (OK, "gave_up"), (says(TIMEOUT), "failed")],
)
def test_only_a_success_takes_a_statuscode_2_back(goodbye, verdict):
    placed = hold(opened(), OK, OK, OK, OK, says(LOST), goodbye, widget=True)
    assert placed.operations[-1] == (10.01, "Disconnect")
    assert placed.record.verdict == verdict


def test_by_default_a_customer_does_not_hesitate():
    script = CustomerScript(waits_for_agent=False, messages=fixed(1), typing=fixed(4.0))
    made = Customer(script, SplitMix64(1), drafts=True)
    made.begin(100.0)
    do(made, 105.0)
    sending = made.next()
    assert sending.operation == "SendMessage" and sending.due == 109.0
