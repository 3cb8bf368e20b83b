"""What this process has learned about the server: its clock, and behaviour that limits what an answer proves.

A timestamp is an interval. It is as wide as the clock's resolution, and in our time it is known only as well as the
offset between the clocks. A clock that contradicts itself proves nothing: it was set, or several nodes stamp
the events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

_MS = 0.001
#: The largest drift between two clocks (seconds per second): a crystal drifts by 1e-4, a slewed clock by 5e-4.
_DRIFT = 1e-3
#: How many chats in a row must agree before a clock is a witness again after a contradiction, and before their common
#: bounds narrow those of one chat.
_AGREE_AGAIN = 20
#: After this many contradictions a clock is never a witness again.
_MOST_CONTRADICTIONS = 3

Interval = tuple[float, float]


class ServerClock:
    """The server's clock, which stamps the events of all chats of this process.

    The opening of each chat bounds the offset (server's clock minus ours, seconds) by an interval. All intervals must
    have a common point. If they have none, the clock was set, or there is more than one clock.
    """

    __slots__ = ("_agreed", "_contradictions", "_moved_at", "_offset", "_resolution_ms", "_seen_at")

    def __init__(self) -> None:
        self._resolution_ms = 0
        self._offset: Interval | None = None
        self._seen_at = 0.0
        self._agreed = 0
        self._contradictions = 0
        self._moved_at = float("-inf")

    def saw(self, utc_ms: int, sent: float, received: float) -> None:
        """Add an event stamped `utc_ms` that was written between these instants on our clock (seconds)."""
        self._resolution_ms = gcd(self._resolution_ms, utc_ms)
        low, high = self.offset(utc_ms, sent, received)
        if self._offset is not None:
            wider = _DRIFT * abs(received - self._seen_at)
            common = max(low, self._offset[0] - wider), min(high, self._offset[1] + wider)
            if common[0] > common[1]:
                self._contradictions += 1
                self._agreed = 0
                self._moved_at = received
            else:
                self._agreed += 1
                low, high = common
        self._offset, self._seen_at = (low, high), received

    def contradicted(self, received: float) -> None:
        """Note that a timestamp in an answer received at this instant (seconds) contradicts what is known."""
        self._contradictions = max(self._contradictions, 1)
        self._agreed = 0
        self._moved_at = received

    def is_witness(self, since: float) -> bool:
        """Return whether its timestamps are evidence for a chat that was opened at the instant `since`."""
        if not self._contradictions:
            return True
        steady = self._contradictions < _MOST_CONTRADICTIONS and self._agreed >= _AGREE_AGAIN
        return steady and since > self._moved_at

    def narrowed(self, offset: Interval) -> Interval:
        """Return a chat's own bounds of the offset, narrowed by the common bounds of all chats of this process.

        The common bounds are used only if the clock has never contradicted itself and enough chats have seen it. With
        so many chats, the stamps of two nodes, or of a clock that was set, would have contradicted each other.
        """
        if self._offset is None or self._contradictions or self._agreed < _AGREE_AGAIN:
            return offset
        low, high = max(offset[0], self._offset[0]), min(offset[1], self._offset[1])
        return (low, high) if low <= high else offset

    def resolution_s(self, *utc_ms: int) -> float:
        """Return the clock's resolution (seconds) by all timestamps so far and these; never finer than it really is."""
        return max(1, gcd(self._resolution_ms, *utc_ms)) * _MS

    def offset(self, utc_ms: int, sent: float, received: float, *others_ms: int) -> Interval:
        """Return bounds of the server's clock minus ours (seconds), by an event written in [sent, received].

        others_ms: further timestamps that show the resolution.
        """
        stamp = utc_ms * _MS
        return stamp - received, stamp + self.resolution_s(utc_ms, *others_ms) - sent


@dataclass(slots=True)
class ObservedServer:
    """What the chats of this process together have learned about the server.

    clock: the clock that stamps events.
    outlived_timeout: a chat went on after a silence that was surely longer than the timeout.
    lost_in_time: a chat whose every refresh was in time was answered statusCode 2.
    tells_silent_ends: a chat that surely ended by its silence was answered 0/true.
    hands_chats_on: a chat went on after its only agent had left. Then an agent's ParticipantLeft alone does not show
        that the agent ended the chat.
    replaces_keys: the server has replaced a secure key.

    After outlived_timeout, lost_in_time, tells_silent_ends or replaces_keys, a statusCode 2 after a silence does not
    show that the silence was the cause.
    """

    clock: ServerClock = field(default_factory=ServerClock)
    outlived_timeout: bool = False
    lost_in_time: bool = False
    tells_silent_ends: bool = False
    hands_chats_on: bool = False
    replaces_keys: bool = False
