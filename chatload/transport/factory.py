"""The seam to the network: what a transport is, where it connects to, and which one to use.

One Transport is one chat's connection. `lean` is fast and has exact instants; `requests` goes
through proxies and does whatever else the requests library does.
"""

from __future__ import annotations

import errno
import os
import ssl
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Protocol
from urllib.parse import SplitResult, quote, unquote, urlsplit

import gevent.socket
import gevent.ssl
from gevent.lock import BoundedSemaphore

from chatload.errors import UsageError
from chatload.protocol.address import is_private
from chatload.protocol.wire import Detail, WireRequest, WireResult
from chatload.target import Admits, NotAgreedError

#: How long a resolved name, and one that could not be resolved, is believed (seconds).
NAME_TTL_S = 30.0
_FAILED_NAME_TTL_S = 1.0
_EXPECTED = "expected --host http://HOST[:PORT][/PREFIX] or https://..."

#: family, type, proto, canonical name, socket address: a row of getaddrinfo.
Address = tuple[int, int, int, str, tuple[str | int, ...]]
Headers = tuple[tuple[str, str], ...]
Clock = Callable[[], float]


class Transport(Protocol):
    """One chat's connection to the service. Not for two greenlets at once."""

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer, all within timeout_s seconds, names and connecting
        included. Failures are in the result, never raised. It is sent once; twice only by the rule of
        WireRequest.repeatable."""
        ...

    def close(self) -> None:
        """Close the connection; a later call would open another."""
        ...


class Endpoint:
    """Where every chat of a process connects to, with what they share: names and TLS context.

    verify: whether the server's certificate must be good. ca_file: PEM file of the authorities to
    believe in place of the system's. client_cert: PEM file with our own certificate and its key. admits: asked of
    every address before it is connected to (see `require_agreed`); loopback and private ones by default.
    """

    def __init__(
        self,
        url: str,
        verify: bool = True,
        ca_file: str | None = None,
        client_cert: str | None = None,
        clock: Clock = time.monotonic,
        admits: Admits = is_private,
    ) -> None:
        parts, port = _split(url)
        self.admits = admits
        self.tls = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = port or (443 if self.tls else 80)
        self.prefix = safe_target(parts.path.rstrip("/"))
        self.authority = f"[{self.host}]" if ":" in self.host else self.host
        if port is not None:
            self.authority += f":{port}"
        self.url = f"{parts.scheme}://{self.authority}{self.prefix}"
        self.verify, self.ca_file, self.client_cert = verify, ca_file, client_cert
        self.headers: Headers = _basic_auth(parts)
        self._clock = clock
        self._context: gevent.ssl.SSLContext | None = None
        self._names: list[Address] | OSError = []
        self._names_until = float("-inf")
        self._asked_at = float("-inf")
        self._resolving = BoundedSemaphore()

    @property
    def context(self) -> gevent.ssl.SSLContext:
        """The one TLS context of all chats: building it reads every authority, some 28 ms."""
        if self._context is None:
            self._context = self._new_context()
        return self._context

    def _new_context(self) -> gevent.ssl.SSLContext:
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.ca_file:
                context.load_verify_locations(self.ca_file)
            else:
                context.load_default_certs()
            if self.client_cert:
                context.load_cert_chain(self.client_cert)
        except OSError as error:
            raise UsageError(f"the certificates for {self.url} cannot be read: {error}") from error
        return context

    def addresses(self) -> list[Address]:
        """The host's addresses; chats that start together ask for them once. Raises OSError."""
        if self._clock() >= self._names_until:
            with self._resolving:
                if self._clock() >= self._names_until:
                    self._resolve()
        if isinstance(self._names, OSError):
            raise self._names.with_traceback(None)
        return self._names

    def doubt(self) -> None:
        """None of the addresses answered: the name may have moved, and is asked for anew, once a second at
        most."""
        self._names_until = min(self._names_until, self._asked_at + _FAILED_NAME_TTL_S)

    def _resolve(self) -> None:
        try:
            found: list[Address] = gevent.socket.getaddrinfo(self.host, self.port, 0, gevent.socket.SOCK_STREAM)
            # What was agreed to is an owner, not a name: one that leads elsewhere since is not followed.
            if not all(self.admits(str(row[4][0])) for row in found):
                raise NotAgreedError
            self._names = found
        except (gevent.socket.gaierror, NotAgreedError) as error:
            self._names = error
        except OSError as error:  # of the resolver's own doing, in errnos that mean something else elsewhere
            self._names = gevent.socket.gaierror(gevent.socket.EAI_SYSTEM, str(error))
        ttl_s = _FAILED_NAME_TTL_S if isinstance(self._names, OSError) else NAME_TTL_S
        self._asked_at = self._clock()
        self._names_until = self._asked_at + ttl_s


def make_factory(
    kind: str, endpoint: Endpoint, headers: Headers = (), clock: Clock = time.monotonic, connections: int = 0
) -> Callable[[], Transport]:
    """What opens a chat's transport. kind: "lean" or "requests"; headers go out with every request. connections: of
    "lean", so many are shared by all chats; 0 is one for each chat."""
    fixed = endpoint.headers + headers
    if endpoint.tls:
        _ = endpoint.context  # an unreadable certificate file is found here, not in every chat
    if kind == "lean":
        from chatload.transport.lean import Heads, LeanTransport

        heads = Heads(endpoint, fixed)
        if connections:
            from chatload.transport.shared import Pool, SharedTransport

            pool = Pool(connections)
            return lambda: SharedTransport(endpoint, heads, pool, clock)
        return lambda: LeanTransport(endpoint, heads, clock)
    if kind == "requests" and not connections:
        from chatload.transport.requests_transport import RequestsTransport

        return lambda: RequestsTransport(endpoint, fixed, clock)
    raise UsageError(f"no transport {kind!r}", "use --transport lean or --transport requests")


_BY_ERRNO = {
    errno.ECONNREFUSED: Detail.REFUSED,
    errno.ECONNRESET: Detail.RESET,
    errno.ENOTCONN: Detail.RESET,  # reset before anything could be asked of the socket
    errno.EPIPE: Detail.RESET,
    errno.ECONNABORTED: Detail.RESET,
    errno.EMFILE: Detail.EXHAUSTED,
    errno.ENFILE: Detail.EXHAUSTED,
    errno.EADDRNOTAVAIL: Detail.EXHAUSTED,
    errno.EADDRINUSE: Detail.EXHAUSTED,
    errno.EHOSTUNREACH: Detail.UNREACHABLE,
    errno.ENETUNREACH: Detail.UNREACHABLE,
    errno.EHOSTDOWN: Detail.UNREACHABLE,
    errno.ETIMEDOUT: Detail.UNREACHABLE,
}
#: OpenSSL's X509_V_ERR_... of a certificate that was refused.
_BY_VERIFY_CODE = {
    **dict.fromkeys((9, 10), Detail.EXPIRED),
    **dict.fromkeys((2, 18, 19, 20, 21), Detail.UNTRUSTED),
    **dict.fromkeys((62, 64), Detail.OTHER_NAME),
}


def detail_of(error: OSError) -> Detail:
    """The constant text for a socket's error (ssl.SSLError and gaierror included)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Detail.TLS)
    if isinstance(error, ssl.SSLError):
        return Detail.TLS
    if isinstance(error, gevent.socket.gaierror):
        return unless_short(Detail.NAME)
    if isinstance(error, NotAgreedError):
        return Detail.NOT_AGREED
    return _BY_ERRNO.get(error.errno or 0) or unless_short(Detail.FAILED)


def unless_short(detail: Detail) -> Detail:
    """The detail, unless it is one of having no file descriptor left: resolvers and libraries that cannot
    open one fail with errors of their own (glibc's getaddrinfo with EBUSY)."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return _BY_ERRNO.get(error.errno or 0, detail)
    return detail


def safe_target(path: str) -> str:
    """The path as it may stand in a request line: what would break the line is percent-encoded."""
    if path.isascii() and path.isprintable() and " " not in path:
        return path
    return quote(path, safe="/?:@!$&'()*+,;=%~-._[]")


def _split(url: str) -> tuple[SplitResult, int | None]:
    """The URL's parts and port, or a UsageError that does not repeat a password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" not in host:
            host.encode("idna")
        good = bool(host) and host.isprintable() and not set(host) & set(" %/\\")
        good = good and parts.scheme in ("http", "https") and not parts.query and not parts.fragment
        if good and parts.port != 0:
            return parts, parts.port
    except ValueError:
        pass
    shown = "the URL given" if "@" in url else repr(url)
    raise UsageError(f"--host: {shown} is not the URL of a host", _EXPECTED)


def _basic_auth(parts: SplitResult) -> Headers:
    if parts.username is None:
        return ()
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return (("Authorization", "Basic " + b64encode(pair.encode()).decode()),)
