"""The lean transport: HTTP/1.1 with keep-alive on `ClientConnection`.

It follows no redirects, asks for no compression, uses no proxies, and sends a request twice only by the rule of
WireRequest.repeatable: what it reports is what happened on the wire.
"""

from __future__ import annotations

import time
from ssl import SSLEOFError, SSLError, SSLZeroReturnError

from chatload.protocol.wire import Detail, Failure, WireRequest, WireResult
from chatload.transport.base import Clock
from chatload.transport.connection import ClientConnection, NothingSentError, connect
from chatload.transport.endpoint import Endpoint, detail_of
from chatload.transport.http_messages import AnswerParser, CallFailed, SharedHeads, Whole, keep_cookies

#: How a connection shows that the server closed it.
_CLOSED = frozenset({Detail.CLOSED, Detail.RESET})
_STALE = Detail.STALE  # an attribute of an enum is slower than a global
#: Reads after the deadline: at most 256 KB of an answer that had already arrived. A server may send without end.
_MAX_LATE_READS = 64


class HttpClient:
    """The HTTP state of one chat: cookies and the serialized request. The caller owns the connection.

    Args:
        endpoint: where new connections are opened to.
        heads: shared by all chats of the process.
        clock: seconds, monotonic.
    """

    __slots__ = ("_answer", "_clock", "_cookie_line", "_cookies", "_endpoint", "_heads", "_message", "_request")

    def __init__(self, endpoint: Endpoint, heads: SharedHeads, clock: Clock) -> None:
        self._endpoint, self._heads, self._clock = endpoint, heads, clock
        self._request: WireRequest | None = None
        self._message = b""
        self._cookies: dict[bytes, bytes] | None = None
        self._cookie_line = b""
        #: An answer that is not complete yet.
        self._answer: AnswerParser | None = None

    def call(
        self, request: WireRequest, timeout_s: float, connection: ClientConnection | None
    ) -> tuple[WireResult, ClientConnection | None]:
        """Send the request on `connection`, or on a new one if it is None or cannot be used any more.

        Returns:
            The result (see Transport.call), and the connection for the next call: None if it had to be closed.
        """
        if request is not self._request:
            self._request, self._message = request, self._heads.message(request, self._cookie_line)
        begun = self._clock()
        deadline = begun + timeout_s
        result, connection = self._exchange(begun, deadline, connection)
        if result.detail is not _STALE or (result.sent_at is not None and not request.repeatable):
            return result, connection
        second, connection = self._exchange(self._clock(), deadline, None)
        if result.sent_at is not None:
            second.sent_at, second.connect_s, second.resent = result.sent_at, result.connect_s, True
        return second, connection

    def _exchange(
        self, begun: float, deadline: float, connection: ClientConnection | None
    ) -> tuple[WireResult, ClientConnection | None]:
        """Send the message once and read its answer."""
        clock = self._clock
        sent_at: float | None = None
        connect_s = 0.0
        kept = connection is not None and connection.is_good()
        try:
            if connection is None or not kept:
                if connection is not None:
                    connection.close()
                    connection = None
                connection = connect(self._endpoint, deadline - begun)
                connection.opened_at = clock()
                connect_s = connection.opened_at - begun
            connection.busy = True
            sent_at = clock()
            connection.send(self._message, deadline)
            (head, body), received_at = self._receive(connection, clock(), deadline)  # sending may have taken long
            connection.busy = False
            if head.set_cookies is not None:
                self._keep_cookies(head.set_cookies)
            result = WireResult(sent_at, received_at, connect_s, head.status, body)
            result.connected_at = connection.opened_at
            if not head.keep_alive:
                connection.close()
                connection = None
            return result, connection
        except NothingSentError as error:
            result = self._failed(error.__cause__, None, connect_s, kept)
        except (OSError, CallFailed) as error:
            result = self._failed(error, sent_at, connect_s if sent_at is not None else clock() - begun, kept)
        except BaseException:
            self._abandon(connection)
            raise
        self._abandon(connection)
        return result, None

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

    def _keep_cookies(self, lines: list[bytes]) -> None:
        self._cookies = self._cookies or {}
        self._cookie_line = keep_cookies(self._cookies, lines)
        self._request = None

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
        if kept and (answer is None or not answer.heard) and detail in _CLOSED:
            detail = Detail.STALE
        return WireResult(sent_at, failed_at, connect_s, failure=failure, detail=detail)

    def _abandon(self, connection: ClientConnection | None) -> None:
        """Close the connection after a failure and drop the incomplete answer."""
        if connection is not None:
            connection.close()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.release()


class LeanTransport:
    """The HTTP client of one chat, on a connection of its own (see Transport)."""

    __slots__ = ("_client", "_connection")

    def __init__(self, endpoint: Endpoint, heads: SharedHeads, clock: Clock = time.monotonic) -> None:
        self._client = HttpClient(endpoint, heads, clock)
        self._connection: ClientConnection | None = None

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer within `timeout_s` seconds (see Transport)."""
        result, self._connection = self._client.call(request, timeout_s, self._connection)
        return result

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
