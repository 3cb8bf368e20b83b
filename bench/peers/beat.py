"""A beat in the event loop of a Locust process: what delays it delays every chat."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import gevent
from locust import events

#: The beat comes this often, and the latest is told this often (seconds).
BEAT_S = 0.005
TOLD_S = 0.1


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    path = os.environ.get("BENCH_BEAT")
    if path:
        told: list[tuple[float, float]] = []
        gevent.spawn(_beat, told)
        # Not as they come: a write waits for the disk now and then, and every chat with it.
        environment.events.quit.add_listener(lambda **_: _write(path, told))


def _beat(tell: list[tuple[float, float]]) -> None:
    """Tells every tenth of a second when the latest beat in it came, on the monotonic clock, and how late (seconds)."""
    last = told = time.monotonic()
    worst, came = 0.0, last
    while True:
        gevent.sleep(BEAT_S)
        now = time.monotonic()
        if now - last - BEAT_S > worst:
            worst, came = now - last - BEAT_S, now
        last = now
        if now - told >= TOLD_S:
            tell.append((came, worst))
            told, worst, came = now, 0.0, now


def _write(path: str, told: list[tuple[float, float]]) -> None:
    with open(path, "w") as stream:
        stream.writelines(json.dumps(each) + "\n" for each in told)
