"""HTTP/1.1 for the simulator: one connection, parsed by httptools, answered in order.

A request that can be answered at once is answered before `data_received` returns: no task, no future, no queue.
A task is made only if an answer has to wait. Requests that arrive behind one that waits (pipelining), or while
the client does not read, are queued, and nothing more is read meanwhile.

Answers are sent together, after everything received was read. If each was sent at once, it would wake a client, whose
next request would be read before anything else runs: with more than a thousand connections under full load the
timers of the event loop would be delayed by seconds.

Requests with known headers skip the parser, which makes one call per header. Requests of one client differ in path and
body; their headers are the same but for the body's length. So the headers that the parser read from a block are kept.
Of a whole request that arrives in one piece with a known block, only the first line and the length are read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from time import monotonic, time
from typing import Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url

_NO_BODY_LIMIT = 1 << 62


class HttpHandler(Protocol):
    """Answers requests. If a method raises, the request is answered with 500."""

    def head(self, exchange: HttpExchange) -> None:
        """The headers of a request are complete: answer it, or set the limit of its body."""

    def whole(self, exchange: HttpExchange) -> None:
        """The request is complete and within its limit: answer it, now or `later`."""


class HttpExchange:
    """One request and the answer to it.

    method, path (as received, percent-encoded), headers (names in lower case; of several with one name the last).
    limit: of the body (bytes). more: header lines added to any answer. place: for the handler's use. answered: nothing
    more may be sent. chunks: whether the client understands chunked bodies. gone: set if the handler waits for the
    client to hang up.
    """

    # Class attributes: most requests keep these defaults.
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

    def __init__(self, connection: ServedConnection, headers: dict[bytes, bytes]) -> None:
        self.connection, self.headers = connection, headers

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer the request; headers: whole lines. Ignored if the client is gone or has an answer already."""
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
        """Answer with 200 and a body in parts; each is taken once the client has read the ones before."""
        connection = self.connection
        head = connection.shared.start_of(200) + headers + self.more
        head += b"transfer-encoding: chunked\r\n" if self.chunks else b""
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

    def refuse(self, status: int, text: str, more: bytes = b"") -> None:
        """Answer with a text that says why the request is refused. more: header lines."""
        self.reply(status, b"content-type: text/plain; charset=utf-8\r\n" + more, text.encode())

    def drop(self) -> None:
        """Close the connection without an answer."""
        self.answered = True
        self.connection.abort()

    def later(self, answer: Awaitable[None]) -> None:
        """Answer the request in a task."""
        tasks = self.connection.shared.tasks
        task = asyncio.get_running_loop().create_task(self.connection.in_task(self, answer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def hangs_up(self) -> asyncio.Future[None]:
        """Return a future that is done once the client is gone."""
        if self.gone is None:
            self.gone = asyncio.get_running_loop().create_future()
            if self.connection.ending:
                self.gone.set_result(None)
        return self.gone


# -- slow clients ----------------------------------------------------------------------------------


MAX_HEAD_BYTES = 64 * 1024
#: Stage of a connection: between requests, in the headers of a request, in its body.
IDLE, HEAD, BODY = 0, 1, 2


class SlowClientGuard:
    """Ends connections whose requests do not complete, so that slow clients cannot use up all connections.

    read_timeout_s: limit from connecting, or the first byte of a request, until its headers are complete, and from
    there until its body is. max_waiting: above this many incomplete requests the oldest connection is ended.
    """

    def __init__(self, read_timeout_s: float, max_waiting: int) -> None:
        self.read_timeout_s, self.max_waiting = read_timeout_s, max_waiting
        self._waiting: dict[ServedConnection, float] = {}

    def note(self, connection: ServedConnection, stage: int, now: float) -> None:
        """Note the stage of a connection."""
        self._waiting.pop(connection, None)
        if stage != IDLE:
            self._waiting[connection] = now
            if len(self._waiting) > self.max_waiting:
                self._cut_oldest()

    def sweep(self, now: float) -> None:
        """End every connection whose time is over."""
        while self._waiting and now - next(iter(self._waiting.values())) > self.read_timeout_s:
            self._cut_oldest()

    def _cut_oldest(self) -> None:
        connection = next(iter(self._waiting))
        del self._waiting[connection]
        connection.cut()


# -- known headers ---------------------------------------------------------------------------------


#: Most header blocks kept, and the most bytes of each.
_MOST, _MOST_BYTES = 512, 1024
_first_line = re.compile(rb"POST (/[!-\"$->@-~]*) HTTP/1\.1\r\n").match
#: Headers with which the following bytes may be something else than a body of content-length.
_OTHERWISE = frozenset({b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade", b"expect"})


class KnownHeaders:
    """Keeps parsed header blocks: the headers of each, and the length of the body after it (bytes)."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[bytes, bytes], int]] = {}

    def read(self, connection: ServedConnection, data: bytes) -> HttpExchange | None:
        """Return the request in `data` if it is exactly one and its headers are known."""
        line = _first_line(data)
        if line is None:
            return None
        start = line.end()
        end = data.find(b"\r\n\r\n", start)
        headers, length = self._known.get(data[start:end], (None, 0))
        if end < 0 or headers is None or len(data) != end + 4 + length:
            return None
        exchange = HttpExchange(connection, headers)
        exchange.method, exchange.path, exchange.keep_alive = b"POST", line[1].decode(), True
        exchange.body, exchange.whole = data[end + 4 :], True
        return exchange

    def learn(self, exchange: HttpExchange, data: bytes) -> None:
        """Keep the headers of a request that was parsed, if `data` is exactly this request, with a line per header."""
        line, headers = _first_line(data), exchange.headers
        length = headers.get(b"content-length", b"")
        if line is None or not length.isdigit() or _OTHERWISE & headers.keys() or len(self._known) >= _MOST:
            return
        start = line.end()
        end = data.find(b"\r\n\r\n", start)
        block = data[start:end]
        body_bytes = len(exchange.body)
        alone = len(data) == end + 4 + body_bytes and block.count(b"\n") + 1 == len(headers)
        if alone and len(block) <= _MOST_BYTES:
            self._known[block] = headers, body_bytes


# -- connections -----------------------------------------------------------------------------------


#: A connection without a request for this long is closed (seconds).
KEEP_ALIVE_S = 600.0
#: Above this, the unsent bytes of a connection are sent at once.
_MUCH_BYTES = 64 * 1024


class ServerConnections:
    """The connections of a server, and what they share."""

    def __init__(self, handler: HttpHandler, guard: SlowClientGuard) -> None:
        self.handler, self.guard = handler, guard
        self.connections: set[ServedConnection] = set()
        self.now = monotonic()
        self.tasks: set[asyncio.Task[None]] = set()
        self._unsent: list[ServedConnection] = []
        self._second = 0
        self.starts: dict[int, bytes] = {}
        self.heads = KnownHeaders()

    def start_of(self, status: int) -> bytes:
        """Return the status line and date of an answer; `starts` caches them for one second."""
        phrase = HTTPStatus(status).phrase.encode()
        date = formatdate(time(), usegmt=True).encode()
        start = self.starts[status] = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (status, phrase, date)
        return start

    def has_unsent(self, connection: ServedConnection) -> None:
        """Schedule `send` of a connection after everything received has been read."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.append(connection)

    def tick(self, now: float) -> None:
        """Update the time and run the guard; to be called several times per second."""
        self.now = now
        self.guard.sweep(now)
        second = int(time())
        if second != self._second:
            self._second = second
            self.starts.clear()
            if second % 10 == 0:
                self.close_idle(now)

    def close_idle(self, now: float) -> None:
        """Close connections without a request for too long."""
        for connection in [one for one in self.connections if one.idle_since < now - KEEP_ALIVE_S]:
            connection.close_if_idle()

    async def stop(self, patience_s: float) -> None:
        """Close every connection; those that wait for an answer when it is sent, or after `patience_s`."""
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


class ServedConnection(asyncio.Protocol):
    """The connection of one client. ending: it is closed or closing; no more requests are accepted."""

    __slots__ = (
        "_current", "_full", "_head_bytes", "_in_line", "_incoming", "_noted", "_parser", "_room", "_stage",
        "_transport", "_unsent", "_url", "ending", "idle_since", "shared",
    )  # fmt: skip

    def __init__(self, shared: ServerConnections) -> None:
        self.shared = shared
        self.ending = self._full = False
        self.idle_since = shared.now
        #: The request to answer next, once its headers are complete; those queued behind it; the incoming one.
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
        """A client connected; until it sends something, it counts as sending headers."""
        self._transport: Any = transport
        self.shared.connections.add(self)
        self.shared.guard.note(self, HEAD, monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending = True
        self.shared.connections.discard(self)
        self.shared.guard.note(self, IDLE, 0.0)
        if self._current is not None and self._current.gone is not None and not self._current.gone.done():
            self._current.gone.set_result(None)
        self._make_room()
        # The parser and the requests refer to this connection: break the reference cycles.
        del self._parser
        self._current, self._in_line = None, []
        self._incoming = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
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
                # No upgrade is supported: the following bytes are the next request.
                self._new_parser()
                rest = rest[upgrade.args[0] :]
            except HttpParserError:
                self._refuse(400, "Invalid HTTP request received.")
                return
        stage = self._stage
        if before == stage == IDLE:
            self.shared.heads.learn(self._incoming, data)
        if stage == HEAD:
            # Bytes that arrived with the end of another request count as one byte.
            self._head_bytes += len(data) if before == HEAD else 1
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
                return
        if stage != self._noted:
            self._noted = stage
            self.shared.guard.note(self, stage, monotonic())

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._make_room()
        self._go_on()

    # -- the parser --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._stage = HEAD
        self._head_bytes = 0
        self._url = b""
        self._incoming = HttpExchange(self, {})

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._incoming.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The headers are complete. Raises for an invalid path; the parser turns that into its own error."""
        self._stage = BODY
        exchange, parser, url = self._incoming, self._parser, self._url
        exchange.method = parser.get_method()
        exchange.keep_alive = parser.should_keep_alive()
        if not exchange.keep_alive or b"connection" in exchange.headers:
            # A client of HTTP/1.0 needs an answer header to keep the connection; it gets none.
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
            exchange.refuse(413, f"at most {exchange.limit} bytes")

    def on_message_complete(self) -> None:
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
        """The answer to a request is complete."""
        self._current = None
        self.idle_since = self.shared.now
        if not exchange.keep_alive:
            self._close()

    async def in_task(self, exchange: HttpExchange, answer: Awaitable[None]) -> None:
        """Await the answer to a request, then start the queued ones."""
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
                exchange.refuse(413, f"at most {exchange.limit} bytes")
            if exchange.whole and not exchange.answered:
                handler.whole(exchange)
        except Exception as error:  # noqa: BLE001  # an error in our code must not look like a bad request
            self._failed(exchange, error)
        if b"expect" in exchange.headers and not exchange.whole and not exchange.answered:
            # Other expectations (RFC 9110 names none) are ignored.
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _go_on(self) -> None:
        """Start the queued requests, as far as they can be answered at once."""
        while self._in_line and self._current is None and not self._full and not self.ending:
            self._begin(self._in_line.pop(0))
        if not self._in_line and not self._full and not self.ending:
            self._transport.resume_reading()

    def _failed(self, exchange: HttpExchange, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "the simulator failed", "exception": error})
        exchange.keep_alive = False
        exchange.refuse(500, "Internal Server Error")

    # -- its end -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent soon."""
        if not self._unsent:
            self.shared.has_unsent(self)
            self._unsent = data
        else:
            self._unsent += data
            if len(self._unsent) > _MUCH_BYTES:
                self.send()

    def send(self) -> None:
        """Send all queued bytes now."""
        data, self._unsent = self._unsent, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    async def room(self) -> None:
        """Wait until the client has read enough; other connections run meanwhile."""
        self.send()
        await asyncio.sleep(0)
        if self._full and not self.ending:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def abort(self) -> None:
        """Close the connection at once."""
        self.ending = True
        self._transport.abort()

    def cut(self) -> None:
        """Close the connection; answer 408 if the answer can only belong to the incomplete request."""
        if self._stage == HEAD:
            answerable = self._head_bytes > 0 and self._current is None and not self._in_line
        else:
            answerable = self._current is self._incoming
        if answerable:
            self._refuse(408)
        else:
            self.abort()

    def stop(self) -> None:
        """Close the connection after the pending answer."""
        if self._current is None:
            self._close()
        else:
            self._current.keep_alive = False

    def close_if_idle(self) -> None:
        """Close the connection if no request is pending or incoming."""
        if self._current is None and self._stage == IDLE:
            self._close()

    def _close(self) -> None:
        self.ending = True
        self.send()
        self._transport.close()

    def _refuse(self, status: int, text: str = "") -> None:
        """Answer an invalid request; not if another answer is pending, which this one would be taken for."""
        if self.ending:
            return
        current = self._current
        if self._in_line or (current is not None and current.whole):
            self.abort()
            return
        exchange = HttpExchange(self, {})
        exchange.method, exchange.keep_alive = b"", False
        exchange.refuse(status, text)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _new_parser(self) -> None:
        self._parser = HttpRequestParser(self)
        # Bytes after a request that closes the connection are ignored, not an error.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
