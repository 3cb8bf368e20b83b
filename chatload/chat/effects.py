"""What the engine asks of a driver, and what it gets back. Instants: seconds on the driver's monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from chatload.protocol.reply import Reply


@dataclass(slots=True)
class Wait:
    """Wait until an instant, or until the run stops if that is earlier.

    Its result is None if the instant is reached or past, and the time now if the run asks this chat to say goodbye.
    """

    until: float


@dataclass(slots=True)
class Send:
    """Send one operation now. Its result is an Exchange.

    fields: names as in `chatload.protocol.operations`, and values.
    due: the instant at which it should leave; lateness counts from it.
    timeout_s: the total time that the call may take.
    content: the bytes of an upload.
    """

    operation: str
    fields: Mapping[str, str]
    due: float
    timeout_s: float
    content: bytes | None = None


@dataclass(slots=True)
class Exchange:
    """The result of a Send.

    begun_at: when the driver took it up; begun_at - due is the generator's lateness.
    sent_at: just before the first byte left; None if none did: then the server cannot have seen it.
    received_at: just after the last byte of the answer, or the instant of failure.
    connect_s: time spent connecting.
    stalled_s: time between begun_at and received_at in which this process was stalled.
    answered: a whole HTTP answer came.
    gateway: the answer (502, 503, 504) is a gateway's: the request behind it may still be in work.
    stopping: the run asks this chat to say goodbye.
    resent: the server closed the kept connection just as the request left at sent_at, and may have seen it; it was
        sent once more.
    connected_at: when its connection was opened; -infinity if that is not known.
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
Result = Exchange | float | None
