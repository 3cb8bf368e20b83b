"""What changes slowly in a long run: trends and jumps of its tails, drops, margin and memory.

Method. The steady part of the run (from when its load is there until it is taken away, without the first
tenth, the warm-up) is cut into BLOCKS blocks of equal time, each into CELLS cells. A metric's value in a
cell comes from the merged histograms and counts of its windows, a block's is the median of its cells (a
rate's is that of all its chats: of what is rare most cells have none); on these `chatload.stats.trend`
finds slopes and jumps. The family's chance of a false alarm, FALSE_ALARM, is shared among all metrics, the
memory of all processes having one share, and again between slopes and jumps.

Looking at a run while it goes on is looking often: the looks at a run that has not ended share the half of
that chance, the k-th doubling of its length having 1/(k(k+1)) of it, so that all together never spend
more; the look at its end has the other half.

Only what matters is claimed: a change of `DriftMetric.matters` of the level and of `DriftMetric.floor` at least, over
the steady part.
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

#: A steady part is cut into so many blocks, each of so many cells; with fewer blocks nothing is said.
BLOCKS, CELLS, LEAST_BLOCKS = 20, 5, 10
#: The chance that of a run without any drift one is claimed.
FALSE_ALARM = 0.05
#: Confidence of the intervals that are shown.
CONFIDENCE = 0.95
#: So long (seconds) a steady part is at least; of it this part is taken for warm-up.
LEAST_S, _WARM_UP = 600.0, 0.1
#: The load is there where so much of the median number of open sessions is.
_THERE = 0.9
#: A cell's quantile needs so many samples.
_SAMPLES = 20


class Cell(NamedTuple):
    """One stretch of the run: its middle (seconds since the start), books, and memory (bytes) of each process; of all
    together, by the name "", where no more is known."""

    at: float
    books: Books
    memory: Mapping[str, int]


@dataclass(frozen=True)
class DriftMetric:
    """One thing that may drift. unit: "s", "%" or "MB"; worse: the sign of a change for the worse.

    matters: part of the level; floor: in its unit; a change below either over the steady part is not
    worth a word. share: its part of what one metric may take of the family's chance of a false alarm. rate: whether
    it is a share of the chats that ended.
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

    level: its value at the start of the steady part. slope, low, high: per hour, in its unit, with
    CONFIDENCE. drifts: the slope is claimed; worse: it is one for the worse. jumps: (Unix seconds, size) of
    jumps that are claimed. blocks: (Unix seconds, value). gone_in_h: at this rate so many hours (least,
    estimate, most; None where the interval does not bound it) until no margin is left, where that can be said.
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
        """A JSON-safe form: None is a bound that there is none of."""
        plain = asdict(self)
        for name in ("low", "high"):
            plain[name] = plain[name] if isfinite(plain[name]) else None
        for name in ("jumps", "blocks"):
            plain[name] = [list(pair) for pair in plain[name]]
        plain["gone_in_h"] = None if self.gone_in_h is None else list(self.gone_in_h)
        return plain


@dataclass(frozen=True)
class Soak:
    """What a long run's course shows. start, end: of its steady part without warm-up, Unix seconds; why_not:
    the reason where it was not looked at."""

    start: float = 0.0
    end: float = 0.0
    drifts: tuple[Drift, ...] = ()
    why_not: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
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
    """Of the accepted: whether the goodbye of those cut off was confirmed is not known of a window."""
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
    """What is looked at in a run with this flex-disconnect-timeout (seconds), of these processes."""
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
    """What drifts in a run. steady: its steady part (see `steady_part`); ended: whether the run is over."""
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
    """From when to when (Unix seconds) a run's load was there, given (start, end, open sessions) of its
    windows; None where that is less than LEAST_S."""
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
    """The chance of a false alarm that this look may take."""
    if ended:
        return FALSE_ALARM / 2
    look = 1 + int(log2(max(length_s / LEAST_S, 1.0)))
    return FALSE_ALARM / 2 / (look * (look + 1))


def _cells(windows: Iterable[Window], start: float, end: float) -> list[Cell | None]:
    """BLOCKS times CELLS cells of equal time; None where no window has its middle in one."""
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
    """Times (seconds since the start of the steady part) and values of the blocks that have any."""
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
    """One cell of these, as far as verdicts go."""
    books = Books()
    for cell in cells:
        books.verdicts.update(cell.books.verdicts)
        books.unserved.update(cell.books.unserved)
    return Cell(sum(cell.at for cell in cells) / len(cells), books, {})


def _claimed(
    metric: DriftMetric, strict: Trend, shown: Trend, blocks: tuple[tuple[float, float], ...], hours: float
) -> Drift:
    """A metric's drift over so many hours, claimed where it is sure and matters."""
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
