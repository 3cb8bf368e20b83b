"""Knowing when this process itself stood still, so that it never blames the server for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import gevent

#: How often the beat comes, and how much later it must come to be called a stall (seconds).
BEAT_S = 0.02
STALL_S = 0.03
_REMEMBERED = 1000


class StallMonitor:
    """A beat in the event loop; what delays the beat delays every chat.

    `within` needs no luck with the order in which greenlets wake after a stall: either the beat has
    already booked the stall, or the last beat is old.
    """

    def __init__(self, on_stall: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_stall = on_stall
        self._clock = clock
        self._last = clock()
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._last = self._clock()
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """Stop beating."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def within(self, start: float, end: float) -> float:
        """Seconds of [start, end] in which this process stood still; `end` is now or just past."""
        stalls = self._stalls
        booked = bool(stalls) and stalls[-1][1] > start
        unbooked = end - self._last - BEAT_S > STALL_S and self._greenlet is not None
        if not booked and not unbooked:
            return 0.0
        total = end - max(start, self._last + BEAT_S) if unbooked else 0.0
        if booked:
            total += sum(max(0.0, min(end, b) - max(start, a)) for a, b in stalls if b > start)
        return max(0.0, total)

    def _beat(self) -> None:
        while True:
            gevent.sleep(BEAT_S)
            now = self._clock()
            late = now - self._last - BEAT_S
            if late > STALL_S:
                self._stalls.append((self._last + BEAT_S, now))
                self._on_stall(late)
            self._last = now
