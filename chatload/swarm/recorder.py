"""Writes the run file while the run goes on: one synced transaction for all reports, every second or more often.

A worker reports every second, and its report is written within half a second: at most 2 s of facts are lost whatever is
killed, even if a hundred workers' reports take some time to be written. If nothing can be written any more (a full
disk), recording stops and the run goes on. This is logged at once and again at the end, and the run is invalid.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import RLock

from chatload.chat.timeline import Timeline, WorstTimelines
from chatload.errors import ChatloadError
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.windows import Usage, WindowCutter
from chatload.run.writer import RunWriter
from chatload.swarm.worker_report import WorkerReport
from chatload.vocabulary import IncidentKind

log = logging.getLogger("chatload")


class Recorder:
    """The run file of an active run."""

    def __init__(self, run_dir: Path, settings: RunSettings, clock: Callable[[], float]) -> None:
        """Create the file.

        Args:
            run_dir: folder of the run.
            settings: what the run records about itself.
            clock: seconds since the Unix epoch.

        Raises:
            UsageError: the folder has a run already or cannot be written.
        """
        self.error: ChatloadError | None = None
        self._writer = RunWriter.create(run_dir, settings)
        self._clock = clock
        self._cutter, self._worst = WindowCutter(clock()), WorstTimelines()
        self._sessions: list[Sequence[Any]] = []
        self._books: dict[str, str] = {}
        self._timelines: list[Timeline] = []
        self._lost = 0
        self._turn = RLock()

    def take(self, worker: str, report: WorkerReport) -> None:
        """Take the report of a process. The next `flush` writes it."""
        if self.error is not None:
            self._lost += len(report.sessions)
            return
        self._sessions += report.sessions
        self._books[worker] = report.books
        timelines = [Timeline.from_dict(data) for data in report.timelines]
        self._timelines += [timeline for timeline in timelines if self._worst.admits(timeline)]

    def flush(self) -> None:
        """Write the reports, synced. Other greenlets run meanwhile."""
        sessions, self._sessions = self._sessions, []
        books, self._books = self._books, {}
        timelines, self._timelines = self._timelines, []
        if books or sessions:
            self._try(len(sessions), self._writer.keep, sessions, books, timelines)

    def cut_window(self, books: Callable[[], Books], usage: Mapping[str, Usage], last: bool = False) -> None:
        """Write the window that ends now, if one does.

        Args:
            books: returns the counters of all processes.
            usage: CPU time and memory of each process.
            last: end the current window in any case.
        """
        now = self._clock()
        if last or self._cutter.due(now):
            self._try(0, self._writer.add_windows, [self._cutter.cut(now, books(), usage)])

    def note(self, kind: str, what: str) -> None:
        """Write an incident of the run."""
        self._try(0, self._writer.incident, kind, what, self._clock())

    def finish(self) -> None:
        """Finish the file of an ended run. Raises ChatloadError if the file is not complete."""
        with self._turn:
            stopped = self.error
        if stopped is not None:
            self._mark(stopped)
        else:
            self._writer.finish(self._clock())
        with suppress(ChatloadError):
            self._writer.close()
        if stopped is not None:
            raise stopped

    def _try(self, sessions: int, write: Callable[..., None], *arguments: Any) -> None:
        """Write in a thread: a sync takes milliseconds, in which chats have to be refreshed."""
        with self._turn:
            if self.error is not None:
                self._lost += sessions
                return
            error = gevent.get_hub().threadpool.apply(_attempt, (write, arguments))
            if error is not None:
                self.error, self._lost = error, sessions
                log.error("chatload: RECORDING STOPPED: %s; the run goes on, and is invalid", error)
                self._mark(error)

    def _mark(self, error: ChatloadError) -> None:
        """Write into the file that it is not complete: a few bytes may fit where a transaction did not.

        If they do not fit either, the file says that the run was never finished.
        """
        at = datetime.fromtimestamp(self._clock(), UTC).strftime("%H:%M:%S")
        lost = f", {self._lost} sessions that ended until then are missing" if self._lost else ""
        self._writer.make_room()
        with suppress(ChatloadError):
            self._writer.incident(IncidentKind.RECORDING_STOPPED, f"at {at} UTC: {error.message}{lost}", self._clock())


def _attempt(write: Callable[..., None], arguments: tuple[Any, ...]) -> ChatloadError | None:
    """Return the error instead of raising it: gevent prints exceptions of its threads, even if they are caught."""
    try:
        write(*arguments)
    except ChatloadError as error:
        return error
    return None
