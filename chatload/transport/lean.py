"""The lean transport: HTTP/1.1 with keep-alive on `ClientConnection`, one per chat or a few that all chats share.

It follows no redirects, asks for no compression, uses no proxies, and sends a request twice only by the rule of
WireRequest.repeatable: what it reports is what happened on the wire.
"""

import time
import weakref
from collections import deque
from ssl import SSLEOFError, SSLError, SSLZeroReturnError

from gevent import get_hub

from chatload.protocol.wire import Detail, Failure, WireRequest, WireResult
from chatload.transport.connection import ClientConnection, GreenletWaiter, NothingSentError, connect
from chatload.transport.endpoint import Endpoint, detail_of
from chatload.transport.http_messages import AnswerParser, CallFailed, SharedHeads, Whole, keep_cookies

#: How a connection shows that the server closed it.
_CLOSED = frozenset({Detail.CLOSED, Detail.RESET})
_STALE = Detail.STALE  # an attribute of an enum is slower than a global
#: Reads after the deadline: at most 256 KB of an answer that had already arrived. A server may send without end.
_MAX_LATE_READS = 64


class LeanTransport:
    """The HTTP client of one chat (see Transport): its cookies, its serialized request and its connection.

    heads: shared by all chats of the process. connection: the open one, None if there is none.
    """

    __slots__ = (
        "_answer", "_clock", "_cookie_line", "_cookies", "_endpoint", "_heads", "_message", "_request", "connection",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, heads: SharedHeads) -> None:
        self._endpoint, self._heads, self._clock = endpoint, heads, endpoint.clock
        self.connection: ClientConnection | None = None
        self._request: WireRequest | None = None
        self._message = b""
        self._cookies: dict[bytes, bytes] = {}
        self._cookie_line = b""
        #: An answer that is not complete yet.
        self._answer: AnswerParser | None = None

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        if request is not self._request:
            self._request, self._message = request, self._heads.message(request, self._cookie_line)
        begun = self._clock()
        deadline = begun + timeout_s
        result = self._exchange(begun, deadline)
        if result.detail is not _STALE or (result.sent_at is not None and not request.repeatable):
            return result
        second = self._exchange(self._clock(), deadline)
        if result.sent_at is not None:
            second.sent_at, second.connect_s, second.resent = result.sent_at, result.connect_s, True
        return second

    def _exchange(self, begun: float, deadline: float) -> WireResult:
        clock, connection = self._clock, self.connection
        sent_at: float | None = None
        connect_s = 0.0
        kept = connection is not None and connection.is_good()
        try:
            if connection is None or not kept:
                self.close()
                connection = self.connection = connect(self._endpoint, deadline - begun)
                connection.opened_at = clock()
                connect_s = connection.opened_at - begun
            connection.busy = True
            sent_at = clock()
            connection.send(self._message, deadline)
            (head, body), received_at = self._receive(connection, clock(), deadline)  # sending may have taken long
            connection.busy = False
            if head.set_cookies is not None:
                self._cookie_line = keep_cookies(self._cookies, head.set_cookies)
                self._request = None
            result = WireResult(sent_at, received_at, connect_s, head.status, body)
            result.connected_at = connection.opened_at
            if not head.keep_alive:
                self.close()
            return result
        except NothingSentError as error:
            result = self._failed(error.__cause__, None, connect_s, kept)
        except (OSError, CallFailed) as error:
            result = self._failed(error, sent_at, connect_s if sent_at is not None else clock() - begun, kept)
        except BaseException:
            self.close()
            raise
        self.close()
        return result

    def _receive(self, connection: ClientConnection, now: float, deadline: float) -> tuple[Whole, float]:
        """Read until the answer is complete; return it with the time of the read that completed it.

        After the deadline, data that has already arrived is still read: an answer that arrived while this process was
        stalled is an answer, not a timeout.
        """
        clock, cache = self._clock, self._heads.answers
        answer: AnswerParser | None = None
        late_reads = 0
        while True:
            if now < deadline:
                connection.wait_for_more(deadline, now)
            elif late_reads < _MAX_LATE_READS and connection.is_readable():
                late_reads += 1
            else:
                raise CallFailed("timeout", Detail.WAITING)
            data = connection.take()
            now = clock()
            if data is None:
                continue  # no application data in it, or the timer fired
            if answer is None:
                if data and (whole := cache.read(data)) is not None:
                    return whole, now
                answer = self._answer = AnswerParser()
            if data:
                answer.feed(data)
            else:
                answer.end()
            if answer.done:
                whole = answer.result()
                self._answer = None
                cache.learn(data, answer, whole)
                return whole, now

    def _failed(self, error: BaseException | None, sent_at: float | None, connect_s: float, kept: bool) -> WireResult:
        failed_at, answer = self._clock(), self._answer
        started = answer is not None and answer.begun
        failure: Failure = "connection"
        if isinstance(error, CallFailed):
            failure, detail = error.failure, error.detail
        elif isinstance(error, TimeoutError) and error.errno is None:
            failure = "timeout"
            detail = Detail.CONNECTING if sent_at is None else Detail.WAITING
        elif sent_at is not None and isinstance(error, SSLEOFError | SSLZeroReturnError):
            detail = Detail.CUT_SHORT if started else Detail.CLOSED
        elif started and not isinstance(error, SSLError) and sent_at is not None:
            detail = Detail.CUT_SHORT
        else:
            detail = detail_of(error) if isinstance(error, OSError) else Detail.FAILED
        if kept and (answer is None or not answer.head_bytes) and detail in _CLOSED:
            detail = Detail.STALE
        return WireResult(sent_at, failed_at, connect_s, failure=failure, detail=detail)

    def close(self) -> None:
        """Close the connection and drop an incomplete answer. A later call opens a new connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.release()


class ConnectionPool:
    """At most `size` connections. Calls wait in a queue, first in, first out.

    The connections are closed when nothing refers to the pool any more.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._queue: deque[GreenletWaiter] = deque()
        self._idle: list[ClientConnection] = []
        # The event loop refers to open connections and would keep them alive. At exit the system closes them.
        weakref.finalize(self, _close, self._idle).atexit = False

    def acquire(self, timeout_s: float) -> bool:
        """Return whether the caller got a connection within `timeout_s` seconds. If so, it has to call `release`."""
        if self._free:  # then the queue is empty: `release` passes a connection directly to the next call
            self._free -= 1
            return True
        call = GreenletWaiter()
        self._queue.append(call)
        try:
            call.wait_until(time.monotonic() + timeout_s)
        except BaseException as error:
            # `release` removes a call from the queue, maybe in the loop iteration in which its time is over.
            served = call not in self._queue
            if not served:
                self._queue.remove(call)
            if isinstance(error, TimeoutError):
                return served
            if served:
                self.release(None)
            raise
        return True

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
        get_hub().loop.run_callback(self._queue.popleft().wake)


def _close(connections: list[ClientConnection]) -> None:
    for connection in connections:
        connection.close()


class SharedTransport:
    """The HTTP client of one chat over the connections of a pool (see Transport), as behind a reverse proxy.

    Each chat keeps its own cookies. The time that a call waits for a connection counts as lateness of the generator.
    """

    __slots__ = ("_clock", "_lean", "_pool")

    def __init__(self, endpoint: Endpoint, heads: SharedHeads, pool: ConnectionPool) -> None:
        self._lean, self._pool, self._clock = LeanTransport(endpoint, heads), pool, endpoint.clock

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Wait for a connection, send the request and read its answer, within `timeout_s` seconds in all."""
        begun, lean = self._clock(), self._lean
        if not self._pool.acquire(timeout_s):
            now = self._clock()
            return WireResult(None, now, failure="timeout", detail=Detail.NO_TURN, waited_s=now - begun)
        waited_s = self._clock() - begun
        try:
            lean.connection = self._pool.take_idle()
            result = lean.call(request, timeout_s - waited_s)
        finally:
            self._pool.release(lean.connection)
            lean.connection = None
        result.waited_s = waited_s
        return result

    def close(self) -> None:
        """Do nothing: the connections belong to the pool."""
