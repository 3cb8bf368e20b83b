"""The facts of one process, its reports to the master, and the workers as their master knows them by their reports.

A master reads a hundred reports per second, so it decodes nothing that is only written to the run file: sessions arrive
as rows, counters as the JSON that the run file stores. All processes run the same version of chatload.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import psutil

from chatload.chat.engine import ChatEngine
from chatload.chat.record import COLUMNS, SessionRecord, Timeline, WorstTimelines
from chatload.errors import ChatloadError
from chatload.run.books import Books, RunBooks
from chatload.run.histogram import Histogram
from chatload.run.windows import Usage
from chatload.run.writer import row

#: Message types. A worker sends its report and, if it cannot hold chats, why. A master tells its workers to disconnect
#: all chats and send their final report, and every second that it is alive.
REPORT, UNFIT, DRAIN, ALIVE = "chatload-report", "chatload-unfit", "chatload-drain", "chatload-alive"
#: A worker asks for rows of a feeder: user class and count. The master answers with user class, first row and count.
ROWS = "chatload-rows"
#: A worker sends its report at this interval (seconds).
REPORT_EVERY_S = 1.0
#: A worker without a report for this long is silent (seconds). It sends one every second.
SILENT_S = 5.0
#: The master checks for silent workers every second. If it has not checked for this long (seconds), the master itself
#: was stalled.
_CHECK_OVERDUE_S = 2.0
#: A process is behind if the 99th percentile of lateness is above this (seconds).
BEHIND_S = 0.05
#: The least time between two messages (seconds).
AGAIN_S = 10.0
#: Shares of the time: below the first, a cause is ignored; from the second on, a core is full.
_MATTERS, _FULL = 0.1, 0.85


class WorkerReport(NamedTuple):
    """What a process reports since its previous report.

    sessions: rows of sessions that ended, columns as in COLUMNS. timelines: of the worst of them, as dicts.
    books: all counters so far by user class, each as JSON of Books.to_dict; "" has what belongs to no class.
    usage: CPU time and memory so far. final: no report follows.
    run: of which run, as the master named it to its workers; empty in a process that has not begun one.
    behind: why refreshes leave late, empty if they do not. users, waiting: users here, and those of them that begin no
    more chats because the rows of their feeder are used up. ended: the feeder whose end is an error, empty if none.
    suspended: the machine was suspended meanwhile. jumped_s: by how much its wall clock jumped ahead otherwise.
    """

    sessions: list[Any]
    timelines: list[dict[str, Any]]
    books: dict[str, str]
    usage: Usage
    final: bool
    run: str = ""
    behind: str = ""
    users: int = 0
    waiting: int = 0
    ended: str = ""
    suspended: bool = False
    jumped_s: float = 0.0

    @classmethod
    def read(cls, data: Any) -> WorkerReport:
        """Return the report in a message. Raises ChatloadError if another version sent it."""
        try:
            sessions, timelines, books, usage, final, run, behind, users, waiting, ended, suspended, jumped_s = data
            if sessions and len(sessions[0]) != len(COLUMNS):
                raise ValueError(f"{len(sessions[0])} columns of a session instead of {len(COLUMNS)}")
            return cls(
                sessions, timelines, books, Usage(*usage), final, str(run), str(behind), users, waiting, str(ended),
                bool(suspended), float(jumped_s),
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            message = f"a worker's report cannot be read ({error})"
            raise ChatloadError(message, "do all processes run the same chatload?") from None


class ProcessFacts:
    """Counters, ended sessions and usage of this process. `report` returns each session once.

    books: what belongs to no user class; in a run with one class, everything. users: how many are here. waiting: those
    of them whose feeder has no more rows. numbered: sessions that were given a number. feeder_ended: the feeder whose
    end is an error, "" if there is none. suspended: the machine was suspended since the last report. jumped_s:
    by how much its wall clock jumped ahead since then (seconds).
    """

    def __init__(self, worker: str, classes: Iterable[str] = (), run: str = "") -> None:
        """classes: the names of the user classes, if there are several. run: see WorkerReport."""
        self.worker, self.run = worker, run
        self.books = Books()
        self.by_class = {name: Books() for name in classes if name}
        self.users = self.waiting = self.numbered = 0
        self.feeder_ended = ""
        self.suspended = False
        self.jumped_s = 0.0
        self._ended: list[SessionRecord] = []
        self._timelines: list[Timeline] = []
        self._worst = WorstTimelines()
        self._process = psutil.Process()
        self._rss = 0
        self._lateness = LatenessMonitor()
        self._epoch = time.time() - time.monotonic()

    @property
    def users_and_waiting(self) -> tuple[int, int]:
        """See WorkerRegistry."""
        return self.users, self.waiting

    def add(self, session: ChatEngine) -> None:
        """Add an ended session. Its times become seconds since the Unix epoch."""
        self.add_record(session.record, session.timeline(self._epoch))

    def add_record(self, record: SessionRecord, timeline: Timeline | None = None) -> None:
        """Add the record of an ended session, and its timeline if it has one."""
        record.worker = self.worker
        record.started_at += self._epoch
        record.ended_at += self._epoch
        if record.goodbye_at is not None:
            record.goodbye_at += self._epoch
        if record.accepted_at is not None:
            record.accepted_at += self._epoch
        self._ended.append(record)
        if timeline is not None and self._worst.admits(timeline):
            timeline.worker = self.worker
            self._timelines.append(timeline)

    @property
    def usage(self) -> dict[str, Usage]:
        """CPU time and memory by process. The memory is the last known one if no file can be opened."""
        with suppress(OSError, psutil.Error):
            self._rss = self._process.memory_info().rss
        return {self.worker: Usage(time.process_time(), self._rss)}

    def __len__(self) -> int:
        return 1

    def books_of(self, user_class: str) -> Books:
        """Return the counters of the chats of a class."""
        return self.by_class.get(user_class, self.books)

    @property
    def started(self) -> int:
        """The number of sessions that began here."""
        return self.books.started + sum(books.started for books in self.by_class.values())

    @property
    def open(self) -> int:
        """The number of sessions that are open here."""
        return self.books.states.total() + sum(books.states.total() for books in self.by_class.values())

    def total(self) -> Books:
        """Return the counters of all classes together, as a copy."""
        self._count_exposure()
        total = self.books.copy()
        for books in self.by_class.values():
            total.merge(books)
        return total

    def run_books(self) -> RunBooks:
        """Return the counters of all classes together and of each, at the same instant, as copies."""
        return RunBooks(self.total(), {name: books.copy() for name, books in self.by_class.items()})

    def _count_exposure(self) -> None:
        now = time.monotonic()
        for books in (self.books, *self.by_class.values()):
            books.count_exposure(now)

    def now(self) -> float:
        """Return seconds since the Unix epoch by the monotonic clock: a step of the wall clock has no effect."""
        return self._epoch + time.monotonic()

    def report(self, final: bool) -> WorkerReport:
        """Return what happened since the previous report."""
        ended, self._ended = self._ended, []
        timelines, self._timelines = self._timelines, []
        suspended, self.suspended = self.suspended, False
        jumped_s, self.jumped_s = self.jumped_s, 0.0
        now, usage = time.monotonic(), self.usage[self.worker]
        parts = {"": self.books, **self.by_class}
        self._count_exposure()
        return WorkerReport(
            [row(record) for record in ended],
            [asdict(timeline) for timeline in timelines],
            {name: orjson.dumps(books.to_dict()).decode() for name, books in parts.items()},
            usage,
            final,
            self.run,
            self._lateness.look(self.total() if self.by_class else self.books, usage.cpu_s, _ready_s(), now),
            self.users,
            self.waiting,
            self.feeder_ended,
            suspended,
            jumped_s,
        )


class LatenessMonitor:
    """Reports when the refreshes of a process leave late, and why."""

    def __init__(self) -> None:
        self._lateness = Histogram()
        self._cpu_s = self._stalled_s = self._at = 0.0
        self._waited_s: float | None = None
        self._said_at = float("-inf")

    def look(self, books: Books, cpu_s: float, waited_s: float | None, now: float) -> str:
        """Return a message if the process is behind, else "". It is called once a second.

        books, cpu_s (CPU time), waited_s: those of the process so far. waited_s: time in which it was ready to run but
        other processes used its core; None if the system does not tell it. now: monotonic seconds.
        """
        late, length = books.lateness.since(self._lateness), now - self._at
        stalled, used = books.stalled_s - self._stalled_s, cpu_s - self._cpu_s
        waited = 0.0 if waited_s is None or self._waited_s is None else waited_s - self._waited_s
        self._cpu_s, self._waited_s, self._stalled_s, self._at = cpu_s, waited_s, books.stalled_s, now
        self._lateness = Histogram()
        self._lateness.merge(books.lateness)
        p99 = late.quantile(0.99)
        if p99 is None or p99 <= BEHIND_S or length <= 0 or now - self._said_at < AGAIN_S:
            return ""
        self._said_at = now
        why = _why(stalled / length, used / length, waited / length)
        return f"refreshes leave late here: 1 in 100 by more than {1000 * p99:.0f} ms; {why}"


def _why(stalled: float, cpu: float, waited: float) -> str:
    """Return the cause, given shares of the time."""
    if waited >= _MATTERS:
        return f"other processes used its core for {100 * waited:.0f} % of the time"
    if cpu >= _FULL:
        return f"its core is full ({100 * cpu:.0f} %): use more processes, or fewer chats in each"
    if stalled >= _MATTERS:
        return f"it was stalled for {100 * stalled:.0f} % of the time"
    return "many refreshes were due at once"


def _ready_s() -> float | None:
    """Return how long this process was ready to run but had no CPU, by Linux's scheduler. None if unknown."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


class WorkerRegistry:
    """Counters and usage of each worker by its latest report. Times: any monotonic clock, seconds.

    usage: CPU time and memory by worker, without silent ones. unfit: workers that cannot hold chats (for example: too
    few file descriptors). progressed_at: when a report last had ended sessions or was final.
    """

    def __init__(self, expected: Iterable[str] = (), now: float = 0.0) -> None:
        """expected: the workers that are to hold chats, as far as they are known at the start of the run (`now`)."""
        self.usage: dict[str, Usage] = {}
        self.unfit: set[str] = set()
        self.progressed_at = 0.0
        self._final: set[str] = set()
        self._books_json: dict[str, dict[str, str]] = {}
        self._idle: dict[str, tuple[int, int]] = {}
        self._books: dict[str, dict[str, Books]] = {}
        self._run_books: RunBooks | None = None
        # A worker that dies before its first report is silent, and lost, as any other.
        self._heard_at = dict.fromkeys(expected, now)
        self._silent: set[str] = set()
        self._idle_workers: set[str] = set()
        self._checked_at: float | None = None

    def __len__(self) -> int:
        return len(self._books_json)

    def receive(self, worker: str, report: WorkerReport, now: float) -> bool:
        """Store a report; return whether the worker was silent before."""
        self._books_json[worker] = report.books
        self._books.pop(worker, None)
        self._run_books = None
        self.usage[worker] = report.usage
        self._idle[worker] = report.users, report.waiting
        self._heard_at[worker] = now
        self._idle_workers.discard(worker)
        if report.final:
            self._final.add(worker)
        if report.final or report.sessions:
            self.progressed_at = now
        was_silent = worker in self._silent
        self._silent.discard(worker)
        return was_silent

    def takes_no_part(self, worker: str) -> None:
        """Note a final report of no run, or of an earlier one: the worker has not begun this run."""
        if worker not in self._books_json:
            self._heard_at.pop(worker, None)
            self._idle_workers.add(worker)

    def find_silent(self, now: float) -> list[str]:
        """Return the workers that became silent since the previous call.

        Time in which the master was stalled does not count: reports that arrived meanwhile are still unread.
        """
        stalled = max(0.0, now - self._checked_at - _CHECK_OVERDUE_S) if self._checked_at is not None else 0.0
        self._checked_at = now
        if stalled:
            self._heard_at = {worker: min(now, heard + stalled) for worker, heard in self._heard_at.items()}
        found = [
            worker
            for worker, heard in self._heard_at.items()
            if now - heard > SILENT_S and worker not in self._silent | self._final | self.unfit
        ]
        self._silent.update(found)
        for worker in found:
            self.usage.pop(worker, None)
        return found

    @property
    def users_and_waiting(self) -> tuple[int, int]:
        """How many users there are, and how many of them wait because their feeder has no more rows."""
        return sum(users for users, _ in self._idle.values()), sum(waiting for _, waiting in self._idle.values())

    def awaited(self, workers: Iterable[str]) -> set[str]:
        """Return those of the workers whose final report may still come."""
        return set(workers) - self._final - self._silent - self._idle_workers

    def lost(self) -> list[str]:
        """Return the workers whose final report never came."""
        return sorted(self._heard_at.keys() - self._final - self.unfit)

    def describe_silence(self, worker: str) -> str:
        """Return a sentence about a worker that became silent."""
        if worker not in self._books_json:
            return f"worker {worker} never reported: it may have opened sessions, and they are not known"
        still_open = sum(books.started - books.verdicts.total() for books in self._books_of(worker).values())
        return f"worker {worker} fell silent with {still_open} sessions open by its last report, their state unknown"

    def total(self) -> Books:
        """Return the counters of all workers together, computed on demand. Not to be changed."""
        return self.run_books().total

    def run_books(self) -> RunBooks:
        """Return the counters of all workers together, in all and by user class. Not to be changed."""
        if self._run_books is None:
            parts: dict[str, Books] = {}
            for worker in self._books_json:
                for name, books in self._books_of(worker).items():
                    parts.setdefault(name, Books()).merge(books)
            total = parts.pop("", Books())
            for books in parts.values():
                total.merge(books)
            self._run_books = RunBooks(total, parts)
        return self._run_books

    def _books_of(self, worker: str) -> dict[str, Books]:
        """Return the counters of a worker by user class."""
        if worker not in self._books:
            parts = self._books_json[worker]
            self._books[worker] = {name: Books.from_dict(orjson.loads(data)) for name, data in parts.items()}
        return self._books[worker]
