"""The run over time, in windows: what was added to the books in each. Old windows are merged, so that even a run of
weeks keeps a limited number of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import frexp
from typing import NamedTuple

from chatload.run.books import Books, RunBooks

#: Windows last FINE_S in the first FINE_FOR_S of a run, and COARSE_S after that (seconds).
FINE_S, FINE_FOR_S, COARSE_S = 1.0, 300.0, 10.0
#: Windows are not merged before this age (seconds): the default, and the least that can be set.
KEEP_S, LEAST_KEEP_S = 86400.0, 3600.0
#: Windows do not have exactly their nominal length: a merged one may be longer than its limit by this factor.
_SLACK = 1.25
#: At most this many windows are merged at a time: meanwhile nothing else can be written.
_MOST = 200
#: The time between two searches for windows to merge, as a part of keep_s.
_EVERY = 0.01
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
    by_class: the same of each user class, in a run with several; without CPU and memory, which belong to processes.
    """

    start: float
    end: float
    open: int
    books: Books
    cpu: float | None = None
    rss: int | None = None
    memory: dict[str, int] = field(default_factory=dict)
    by_class: Mapping[str, "Window"] = field(default_factory=dict)

    @property
    def middle(self) -> float:
        """Its middle (Unix seconds), which says to what part of the run it belongs."""
        return (self.start + self.end) / 2


class WindowCutter:
    """Makes windows from the growing books of a run. started_at: Unix seconds."""

    def __init__(self, started_at: float) -> None:
        self._began = self._start = started_at
        self._before = RunBooks(Books())
        self._usage: Mapping[str, Usage] = {}

    def due(self, now: float) -> bool:
        """Return whether the current window is over at `now` (Unix seconds)."""
        fine = self._start - self._began < FINE_FOR_S
        return now - self._start >= (FINE_S if fine else COARSE_S) - FINE_S / 10

    def cut(self, now: float, books: RunBooks, usage: Mapping[str, Usage] = {}) -> Window:
        """Return the window that ends at `now` (Unix seconds).

        books, usage: those of all processes so far; `books` must not change afterwards.
        """
        length = now - self._start
        by_class = {
            name: self._window(now, own, self._before.by_class.get(name, Books()))
            for name, own in books.by_class.items()
        }
        before = self._usage
        busy = [used.cpu_s - before[who].cpu_s for who, used in usage.items() if who in before and who != MASTER]
        memory = {who: u.rss for who, u in usage.items()}
        rss = sum(memory.values()) if memory else None
        cpu = 100 * max(busy) / length if busy and length > 0 else None
        window = self._window(now, books.total, self._before.total)
        window = replace(window, cpu=cpu, rss=rss, memory=memory, by_class=by_class)
        self._start, self._before, self._usage = now, books, dict(usage)
        return window

    def _window(self, now: float, books: Books, before: Books) -> Window:
        return Window(self._start, now, books.started - books.verdicts.total(), books.since(before))


# -- merging old windows -------------------------------------------------------------------------


class Kept(NamedTuple):
    """A window in the run file: its rowid, start and end (Unix seconds)."""

    row: int
    start: float
    end: float


def width(age_s: float, keep_s: float) -> float:
    """Return the length (seconds) up to which windows that ended `age_s` ago are merged; 0 if they are not merged.

    It is twice COARSE_S from the age keep_s on, and doubles each time the age doubles. So a window's length is
    proportional to its age: of the newest keep_s seconds all windows are kept (keep_s / COARSE_S of them), and each
    doubling of the run's length adds half as many.
    """
    if keep_s <= 0 or age_s < keep_s:
        return 0.0
    doublings = frexp(age_s / keep_s)[1]  # 1 from keep_s on, 2 from 2 * keep_s on, ...
    return COARSE_S * 2.0**doublings


class Retention:
    """Decides which windows of one run are merged: none before the age keep_s (seconds; 0: never). Instants: Unix."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._kept: list[Kept] = []
        self._due = 0.0

    def add(self, kept: Kept) -> None:
        if self._keep_s:
            self._kept.append(kept)
            self._due = self._due or kept.end + self._keep_s

    def due(self, now: float) -> list[list[Kept]]:
        """Return groups of neighbouring windows. Each is to be merged now, into the row of its first window.

        A group counts as one window from now on. If it was not merged after all, a later merge may include its rows.
        """
        if not self._due or now < self._due:
            return []
        self._due = now + max(_EVERY * self._keep_s, 10 * COARSE_S)
        groups = [group for group in self._groups(now) if len(group) > 1]
        made = {group[0].row: Kept(group[0].row, group[0].start, group[-1].end) for group in groups}
        gone = {kept.row for group in groups for kept in group[1:]}
        self._kept = [made.get(kept.row, kept) for kept in self._kept if kept.row not in gone]
        return groups

    def _groups(self, now: float) -> list[list[Kept]]:
        groups: list[list[Kept]] = [[]]
        many = 0
        for kept in self._kept:
            wide, group = width(now - kept.end, self._keep_s), groups[-1]
            if not wide or many >= _MOST:
                break
            if group and kept.end - group[0].start <= wide * _SLACK:
                group.append(kept)
                many += 1
            else:
                groups.append([kept])
        return groups


def fold(windows: Iterable[Window]) -> Window:
    """Return one window for neighbouring ones, given in order of time.

    Its books are the sum of theirs, its CPU the highest, its open sessions the fewest. Memory and states are those of
    the last one.
    """
    made, *others = windows
    for after in others:
        made.books.merge(after.books)
        made.books.states = after.books.states
        cpu = max((value for value in (made.cpu, after.cpu) if value is not None), default=None)
        still = min(made.open, after.open)
        rss = made.rss if after.rss is None else after.rss
        made = replace(made, end=after.end, open=still, cpu=cpu, rss=rss, memory=after.memory or made.memory)
    return made
