"""Detects that the refreshes of a process leave late, and why. It is called once a second."""

from __future__ import annotations

from chatload.run.books import Books
from chatload.run.histogram import Histogram

#: A process is behind if the 99th percentile of lateness is above this (seconds).
BEHIND_S = 0.05
#: The least time between two messages (seconds).
AGAIN_S = 10.0
#: Shares of the time: below the first, a cause is ignored; from the second on, a core is full.
_MATTERS, _FULL = 0.1, 0.85


class LatenessMonitor:
    """Reports when a process falls behind, and the cause."""

    def __init__(self) -> None:
        self._lateness = Histogram()
        self._cpu_s = self._stalled_s = self._at = 0.0
        self._waited_s: float | None = None
        self._said_at = float("-inf")

    def look(self, books: Books, cpu_s: float, waited_s: float | None, now: float) -> str:
        """Return a message if the process is behind, else "".

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
