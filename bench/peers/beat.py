"""A beat in the event loop of a Locust process: what delays it delays every chat."""

from __future__ import annotations

import json
import os
import time

import gevent
from locust import events

#: The beat comes this often (seconds).
BEAT_S = 0.005


@events.init.add_listener
def _init(**_) -> None:
    if os.environ.get("BENCH_BEAT"):
        gevent.spawn(_beat, os.environ["BENCH_BEAT"])


def _beat(path: str) -> None:
    """A line a second: when it ended, on the monotonic clock, and how late the latest beat in it was (seconds)."""
    with open(path, "a", buffering=1) as stream:
        last = told = time.monotonic()
        worst = 0.0
        while True:
            gevent.sleep(BEAT_S)
            now = time.monotonic()
            worst = max(worst, now - last - BEAT_S)
            last = now
            if now - told >= 1.0:
                stream.write(json.dumps([now, worst]) + "\n")
                told, worst = now, 0.0
