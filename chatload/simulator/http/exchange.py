"""One request to the simulator's shell and the answer to it, and what answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from chatload.simulator.http.protocol import Connection

_NO_BODY_LIMIT = 1 << 62


class Handler(Protocol):
    """What answers requests. What raises is answered with 500."""

    def head(self, exchange: Exchange) -> None:
        """A request's headers are there: answer it already, or set how much body it may bring."""

    def whole(self, exchange: Exchange) -> None:
        """All of it is there, in as many bytes as it may have: answer it, now or `later`."""

    def too_long(self, exchange: Exchange) -> None:
        """Its body is longer than it may be: answer it."""


class Exchange:
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

    def __init__(self, connection: Connection, headers: dict[bytes, bytes]) -> None:
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
