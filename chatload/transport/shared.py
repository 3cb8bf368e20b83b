"""Connections that chats share, as they do behind a reverse proxy: a chat has one for each call only."""

from __future__ import annotations

import time
import weakref
from collections import deque

from gevent import get_hub

from chatload.protocol.wire import Detail, WireRequest, WireResult
from chatload.transport.connection import Connection
from chatload.transport.factory import Clock, Endpoint
from chatload.transport.lean import Heads, LeanTransport
from chatload.transport.parking import Parking


class _Place(Parking):
    """One call's place in the line. called: it has its turn."""

    __slots__ = ("called",)

    def __init__(self) -> None:
        super().__init__()
        self.called = False


class Pool:
    """At most `most` connections; a call that finds none free waits its turn, first come, first served. They are
    closed when it goes."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._line: deque[_Place] = deque()
        self._idle: list[Connection] = []
        # The loop knows an open connection and would keep it; a process that ends closes them anyway.
        weakref.finalize(self, _close, self._idle).atexit = False

    def enter(self, timeout_s: float) -> bool:
        """Wait for a turn, so long at most; whether it came. Then `leave` has to be called."""
        if self._free:  # then nobody is in line: a turn that is over goes straight to the next
            self._free -= 1
            return True
        place = _Place()
        self._line.append(place)
        try:
            place.wait_until(time.monotonic() + timeout_s)
        except TimeoutError:
            pass  # it may have been called all the same
        except BaseException:
            if place.called:
                self.leave(None)
            else:
                self._line.remove(place)
            raise
        if not place.called:
            self._line.remove(place)
        return place.called

    def kept(self) -> Connection | None:
        """The connection that was used last, None where there is none to use again."""
        return self._idle.pop() if self._idle else None

    def leave(self, connection: Connection | None) -> None:
        """The turn is over. connection: one that can be used again."""
        if connection is not None:
            self._idle.append(connection)
        if not self._line:
            self._free += 1
            return
        place = self._line.popleft()
        place.called = True
        get_hub().loop.run_callback(place.wake)


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
