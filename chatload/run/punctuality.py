"""Whether a process is behind with its refreshes, and what keeps it: pure, looked at once a second."""

from __future__ import annotations

from dataclasses import dataclass

from chatload.run.books import Books
from chatload.run.histogram import Histogram

#: Behind is a 99th percentile of lateness above this (seconds).
BEHIND_S = 0.05
#: It is said again only after so long (seconds).
AGAIN_S = 10.0
#: What takes less of the time than this is not what kept it.
_MATTERS = 0.1
_FULL = 0.85


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process has spent so far, seconds: CPU time; and time in which it was ready, and others had its core
    (None where the system does not say)."""

    cpu_s: float
    waited_s: float | None = None


class Punctuality:
    """Says when a process falls behind, and which part was late."""

    def __init__(self) -> None:
        self._lateness = Histogram()
        self._spent = Spent(0.0)
        self._stalled_s = 0.0
        self._at = 0.0
        self._said_at = float("-inf")

    def look(self, books: Books, spent: Spent, now: float) -> str:
        """What is to be said, "" where nothing is. books: the process's so far; now: seconds, monotonic."""
        late, length = books.lateness.since(self._lateness), now - self._at
        stalled_s, before = books.stalled_s - self._stalled_s, self._spent
        self._lateness, self._spent, self._stalled_s, self._at = _copy(books.lateness), spent, books.stalled_s, now
        p99 = late.quantile(0.99)
        if p99 is None or p99 <= BEHIND_S or length <= 0 or now - self._said_at < AGAIN_S:
            return ""
        self._said_at = now
        waited = None if spent.waited_s is None or before.waited_s is None else spent.waited_s - before.waited_s
        why = _why(stalled_s / length, (spent.cpu_s - before.cpu_s) / length, (waited or 0.0) / length)
        return f"refreshes leave late here: 1 in 100 by more than {1000 * p99:.0f} ms; {why}"


def _why(stalled: float, cpu: float, waited: float) -> str:
    """Which part was late, by parts of the time."""
    if waited >= _MATTERS:
        return f"others had its core for {100 * waited:.0f} % of the time"
    if cpu >= _FULL:
        return f"its core is full ({100 * cpu:.0f} %): use more processes, or fewer chats in each"
    if stalled >= _MATTERS:
        return f"it stood still for {100 * stalled:.0f} % of the time in one go or a few"
    return "many were due at once"


def _copy(histogram: Histogram) -> Histogram:
    made = Histogram()
    made.merge(histogram)
    return made
