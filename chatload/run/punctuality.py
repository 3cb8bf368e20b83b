"""Detects that the refreshes of a process leave late, and why. It is called once a second."""

from __future__ import annotations

from dataclasses import dataclass

from chatload.run.books import Books
from chatload.run.histogram import Histogram

#: A process is behind if the 99th percentile of lateness is above this (seconds).
BEHIND_S = 0.05
#: The least time between two messages (seconds).
AGAIN_S = 10.0
#: Shares of the time: below the first, a cause is ignored; from the second on, a core is full.
_MATTERS, _FULL = 0.1, 0.85


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process has spent so far (seconds).

    cpu_s: CPU time. waited_s: time in which it was ready to run but other processes used its core; None if the
    system does not tell it.
    """

    cpu_s: float
    waited_s: float | None = None


class LatenessMonitor:
    """Reports when a process falls behind, and the cause."""

    def __init__(self) -> None:
        self._lateness = Histogram()
        self._spent = Spent(0.0)
        self._stalled_s = 0.0
        self._at = 0.0
        self._said_at = float("-inf")

    def look(self, books: Books, spent: Spent, now: float) -> str:
        """Return a message if the process is behind, else "".

        books, spent: those of the process so far. now: monotonic seconds.
        """
        late, length = books.lateness.since(self._lateness), now - self._at
        stalled_s, before = books.stalled_s - self._stalled_s, self._spent
        self._lateness, self._spent, self._stalled_s, self._at = Histogram(), spent, books.stalled_s, now
        self._lateness.merge(books.lateness)
        p99 = late.quantile(0.99)
        if p99 is None or p99 <= BEHIND_S or length <= 0 or now - self._said_at < AGAIN_S:
            return ""
        self._said_at = now
        waited = None if spent.waited_s is None or before.waited_s is None else spent.waited_s - before.waited_s
        why = _why(stalled_s / length, (spent.cpu_s - before.cpu_s) / length, (waited or 0.0) / length)
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
