"""What the accounting of our own process costs, found in the process itself: for a tenth of a second all that is
booked of a request is booked once more, on books that are thrown away, and for the next not, in an order drawn by lot.
What a request takes more in the ones than in the others is what booking it takes. What is done once a second is timed.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust import events

from chatload.chat.record import RecentContacts, SessionRecord
from chatload.run.books import Books
from chatload.run.windows import WindowCutter
from chatload.swarm import coordinator
from chatload.swarm.worker_report import ProcessFacts

#: A slice is so long, and the first begins so long after the run (seconds).
SLICE_S, WARM_S = 0.1, 4.0


class Again:
    """Books a refresh as `ChatEngine` does, on books of its own. A chat has a record and its last contacts besides;
    here all have one."""

    def __init__(self) -> None:
        self.books, self.record, self.recent, self.usual = Books(), SessionRecord(), RecentContacts(), 0

    def book(self, latency_s: float, lateness_s: float, gap_s: float, response_s: float) -> None:
        record = self.record
        self.books.request_begun("GetMessages")
        self.usual += 1
        self.recent.add_refresh(latency_s, lateness_s, gap_s)
        if lateness_s > record.lateness_max_s:
            record.lateness_max_s = lateness_s
        _once(self.books, latency_s, lateness_s, gap_s, response_s)


def _nothing(latency_s: float, lateness_s: float, gap_s: float, response_s: float) -> None:
    """As Again, without."""


_once = Books.refresh_answered
_then: Callable[[float, float, float, float], None] = _nothing
_stored_s = 0.0


def _refreshed(self: Books, latency_s: float, lateness_s: float, gap_s: float, response_s: float) -> None:
    _once(self, latency_s, lateness_s, gap_s, response_s)
    _then(latency_s, lateness_s, gap_s, response_s)


def timed(owner: Any, name: str) -> None:
    """Add the CPU time of a function that gives no other greenlet a turn to `_stored_s`."""
    plain = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        global _stored_s
        began = time.thread_time()
        try:
            return plain(*arguments, **named)
        finally:
            _stored_s += time.thread_time() - began

    setattr(owner, name, call)


def _watch(environment: Any, path: str) -> None:
    global _then
    again, lot, slices = Again(), random.Random(1), []
    books = environment.chatload_run.facts.books
    gevent.sleep(WARM_S)
    before, stored = (time.process_time(), books.sent["GetMessages"]), _stored_s
    began, began_cpu_s = time.monotonic(), before[0]
    try:
        while True:
            pair = [True, False]
            lot.shuffle(pair)
            for twice in pair:
                _then = again.book if twice else _nothing
                gevent.sleep(SLICE_S)
                now = time.process_time(), books.sent["GetMessages"]
                slices.append([twice, now[0] - before[0], now[1] - before[1]])
                before = now
    finally:
        _then = _nothing
        seconds, cpu_s = time.monotonic() - began, before[0] - began_cpu_s
        found = {"slices": slices, "stored_s": _stored_s - stored, "cpu_s": cpu_s, "seconds": seconds}
        with open(path, "w") as stream:
            json.dump(found, stream)


@events.init.add_listener
def _init(environment: Any, **_: Any) -> None:
    path = os.environ.get("BENCH_TWICE")
    if not path:
        return
    Books.refresh_answered = _refreshed  # type: ignore[method-assign]
    # All that is done once a second: the facts handed over, the books copied and cut into windows, and every write,
    # which has a thread of its own.
    for owner, name in ((ProcessFacts, "report"), (Books, "copy"), (WindowCutter, "cut"), (coordinator, "_attempt")):
        timed(owner, name)
    watchers: list[gevent.Greenlet] = []
    environment.events.test_start.add_listener(lambda **_: watchers.append(gevent.spawn(_watch, environment, path)))
    environment.events.test_stopping.add_listener(lambda **_: gevent.killall(watchers))
