"""Where a greenlet waits, at the least cost gevent's loop allows: a timer, and whoever wakes it."""

from __future__ import annotations

import time
from typing import Any

from gevent import get_hub, getcurrent


class Parking:
    """A place for one greenlet at a time to wait in. `wake` may only be called by the loop's own callbacks."""

    __slots__ = ("_hub", "_sleeper")

    def __init__(self) -> None:
        self._hub: Any = get_hub()
        self._sleeper: Any = None

    def wait(self, seconds: float) -> bool:
        """Wait for `wake`, so long at most; True if it came. May be over early: the loop counts from when it last
        looked at the clock, which is as long ago as this process has been busy since."""
        hub = self._hub
        self._sleeper = sleeper = getcurrent()
        timer = hub.loop.timer(seconds)
        timer.start(sleeper.switch, False)
        try:
            return bool(hub.switch())
        finally:
            self._sleeper = None
            timer.stop()

    def wait_until(self, deadline: float) -> None:
        """Wait for `wake`; raises TimeoutError where it does not come before the deadline (seconds, monotonic)."""
        left = deadline - time.monotonic()
        while not self.wait(max(0.0, left)):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError

    def wake(self) -> None:
        """Have the greenlet that waits here go on, now."""
        if self._sleeper is not None:
            self._sleeper.switch(True)
