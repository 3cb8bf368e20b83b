"""What a run writes down while it goes on: all that came up, in one synced transaction, every second or oftener.

A worker hands its facts over every second, and they are written within half of the next: at most 2 s of facts are at
risk whatever is killed, also where a hundred workers' take some time to be written. Where nothing can be written any
more (a full disk) recording stops and the run goes on: it says so loudly, then and in the end, and is not called good.
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
from chatload.swarm.wire import Handover
from chatload.vocabulary import IncidentKind

log = logging.getLogger("chatload")


class Recorder:
    """The run file of a run that goes on. clock: seconds since the Unix epoch."""

    def __init__(self, run_dir: Path, settings: RunSettings, clock: Callable[[], float]) -> None:
        """Raises UsageError where a run is there already or the folder cannot be written."""
        self.error: ChatloadError | None = None
        self._writer = RunWriter.create(run_dir, settings, keep_windows_s=settings.keep_windows)
        self._clock = clock
        self._cutter, self._worst = WindowCutter(clock()), WorstTimelines()
        self._sessions: list[Sequence[Any]] = []
        self._books: dict[str, str] = {}
        self._timelines: list[Timeline] = []
        self._lost = 0
        self._turn = RLock()

    def take(self, worker: str, facts: Handover) -> None:
        """Facts of a process came in; they are written with the next `flush`."""
        if self.error is not None:
            self._lost += len(facts.sessions)
            return
        self._sessions += facts.sessions
        self._books[worker] = facts.books
        timelines = [Timeline.from_dict(data) for data in facts.timelines]
        self._timelines += [timeline for timeline in timelines if self._worst.admits(timeline)]

    def flush(self) -> None:
        """Write what came in, synced; other greenlets run meanwhile."""
        sessions, self._sessions = self._sessions, []
        books, self._books = self._books, {}
        timelines, self._timelines = self._timelines, []
        if books or sessions:
            self._try(len(sessions), self._writer.keep, sessions, books, timelines)

    def cut_window(self, books: Callable[[], Books], usage: Mapping[str, Usage], last: bool = False) -> None:
        """Write the window that ends now, where one does; last: in any case. books: gives those of all processes."""
        now = self._clock()
        if last or self._cutter.due(now):
            self._try(0, self._writer.add_windows, [self._cutter.cut(now, books(), usage)])

    def note(self, kind: str, what: str) -> None:
        """Write down what happened to the run itself."""
        self._try(0, self._writer.incident, kind, what, self._clock())

    def finish(self) -> None:
        """The run is over and all of it is here. Raises ChatloadError where it is not."""
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
        """One write, in a thread of its own: to sync takes milliseconds, in which chats have to be refreshed."""
        with self._turn:
            if self.error is not None:
                self._lost += sessions
                return
            error = gevent.get_hub().threadpool.apply(_attempt, (write, arguments))
            if error is not None:
                self.error, self._lost = error, sessions
                log.error("chatload: RECORDING STOPPED: %s; the run goes on, and will not be called good", error)
                self._mark(error)

    def _mark(self, error: ChatloadError) -> None:
        """Say in the file itself that it is not whole; a few bytes may fit where much did not. Where not even
        they do, the file says that the run was never finished."""
        at = datetime.fromtimestamp(self._clock(), UTC).strftime("%H:%M:%S")
        lost = f", {self._lost} sessions that ended until then are missing" if self._lost else ""
        self._writer.make_room()
        with suppress(ChatloadError):
            self._writer.incident(IncidentKind.RECORDING_STOPPED, f"at {at} UTC: {error.message}{lost}", self._clock())


def _attempt(write: Callable[..., None], arguments: tuple[Any, ...]) -> ChatloadError | None:
    """gevent prints what is raised in a thread, also where it is caught."""
    try:
        write(*arguments)
    except ChatloadError as error:
        return error
    return None
