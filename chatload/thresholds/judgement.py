"""Judges thresholds: pass, fail or inconclusive, and how many samples would decide an inconclusive one.

A rate passes if its one-sided exact bound lies on the right side of the limit, fails if the other bound lies on the
wrong side, and is inconclusive otherwise. A percentile is judged as a rate: p99 < 2 s means that fewer than 1 % of the
samples are at or above 2 s, for every distribution (W. J. Conover, "Practical Nonparametric Statistics", 3rd ed. 1999,
3.2). Of a count that is known only within a range (unproven sessions; the histogram bucket of the limit) the end of the
range that is less favourable to the claim is used.

The bounds assume that samples are independent. If bursts of drops are found, sessions are not independent, and the
judgement says so. Requests of one session, or of one bad minute, are seldom fully independent.

`hopeless` is a test that may be repeated any number of times during the run.
Method: the one-sided mixture likelihood ratio. After k hits in n samples, with a prior uniform on (L, 1],

    M = [ integral from L to 1 of p^k (1-p)^(n-k) dp / (1-L) ] / [ L^k (1-L)^(n-k) ]

is a nonnegative supermartingale, starting at 1, for every true rate p <= L: for each q > L the factor of one
more sample has the mean p q/L + (1-p)(1-q)/(1-L), which is 1 at p = L and grows with p. So by Ville's
inequality (J. Ville, "Étude critique de la notion de collectif", 1939) M *ever* reaches 1/alpha with a
probability of at most alpha. The mixture is H. Robbins' ("Statistical methods related to the law of the
iterated logarithm", Annals of Mathematical Statistics 41, 1970); see S. R. Howard, A. Ramdas, J. McAuliffe
and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49 (2021).

Sessions are counted in the order in which they *began*, and those still alive count as if they will meet the threshold.
If only ended sessions were counted, every run would look bad early on, because dropped sessions end first. M grows with
k, so this choice only makes it smaller. Sessions are assumed to be independent.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from scipy.special import betaincc, betaln

from chatload.run.histogram import CensoredHistogram, Reading
from chatload.stats.rates import CONFIDENCE, bound_text, lower, sessions_needed, upper
from chatload.thresholds.exposure import hopeless_hourly, judge_by_exposure
from chatload.thresholds.metrics import OF_ALL, Facts, Metric, Share, Threshold
from chatload.vocabulary import ThresholdResult


@dataclass(frozen=True)
class Judgement:
    """The judgement of one threshold by the facts of a run.

    value: what was observed (a fraction, seconds or a count). beyond: `value` is only a bound: the true duration is
    longer, or the margin less, because answers never came. lower, upper: its one-sided bounds, each at the required
    confidence; for a count the range that it may be in. samples: number of samples. needed: total number of samples
    that would decide it; None if it is decided or no number would. why: one sentence.
    """

    threshold: Threshold
    result: ThresholdResult
    value: float | None = None
    beyond: bool = False
    lower: float | None = None
    upper: float | None = None
    samples: int = 0
    needed: int | None = None
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON.

        unit: "%": limit, value and bounds are fractions; "/h": per chat-hour; "s": seconds; "": a count.
        """
        metric = self.threshold.metric
        return {
            "expression": str(self.threshold),
            "metric": metric.name,
            "unit": {"rate": "%", "hourly rate": "/h", "duration": "s"}.get(metric.kind, ""),
            "limit": self.threshold.limit,
            **{name: value for name, value in vars(self).items() if name != "threshold"},
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
    if metric.kind == "hourly rate" or metric.age_s is not None:
        judged = judge_by_exposure(threshold, facts, confidence)
        return Judgement(threshold, **judged._replace(why=judged.why + _dependence(metric, facts))._asdict())
    share = metric.share(facts)
    if metric.kind == "count":
        return _judge_count(threshold, share)
    if not share.n:
        return _open(threshold, f"no {_of(metric)} to judge by")
    return _judge_rate(threshold, facts, confidence)


def hopeless(threshold: Threshold, facts: Facts, alpha: float = 0.05) -> str | None:
    """Return why a threshold (of `parse_abort`) is lost; None while it may still hold.

    If a rate or percentile holds, it is called lost with a probability of at most alpha in the whole run, however often
    it is tested. Only proven samples count against it. A count or an extreme is lost once it is exceeded.
    """
    metric = threshold.metric
    if metric.subject == "margin" and facts.timeout_s is None:
        return None
    if metric.kind == "count" or (metric.kind == "duration" and metric.q is None):
        return _exceeded(threshold, facts)
    if metric.kind == "hourly rate":
        return hopeless_hourly(threshold, facts, alpha)
    against, n, limit = _against(threshold, facts)
    if not 0 < limit < 1 or log_evidence(against, n, limit) < -math.log(alpha):
        return None
    noun = {"session": "sessions begun", "refresh": "refreshes"}.get(metric.noun, "requests")
    return (
        f"{threshold} is lost: {against} of {n} {noun} speak against it; if it holds, this many do so "
        f"in at most {percent(alpha)} of runs"
    )


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


def _reading(metric: Metric, reading: Reading | None, facts: Facts) -> Reading | None:
    """Return a reading of the metric's samples; for a margin, what the gap leaves of the timeout (at most, if over)."""
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
    return Judgement(threshold, ThresholdResult.INCONCLUSIVE, needed=needed, why=why)


def _judge_count(threshold: Threshold, share: Share) -> Judgement:
    metric = threshold.metric
    met, surely = threshold.holds(share.counted), threshold.holds(share.least) and threshold.holds(share.most)
    # "No session was started" is a fact. "None of 0 sessions was dropped" says nothing.
    if not share.n and (met or metric.subject != "sessions"):
        return _open(threshold, f"no {_of(metric)} to judge by")
    said = f"{_plural(share.counted, metric.noun)}{_unproven(share)}, as counted"
    met_result = ThresholdResult.PASS if surely else ThresholdResult.INCONCLUSIVE
    result = met_result if met else ThresholdResult.FAIL
    return Judgement(threshold, result, share.counted, False, share.least, share.most, share.n, why=said)


def _judge_extreme(threshold: Threshold, facts: Facts, samples: CensoredHistogram) -> Judgement:
    metric = threshold.metric
    reading = _reading(metric, samples.maximum, facts)
    assert reading is not None
    value, beyond = reading
    least = metric.subject == "margin"
    # If only a bound is known, the true value lies beyond it: decided only if all values beyond are on one side.
    nearest = math.nextafter(value, -math.inf if least else math.inf) if beyond else value
    met = threshold.holds(nearest)
    result = ThresholdResult.PASS if met else ThresholdResult.FAIL
    if beyond and met == (threshold.wants_low != least):
        result = ThresholdResult.INCONCLUSIVE
    which, past = ("least", "under ") if least else ("longest", "over ")
    seen = _plural(samples.count, metric.noun)
    why = f"the {which} of {seen} was {past if beyond else ''}{_seconds(value)}; it says nothing of those not seen"
    return Judgement(threshold, result, value, beyond, samples=samples.count, why=why)


def _judge_rate(threshold: Threshold, facts: Facts, confidence: float) -> Judgement:
    noun, asked = threshold.metric.noun, question(threshold, facts)
    share = asked.share
    result, needed, reason = _settle(asked, confidence, "the rate", noun)
    why = f"{share.counted} of {_plural(share.n, noun)}{_unproven(share)}; {reason}"
    why += _dependence(threshold.metric, facts) + _censoring(threshold.metric, facts)
    low, high = _bounds(share, confidence)
    return Judgement(threshold, result, share.counted / share.n, False, low, high, share.n, needed, why)


def _judge_percentile(threshold: Threshold, facts: Facts, samples: CensoredHistogram, confidence: float) -> Judgement:
    metric, asked = threshold.metric, question(threshold, facts)
    share, margin = asked.share, metric.subject == "margin"
    result, needed, reason = _settle(asked, confidence, "their share", metric.noun)
    assert metric.q is not None
    q = 1 - metric.q if margin else metric.q
    reading = _reading(metric, samples.quantile(q), facts)
    assert reading is not None
    low, high = _quantile_bounds(samples, q, confidence)
    if margin:
        assert facts.timeout_s is not None
        timeout_s = facts.timeout_s
        high, low = (None if bound is None else timeout_s - bound for bound in (low, high))
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    at = _seconds(threshold.limit)
    that = f"with {at} or less left" if margin else f"at or above {at}"
    # Of some samples only a bound is known.
    which = "without an answer" if metric.subject == "latency" else "the last silence of a chat"
    censored = f" ({samples.censored.count} {which})" if samples.censored.count else ""
    why = f"{count} of {_plural(share.n, metric.noun)} {that}{censored}; {reason}"
    return Judgement(threshold, result, reading.seconds, reading.over, low, high, share.n, needed, why)


def _bounds(share: Share, confidence: float) -> tuple[float, float]:
    return lower(share.least, share.n, confidence), upper(share.most, share.n, confidence)


def _settle(asked: Question, confidence: float, what: str, noun: str) -> tuple[ThresholdResult, int | None, str]:
    """Return the result, the number of samples that would decide it if it is inconclusive, and the reason."""
    share, limit, wants_low = asked
    low, high = _bounds(share, confidence)
    sure, at = f"with {percent(confidence)} confidence", percent(limit)
    at_least, at_most = bound_text(low, up=False), bound_text(high, up=True)
    below, above = ThresholdResult.PASS, ThresholdResult.FAIL
    if not wants_low:
        below, above = above, below
    if high < limit:
        return below, None, f"{what} is below {at} {sure} (at most {at_most})"
    if low > limit:
        return above, None, f"{what} is above {at} {sure} (at least {at_least})"
    if not share.least:
        known = f"{what} is below {at_most} {sure}, not below {at}"
    elif share.most == share.n:
        known = f"{what} is above {at_least} {sure}, not above {at}"
    else:
        known = f"{what} is above {at_least} and below {at_most}, each {sure}, and {at} lies between"
    needed = sessions_needed(share.least, share.n, limit, confidence, share.most)
    if needed is None:
        settles = f"not even a billion {_plurals(noun)} like these"
    else:
        settles = f"{_plural(needed, noun)} {'like these' if share.most else 'without one'}"
    return ThresholdResult.INCONCLUSIVE, needed, f"{known}: {settles} would settle it"


def _quantile_bounds(samples: CensoredHistogram, q: float, confidence: float) -> tuple[float | None, float | None]:
    """Return one-sided bounds (seconds) of the q-quantile, by order statistics; None if there are too few samples.

    With at most k samples at or above a value, and upper(k) below 1 - q, the quantile is below that value.
    """
    n, tail = samples.count, 1 - q
    # How many of the greatest samples may lie at or above the quantile, and how many must.
    allowed = bisect_left(range(n + 1), True, key=lambda k: upper(k, n, confidence) >= tail)
    too_few = bisect_left(range(n + 1), True, key=lambda k: lower(k, n, confidence) > tail)
    least = samples.bracket(n - too_few)[0] if too_few <= n else None
    most = samples.bracket(n - allowed)[1] if allowed else math.inf
    return least, None if most == math.inf else most


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


def _censoring(metric: Metric, facts: Facts) -> str:
    """Return the warning that chats were cut off before the event could happen; "" if there is none."""
    if not metric.per_chat_hour or not facts.is_censored:
        return ""
    return (
        f"; {percent(round(facts.cut_off_share, 3))} of the chats were still open at the end, so the rate of "
        f"whole chats is higher: {metric.per_chat_hour} allows for that"
    )


def log_evidence(k: int, n: int, limit: float) -> float:
    """Return the natural logarithm of M: the evidence of k hits in n samples that a rate is above 0 < limit < 1."""
    above = float(betaincc(k + 1, n - k + 1, limit))
    if above <= 0:
        # It underflows only if there are so few hits that the evidence is for the threshold.
        return -math.inf
    mixture = float(betaln(k + 1, n - k + 1)) + math.log(above) - math.log1p(-limit)
    return mixture - k * math.log(limit) - (n - k) * math.log1p(-limit)


def _exceeded(threshold: Threshold, facts: Facts) -> str | None:
    """Return why a count or an extreme is lost. Counts and maxima only rise, minima only fall: this is final."""
    metric = threshold.metric
    if metric.kind == "count":
        value: float = metric.share(facts).counted
        seen = f"{value:g}"
    else:
        reading = _reading(metric, metric.samples(facts.books).maximum, facts)
        if reading is None:
            return None
        # If only a bound is known and it exceeds the limit, the true value does too.
        value = reading.seconds
        seen = f"{value:.4g} s"
    return f"{threshold} is lost: {metric.name} is {seen}" if threshold.is_lost(value) else None


def _against(threshold: Threshold, facts: Facts) -> tuple[int, int, float]:
    """Return the number of samples against a threshold, the number of all samples, and the share that it allows."""
    share, limit, wants_low = question(threshold, facts)
    n = share.n
    if threshold.metric.of_sessions:
        fates = facts.books.fates
        # Sessions that have not ended count as if they will meet the threshold. Sessions that were never accepted are
        # left out of shares of the accepted ones.
        apart = 0 if threshold.metric.subject in OF_ALL else fates.never_accepted.most
        n = max(n, facts.books.started - apart)
    return (share.least, n, limit) if wants_low else (max(share.n - share.most, 0), n, 1 - limit)


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
