"""Requests read by their known headers are what the parser would have made of them."""

import asyncio
from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatload.simulator.http.protocol import (
    HttpExchange,
    KnownHeaders,
    ServedConnection,
    ServerConnections,
    SlowClientGuard,
)

FORM = b"POST /chat/%d/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\na=%d"
LIMIT = 40


class ParserOnly(KnownHeaders):
    """Knows nothing, whatever it learns."""

    def read(self, connection, data):
        return None


class Seen:
    """A handler that notes what it was asked, and answers at once, or not at all."""

    def __init__(self):
        self.asked = []

    def head(self, exchange: HttpExchange) -> None:
        exchange.limit = LIMIT
        if exchange.path == "/no":
            exchange.reply(404, b"", b"no")

    def whole(self, exchange: HttpExchange) -> None:
        asked = (exchange.method, exchange.path, exchange.keep_alive, dict(exchange.headers), exchange.body)
        self.asked.append(asked)
        if exchange.path != "/wait":
            exchange.reply(200, b"", exchange.path.encode())


class Transport:
    """What is written to a client; it takes all."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def told(pieces, heads):
    """What a handler was asked, and what a client got, of bytes that came in these pieces."""

    async def run():
        shared, transport = ServerConnections(Seen(), SlowClientGuard(10.0, 100)), Transport()
        shared.heads, shared.starts = heads, {status: b"%d\r\n" % status for status in (200, 400, 404, 413, 431)}
        connection = ServedConnection(shared)
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
        return shared.handler.asked, transport.written, transport.closed

    return asyncio.run(run())


def request(line, *headers, body=b""):
    return b"\r\n".join((line, *headers, b"", body))


LINES = [
    b"POST /b/c%20d HTTP/1.1", b"POST /no HTTP/1.1", b"POST /wait HTTP/1.1", b"POST /a?b HTTP/1.1", b"POST * HTTP/1.1",
    b"POST  /a HTTP/1.1", b"POST /a HTTP/1.0", b"POST http://x/a HTTP/1.1", b"GET /a HTTP/1.1", b"PUT /a HTTP/1.1",
    b"POST /\xc3\xa4 HTTP/1.1", b"POST /a#b HTTP/1.1", b"post /a HTTP/1.1", b"POST /a HTTP/1.1\r\nFirst: 1",
]  # fmt: skip
HEADERS = [
    b"Host: x", b"Connection: close", b"Connection: keep-alive", b"Transfer-Encoding: chunked", b" folded",
    b"Expect: 100-continue", b"Upgrade: x", b"Connection: upgrade\r\nUpgrade: x", b"no colon", b"X: " + b"y" * 2000,
    b"Proxy-Connection: close", b"Content-Length: 4", b"Content-Length: 2", b"A: b\nContent-Length: 4",
    b"\r\nPOST /b HTTP/1.1\r\nHost: x",
]  # fmt: skip
BODIES = [b"", b"a=1", b"a=123", b"x" * 50, b"4\r\na=12\r\n0\r\n\r\n"]
LENGTHS = [
    b"", b"Content-Length: +4", b"Content-Length:  4 ", b"Content-Length: 3", b"Content-Length: 5",
    b"Content-Length: " + b"0" * 5000 + b"4",
]  # fmt: skip


def requests():
    """Requests with one thing odd about them, or two: line, header, body, length."""
    plain = (b"POST /a HTTP/1.1", None, b"a=12", None)
    odd = ([plain[0], *LINES], [None, *HEADERS], [plain[2], *BODIES], [None, *LENGTHS])
    for line, header, body, length in product(*odd):
        if sum(a is not b for a, b in zip((line, header, body, length), plain, strict=True)) <= 2:
            length_line = b"Content-Length: %d" % len(body) if length is None else length
            for headers in ((header, length_line), (length_line, header)):
                yield request(line, *filter(None, headers), body=body)


ODD = sorted(set(requests()))
good = st.builds(lambda chat, a: FORM % (chat, a), st.integers(1, 9), st.integers(10, 99))


def check(pieces):
    known = KnownHeaders()
    for piece in pieces:
        told([FORM % (1, 11), piece], known)  # what can be known is
    assert told(pieces, known) == told(pieces, ParserOnly())


def test_an_odd_request_is_answered_as_if_nothing_were_known():
    for message in ODD:
        check([FORM % (1, 11), message, FORM % (2, 22)])


@st.composite
def streams(draw):
    """Requests, some of them more than once, in pieces of one or several, cut anywhere."""
    pool = draw(st.lists(st.sampled_from(ODD) | good, min_size=1, max_size=3))
    pieces = [FORM % (1, 11)]  # nothing is looked up before a connection's second request
    for message in draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4)):
        cut = draw(st.integers(1, len(message))) if draw(st.integers(0, 4)) == 0 else 0
        together = draw(st.integers(0, 5)) == 0
        if together:
            pieces[-1] += message
        else:
            pieces += [message[:cut], message[cut:]]
    return [piece for piece in pieces if piece]


#: Its body is nearly as long as its head.
EVEN = request(b"POST /a HTTP/1.1", b"Host: x", b"Content-Length: 43", body=b"b" * 43)


@given(streams())
@example([FORM % (1, 11), EVEN, EVEN[:46], EVEN[46:]])
@example([FORM % (1, 11)] * 3 + [FORM % (2, 22) + FORM % (3, 33)])
@example([request(b"POST /a HTTP/1.1", b"Content-Length: 4", b"Content-Length: 4", body=b"a=12")] * 3)
@example([request(b"POST /wait HTTP/1.1", b"Content-Length: 4", body=b"a=12")] * 4)
@settings(max_examples=500, deadline=None)
def test_nobody_sees_that_headers_were_known(pieces):
    check(pieces)


def test_a_request_like_the_last_is_read_without_the_parser():
    heads, connection = KnownHeaders(), object()
    assert heads.read(connection, FORM % (2, 22)) is None
    told([FORM % (1, 11)] * 2, heads)  # of a connection's first request nothing is kept
    found = heads.read(connection, FORM % (2, 22))
    assert (found.path, found.body, found.whole, found.keep_alive) == ("/chat/2/refresh", b"a=22", True, True)
    assert heads.read(connection, FORM % (2, 22) + b"x") is None
    assert heads.read(connection, (FORM % (2, 22))[:-1]) is None


def test_a_line_that_ends_a_request_early_is_not_part_of_known_headers():
    heads, exchange = KnownHeaders(), HttpExchange(object(), {b"content-length": b"4"})
    exchange.body = b"a=12"
    heads.learn(exchange, b"POST /a HTTP/1.1\r\nHost: x\n\nPOST /b HTTP/1.1\r\nContent-Length: 4\r\n\r\na=12")
    assert not heads._known


def test_what_is_known_is_bounded():
    heads = KnownHeaders()
    odd = [b"POST /a HTTP/1.1\r\nX: %d\r\nContent-Length: 0\r\n\r\n" % number for number in range(2000)]
    told([FORM % (1, 11), *odd], heads)
    assert len(heads._known) == 512
