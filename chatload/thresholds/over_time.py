"""What the windows of a run say about thresholds: dependence of requests, the judged part, and cells of equal time.

- A percentile is judged with the effective sample size of its requests (`chatload.stats.effective_size`). The design
  effect is that of the samples at or above the limit. If few or none are, they cannot show how they depend on each
  other. So it is also measured at the percentile that was observed: above it lie as many samples as the threshold
  allows. The larger design effect counts.
- A rate of requests is judged in the same way, with the design effect of the requests that it counts. Without any,
  nothing shows how they would depend on each other, and all requests count as independent.
- Percentiles of latency and response time are judged on one part of the run (`chatload.run.steady`), because they
  depend on the load. Those of RequestChat are not: many runs open their chats in the ramp only. All else, drops and
  failures above all, is judged on the whole run.
- A threshold `... in every 1m` is judged in cells of that length, and the last one may overlap the one before it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Reading
from chatload.run.steady import JudgedPart
from chatload.run.windows import Window
from chatload.stats.effective_size import design_effect
from chatload.thresholds.metrics import Facts, Metric, Share, Threshold

_Array = NDArray[np.float64]
#: A cell is whole if it has at least this share of its length: windows are not cut to the millisecond.
_WHOLE = 0.95


class CellCounts(NamedTuple):
    """A cell of a threshold `in every`. at_s: its start, seconds into the run.

    share: of its samples, those at or above the limit; of a rate those that it counts. value: its percentile.
    """

    at_s: float
    share: Share
    value: Reading | None


@dataclass(frozen=True)
class SampleWindows:
    """The samples of a threshold by window.

    times: middles (Unix seconds). hits: samples at or above the limit; of a rate those that it counts. at_percentile:
    samples above the percentile that was observed; none of a rate. samples: all.
    """

    times: _Array
    hits: _Array
    at_percentile: _Array
    samples: _Array

    def design_effect(self, confidence: float, part: JudgedPart | None) -> float | None:
        """Return the design effect of the samples of a part (None: of all); None if it has too few windows."""
        start, end = (-np.inf, np.inf) if part is None else (part.start, part.end)
        inside = (start <= self.times) & (self.times < end)
        times, samples = self.times[inside], self.samples[inside]
        both = [hits[inside] for hits in (self.hits, self.at_percentile)]
        effects = [design_effect(times, hits, samples, confidence) for hits in both]
        return max((effect for effect in effects if effect is not None), default=None)


@dataclass(frozen=True)
class OverTime:
    """What the windows of a run say. part: the part for percentiles of speed; None: the whole run. books: of the part.

    counts: of each percentile and each rate of requests. cells: of each threshold `in every`. cells_with_ramp: of those
    that are judged on the steady part, the cells of the whole run. by_class: what the windows of each user class say
    about its thresholds.
    """

    part: JudgedPart | None = None
    books: Books = field(default_factory=Books)
    counts: Mapping[Threshold, SampleWindows] = field(default_factory=dict)
    cells: Mapping[Threshold, Sequence[CellCounts]] = field(default_factory=dict)
    cells_with_ramp: Mapping[Threshold, Sequence[CellCounts]] = field(default_factory=dict)
    by_class: Mapping[str, "OverTime"] = field(default_factory=dict)

    def of(self, user_class: str) -> "OverTime":
        """Return what the windows of a user class say; "": those of the whole run."""
        return self.by_class.get(user_class, OverTime(self.part)) if user_class else self

    def part_of(self, metric: Metric) -> JudgedPart | None:
        """Return the part of the run on which a metric is judged; None: the whole run."""
        return self.part if in_part(metric) else None


def in_part(metric: Metric) -> bool:
    """Return whether a metric is judged on a part of the run only."""
    return metric.is_speed and metric.q is not None and metric.operation != "RequestChat"


def limit_of_samples(threshold: Threshold, timeout_s: float | None) -> float:
    """Return the limit of the samples of a duration (seconds): a margin is judged by gaps."""
    if threshold.metric.subject != "margin":
        return threshold.limit
    return (timeout_s or 0.0) - threshold.limit


def read_windows(
    thresholds: Iterable[Threshold],
    windows: Callable[[], Iterable[Window]],
    part: JudgedPart | None,
    facts: Facts,
    span: tuple[float, float],
    watch: Callable[[Window], object] | None = None,
) -> OverTime:
    """Return what the windows of a run say about these thresholds.

    The windows are read twice at most, with one in memory at a time.

    Args:
        thresholds: of the run's gate, about one user class or about all.
        windows: returns an iterator over the windows of this class or of all, in order of time.
        part: of the run, for percentiles of speed; None: the whole run. It is the same for all classes.
        facts: of the whole run, of this class or of all.
        span: start and end of the run (Unix seconds).
        watch: is called with each window of the first of two readings, and may keep it.
    """
    counted = [t for t in thresholds if (t.metric.q is not None or t.metric.is_request_rate) and t.every_s is None]
    every = [t for t in thresholds if t.every_s is not None]
    cells = [_Cells(t, part if in_part(t.metric) else None, *span) for t in every]
    steady = every if part is not None and not part.given else []
    with_ramp = [_Cells(t, None, *span) for t in steady if in_part(t.metric)]
    part_books = Books()
    for window in windows() if part is not None or watch is not None else ():
        if part is not None and part.contains(window.middle):
            part_books.merge(window.books)
        if watch is not None:
            watch(window)
    levels = []
    for threshold in counted:
        apart = part is not None and in_part(threshold.metric)
        levels.append(_level(threshold, part_books if apart else facts.books))
    times: list[float] = []
    rows: list[list[tuple[int, int, int]]] = [[] for _ in counted]
    for window in windows() if counted or cells else ():
        times.append(window.middle)
        for threshold, level, row in zip(counted, levels, rows, strict=True):
            row.append(_count(threshold, level, window.books, facts.timeout_s))
        for each in (*cells, *with_ramp):
            each.add(window)
    counts = {}
    for threshold, row in zip(counted, rows, strict=True):
        columns = np.array(row, dtype=np.float64).reshape(-1, 3).T
        counts[threshold] = SampleWindows(np.array(times), *columns)
    in_every, in_every_with_ramp = (
        {each.threshold: each.counts(facts.timeout_s) for each in filled_cells} for filled_cells in (cells, with_ramp)
    )
    return OverTime(part, part_books, counts, in_every, in_every_with_ramp)


def _count(
    threshold: Threshold, level: tuple[float, int], books: Books, timeout_s: float | None
) -> tuple[int, int, int]:
    """Return the counts of one window, as in `SampleWindows`. level: see `_level`."""
    if threshold.metric.kind == "rate":
        share = threshold.metric.share(Facts(books))
        return share.counted, 0, share.n
    samples, (at_s, end) = threshold.metric.samples(books), level
    at_limit = samples.count_above(limit_of_samples(threshold, timeout_s))[1]
    return at_limit, samples.count_above(at_s)[end], samples.count


def _level(threshold: Threshold, books: Books) -> tuple[float, int]:
    """Return the observed percentile (seconds; 0 for a rate), and which end of `count_above` to use at it.

    That is the lower end, the samples in higher buckets of the histogram. If there are none, the samples of its own
    bucket count too.
    """
    if threshold.metric.kind == "rate":
        return 0.0, 0
    samples = threshold.metric.samples(books)
    level = samples.figure(threshold.metric.sample_q)
    if level is None:
        return 0.0, 0
    return level, 0 if samples.count_above(level)[0] else 1


class _Cells:
    """The cells of one threshold `in every`, filled window by window.

    part: what is judged; None: the whole run. What is left after the last whole cell is judged in one more cell, which
    ends with the part and overlaps the cell before: a shorter one would be judged by too few samples, and a longer one
    would dilute them. A part that is shorter than one cell has none.
    """

    def __init__(self, threshold: Threshold, part: JudgedPart | None, started_at: float, ended_at: float) -> None:
        assert threshold.every_s is not None
        self.threshold, self._length_s, self._started_at = threshold, threshold.every_s, started_at
        self._start = started_at if part is None else max(part.start, started_at)
        self._end = ended_at if part is None else min(part.end, ended_at)
        cells, nearly = (self._end - self._start) / self._length_s, 1 - _WHOLE
        self._starts = [self._start + number * self._length_s for number in range(max(0, int(cells + nearly)))]
        if self._starts and cells - len(self._starts) > nearly:
            self._starts.append(self._end - self._length_s)
        self._filled: dict[int, CensoredHistogram | Share] = {}

    def add(self, window: Window) -> None:
        if not self._starts or not self._start <= window.middle < self._end:
            return
        last = len(self._starts) - 1
        number = min(int((window.middle - self._start) / self._length_s), last)
        for cell in {number, last} if window.middle >= self._starts[last] else {number}:
            self._add_to(cell, window.books)

    def _add_to(self, number: int, books: Books) -> None:
        metric, before = self.threshold.metric, self._filled.get(number)
        if metric.kind == "rate":
            more = metric.share(Facts(books))
            if isinstance(before, Share):
                more = Share(*map(sum, zip(before, more, strict=True)))
            self._filled[number] = more
        else:
            merged = before if isinstance(before, CensoredHistogram) else CensoredHistogram()
            merged.merge(metric.samples(books))
            self._filled[number] = merged

    def counts(self, timeout_s: float | None) -> list[CellCounts]:
        """Return the cells in order of time; none without a window. A cell that has no window has no samples."""
        metric, at, made = self.threshold.metric, limit_of_samples(self.threshold, timeout_s), []
        for number, start in enumerate(self._starts) if self._filled else ():
            filled = self._filled.get(number, Share(0, 0, 0, 0))
            at_s = start - self._started_at
            if isinstance(filled, Share):
                made.append(CellCounts(at_s, filled, None))
            else:
                surely, at_most = filled.count_above(at)
                value = filled.quantile(metric.sample_q)
                made.append(CellCounts(at_s, Share(surely, surely, at_most, filled.count), value))
        return made
