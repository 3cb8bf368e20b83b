"""Connections that chats share, as they do behind a reverse proxy: a chat has one for each call only."""

from __future__ import annotations

import time
import weakref

from gevent.lock import BoundedSemaphore

from chatload.protocol.wire import Detail, WireRequest, WireResult
from chatload.swarm.connection import Connection
from chatload.swarm.lean import Heads, LeanTransport
from chatload.swarm.transport import Clock, Endpoint


class Pool:
    """At most `most` connections; a call that finds none free waits its turn. They are closed when it goes."""

    def __init__(self, most: int) -> None:
        self._turns = BoundedSemaphore(most)
        self._idle: list[Connection] = []
        # The loop knows an open connection and would keep it; a process that ends closes them anyway.
        weakref.finalize(self, _close, self._idle).atexit = False

    def enter(self, timeout_s: float) -> bool:
        """Wait for a turn, so long at most; whether it came. Then `leave` has to be called."""
        return bool(self._turns.acquire(timeout=timeout_s))

    def kept(self) -> Connection | None:
        """The connection that was used last, None where there is none to use again."""
        return self._idle.pop() if self._idle else None

    def leave(self, connection: Connection | None) -> None:
        """The turn is over. connection: one that can be used again."""
        if connection is not None:
            self._idle.append(connection)
        self._turns.release()


def _close(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


class SharedTransport(LeanTransport):
    """The lean transport of one chat, over connections that it shares with others (see Transport).

    Cookies stay the chat's own. What a call waits for its turn is the generator's own lateness.
    """

    __slots__ = ("_pool",)

    def __init__(self, endpoint: Endpoint, heads: Heads, pool: Pool, clock: Clock = time.monotonic) -> None:
        super().__init__(endpoint, heads, clock)
        self._pool = pool

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer within timeout_s seconds in all, its turn included."""
        begun = self._clock()
        if not self._pool.enter(timeout_s):
            now = self._clock()
            return WireResult(None, now, failure="timeout", detail=Detail.NO_TURN, waited_s=now - begun)
        waited_s = self._clock() - begun
        self._connection = self._pool.kept()
        try:
            result = super().call(request, timeout_s - waited_s)
        finally:
            connection, self._connection = self._connection, None
            self._pool.leave(connection)
        result.waited_s = waited_s
        return result
