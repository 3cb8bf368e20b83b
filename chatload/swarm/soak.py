"""The soak view while a run goes on: now and then, what drifts so far, in the log.

Looked at in a process of its own, so that the generator does not stand still for it.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import subprocess
from locust import events
from locust.env import Environment

from chatload.swarm.run import run_of
from chatload.swarm.user import ChatUser

log = logging.getLogger("chatload")
#: The first look comes after so long (seconds), each later one when the run has become twice as long: every
#: doubling has its own part of the chance of a false alarm (see `chatload.features.report.drift`).
FIRST_S = 1200.0
_LIMIT_S = 300.0


class SoakUser(ChatUser):
    """Holds one chat after another, as ChatUser does; the run logs at intervals what has drifted so far."""

    abstract = True


def looks(began: float, now: float) -> float:
    """When the next look is due, for a run that began and has had its last look at these instants (seconds)."""
    return now + max(now - began, FIRST_S)


def _look(run_dir: Path) -> None:
    command = [sys.executable, "-m", "chatload", "drift", str(run_dir)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("chatload: drift could not be looked at: %s", error)
        return
    # A sentence a line, and its further lines indented.
    said = done.stdout.split("\n\n", 1)[0].strip().replace("\n  ", " ").replace("\n", "; ")
    log.info("chatload: so far %s", said)


def _watch(environment: Environment) -> None:
    began = last = time.monotonic()
    while True:
        gevent.sleep(max(looks(began, last) - time.monotonic(), 0))
        last = time.monotonic()
        run_dir = run_of(environment).run_dir
        if run_dir is not None:
            _look(run_dir)


_watchers: dict[int, gevent.Greenlet] = {}


@events.test_start.add_listener
def _test_start(environment: Environment, **_: Any) -> None:
    if not run_of(environment).is_worker:
        _watchers[id(environment)] = gevent.spawn(_watch, environment)


@events.test_stopping.add_listener
def _test_stopping(environment: Environment, **_: Any) -> None:
    watcher = _watchers.pop(id(environment), None)
    if watcher is not None:
        watcher.kill(block=False)
