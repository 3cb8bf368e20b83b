"""The facts of one process, and the messages between the master and its workers (beside Locust's own).

A master reads a hundred reports per second, so it decodes nothing that is only written to the run file: sessions arrive
as rows, counters as the JSON that the run file stores. All processes run the same version of chatload.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil

from chatload.chat.engine import ChatEngine
from chatload.chat.record import COLUMNS, SessionRecord, Timeline, WorstTimelines
from chatload.errors import ChatloadError
from chatload.run.books import Books
from chatload.run.punctuality import LatenessMonitor, Spent
from chatload.run.windows import Usage
from chatload.run.writer import row

#: Message types. A worker sends its report and, if it cannot hold chats, why. A master tells its workers to disconnect
#: all chats and send their final report, and every second that it is alive.
REPORT, UNFIT, DRAIN, ALIVE = "chatload-report", "chatload-unfit", "chatload-drain", "chatload-alive"
#: A worker sends its report at this interval (seconds).
REPORT_EVERY_S = 1.0


class WorkerReport(NamedTuple):
    """What a process reports since its previous report.

    sessions: rows of sessions that ended, columns as in COLUMNS. timelines: of the worst of them (Timeline.to_dict).
    books: all counters so far, as JSON of Books.to_dict. usage: CPU time and memory so far. final: no report follows.
    behind: why refreshes leave late, empty if they do not.
    """

    sessions: list[Any]
    timelines: list[dict[str, Any]]
    books: str
    usage: Usage
    final: bool
    behind: str = ""

    @classmethod
    def read(cls, data: Any) -> WorkerReport:
        """Return the report in a message. Raises ChatloadError if another version sent it."""
        try:
            sessions, timelines, books, usage, final, behind = data
            if sessions and len(sessions[0]) != len(COLUMNS):
                raise ValueError(f"{len(sessions[0])} columns of a session instead of {len(COLUMNS)}")
            return cls(sessions, timelines, books, Usage(*usage), final, str(behind))
        except (TypeError, ValueError) as error:
            message = f"a worker's report cannot be read ({error})"
            raise ChatloadError(message, "do all processes run the same chatload?") from None


class ProcessFacts:
    """Counters and ended sessions of this process. `report` returns each session once."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.books = Books()
        self._ended: list[SessionRecord] = []
        self._timelines: list[Timeline] = []
        self._worst = WorstTimelines()
        self._process = psutil.Process()
        self._rss = 0
        self._lateness = LatenessMonitor()
        self._epoch = time.time() - time.monotonic()

    def add(self, session: ChatEngine) -> None:
        """Add an ended session. Its times become seconds since the Unix epoch."""
        record = session.record
        timeline = session.timeline()
        record.worker = self.worker
        record.started_at += self._epoch
        record.ended_at += self._epoch
        if record.goodbye_at is not None:
            record.goodbye_at += self._epoch
        self._ended.append(record)
        if timeline is not None and self._worst.admits(timeline):
            timeline.worker = self.worker
            timeline.shift(self._epoch)
            self._timelines.append(timeline)

    def usage(self) -> Usage:
        """Return CPU time and memory. The memory is the last known one if no file can be opened."""
        with suppress(OSError, psutil.Error):
            self._rss = self._process.memory_info().rss
        return Usage(time.process_time(), self._rss)

    def now(self) -> float:
        """Return seconds since the Unix epoch by the monotonic clock: a step of the wall clock has no effect."""
        return self._epoch + time.monotonic()

    def report(self, final: bool) -> WorkerReport:
        """Return what happened since the previous report."""
        ended, self._ended = self._ended, []
        timelines, self._timelines = self._timelines, []
        books = orjson.dumps(self.books.to_dict()).decode()
        usage = self.usage()
        behind = self._lateness.look(self.books, Spent(usage.cpu_s, _ready_s()), time.monotonic())
        rows = [row(record) for record in ended]
        return WorkerReport(rows, [timeline.to_dict() for timeline in timelines], books, usage, final, behind)


def _ready_s() -> float | None:
    """Return how long this process was ready to run but had no CPU, by Linux's scheduler. None if unknown."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None
