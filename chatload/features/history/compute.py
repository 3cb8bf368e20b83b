"""The runs of one settings class in order of time, and where the level of each metric changed.

The unit of evidence is the run, as in `chatload.features.compare`: each run gives one figure per metric, and
`chatload.stats.changes` searches these figures. The level of the search is divided by the number of metrics, so that a
history without changes has one, in any of its metrics, with a probability of at most ALPHA.

The level of a metric is the median of its figures between two changes. A change that is too small to matter is left out
(see `LeastChange`). A metric is worse since a run if its level changed after that run, and its last level is worse than
the level at that run. So a change that was repaired does not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from chatload import __version__
from chatload.run.settings import RunSettings, settings_differences
from chatload.stats.changes import MOST, can_be_found, find_changes
from chatload.thresholds.metrics import Metric
from chatload.vocabulary import GOOD_ENDINGS, NEUTRAL_ENDINGS, SUCCESSFUL

#: `schema_version` of the JSON this code makes.
SCHEMA_VERSION = 1
#: The greatest probability that a history without changes has one, in all its metrics together.
ALPHA = 0.05
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

    run: where it is, below the folder of all runs. started_at: Unix seconds. figures: by the name of the metric, without
    those that were not measured. unusable: why nothing can be concluded from the run; "" if something can.
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
    rate, this difference (a share; 0.001 is 0.1 percentage points) plus `relative` of the lower level.
    """

    relative: float = 0.05
    rate: float = 0.001


class SinceResult(StrEnum):
    """What became of a metric since a run."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"  # neither direction is good by itself
    STEADY = "no change"
    TOO_FEW = "too few runs"


class LevelChange(NamedTuple):
    """A change of a metric's level. index: of the first run after it. before, after: levels, in the metric's unit."""

    index: int
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
    needed: number of further runs after which every change can be found; 0 if it can be now. untested: the runs that
    came after the last of `runs`, and from which nothing can be concluded.
    """

    runs: tuple[PastRun, ...]
    left_out: tuple[LeftOut, ...]
    since: int
    metrics: tuple[MetricHistory, ...]
    least: LeastChange
    needed: int
    untested: tuple[str, ...]

    @property
    def worse(self) -> list[MetricHistory]:
        return [row for row in self.metrics if row.result is SinceResult.WORSE]

    @property
    def is_decided(self) -> bool:
        """Whether a change for the worse would have been found, in the last run too."""
        return not self.untested and all(row.result is not SinceResult.TOO_FEW for row in self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Return the published JSON (history.schema.json)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "result": SinceResult.WORSE if self.worse else SinceResult.STEADY if self.is_decided else "inconclusive",
            "alpha": ALPHA,
            "least_change": self.least._asdict(),
            "since": self.runs[self.since].run,
            "runs": [{"run": run.run, "started_at": run.started_at, "sessions": run.sessions} for run in self.runs],
            "left_out": [left._asdict() for left in self.left_out],
            "untested": list(self.untested),
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
            {"run": runs[change.index].run, "before": change.before, "after": change.after} for change in row.changes
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
) -> History:
    """Return the history of the runs whose settings make the same load as those of one run.

    Args:
        runs: in any order; at least one is usable.
        metrics: to examine; those that no run measured are left out.
        since: the run since which it is judged, whose load decides; by default the first run with the load of the last.
        left_out: runs that could not be read.
    """
    ordered = sorted(runs, key=lambda run: (run.started_at, run.run))
    usable = [run for run in ordered if not run.unusable]
    model = next((run for run in usable if run.run == since), usable[-1])
    others = {run.run: _different_load(model.settings, run.settings) for run in ordered}
    of_class = [run for run in ordered if not others[run.run]]
    kept = [run for run in of_class if not run.unusable]
    dropped, kept = kept[:-MOST], kept[-MOST:]
    names = [run.run for run in kept]
    start = names.index(since) if since in names else 0
    out = [
        *left_out,
        *(LeftOut(run.run, others[run.run] or run.unusable) for run in ordered if others[run.run] or run.unusable),
        *(LeftOut(run.run, f"only the last {MOST} runs are examined") for run in dropped),
    ]
    series = {metric: tuple(run.figures.get(metric.name) for run in kept) for metric in metrics}
    series = {metric: figures for metric, figures in series.items() if any(figures)}
    level = ALPHA / max(len(series), 1)
    rows = tuple(_metric_history(metric, figures, kept, start, level, least) for metric, figures in series.items())
    untested = tuple(run.run for run in of_class if run.unusable and run.started_at > kept[-1].started_at)
    needed = max((_needed(row.figures, start, level) for row in rows), default=0)
    return History(tuple(kept), tuple(out), start, rows, least, needed, untested)


def _different_load(model: RunSettings, other: RunSettings) -> str:
    """Return the settings by which a run had another load; "" if it had the same."""
    found = [difference for difference in settings_differences([model], [other]) if difference.defines_load]
    return "; ".join(f"{item.name} {', '.join(item.new)} (not {', '.join(item.base)})" for item in found)


def _metric_history(
    metric: Metric,
    figures: Sequence[Figure | None],
    runs: Sequence[PastRun],
    since: int,
    level: float,
    least: LeastChange,
) -> MetricHistory:
    measured = [(i, figure) for i, figure in enumerate(figures) if figure is not None]
    at, known = [i for i, _ in measured], [figure for _, figure in measured]
    values = np.array([figure.value for figure in known])
    # A margin is at most its bound, a duration at least.
    beyond = np.array([figure.beyond for figure in known])
    low = np.where(beyond & (metric.subject == "margin"), -np.inf, values)
    high = np.where(beyond & (metric.subject != "margin"), np.inf, values)
    timeout_s = runs[-1].settings.flex_disconnect_timeout or 0.0
    cuts = list(find_changes(low, high, level))
    levels = _levels(values, cuts)
    # The smallest change that does not matter goes first: without it, its neighbours have another size.
    while small := [i for i, (a, b) in enumerate(pairwise(levels)) if not _matters(metric, a, b, timeout_s, least)]:
        cuts.pop(min(small, key=lambda i: abs(levels[i + 1] - levels[i])))
        levels = _levels(values, cuts)
    changes = tuple(
        LevelChange(at[cut], before, after) for cut, (before, after) in zip(cuts, pairwise(levels), strict=True)
    )
    then, now = levels[sum(change.index <= since for change in changes)], levels[-1]
    result = SinceResult.STEADY
    if then != now and _matters(metric, then, now, timeout_s, least):
        good = lower_is_better(metric)
        result = SinceResult.CHANGED
        if good is not None:
            result = SinceResult.WORSE if (now > then) == good else SinceResult.BETTER
    elif not can_be_found(len(known), sum(i > since for i in at), level):
        result = SinceResult.TOO_FEW
    return MetricHistory(metric, tuple(figures), changes, then, now, result)


def _levels(values: np.ndarray[Any, np.dtype[np.float64]], cuts: Sequence[int]) -> list[float]:
    return [float(np.median(part)) for part in np.split(values, cuts)]


def _matters(metric: Metric, before: float, after: float, timeout_s: float, least: LeastChange) -> bool:
    change, lower = abs(after - before), min(before, after)
    if metric.kind == "rate":
        return change >= least.rate + least.relative * lower
    if metric.subject == "margin":
        return change >= max(least.relative * timeout_s, _LEAST_S)
    floor = _LEAST_LATENESS_S if metric.subject == "lateness" else _LEAST_S
    return change >= max(least.relative * lower, floor)


def _needed(figures: Sequence[Figure | None], since: int, level: float) -> int:
    """Return the number of further runs after which a change since a run can be found."""
    n, after = sum(figure is not None for figure in figures), sum(figure is not None for figure in figures[since + 1 :])
    return next((more for more in range(MOST) if can_be_found(n + more, after + more, level)), MOST)
