"""What drifts during a soak test, logged from time to time.

`chatload drift` runs in a process of its own, so that the generator is not stalled by it.
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

log = logging.getLogger("chatload")
#: The first check is made after this time (seconds), each later one when the run is twice as long: the probability of a
#: false alarm is divided among the doublings (see `chatload.features.report.drift`).
FIRST_S = 1200.0
_LIMIT_S = 300.0

_watchers: dict[int, gevent.Greenlet] = {}


def install() -> None:
    """Register the listeners of soak tests in this process."""
    events.test_start.add_listener(_test_start)
    events.test_stopping.add_listener(_test_stopping)


def next_check(began: float, last: float) -> float:
    """Return when the next check is due, for a run that began and was last checked at these instants (seconds)."""
    return last + max(last - began, FIRST_S)


def _check(run_dir: Path) -> None:
    command = [sys.executable, "-m", "chatload", "drift", str(run_dir)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("chatload: drift could not be checked: %s", error)
        return
    # One sentence per line; its continuation lines are indented.
    said = done.stdout.split("\n\n", 1)[0].strip().replace("\n  ", " ").replace("\n", "; ")
    log.info("chatload: so far %s", said)


def _check_repeatedly(environment: Environment) -> None:
    began = last = time.monotonic()
    while True:
        gevent.sleep(max(next_check(began, last) - time.monotonic(), 0))
        last = time.monotonic()
        coordinator = run_of(environment).role.coordinator
        if coordinator is not None and coordinator.run_dir is not None:
            _check(coordinator.run_dir)


def _test_start(environment: Environment, **_: Any) -> None:
    if run_of(environment).role.coordinator is not None:
        _watchers[id(environment)] = gevent.spawn(_check_repeatedly, environment)


def _test_stopping(environment: Environment, **_: Any) -> None:
    watcher = _watchers.pop(id(environment), None)
    if watcher is not None:
        watcher.kill(block=False)
