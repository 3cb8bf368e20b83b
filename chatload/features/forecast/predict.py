"""How well a fit reproduces its run, and predictions for loads and intervals that were not run.

Both are the plain values of the published JSON (forecast.schema.json).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log10
from typing import Any

from chatload.chat.policy import RefreshPolicy
from chatload.features.forecast.fit import FittedRun
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


def reproduce(fitted: FittedRun, replayer: Replayer, seed: int = 100) -> dict[str, Any]:
    """Replay the run, with other random numbers than those of the fit, and compare each figure with the run's.

    A figure is good if that of the replays is within the run's own 95 % interval, or its tolerance.
    """
    measured = fitted.measured
    replays = OFTEN if measured.requests < SMALL else REPLAYS
    starts = fitted.share(REPLAY_REQUESTS)
    total = CohortResult()
    for number in range(replays):
        total.merge(replayer(fitted.job(starts, seed + number)))
    rate, known = measured.requests_per_s, max(total.known, 1)
    reproduced = total.books.sent.total() * len(fitted.starts) / (len(starts) * replays) / measured.length_s
    tolerated = rate * (1 - REQUESTS_TOLERANCE), rate * (1 + REQUESTS_TOLERANCE)
    compared = [("requests_per_s", rate, reproduced, tolerated, True)]
    for name, count, seen, judged in (
        ("dropped.rate", measured.dropped, total.dropped, True),
        ("dropped_late.rate", measured.late, total.late, False),
    ):
        compared.append((name, count / measured.known, seen / known, interval(count, measured.known), judged))
    figures = [
        {"name": name, "measured": own, "reproduced": again, "low": low, "high": high, "judged": judged,
         "good": low <= again <= high}
        for name, own, again, (low, high), judged in compared
    ]  # fmt: skip
    margins = _margins(total, fitted.settings.timeout_s)
    return {
        "reproduces": all(figure["good"] for figure in figures if figure["judged"]),
        "replays": replays,
        "customers": len(starts),
        "customers_in_all": len(fitted.starts),
        "figures": figures,
        "margins_s": {
            name: {"measured": own, "reproduced": margins[name]}
            for name, own in measured.margins_s.items()
            if name in margins
        },
    }


def _margins(cohort: CohortResult, timeout_s: float) -> dict[str, float]:
    """Return quantiles of the margin before the timeout (seconds)."""
    gaps = cohort.books.gap
    quantiles = {"p50": gaps.figure(0.5), "p1": gaps.figure(0.99), "min": gaps.figure(1.0)}
    return {name: timeout_s - gap for name, gap in quantiles.items() if gap is not None}


@dataclass(frozen=True)
class ForecastQuestion:
    """A load to forecast: sessions open at a time, refreshed by this policy, for this long (seconds).

    customers: how many are held; they stand for all. growth: factor on round trips for ten times as many sessions.
    """

    sessions: int
    policy: RefreshPolicy
    for_s: float
    customers: int
    growth: float = 1.0


def job_of(fitted: FittedRun, question: ForecastQuestion, seed: int) -> ReplayJob:
    """Return the customers to hold for a question."""
    customers, measured = min(question.customers, question.sessions), fitted.conditions.sessions
    ramp = min(_RAMP * question.for_s, _RAMP_S)
    factor = float(question.growth ** log10(question.sessions / measured)) if measured else 1.0
    settings = replace(fitted.settings, policy=question.policy)
    starts = tuple(ramp * number / customers for number in range(customers))
    return ReplayJob(settings, fitted.conditions, starts, question.for_s, seed, factor)


def predict(fitted: FittedRun, question: ForecastQuestion, replayer: Replayer, seed: int = 1000) -> dict[str, Any]:
    """Hold the customers of a question and return its figures. Rates are of sessions whose fate is known.

    drop_rate: with incidents as often as in the run; low, high: its 95 % interval for the sessions held. range_low,
    range_high: an interval that also allows for the few incidents that the run showed. calm_rate: outside incidents.
    by_incident: for each incident of the run, the part of the open sessions that one such incident drops.
    """
    job = job_of(fitted, question, seed)
    cohort = replayer(job)
    books, known = cohort.books, max(cohort.known, 1)
    per_s = question.sessions / cohort.customers_s
    low, high = interval(cohort.dropped, known)
    range_low, range_high = _range(fitted, cohort, known)
    return {
        "sessions": question.sessions,
        "policy": question.policy.kind,
        "interval_s": question.policy.interval_s,
        "for_s": question.for_s,
        "customers": cohort.customers,
        "held": books.fates.accepted,
        "requests": books.sent.total(),
        "requests_per_s": books.sent.total() * per_s,
        "refreshes_per_s": books.sent["GetMessages"] * per_s,
        "starts_per_s": books.sent["RequestChat"] * per_s,
        "drop_rate": cohort.dropped / known,
        "low": low,
        "high": high,
        "range_low": range_low,
        "range_high": range_high,
        "late_rate": cohort.late / known,
        "calm_rate": cohort.drops[CALM] / known,
        "by_incident": _by_incident(fitted, cohort, question.for_s),
        "margins_s": _margins(cohort, job.settings.timeout_s),
        "verdicts": dict(sorted(books.verdicts.items())),
        "latency_factor": job.factor,
    }


def _range(fitted: FittedRun, cohort: CohortResult, known: int) -> tuple[float, float]:
    """Return an interval of the drop rate that allows for uncertainty in calm and in the number of incidents.

    Incidents are a Poisson process with a rate from its exact interval; each drops as many as it did in the run.
    """
    measured = fitted.measured
    calm_low, calm_high = interval(cohort.drops[CALM], known)
    # The run's own sessions outside incidents bound the calm rate too.
    calm = max(measured.dropped - sum(fitted.drops), 0)
    calm_high = max(calm_high, interval(min(calm, measured.known), measured.known)[1])
    if not measured.incidents:
        return calm_low, calm_high
    low, high = per_unit(measured.incidents, measured.incidents)
    in_incidents = (cohort.dropped - cohort.drops[CALM]) / known
    return calm_low + low * in_incidents, min(calm_high + high * in_incidents, 1.0)


def _by_incident(fitted: FittedRun, cohort: CohortResult, for_s: float) -> list[float]:
    """Return what one incident of each kind drops, as a part of the open sessions."""
    turns, rest_s = divmod(for_s, fitted.conditions.length_s)
    shares = []
    for number, (start, _, _) in enumerate(fitted.conditions.incidents):
        sessions = (turns + (rest_s > start)) * cohort.customers
        shares.append(min(cohort.drops[number] / sessions, 1.0) if sessions else 0.0)
    return shares
