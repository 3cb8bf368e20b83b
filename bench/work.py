"""What a tool is asked to do, the same for all, and what one repetition of it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: The interval of everything that is not back to back (seconds).
INTERVAL_S = 5.0
#: The option of ours by which chats share connections.
SHARED_OPTION = "--connections"
SHARED_CONNECTIONS = 1_000


@dataclass(frozen=True)
class Work:
    """So many chats. Times in seconds.

    ramp_s: they are opened over this long; steady_s: and then measured for so long, after settle_s. interval_s: between
    refreshes, 0 is back to back. connections: shared by so many, 0 is one each. tls: over TLS. profile: the tool's
    frames are sampled meanwhile. twice: ours books what it books twice, half of the time. parts: chats of ours are made
    part by part. fresh: every answer has a new key. keep: what the run leaves is looked at for drift.
    """

    chats: int
    ramp_s: float
    steady_s: float
    interval_s: float = INTERVAL_S
    settle_s: float = 5.0
    timeout_s: float = 45.0
    connections: int = 0
    tls: bool = False
    profile: bool = False
    twice: bool = False
    parts: bool = False
    fresh: bool = False
    keep: bool = False

    @property
    def hold_s(self) -> float:
        """How long chats are held after the ramp: a little longer than is measured."""
        return self.settle_s + self.steady_s + 3.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self)


@dataclass(frozen=True)
class Step:
    """One repetition: which tool does what, for the how manieth time."""

    tool: str
    work: Work
    repetition: int = 0

    @property
    def estimate_s(self) -> float:
        """About how long it takes, with beginning and end."""
        return 8.0 + self.work.ramp_s + self.work.hold_s + self.work.chats / 2000
