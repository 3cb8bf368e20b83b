"""The course of an active run, in memory: what the live charts of the web UI draw."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from chatload.run.histogram import CensoredHistogram, Reading
from chatload.run.windows import Window

#: The windows that are kept. The first 300 are of one second, later ones of ten: about two hours. The report has all.
_KEPT = 720


class LivePoint(NamedTuple):
    """One window of a run.

    at_s: its end (seconds since the start of the run). open: sessions open then. ended, dropped, unserved: sessions per
    second; dropped includes those that may have been dropped. p50_s, p95_s, p99_s: latency of GetMessages; a request
    without an answer counts as the time for which it was waited. margin_s: the least. All but the counts are None if
    nothing was measured.
    """

    at_s: float
    open: int
    ended: float
    dropped: float
    unserved: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    margin_s: float | None


class LiveSeries:
    """The newest points of a run. started_at: of the run (Unix seconds). timeout_s: its flex-disconnect-timeout."""

    def __init__(self, started_at: float = 0.0, timeout_s: float | None = None) -> None:
        self.started_at, self._timeout_s = started_at, timeout_s
        self._points: deque[LivePoint] = deque(maxlen=_KEPT)

    def add(self, window: Window) -> None:
        """Add the point of a window."""
        books, length_s = window.books, max(window.end - window.start, 1e-3)
        latency = books.latency.get("GetMessages", CensoredHistogram())
        p50_s, p95_s, p99_s = (_seconds(latency.quantile(q)) for q in (0.5, 0.95, 0.99))
        gap = books.gap.maximum
        self._points.append(
            LivePoint(
                round(window.end - self.started_at, 1),
                window.open,
                round(books.verdicts.total() / length_s, 3),
                round(books.fates.dropped.most / length_s, 3),
                round(books.fates.never_accepted.most / length_s, 3),
                p50_s,
                p95_s,
                p99_s,
                None if gap is None or self._timeout_s is None else round(self._timeout_s - gap.seconds, 3),
            )
        )

    def after(self, at_s: float) -> Sequence[LivePoint]:
        """Return the points after an instant (seconds since the start of the run), in order of time."""
        return [point for point in self._points if point.at_s > at_s]


def _seconds(reading: Reading | None) -> float | None:
    return None if reading is None else round(reading.seconds, 6)
