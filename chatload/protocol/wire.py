"""Requests and results of HTTP calls: the interface between a dialect and a transport."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

#: A larger body of an answer is not read to its end and counts as malformed (bytes).
MAX_BODY_BYTES = 4 * 1024 * 1024
#: The HTTP statuses of a request without a valid login (RFC 9110 15.5.2, 15.5.4).
REFUSED_LOGIN = (401, 403)

Failure = Literal["timeout", "connection", "malformed"]


class Detail(StrEnum):
    """Every cause of a failure that a transport can name. Statistics are kept by these texts, so they contain no URL,
    no id and no number.

    STALE: see WireRequest.repeatable. EXHAUSTED, NO_TURN: the generator's own shortage, never the server's fault.
    """

    REFUSED = "connection refused"
    RESET = "connection reset"
    CLOSED = "connection closed before the answer"
    STALE = "kept connection closed just as the request left"
    CUT_SHORT = "answer cut short"
    UNREACHABLE = "host unreachable"
    NAME = "name not resolved"
    NOT_AGREED = "address not agreed to"
    TLS = "TLS failed"
    EXPIRED = "certificate expired or not yet valid"
    OTHER_NAME = "certificate for another name"
    UNTRUSTED = "certificate from an unknown authority"
    EXHAUSTED = "generator out of local ports or file descriptors"
    NO_TURN = "no shared connection was free in time"
    FAILED = "connection failed"
    CONNECTING = "timeout while connecting"
    WAITING = "timeout waiting for the answer"
    NOT_HTTP = "answer is not HTTP"
    HEAD_TOO_LARGE = "head too large"
    TOO_LARGE = "body too large"
    NOT_UNPACKED = "answer is compressed, and cannot be unpacked"


@dataclass(slots=True)
class WireRequest:
    """One HTTP request below a host: `path` starts with "/"; `headers` come without Host and Content-Length.

    Headers and body hold keys, so they are not shown.

    repeatable: it may be processed twice with the same effect as once. A server may close a kept connection just as a
    request leaves on it; then it is not known whether the server processed the request. If no byte of an answer came,
    a transport sends a repeatable request once more, on a new connection (RFC 9110 9.2.2, 9112 9.3.1); any other fails
    as STALE. After other failures a transport never repeats a request.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    repeatable: bool = False


@dataclass(slots=True)
class WireResult:
    """The result of one call. Instants are seconds on the driver's monotonic clock, durations are seconds.

    sent_at: just before the first byte left; None if none did.
    received_at: just after the last byte of the answer was received, or the instant of the failure.
    connect_s: time spent connecting before sent_at.
    http_status, body: set only if failure is None.
    detail: a constant text that names the cause of a failure (no URL, id or key).
    resent: it was sent once more, because the kept connection was closed just as it left. sent_at is that of the first
        time, because the server may have seen it then.
    waited_s: time spent waiting, before connecting, for a connection that other chats used.
    connected_at: when its connection was opened; -infinity if that is not known.
    """

    sent_at: float | None
    received_at: float
    connect_s: float = 0.0
    http_status: int = 0
    body: bytes = field(default=b"", repr=False)
    failure: Failure | None = None
    detail: str = ""
    resent: bool = False
    waited_s: float = 0.0
    connected_at: float = float("-inf")
