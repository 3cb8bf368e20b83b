"""Timing of the generator: a precise timer, and detection of its own stalls.

A stall is time in which the process did not run its event loop. The server is never blamed for it.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

#: The last part of a wait uses the kernel's timer and cannot be interrupted (seconds).
_FINE_S = 0.002
_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_READ = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class PreciseTimer:
    """Wakes one greenlet at an instant, to within 0.05 ms.

    gevent's timers have the resolution of epoll_wait, 1 ms: at 100 arrivals per second this is 5 % of the mean gap.
    Linux's timerfd_create(2) is used; on other systems the timer is as exact as gevent's.
    """

    def __init__(self) -> None:
        self._system = ctypes.CDLL(None)
        has_one = hasattr(self._system, "timerfd_create")
        self._fd = self._system.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC) if has_one else -1
        self._watcher: Any = gevent.get_hub().loop.io(self._fd, _READ) if self._fd >= 0 else None

    def wait(self, until: float, leave: Event) -> bool:
        """Sleep until an instant of time.monotonic(); return True if `leave` was set before it."""
        delay = until - time.monotonic()
        coarse = delay if self._watcher is None else delay - _FINE_S
        if coarse > 0 and leave.wait(coarse):
            return True
        if self._watcher is not None and until > time.monotonic():
            self._wait_finely(until)
        return bool(leave.is_set())

    def close(self) -> None:
        """Close the timer."""
        if self._watcher is not None:
            self._watcher.close()
            os.close(self._fd)
            self._watcher = None

    def _wait_finely(self, until: float) -> None:
        seconds = int(until)
        at = _Itimerspec(value=_Timespec(seconds, int((until - seconds) * 1e9)))
        # Setting it again discards an unread expiration.
        self._system.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(at), None)
        gevent.get_hub().wait(self._watcher)


#: Interval of the heartbeat, and the delay of a heartbeat that counts as a stall (seconds).
BEAT_S = 0.02
STALL_S = 0.03
_REMEMBERED = 1000


class StallMonitor:
    """A heartbeat in the event loop: what delays it delays every chat.

    `within` does not depend on the order in which greenlets run after a stall: either the heartbeat has recorded the
    stall, or the last heartbeat is old.
    """

    def __init__(self, on_stall: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_stall = on_stall
        self._clock = clock
        self._last = clock()
        self._stalls: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Start the heartbeat."""
        self._last = self._clock()
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """Stop the heartbeat."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def within(self, start: float, end: float) -> float:
        """Return the seconds of [start, end] in which this process was stalled. end: now or just before."""
        stalls = self._stalls
        recorded = bool(stalls) and stalls[-1][1] > start
        unrecorded = end - self._last - BEAT_S > STALL_S and self._greenlet is not None
        if not recorded and not unrecorded:
            return 0.0
        total = end - max(start, self._last + BEAT_S) if unrecorded else 0.0
        if recorded:
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
