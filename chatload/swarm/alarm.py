"""Waking at an instant, more exactly than gevent's own timers.

Those have the grain of epoll_wait, a millisecond: at 100 arrivals a second a twentieth of the gaps between them
would be lost in it. A timer of the kernel's that is a file (timerfd_create(2), Linux) has some 0.05 ms.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import gevent
from gevent.event import Event

#: The last so many seconds are waited for with the kernel's timer, and cannot be interrupted.
_FINE_S = 0.002
_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_READ = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """One greenlet's alarm clock. Where the system has no timerfd it is as exact as gevent's timers."""

    def __init__(self) -> None:
        self._system = ctypes.CDLL(None)
        has_one = hasattr(self._system, "timerfd_create")
        self._fd = self._system.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC) if has_one else -1
        self._watcher: Any = gevent.get_hub().loop.io(self._fd, _READ) if self._fd >= 0 else None

    def wait(self, until: float, leave: Event) -> bool:
        """Sleep until an instant of time.monotonic(); True where `leave` is set before."""
        delay = until - time.monotonic()
        coarse = delay if self._watcher is None else delay - _FINE_S
        if coarse > 0 and leave.wait(coarse):
            return True
        if self._watcher is not None and until > time.monotonic():
            self._wait_finely(until)
        return bool(leave.is_set())

    def close(self) -> None:
        """Give the timer back."""
        if self._watcher is not None:
            self._watcher.close()
            os.close(self._fd)
            self._watcher = None

    def _wait_finely(self, until: float) -> None:
        seconds = int(until)
        at = _Itimerspec(value=_Timespec(seconds, int((until - seconds) * 1e9)))
        # Setting it again forgets what is unread.
        self._system.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(at), None)
        gevent.get_hub().wait(self._watcher)
