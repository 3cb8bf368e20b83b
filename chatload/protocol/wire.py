"""What goes over the wire and what came of it: the seam between a dialect and a transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: A reply body larger than this is not read further and is malformed (bytes).
MAX_BODY_BYTES = 4 * 1024 * 1024

Failure = Literal["timeout", "connection", "malformed"]


@dataclass(slots=True)
class WireRequest:
    """One HTTP request below a host: `path` starts with "/"; `headers` come without Host and Content-Length.

    Headers and body hold keys, so they are not shown.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(slots=True)
class WireResult:
    """What a transport saw of one call. Instants are seconds on the driver's monotonic clock.

    sent_at: just before the first byte left, None if none did. received_at: just after the last
    byte of the answer came in, or the instant of the failure. connect_s: time spent connecting
    before sent_at. http_status and body are set only where failure is None. detail: a constant
    string naming the cause of a failure (never a URL, an id or a key).
    """

    sent_at: float | None
    received_at: float
    connect_s: float = 0.0
    http_status: int = 0
    body: bytes = field(default=b"", repr=False)
    failure: Failure | None = None
    detail: str = ""
