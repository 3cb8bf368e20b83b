"""The shared transport: chats share a few connections, as they do behind a reverse proxy."""

from __future__ import annotations

import time
import weakref
from collections import deque

from gevent import get_hub

from chatload.protocol.wire import Detail, WireRequest, WireResult
from chatload.transport.base import Clock
from chatload.transport.connection import ClientConnection, GreenletWaiter
from chatload.transport.endpoint import Endpoint
from chatload.transport.http_messages import SharedHeads
from chatload.transport.lean import HttpClient


class _QueuedCall(GreenletWaiter):
    """A call that waits for a connection. served: it has one."""

    __slots__ = ("served",)

    def __init__(self) -> None:
        super().__init__()
        self.served = False


class ConnectionPool:
    """At most `size` connections. Calls wait in a queue, first in, first out.

    The connections are closed when nothing refers to the pool any more.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._queue: deque[_QueuedCall] = deque()
        self._idle: list[ClientConnection] = []
        # The event loop refers to open connections and would keep them alive. At exit the system closes them.
        weakref.finalize(self, _close, self._idle).atexit = False

    def acquire(self, timeout_s: float) -> bool:
        """Wait for a connection, at most `timeout_s` seconds; return whether the caller may use one.

        If so, the caller has to call `release`.
        """
        if self._free:  # then the queue is empty: `release` passes a connection directly to the next call
            self._free -= 1
            return True
        call = _QueuedCall()
        self._queue.append(call)
        try:
            call.wait_until(time.monotonic() + timeout_s)
        except TimeoutError:
            pass  # `release` may have served it in the same loop iteration
        except BaseException:
            if call.served:
                self.release(None)
            else:
                self._queue.remove(call)
            raise
        if not call.served:
            self._queue.remove(call)
        return call.served

    def take_idle(self) -> ClientConnection | None:
        """Return the most recently used idle connection, None if there is none: the caller then opens one."""
        return self._idle.pop() if self._idle else None

    def release(self, connection: ClientConnection | None) -> None:
        """End the use that `acquire` allowed. connection: one that can be used again."""
        if connection is not None:
            self._idle.append(connection)
        if not self._queue:
            self._free += 1
            return
        call = self._queue.popleft()
        call.served = True
        get_hub().loop.run_callback(call.wake)


def _close(connections: list[ClientConnection]) -> None:
    for connection in connections:
        connection.close()


class SharedTransport:
    """The HTTP client of one chat over the connections of a pool (see Transport).

    Each chat keeps its own cookies. The time that a call waits for a connection counts as lateness of the generator.
    """

    __slots__ = ("_client", "_clock", "_pool")

    def __init__(
        self, endpoint: Endpoint, heads: SharedHeads, pool: ConnectionPool, clock: Clock = time.monotonic
    ) -> None:
        self._client, self._pool, self._clock = HttpClient(endpoint, heads, clock), pool, clock

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Wait for a connection, send the request and read its answer, within `timeout_s` seconds in all."""
        begun = self._clock()
        if not self._pool.acquire(timeout_s):
            now = self._clock()
            return WireResult(None, now, failure="timeout", detail=Detail.NO_TURN, waited_s=now - begun)
        waited_s = self._clock() - begun
        connection = None
        try:
            result, connection = self._client.call(request, timeout_s - waited_s, self._pool.take_idle())
        finally:
            self._pool.release(connection)
        result.waited_s = waited_s
        return result

    def close(self) -> None:
        """Do nothing: the connections belong to the pool."""
