"""Feeders during a run: which row each chat gets, in one process and over all processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from gevent.lock import BoundedSemaphore

from chatload.chat.feeder import (
    ERROR,
    RANDOM,
    REPEAT,
    UNIQUE,
    Feeder,
    FeederRows,
    Row,
    RowCounter,
    block_size,
    random_row,
)
from chatload.swarm.plan import ClassPlan

#: Returns the numbers of the next rows of a user class that no other process gets; empty at the end of the data.
Allot = Callable[[str, int], range]


class RowAllotments:
    """In the master or the only process: shares the rows of `unique` feeders out, in order, each row once per pass."""

    def __init__(self, classes: Mapping[str, ClassPlan]) -> None:
        self._counters = {
            name: _counter(plan.rows)
            for name, plan in classes.items()
            if plan.rows is not None and plan.rows.feeder.order == UNIQUE
        }

    def allot(self, user_class: str, count: int) -> range:
        """Return the numbers of the next rows; they may be above the number of rows, in a further pass."""
        counter = self._counters.get(user_class)
        return range(0) if counter is None else counter.take(count)


def feeds_of(classes: Mapping[str, ClassPlan], allot: Allot) -> dict[str, Feed]:
    """Return the feeder of each user class that has one; those with the same feeder share it.

    Every process asks for its rows by the first of these classes, so that all processes share them too.
    """
    shared: dict[Feeder, Feed] = {}
    found = {}
    for name, plan in classes.items():
        if plan.rows is not None:
            found[name] = shared.setdefault(plan.rows.feeder, Feed(name, plan.rows, allot))
    return found


class Feed:
    """A feeder in one process."""

    def __init__(self, user_class: str, rows: FeederRows, allot: Allot) -> None:
        """user_class: the first of those that have it."""
        self._user_class, self._rows, self._allot = user_class, rows, allot
        self._counter = _counter(rows)
        self._block: deque[int] = deque()
        self._turn = BoundedSemaphore()
        self._over = False

    @property
    def end_is_error(self) -> bool:
        """Whether the run has to end once the rows are used up."""
        return self._rows.feeder.at_end == ERROR

    def __str__(self) -> str:
        return f"{self._rows.feeder.file}: all {len(self._rows.rows)} rows are used"

    def row(self, chat: int) -> Row | None:
        """Return the row of a chat, None at the end of the data. chat: its number. May wait for the master."""
        rows, order = self._rows.rows, self._rows.feeder.order
        if order == RANDOM:
            return rows[random_row(len(rows), chat)]
        if order != UNIQUE:
            number = next(iter(self._counter.take()), None)
        else:
            with self._turn:
                if not self._block and not self._over:
                    self._block.extend(self._allot(self._user_class, block_size(len(rows))))
                    self._over = not self._block
                number = self._block.popleft() if self._block else None
        return None if number is None else rows[number % len(rows)]


def _counter(rows: FeederRows) -> RowCounter:
    return RowCounter(len(rows.rows), rows.feeder.at_end == REPEAT)
