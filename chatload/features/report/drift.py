"""What changes slowly in a long run: trends and jumps of its tails, drops, margin and memory.

Method. The steady part of the run is the time in which its full load was present, without the first tenth (warm-up). It
is cut into BLOCKS blocks of equal time, each into CELLS cells. The value of a metric in a cell comes from the merged
histograms and counts of its windows. The value of a block is the median of its cells; for a rate it is the rate of all
chats of the block, because rare events are missing from most cells. `chatload.stats.trend` finds slopes and jumps in
the blocks. The chance of a false alarm, FALSE_ALARM, is divided among all metrics (the memory of all processes
together counts as one), and again between slopes and jumps.

A run that goes on is checked many times, and each check could raise a false alarm. So all checks before the end share
one half of FALSE_ALARM: the k-th doubling of the run's length gets 1/(k(k+1)) of this half, and all of them together
not more than the half. The check at the end gets the other half.

A change is claimed only if it is large enough to matter: over the steady part at least `DriftMetric.matters` of the
level, and at least `DriftMetric.floor`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite, log2
from typing import Any, NamedTuple

import numpy as np

from chatload.run.books import Books
from chatload.run.windows import Window
from chatload.stats.trend import Trend, find_trend

#: Number of blocks of a steady part, of cells of a block, and of blocks that a claim needs at least.
BLOCKS, CELLS, LEAST_BLOCKS = 20, 5, 10
#: The chance that a drift is claimed of a run that has none.
FALSE_ALARM = 0.05
#: Confidence of the intervals that are shown.
CONFIDENCE = 0.95
#: Minimum length of a steady part (seconds), and the part of it that is left out as warm-up.
LEAST_S, _WARM_UP = 600.0, 0.1
#: The load is present while at least this part of the median number of sessions is open.
_THERE = 0.9
#: Minimum number of samples for a quantile of a cell.
_SAMPLES = 20


class Cell(NamedTuple):
    """A part of the run. at: its middle (seconds since the steady part began). memory: bytes, by process; under the
    name "" that of all processes together, if no more is known."""

    at: float
    books: Books
    memory: Mapping[str, int]


@dataclass(frozen=True)
class DriftMetric:
    """A metric that is examined. unit: "s", "%" or "MB". worse: the sign of a change for the worse.

    matters (part of the level), floor (in its unit): a smaller change over the steady part is not claimed. share: the
    part that it gets of one metric's chance of a false alarm. rate: whether it is a share of the chats that ended.
    """

    name: str
    unit: str
    worse: int
    matters: float
    floor: float
    value: Callable[[Cell], float | None]
    share: float = 1.0
    rate: bool = False


@dataclass(frozen=True)
class Drift:
    """A metric's slow change.

    level: its value at the start of the steady part. slope, low, high: per hour, in its unit, with CONFIDENCE. drifts:
    the slope is claimed. worse: it is a change for the worse. jumps: (Unix seconds, size) of jumps that are claimed.
    blocks: (Unix seconds, value). gone_in_h: hours until no margin is left at this rate: least, estimate, most (None if
    the interval does not bound it); None for other metrics and if it is not claimed.
    """

    metric: str
    unit: str
    level: float
    slope: float
    low: float
    high: float
    drifts: bool
    worse: bool
    jumps: tuple[tuple[float, float], ...]
    blocks: tuple[tuple[float, float], ...]
    gone_in_h: tuple[float, float, float | None] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON. A bound that is infinite is None."""
        plain = asdict(self)
        for name in ("low", "high"):
            plain[name] = plain[name] if isfinite(plain[name]) else None
        for name in ("jumps", "blocks"):
            plain[name] = [list(pair) for pair in plain[name]]
        plain["gone_in_h"] = None if self.gone_in_h is None else list(self.gone_in_h)
        return plain


@dataclass(frozen=True)
class Soak:
    """What changes during a long run. start, end: of its steady part without warm-up (Unix seconds). why_not: why it
    was not examined."""

    start: float = 0.0
    end: float = 0.0
    drifts: tuple[Drift, ...] = ()
    why_not: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "start": self.start or None,
            "end": self.end or None,
            "why_not": self.why_not,
            "metrics": [drift.to_dict() for drift in self.drifts],
        }


def _latency(operation: str, q: float) -> Callable[[Cell], float | None]:
    def value(cell: Cell) -> float | None:
        latency = cell.books.latency.get(operation)
        return latency.figure(q) if latency is not None and latency.count >= _SAMPLES else None

    return value


def _dropped(cell: Cell) -> float | None:
    """Return the share of dropped sessions among the accepted ones: a window does not say which goodbyes of sessions
    cut off were confirmed."""
    fates = cell.books.fates
    return fates.dropped.most / fates.accepted if fates.accepted else None


def _unserved(cell: Cell) -> float | None:
    fates = cell.books.fates
    return fates.never_accepted.most / fates.ended if fates.ended else None


def _memory(process: str) -> Callable[[Cell], float | None]:
    def value(cell: Cell) -> float | None:
        size = cell.memory.get(process)
        return None if size is None else size / 2**20

    return value


def metrics(timeout_s: float | None, processes: Collection[str]) -> tuple[DriftMetric, ...]:
    """Return the metrics of a run with this flex-disconnect-timeout (seconds) and these processes."""
    timeout = timeout_s or 0.0

    def margin(cell: Cell) -> float | None:
        gap = cell.books.gap.figure(0.99) if cell.books.gap.count >= _SAMPLES else None
        return None if gap is None or not timeout else timeout - gap

    def lateness(cell: Cell) -> float | None:
        return cell.books.lateness.quantile(0.99) if cell.books.lateness.count >= _SAMPLES else None

    return (
        DriftMetric("GetMessages.latency.p50", "s", 1, 0.05, 0.0002, _latency("GetMessages", 0.5)),
        DriftMetric("GetMessages.latency.p95", "s", 1, 0.05, 0.0005, _latency("GetMessages", 0.95)),
        DriftMetric("RequestChat.latency.p95", "s", 1, 0.10, 0.001, _latency("RequestChat", 0.95)),
        DriftMetric("dropped.rate", "%", 1, 0.10, 0.001, _dropped, rate=True),
        DriftMetric("unserved.rate", "%", 1, 0.10, 0.001, _unserved, rate=True),
        DriftMetric("margin.p1", "s", -1, 0.02, 0.01 * timeout, margin),
        DriftMetric("lateness.p99", "s", 1, 0.20, 0.002, lateness),
        *(
            DriftMetric(
                f"memory.{process}" if len(processes) > 1 else "memory",
                "MB",
                1,
                0.02,
                1.0,
                _memory(process),
                1 / len(processes),
            )
            for process in sorted(processes)
        ),
    )


def find_drift(
    windows: Iterable[Window], steady: tuple[float, float] | None, timeout_s: float | None, ended: bool
) -> Soak:
    """Return what drifts in a run. steady: its steady part (see `steady_part`). ended: whether the run has ended."""
    if steady is None:
        return Soak(why_not="it was never under a steady load for 10 minutes")
    start = steady[0] + _WARM_UP * (steady[1] - steady[0])
    cells = _cells(windows, start, steady[1])
    drifts = []
    alarm = _spend(steady[1] - steady[0], ended)
    family = metrics(timeout_s, {process for cell in cells if cell is not None for process in cell.memory})
    of_all = sum(metric.share for metric in family)
    hours = (steady[1] - start) / 3600
    for metric in family:
        times, values = _blocks(cells, metric)
        if len(values) < LEAST_BLOCKS:
            continue
        level = alarm * metric.share / (2 * of_all)
        strict = find_trend(times, values, 1 - level, level)
        shown = find_trend(times, values, CONFIDENCE, level)
        blocks = tuple((start + float(at), float(value)) for at, value in zip(times, values, strict=True))
        drifts.append(_claimed(metric, strict, shown, blocks, hours))
    if not drifts:
        return Soak(why_not="too little happened in it")
    return Soak(start, steady[1], tuple(drifts))


def steady_part(loads: Iterable[tuple[float, float, int]]) -> tuple[float, float] | None:
    """Return start and end (Unix seconds) of the time in which the load was present; None if shorter than LEAST_S.

    loads: start, end (Unix seconds) and open sessions of each window.
    """
    rows = np.array(list(loads), dtype=np.float64).reshape(-1, 3)
    if not len(rows):
        return None
    lengths, still = rows[:, 1] - rows[:, 0], rows[:, 2]
    order = np.argsort(still)
    median = still[order][np.searchsorted(np.cumsum(lengths[order]), lengths.sum() / 2)]
    there = np.flatnonzero(still >= _THERE * median)
    start, end = float(rows[there[0], 0]), float(rows[there[-1], 1])
    return (start, end) if median > 0 and end - start >= LEAST_S else None


def _spend(length_s: float, ended: bool) -> float:
    """Return the chance of a false alarm that this check may use."""
    if ended:
        return FALSE_ALARM / 2
    look = 1 + int(log2(max(length_s / LEAST_S, 1.0)))
    return FALSE_ALARM / 2 / (look * (look + 1))


def _cells(windows: Iterable[Window], start: float, end: float) -> list[Cell | None]:
    """Return BLOCKS times CELLS cells of equal time; None for a cell in which no window has its middle."""
    count = BLOCKS * CELLS
    made: list[Cell | None] = [None] * count
    for window in windows:
        middle = (window.start + window.end) / 2
        if not start <= middle < end:
            continue
        index = min(int((middle - start) / (end - start) * count), count - 1)
        cell = made[index]
        if cell is None:
            made[index] = Cell((index + 0.5) / count * (end - start), window.books, _by_process(window))
        else:
            cell.books.merge(window.books)
            made[index] = cell._replace(memory={**cell.memory, **_by_process(window)})
    return made


def _by_process(window: Window) -> Mapping[str, int]:
    return window.memory or ({} if window.rss is None else {"": window.rss})


def _blocks(cells: list[Cell | None], metric: DriftMetric) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return times (seconds since the start of the steady part) and values of the blocks that have a value."""
    times, values = [], []
    for first in range(0, len(cells), CELLS):
        block = [cell for cell in cells[first : first + CELLS] if cell is not None]
        if metric.rate and block:
            block = [_together(block)]
        known = [(cell.at, value) for cell in block if (value := metric.value(cell)) is not None]
        if known:
            times.append(float(np.mean([at for at, _ in known])))
            values.append(float(np.median([value for _, value in known])))
    return np.array(times), np.array(values)


def _together(cells: list[Cell]) -> Cell:
    """Return one cell with the verdicts of these cells."""
    books = Books()
    for cell in cells:
        books.verdicts.update(cell.books.verdicts)
        books.unserved.update(cell.books.unserved)
    return Cell(sum(cell.at for cell in cells) / len(cells), books, {})


def _claimed(
    metric: DriftMetric, strict: Trend, shown: Trend, blocks: tuple[tuple[float, float], ...], hours: float
) -> Drift:
    """Return a metric's drift over so many hours, claimed if it is significant and large enough to matter."""
    level = shown.level
    least = max(metric.matters * abs(level), metric.floor)
    slope, low, high = (3600 * value for value in (shown.slope, shown.low, shown.high))
    jumps = tuple(
        ((blocks[jump.index - 1][0] + blocks[jump.index][0]) / 2, jump.size)
        for jump in strict.jumps
        if abs(jump.size) >= least
    )
    drifts = strict.sure and abs(slope) * hours >= least
    gone = None
    if metric.name == "margin.p1" and drifts and slope < 0:
        left = blocks[-1][1]
        gone = (max(left / -low, 0.0), max(left / -slope, 0.0), max(left / -high, 0.0) if high < 0 else None)
    return Drift(
        metric=metric.name, unit=metric.unit, level=level, slope=slope, low=low, high=high, drifts=drifts,
        worse=slope * metric.worse > 0, jumps=jumps, blocks=blocks, gone_in_h=gone,
    )  # fmt: skip
