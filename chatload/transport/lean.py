"""The lean transport: HTTP/1.1 with keep-alive on connections of our own (see Connection).

It does not follow redirects, ask for compression or go through proxies, and sends a request twice
only by the rule of WireRequest.repeatable: what it reports is what happened on the wire.
"""

from __future__ import annotations

import time
from ssl import SSLEOFError, SSLError, SSLZeroReturnError

from chatload.protocol.wire import Detail, Failure, WireRequest, WireResult
from chatload.transport.connection import Connection, NothingSentError, connect
from chatload.transport.cookies import keep_cookies
from chatload.transport.factory import Clock, Endpoint, Headers, detail_of, safe_target
from chatload.transport.http_answer import Answer, CallFailed, KnownHeads, Whole

#: How a connection shows that the server closed it.
_ENDINGS = frozenset({Detail.CLOSED, Detail.RESET})
_STALE = Detail.STALE  # an enum's attributes cost more than a global
#: After the deadline so much of what lay waiting is read at most: some 256 KB, and a server may send without end.
_MOST_LATE_READS = 64
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class Heads:
    """What all chats share: the heads of requests, so that equal headers are held once, and those of answers."""

    __slots__ = ("_blocks", "_fixed", "_prefix", "known")

    def __init__(self, endpoint: Endpoint, fixed: Headers = ()) -> None:
        self._prefix = endpoint.prefix
        self._fixed: Headers = (("Host", endpoint.authority), ("Accept-Encoding", "identity"), *fixed)
        self._blocks: dict[Headers, bytes] = {}
        self.known = KnownHeads()

    def message(self, request: WireRequest, cookie_line: bytes) -> bytes:
        """The whole request as it goes out."""
        body, block = request.body, self._block(request.headers)
        first = f"{request.method} {safe_target(self._prefix + request.path)} HTTP/1.1\r\n".encode("ascii")
        if not body and request.method in _BODILESS:
            return b"%b%b%b\r\n" % (first, block, cookie_line)
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (first, block, cookie_line, len(body), body)

    def _block(self, headers: Headers) -> bytes:
        """The header lines that do not change from request to request."""
        block = self._blocks.get(headers)
        if block is None:
            lines = [f"{name}: {_one_line(value)}\r\n" for name, value in self._fixed + headers]
            block = self._blocks[headers] = "".join(lines).encode("latin-1", "replace")
        return block


class LeanTransport:
    """One chat's connection (see Transport). clock: seconds, monotonic."""

    __slots__ = (
        "_answer", "_clock", "_connection", "_cookie_line", "_cookies", "_endpoint", "_heads", "_message", "_request",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, heads: Heads, clock: Clock = time.monotonic) -> None:
        self._endpoint, self._heads, self._clock = endpoint, heads, clock
        self._connection: Connection | None = None
        self._request: WireRequest | None = None
        self._message = b""
        self._cookies: dict[bytes, bytes] | None = None
        self._cookie_line = b""
        self._answer: Answer | None = None

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer within timeout_s seconds in all (see Transport)."""
        if request is not self._request:
            self._request, self._message = request, self._heads.message(request, self._cookie_line)
        begun = self._clock()
        deadline = begun + timeout_s
        result = self._exchange(begun, deadline)
        if result.detail is not _STALE or (result.sent_at is not None and not request.repeatable):
            return result
        again = self._exchange(self._clock(), deadline)
        if result.sent_at is not None:
            again.sent_at, again.connect_s, again.resent = result.sent_at, result.connect_s, True
        return again

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.let_go()

    def _exchange(self, begun: float, deadline: float) -> WireResult:
        """The message sent once, on the kept connection where there is one, and its answer."""
        clock = self._clock
        sent_at: float | None = None
        connect_s = 0.0
        connection = self._connection
        kept = connection is not None and connection.is_good()
        try:
            if connection is None or not kept:
                self.close()
                connection = self._connection = connect(self._endpoint, deadline - begun)
                connection.opened_at = clock()
                connect_s = connection.opened_at - begun
            connection.busy = True
            sent_at = clock()
            connection.send(self._message, deadline)
            (head, body), received_at = self._receive(connection, clock(), deadline)  # sending may have taken long
            connection.busy = False
            if head.set_cookies is not None:
                self._keep_cookies(head.set_cookies)
            if not head.lasting:
                self.close()
            result = WireResult(sent_at, received_at, connect_s, head.status, body)
            result.connected_at = connection.opened_at
            return result
        except NothingSentError as error:
            return self._fail(error.__cause__, None, connect_s, kept)
        except (OSError, CallFailed) as error:
            return self._fail(error, sent_at, connect_s if sent_at is not None else clock() - begun, kept)
        except BaseException:
            self.close()
            raise

    def _receive(self, connection: Connection, now: float, deadline: float) -> tuple[Whole, float]:
        """Read until the answer is complete; with it the instant of the read that completed it.

        At the deadline there is a last look at what has come: an answer that lay waiting while
        this process was busy is an answer, not a timeout.
        """
        clock, known = self._clock, self._heads.known
        answer: Answer | None = None
        late_reads = 0
        while True:
            if now < deadline:
                connection.wait_for_more(deadline, now)
            elif late_reads < _MOST_LATE_READS and connection.something_came():
                late_reads += 1
            else:
                raise CallFailed("timeout", Detail.WAITING)
            data = connection.take()
            now = clock()
            if data is None:
                continue  # nothing for us in it, or the alarm
            if answer is None:
                if data and (whole := known.read(data)) is not None:
                    return whole, now
                answer = self._answer = Answer()
            if data:
                answer.feed(data)
            else:
                answer.end()
            if answer.done:
                whole = answer.whole()
                self._answer = None
                known.learn(data, answer, whole)
                return whole, now

    def _keep_cookies(self, lines: list[bytes]) -> None:
        self._cookies = self._cookies or {}
        self._cookie_line = keep_cookies(self._cookies, lines)
        self._request = None

    def _fail(self, error: BaseException | None, sent_at: float | None, connect_s: float, kept: bool) -> WireResult:
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
        if kept and (answer is None or not answer.heard) and detail in _ENDINGS:
            detail = Detail.STALE
        self.close()
        return WireResult(sent_at, failed_at, connect_s, failure=failure, detail=detail)


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")
