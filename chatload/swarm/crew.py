"""The processes of a run as its master sees them: their books so far, and who has fallen silent."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from chatload.run.books import Books
from chatload.run.windows import Usage
from chatload.swarm.wire import Handover

#: A worker hands its facts over every second; one not heard of for so long (seconds) has fallen silent.
SILENT_S = 5.0
#: Whoever is to find that out asks every second; one who has not for so long (seconds) stood still itself.
_ASKED_S = 2.0


class Crew:
    """Books and usage by process, as of what each handed over last. Instants: any monotonic clock, seconds."""

    def __init__(self) -> None:
        self.usage: dict[str, Usage] = {}
        self.drained: set[str] = set()
        #: Who can hold no chats.
        self.unfit: set[str] = set()
        #: When a session's end, or a worker's, was last heard of.
        self.progressed = 0.0
        self._handed: dict[str, str] = {}
        self._read: dict[str, Books] = {}
        self._total: Books | None = None
        self._heard: dict[str, float] = {}
        self._silent: set[str] = set()
        self._asked: float | None = None

    def __len__(self) -> int:
        return len(self._handed)

    def hear(self, worker: str, facts: Handover, now: float) -> bool:
        """A worker handed its facts over; True where it had been silent."""
        self._handed[worker] = facts.books
        self._read.pop(worker, None)
        self._total = None
        self.usage[worker] = facts.usage
        self._heard[worker] = now
        if facts.final:
            self.drained.add(worker)
        if facts.final or facts.sessions:
            self.progressed = now
        was_silent = worker in self._silent
        self._silent.discard(worker)
        return was_silent

    def fell_silent(self, now: float) -> list[str]:
        """Who has fallen silent since this was asked last. Time in which the master stood still itself proves nothing:
        what workers sent meanwhile is still to be read."""
        stood_still = max(0.0, now - self._asked - _ASKED_S) if self._asked is not None else 0.0
        self._asked = now
        if stood_still:
            self._heard = {worker: min(now, heard + stood_still) for worker, heard in self._heard.items()}
        found = [
            worker
            for worker, heard in self._heard.items()
            if now - heard > SILENT_S and worker not in self._silent and worker not in self.drained
        ]
        self._silent.update(found)
        for worker in found:
            self.usage.pop(worker, None)
        return found

    def awaited(self, workers: Iterable[str]) -> set[str]:
        """Those of the workers whose last facts are still to come, and may."""
        return set(workers) - self.drained - self._silent

    def lost(self) -> list[str]:
        """Whose last facts never came."""
        return sorted(set(self._handed) - self.drained)

    def silence_of(self, worker: str) -> str:
        """What is known of a worker that fell silent."""
        books = self._books_of(worker)
        still = books.started - books.verdicts.total()
        return f"worker {worker} fell silent with {still} sessions open, their state unknown"

    def total(self) -> Books:
        """The books of all processes together, not to be changed; worked out only where somebody asks."""
        if self._total is None:
            self._total = Books()
            for worker in self._handed:
                self._total.merge(self._books_of(worker))
        return self._total

    def _books_of(self, worker: str) -> Books:
        books = self._read.get(worker)
        if books is None:
            books = self._read[worker] = Books.from_dict(orjson.loads(self._handed[worker]))
        return books
