"""The runs of one settings class in order of time, and where the level of each metric changed.

The unit of evidence is the run, as in `chatload.features.compare`: each run gives one figure per metric, and
`chatload.stats.changes` searches these figures. The level of the search is divided by the number of metrics, so that a
history without changes has one, in any of its metrics, with a probability of at most 1 - confidence. Runs that follow
each other may be alike (the state of the machine, other load). Their correlation is estimated as the mean over many
metrics, because one metric of a few runs gives a poor estimate. It weakens the evidence for each change.

The level of a metric is the median of its figures between two changes. A change that is too small to matter is left out
(see `LeastChange`). A metric is worse since a run if its level changed after that run, and its last level is worse than
the level at that run. So a change that was repaired does not count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import sqrt
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from chatload import __version__
from chatload.run.settings import RunSettings, settings_differences
from chatload.stats.changes import MOST, can_be_found, find_changes, neighbour_correlation
from chatload.stats.rates import CONFIDENCE
from chatload.thresholds.metrics import Metric
from chatload.vocabulary import GOOD_ENDINGS, NEUTRAL_ENDINGS, SUCCESSFUL

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
#: The estimated correlation of runs is increased by this many standard errors, chosen by simulation. A greater one than
#: the second number is not assumed.
_ERRORS, _MOST_CORRELATION = 0.5, 0.9
#: Changes of a duration below the first never matter, those of the generator's own lateness not below the second (s).
_LEAST_S, _LEAST_LATENESS_S = 0.0001, 0.01


class Figure(NamedTuple):
    """A metric in one run, in its own unit. beyond: only a bound is known: a duration is longer, a margin less."""

    value: float
    beyond: bool = False


class LeftOut(NamedTuple):
    """A run that is not part of a history, and why."""

    run: str
    why: str


@dataclass(frozen=True)
class PastRun:
    """One run as a history sees it.

    run: where it is, below the folder of all runs. started_at: Unix seconds. figures: by the name of the metric; those
    that were not measured are missing. unusable: why nothing can be concluded from the run; "" if something can.
    """

    run: str
    started_at: float
    settings: RunSettings
    sessions: int
    figures: Mapping[str, Figure]
    unusable: str = ""


class LeastChange(NamedTuple):
    """The smallest change that matters.

    relative: of a duration or count, this part of the lower level; of a margin, this part of the timeout. rate: of a
    rate, this difference (a share; 0.001 is 0.1 percentage points) plus `relative` of the lower level. hourly: the same
    for a rate per hour.
    """

    relative: float = 0.05
    rate: float = 0.001
    hourly: float = 0.01


#: Whether the change from one level to another is large enough to matter.
Matters = Callable[[float, float], bool]


@dataclass(frozen=True)
class MetricSeries:
    """One metric in the runs of a history.

    figures: one for each run, in order of time; None where the run did not measure it. at: the indices of the others.
    values, low, high: of these, the figure and its bounds.
    """

    metric: Metric
    figures: tuple[Figure | None, ...]
    at: tuple[int, ...]
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, metric: Metric, runs: Sequence[PastRun]) -> Self:
        figures = tuple(run.figures.get(metric.name) for run in runs)
        known = [figure for figure in figures if figure is not None]
        values = np.array([figure.value for figure in known], dtype=float)
        beyond = np.array([figure.beyond for figure in known], dtype=bool)
        # A margin is at most its bound, a duration at least.
        is_margin = metric.subject == "margin"
        low = np.where(beyond, -np.inf, values) if is_margin else values
        high = values if is_margin else np.where(beyond, np.inf, values)
        at = tuple(i for i, figure in enumerate(figures) if figure is not None)
        return cls(metric, figures, at, values, low, high)


@dataclass(frozen=True)
class ChangeSearch:
    """How the metrics of a history are searched for changes. level, correlation: as in `find_changes`."""

    level: float
    correlation: float = 0.0

    def changes(self, one: MetricSeries) -> tuple[int, ...]:
        return find_changes(one.low, one.high, self.level, self.correlation)

    def can_find(self, n: int, after: int) -> bool:
        return can_be_found(n, after, self.level, self.correlation)


class SinceResult(StrEnum):
    """What became of a metric since a run."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"  # neither direction is good by itself
    STEADY = "no change"
    TOO_FEW = "too few runs"


class LevelChange(NamedTuple):
    """A change of a metric's level. first: index of the first run after it. before, after: levels in its unit."""

    first: int
    before: float
    after: float


@dataclass(frozen=True)
class MetricHistory:
    """One metric over all runs of a history.

    figures: one for each run; None where the run did not measure it. changes: in order of time. then, now: its level at
    the run since which it is judged, and its last level.
    """

    metric: Metric
    figures: tuple[Figure | None, ...]
    changes: tuple[LevelChange, ...]
    then: float
    now: float
    result: SinceResult


@dataclass(frozen=True)
class History:
    """The runs of one settings class.

    runs: in order of time. left_out: runs that are not among them. since: index of the run since which it is judged.
    confidence: that a history without changes shows none. correlation: of runs that follow each other, as assumed.
    needed: number of further runs after which a change in any metric can be found; 0 if it can be now. untested: the
    runs that came after the last of `runs`, and from which nothing can be concluded. unmeasured: metrics that were
    asked for, and that no run measured.
    """

    runs: tuple[PastRun, ...]
    left_out: tuple[LeftOut, ...]
    since: int
    metrics: tuple[MetricHistory, ...]
    least: LeastChange
    confidence: float
    correlation: float
    needed: int
    untested: tuple[str, ...]
    unmeasured: tuple[str, ...] = ()

    @property
    def worse(self) -> list[MetricHistory]:
        return [row for row in self.metrics if row.result is SinceResult.WORSE]

    @property
    def is_decided(self) -> bool:
        """Whether a change for the worse would have been found, in the last run too."""
        if self.untested or self.unmeasured or not self.metrics:
            return False
        return all(row.result is not SinceResult.TOO_FEW for row in self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Return the published JSON (history.schema.json)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "result": SinceResult.WORSE if self.worse else SinceResult.STEADY if self.is_decided else "inconclusive",
            "confidence": self.confidence,
            "correlation": self.correlation,
            "least_change": self.least._asdict(),
            "since": self.runs[self.since].run,
            "runs": [{"run": run.run, "started_at": run.started_at, "sessions": run.sessions} for run in self.runs],
            "left_out": [left._asdict() for left in self.left_out],
            "untested": list(self.untested),
            "unmeasured": list(self.unmeasured),
            "runs_needed": self.needed,
            "metrics": {row.metric.name: _row_to_dict(row, self.runs) for row in self.metrics},
        }


def _row_to_dict(row: MetricHistory, runs: Sequence[PastRun]) -> dict[str, Any]:
    return {
        "kind": row.metric.kind,
        "result": row.result,
        "level_then": row.then,
        "level_now": row.now,
        "figures": [None if figure is None else figure._asdict() for figure in row.figures],
        "changes": [
            {"run": runs[change.first].run, "before": change.before, "after": change.after} for change in row.changes
        ],
    }


def lower_is_better(metric: Metric) -> bool | None:
    """Return the direction that is good for a metric; None if neither is good by itself."""
    if metric.subject in ("sessions", *NEUTRAL_ENDINGS):
        return None
    return metric.subject not in ("margin", *GOOD_ENDINGS, *SUCCESSFUL)


def make_history(
    runs: Sequence[PastRun],
    metrics: Sequence[Metric],
    since: str = "",
    least: LeastChange = LeastChange(),
    left_out: Sequence[LeftOut] = (),
    confidence: float = CONFIDENCE,
    others: Sequence[Metric] = (),
    asked: bool = True,
) -> History:
    """Return the history of the runs whose settings make the same load as those of one run.

    Args:
        runs: in any order; at least one is usable.
        metrics: to examine; those that no run measured have no row.
        since: the run since which it is judged, whose load decides; by default the first run with the load of the last.
        least: the smallest change that matters.
        left_out: runs that could not be read.
        confidence: 1 minus the greatest probability that a history without changes has one, in all metrics together.
        others: further metrics, from which the correlation of the runs is estimated too.
        asked: the user asked for the metrics, so nothing is decided if no run measured one of them.
    """
    ordered = sorted(runs, key=lambda run: (run.started_at, run.run))
    usable = [run for run in ordered if not run.unusable]
    model = next((run for run in usable if run.run == since), usable[-1])
    different = {run.run: _different_load(model.settings, run.settings) for run in ordered}
    of_class = [run for run in ordered if not different[run.run]]
    kept = [run for run in of_class if not run.unusable]
    dropped, kept = kept[:-MOST], kept[-MOST:]
    start = next((i for i, run in enumerate(kept) if run.run == since), 0)
    out = [
        *left_out,
        *(
            LeftOut(run.run, different[run.run] or run.unusable)
            for run in ordered
            if different[run.run] or run.unusable
        ),
        *(LeftOut(run.run, f"only the last {MOST} runs are examined") for run in dropped),
    ]
    timeout_s = model.settings.flex_disconnect_timeout or 0.0
    series = [MetricSeries.of(metric, kept) for metric in metrics]
    series = [one for one in series if one.at]
    witnesses = [MetricSeries.of(metric, kept) for metric in others if metric not in metrics]
    search = make_search(series, witnesses, 1 - confidence)
    rows = tuple(_metric_history(one, start, search, _least_of(one.metric, timeout_s, least)) for one in series)
    untested = tuple(run.run for run in of_class if run.unusable and run.started_at > kept[-1].started_at)
    needed = max((_needed(one, start, search) for one in series), default=0)
    measured = {one.metric for one in series}
    unmeasured = tuple(metric.name for metric in metrics if asked and metric not in measured)
    return History(
        tuple(kept), tuple(out), start, rows, least, confidence, search.correlation, needed, untested, unmeasured
    )


def make_search(series: Sequence[MetricSeries], others: Sequence[MetricSeries], alpha: float) -> ChangeSearch:
    """Return how some metrics are searched.

    Args:
        series: of these metrics.
        others: of other metrics of the same runs. The correlation of the runs is estimated from all.
        alpha: the greatest probability that a change is found in any metric of `series` if there is none.
    """
    level = alpha / max(len(series), 1)
    known = []
    for one in (*series, *others):
        # A change that is not taken out would look like correlation, so this search is less strict than the other.
        correlation = neighbour_correlation(one.values, find_changes(one.low, one.high, alpha))
        if correlation is not None:
            known.append((len(one.at), correlation))
    if not known:
        return ChangeSearch(level)
    mean = float(np.mean([correlation for _, correlation in known]))
    correlation = mean + _ERRORS / sqrt(sum(n for n, _ in known))
    return ChangeSearch(level, min(max(correlation, 0.0), _MOST_CORRELATION))


def _different_load(model: RunSettings, other: RunSettings) -> str:
    """Return the settings by which a run had another load; "" if it had the same."""
    found = [difference for difference in settings_differences([model], [other]) if difference.defines_load]
    return "; ".join(f"{item.label} {', '.join(item.new)} (not {', '.join(item.base)})" for item in found)


def _metric_history(one: MetricSeries, since: int, search: ChangeSearch, matters: Matters) -> MetricHistory:
    cuts = list(search.changes(one))
    levels = _levels(one, cuts)
    # The smallest change that does not matter goes first: without it, its neighbours have another size.
    while small := [i for i, (a, b) in enumerate(pairwise(levels)) if not matters(a, b)]:
        cuts.pop(min(small, key=lambda i: abs(levels[i + 1] - levels[i])))
        levels = _levels(one, cuts)
    changes = tuple(LevelChange(one.at[cut], *around) for cut, around in zip(cuts, pairwise(levels), strict=True))
    then, now = levels[sum(change.first <= since for change in changes)], levels[-1]
    result = SinceResult.STEADY
    if then != now and matters(then, now):
        good = lower_is_better(one.metric)
        result = SinceResult.CHANGED
        if good is not None:
            result = SinceResult.WORSE if (now > then) == good else SinceResult.BETTER
    elif _needed(one, since, search):
        result = SinceResult.TOO_FEW
    return MetricHistory(one.metric, one.figures, changes, then, now, result)


def _levels(one: MetricSeries, cuts: Sequence[int]) -> list[float]:
    return [float(np.median(part)) for part in np.split(one.values, cuts)]


def _least_of(metric: Metric, timeout_s: float, least: LeastChange) -> Matters:
    """Return whether the change from one level of a metric to another is large enough to matter, as a function."""
    if metric.kind == "rate":
        return lambda before, after: abs(after - before) >= least.rate + least.relative * min(before, after)
    if metric.kind == "hourly rate":
        return lambda before, after: abs(after - before) >= least.hourly + least.relative * min(before, after)
    if metric.subject == "margin":
        return lambda before, after: abs(after - before) >= max(least.relative * timeout_s, _LEAST_S)
    floor = _LEAST_LATENESS_S if metric.subject == "lateness" else _LEAST_S
    return lambda before, after: abs(after - before) >= max(least.relative * min(before, after), floor)


def _needed(one: MetricSeries, since: int, search: ChangeSearch) -> int:
    """Return the number of further runs after which a change after the run `since` can be found; 0: it can be now."""
    n, after = len(one.at), sum(i > since for i in one.at)
    return next((more for more in range(MOST) if search.can_find(n + more, after + more)), MOST)
