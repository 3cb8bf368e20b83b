"""Judges thresholds: pass, fail or inconclusive, and how many samples would decide an inconclusive one.

A rate passes if its one-sided exact bound lies on the right side of the limit, fails if the other bound lies on the
wrong side, and is inconclusive otherwise. A percentile is judged as a rate: p99 < 2 s means that fewer than 1 % of the
samples are at or above 2 s, for every distribution (W. J. Conover, "Practical Nonparametric Statistics", 3rd ed. 1999,
3.2). Of a count that is known only within a range (unproven sessions; the histogram bucket of the limit) the end of the
range that is less favourable to the claim is used.

The bounds assume that samples are independent. If bursts of drops are found, sessions are not independent, and the
judgement says so. Requests of one session, or of one bad minute, are seldom fully independent.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chatload.run.histogram import CensoredHistogram, Reading
from chatload.stats.rates import CONFIDENCE, bound_text, lower, sessions_needed, upper
from chatload.thresholds.grammar import Op, Threshold
from chatload.thresholds.metrics import OF_ALL, Facts, Metric, Share
from chatload.vocabulary import ThresholdResult

COMPARE: Mapping[Op, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


@dataclass(frozen=True)
class Judgement:
    """The judgement of one threshold by the facts of a run.

    value: what was observed (a fraction, seconds or a count). lower, upper: its one-sided bounds, each at the required
    confidence; for a count the range that it may be in. None: there is no such value. beyond: `value` is only a bound:
    the true duration is longer, or the margin less, because answers never came. samples: number of samples. needed:
    total number of samples that would decide it; None if it is decided or no number would. why: one sentence.
    """

    threshold: Threshold
    result: ThresholdResult
    value: float | None
    lower: float | None
    upper: float | None
    samples: int
    needed: int | None
    why: str
    beyond: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON. unit: "%": limit, value, bounds are fractions; "s": seconds; "": count."""
        return {
            "expression": str(self.threshold),
            "metric": self.threshold.metric.name,
            "unit": {"rate": "%", "duration": "s"}.get(self.threshold.metric.kind, ""),
            "limit": self.threshold.limit,
            "result": self.result,
            "value": self.value,
            "beyond": self.beyond,
            "lower": self.lower,
            "upper": self.upper,
            "samples": self.samples,
            "needed": self.needed,
            "why": self.why,
        }


class Question(NamedTuple):
    """A threshold as a question about a share: is it below the limit (or above it)?"""

    share: Share
    limit: float
    wants_low: bool


def judge(threshold: Threshold, facts: Facts, confidence: float = CONFIDENCE) -> Judgement:
    """Return the judgement of a threshold by the facts of a run. Without samples it never passes."""
    metric = threshold.metric
    if metric.subject == "margin" and facts.timeout_s is None:
        return _open(threshold, "the run had no flex-disconnect-timeout, so no margin")
    if metric.kind == "duration":
        samples = metric.samples(facts.books)
        if not samples.count:
            return _open(threshold, f"no {_of(metric)} was measured")
        if metric.q is None:
            return _judge_extreme(threshold, facts, samples)
        return _judge_percentile(threshold, facts, samples, confidence)
    share = metric.share(facts)
    if metric.kind == "count":
        return _judge_count(threshold, share)
    if not share.n:
        return _open(threshold, f"no {_of(metric)} to judge by")
    return _judge_rate(threshold, facts, confidence)


def overall(judgements: Iterable[Judgement]) -> ThresholdResult | None:
    """Return the worst result: fail, then inconclusive, then pass; None if there are no judgements."""
    results = {judgement.result for judgement in judgements}
    worst: tuple[ThresholdResult, ...] = (ThresholdResult.FAIL, ThresholdResult.INCONCLUSIVE, ThresholdResult.PASS)
    return next((result for result in worst if result in results), None)


def question(threshold: Threshold, facts: Facts) -> Question:
    """Return the question about a share that a rate or percentile asks; for a margin facts.timeout_s must be set."""
    metric = threshold.metric
    if metric.kind == "rate":
        return Question(metric.share(facts), threshold.limit, threshold.wants_low)
    assert metric.q is not None
    samples = metric.samples(facts.books)
    at, limit, wants_low = threshold.limit, round(1 - metric.q, 9), threshold.wants_low
    if metric.subject == "margin":
        assert facts.timeout_s is not None
        # Less margin is more gap: margin.p1 > 5 s is gap.p99 < timeout - 5 s.
        at, limit, wants_low = facts.timeout_s - at, metric.q, not wants_low
    surely, at_most = samples.count_above(at)
    return Question(Share(surely, surely, at_most, samples.count), limit, wants_low)


def extreme(metric: Metric, facts: Facts) -> Reading | None:
    """Return the longest duration, or the smallest margin (`over`: the true one is less); None without samples."""
    return _of_gap(metric, metric.samples(facts.books).maximum, facts)


def _of_gap(metric: Metric, reading: Reading | None, facts: Facts) -> Reading | None:
    """Return the reading; for a margin, what the gap leaves of the timeout."""
    if metric.subject != "margin" or reading is None:
        return reading
    return None if facts.timeout_s is None else reading._replace(seconds=facts.timeout_s - reading.seconds)


def _open(threshold: Threshold, why: str) -> Judgement:
    """Return an inconclusive judgement for no samples. needed: samples that would decide it if all were as wanted."""
    metric, needed = threshold.metric, None
    if metric.kind == "rate":
        needed = sessions_needed(0, 0, threshold.limit if threshold.wants_low else 1 - threshold.limit)
    elif metric.q is not None:
        needed = sessions_needed(0, 0, round(1 - metric.q if threshold.wants_low else metric.q, 9))
    return Judgement(threshold, ThresholdResult.INCONCLUSIVE, None, None, None, 0, needed, why)


def _judge_count(threshold: Threshold, share: Share) -> Judgement:
    metric = threshold.metric
    holds, limit = COMPARE[threshold.op], threshold.limit
    met, surely = holds(share.counted, limit), holds(share.least, limit) and holds(share.most, limit)
    # "No session was started" is a fact. "None of 0 sessions was dropped" says nothing.
    if not share.n and (met or metric.subject != "sessions"):
        return _open(threshold, f"no {_of(metric)} to judge by")
    said = f"{_plural(share.counted, metric.noun)}{_unproven(share)}, as counted"
    met_result = ThresholdResult.PASS if surely else ThresholdResult.INCONCLUSIVE
    result = met_result if met else ThresholdResult.FAIL
    return Judgement(threshold, result, share.counted, share.least, share.most, share.n, None, said)


def _judge_extreme(threshold: Threshold, facts: Facts, samples: CensoredHistogram) -> Judgement:
    metric = threshold.metric
    reading = extreme(metric, facts)
    assert reading is not None
    value, beyond = reading
    least = metric.statistic == "min"
    # If only a bound is known, the true value lies beyond it: decided only if all values beyond are on one side.
    nearest = math.nextafter(value, -math.inf if least else math.inf) if beyond else value
    met = COMPARE[threshold.op](nearest, threshold.limit)
    result = ThresholdResult.PASS if met else ThresholdResult.FAIL
    if beyond and met == (threshold.wants_low != least):
        result = ThresholdResult.INCONCLUSIVE
    which, past = ("least", "under ") if least else ("longest", "over ")
    seen = _plural(samples.count, metric.noun)
    why = f"the {which} of {seen} was {past if beyond else ''}{_seconds(value)}; it says nothing of those not seen"
    return Judgement(threshold, result, value, None, None, samples.count, None, why, beyond)


def _judge_rate(threshold: Threshold, facts: Facts, confidence: float) -> Judgement:
    asked = question(threshold, facts)
    share = asked.share
    result, low, high = _settle(asked, confidence)
    needed = None
    if result == ThresholdResult.INCONCLUSIVE:
        needed = sessions_needed(share.least, share.n, asked.limit, confidence, share.most)
    head = f"{share.counted} of {_plural(share.n, threshold.metric.noun)}{_unproven(share)}"
    why = f"{head}; {_reason(asked, (low, high), needed, confidence, 'the rate', threshold.metric.noun)}"
    value = share.counted / share.n
    return Judgement(threshold, result, value, low, high, share.n, needed, why + _dependence(threshold.metric, facts))


def _judge_percentile(threshold: Threshold, facts: Facts, samples: CensoredHistogram, confidence: float) -> Judgement:
    metric, asked = threshold.metric, question(threshold, facts)
    share = asked.share
    result, low, high = _settle(asked, confidence)
    needed = None
    if result == ThresholdResult.INCONCLUSIVE:
        needed = sessions_needed(share.least, share.n, asked.limit, confidence, share.most)
    assert metric.q is not None
    q = 1 - metric.q if metric.subject == "margin" else metric.q
    reading = _of_gap(metric, samples.quantile(q), facts)
    assert reading is not None
    bounds = _quantile_bounds(samples, q, confidence)
    if metric.subject == "margin":
        assert facts.timeout_s is not None
        timeout_s = facts.timeout_s
        shortest, longest = (None if bound is None else timeout_s - bound for bound in bounds)
        bounds = longest, shortest
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    at = _seconds(threshold.limit)
    that = f"with {at} or less left" if metric.subject == "margin" else f"at or above {at}"
    head = f"{count} of {_plural(share.n, metric.noun)} {that}{_censored(metric, samples)}"
    why = f"{head}; {_reason(asked, (low, high), needed, confidence, 'their share', metric.noun)}"
    return Judgement(threshold, result, reading.seconds, *bounds, share.n, needed, why, reading.over)


def _censored(metric: Metric, samples: CensoredHistogram) -> str:
    """Return the text for samples that are known only to be longer than a bound."""
    n = samples.censored.count
    if not n:
        return ""
    return f" ({n} without an answer)" if metric.subject == "latency" else f" ({n} the last silence of a chat)"


def _settle(asked: Question, confidence: float) -> tuple[ThresholdResult, float, float]:
    """Return the result, and the bounds of the share that it is based on."""
    share, limit, wants_low = asked
    low, high = lower(share.least, share.n, confidence), upper(share.most, share.n, confidence)
    if high < limit:
        return ThresholdResult.PASS if wants_low else ThresholdResult.FAIL, low, high
    if low > limit:
        return ThresholdResult.FAIL if wants_low else ThresholdResult.PASS, low, high
    return ThresholdResult.INCONCLUSIVE, low, high


def _quantile_bounds(samples: CensoredHistogram, q: float, confidence: float) -> tuple[float | None, float | None]:
    """Return one-sided bounds (seconds) of the q-quantile, by order statistics; None if there are too few samples.

    With at most k samples at or above a value, and upper(k) below 1 - q, the quantile is below that value.
    """
    n, tail = samples.count, 1 - q
    # How many of the greatest samples may lie at or above the quantile, and how many must.
    allowed = _count_true(n, lambda k: upper(k, n, confidence) < tail)
    too_few = _count_true(n, lambda k: lower(k, n, confidence) <= tail)
    least = samples.bracket(n - too_few)[0] if too_few <= n else None
    most = samples.bracket(n - allowed)[1] if allowed else math.inf
    return least, None if most == math.inf else most


def _count_true(n: int, holds: Callable[[int], bool]) -> int:
    """Return for how many of 0..n `holds` is true. It must be true up to some number, and false above it."""
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            low = middle + 1
        else:
            high = middle
    return low


def _reason(
    asked: Question,
    bounds: tuple[float, float],
    needed: int | None,
    confidence: float,
    what: str,
    noun: str,
) -> str:
    share, limit, _ = asked
    low, high = bounds
    sure = f"with {percent(confidence)} confidence"
    if high < limit:
        return f"{what} is below {percent(limit)} {sure} (at most {bound_text(high, up=True)})"
    if low > limit:
        return f"{what} is above {percent(limit)} {sure} (at least {bound_text(low, up=False)})"
    if not share.least:
        known = f"{what} is below {bound_text(high, up=True)} {sure}, not below {percent(limit)}"
    elif share.most == share.n:
        known = f"{what} is above {bound_text(low, up=False)} {sure}, not above {percent(limit)}"
    else:
        known = f"{what} is above {bound_text(low, up=False)} and below {bound_text(high, up=True)}, each {sure}"
        known += f", and {percent(limit)} lies between"
    if needed is None:
        return f"{known}: not even a billion {_plurals(noun)} like these would settle it"
    alike = "without one" if not share.most else "like these"
    return f"{known}: {_plural(needed, noun)} {alike} would settle it"


def _unproven(share: Share) -> str:
    if share.most > share.counted:
        return f" (and {share.most - share.counted} that may be)"
    return f" ({share.counted - share.least} of them unproven)" if share.counted > share.least else ""


def _dependence(metric: Metric, facts: Facts) -> str:
    """Return the warning that sessions were not independent; "" if there is none."""
    incidence = facts.incidence
    if not metric.of_sessions or metric.subject in OF_ALL or incidence is None or not incidence.bursts:
        return ""
    hourly = incidence.incidents_per_hour()
    often = f" ({float(f'{hourly[0]:.2g}'):g} to {float(f'{hourly[1]:.2g}'):g} an hour)" if hourly else ""
    incidents = _plural(incidence.incidents, "incident")
    return (
        f"; this assumes independent sessions, which these were not: {_plural(incidence.events, 'drop')} "
        f"came in {incidents}{often}"
    )


def _of(metric: Metric) -> str:
    return f"{metric.operation} {metric.noun}".strip()


def _plurals(noun: str) -> str:
    return noun + ("es" if noun.endswith("sh") else "s")


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun if n == 1 else _plurals(noun)}"


def percent(share: float) -> str:
    """Return a share that a user gave, as a percentage."""
    return f"{100 * share:.10g} %"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms" if abs(seconds) < 1 else f"{seconds:.4g} s"
