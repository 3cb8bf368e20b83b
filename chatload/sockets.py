"""Sockets: how many this process may open, their local ports, and what `http.client` lacks to read from one safely."""

from __future__ import annotations

import http.client
import resource
import socket
import threading
from contextlib import suppress
from pathlib import Path

#: What `file_limits` returns where the system has no limit.
NO_LIMIT = 2**31
_SWITCHING = 101


def file_limits() -> tuple[int, int]:
    """Return RLIMIT_NOFILE of this process, soft and hard: a socket is a file."""
    soft, hard = (NO_LIMIT if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(resource.RLIMIT_NOFILE))
    return soft, hard


def raise_file_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard one, as far as the system allows it; return both limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return file_limits()


def local_ports() -> tuple[int, int]:
    """Return the range of local ports, both inclusive; (0, 0) if it is not known."""
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0, 0
    return low, high


class FinalAnswer(http.client.HTTPResponse):
    """An answer, read past its interim answers (RFC 9110, 15.2): http.client skips a 100 only, and returns a 102 or 103
    as if it were the answer."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == _SWITCHING:
                return version, status, reason
            http.client.parse_headers(self.fp)


class TotalDeadline:
    """Shuts a socket down `seconds` after it is entered. A read that waits ends then, as if the peer had closed.

    The timeout of a Python socket limits each single read: a peer that sends a byte now and then could go on for ever.

    passed: whether the socket was shut down.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sock: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def watch(self, sock: socket.socket) -> None:
        """Set the connected socket that the deadline is for. Of several, the last counts."""
        self._sock = sock
        if self.passed:
            self._shut_down()

    def __enter__(self) -> TotalDeadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._shut_down()

    def _shut_down(self) -> None:
        if self._sock is not None:
            with suppress(OSError):  # it was closed meanwhile
                # Not SSLSocket.shutdown: it removes the TLS state, which the read that waits still uses.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
