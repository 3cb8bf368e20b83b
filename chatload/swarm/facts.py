"""The facts of one process, and how a worker's reach the master."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import psutil

from chatload.session.books import Books
from chatload.session.lifecycle import ChatSession
from chatload.session.record import SessionRecord
from chatload.session.timeline import Timeline, Worst
from chatload.store.windows import Usage

#: A worker reports, and the run file is written, this often (seconds).
FLUSH_S = 1.0


class Facts:
    """Books and finished sessions of this process; `take` hands the sessions on, once each."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.books = Books()
        self._finished: list[SessionRecord] = []
        self._timelines: list[Timeline] = []
        self._worst = Worst()
        self._process = psutil.Process()
        self._rss = 0
        self._epoch = time.time() - time.monotonic()

    def ended(self, session: ChatSession) -> None:
        """A session is over. Its instants become seconds since the Unix epoch."""
        record = session.record
        timeline = session.timeline()
        record.worker = self.worker
        record.started_at += self._epoch
        record.ended_at += self._epoch
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

    def take(self) -> dict[str, Any]:
        """What came up since the last call: rows of sessions that ended, timelines of the worst."""
        finished, self._finished = self._finished, []
        timelines, self._timelines = self._timelines, []
        return {
            "sessions": [record.to_dict() for record in finished],
            "timelines": [timeline.to_dict() for timeline in timelines],
        }
