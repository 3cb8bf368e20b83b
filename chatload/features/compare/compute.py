"""Is NEW worse than BASE? The unit of evidence is the run, not the request.

All requests of one run have the same conditions (the network in that hour, other load on the machine). A test that
pools them takes ordinary differences between runs for a change. So each run gives one figure per metric, and a word
(better, worse) needs three things:

- the exact rank test of Mann and Whitney for the metric alone;
- an exact permutation test of all judged metrics together. The statistic of a metric is Student's t over runs times the
  square root of the effect in tolerances (at most 4, so that one noisy metric does not hide the others); it is 0 if the
  effect is within the tolerance. The largest statistic of the family counts (max-T of Westfall and Young,
  Resampling-Based Multiple Testing, 1993), so that the chance of a false alarm is at most ALPHA for the whole
  comparison. The tolerance is part of the statistic, so metrics that stay within it do not reduce the power;
- a bootstrap over runs, whose interval must exclude a change of 0. It uses percentiles. Those of few values are too
  narrow, so the spread of each side is widened by sqrt(n / (n - 1)) and the level by Student's t (Hesterberg, What
  Teachers Should Know About the Bootstrap, Am. Stat. 69(4), 2015).

The tests assume that without a difference any order of the runs is as likely as any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import chain, combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata, t

from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.settings import RunSettings, SettingDifference, settings_differences
from chatload.vocabulary import BAD_ENDINGS, NEUTRAL_ENDINGS, SUCCESSFUL, Blame, Verdict

#: Minimum number of runs per side for a word: 4 and 4 runs can be divided in 70 ways, 3 and 3 in only 20.
ENOUGH_RUNS = 4
#: Chance that a comparison of equal things says better or worse. At most 0.05 is promised. With four runs per side the
#: smallest p value is 2 / 70 = 0.0286, so a lower level would allow no word.
ALPHA = 0.03
_ALPHA_ALONE = 0.05
CONFIDENCE = 0.95
BETTER, WORSE, NO_EVIDENCE = "better", "worse", "no evidence"

_RESAMPLES = 9999
_MOST_DEALS = 50_000
_MOST_TOLERANCES = 4.0
_SHORTEST_S = 1e-6  # as in Histogram: shorter counts as 0
_EPSILON = 1e-9
_SEED = 20150404

Floats = NDArray[np.float64]
#: Margin -> the quantile of the gap that it is computed from (timeout minus gap).
_MARGINS = {"p1": 0.99, "p50": 0.5, "min": 1.0}
_TAIL = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
#: Differences in latency below this do not matter to a user (seconds).
LATENCY_FLOOR_S = 0.0001
#: Differences in lateness below this do not matter (seconds): the smallest timeout is 1 s.
LATENESS_FLOOR_S = 0.01


class FigureKind(StrEnum):
    """How figures of a metric are compared: as a ratio, or as a difference."""

    RATE = "rate"  # a share from 0 to 1; difference
    DURATION = "duration"  # seconds; ratio
    COUNT = "count"  # a number above 0; ratio
    MARGIN = "margin"  # seconds, below 0 where a refresh came late; difference

    @property
    def is_ratio(self) -> bool:
        return self in (FigureKind.DURATION, FigureKind.COUNT)


@dataclass(frozen=True)
class ComparedMetric:
    """One thing that is compared. `key` is its path in words of summary.json; `label` is for people.

    judged: belongs to the family that gets a word; all others are shown without one.
    lower_is_better: None where neither direction is good by itself.
    least: differences below it never matter, whatever their ratio (in the metric's own unit).
    """

    key: str
    label: str
    kind: FigureKind
    lower_is_better: bool | None = True
    judged: bool = False
    least: float = 0.0


#: The metrics that are judged, fixed before any run is read. Only six, so that five runs per side are enough.
FAMILY = (
    ComparedMetric("sessions.dropped.rate", "dropped sessions", FigureKind.RATE, judged=True),
    ComparedMetric("sessions.unserved.rate", "unserved sessions", FigureKind.RATE, judged=True),
    ComparedMetric("requests.unsuccessful.rate", "unsuccessful requests", FigureKind.RATE, judged=True),
    ComparedMetric("requests.GetMessages.latency_s.p99", "GetMessages latency p99", FigureKind.DURATION,
           judged=True, least=LATENCY_FLOOR_S),
    ComparedMetric("refresh.lateness_s.p99", "refresh lateness p99", FigureKind.DURATION,
           judged=True, least=LATENESS_FLOOR_S),
    ComparedMetric("refresh.margin_s.p1", "margin p1", FigureKind.MARGIN, lower_is_better=False, judged=True),
)  # fmt: skip
#: What the family's words mean; reports print it.
FAMILY_TERMS = (
    "dropped: dropped late or early, or perhaps (dropped_unproven, or accepted and gave_up), of the sessions whose "
    "fate is known",
    "unserved: started but never accepted, of all sessions",
    "unsuccessful: requests with any outcome but 0/false and 0/true",
)
_JUDGED = {metric.key: metric for metric in FAMILY}


@dataclass(frozen=True)
class RunFigures:
    """One run as the comparison sees it.

    run: where it is, as the user named it. figures: what was measured; a metric without samples is missing. timeout_s:
    the flex-disconnect-timeout. bounds: figures that are only lower bounds (for margins upper ones), because of
    requests without an answer or the last silences of chats. identity: equal for two copies of one run. problems: why
    it is invalid or does not balance.
    """

    run: str
    figures: Mapping[ComparedMetric, float]
    timeout_s: float | None = None
    settings: RunSettings = RunSettings()
    started_at: float | None = None
    sessions: int = 0
    identity: str = ""
    bounds: frozenset[ComparedMetric] = frozenset()
    problems: tuple[str, ...] = ()


#: A metric, its figure in one run, and whether that is only a bound.
_Figure = tuple[ComparedMetric, float | None, bool]


def measure(books: Books, timeout_s: float | None, cut_off_confirmed: int = 0) -> dict[ComparedMetric, float]:
    """Return the figures in one run's books; percentiles are those of all its processes together.

    cut_off_confirmed: of the sessions cut off, those whose goodbye was confirmed.
    """
    figures = [*_durations(books, timeout_s), *_shares(books, cut_off_confirmed)]
    return {metric: value for metric, value, _ in figures if value is not None}


def bounds(books: Books) -> frozenset[ComparedMetric]:
    """Return which of the figures of `measure` are only bounds."""
    return frozenset(metric for metric, _, is_bound in _durations(books, None) if is_bound)


def _shares(books: Books, cut_off_confirmed: int) -> Iterator[_Figure]:
    def rate(key: str, label: str, part: int, whole: int, lower_is_better: bool | None = True) -> _Figure:
        metric = _JUDGED.get(key) or ComparedMetric(key, label, FigureKind.RATE, lower_is_better)
        return metric, part / whole if whole else None, False

    verdicts, fates = books.verdicts, books.fates
    known = fates.known(cut_off_confirmed)
    outcomes = [item for by in books.outcomes.values() for item in by.items()]
    unsuccessful = sum(n for outcome, n in outcomes if outcome not in SUCCESSFUL)
    yield rate("sessions.dropped.rate", "", fates.dropped.most, known)
    yield rate("sessions.unserved.rate", "", fates.never_accepted.most, fates.ended)
    yield rate("requests.unsuccessful.rate", "", unsuccessful, sum(n for _, n in outcomes))
    per_session = ComparedMetric("requests.per_session", "requests per session", FigureKind.COUNT, None)
    yield per_session, books.sent.total() / books.started if books.started else None, False
    for verdict in Verdict:
        part, whole = fates.accepted_with(verdict), fates.accepted
        if verdict is Verdict.REFUSED:
            part, whole = verdicts[verdict], fates.ended
        lower = None if verdict in NEUTRAL_ENDINGS else verdict in BAD_ENDINGS
        yield rate(f"sessions.{verdict}.rate", verdict.value, part, whole, lower)
    for blame in Blame:
        yield rate(f"sessions.dropped_late.{blame}.rate", f"dropped_late by {blame}", books.blames[blame], known)


def _durations(books: Books, timeout_s: float | None) -> Iterator[_Figure]:
    """Yield latencies, lateness, gaps and margins (the timeout minus a gap; None without a timeout)."""
    operations = sorted(books.latency, key=lambda name: (name != "GetMessages", name))
    tails = [(f"requests.{op}.latency_s", f"{op} latency", books.latency[op], LATENCY_FLOOR_S) for op in operations]
    tails.append(("refresh.lateness_s", "refresh lateness", CensoredHistogram(books.lateness), LATENESS_FLOOR_S))
    for key, label, samples, least in tails:
        for quantile, q in _TAIL.items():
            name, says = f"{key}.{quantile}", f"{label} {quantile.replace('_', '.')}"
            metric = _JUDGED.get(name) or ComparedMetric(name, says, FigureKind.DURATION, least=least)
            yield metric, samples.figure(q), _is_bound(samples, q)
    for quantile in ("p50", "p99"):
        q = _TAIL[quantile]
        metric = ComparedMetric(f"refresh.gap_s.{quantile}", f"gap {quantile}", FigureKind.DURATION, None)
        yield metric, books.gap.figure(q), _is_bound(books.gap, q)
    for quantile, q in _MARGINS.items():
        name, gap = f"refresh.margin_s.{quantile}", books.gap.figure(q)
        metric = _JUDGED.get(name) or ComparedMetric(name, f"margin {quantile}", FigureKind.MARGIN, False)
        yield metric, None if gap is None or timeout_s is None else timeout_s - gap, _is_bound(books.gap, q)


def _is_bound(samples: CensoredHistogram, q: float) -> bool:
    reading = samples.quantile(q)
    return reading is not None and reading.over


@dataclass(frozen=True)
class Tolerance:
    """The smallest effect that matters.

    relative: for a duration or count, this part of it; for a margin, this part of the timeout. rate: for a rate, this
    difference (a share; 0.001 is 0.1 percentage points) plus `relative` of the lower rate.
    """

    relative: float = 0.05
    rate: float = 0.001


@dataclass(frozen=True)
class ComparisonRow:
    """One metric, side by side; values in the metric's own unit.

    base, new: a figure for each run, None if the run had no samples. base_mean, new_mean: over runs, geometric for
    durations and counts. change: new / base - 1; for rates and margins new - base. interval: of `change`, with
    CONFIDENCE for this metric alone. p: Mann-Whitney, exact, two-sided, of this metric alone. p_family: with all judged
    metrics and the tolerance taken into account. word: better, worse or no evidence; None if the metric is not judged.
    base_is_bound, new_is_bound: a figure of that side is only a bound (see `RunFigures.bounds`).
    """

    metric: ComparedMetric
    base: tuple[float | None, ...]
    new: tuple[float | None, ...]
    base_mean: float | None = None
    new_mean: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_family: float | None = None
    word: str | None = None
    base_is_bound: bool = False
    new_is_bound: bool = False


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison. word: None if there are too few runs for one."""

    base: tuple[RunFigures, ...]
    new: tuple[RunFigures, ...]
    tolerance: Tolerance
    rows: tuple[ComparisonRow, ...]
    differences: tuple[SettingDifference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def judged(self) -> list[ComparisonRow]:
        return [row for row in self.rows if row.word is not None]

    @property
    def word(self) -> str | None:
        """The whole comparison in a word: worse if anything is."""
        found = {row.word for row in self.judged}
        return next((word for word in (WORSE, BETTER, NO_EVIDENCE) if word in found), None)

    def to_dict(self) -> dict[str, Any]:
        sides = {"base": self.base, "new": self.new}
        return {
            "word": self.word,
            "alpha": ALPHA,
            "confidence": CONFIDENCE,
            "tolerance": asdict(self.tolerance),
            **{side: [_run_to_dict(run) for run in runs] for side, runs in sides.items()},
            "settings_that_differ": [difference._asdict() for difference in self.differences],
            "notes": list(self.notes),
            "metrics": {row.metric.key: _row_to_dict(row) for row in self.rows},
        }


def _run_to_dict(run: RunFigures) -> dict[str, Any]:
    about = {name: getattr(run, name) for name in ("run", "started_at", "sessions")}
    return {**about, "problems": list(run.problems)}


def _row_to_dict(row: ComparisonRow) -> dict[str, Any]:
    data, metric = vars(row).copy(), row.metric
    del data["metric"]
    change_is = "ratio_minus_1" if metric.kind.is_ratio else "difference"
    return {"label": metric.label, "kind": metric.kind, "judged": metric.judged, "change_is": change_is, **data}


def compare_runs(
    base: Sequence[RunFigures], new: Sequence[RunFigures], tolerance: Tolerance = Tolerance()
) -> Comparison:
    """Compare two sides of at least one run each."""
    base, new, notes, apart = _distinct(base, new)
    enough = apart and min(len(base), len(new)) >= ENOUGH_RUNS
    metrics = list(dict.fromkeys([*FAMILY, *chain.from_iterable(run.figures for run in (*base, *new))]))
    rows = [_row(metric, base, new, enough) for metric in metrics]
    if enough:
        rows = _judge(rows, base, new, tolerance)
        notes += [
            f"{row.metric.label}: not measured in every run, so not judged"
            for row in rows
            if row.metric.judged and row.word is None
        ]
    differences = settings_differences([run.settings for run in base], [run.settings for run in new])
    return Comparison(tuple(base), tuple(new), tolerance, tuple(rows), tuple(differences), tuple(notes))


def _distinct(
    base: Sequence[RunFigures], new: Sequence[RunFigures]
) -> tuple[list[RunFigures], list[RunFigures], list[str], bool]:
    """Return each side without copies, notes on what was left out, and whether no run is on both sides."""
    sides, notes = [], []
    for side in (base, new):
        kept: dict[str, RunFigures] = {}
        for run in side:
            name = run.identity or run.run
            if name in kept:
                notes.append(f"{run.run} is the same run as {kept[name].run} and counts once: a copy is no evidence")
            kept.setdefault(name, run)
        sides.append(kept)
    both = sides[0].keys() & sides[1].keys()
    notes += [f"{sides[1][name].run} is on both sides, so nothing is judged" for name in sorted(both)]
    return list(sides[0].values()), list(sides[1].values()), notes, not both


def _row(metric: ComparedMetric, base: Sequence[RunFigures], new: Sequence[RunFigures], enough: bool) -> ComparisonRow:
    seen, shown = (tuple(run.figures.get(metric) for run in side) for side in (base, new))
    before, after = (_scaled(metric, np.array([v for v in side if v is not None])) for side in (seen, shown))
    change = interval = None
    if len(before) and len(after):
        change = float(_change(metric, after.mean() - before.mean()))
        if enough and None not in (*seen, *shown):
            interval = _interval(metric, before, after)
    return ComparisonRow(
        metric,
        seen,
        shown,
        base_mean=float(_unscaled(metric, before.mean())) if len(before) else None,
        new_mean=float(_unscaled(metric, after.mean())) if len(after) else None,
        change=change,
        interval=interval,
        base_is_bound=any(metric in run.bounds for run in base),
        new_is_bound=any(metric in run.bounds for run in new),
    )


def _scaled(metric: ComparedMetric, values: Floats) -> Floats:
    """Return figures on the scale on which they are averaged and subtracted: logarithmic if ratios are compared."""
    return np.log(np.maximum(values, _SHORTEST_S)) if metric.kind.is_ratio else values


def _unscaled(metric: ComparedMetric, values: Any) -> Any:
    return np.exp(values) if metric.kind.is_ratio else values


def _change(metric: ComparedMetric, difference: Any) -> Any:
    return np.expm1(difference) if metric.kind.is_ratio else difference


def _interval(metric: ComparedMetric, base: Floats, new: Floats) -> tuple[float, float]:
    """Return the interval of the change with CONFIDENCE, by a bootstrap over runs (see the module's docstring)."""
    random = np.random.default_rng(_SEED)
    resampled = []
    for side in (base, new):
        means = side[random.integers(len(side), size=(_RESAMPLES, len(side)))].mean(axis=1)
        widened = np.sqrt(len(side) / (len(side) - 1))
        resampled.append(side.mean() + widened * (means - side.mean()))
    tail = float(norm.cdf(t.ppf((1 - CONFIDENCE) / 2, len(base) + len(new) - 2)))
    low, high = _change(metric, np.quantile(resampled[1] - resampled[0], [tail, 1 - tail]))
    return float(low), float(high)


def _judge(
    rows: list[ComparisonRow], base: Sequence[RunFigures], new: Sequence[RunFigures], tolerance: Tolerance
) -> list[ComparisonRow]:
    """Return the rows with p values and words for the judged metrics that every run measured."""
    timeouts = [run.timeout_s for run in (*base, *new) if run.timeout_s]
    timeout_s = float(np.mean(timeouts)) if timeouts else 0.0
    deals = _deals(len(base), len(new))
    values = {
        row.metric: np.array([*row.base, *row.new], dtype=float)
        for row in rows
        if row.metric.judged and row.interval is not None
    }
    statistics = {metric: _statistic(metric, values[metric], deals, tolerance, timeout_s) for metric in values}
    largest = np.max(list(statistics.values()), axis=0) if statistics else None
    judged = []
    for row in rows:
        if row.metric in statistics and row.interval is not None and row.change is not None:
            alone = _rank_p(values[row.metric], deals)
            p_family = float(np.mean(largest >= statistics[row.metric][0] * (1 - _EPSILON)))
            outside = not row.interval[0] <= 0 <= row.interval[1]
            word = NO_EVIDENCE
            if p_family <= ALPHA and alone <= _ALPHA_ALONE and outside:
                word = WORSE if (row.change > 0) == row.metric.lower_is_better else BETTER
            if word is BETTER and row.new_is_bound:
                word = NO_EVIDENCE  # beyond its bound NEW may be worse than BASE
            row = replace(row, p=alone, p_family=p_family, word=word)
        judged.append(row)
    return judged


def _deals(base: int, new: int) -> NDArray[np.bool_]:
    """Return the ways to divide all runs into two sides of these sizes: a row each, True for NEW, the observed first.

    All of them; a seeded sample if there are more than _MOST_DEALS.
    """
    total = base + new
    seen = tuple(range(base, total))
    if comb(total, new) <= _MOST_DEALS:
        chosen = [seen, *(deal for deal in combinations(range(total), new) if deal != seen)]
        deals = np.zeros((len(chosen), total), dtype=bool)
        np.put_along_axis(deals, np.array(chosen), True, axis=1)
        return deals
    random = np.random.default_rng(_SEED)
    deals = np.tile(np.arange(total) >= base, (_MOST_DEALS, 1))
    deals[1:] = random.permuted(deals[1:], axis=1)
    return deals


def _rank_p(values: Floats, deals: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p value of Mann and Whitney's rank test; ties have their mean rank."""
    new = int(deals[0].sum())
    u = deals @ rankdata(values) - new * (new + 1) / 2
    distance = np.abs(u - (len(values) - new) * new / 2)
    return float(np.mean(distance >= distance[0] - _EPSILON))


def _statistic(
    metric: ComparedMetric, values: Floats, deals: NDArray[np.bool_], tolerance: Tolerance, timeout_s: float
) -> Floats:
    """Return for each deal the statistic of a metric (see the module's docstring)."""
    scaled = _scaled(metric, values)
    total, new = len(values), int(deals[0].sum())
    base = total - new
    sums = deals @ scaled
    new_mean, base_mean = sums / new, (scaled.sum() - sums) / base
    difference = np.abs(new_mean - base_mean)
    # Student's t for two samples of equal variance. Bounded below: runs that are all equal within a side would divide
    # by the rounding error of 0.
    spread = float(((scaled - scaled.mean()) ** 2).sum())
    within = np.maximum(spread - difference**2 * new * base / total, _EPSILON * spread + _EPSILON**2)
    student = difference / np.sqrt(within / (total - 2) * (1 / new + 1 / base))
    # The effect in tolerances: it matters from 1 on.
    if metric.kind is FigureKind.RATE:
        unit = tolerance.rate + tolerance.relative * np.minimum(base_mean, new_mean)
    else:
        unit = tolerance.relative * timeout_s if metric.kind is FigureKind.MARGIN else np.log1p(tolerance.relative)
    effect = difference / np.maximum(unit, _EPSILON)
    size = np.abs(_unscaled(metric, new_mean) - _unscaled(metric, base_mean))
    matters = (size >= metric.least) & (difference > _EPSILON) & (effect >= 1 - _EPSILON)
    return np.where(matters, student * np.sqrt(np.minimum(effect, _MOST_TOLERANCES)), 0.0)
