"""Is NEW worse than BASE? The unit of evidence is the run, not the request.

All requests of one run have the same conditions (the network in that hour, other load on the machine). A test that
pools them takes ordinary differences between runs for a change. So each run gives one figure per metric, and the mean
difference between the sides is judged with the methods of `chatload.stats.two_samples`.

*worse* or *better* needs two things:

- a studentised permutation test of all judged metrics together. The statistic of a metric is 0 if the difference is
  within the tolerance. The largest statistic of the family counts (max-T of Westfall and Young, Resampling-Based
  Multiple Testing, 1993), so that the chance of a false alarm is at most ALPHA for the whole comparison. The tolerance
  is part of the statistic, so metrics that stay within it do not reduce the power;
- Welch's test of the metric, at Šidák's level for the family. Few runs with unequal variances need it: the permutation
  test is then only approximate (simulations/comparing.py has the error rates).

*equivalent* needs an interval that lies within the tolerance on both sides. These are two one-sided tests at
1 - CONFIDENCE each (D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).

All else is *undecided*: a difference may exist, and these runs are too few or too noisy to show or to exclude it.

The order of the runs decides whether the tests hold at all, see `chatload.features.compare.order`.

Drops are judged per session, or per chat-hour if the end of a run cut off many of its chats (`family_of`). In such a
run a rate per session is too low, and depends on the length of the run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import chain
from math import sqrt
from typing import Any

import numpy as np

from chatload.features.compare.order import RunOrder, order_of
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.settings import RunSettings, SettingDifference, settings_differences
from chatload.stats.two_samples import Floats, MeanDifference, SampleDesign
from chatload.thresholds.metrics import CENSORED_ABOVE, Facts
from chatload.vocabulary import BAD_ENDINGS, NEUTRAL_ENDINGS, SUCCESSFUL, Blame, Verdict

#: Minimum number of runs per side for a result: 4 and 4 runs can be divided in 70 ways, 3 and 3 in only 20.
ENOUGH_RUNS = 4
#: Chance that a comparison of equal things says better or worse.
ALPHA = 0.05
#: Of each end of an interval.
CONFIDENCE = 0.95
BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
NOT_COMPARABLE = "not comparable"

_SHORTEST_S = 1e-6  # as in Histogram: shorter counts as 0
_EPSILON = 1e-9

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
    HOURLY = "hourly rate"  # events per chat-hour; difference
    DURATION = "duration"  # seconds; ratio
    COUNT = "count"  # a number above 0; ratio
    MARGIN = "margin"  # seconds, below 0 where a refresh came late; difference

    @property
    def is_ratio(self) -> bool:
        return self in (FigureKind.DURATION, FigureKind.COUNT)

    def counting_error(self, rate: float, trials: float) -> float:
        """Return the standard error of a rate of independent events: binomial, or Poisson for an hourly rate."""
        return sqrt(max(rate if self is FigureKind.HOURLY else rate * (1 - rate), 0.0) / trials)

    def cautious_error(self, rate: float, trials: float) -> float:
        """Return `counting_error` after one more event, and for a share one more miss: above 0 also without an event.

        Source: A. Agresti and B. Caffo, "Simple and effective confidence intervals for proportions and differences of
        proportions", The American Statistician 54 (2000). For an hourly rate, the miss has no counterpart.
        """
        more = trials if self is FigureKind.HOURLY else trials + 2
        return self.counting_error((rate * trials + 1) / more, more)


class DropsJudged(StrEnum):
    """Which rate of drops is judged. AUTO: per chat-hour if a run is censored (see `RunFigures`)."""

    AUTO = "auto"
    PER_SESSION = "per-session"
    PER_CHAT_HOUR = "per-chat-hour"


@dataclass(frozen=True)
class ComparedMetric:
    """One thing that is compared. `key` is its path in words of summary.json; `label` is for people.

    lower_is_better: None where neither direction is good by itself.
    least: differences below it never matter, whatever their ratio (in the metric's own unit).
    """

    key: str
    label: str
    kind: FigureKind
    lower_is_better: bool | None = True
    least: float = 0.0


DROPPED = ComparedMetric("sessions.dropped.rate", "dropped sessions", FigureKind.RATE)
#: A key of summary.json, like the others.
DROPPED_HOURLY = ComparedMetric("exposure.dropped_per_chat_hour.rate", "drops per chat-hour", FigureKind.HOURLY)
UNSERVED = ComparedMetric("sessions.unserved.rate", "unserved sessions", FigureKind.RATE)
UNSUCCESSFUL = ComparedMetric("requests.unsuccessful.rate", "unsuccessful requests", FigureKind.RATE)
#: The metrics that are judged, if not as in `family_of`. Only six, so that five runs per side are enough.
FAMILY = (
    DROPPED,
    UNSERVED,
    UNSUCCESSFUL,
    ComparedMetric("requests.GetMessages.latency_s.p99", "GetMessages latency p99", FigureKind.DURATION,
           least=LATENCY_FLOOR_S),
    ComparedMetric("refresh.lateness_s.p99", "refresh lateness p99", FigureKind.DURATION,
           least=LATENESS_FLOOR_S),
    ComparedMetric("refresh.margin_s.p1", "margin p1", FigureKind.MARGIN, lower_is_better=False),
)  # fmt: skip
#: What the family's words mean; reports print it.
FAMILY_TERMS = (
    "dropped: dropped late or early, or perhaps (dropped_unproven, or accepted and gave_up), of the sessions whose "
    "fate is known",
    "unserved: started but never accepted, of all sessions",
    "unsuccessful: requests with any outcome but 0/false and 0/true",
)
_BY_KEY = {metric.key: metric for metric in FAMILY}


@dataclass(frozen=True)
class RunFigures:
    """One run as the comparison sees it.

    run: where it is, as the user named it. figures: what was measured; a metric without samples is missing. timeout_s:
    the flex-disconnect-timeout. bounds: figures that are only lower bounds (for margins upper ones), because of
    requests without an answer or the last silences of chats. trials: of how many sessions or requests a judged rate is
    a share; of an hourly rate, the hours. is_censored: the end of the run cut off so many chats that its rates per
    session are too low. identity: equal for two copies of one run. problems: why it is invalid or does not balance.
    """

    run: str
    figures: Mapping[ComparedMetric, float]
    timeout_s: float | None = None
    settings: RunSettings = RunSettings()
    started_at: float | None = None
    sessions: int = 0
    identity: str = ""
    bounds: frozenset[ComparedMetric] = frozenset()
    trials: Mapping[ComparedMetric, float] = field(default_factory=dict)
    is_censored: bool = False
    problems: tuple[str, ...] = ()


def family_of(runs: Sequence[RunFigures], drops: DropsJudged = DropsJudged.AUTO) -> tuple[ComparedMetric, ...]:
    """Return the metrics that are judged: FAMILY, with drops per chat-hour in place of the dropped sessions if asked.

    AUTO looks only at how many chats were cut off, not at the drops. So it does not choose the rate that differs more.
    """
    by_hour = drops is DropsJudged.PER_CHAT_HOUR
    if drops is DropsJudged.AUTO:
        by_hour = any(run.is_censored for run in runs)
    return (DROPPED_HOURLY, *FAMILY[1:]) if by_hour else FAMILY


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


def trials(books: Books, cut_off_confirmed: int = 0) -> dict[ComparedMetric, float]:
    """Return of how many sessions, chat-hours or requests each judged rate of `measure` is one."""
    fates = books.fates
    requests = sum(n for by in books.outcomes.values() for n in by.values())
    hours = Facts(books).chat_hours
    return {
        DROPPED: fates.known(cut_off_confirmed),
        DROPPED_HOURLY: hours,
        UNSERVED: fates.ended,
        UNSUCCESSFUL: requests,
    }


def _shares(books: Books, cut_off_confirmed: int) -> Iterator[_Figure]:
    def rate(key: str, label: str, part: int, whole: int, lower_is_better: bool | None = True) -> _Figure:
        return ComparedMetric(key, label, FigureKind.RATE, lower_is_better), part / whole if whole else None, False

    verdicts, fates = books.verdicts, books.fates
    known = fates.known(cut_off_confirmed)
    outcomes = chain.from_iterable(by.items() for by in books.outcomes.values())
    parts = {
        DROPPED: fates.dropped.most,
        DROPPED_HOURLY: fates.dropped.most,
        UNSERVED: fates.never_accepted.most,
        UNSUCCESSFUL: sum(n for outcome, n in outcomes if outcome not in SUCCESSFUL),
    }
    for metric, whole in trials(books, cut_off_confirmed).items():
        yield metric, parts[metric] / whole if whole else None, False
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
            metric = _BY_KEY.get(name) or ComparedMetric(name, says, FigureKind.DURATION, least=least)
            yield metric, samples.figure(q), _is_bound(samples, q)
    for quantile in ("p50", "p99"):
        q = _TAIL[quantile]
        metric = ComparedMetric(f"refresh.gap_s.{quantile}", f"gap {quantile}", FigureKind.DURATION, None)
        yield metric, books.gap.figure(q), _is_bound(books.gap, q)
    for quantile, q in _MARGINS.items():
        name, gap = f"refresh.margin_s.{quantile}", books.gap.figure(q)
        metric = _BY_KEY.get(name) or ComparedMetric(name, f"margin {quantile}", FigureKind.MARGIN, False)
        yield metric, None if gap is None or timeout_s is None else timeout_s - gap, _is_bound(books.gap, q)


def _is_bound(samples: CensoredHistogram, q: float) -> bool:
    reading = samples.quantile(q)
    return reading is not None and reading.over


@dataclass(frozen=True)
class Tolerance:
    """The smallest effect that matters.

    relative: for a duration or count, this part of it; for a margin, this part of the timeout. rate: for a rate, this
    difference (a share; 0.001 is 0.1 percentage points) plus `relative` of the lower rate. hourly: the same for a rate
    per chat-hour; by default 0.1 % of chats of six minutes.
    """

    relative: float = 0.05
    rate: float = 0.001
    hourly: float = 0.01


@dataclass(frozen=True)
class ComparisonRow:
    """One metric, side by side; values in the metric's own unit.

    in_family: it belongs to the family that gets a result; all others are shown without one. base, new: a figure for
    each run, None if the run had no samples. base_mean, new_mean: over runs, geometric for durations and counts.
    change: new / base - 1; for rates and margins new - base. interval: of `change`; each end holds with CONFIDENCE, for
    this metric alone. estimate: the difference on the scale of `scaled`. matters_from: the least `change` upwards that
    the tolerance does not cover. p: the larger one of the two tests, with all judged metrics taken into account. word:
    better, worse, equivalent or undecided; None if the metric is not judged. base_is_bound, new_is_bound: a figure of
    that side is only a bound (see `RunFigures.bounds`).
    """

    metric: ComparedMetric
    in_family: bool
    base: tuple[float | None, ...]
    new: tuple[float | None, ...]
    base_mean: float | None = None
    new_mean: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    estimate: MeanDifference | None = None
    matters_from: float | None = None
    p: float | None = None
    word: str | None = None
    base_is_bound: bool = False
    new_is_bound: bool = False

    @property
    def worst(self) -> float | None:
        """The end of the interval that is worse for users; None without an interval or a bad direction."""
        if self.interval is None or self.metric.lower_is_better is None:
            return None
        return self.interval[1] if self.metric.lower_is_better else self.interval[0]

    @property
    def excludes_worse(self) -> bool:
        """A change for the worse beyond the tolerance is excluded with CONFIDENCE."""
        if self.worst is None or self.matters_from is None or self.base_is_bound or self.new_is_bound:
            return False
        return (self.worst if self.metric.lower_is_better else -self.worst) <= self.matters_from


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    base, new: the runs of each side, in the order of time if it is known. order: of all runs. blocked: the runs are
    enough, and their order allows no result. user_class: the one whose chats are compared; "": all chats.
    """

    base: tuple[RunFigures, ...]
    new: tuple[RunFigures, ...]
    tolerance: Tolerance
    rows: tuple[ComparisonRow, ...]
    order: RunOrder
    blocked: bool = False
    differences: tuple[SettingDifference, ...] = ()
    notes: tuple[str, ...] = ()
    user_class: str = ""

    @property
    def judged(self) -> list[ComparisonRow]:
        return [row for row in self.rows if row.word is not None]

    @property
    def unmeasured(self) -> list[ComparisonRow]:
        """The metrics that should be judged and were measured in some of the runs only."""
        rows = [row for row in self.rows if row.in_family]
        return [
            row for row in rows if None in (figures := (*row.base, *row.new)) and any(f is not None for f in figures)
        ]

    @property
    def word(self) -> str | None:
        """The whole comparison in a word: worse if anything is, equivalent if all is. None if nothing is judged."""
        if self.blocked:
            return NOT_COMPARABLE
        found = {row.word for row in self.judged}
        if found and self.unmeasured:
            found.add(UNDECIDED)
        return next((word for word in (WORSE, BETTER, UNDECIDED, EQUIVALENT) if word in found), None)

    def to_dict(self) -> dict[str, Any]:
        sides = {"base": self.base, "new": self.new}
        return {
            "word": self.word,
            "user_class": self.user_class,
            "alpha": ALPHA,
            "confidence": CONFIDENCE,
            "tolerance": asdict(self.tolerance),
            "order": {**asdict(self.order), "is_balanced": self.order.is_balanced, "is_paired": self.order.is_paired},
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
    del data["metric"], data["estimate"], data["in_family"]
    change_is = "ratio_minus_1" if metric.kind.is_ratio else "difference"
    return {"label": metric.label, "kind": metric.kind, "judged": row.in_family, "change_is": change_is, **data}


def compare_runs(
    base: Sequence[RunFigures],
    new: Sequence[RunFigures],
    tolerance: Tolerance = Tolerance(),
    allow_blocked: bool = False,
    drops: DropsJudged = DropsJudged.AUTO,
) -> Comparison:
    """Compare two sides of at least one run each. allow_blocked: judge whatever the order of the runs is."""
    base, new, notes, apart = _distinct(base, new)
    enough = apart and min(len(base), len(new)) >= ENOUGH_RUNS
    order = order_of([run.started_at for run in base], [run.started_at for run in new])
    if order.is_known:
        base, new = (sorted(side, key=lambda run: run.started_at or 0.0) for side in (base, new))
    blocked = enough and not order.is_balanced and not allow_blocked
    design = order.design(len(base), len(new))
    family = family_of((*base, *new), drops)
    metrics = list(dict.fromkeys([*family, *chain.from_iterable(run.figures for run in (*base, *new))]))
    rows = [_row(metric, metric in family, base, new, design if enough else None) for metric in metrics]
    if enough and not blocked:
        rows = _judge(rows, design, tolerance, timeout_of((*base, *new)))
        notes += [
            f"{row.metric.label}: not measured in every run, so not judged"
            for row in rows
            if row.in_family and row.word is None
        ]
    notes += _drops_notes((*base, *new), family, drops)
    differences = settings_differences([run.settings for run in base], [run.settings for run in new])
    return Comparison(tuple(base), tuple(new), tolerance, tuple(rows), order, blocked, tuple(differences), tuple(notes))


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


def _drops_notes(runs: Sequence[RunFigures], family: Sequence[ComparedMetric], drops: DropsJudged) -> Iterator[str]:
    """Yield why drops are judged per chat-hour, or what is wrong with rates per session."""
    censored = sum(run.is_censored for run in runs)
    if not censored:
        return
    cut = f"the end of {censored} of {len(runs)} runs cut off more than {100 * CENSORED_ABOVE:g} % of the chats"
    if DROPPED not in family:
        if drops is DropsJudged.AUTO:
            yield f"drops are compared per chat-hour, because {cut}"
    else:
        yield f"drops are compared per session, although {cut}: such a rate is lower than that of whole chats"


def timeout_of(runs: Sequence[RunFigures]) -> float:
    """Return the mean flex-disconnect-timeout of the runs that have one (seconds), 0 if none has."""
    timeouts = [run.timeout_s for run in runs if run.timeout_s]
    return float(np.mean(timeouts)) if timeouts else 0.0


def _row(
    metric: ComparedMetric,
    in_family: bool,
    base: Sequence[RunFigures],
    new: Sequence[RunFigures],
    design: SampleDesign | None,
) -> ComparisonRow:
    seen, shown = (tuple(run.figures.get(metric) for run in side) for side in (base, new))
    before, after = (scaled(metric, np.array([v for v in side if v is not None])) for side in (seen, shown))
    change = interval = estimate = None
    if len(before) and len(after):
        change = float(unscaled_change(metric, after.mean() - before.mean()))
        if design is not None and None not in (*seen, *shown):
            error = sqrt(sampling_error(metric, base) ** 2 + sampling_error(metric, new) ** 2)
            # With 90 %: each end holds with 95 %.
            estimate = design.estimate(before, after, error)
            low, high = estimate.interval(2 * CONFIDENCE - 1)
            interval = float(unscaled_change(metric, low)), float(unscaled_change(metric, high))
    return ComparisonRow(
        metric,
        in_family,
        seen,
        shown,
        base_mean=float(_unscaled(metric, before.mean())) if len(before) else None,
        new_mean=float(_unscaled(metric, after.mean())) if len(after) else None,
        change=change,
        interval=interval,
        estimate=estimate,
        base_is_bound=any(metric in run.bounds for run in base),
        new_is_bound=any(metric in run.bounds for run in new),
    )


def scaled(metric: ComparedMetric, values: Floats) -> Floats:
    """Return figures on the scale on which they are averaged and subtracted: logarithmic if ratios are compared."""
    return np.log(np.maximum(values, _SHORTEST_S)) if metric.kind.is_ratio else values


def _unscaled(metric: ComparedMetric, values: Any) -> Any:
    return np.exp(values) if metric.kind.is_ratio else values


def unscaled_change(metric: ComparedMetric, difference: Any) -> Any:
    """Return a difference on the scale of `scaled` as a change (see `ComparisonRow`)."""
    return np.expm1(difference) if metric.kind.is_ratio else difference


def least_change(metric: ComparedMetric, tolerance: Tolerance, timeout_s: float, lower: Any) -> Any:
    """Return the least difference that matters, on the scale of `scaled`. lower: the lower mean, on the same scale."""
    if metric.kind is FigureKind.RATE:
        return tolerance.rate + tolerance.relative * lower
    if metric.kind is FigureKind.HOURLY:
        return tolerance.hourly + tolerance.relative * lower
    if metric.kind is FigureKind.MARGIN:
        return tolerance.relative * timeout_s
    return np.log1p(np.maximum(tolerance.relative, metric.least / _unscaled(metric, lower)))


def sampling_error(metric: ComparedMetric, runs: Sequence[RunFigures]) -> float:
    """Return the least standard error of the mean of a rate over runs; 0 for other metrics.

    Runs that all measured 0 do not prove that there is no noise. The error is that of all sessions (requests,
    chat-hours) of the runs together: `FigureKind.cautious_error`.
    """
    n = sum(run.trials.get(metric, 0) for run in runs)
    if not n:
        return 0.0
    rate = sum(run.figures.get(metric, 0.0) * run.trials.get(metric, 0) for run in runs) / n
    return metric.kind.cautious_error(rate, n)


def _judge(
    rows: list[ComparisonRow], design: SampleDesign, tolerance: Tolerance, timeout_s: float
) -> list[ComparisonRow]:
    """Return the rows with p values and words for the judged metrics that every run measured."""
    statistics: dict[ComparedMetric, Floats] = {}
    least: dict[ComparedMetric, float] = {}
    for row in rows:
        if row.in_family and row.estimate is not None:
            sides = (scaled(row.metric, np.array(side, dtype=float)) for side in (row.base, row.new))
            labelled = design.labelled(*sides)
            lower = np.minimum(labelled.base_means, labelled.new_means)
            matters = np.broadcast_to(least_change(row.metric, tolerance, timeout_s, lower), lower.shape)
            difference = np.abs(labelled.new_means - labelled.base_means)
            counts = (difference >= matters * (1 - _EPSILON)) & (difference > _EPSILON)
            statistics[row.metric] = np.where(counts, labelled.statistics, 0.0)
            least[row.metric] = float(matters[0])
    largest = np.max(list(statistics.values()), axis=0) if statistics else None
    # A metric that never varies cannot be called anything, and takes no part of the level.
    varying = sum(len({*row.base, *row.new}) > 1 for row in rows if row.metric in statistics)
    judged = []
    for row in rows:
        if row.metric in statistics and row.estimate is not None:
            seen = statistics[row.metric][0]
            by_permutation = float(np.mean(largest >= seen * (1 - _EPSILON)))
            p = max(by_permutation, row.estimate.p(varying))
            matters_from = float(unscaled_change(row.metric, least[row.metric]))
            word = _word(row, p, seen > 0, matters_from)
            row = replace(row, p=p, word=word, matters_from=matters_from)
        judged.append(row)
    return judged


def _word(row: ComparisonRow, p: float, matters: bool, matters_from: float) -> str:
    """Return the result of a judged metric. matters: the observed change is beyond the tolerance."""
    if row.interval is None or row.change is None:
        return UNDECIDED
    low, high = row.interval
    if matters and p <= ALPHA:
        if (row.change > 0) == row.metric.lower_is_better:
            return WORSE
        # Beyond its bound NEW may be worse than BASE.
        return UNDECIDED if row.new_is_bound else BETTER
    least = -matters_from / (1 + matters_from) if row.metric.kind.is_ratio else -matters_from
    is_within = least * (1 - _EPSILON) < low and high < matters_from * (1 - _EPSILON)
    exact = not row.base_is_bound and not row.new_is_bound
    return EQUIVALENT if exact and (is_within or low == high == 0) else UNDECIDED
