"""Guards against clients that never finish a request: what uvicorn has no setting for.

uvicorn bounds how long a connection may idle between requests (timeout_keep_alive), but neither how
long a request may take to arrive nor, with httptools, how long its headers may be; and its
limit_concurrency turns everyone away once half-open connections alone have reached it.
"""

from __future__ import annotations

import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
_IDLE, _HEAD, _BODY = 0, 1, 2


class Guard:
    """Knows the connections that are in the middle of sending a request, the longest at it first.

    read_timeout_s: from connecting, or a request's first byte, until its headers are whole; and from
    there until its body is. max_waiting: above this many such connections, the one longest at it goes.
    """

    def __init__(self, read_timeout_s: float, max_waiting: int) -> None:
        self.read_timeout_s, self.max_waiting = read_timeout_s, max_waiting
        self._waiting: dict[GuardedProtocol, float] = {}

    def note(self, protocol: GuardedProtocol, stage: int, now: float) -> None:
        """A connection has come to a stage."""
        self._waiting.pop(protocol, None)
        if stage != _IDLE:
            self._waiting[protocol] = now
            if len(self._waiting) > self.max_waiting:
                self._cut_oldest()

    def sweep(self, now: float) -> None:
        """Cut off every connection whose time is up; costs what is due."""
        while self._waiting and now - next(iter(self._waiting.values())) > self.read_timeout_s:
            self._cut_oldest()

    def _cut_oldest(self) -> None:
        protocol = next(iter(self._waiting))
        del self._waiting[protocol]
        protocol.cut()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which tells the guard where it is, and shows its transport to the app so that
    a connection can be broken. A request that comes in one piece costs the guard nothing."""

    def __init__(self, guard: Guard, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._guard = guard
        self._stage = self._noted = _IDLE
        self._head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """A client connected; until it sends something, that counts as headers that do not come."""
        super().connection_made(transport)
        self._stage = self._noted = _HEAD
        self._guard.note(self, _HEAD, self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._guard.note(self, _IDLE, 0.0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        before = self._stage
        super().data_received(data)
        stage = self._stage
        if stage == _HEAD:
            # What came with the end of another request counts only as a beginning.
            self._head_bytes += len(data) if before == _HEAD else 1
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large")
                return
        if stage != self._noted:
            self._noted = stage
            self._guard.note(self, stage, self.loop.time())

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._stage = _HEAD
        self._head_bytes = 0
        self.scope["chatload.transport"] = self.transport

    def on_headers_complete(self) -> None:
        """Its headers are whole."""
        self._stage = _BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._stage = _IDLE
        super().on_message_complete()

    def cut(self) -> None:
        """Close the connection, with an answer where that can only be this request's."""
        cycle = self.cycle
        if self._stage == _HEAD:
            answerable = self._head_bytes > 0 and (cycle is None or cycle.response_complete)
        else:
            answerable = not cycle.response_started and not self.pipeline
        if answerable:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)
            self.transport.close()


def raise_file_limit() -> int:
    """Let this process open as many files as it may; gives how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft
