"""The requests transport: supports the proxies, client certificates and TLS settings of the requests library.

It is slower than the lean transport and reports the same facts. urllib3 may replace a closed connection before it
sends, but with retries off it never sends a request twice. Only this module repeats a request, by the rule of
WireRequest.repeatable. Redirects are not followed. Bytes that arrive together with an answer, after its end, are
dropped and the connection is kept. The total deadline needs gevent's monkey-patching (as under Locust); without it each
single wait is limited.
"""

import ssl
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected
from typing import Any

import gevent
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from chatload.protocol.wire import MAX_BODY_BYTES, Detail, Failure, WireRequest, WireResult
from chatload.sockets import FinalAnswer
from chatload.target import Admits, NotAgreedError
from chatload.transport.endpoint import Clock, Endpoint, detail_of, safe_target, unless_out_of_files
from chatload.transport.http_messages import AnswerParser, BoundedPolicy, CallFailed

_CHUNK_BYTES = 64 * 1024
_TIMEOUTS = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError)
_TLS = (ssl.SSLError, ssl.CertificateError, requests.exceptions.SSLError, urllib3.exceptions.SSLError)
_BEFORE_SENDING = (requests.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError, *_TLS, ValueError)


@dataclass(slots=True)
class _Marks:
    """Observations of the connection during one call.

    opened: a new connection was opened. broken: sending failed before the end of the request. silent: the connection
    ended before the first byte of an answer. hooked: the observed connection was used at all.
    """

    clock: Clock
    admits: Admits
    broken: bool = False
    hooked: bool = False
    opened: bool = False
    silent: bool = False
    sent_at: float | None = None


_marks: ContextVar[_Marks] = ContextVar("chatload_marks")


class _Observed:
    """Mixin for urllib3's connections: records when the first byte of the request is sent."""

    sock: Any
    proxy: Any
    _connecting = False

    def _new_conn(self) -> Any:
        sock = super()._new_conn()  # type: ignore[misc]
        # The address is known only here. Behind a proxy, the proxy resolves the name.
        if self.proxy is None and not _marks.get().admits(str(sock.getpeername()[0])):
            sock.close()
            raise NotAgreedError
        return sock

    def connect(self) -> None:
        marks = _marks.get()
        marks.hooked = marks.opened = True
        self._connecting = True
        try:
            super().connect()  # type: ignore[misc]
        finally:
            self._connecting = False

    def send(self, data: Any) -> None:
        if self.sock is None and not self._connecting:
            self.connect()
        marks = _marks.get()
        # A CONNECT to a proxy is sent while connecting; the service does not see it.
        if not self._connecting and marks.sent_at is None:
            marks.hooked = True
            marks.sent_at = marks.clock()
        try:
            super().send(data)  # type: ignore[misc]
        except ConnectionError:
            # urllib3 ignores a broken pipe and reads: there may be an answer.
            marks.broken = True
            raise


class _Lines:
    """Reads the lines of an answer's head and keeps the last one."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.last = stream, b""

    def readline(self, *limit: int) -> bytes:
        self.last = self.stream.readline(*limit)
        return self.last

    def close(self) -> None:
        self.stream.close()


class _HeadCheckingAnswer(FinalAnswer):
    """Reports an answer that ends inside its head as cut short.

    http.client handles these cases differently: it accepts the end of the connection as the end of the head, reports an
    incomplete status line as another protocol, and a reset inside the head as a reset connection.
    """

    def begin(self) -> None:
        """Read the head. The first byte is peeked separately, to detect a connection that ends without one."""
        stream: Any = self.fp
        marks = _marks.get()
        try:
            heard = bool(stream.peek(1))
        except ConnectionError:
            marks.silent = True
            raise
        marks.silent = not heard
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        except RemoteDisconnected:
            raise
        except BadStatusLine:
            if lines.last.endswith(b"\n") or not _begins_an_answer(lines.last):
                raise
            lines.last = b""
        except ConnectionError as error:
            raise IncompleteRead(b"") from error
        finally:
            if self.fp is lines:
                self.fp = stream
        if not lines.last:
            raise IncompleteRead(b"")


def _begins_an_answer(data: bytes) -> bool:
    try:
        AnswerParser().feed(data)
    except CallFailed:
        return False
    return True


def _observed_pool(pool: type, connection: type) -> type:
    observed = type(connection.__name__, (_Observed, connection), {"response_class": _HeadCheckingAnswer})
    return type(pool.__name__, (pool,), {"ConnectionCls": observed})


_POOLS = {
    "http": _observed_pool(HTTPConnectionPool, HTTPConnection),
    "https": _observed_pool(HTTPSConnectionPool, HTTPSConnection),
}


class _Adapter(HTTPAdapter):
    """requests' adapter with observed connections.

    Behind SOCKS proxies urllib3's own connections are used; sent_at is then the start of the call: earlier, so still a
    valid bound.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager: Any = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


class RequestsTransport:
    """The HTTP client of one chat on a requests.Session (see Transport)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._url, self._clock, self._endpoint = endpoint.url, endpoint.clock, endpoint
        self._session = requests.Session()
        self._session.headers.update({"Accept-Encoding": "identity", **dict(endpoint.headers)})
        self._session.cookies.set_policy(BoundedPolicy(self._session.cookies))
        self._session.cert = endpoint.client_cert
        if not endpoint.verify:
            # The report of the run says this once; urllib3 would warn for each request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        adapter = _Adapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        verify: bool | str = (endpoint.ca_file or True) if endpoint.verify else False
        # Read from the environment once per chat: this costs more than a request.
        self._settings: Any = self._session.merge_environment_settings(self._url, {}, True, verify, None)

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        begun = self._clock()
        limit = gevent.Timeout(max(timeout_s, 0.001))
        limit.start()
        try:
            result, stale = self._once(request, timeout_s, limit)
            if stale and request.repeatable:
                first = result
                result, _ = self._once(request, begun + timeout_s - self._clock(), limit)
                result.sent_at, result.connect_s, result.resent = first.sent_at, first.connect_s, True
            return result
        finally:
            limit.close()

    def _once(self, request: WireRequest, timeout_s: float, limit: gevent.Timeout) -> tuple[WireResult, bool]:
        """Send the request once; return the result and whether a kept connection was closed meanwhile."""
        begun = self._clock()
        marks = _Marks(self._clock, self._endpoint.admits)
        token = _marks.set(marks)
        try:
            status, body = self._exchange(request, max(timeout_s, 0.001))
            received_at = self._clock()
            sent_at = marks.sent_at if marks.sent_at is not None else begun
            result = WireResult(sent_at, received_at, sent_at - begun, status, body)
            if marks.opened:
                result.connected_at = sent_at
            return result, False
        except gevent.Timeout as other:
            self.close()
            if other is not limit:
                raise
            return self._failed(TimeoutError(), marks, begun), False
        except (*_FAILURES, CallFailed) as error:
            self.close()
            failed = self._failed(error, marks, begun)
            if marks.broken and failed.detail is Detail.CLOSED:
                failed.detail = Detail.RESET
            # The server closed a kept connection while the request was sent.
            kept_and_silent = marks.hooked and marks.silent and not marks.opened
            stale = kept_and_silent and failed.detail in (Detail.CLOSED, Detail.RESET)
            if stale:
                failed.detail = Detail.STALE
            return failed, stale
        except BaseException:
            self.close()
            raise
        finally:
            _marks.reset(token)

    def close(self) -> None:
        self._session.close()

    def _exchange(self, request: WireRequest, timeout_s: float) -> tuple[int, bytes]:
        url, headers = self._url + safe_target(request.path), dict(request.headers)
        prepared = self._session.prepare_request(requests.Request(request.method, url, headers, data=request.body))
        answer = self._session.send(prepared, timeout=timeout_s, allow_redirects=False, **self._settings)
        complete = False
        try:
            body = _read(answer)
            complete = answer.status_code >= 200
        finally:
            if not complete:
                answer.close()
        if not complete:
            self.close()
        return answer.status_code, body

    def _failed(self, error: Exception, marks: _Marks, begun: float) -> WireResult:
        failed_at, causes, sent_at = self._clock(), list(_causes(error)), marks.sent_at
        if sent_at is None and not marks.hooked and not _has(causes, _BEFORE_SENDING):
            sent_at = begun
        failure, detail = _classify(causes, sent_at is not None)
        connect_s = failed_at - begun if sent_at is None else sent_at - begun
        return WireResult(sent_at, failed_at, connect_s, failure=failure, detail=detail)


def _read(answer: requests.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(_CHUNK_BYTES):
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise CallFailed("malformed", Detail.TOO_LARGE)
        parts.append(part)
    return b"".join(parts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all errors that it wraps (arguments, reason, cause, context), the outermost first."""
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        one = queue.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            queue += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _has(causes: list[BaseException], kinds: Any) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _classify(causes: list[BaseException], sent: bool) -> tuple[Failure, Detail]:
    """Return the kind of failure and its constant text."""
    if isinstance(causes[0], CallFailed):
        return causes[0].failure, causes[0].detail
    if _has(causes, _TLS):
        told = [cause for cause in causes if isinstance(cause, ssl.SSLError)]
        return "connection", next((d for d in map(detail_of, told) if d is not Detail.TLS), Detail.TLS)
    if _has(causes, NotAgreedError):
        return "connection", Detail.NOT_AGREED
    if _has(causes, (urllib3.exceptions.NameResolutionError, UnicodeError)):
        return "connection", unless_out_of_files(Detail.NAME)
    if _has(causes, RemoteDisconnected):
        return "connection", Detail.CLOSED
    if _has(causes, urllib3.exceptions.InvalidChunkLength):
        return "malformed", Detail.NOT_HTTP
    if _has(causes, (IncompleteRead, requests.exceptions.ChunkedEncodingError)):
        return "connection", Detail.CUT_SHORT
    if errors := [cause for cause in causes if isinstance(cause, OSError) and cause.errno]:
        return "connection", detail_of(errors[0])
    if _has(causes, _TIMEOUTS):
        return "timeout", Detail.WAITING if sent else Detail.CONNECTING
    if _has(causes, urllib3.exceptions.DecodeError):
        return "malformed", Detail.NOT_UNPACKED
    if any(type(cause) in (LineTooLong, HTTPException) for cause in causes):  # HTTPException: too many lines
        return "malformed", Detail.HEAD_TOO_LARGE
    if _has(causes, HTTPException):
        return "malformed", Detail.NOT_HTTP
    return "connection", unless_out_of_files(Detail.FAILED)
