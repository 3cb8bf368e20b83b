"""Old windows of a run folded together, so that a run of weeks keeps a bounded number of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import frexp
from typing import NamedTuple

from chatload.run.windows import COARSE_S, Window

#: By default windows stay as they are for a day; they do for an hour at least (seconds).
KEEP_S, LEAST_KEEP_S = 86400.0, 3600.0
#: Windows are not cut to the second: two that were to be COARSE_S long are together this much longer at most (share).
_SLACK = 1.25
#: One fold puts at most so many windows together: what is read and written while facts wait.
_MOST = 200
#: Between two looks for what is to be folded: this part of keep_s.
_EVERY = 0.01


class Kept(NamedTuple):
    """A window in the run file: its row there, start and end (Unix seconds)."""

    row: int
    start: float
    end: float


def width(age_s: float, keep_s: float) -> float:
    """How long a window that ended so long ago may be (seconds); 0 where it stays as it is.

    Twice COARSE_S once it is older than keep_s, and twice as long again with each doubling of its age: windows have a
    length in proportion to their age, keep_s / COARSE_S of them are never folded, and half as many are kept of each
    further doubling of the run's length.
    """
    if keep_s <= 0 or age_s < keep_s:
        return 0.0
    doublings = frexp(age_s / keep_s)[1]  # 1 from keep_s on, 2 from 2 * keep_s on, ...
    return COARSE_S * 2.0**doublings


class Retention:
    """Which windows of one run are to be folded. Instants: Unix seconds."""

    def __init__(self, keep_s: float) -> None:
        """keep_s: windows are left as they are for so long; 0 is for ever."""
        self._keep_s = keep_s
        self._kept: list[Kept] = []
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, kept: Kept) -> None:
        """A window was written."""
        if self._keep_s:
            self._kept.append(kept)
            self._due = self._due or kept.end + self._keep_s

    def due(self, now: float) -> list[list[Kept]]:
        """Neighbours that are to become one window each, as of now."""
        if not self._due or now < self._due:
            return []
        self._due = now + max(_EVERY * self._keep_s, 10 * COARSE_S)
        return self._groups(now)

    def _groups(self, now: float) -> list[list[Kept]]:
        groups: list[list[Kept]] = []
        group: list[Kept] = []
        many = 0
        for kept in self._kept:
            wide = width(now - kept.end, self._keep_s)
            if not wide or many >= _MOST:
                break
            if group and kept.end - group[0].start <= wide * _SLACK:
                group.append(kept)
                many += 1
            else:
                groups.append(group)
                group = [kept]
        groups.append(group)
        return [group for group in groups if len(group) > 1]

    def folded(self, groups: Iterable[list[Kept]]) -> None:
        """These became one each, in the row of their first."""
        made = {group[0].row: Kept(group[0].row, group[0].start, group[-1].end) for group in groups}
        gone = {kept.row for group in groups for kept in group[1:]}
        self._kept = [made.get(kept.row, kept) for kept in self._kept if kept.row not in gone]


def fold(windows: Iterable[Window]) -> Window:
    """One window of neighbours, in order: what all of them added to the books; the most CPU, the fewest sessions open
    at any of their ends, memory and states as at the last."""
    first, *others = windows
    made, books = first, first.books
    for after in others:
        books.merge(after.books)
        books.states = after.books.states
        cpu = max((value for value in (made.cpu, after.cpu) if value is not None), default=None)
        still = min(made.open, after.open)
        rss = made.rss if after.rss is None else after.rss
        made = Window(first.start, after.end, still, books, cpu, rss, after.memory or made.memory)
    return made
