"""The facts of one process, until it hands them over."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import orjson
import psutil

from chatload.chat.engine import ChatEngine
from chatload.chat.record import SessionRecord
from chatload.chat.timeline import Timeline, WorstTimelines
from chatload.run.books import Books
from chatload.run.punctuality import LatenessMonitor, Spent
from chatload.run.windows import Usage
from chatload.run.writer import row
from chatload.swarm.wire import Handover

#: A worker reports this often (seconds), and so the run file is written; a master writes it oftener, for what comes
#: in has waited already.
FLUSH_S, MASTER_WRITES_S = 1.0, 0.5


class Facts:
    """Books and finished sessions of this process; `hand_over` gives the sessions away, once each."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.books = Books()
        self._finished: list[SessionRecord] = []
        self._timelines: list[Timeline] = []
        self._worst = WorstTimelines()
        self._process = psutil.Process()
        self._rss = 0
        self._punctuality = LatenessMonitor()
        self._epoch = time.time() - time.monotonic()

    def ended(self, session: ChatEngine) -> None:
        """A session is over. Its instants become seconds since the Unix epoch."""
        record = session.record
        timeline = session.timeline()
        record.worker = self.worker
        record.started_at += self._epoch
        record.ended_at += self._epoch
        if record.goodbye_at is not None:
            record.goodbye_at += self._epoch
        self._finished.append(record)
        if timeline is not None and self._worst.admits(timeline):
            timeline.worker = self.worker
            timeline.shift(self._epoch)
            self._timelines.append(timeline)

    def usage(self) -> Usage:
        """What this process uses; its memory as last known, where it has no file descriptor to ask with."""
        with suppress(OSError, psutil.Error):
            self._rss = self._process.memory_info().rss
        return Usage(time.process_time(), self._rss)

    def now(self) -> float:
        """Seconds since the Unix epoch, by the monotonic clock: a step of the wall clock moves nothing of a run."""
        return self._epoch + time.monotonic()

    def hand_over(self, final: bool) -> Handover:
        """The books so far, and what came up since the last call: sessions that ended, timelines of the worst."""
        finished, self._finished = self._finished, []
        timelines, self._timelines = self._timelines, []
        books = orjson.dumps(self.books.to_dict()).decode()
        ends = [timeline.to_dict() for timeline in timelines]
        usage = self.usage()
        behind = self._punctuality.look(self.books, Spent(usage.cpu_s, _waited_s()), time.monotonic())
        return Handover([row(record) for record in finished], ends, books, usage, final, behind)


def _waited_s() -> float | None:
    """How long this process was ready to run while others had its core, by the scheduler (Linux)."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
