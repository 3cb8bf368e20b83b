"""The processes of a run as its master sees them: their books so far, and who has fallen silent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatload.session.books import Books
from chatload.store.windows import Usage

#: A worker hands its facts over every second; one not heard of for so long (seconds) has fallen silent.
SILENT_S = 5.0


class Crew:
    """Books and usage by process, as of what each handed over last. Instants: any monotonic clock, seconds."""

    def __init__(self) -> None:
        self.books_by_worker: dict[str, Books] = {}
        self.usage: dict[str, Usage] = {}
        self.drained: set[str] = set()
        self._heard: dict[str, float] = {}
        self._silent: set[str] = set()

    def hear(self, worker: str, facts: Mapping[str, Any], now: float) -> bool:
        """A worker handed its facts over; True where it had been silent."""
        self.books_by_worker[worker] = Books.from_dict(facts["books"])
        self.usage[worker] = Usage(*facts["usage"])
        self._heard[worker] = now
        if facts["final"]:
            self.drained.add(worker)
        was_silent = worker in self._silent
        self._silent.discard(worker)
        return was_silent

    def fell_silent(self, now: float) -> list[str]:
        """Who has fallen silent since this was asked last."""
        found = [
            worker
            for worker, heard in self._heard.items()
            if now - heard > SILENT_S and worker not in self._silent and worker not in self.drained
        ]
        self._silent.update(found)
        return found

    def awaited(self, workers: Iterable[str]) -> set[str]:
        """Those of the workers whose last facts are still to come, and may."""
        return set(workers) - self.drained - self._silent

    def lost(self) -> list[str]:
        """Whose last facts never came."""
        return sorted(set(self.books_by_worker) - self.drained)

    def silence_of(self, worker: str) -> str:
        """What is known of a worker that fell silent."""
        books = self.books_by_worker[worker]
        still = books.started - books.verdicts.total()
        return f"worker {worker} fell silent with {still} sessions open, their state unknown"

    def total(self) -> Books:
        """The books of all processes together."""
        total = Books()
        for books in self.books_by_worker.values():
            total.merge(books)
        return total
