"""What goes over the wire and what came of it: the seam between a dialect and a transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

#: A reply body larger than this is not read further and is malformed (bytes).
MAX_BODY_BYTES = 4 * 1024 * 1024

Failure = Literal["timeout", "connection", "malformed"]


class Detail(StrEnum):
    """Every cause of a failure that a transport can name. Statistics are keyed by these texts, so they
    hold no URL, no id and no number.

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

    repeatable: taken twice it does what it does taken once. A server may close a kept connection just as a
    request leaves on it; whether it still took the request nobody can know. Where no byte of an answer came,
    a transport sends a repeatable one once more, on a new connection (RFC 9110 9.2.2, 9112 9.3.1), and
    fails any other as STALE. Other failures are never repeated by a transport.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    repeatable: bool = False


@dataclass(slots=True)
class WireResult:
    """What a transport saw of one call. Instants are seconds on the driver's monotonic clock.

    sent_at: just before the first byte left, None if none did. received_at: just after the last
    byte of the answer came in, or the instant of the failure. connect_s: time spent connecting
    before sent_at. http_status and body are set only where failure is None. detail: a constant
    string naming the cause of a failure (never a URL, an id or a key). resent: it was sent once more, the
    kept connection having been closed just as it left; sent_at stays that of the first time, for the
    server may have seen it then. waited_s: before connecting, for a connection that other chats had. connected_at: when
    the connection was opened that carried it, -infinity where that is not known.
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
