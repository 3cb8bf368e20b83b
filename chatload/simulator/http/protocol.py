"""HTTP/1.1 for the simulator: one connection, parsed by httptools, answered in order.

A request that can be answered at once is answered before `data_received` returns: no task, no future, no queue.
A task is made only if an answer has to wait. Requests that arrive behind one that waits (pipelining), or while
the client does not read, are queued, and nothing more is read meanwhile.

Answers are sent together, after everything received was read. If each was sent at once, it would wake a client, whose
next request would be read before anything else runs: with more than a thousand connections under full load the
timers of the event loop would be delayed by seconds.

Requests with known headers skip the parser, which makes one call per header. Requests of one client differ in path and
body; their headers are the same but for the body's length. So what httptools made of a block of headers is kept. Of a
whole request that arrives in one piece with a known block, only the first line and the length are read.
"""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Coroutine, Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from time import monotonic, time
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

_NO_BODY_LIMIT = 1 << 62


class HttpHandler(Protocol):
    """What answers requests. What raises is answered with 500."""

    def head(self, exchange: HttpExchange) -> None:
        """A request's headers are there: answer it already, or set how much body it may bring."""

    def whole(self, exchange: HttpExchange) -> None:
        """All of it is there, in as many bytes as it may have: answer it, now or `later`."""

    def too_long(self, exchange: HttpExchange) -> None:
        """Its body is longer than it may be: answer it."""


class HttpExchange:
    """One request and the answer to it.

    method, path (as it came, percent-encoded), headers (names in lower case; of several of one name the last).
    limit: how many bytes its body may have. more: headers that go with whatever it is answered. place: what the
    handler notes of it. answered: nothing more may be sent. chunks: whether the client knows what chunks are. gone:
    set where someone waits for it to hang up.
    """

    # What most requests leave as it is stands here, once.
    body: bytes | bytearray = b""
    limit = _NO_BODY_LIMIT
    answered = whole = False
    chunks = True
    gone: asyncio.Future[None] | None = None
    more = b""
    place: Any = None

    method: bytes
    path: str
    keep_alive: bool

    def __init__(self, connection: ClientConnection, headers: dict[bytes, bytes]) -> None:
        self.connection, self.headers = connection, headers

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer it; headers: whole lines. Goes nowhere where the client is gone or has an answer already."""
        connection = self.connection
        if self.answered or connection.ending:
            return
        self.answered, shared = True, connection.shared
        connection.write(
            b"%b%b%bcontent-length: %d\r\n%b%b"
            % (
                shared.starts.get(status) or shared.start_of(status),
                headers,
                self.more,
                len(body),
                b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n",
                body if self.method != b"HEAD" else b"",
            )
        )
        connection.answered(self)

    async def stream(self, headers: bytes, parts: Iterator[bytes]) -> None:
        """Answer it with 200 and a body in parts, each taken once the client has read what came before."""
        connection = self.connection
        head = connection.shared.start_of(200) + headers + self.more
        if self.chunks:
            head += b"transfer-encoding: chunked\r\n"
        connection.write(head + (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"))
        if self.method != b"HEAD":
            for part in parts:
                connection.write(b"%x\r\n%b\r\n" % (len(part), part) if self.chunks else part)
                await connection.room()
                if connection.ending:
                    return
            if self.chunks:
                connection.write(b"0\r\n\r\n")
        self.answered = True
        connection.answered(self)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.answered = True
        self.connection.abort()

    def later(self, answer: Coroutine[Any, Any, None]) -> None:
        """Answer it in a task."""
        self.connection.shared.start(self.connection.in_task(self, answer))

    def hangs_up(self) -> asyncio.Future[None]:
        """Done once the client is gone."""
        if self.gone is None:
            self.gone = asyncio.get_running_loop().create_future()
            if self.connection.ending:
                self.gone.set_result(None)
        return self.gone


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent. Values come from here, or from the parser, which lets no end of line through."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


# -- slow clients ----------------------------------------------------------------------------------


MAX_HEAD_BYTES = 64 * 1024
#: Where a connection is: between requests, in a request's headers, in its body.
IDLE, HEAD, BODY = 0, 1, 2


class GuardedConnection(Protocol):
    """A connection, as the guard knows it."""

    def cut(self) -> None:
        """End it: its time is up."""


class SlowClientGuard:
    """Knows the connections that are in the middle of sending a request, the longest at it first.

    read_timeout_s: from connecting, or a request's first byte, until its headers are whole; and from
    there until its body is. max_waiting: above this many such connections, the one longest at it goes.
    """

    def __init__(self, read_timeout_s: float, max_waiting: int) -> None:
        self.read_timeout_s, self.max_waiting = read_timeout_s, max_waiting
        self._waiting: dict[GuardedConnection, float] = {}

    def note(self, connection: GuardedConnection, stage: int, now: float) -> None:
        """A connection has come to a stage."""
        self._waiting.pop(connection, None)
        if stage != IDLE:
            self._waiting[connection] = now
            if len(self._waiting) > self.max_waiting:
                self._cut_oldest()

    def sweep(self, now: float) -> None:
        """Cut off every connection whose time is up; costs what is due."""
        while self._waiting and now - next(iter(self._waiting.values())) > self.read_timeout_s:
            self._cut_oldest()

    def _cut_oldest(self) -> None:
        connection = next(iter(self._waiting))
        del self._waiting[connection]
        connection.cut()


def raise_file_limit() -> int:
    """Let this process open as many files as it may; gives how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft


# -- known headers ---------------------------------------------------------------------------------


#: So many header blocks are known at most, of so many bytes each at most.
_MOST, _MOST_BYTES = 512, 1024
_LINE = b"POST / HTTP/1.1\r\n"
_first_line = re.compile(rb"POST (/[!-\"$->@-~]*) HTTP/1\.1\r\n").match
#: Headers after which the bytes that follow may be something else than a body of content-length.
_OTHERWISE = frozenset({b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade", b"expect"})


class KnownHeaders:
    """What header blocks mean: each one's headers, and how long the body behind it is (bytes)."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[bytes, bytes], int]] = {}

    def read(self, connection: ClientConnection, data: bytes) -> HttpExchange | None:
        """The request that `data` is, where it is exactly one, and its headers are known."""
        line = _first_line(data)
        if line is None:
            return None
        start = line.end()
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            return None
        known = self._known.get(data[start:end])
        if known is None:
            self._learn(data[start:end])
            return None
        headers, length = known
        if len(data) != end + 4 + length:
            return None
        exchange = HttpExchange(connection, headers)
        exchange.method, exchange.path, exchange.keep_alive = b"POST", line[1].decode(), True
        exchange.body, exchange.whole = data[end + 4 :], True
        return exchange

    def _learn(self, block: bytes) -> None:
        if len(block) > _MOST_BYTES or len(self._known) >= _MOST:
            return
        headers = _Headers().of(block)
        length = headers.get(b"content-length", b"") if headers is not None else b""
        if headers is not None and length.isdigit() and not _OTHERWISE & headers.keys():
            self._known[block] = headers, int(length)


class _Headers:
    """What httptools makes of a header block."""

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._complete = False

    def of(self, block: bytes) -> dict[bytes, bytes] | None:
        """Names in lower case; None where it is no such block, or is over before its end."""
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(_LINE + block + b"\r\n")
            if self._complete:
                return None
            parser.feed_data(b"\r\n")
        except (HttpParserError, HttpParserUpgrade):
            return None
        return self._headers if self._complete else None

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """That was the last one."""
        self._complete = True


# -- connections -----------------------------------------------------------------------------------


#: A connection that sends no request for so long is closed (seconds).
KEEP_ALIVE_S = 600.0
#: What waits to be sent on one connection is sent at once above this (bytes).
_MUCH_BYTES = 64 * 1024


class ConnectionPool:
    """What all connections of a server have in common."""

    def __init__(self, handler: HttpHandler, guard: SlowClientGuard) -> None:
        self.handler, self.guard = handler, guard
        self.connections: set[ClientConnection] = set()
        self.now = monotonic()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent: list[ClientConnection] = []
        self._second = 0
        self.starts: dict[int, bytes] = {}
        self.heads = KnownHeaders()

    def connection(self) -> ClientConnection:
        """A protocol for one more connection."""
        return ClientConnection(self)

    def start_of(self, status: int) -> bytes:
        """An answer's status line and date; `starts` has those already made this second."""
        phrase = HTTPStatus(status).phrase.encode()
        date = formatdate(time(), usegmt=True).encode()
        start = self.starts[status] = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (status, phrase, date)
        return start

    def has_unsent(self, connection: ClientConnection) -> None:
        """Have a connection `send` once what has come is read."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(connection)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tick(self, now: float) -> None:
        """Time goes on: the guard looks around. To be called several times a second."""
        self.now = now
        self.guard.sweep(now)
        second = int(time())
        if second != self._second:
            self._second = second
            self.starts.clear()
            if second % 10 == 0:
                self.close_idle(now)

    def close_idle(self, now: float) -> None:
        """Close connections on which nothing is asked for too long."""
        for connection in [one for one in self.connections if one.idle_since < now - KEEP_ALIVE_S]:
            connection.close_if_idle()

    async def stop(self, patience_s: float) -> None:
        """Close every connection, those that wait for an answer once they have it or after `patience_s`."""
        for connection in list(self.connections):
            connection.stop()
        until = monotonic() + patience_s
        while self.connections and monotonic() < until:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.abort()

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        for connection in unsent:
            connection.send()


class ClientConnection(asyncio.Protocol):
    """One client's connection. ending: it is closed, or about to be: nothing more is taken from it."""

    __slots__ = (
        "_current", "_full", "_head_bytes", "_in_line", "_incoming", "_noted", "_parser", "_room", "_stage",
        "_transport", "_unsent", "_url", "ending", "idle_since", "shared",
    )  # fmt: skip

    def __init__(self, shared: ConnectionPool) -> None:
        self.shared = shared
        self.ending = self._full = False
        self.idle_since = shared.now
        #: The request whose answer is next, once its headers are there; those behind it; the one coming in.
        self._current: HttpExchange | None = None
        self._in_line: list[HttpExchange] = []
        self._incoming: HttpExchange = None  # type: ignore[assignment]  # the parser begins a message first
        self._room: asyncio.Future[None] | None = None
        self._stage = self._noted = HEAD
        self._head_bytes = 0
        self._url = self._unsent = b""
        self._new_parser()

    # -- the transport -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; until it sends something, that counts as headers that do not come."""
        self._transport: Any = transport
        self.shared.connections.add(self)
        self.shared.guard.note(self, HEAD, monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.ending = True
        self.shared.connections.discard(self)
        self.shared.guard.note(self, IDLE, 0.0)
        if self._current is not None and self._current.gone is not None and not self._current.gone.done():
            self._current.gone.set_result(None)
        self._make_room()
        # The parser, and requests, know this connection: without this they would keep one another.
        del self._parser
        self._current, self._in_line = None, []
        self._incoming = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        before, rest = self._stage, data
        if before == IDLE and self._current is None and not self._full and not self.ending:
            exchange = self.shared.heads.read(self, data)
            if exchange is not None:
                self._begin(exchange)
                return
        while rest:
            try:
                self._parser.feed_data(rest)
                break
            except HttpParserUpgrade as upgrade:
                # Nothing is upgraded to: what comes is the next request.
                self._new_parser()
                rest = rest[upgrade.args[0] :]
            except HttpParserError:
                self._refuse(b"400 Bad Request", b"Invalid HTTP request received.")
                return
        stage = self._stage
        if stage == HEAD:
            # What came with the end of another request counts only as a beginning.
            self._head_bytes += len(data) if before == HEAD else 1
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
                return
        if stage != self._noted:
            self._noted = stage
            self.shared.guard.note(self, stage, monotonic())

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        self._make_room()
        self._go_on()

    # -- the parser --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._stage = HEAD
        self._head_bytes = 0
        self._url = b""
        self._incoming = HttpExchange(self, {})

    def on_url(self, url: bytes) -> None:
        """Its address, or a piece of it."""
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Its headers are whole. Raises for an address that is none, which the parser makes an error of its own."""
        self._stage = BODY
        exchange, parser, url = self._incoming, self._parser, self._url
        exchange.method = parser.get_method()
        exchange.keep_alive = parser.should_keep_alive()
        if not exchange.keep_alive or b"connection" in exchange.headers:
            # A client of HTTP/1.0 that wants the connection kept would have to be told that it is.
            exchange.chunks = parser.get_http_version() == "1.1"
            exchange.keep_alive = exchange.keep_alive and exchange.chunks
        if not url.startswith(b"/") or b"?" in url or b"#" in url:
            url = parse_url(url).path or b"/"
        exchange.path = url.decode("ascii")
        if self._current is None and not self._in_line and not self._full and not self.ending:
            self._begin(exchange)
        else:
            self._in_line.append(exchange)
            if not self.ending:
                self._transport.pause_reading()

    def on_body(self, body: bytes) -> None:
        """Some of its body."""
        exchange = self._incoming
        if exchange.answered:
            return
        if not exchange.body:
            exchange.body = body
        else:
            if type(exchange.body) is bytes:
                exchange.body = bytearray(exchange.body)
            exchange.body += body
        if len(exchange.body) > exchange.limit:
            self.shared.handler.too_long(exchange)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._stage = IDLE
        exchange = self._incoming
        exchange.whole = True
        if type(exchange.body) is bytearray:
            exchange.body = bytes(exchange.body)
        if exchange is self._current:
            try:
                self.shared.handler.whole(exchange)
            except Exception as error:  # noqa: BLE001  # as in _begin
                self._failed(exchange, error)

    # -- one request after the other ---------------------------------------------------------------

    def answered(self, exchange: HttpExchange) -> None:
        """A request has its whole answer."""
        self._current = None
        self.idle_since = self.shared.now
        if not exchange.keep_alive:
            self._close()

    async def in_task(self, exchange: HttpExchange, answer: Coroutine[Any, Any, None]) -> None:
        """Let a request have its answer; then those behind it."""
        try:
            await answer
        except Exception as error:  # noqa: BLE001  # as in _begin
            self._failed(exchange, error)
        self._go_on()

    def _begin(self, exchange: HttpExchange) -> None:
        self._current = exchange
        handler = self.shared.handler
        try:
            handler.head(exchange)
            if exchange.body and len(exchange.body) > exchange.limit:
                handler.too_long(exchange)
            if exchange.whole and not exchange.answered:
                handler.whole(exchange)
        except Exception as error:  # noqa: BLE001  # a mistake of ours must not look like a bad request
            self._failed(exchange, error)
        if b"expect" in exchange.headers and not exchange.whole and not exchange.answered:
            # What else a client may expect (RFC 9110 names nothing else) is passed over.
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _go_on(self) -> None:
        """Start those in line, as far as they can be answered at once."""
        while self._in_line and self._current is None and not self._full and not self.ending:
            self._begin(self._in_line.pop(0))
        if not self._in_line and not self._full and not self.ending:
            self._transport.resume_reading()

    def _failed(self, exchange: HttpExchange, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "the simulator failed", "exception": error})
        exchange.keep_alive = False
        exchange.reply(500, b"content-type: text/plain; charset=utf-8\r\n", b"Internal Server Error")

    # -- its end -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, soon."""
        if not self._unsent:
            self.shared.has_unsent(self)
            self._unsent = data
        else:
            self._unsent += data
            if len(self._unsent) > _MUCH_BYTES:
                self.send()

    def send(self) -> None:
        """Send what there is now."""
        data, self._unsent = self._unsent, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    async def room(self) -> None:
        """Wait until the client has read enough of what was sent; others have their turn."""
        self.send()
        await asyncio.sleep(0)
        if self._full and not self.ending:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def abort(self) -> None:
        """Break it off."""
        self.ending = True
        self._transport.abort()

    def cut(self) -> None:
        """Close it, with an answer where that can only be the unfinished request's."""
        if self._stage == HEAD:
            answerable = self._head_bytes > 0 and self._current is None and not self._in_line
        else:
            answerable = self._current is self._incoming
        if answerable:
            self._refuse(b"408 Request Timeout")
        else:
            self.abort()

    def stop(self) -> None:
        """Close it, after the answer that is being waited for."""
        if self._current is None:
            self._close()
        else:
            self._current.keep_alive = False

    def close_if_idle(self) -> None:
        """Close it where no request is being answered or coming in."""
        if self._current is None and self._stage == IDLE:
            self._close()

    def _close(self) -> None:
        self.ending = True
        self.send()
        self._transport.close()

    def _refuse(self, status: bytes, text: bytes = b"") -> None:
        """Answer what is no request; where another is still being answered, that would be taken for its answer."""
        if self.ending:
            return
        current = self._current
        if self._in_line or (current is not None and current.whole):
            self.abort()
            return
        kind = b"content-type: text/plain; charset=utf-8\r\n" if text else b""
        head = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (status, kind, len(text))
        self.write(head + text)
        self._close()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _new_parser(self) -> None:
        self._parser = HttpRequestParser(self)
        # What comes behind a request that wants the connection closed is passed over, not an error.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
