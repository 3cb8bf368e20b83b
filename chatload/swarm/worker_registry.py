"""The workers of a run as their master knows them: latest reports, silent workers, final reports."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from chatload.run.books import Books
from chatload.run.windows import Usage
from chatload.swarm.worker_report import WorkerReport

#: A worker without a report for this long is silent (seconds). It sends one every second.
SILENT_S = 5.0
#: The master checks for silent workers every second. If it has not checked for this long (seconds), the master itself
#: was stalled.
_CHECK_OVERDUE_S = 2.0


class WorkerRegistry:
    """Counters and usage of each worker by its latest report. Times: any monotonic clock, seconds.

    usage: by worker. unfit: workers that cannot hold chats (for example: too few file descriptors). progressed_at: when
    a report last had ended sessions or was final.
    """

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}
        self.unfit: set[str] = set()
        self.progressed_at = 0.0
        self._final: set[str] = set()
        self._books_json: dict[str, str] = {}
        self._books: dict[str, Books] = {}
        self._total: Books | None = None
        self._heard_at: dict[str, float] = {}
        self._silent: set[str] = set()
        self._checked_at: float | None = None

    def __len__(self) -> int:
        return len(self._books_json)

    def receive(self, worker: str, report: WorkerReport, now: float) -> bool:
        """Store a report; return whether the worker was silent before."""
        self._books_json[worker] = report.books
        self._books.pop(worker, None)
        self._total = None
        self.usage[worker] = report.usage
        self._heard_at[worker] = now
        if report.final:
            self._final.add(worker)
        if report.final or report.sessions:
            self.progressed_at = now
        was_silent = worker in self._silent
        self._silent.discard(worker)
        return was_silent

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
            if now - heard > SILENT_S and worker not in self._silent and worker not in self._final
        ]
        self._silent.update(found)
        for worker in found:
            self.usage.pop(worker, None)
        return found

    def awaited(self, workers: Iterable[str]) -> set[str]:
        """Return those of the workers whose final report may still come."""
        return set(workers) - self._final - self._silent

    def lost(self) -> list[str]:
        """Return the workers whose final report never came."""
        return sorted(set(self._books_json) - self._final)

    def describe_silence(self, worker: str) -> str:
        """Return a sentence about a worker that became silent."""
        books = self._books_of(worker)
        still_open = books.started - books.verdicts.total()
        return f"worker {worker} fell silent with {still_open} sessions open, their state unknown"

    def total(self) -> Books:
        """Return the counters of all workers together, computed on demand. Not to be changed."""
        if self._total is None:
            self._total = Books()
            for worker in self._books_json:
                self._total.merge(self._books_of(worker))
        return self._total

    def _books_of(self, worker: str) -> Books:
        books = self._books.get(worker)
        if books is None:
            books = self._books[worker] = Books.from_dict(orjson.loads(self._books_json[worker]))
        return books
