"""How well a fit reproduces its run, and predictions for loads and intervals that were not run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from chatload.chat.policy import RefreshPolicy
from chatload.features.forecast.conditions import latency_factor
from chatload.features.forecast.fit import FittedRun, MeasuredRun
from chatload.features.forecast.replay import CALM, CohortResult, Replayer, ReplayJob
from chatload.stats.rates import interval, per_unit

#: The request rate of a good fit differs from the run's by at most this part.
REQUESTS_TOLERANCE = 0.03
#: Replays that judge the fit, each of at most this many requests.
REPLAYS, REPLAY_REQUESTS = 5, 500_000
#: A run of fewer requests is replayed this often: by chance alone one replay of it is some percent off.
SMALL, OFTEN = 20_000, 25
#: Customers of a forecast start over this part of its time, and over at most a minute (seconds).
_RAMP, _RAMP_S = 0.1, 60.0


@dataclass(frozen=True)
class FigureComparison:
    """One figure of the run beside that of its replays. low, high: the run's own 95 % interval, or its tolerance."""

    name: str
    measured: float
    reproduced: float
    low: float
    high: float
    judged: bool

    @property
    def good(self) -> bool:
        """Whether the figure of the replays is within the interval."""
        return self.low <= self.reproduced <= self.high


@dataclass(frozen=True)
class FitQuality:
    """The replays compared with the run. customers: how many of the run's customers each replay holds."""

    replays: int
    customers: int
    figures: tuple[FigureComparison, ...]
    margins_s: dict[str, tuple[float, float]]

    @property
    def reproduces(self) -> bool:
        """Whether every judged figure is as measured."""
        return all(figure.good for figure in self.figures if figure.judged)


def reproduce(fitted: FittedRun, replayer: Replayer, seed: int = 100) -> FitQuality:
    """Replay the run, with other random numbers than those of the fit."""
    replays = OFTEN if fitted.measured.requests < SMALL else REPLAYS
    starts = fitted.share(REPLAY_REQUESTS)
    total = CohortResult()
    for number in range(replays):
        total.merge(replayer(fitted.job(starts, seed + number)))
    scale = len(fitted.starts) / (len(starts) * replays)
    return FitQuality(replays, len(starts), _compared(fitted.measured, total, scale), _margins(fitted, total))


def _compared(measured: MeasuredRun, cohort: CohortResult, scale: float) -> tuple[FigureComparison, ...]:
    rate = measured.requests_per_s
    reproduced = cohort.books.sent.total() * scale / measured.length_s
    dropped, known = measured.dropped, max(cohort.known, 1)
    return (
        FigureComparison("requests_per_s", rate, reproduced,
                 rate * (1 - REQUESTS_TOLERANCE), rate * (1 + REQUESTS_TOLERANCE), True),
        FigureComparison("dropped.rate", dropped / measured.known, cohort.dropped / known,
                 *interval(dropped, measured.known), True),
        FigureComparison("dropped_late.rate", measured.late / measured.known, cohort.late / known,
                 *interval(measured.late, measured.known), False),
    )  # fmt: skip


def _margins(fitted: FittedRun, cohort: CohortResult) -> dict[str, tuple[float, float]]:
    found = margins(cohort, fitted.settings.timeout_s)
    return {name: (value, found[name]) for name, value in fitted.measured.margins_s.items() if name in found}


def margins(cohort: CohortResult, timeout_s: float) -> dict[str, float]:
    """Quantiles of the margin before the timeout (seconds)."""
    gaps = cohort.books.gap
    quantiles = {"p50": gaps.figure(0.5), "p1": gaps.figure(0.99), "min": gaps.figure(1.0)}
    return {name: timeout_s - gap for name, gap in quantiles.items() if gap is not None}


@dataclass(frozen=True)
class ForecastQuestion:
    """A load to forecast: sessions open at a time, refreshed by this policy, for this long (seconds).

    customers: how many are held; they stand for all. growth: see `latency_factor`.
    """

    sessions: int
    policy: RefreshPolicy
    for_s: float
    customers: int
    growth: float = 1.0


@dataclass(frozen=True)
class Prediction:
    """The forecast for one question. Rates are of sessions whose fate is known; times in seconds.

    drop_rate: with incidents as often as in the run; low, high: its 95 % interval for the sessions held. range_low,
    range_high: an interval that also allows for the few incidents that the run showed. calm_rate: outside incidents.
    by_incident: for each incident of the run, the part of the open sessions that one such incident drops.
    """

    sessions: int
    policy: str
    interval_s: float
    for_s: float
    customers: int
    held: int
    requests: int
    requests_per_s: float
    refreshes_per_s: float
    starts_per_s: float
    drop_rate: float
    low: float
    high: float
    range_low: float
    range_high: float
    late_rate: float
    calm_rate: float
    by_incident: tuple[float, ...]
    margins_s: dict[str, float]
    verdicts: dict[str, int]
    latency_factor: float

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
        return {**asdict(self), "by_incident": list(self.by_incident)}


def job_of(fitted: FittedRun, question: ForecastQuestion, seed: int) -> ReplayJob:
    """Return the customers to hold for a question."""
    customers = min(question.customers, question.sessions)
    ramp = min(_RAMP * question.for_s, _RAMP_S)
    factor = latency_factor(question.growth, fitted.conditions.sessions, question.sessions)
    settings = replace(fitted.settings, policy=question.policy)
    starts = tuple(ramp * number / customers for number in range(customers))
    return ReplayJob(settings, fitted.conditions, starts, question.for_s, seed, factor)


def predict(fitted: FittedRun, question: ForecastQuestion, replayer: Replayer, seed: int = 1000) -> Prediction:
    """Hold the customers of a question and compute its figures."""
    job = job_of(fitted, question, seed)
    cohort = replayer(job)
    books, known = cohort.books, max(cohort.known, 1)
    scale = question.sessions / cohort.customers_s
    low, high = interval(cohort.dropped, known)
    range_low, range_high = _range(fitted, cohort, known)
    return Prediction(
        sessions=question.sessions,
        policy=question.policy.kind,
        interval_s=question.policy.interval_s,
        for_s=question.for_s,
        customers=cohort.customers,
        held=books.fates.accepted,
        requests=books.sent.total(),
        requests_per_s=books.sent.total() * scale,
        refreshes_per_s=books.sent["GetMessages"] * scale,
        starts_per_s=books.sent["RequestChat"] * scale,
        drop_rate=cohort.dropped / known,
        low=low,
        high=high,
        range_low=range_low,
        range_high=range_high,
        late_rate=cohort.late / known,
        calm_rate=cohort.drops[CALM] / known,
        by_incident=_by_incident(fitted, cohort, question.for_s),
        margins_s=margins(cohort, job.settings.timeout_s),
        verdicts=dict(sorted(books.verdicts.items())),
        latency_factor=job.factor,
    )


def _range(fitted: FittedRun, cohort: CohortResult, known: int) -> tuple[float, float]:
    """Return an interval of the drop rate that allows for uncertainty in calm and in the number of incidents.

    Incidents are a Poisson process with a rate from its exact interval; each drops as many as it did in the run.
    """
    calm_low, calm_high = interval(cohort.drops[CALM], known)
    # The run's own sessions outside incidents bound the calm rate too.
    calm = max(fitted.measured.dropped - sum(fitted.drops), 0)
    calm_high = max(calm_high, interval(min(calm, fitted.measured.known), fitted.measured.known)[1])
    count = fitted.conditions.incidents()
    if not count:
        return calm_low, calm_high
    low, high = per_unit(count, float(count))
    in_incidents = (cohort.dropped - cohort.drops[CALM]) / known
    return calm_low + low * in_incidents, min(calm_high + high * in_incidents, 1.0)


def _by_incident(fitted: FittedRun, cohort: CohortResult, for_s: float) -> tuple[float, ...]:
    """Return what one incident of each kind drops, as a part of the open sessions."""
    length = fitted.conditions.length_s
    shares = []
    for number, (start, _) in enumerate(fitted.incidents):
        times = int(for_s // length) + (for_s % length > start)
        shares.append(
            min(cohort.drops[number] / (times * cohort.customers), 1.0) if times and cohort.customers else 0.0
        )
    return tuple(shares)
