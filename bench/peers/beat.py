"""A beat in the event loop of a Locust process: what delays it delays every chat."""

from __future__ import annotations

import json
import os
import time

import gevent
from locust import events

#: The beat comes this often, and the latest is told this often (seconds).
BEAT_S = 0.005
TOLD_S = 0.1


@events.init.add_listener
def _init(**_) -> None:
    if os.environ.get("BENCH_BEAT"):
        gevent.spawn(_beat, os.environ["BENCH_BEAT"])


def _beat(path: str) -> None:
    """A line a tenth of a second: when the latest beat in it came, on the monotonic clock, and how late (seconds)."""
    with open(path, "a", buffering=1) as stream:
        last = told = time.monotonic()
        worst, came = 0.0, last
        while True:
            gevent.sleep(BEAT_S)
            now = time.monotonic()
            if now - last - BEAT_S > worst:
                worst, came = now - last - BEAT_S, now
            last = now
            if now - told >= TOLD_S:
                stream.write(json.dumps([came, worst]) + "\n")
                told, worst, came = now, 0.0, now
