"""The run over time, in windows: what was added to the books in each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from chatload.run.books import Books

#: Windows last FINE_S in the first FINE_FOR_S of a run, and COARSE_S after that (seconds).
FINE_S, FINE_FOR_S, COARSE_S = 1.0, 300.0, 10.0
#: The name of the master among the processes of a run; it holds no chats.
MASTER = "master"


class Usage(NamedTuple):
    """The CPU time that one generator process has used so far (seconds), and the memory that it holds (bytes)."""

    cpu_s: float
    rss: int


@dataclass(slots=True)
class Window:
    """One window of a run. start, end: Unix seconds, by the master's clock.

    open: sessions open at its end.
    books: what all processes added in it; counts of a worker arrive up to a second late.
    cpu: of the busiest process that holds chats, % of a core; None if not known.
    rss: memory of all processes of the run (bytes); None if not known. memory: of each process, by name.
    """

    start: float
    end: float
    open: int
    books: Books
    cpu: float | None = None
    rss: int | None = None
    memory: dict[str, int] = field(default_factory=dict)


class WindowCutter:
    """Makes windows from the growing books of a run."""

    def __init__(self, started_at: float) -> None:
        """started_at: Unix seconds."""
        self._began = self._start = started_at
        self._before = Books()
        self._usage: Mapping[str, Usage] = {}

    def due(self, now: float) -> bool:
        """Return whether the current window is over at `now` (Unix seconds)."""
        fine = self._start - self._began < FINE_FOR_S
        return now - self._start >= (FINE_S if fine else COARSE_S) - FINE_S / 10

    def cut(self, now: float, books: Books, usage: Mapping[str, Usage] = {}) -> Window:
        """Return the window that ends at `now` (Unix seconds).

        books, usage: those of all processes so far; `books` must not change afterwards.
        """
        added, length = books.since(self._before), now - self._start
        before = self._usage
        busy = [used.cpu_s - before[who].cpu_s for who, used in usage.items() if who in before and who != MASTER]
        still = books.started - books.verdicts.total()
        memory = {who: u.rss for who, u in usage.items()}
        rss = sum(memory.values()) if memory else None
        cpu = 100 * max(busy) / length if busy and length > 0 else None
        window = Window(self._start, now, still, added, cpu, rss, memory)
        self._start, self._before, self._usage = now, books, dict(usage)
        return window
