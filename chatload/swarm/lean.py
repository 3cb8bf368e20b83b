"""The lean transport: HTTP/1.1 with keep-alive straight on gevent's sockets.

It does not follow redirects, ask for compression or go through proxies, and sends a request twice
only by the rule of WireRequest.repeatable: what it reports is what happened on the wire.
"""

from __future__ import annotations

import time
import zlib
from ssl import SSLEOFError, SSLError, SSLWantReadError, SSLZeroReturnError
from typing import Any

import gevent
from gevent import socket
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from chatload.protocol.wire import MAX_BODY_BYTES, Detail, Failure, WireRequest, WireResult
from chatload.swarm.cookies import keep_cookies
from chatload.swarm.transport import Clock, Endpoint, Headers, detail_of, safe_target

#: More head than this (status line, headers, interim answers) is refused (bytes).
MAX_HEAD_BYTES = 64 * 1024
_RECV_BYTES = 64 * 1024
#: How a connection shows that the server closed it.
_ENDINGS = frozenset({Detail.CLOSED, Detail.RESET})
_PACKED = frozenset({b"gzip", b"x-gzip", b"deflate"})
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class _Failed(Exception):
    """The call ended in this failure."""

    def __init__(self, failure: Failure, detail: Detail) -> None:
        self.failure: Failure = failure
        self.detail = detail


class HeadBuilder:
    """Turns requests into bytes; shared by all chats, so that equal headers are held once."""

    __slots__ = ("_blocks", "_fixed", "_prefix")

    def __init__(self, endpoint: Endpoint, fixed: Headers = ()) -> None:
        self._prefix = endpoint.prefix
        self._fixed: Headers = (("Host", endpoint.authority), ("Accept-Encoding", "identity"), *fixed)
        self._blocks: dict[Headers, bytes] = {}

    def block(self, headers: Headers) -> bytes:
        """The header lines that do not change from request to request."""
        block = self._blocks.get(headers)
        if block is None:
            lines = [f"{name}: {_one_line(value)}\r\n" for name, value in self._fixed + headers]
            block = self._blocks[headers] = "".join(lines).encode("latin-1", "replace")
        return block

    def message(self, request: WireRequest, block: bytes, cookie_line: bytes) -> bytes:
        """The whole request as it goes out."""
        body = request.body
        first = f"{request.method} {safe_target(self._prefix + request.path)} HTTP/1.1\r\n".encode("ascii")
        if not body and request.method in _BODILESS:
            return b"%b%b%b\r\n" % (first, block, cookie_line)
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (first, block, cookie_line, len(body), body)


class _Answer:
    """What the parser has read so far of the one answer waited for."""

    __slots__ = (
        "begun",
        "done",
        "framed",
        "head_done",
        "heard",
        "lasting",
        "packed",
        "parser",
        "parts",
        "set_cookies",
        "size",
        "status",
        "surplus",
    )

    def __init__(self) -> None:
        self.parser: Any = None
        self.expect()

    def expect(self) -> None:
        """Forget the last answer."""
        self.begun = self.head_done = self.done = self.framed = self.lasting = self.surplus = False
        self.heard = self.packed = False
        self.status = self.size = 0
        self.parts: list[bytes] = []
        self.set_cookies: list[bytes] | None = None

    def on_message_begin(self) -> None:
        if self.done:
            self.surplus = True
        self.begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.done:
            return
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
            self.framed = True
        elif name == b"content-encoding":
            self.packed = value.strip().lower() in _PACKED
        elif name == b"set-cookie":
            if self.set_cookies is None:
                self.set_cookies = []
            self.set_cookies.append(value)

    def on_headers_complete(self) -> None:
        if not self.done:
            self.status = self.parser.get_status_code()
            self.head_done = self.status >= 200

    def on_body(self, data: bytes) -> None:
        if not self.done:
            self.size += len(data)
            if self.size <= MAX_BODY_BYTES:
                self.parts.append(data)

    def on_message_complete(self) -> None:
        if self.done:
            return
        if self.status >= 200 or self.status == 101:
            self.done = True
            self.lasting = self.parser.should_keep_alive()  # known only here: llhttp forgets it next
        else:
            self.begun = self.framed = False  # an interim answer: the real one is yet to come


class LeanTransport:
    """One chat's connection (see Transport). clock: seconds, monotonic."""

    __slots__ = (
        "_answer",
        "_block",
        "_clock",
        "_cookie_line",
        "_cookies",
        "_endpoint",
        "_headers",
        "_heads",
        "_sock",
    )

    def __init__(self, endpoint: Endpoint, heads: HeadBuilder, clock: Clock = time.monotonic) -> None:
        self._endpoint, self._heads, self._clock = endpoint, heads, clock
        self._sock: Any = None
        self._answer = _Answer()
        self._headers: Headers | None = None
        self._block = b""
        self._cookies: dict[bytes, bytes] | None = None
        self._cookie_line = b""

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer within timeout_s seconds in all (see Transport)."""
        if request.headers is not self._headers:
            self._block, self._headers = self._heads.block(request.headers), request.headers
        message = self._heads.message(request, self._block, self._cookie_line)
        begun = self._clock()
        deadline = begun + timeout_s
        result = self._exchange(message, begun, deadline)
        if result.detail is not Detail.STALE or (result.sent_at is not None and not request.repeatable):
            return result
        again = self._exchange(message, self._clock(), deadline)
        if result.sent_at is not None:
            again.sent_at, again.connect_s, again.resent = result.sent_at, result.connect_s, True
        return again

    def _exchange(self, message: bytes, begun: float, deadline: float) -> WireResult:
        """The message sent once, on the kept connection where there is one, and its answer."""
        clock = self._clock
        sent_at: float | None = None
        connect_s = 0.0
        sock = self._sock
        kept = sock is not None and self._is_open(sock)
        try:
            if not kept:
                self.close()
                sock = self._sock = self._open(deadline - begun)
                self._answer.parser = HttpResponseParser(self._answer)
                connect_s = clock() - begun
            self._answer.expect()
            sock.timeout = _left(deadline - clock())
            sent_at = clock()
            count = self._send_first(sock, message)
            if count < len(message):
                sock.timeout = _left(deadline - clock())
                sock.sendall(memoryview(message)[count:])
            received_at = self._receive(sock, sent_at, deadline)
            return self._finish(sent_at, received_at, connect_s)
        except _NothingSent as error:
            return self._fail(error.__cause__, None, connect_s, kept)
        except (OSError, _Failed) as error:
            return self._fail(error, sent_at, connect_s if sent_at is not None else clock() - begun, kept)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; a later call opens another."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._answer.parser = None
            sock.close()

    def _is_open(self, sock: Any) -> bool:
        """Whether an idle connection is still good: anything to read means that it is not, be it the
        end or bytes nobody asked for. Looking sends nothing, so opening another is no resend."""
        try:
            sock._sock.recv(1, socket.MSG_PEEK)  # gevent's own socket is always non-blocking
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not self._endpoint.tls:
            return False
        sock.timeout = 0.0  # over TLS it may be a session ticket, which only reading tells
        try:
            sock.recv(1)
        except SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def _open(self, timeout_s: float) -> Any:
        """A new connection, ready to send, within timeout_s seconds in all."""
        limit = gevent.Timeout(max(timeout_s, 0.001))
        limit.start()
        try:
            return self._connect(timeout_s)
        except gevent.Timeout as other:
            if other is not limit:
                raise
            self._endpoint.doubt()
            raise _Failed("timeout", Detail.CONNECTING) from None
        except OSError:
            self._endpoint.doubt()
            raise
        except UnicodeError:
            raise _Failed("connection", Detail.NAME) from None
        finally:
            limit.close()

    def _connect(self, timeout_s: float) -> Any:
        """To the first of the host's addresses that answers."""
        addresses = self._endpoint.addresses()
        problem: OSError = OSError("no address")
        for family, kind, proto, _, address in addresses:
            try:
                sock = socket.socket(family, kind, proto)
            except OSError as error:
                problem = error
                continue
            try:
                sock.settimeout(timeout_s / len(addresses))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not self._endpoint.tls:
                    return sock
                sock = self._wrap(sock)
                sock.do_handshake()
                return sock
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
        raise problem

    def _wrap(self, sock: Any) -> Any:
        endpoint = self._endpoint
        return endpoint.context.wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False)

    def _send_first(self, sock: Any, message: bytes) -> int:
        """Hand over the first bytes; how many went."""
        try:
            count: int = sock.send(message)
        except OSError as error:
            if self._endpoint.tls:
                raise  # a part of the record may have left
            raise _NothingSent from error
        return count

    def _receive(self, sock: Any, now: float, deadline: float) -> float:
        """Read until the answer is complete; the instant of the read that completed it.

        At the deadline there is one last look at what has come: an answer that lay waiting while
        this process was busy is an answer, not a timeout.
        """
        answer, clock, unread = self._answer, self._clock, MAX_HEAD_BYTES
        while True:
            left = deadline - now
            sock.timeout = left if left > 0.0 else 0.0
            try:
                data = sock.recv(_RECV_BYTES)
            except (TimeoutError, BlockingIOError, SSLWantReadError) as error:
                if left > 0.0 and error.errno is None:
                    now = deadline
                    continue
                if isinstance(error, TimeoutError) and error.errno is not None:
                    raise
                raise _Failed("timeout", Detail.WAITING) from None
            now = clock()
            if not data:
                self._ended()
                return now
            answer.heard = True
            self._feed(data)
            if answer.done:
                return now
            unread -= len(data)
            if unread < 0 and not answer.head_done:
                raise _Failed("malformed", Detail.HEAD_TOO_LARGE)
            if left <= 0.0:
                raise _Failed("timeout", Detail.WAITING)

    def _feed(self, data: bytes) -> None:
        answer = self._answer
        try:
            answer.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not answer.done:
                raise _Failed("malformed", Detail.NOT_HTTP) from None
            answer.surplus = True  # rubbish after a complete answer: the answer counts
        if answer.size > MAX_BODY_BYTES:
            raise _Failed("malformed", Detail.TOO_LARGE)

    def _ended(self) -> None:
        """The server closed: the end of an answer that has no other, or the loss of one."""
        answer = self._answer
        if not answer.begun:
            raise _Failed("connection", Detail.CLOSED)
        if answer.framed or not answer.head_done:
            raise _Failed("connection", Detail.CUT_SHORT)
        answer.done = True

    def _finish(self, sent_at: float, received_at: float, connect_s: float) -> WireResult:
        answer = self._answer
        parts = answer.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        answer.parts = []
        if answer.packed:
            body = _unpacked(body)
        if answer.set_cookies is not None:
            self._cookies = self._cookies or {}
            self._cookie_line = keep_cookies(self._cookies, answer.set_cookies)
        if answer.surplus or not answer.lasting:
            self.close()
        return WireResult(sent_at, received_at, connect_s, answer.status, body)

    def _fail(self, error: BaseException | None, sent_at: float | None, connect_s: float, kept: bool) -> WireResult:
        failed_at = self._clock()
        failure: Failure = "connection"
        if isinstance(error, _Failed):
            failure, detail = error.failure, error.detail
        elif isinstance(error, TimeoutError) and error.errno is None:
            failure = "timeout"
            detail = Detail.CONNECTING if sent_at is None else Detail.WAITING
        elif sent_at is not None and isinstance(error, SSLEOFError | SSLZeroReturnError):
            detail = Detail.CUT_SHORT if self._answer.begun else Detail.CLOSED
        elif self._answer.begun and not isinstance(error, SSLError) and sent_at is not None:
            detail = Detail.CUT_SHORT
        else:
            detail = detail_of(error) if isinstance(error, OSError) else Detail.FAILED
        if kept and not self._answer.heard and detail in _ENDINGS:
            detail = Detail.STALE
        self.close()
        return WireResult(sent_at, failed_at, connect_s, failure=failure, detail=detail)


class _NothingSent(Exception):
    """The first send was refused: no byte of the request left. Its cause says why."""


def _unpacked(body: bytes) -> bytes:
    """A body some proxy compressed unasked, as a browser would read it."""
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # 32: zlib's or gzip's head; then deflate without one
        try:
            unpacked = zlib.decompressobj(wbits).decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if len(unpacked) > MAX_BODY_BYTES:
            raise _Failed("malformed", Detail.TOO_LARGE)
        return unpacked
    raise _Failed("malformed", Detail.NOT_UNPACKED)


def _left(seconds: float) -> float:
    """A socket timeout; 0 would mean another mode to the socket."""
    return seconds if seconds > 0.0 else 0.001


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")
