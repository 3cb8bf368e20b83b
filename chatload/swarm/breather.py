"""Letting others run in the middle of work that is long: Locust makes all users of a second in one go."""

from __future__ import annotations

import time

import gevent

#: Work goes on for so long at most before others get their turn (seconds).
BREATH_S = 0.002


class Breather:
    """Called again and again by whoever has much to do, lets others run every BREATH_S."""

    def __init__(self) -> None:
        self._since = 0.0

    def breathe(self) -> None:
        """Let others run, if it is time; only for a greenlet that may be switched away from."""
        if time.monotonic() - self._since > BREATH_S:
            gevent.sleep(0)
            self._since = time.monotonic()
