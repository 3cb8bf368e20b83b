"""A worker stops loading the target when its master is gone.

Locust's own check takes a minute and uses the wall clock (see `patches.master_heartbeat`). This one uses the monotonic
clock. During a run the master says every second that it is alive; Locust's heartbeats count too.

A worker of --processes is a child of its master and ends with it: another master may bind the port, and the worker
would join it and load another target.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import gevent

from chatload.swarm.patches.master_heartbeat import accept_any_spawn_timestamp
from chatload.swarm.patches.orphaned_workers import has_lost_parent
from chatload.swarm.worker_report import ALIVE

log = logging.getLogger("chatload")

#: A master not heard from for this long is gone (seconds): during a run, and otherwise. Stalls of a master are shorter.
GONE_S, IDLE_GONE_S = 10.0, 60.0


class MasterWatchdog:
    """Calls `on_gone` once when the master is silent for too long or the parent process has ended."""

    def __init__(self, runner: Any, on_gone: Callable[[], None]) -> None:
        self._runner, self._on_gone = runner, on_gone
        self._heard_at: float | None = None
        self._run_active = False
        runner.register_message(ALIVE, self._hear, concurrent=True)
        runner.environment.events.heartbeat_received.add_listener(self._hear)
        gevent.spawn(self._watch)

    def run_begins(self) -> None:
        """From now on the shorter time applies."""
        self._heard_at, self._run_active = time.monotonic(), True

    def run_ends(self) -> None:
        """From now on the longer time applies."""
        self._run_active = False

    def _hear(self, **_: Any) -> None:
        self._heard_at = time.monotonic()

    def _watch(self) -> None:
        before = time.monotonic()
        while not has_lost_parent():
            gevent.sleep(1.0)
            now = time.monotonic()
            stalled, before = max(0.0, now - before - 2.0), now
            accept_any_spawn_timestamp(self._runner)
            if self._heard_at is None:
                continue
            # Time in which this process was stalled proves nothing about the master.
            self._heard_at += stalled
            if now - self._heard_at > (GONE_S if self._run_active else IDLE_GONE_S):
                log.error("chatload: no message from the master for %.0f s: this worker stops", now - self._heard_at)
                break
        else:
            log.error("chatload: the process that started this worker has ended: this worker stops")
        self._on_gone()
