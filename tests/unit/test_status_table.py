"""The seed's status table, row by row, then everything that is not in it."""

import orjson
import pytest

from chatload.protocol.names import ResponseNames
from chatload.protocol.reply import MOST_TEXT, Reply, classify, parse_body, read
from chatload.protocol.wire import MAX_BODY_BYTES, WireResult
from chatload.vocabulary import Outcome

NAMES = ResponseNames()


@pytest.mark.parametrize(
    ("status_code", "chat_ended", "outcome", "ended"),
    [
        # statusCode, chatEnded -> outcome, has the session ended?
        (0, False, "0/false", False),  # everything is fine
        (0, True, "0/true", True),  # the chat has ended; terminate the session
        (1, False, "1/false", False),  # the request was unsuccessful; retry
        (1, None, "1/false", False),
        (1, True, "1/true", False),  # cannot happen: counted, and handled as 1
        (2, False, "2", True),  # unrecoverable error; terminate the session
        (2, True, "2", True),
        (2, None, "2", True),
    ],
)
def test_table(status_code, chat_ended, outcome, ended):
    assert classify(status_code, chat_ended) == outcome
    assert Reply(outcome).ended is ended


@pytest.mark.parametrize(
    "body", [b'{"statusCode":0}', b'{"statusCode":0,"chatEnded":null,"messages":null,"alias":null}']
)
def test_an_absent_or_null_chat_ended_is_as_it_was(body):
    reply = parse_body(NAMES, body)
    assert (reply.outcome, reply.ended, reply.told, reply.alias) == ("0/false", False, False, None)


@pytest.mark.parametrize(
    ("chat_ended", "still_open", "told"), [(False, True, True), (True, False, True), (None, False, False)]
)
def test_a_status_2_says_whether_the_chat_may_be_open(chat_ended, still_open, told):
    reply = parse_body(NAMES, orjson.dumps({"statusCode": 2, "chatEnded": chat_ended}))
    assert (reply.outcome, reply.ended, reply.still_open, reply.told) == ("2", True, still_open, told)


@pytest.mark.parametrize(
    ("errors", "codes", "code", "cause"),
    [
        ([{"code": 8209, "advice": "x"}], ("8209",), "8209", "inactivity"),
        ([{"code": "8210"}], ("8210",), "8210", "bad_key"),
        ([{"code": 202}, {"code": 8201}], ("202", "8201"), "8201", "unknown_session"),
        ([{"code": 7}, 1, {}, {"code": None}], ("7",), "", None),
        (None, (), "", None),
        ({"code": 8209}, (), "", None),
    ],
)
@pytest.mark.parametrize("status", [{"statusCode": 2, "chatEnded": True}, {"statusCode": 0, "chatEnded": True}])
def test_error_codes_name_the_cause_of_an_end(status, errors, codes, code, cause):
    reply = parse_body(NAMES, orjson.dumps({**status, "errors": errors, "monitored": True}))
    assert (reply.errors, reply.code, reply.cause, reply.monitored) == (codes, code, cause, True)


@pytest.mark.parametrize(("shown", "code", "cause"), [("4", "4", "participant"), (7, "7", "idle"), ("99", "99", None)])
def test_the_quit_reason_of_a_participant_who_left(shown, code, cause):
    event = {"index": 1, "type": "ParticipantLeft", "eventAttributes": {"GCTI_SYSTEM": {"quit-reason-code": shown}}}
    reply = parse_body(NAMES, orjson.dumps({"statusCode": 0, "chatEnded": True, "messages": [event]}))
    assert (reply.events[0].quit_reason, reply.events[0].cause) == (code, cause)


@pytest.mark.parametrize(
    ("status_code", "chat_ended", "outcome"),
    [
        ("0", False, "malformed"),
        (0.0, False, "malformed"),
        (False, False, "malformed"),
        (None, False, "malformed"),
        ([0], False, "malformed"),
        (0, "false", "malformed"),
        (0, 0, "malformed"),
        (3, False, "unknown_status"),
        (-1, True, "unknown_status"),
    ],
)
def test_not_in_the_table(status_code, chat_ended, outcome):
    """A category of its own, never one of the five rows; it does not end the session."""
    assert classify(status_code, chat_ended) == outcome
    assert not Reply(outcome).ended


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"", "malformed"),
        (b"<html><body>Bad gateway</body></html>", "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b"{}", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"statusCode":0,"chatEnded":false', "malformed"),
        (b'{"statusCode":0,"chatEnded":false,"messages":5}', "0/false"),
        (b'{"statusCode":0,"chatEnded":false,"messages":[1,{},{"type":3}]}', "0/false"),
        (b'{"statusCode":7,"chatEnded":false}', "unknown_status"),
        (b'{"statusCode":0,"chatEnded":false}' + b" " * MAX_BODY_BYTES, "malformed"),
        (b'"' + b"x" * 10_000_000 + b'"', "malformed"),
    ],
)
def test_bodies(body, outcome):
    assert parse_body(NAMES, body).outcome == outcome


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (WireResult(1.0, 2.0, http_status=500, body=b'{"statusCode":0,"chatEnded":false}'), "http_error"),
        (WireResult(1.0, 2.0, http_status=302), "http_error"),
        (WireResult(1.0, 2.0, http_status=204), "http_error"),
        (WireResult(1.0, 2.0, failure="timeout"), "timeout"),
        (WireResult(None, 2.0, failure="connection"), "connection"),
        (WireResult(1.0, 2.0, failure="malformed"), "malformed"),
        (WireResult(1.0, 2.0, http_status=200, body=b'{"statusCode":2}'), "2"),
    ],
)
def test_transport_results(result, outcome):
    assert read(NAMES, result).outcome is Outcome(outcome)


def test_events_and_keys_are_read_and_neither_texts_nor_keys_are_in_a_repr():
    reply = parse_body(
        NAMES,
        b'{"statusCode":0,"chatEnded":false,"chatId":"c","userId":"u","secureKey":"k","alias":117,'
        b'"nextPosition":3,"messages":[{"from":{"nickname":"Ann","type":"Agent"},"index":2,'
        b'"type":"Message","utcTime":5,"text":"a secret"}]}',
    )
    assert (reply.chat_id, reply.user_id, reply.secure_key, reply.alias) == ("c", "u", "k", "117")
    assert reply.next_position == 3
    assert reply.events == ((2, "Message", "Agent", "Ann", 5, "", "", None, "a secret"),)
    assert "secret" not in repr(reply)
    assert "'k'" not in repr(reply)


LONG = "x" * (MOST_TEXT + 1)
FINE = {"statusCode": 0, "chatEnded": False}
EVENT = {"index": 1, "type": "Message", "from": {"type": "Agent", "nickname": "Bob", "participantId": "7"}}
TOO_LONG = [
    *({**FINE, name: LONG} for name in ("chatId", "userId", "secureKey", "alias")),
    {**FINE, "userData": {"file-id": LONG}},
    {**FINE, "messages": [{**EVENT, "type": LONG}]},
    *({**FINE, "messages": [{**EVENT, "from": {**EVENT["from"], name: LONG}}]} for name in EVENT["from"]),
    {"statusCode": 2, "errors": [{"code": LONG}]},
]


@pytest.mark.parametrize("payload", TOO_LONG)
def test_a_text_that_no_server_means_is_malformed_and_not_kept(payload):
    body = orjson.dumps(payload)
    assert parse_body(NAMES, body) == Reply(Outcome.MALFORMED, detail="a text is too long")
    bounded = parse_body(NAMES, body.replace(LONG.encode(), LONG[1:].encode()))
    assert bounded.outcome is not Outcome.MALFORMED


def test_the_text_of_a_message_is_not_kept_and_may_be_long():
    assert parse_body(NAMES, orjson.dumps({**FINE, "messages": [{**EVENT, "text": LONG}]})).outcome is Outcome.FINE
