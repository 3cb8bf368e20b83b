"""A worker's lifeline: without its master it must not go on loading the target.

Locust's own worker notices after a minute, by the wall clock. Ours is told every second that the master lives,
and goes by the monotonic clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent

log = logging.getLogger("chatload")

ALIVE = "chatload-alive"
#: A master not heard of for so long (seconds) is gone: long enough for one that only stands still a while.
GONE_S = 10.0


class Lifeline:
    """Calls `gone` once the master has been silent for too long, while it is held."""

    def __init__(self, runner: Any, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._heard = 0.0
        self._watcher: gevent.Greenlet | None = None
        runner.register_message(ALIVE, self._hear, concurrent=True)

    def hold(self) -> None:
        """A run begins."""
        self._heard = time.monotonic()
        if self._watcher is None:
            self._watcher = gevent.spawn(self._watch)

    def let_go(self) -> None:
        """The run is over."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher is not gevent.getcurrent():
            watcher.kill(block=False)

    def _hear(self, **_: Any) -> None:
        self._heard = time.monotonic()

    def _watch(self) -> None:
        before = time.monotonic()
        while True:
            gevent.sleep(1.0)
            now = time.monotonic()
            # Time in which we stood still ourselves proves nothing about the master.
            self._heard += max(0.0, now - before - 2.0)
            before = now
            if now - self._heard > GONE_S:
                log.error("chatload: the master fell silent %.0f s ago: this worker ends its chats", now - self._heard)
                self._watcher = None
                self._gone()
                return
