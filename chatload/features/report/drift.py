"""What changes slowly in a long run: trends and jumps of its tails, drops, margin and memory.

Method. The steady part of the run is the time in which its full load was present, without the first tenth (warm-up). It
is cut into BLOCKS blocks of equal time, each into CELLS cells. The value of a metric in a cell comes from the merged
histograms and counts of its windows. The value of a block is the median of its cells; for a rate it is the rate of all
chats of the block, because rare events are missing from most cells. `chatload.stats.trend` tests whether the blocks
change at all, and says whether the change is a slope, jumps, or both. The chance of a false alarm, FALSE_ALARM, is
divided among all metrics (the memory of all processes together counts as one).

A run that goes on is checked many times, and each check could raise a false alarm. So the check at the end gets
the share AT_END of FALSE_ALARM, and all checks before share the rest: the k-th doubling of the run's length gets
1/(k(k+1)) of the rest, and all of them together not more than the rest.

A change is claimed only if it is large enough to matter: over the steady part at least `DriftMetric.matters` of the
level, and at least `DriftMetric.floor`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, log2
from typing import Any, NamedTuple

import numpy as np

from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.windows import Window
from chatload.stats.trend import Trend, find_trend

#: Number of blocks of a steady part, of cells of a block, and of blocks that a claim needs at least.
BLOCKS, CELLS, LEAST_BLOCKS = 20, 5, 10
#: The chance that a drift is claimed of a run that has none, and the share of it that the check at the end has.
FALSE_ALARM, AT_END = 0.05, 0.7
#: Confidence of the intervals that are shown.
CONFIDENCE = 0.95
#: Minimum length of a steady part (seconds), and the part of it that is left out as warm-up.
LEAST_S, _WARM_UP = 600.0, 0.1
#: The load is present while at least this part of the median number of sessions is open.
_THERE = 0.9
#: Minimum number of samples for a quantile of a cell.
_SAMPLES = 20


class Cell(NamedTuple):
    """A part of the run. at: its middle (seconds into the steady part). memory: bytes by process, or of all processes
    together under the name "" if no more is known."""

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
    """A metric's slow change; lists, as in JSON.

    level: its value at the start of the steady part. slope, low, high: per hour, in its unit, with CONFIDENCE; None:
    not bounded. drifts: the slope is claimed. worse: it is a change for the worse. jumps: [Unix seconds, size, low,
    high] of jumps that are claimed, with CONFIDENCE. either: the change is the slope or the jump, it is not known
    which; the slope is that without the jump. blocks: [Unix seconds, value]. gone_in_h: hours until no margin is left
    at this rate: least, estimate, most (None if the interval does not bound it); None for other metrics and if no slope
    is certain.
    """

    metric: str
    unit: str
    level: float
    slope: float
    low: float | None
    high: float | None
    drifts: bool
    worse: bool
    jumps: list[list[float]]
    either: bool
    blocks: list[list[float]]
    gone_in_h: list[float | None] | None = None


@dataclass(frozen=True)
class Soak:
    """What changes during a long run, as in JSON. start, end: of its steady part without warm-up (Unix seconds).
    why_not: why it was not examined."""

    start: float | None = None
    end: float | None = None
    why_not: str = ""
    metrics: list[Drift] = field(default_factory=list)


def _quantile(samples: Callable[[Books], CensoredHistogram | None], q: float) -> Callable[[Cell], float | None]:
    """Return the function that gives the q-quantile (seconds) of a cell's samples; None if there are too few."""

    def value(cell: Cell) -> float | None:
        found = samples(cell.books)
        return found.figure(q) if found is not None and found.count >= _SAMPLES else None

    return value


def _latency(operation: str, q: float) -> Callable[[Cell], float | None]:
    return _quantile(lambda books: books.latency.get(operation), q)


def _dropped(cell: Cell) -> float | None:
    # Of all accepted ones: a window does not say which goodbyes of sessions cut off were confirmed.
    fates = cell.books.fates
    return fates.dropped.most / fates.accepted if fates.accepted else None


def _unserved(cell: Cell) -> float | None:
    fates = cell.books.fates
    return fates.never_accepted.most / fates.ended if fates.ended else None


def _memory(process: str) -> Callable[[Cell], float | None]:
    return lambda cell: cell.memory[process] / 2**20 if process in cell.memory else None


def metrics(timeout_s: float | None, processes: Collection[str]) -> list[DriftMetric]:
    """Return the metrics of a run with this flex-disconnect-timeout (seconds) and these processes."""
    timeout = timeout_s or 0.0
    widest_gap = _quantile(lambda books: books.gap, 0.99)
    lateness = _quantile(lambda books: CensoredHistogram(books.lateness), 0.99)

    def margin(cell: Cell) -> float | None:
        gap = widest_gap(cell)
        return None if gap is None or not timeout else timeout - gap

    named = {f"memory.{process}" if len(processes) > 1 else "memory": process for process in sorted(processes)}
    return [
        DriftMetric("GetMessages.latency.p50", "s", 1, 0.05, 0.0002, _latency("GetMessages", 0.5)),
        DriftMetric("GetMessages.latency.p95", "s", 1, 0.05, 0.0005, _latency("GetMessages", 0.95)),
        DriftMetric("RequestChat.latency.p95", "s", 1, 0.10, 0.001, _latency("RequestChat", 0.95)),
        DriftMetric("dropped.rate", "%", 1, 0.10, 0.001, _dropped, rate=True),
        DriftMetric("unserved.rate", "%", 1, 0.10, 0.001, _unserved, rate=True),
        DriftMetric("margin.p1", "s", -1, 0.02, 0.01 * timeout, margin),
        DriftMetric("lateness.p99", "s", 1, 0.20, 0.002, lateness),
        *(DriftMetric(name, "MB", 1, 0.02, 1.0, _memory(process), 1 / len(named)) for name, process in named.items()),
    ]


class SteadyCells:
    """The steady part of a run without its warm-up, in BLOCKS times CELLS cells of equal time.

    cells: None for a cell in which no window has its middle. began: start of the steady part; start, end: of the cells
    (Unix seconds).
    """

    def __init__(self, steady: tuple[float, float]) -> None:
        self.began, self.end = steady
        self.start = self.began + _WARM_UP * (self.end - self.began)
        self.cells: list[Cell | None] = [None] * (BLOCKS * CELLS)

    def add(self, window: Window) -> None:
        """Add a window. Its books may be kept, and changed later."""
        start, length, count = self.start, self.end - self.start, len(self.cells)
        if not start <= window.middle < self.end:
            return
        index = min(int((window.middle - start) / length * count), count - 1)
        memory = window.memory or ({} if window.rss is None else {"": window.rss})
        cell = self.cells[index]
        if cell is None:
            self.cells[index] = Cell((index + 0.5) / count * length, window.books, memory)
        else:
            cell.books.merge(window.books)
            self.cells[index] = cell._replace(memory={**cell.memory, **memory})


def find_drift(
    windows: Iterable[Window], steady: tuple[float, float] | None, timeout_s: float | None, ended: bool
) -> Soak:
    """Return what drifts in a run. steady: its steady part (see `steady_part`). ended: whether the run has ended."""
    if steady is None:
        return Soak(why_not="it was never under a steady load for 10 minutes")
    cells = SteadyCells(steady)
    for window in windows:
        cells.add(window)
    return drift_of(cells, timeout_s, ended)


def drift_of(steady: SteadyCells, timeout_s: float | None, ended: bool) -> Soak:
    """Return what drifts in a run, given the cells of its steady part with all windows. Others: see `find_drift`."""
    began, start, end, cells = steady.began, steady.start, steady.end, steady.cells
    alarm = error_budget(end - began, ended)
    family = metrics(timeout_s, {process for cell in cells if cell is not None for process in cell.memory})
    of_all = sum(metric.share for metric in family)
    drifts = []
    for metric in family:
        times, values = _blocks(cells, metric)
        if len(values) >= LEAST_BLOCKS:
            trend = find_trend(times, values, CONFIDENCE, alarm * metric.share / of_all)
            blocks = [[start + at, value] for at, value in zip(times.tolist(), values.tolist(), strict=True)]
            drifts.append(_claimed(metric, trend, blocks, (end - start) / 3600))
    return Soak(start, end, metrics=drifts) if drifts else Soak(why_not="too little happened in it")


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


def error_budget(length_s: float, ended: bool) -> float:
    """Return the chance of a false alarm that a check of all metrics may use.

    length_s: of the steady part so far (seconds). ended: whether the run has ended.
    """
    if ended:
        return AT_END * FALSE_ALARM
    look = 1 + int(log2(max(length_s / LEAST_S, 1.0)))
    return (1 - AT_END) * FALSE_ALARM / (look * (look + 1))


def _blocks(cells: list[Cell | None], metric: DriftMetric) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return times (seconds since the start of the steady part) and values of the blocks that have a value."""
    times, values = [], []
    for first in range(0, len(cells), CELLS):
        block = [cell for cell in cells[first : first + CELLS] if cell is not None]
        if metric.rate and block:
            books = Books()
            for cell in block:
                books.verdicts.update(cell.books.verdicts)
                books.unserved.update(cell.books.unserved)
            block = [Cell(sum(cell.at for cell in block) / len(block), books, {})]
        known = [(cell.at, value) for cell in block if (value := metric.value(cell)) is not None]
        if known:
            times.append(float(np.mean([at for at, _ in known])))
            values.append(float(np.median([value for _, value in known])))
    return np.array(times), np.array(values)


def _claimed(metric: DriftMetric, trend: Trend, blocks: list[list[float]], hours: float) -> Drift:
    """Return a metric's drift over so many hours, claimed if it is significant and large enough to matter."""
    least = max(metric.matters * abs(trend.level), metric.floor)
    slope, low, high = (3600 * value for value in (trend.slope, trend.low, trend.high))
    jumps = [
        [(blocks[jump.index - 1][0] + blocks[jump.index][0]) / 2, jump.size, jump.low, jump.high]
        for jump in trend.jumps
        if abs(jump.size) >= least
    ]
    drifts = trend.drifts and (bool(jumps) if trend.either else abs(slope) * hours >= least)
    either = trend.either and drifts
    gone: list[float | None] | None = None
    if metric.name == "margin.p1" and drifts and not either and slope < 0:
        left = blocks[-1][1]
        gone = [max(left / -low, 0.0), max(left / -slope, 0.0), max(left / -high, 0.0) if high < 0 else None]
    return Drift(
        metric=metric.name, unit=metric.unit, level=trend.level, slope=slope,
        low=low if isfinite(low) else None, high=high if isfinite(high) else None,
        drifts=drifts, worse=slope * metric.worse > 0, jumps=jumps, either=either, blocks=blocks,
        gone_in_h=gone,
    )  # fmt: skip
