"""Answers under other names: what is on the wire, and what a client reads out of it."""

import orjson
import pytest

from chatload.protocol.dialect import load_dialect
from chatload.protocol.reply import Event, parse_body, read_file
from chatload.protocol.wire import WireResult
from chatload.vocabulary import Outcome

GMS, WEBAPI = load_dialect("gms-v2").response, load_dialect("webapi").response
OURS = {
    "statusCode": 0,
    "chatEnded": False,
    "messages": [
        {
            "from": {"nickname": "Ann", "participantId": 1, "type": "Client"},
            "index": 1,
            "type": "ParticipantJoined",
            "utcTime": 1700000000000,
        },
        {
            "from": {"nickname": "sys", "participantId": 9, "type": "External"},
            "index": 2,
            "type": "Notice",
            "utcTime": 1700000001000,
            "text": "hi",
        },
    ],
    "nextPosition": 3,
    "alias": "117",
    "userId": "u",
    "secureKey": "s",
    "chatId": "c",
    "errors": [{"code": 201, "advice": "no"}],
    "userData": {"file-id": "f1"},
}
THEIRS = {
    "statusCode": 0,
    "chatEnded": False,
    "sessionId": "c",
    "credentials": {"userId": "u", "secureKey": "s"},
    "alias": "117",
    "scriptPosition": 3,
    "transcript": {
        "events": [
            {
                "party": {"nickName": "Ann", "partyId": 1, "partyType": "CLIENT"},
                "eventId": 1,
                "eventType": "PARTY_JOINED",
                "timestamp": 1700000000000,
            },
            {
                "party": {"nickName": "sys", "partyId": 9, "partyType": "EXTERNAL"},
                "eventId": 2,
                "eventType": "Notice",
                "timestamp": 1700000001000,
                "messageText": "hi",
            },
        ]
    },
    "errors": [{"errorCode": 201, "errorText": "no"}],
    "userData": {"file-id": "f1"},
}
EVENTS = (
    Event(1, "ParticipantJoined", "Client", "Ann", 1700000000000, "1"),
    Event(2, "Notice", "External", "sys", 1700000001000, "9"),
)


def test_the_simulator_writes_the_dialects_names():
    assert WEBAPI.to_wire(OURS) == THEIRS


@pytest.mark.parametrize("names, payload", [(GMS, OURS), (WEBAPI, THEIRS)], ids=["gms-v2", "webapi"])
def test_a_client_reads_the_same_out_of_both(names, payload):
    reply = parse_body(names, orjson.dumps(payload))
    assert (reply.outcome, reply.ended, reply.events) == (Outcome.FINE, False, EVENTS)
    assert (reply.chat_id, reply.user_id, reply.secure_key, reply.alias) == ("c", "u", "s", "117")
    assert (reply.next_position, reply.file_id) == (3, "f1")


def test_a_member_of_the_server_that_has_our_name_is_replaced():
    events = [{"from": "web", **event} for event in THEIRS["transcript"]["events"]]
    reply = parse_body(WEBAPI, orjson.dumps({**THEIRS, "transcript": {"events": events}}))
    assert (reply.outcome, reply.events) == (Outcome.FINE, EVENTS)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"transcript": []},
        {"transcript": 1, "statusCode": 0, "chatEnded": "false"},
        {"statusCode": {"a": 1}, "chatEnded": False},
        [],
        None,
    ],
)
def test_what_is_not_an_answer_is_malformed_under_any_names(payload):
    assert parse_body(WEBAPI, orjson.dumps(payload)).outcome is Outcome.MALFORMED


@pytest.mark.parametrize("events", [None, 1, [1, None, {}], {"events": 1}, {"events": [{"party": 1, "eventType": 2}]}])
def test_events_that_are_none_are_passed_over(events):
    payload = {"statusCode": 0, "chatEnded": False, "transcript": events}
    reply = parse_body(WEBAPI, orjson.dumps(payload))
    assert (reply.outcome, reply.events) == (Outcome.FINE, ())


@pytest.mark.parametrize(
    "status, body, outcome, ended",
    [
        (200, b"\x00\x01 a file", Outcome.FINE, False),
        (200, b"", Outcome.FINE, False),
        (200, b'{"some": "json"}', Outcome.FINE, False),
        (200, b'{"statusCode":1,"chatEnded":false,"messages":[]}', Outcome.UNSUCCESSFUL, False),
        (200, b'{"statusCode":2,"chatEnded":true}', Outcome.UNRECOVERABLE, True),
        (500, b"a file", Outcome.HTTP_ERROR, False),
    ],
)
def test_a_download_is_a_file_or_a_refusal(status, body, outcome, ended):
    reply = read_file(GMS, WireResult(0.0, 1.0, http_status=status, body=body))
    assert (reply.outcome, reply.ended) == (outcome, ended)
