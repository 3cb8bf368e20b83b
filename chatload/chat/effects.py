"""What a session asks of its driver, and what it gets back. All instants: seconds, driver's monotonic clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chatload.protocol.reply import Reply


@dataclass(slots=True)
class Wait:
    """Sleep until the instant `until`, or until the run stops, whichever is first; answered by Woken."""

    until: float


@dataclass(slots=True)
class Send:
    """Send one operation now; answered by Exchange.

    due: the instant it should leave (lateness is measured against it). fields: our field names
    (see `chatload.protocol.operations`) and values.
    timeout_s: the total time the call may take.
    content: the bytes of an upload.
    """

    operation: str
    fields: Mapping[str, str]
    due: float
    timeout_s: float
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Woken:
    """A Wait is over. stopped_at: the time now, where the run wants this chat to say goodbye."""

    stopped_at: float | None = None


#: It is the instant that was waited for, or past it.
IN_TIME = Woken()


@dataclass(slots=True)
class Exchange:
    """What became of a Send.

    begun_at: the driver took it up, and it had its turn (begun_at - due is the generator's lateness). sent_at: just
    before the first byte left, None if none did: then the server cannot have seen it.
    received_at: just after the last byte came in, or the instant of failure. connect_s: spent
    connecting. stalled_s: how long, between begun_at and received_at, this process itself stood
    still. answered: an HTTP answer came, whole. gateway: the answer (502, 503, 504) is a gateway's
    and says nothing of what the request behind it still does. resent: the server closed the kept connection
    just as the request left at sent_at, and may or may not have seen it then; it was sent once more. connected_at: when
    the connection was opened that carried it, -infinity where that is not known.
    """

    begun_at: float
    sent_at: float | None
    received_at: float
    reply: Reply
    connect_s: float = 0.0
    stalled_s: float = 0.0
    answered: bool = True
    gateway: bool = False
    stopping: bool = False
    resent: bool = False
    connected_at: float = float("-inf")


Effect = Wait | Send
Result = Woken | Exchange
