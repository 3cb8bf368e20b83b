"""Limits that a server or a file can meet: what is just within each, and what is just beyond."""

from __future__ import annotations

import json

import pytest

from chatload.chat.policy import RefreshClock
from chatload.errors import FileError
from chatload.protocol.names import ResponseNames
from chatload.protocol.reply import parse_body
from chatload.protocol.toml_file import parse_toml
from chatload.run.books import Books
from chatload.stats.rates import sessions_needed


@pytest.mark.parametrize(("length", "outcome"), [(4096, "0/false"), (4097, "malformed")])
@pytest.mark.parametrize("name", ["chatId", "userId", "secureKey", "alias"])
def test_a_text_has_4096_characters_at_most(name: str, length: int, outcome: str) -> None:
    body = json.dumps({"statusCode": 0, "chatEnded": False, name: "x" * length}).encode()
    reply = parse_body(ResponseNames(), body)
    assert reply.outcome == outcome
    assert reply.detail == ("" if length == 4096 else "a text is too long")


def test_eight_errors_are_read_at_most() -> None:
    errors = [{"code": str(n)} for n in range(1, 12)]
    reply = parse_body(ResponseNames(), json.dumps({"statusCode": 2, "errors": errors}).encode())
    assert reply.errors == tuple("12345678")
    mixed = [{"code": 8201}, 3, {"code": ""}, {"advice": "x"}, {"code": "8209"}]
    reply = parse_body(ResponseNames(), json.dumps({"statusCode": 1, "errors": mixed}).encode())
    assert (reply.errors, reply.code, reply.cause) == (("8201", "8209"), "8201", "unknown_session")


@pytest.mark.parametrize(
    ("body", "still_open", "monitored", "told"),
    [
        ({"statusCode": 2}, False, None, False),
        ({"statusCode": 2, "chatEnded": False}, True, None, True),
        ({"statusCode": 2, "chatEnded": True, "monitored": True}, False, True, True),
        ({"statusCode": 1, "chatEnded": False, "monitored": False}, False, False, True),
        ({"statusCode": 0, "chatEnded": True, "monitored": "yes"}, False, None, True),
        ({"statusCode": 0, "chatEnded": False, "monitored": True}, False, None, True),
    ],
)
def test_what_an_end_says_beside_its_code(body: object, still_open: bool, monitored: object, told: bool) -> None:
    reply = parse_body(ResponseNames(), json.dumps(body).encode())
    assert (reply.still_open, reply.monitored, reply.told) == (still_open, monitored, told)


@pytest.mark.parametrize(("dots", "refused"), [(100, False), (101, True)])
def test_a_name_in_a_file_has_100_dots_at_most(dots: int, refused: bool) -> None:
    text = ".".join(["a"] * (dots + 1)) + " = 1"
    if refused:
        with pytest.raises(FileError, match="more than 100 dots in one name"):
            parse_toml(text, "f.toml")
    else:
        assert "a" in parse_toml(text, "f.toml")


@pytest.mark.parametrize(("late_s", "late"), [(0.0999, 0), (0.1, 0), (0.1001, 1), (None, 0)])
def test_a_chat_is_late_that_begins_more_than_100_ms_after_its_time(late_s: float | None, late: int) -> None:
    books = Books()
    books.arrived(late_s)
    assert (books.arrivals, books.late_starts, books.not_started) == (1, late, late_s is None)


def test_sixteen_round_trips_are_remembered() -> None:
    clock = RefreshClock(0.0, 0.0)
    assert clock.tail() == 0.0
    clock.saw(9.0)
    for _ in range(15):
        clock.saw(1.0)
    assert clock.tail() == 9.0
    clock.saw(2.0)
    assert clock.tail() == 2.0


@pytest.mark.parametrize(("limit", "needed"), [(1e-8, 299_573_227), (3e-9, 998_577_423), (2.9e-9, None)])
def test_not_more_than_a_billion_samples_are_asked_for(limit: float, needed: int | None) -> None:
    found = sessions_needed(0, 0, limit)
    assert found == (needed if needed is None else pytest.approx(needed, rel=1e-6))
