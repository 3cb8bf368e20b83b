"""Where chats connect to: URL, addresses and TLS, and the constant texts for errors of a connection."""

import errno
import os
import ssl
import time
from collections.abc import Callable
from functools import cached_property
from urllib.parse import SplitResult, quote, urlsplit

import gevent.socket
import gevent.ssl
from gevent.lock import BoundedSemaphore

from chatload.errors import UsageError
from chatload.protocol.secret import basic_authorization
from chatload.protocol.wire import Detail
from chatload.target import Admits, NotAgreedError, is_private

#: How long the addresses of a name, or the failure to resolve it, are reused (seconds).
NAME_TTL_S = 30.0
_FAILED_NAME_TTL_S = 1.0
_EXPECTED = "expected --host http://HOST[:PORT][/PREFIX] or https://..."

#: Header names and values that are sent with every request.
Headers = tuple[tuple[str, str], ...]
#: Returns seconds of a monotonic clock.
Clock = Callable[[], float]
#: family, type, proto, canonical name, socket address: a row of getaddrinfo.
Address = tuple[int, int, int, str, tuple[str | int, ...]]


class Endpoint:
    """The service that all chats of a process connect to. They share its addresses and its TLS context.

    url: http or https, may contain user and password; raises UsageError if it is not one of a host.
    verify: whether the server's certificate is verified. ca_file: PEM file of certificate authorities to trust instead
        of the system's. client_cert: PEM file with the client's certificate and key.
    admits: returns whether an address may be connected to (see `require_agreed`). Default: loopback and private ones.
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
        authorization = basic_authorization(url)
        self.headers: Headers = (("Authorization", authorization),) if authorization else ()
        self.clock = clock
        self._names: list[Address] | OSError = []
        self._names_until = float("-inf")
        self._asked_at = float("-inf")
        self._resolving = BoundedSemaphore()

    @cached_property
    def context(self) -> gevent.ssl.SSLContext:
        """The TLS context of all chats, built once: it takes 28 ms to read the certificate authorities."""
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
        """Return the addresses of the host. Concurrent callers share one lookup.

        Raises OSError if the name cannot be resolved, or leads to an address whose owner did not agree.
        """
        if self.clock() >= self._names_until:
            with self._resolving:
                if self.clock() >= self._names_until:
                    self._resolve()
        if isinstance(self._names, OSError):
            raise self._names.with_traceback(None)
        return self._names

    def expire_addresses(self) -> None:
        """Resolve the name again soon, at most once per second: no address answered, so the name may have moved."""
        self._names_until = min(self._names_until, self._asked_at + _FAILED_NAME_TTL_S)

    def _resolve(self) -> None:
        try:
            found: list[Address] = gevent.socket.getaddrinfo(self.host, self.port, 0, gevent.socket.SOCK_STREAM)
            # The agreement is with the owner of the host: a name that now leads elsewhere is not followed.
            if not all(self.admits(str(row[4][0])) for row in found):
                raise NotAgreedError
            self._names = found
        except (gevent.socket.gaierror, NotAgreedError) as error:
            self._names = error
        except OSError as error:  # the resolver's own errno values mean something else for a socket
            self._names = gevent.socket.gaierror(gevent.socket.EAI_SYSTEM, str(error))
        ttl_s = _FAILED_NAME_TTL_S if isinstance(self._names, OSError) else NAME_TTL_S
        self._asked_at = self.clock()
        self._names_until = self._asked_at + ttl_s


_BY_ERRNO = {
    errno.ECONNREFUSED: Detail.REFUSED,
    # ENOTCONN: reset before getpeername could be called.
    **dict.fromkeys((errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE, errno.ECONNABORTED), Detail.RESET),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EADDRINUSE), Detail.EXHAUSTED),
    **dict.fromkeys((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT), Detail.UNREACHABLE),
}
#: OpenSSL's X509_V_ERR_... codes of refused certificates.
_BY_VERIFY_CODE = {
    **dict.fromkeys((9, 10), Detail.EXPIRED),
    **dict.fromkeys((2, 18, 19, 20, 21), Detail.UNTRUSTED),
    **dict.fromkeys((62, 64), Detail.OTHER_NAME),
}


def detail_of(error: OSError) -> Detail:
    """Return the constant text for an error of a socket, of TLS or of the resolver."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Detail.TLS)
    if isinstance(error, ssl.SSLError):
        return Detail.TLS
    if isinstance(error, gevent.socket.gaierror):
        return unless_out_of_files(Detail.NAME)
    if isinstance(error, NotAgreedError):
        return Detail.NOT_AGREED
    return _BY_ERRNO.get(error.errno or 0) or unless_out_of_files(Detail.FAILED)


def unless_out_of_files(detail: Detail) -> Detail:
    """Return `detail`, or Detail.EXHAUSTED if no file descriptor is left.

    Resolvers and libraries that cannot open a file report other errors (glibc's getaddrinfo: EBUSY).
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return _BY_ERRNO.get(error.errno or 0, detail)
    return detail


def safe_target(path: str) -> str:
    """Return the path with every character percent-encoded that a request line may not contain."""
    if path.isascii() and path.isprintable() and " " not in path:
        return path
    return quote(path, safe="/?:@!$&'()*+,;=%~-._[]")


def _split(url: str) -> tuple[SplitResult, int | None]:
    """Return the URL's parts and port. The UsageError for a bad URL does not repeat a password."""
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
