"""A worker's lifeline: without its master it must not go on loading the target.

Locust's own worker notices after a minute, by the wall clock: where that is set ahead by a minute, every worker ends in
the middle of its chats. Ours goes by the monotonic clock, and while a run goes on it is told every second that the
master lives; Locust's own heartbeats count as well.

A worker of --processes is its master's child. It ends with it, however that ends: another master may take the port, and
the worker would join it, and load a stranger's target.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust import runners

log = logging.getLogger("chatload")

ALIVE = "chatload-alive"
#: A master not heard of for so long (seconds) is gone: long enough for one that only stands still a while. Where no
#: chats are held there is no hurry.
GONE_S, IDLE_GONE_S = 10.0, 60.0
#: The process that read the locustfile: of --processes the master, or who waits for workers.
_READER = os.getpid()


class Lifeline:
    """Calls `gone` once the master, heard of before, has been silent for too long, sooner while it is held; and at
    once where the process that forked this one is gone."""

    def __init__(self, runner: Any, gone: Callable[[], None]) -> None:
        runners.MASTER_HEARTBEAT_TIMEOUT = float("inf")
        self._runner, self._gone = runner, gone
        self._heard: float | None = None
        self._held = False
        runner.register_message(ALIVE, self._hear, concurrent=True)
        runner.environment.events.heartbeat_received.add_listener(self._hear)
        gevent.spawn(self._watch)

    @staticmethod
    def has_lost_parent() -> bool:
        """Whether this process was forked by one that is no more."""
        return os.getpid() != _READER and os.getppid() != _READER

    def hold(self) -> None:
        """A run begins."""
        self._heard, self._held = time.monotonic(), True

    def let_go(self) -> None:
        """The run is over."""
        self._held = False

    def _hear(self, **_: Any) -> None:
        self._heard = time.monotonic()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self.has_lost_parent():
            gevent.sleep(1.0)
            now = time.monotonic()
            stood_still, before = max(0.0, now - before - 2.0), now
            # What a master whose wall clock was set back says next Locust would take for older than what came before,
            # and the ramp would stand still; messages come in order anyway.
            self._runner.last_received_spawn_timestamp = 0.0
            if self._heard is None:
                continue
            # Time in which we stood still ourselves proves nothing about the master.
            self._heard += stood_still
            if now - self._heard > (GONE_S if self._held else IDLE_GONE_S):
                log.error("chatload: the master fell silent %.0f s ago: this worker ends its chats", now - self._heard)
                break
        else:
            log.error("chatload: the process that started this worker is gone: it ends its chats")
        self._gone()
