"""Small tables of the protocol: which names clash, which addresses are one's own, what a transport need not say."""

import pytest

from chatload.protocol.decode import _pattern
from chatload.protocol.dialect import _clash
from chatload.protocol.encode import _is_number
from chatload.protocol.names import ResponseNames, get_in, put_in
from chatload.protocol.reply import parse_body, parse_payload
from chatload.protocol.wire import WireRequest, WireResult
from chatload.target import is_private


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (("a",), ("a",), True),
        (("a",), ("b",), False),
        (("a", "b"), ("a", "b"), True),
        (("a", "b"), ("a", "c"), False),
        # One is to hold text, and the other's object.
        (("a",), ("a", "b"), True),
        (("a", "b"), ("a", "b", "c"), True),
        (("b",), ("a", "b"), False),
        # A key may be any text.
        (("u", "{key}"), ("u", "x"), True),
        (("u", "{key}"), ("v", "x"), False),
        (("u[{key}]",), ("u[x]",), True),
        (("u[{key}]",), ("u[x",), False),
        (("u[{key}]",), ("v[x]",), False),
        (("u[{key}]",), ("u[{key}]",), True),
        (("u", "p{key}"), ("u", "px"), True),
        (("u", "p{key}"), ("u", "qx"), False),
        (("u", "{key}s"), ("u", "x"), False),
        (("u", "{key}"), ("u",), True),
    ],
)
def test_names_that_cannot_be_told_apart(one, other, clash):
    assert _clash(one, other) is _clash(other, one) is clash


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True), ("127.255.255.255", True), ("128.0.0.1", False), ("::1", True), ("::2", False),
        ("10.1.2.3", True), ("11.0.0.1", False), ("172.16.0.1", True), ("172.31.255.1", True), ("172.32.0.1", False),
        ("192.168.1.1", True), ("192.169.0.1", False), ("fc00::1", True), ("fdff::1", True), ("fe80::1%eth0", False),
        ("fd00::1%eth0", True), ("0.0.0.0", True), ("0.0.0.1", False), ("::", True), ("8.8.8.8", False),
        ("2001:4860:4860::8888", False), ("::ffff:10.0.0.1", True), ("::ffff:8.8.8.8", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("localhost", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_one_s_own(address, own):
    assert is_private(address) is own


def test_what_is_not_said_of_a_request_and_its_result():
    request = WireRequest("POST", "/", (), b"")
    assert request.repeatable is False
    result = WireResult(1.0, 2.0)
    assert (result.connect_s, result.http_status, result.body, result.failure, result.detail) == (0.0, 0, b"", None, "")
    assert (result.resent, result.waited_s, result.connected_at) == (False, 0.0, float("-inf"))


def test_names_lead_into_objects():
    data: dict = {"a": {"b": 1, "c": None}, "t": "x"}
    assert [get_in(data, name) for name in (("a", "b"), ("a", "c"), ("a", "d"), ("t", "x"), ("z",))] == [
        1, None, None, None, None,
    ]  # fmt: skip
    put_in(data, ("n", "m"), 2)
    put_in(data, ("a", "b"), 3)
    put_in(data, ("t",), 4)
    assert data == {"a": {"b": 3, "c": None}, "t": 4, "n": {"m": 2}}


@pytest.mark.parametrize(
    ("names", "plain"),
    [
        ({}, True),
        ({"chat_id": ("sessionId",)}, False),
        ({"event": {"index": ("number",)}}, False),
        ({"error": {"code": ("number",)}}, False),
        ({"event_types": {"Message": "text"}}, False),
        ({"senders": {"Agent": "agent"}}, False),
        ({"event_types": {"Message": "text"}, "senders": {"Agent": "agent"}}, False),
        ({"chat_id": ("chatId",)}, True),
        ({"quit_reasons": {}, "error_codes": {}}, True),
    ],
)
def test_an_answer_is_passed_through_only_where_every_name_is_ours(names, plain):
    assert ResponseNames(**names).plain is plain


def test_answers_with_other_names_are_read_as_ours():
    names = ResponseNames(chat_id=("session", "id"), event={"index": ("n",)}, error={"code": ("no",)})
    ours = {"chatId": "c", "messages": [{"index": 3}, 7], "errors": [{"code": "1"}], "x": 1}
    theirs = {"session": {"id": "c"}, "messages": [{"n": 3}, 7], "errors": [{"no": "1"}], "x": 1}
    assert names.from_wire(theirs) == ours
    assert names.to_wire(ours) == theirs
    assert parse_payload(names, {"statusCode": 0, "chatEnded": False, **theirs}).chat_id == "c"


@pytest.mark.parametrize(("size", "outcome"), [(4 * 2**20, "0/false"), (4 * 2**20 + 1, "malformed")])
def test_a_body_of_more_than_4_mib_is_not_read(size, outcome):
    body = b'{"statusCode":0,"chatEnded":false,"x":"'
    body += b"." * (size - len(body) - 2) + b'"}'
    assert (len(body), parse_body(ResponseNames(), body).outcome) == (size, outcome)


@pytest.mark.parametrize(
    ("text", "before", "after", "key"),
    [
        ("u[x]", "u[", "]", "x"), ("u[]", "u[", "]", ""), ("u[x", "u[", "]", None), ("v[x]", "u[", "]", None),
        ("a", "a", "a", None), ("aa", "a", "a", ""), ("aba", "ab", "ba", None), ("x", "", "", "x"),
        ("[custom_k_value]", "[custom_", "_value]", "k"),
    ],
)  # fmt: skip
def test_the_key_between_what_stands_around_it(text, before, after, key):
    match = _pattern(before + "{key}" + after, ".*", "key")(text)
    assert (match and match["key"]) == key


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        ({"statusCode": 0, "chatEnded": "x"}, "chatEnded is of the wrong type"),
        ({"statusCode": "0"}, "statusCode is missing or of the wrong type"),
        ({}, "statusCode is missing or of the wrong type"),
        ([], "body is not a JSON object"),
        ({"statusCode": 7}, "statusCode not in the table"),
        ({"statusCode": 0, "chatEnded": False}, ""),
        ({"statusCode": 0, "chatEnded": True}, "statusCode 0/true"),
        ({"statusCode": 1}, "statusCode 1/false"),
        ({"statusCode": 1, "chatEnded": True}, "statusCode 1/true"),
        ({"statusCode": 2}, "statusCode 2"),
    ],
)
def test_the_detail_of_an_answer(payload, detail):
    assert parse_payload(ResponseNames(), payload).detail == detail


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", True), ("7", True), ("123456789012345", True), ("1234567890123456", False), ("007", False), ("", False),
        ("-1", False), ("1.5", False), ("abc", False), ("1e5", False), ("\u0663", False), (" 7", False),
    ],
)  # fmt: skip
def test_what_is_written_as_a_number_in_json(text, number):
    assert _is_number(text) is number
