"""A ledger over HTTP from servers that do not send it whole: one line of error, in bounded time and memory."""

import itertools
import time

import pytest

from chatload.errors import FileError
from chatload.features.reconcile import ledger
from tests.integration.rawserver import RawServer, once

ROW = b'{"chat_id": "%d", "end_reason": "agent"}\n'
ROWS = b"".join(ROW % n for n in range(3))
CUT = ROWS[: len(ROW % 0)]  # at the end of the first line
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ROWS)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def read(server):
    return [row.chat_id for row in ledger.read(f"{server.url}/ledger")]


def refusal(server):
    with pytest.raises(FileError) as error:
        read(server)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert str(error.value).startswith(f"{server.url}/ledger: ")
    return str(error.value).removeprefix(f"{server.url}/ledger: ")


@pytest.mark.parametrize(
    "answer",
    [
        LENGTH + ROWS,
        CHUNKED + chunk(ROWS[:50]) + chunk(ROWS[50:]) + b"0\r\n\r\n",
        UNTIL_CLOSE + ROWS,
        UNTIL_CLOSE + b"\xef\xbb\xbf" + ROWS.rstrip(),
    ],
    ids=["length", "chunked", "until close", "byte order mark, no last line end"],
)
def test_ways_to_send_it_whole(answer):
    with RawServer(once(answer)) as server:
        assert read(server) == ["0", "1", "2"]


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        LENGTH + CUT,
        LENGTH + CUT[:-9],
        CHUNKED + chunk(CUT),
        CHUNKED + chunk(CUT) + b"2",
        CHUNKED + b"%x\r\n" % len(ROWS) + CUT,
    ],
    ids=["length", "length, in a line", "no last chunk", "in a chunk's size", "in a chunk"],
)
def test_one_that_is_cut_short_at_a_line_end_is_no_shorter_ledger(answer, reset):
    with RawServer(once(answer, reset=reset)) as server:
        told = refusal(server)
    assert told == "cannot be read (the answer was cut short)" or (reset and "reset" in told)


def flood(peer, _):
    peer.read()
    peer.send(CHUNKED + chunk(b'{"chat_id": "'))
    while peer.send(chunk(b"x" * 100_000)):
        pass


def rows_without_end(peer, _):
    peer.read()
    peer.send(UNTIL_CLOSE)
    for n in itertools.count():
        if not peer.send(ROW % n):
            return


def trickled(*before):
    """A server that sends `before` in one, then a digit now and then."""

    def script(peer, _):
        peer.read()
        peer.send(b"".join(before))
        while peer.send(b"1"):
            time.sleep(0.02)

    return script


def test_a_line_without_end():
    with RawServer(flood) as server:
        assert refusal(server) == "line 1: longer than 1048576 characters: no session's"


def test_more_than_any_server_has(monkeypatch):
    monkeypatch.setattr(ledger, "_MOST", 2**20)
    with RawServer(rows_without_end) as server:
        assert refusal(server) == "larger than 0.000977 GiB"


@pytest.mark.parametrize(
    "script",
    [
        trickled(),
        trickled(b"HTTP/1.1 200 OK\r\nX: "),
        trickled(LENGTH.replace(b"Length: ", b"Length: 99"), ROWS),
        trickled(CHUNKED, chunk(ROWS)),
        trickled(UNTIL_CLOSE, ROWS),
    ],
    ids=["status line", "head", "body", "chunk's size", "until close"],
)
def test_a_trickle_ends_at_a_total_deadline(monkeypatch, script):
    monkeypatch.setattr(ledger, "_TOTAL_S", 0.5)
    with RawServer(script) as server:
        assert refusal(server) == "cannot be read (not whole after 0.5 s)"


def test_a_file_of_one_line_without_end():
    with pytest.raises(FileError, match="/dev/zero: line 1: longer than"):
        list(ledger.read("/dev/zero"))
