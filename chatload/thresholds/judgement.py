"""Judges thresholds: pass, fail or inconclusive, and how many samples would decide an inconclusive one.

A rate passes if its one-sided exact bound lies on the right side of the limit, fails if the other bound lies on the
wrong side, and is inconclusive otherwise. A percentile is judged as a rate: p99 < 2 s means that fewer than 1 % of the
samples are at or above 2 s, for every distribution (W. J. Conover, "Practical Nonparametric Statistics", 3rd ed. 1999,
3.2). Of a count that is known only within a range (unproven sessions; the histogram bucket of the limit) the end of the
range that is less favourable to the claim is used.

Sessions come in clusters: an outage takes many of them at once. Their bounds have a design effect from the data, and an
upper bound names the largest size of incidents for which it holds (`chatload.thresholds.dependence`). Percentiles and
rates of requests are judged with the design effect of the requests, if the windows of the run are known
(`chatload.thresholds.over_time`).

A threshold `in every` asks about each cell of time by itself. All requests of the cell were measured, so its percentile
or rate is a fact and has no confidence. It holds if it holds in each cell. A cell with so few samples that one alone
would break the limit says nothing, and leaves the threshold inconclusive.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from chatload.run.histogram import CensoredHistogram, Reading
from chatload.stats import clusters
from chatload.stats.clusters import INDEPENDENT, Design, largest_cluster
from chatload.stats.rates import (
    CONFIDENCE,
    POWERS,
    bound_text,
    lower,
    per_unit,
    sessions_needed,
    share_text,
    upper,
)
from chatload.thresholds import dependence
from chatload.thresholds.exposure import holds_for, judge_by_exposure
from chatload.thresholds.metrics import INCIDENT, Facts, Metric, Share, Threshold, length_text
from chatload.thresholds.over_time import CellCounts, OverTime, limit_of_samples
from chatload.vocabulary import DROPPED, ThresholdResult

_TOO_SHORT = "; this assumes independent requests: the time judged is too short to show how they depend"


@dataclass(frozen=True)
class Judgement:
    """The judgement of one threshold by the facts of a run.

    value: what was observed (a fraction, seconds or a count). beyond: `value` is only a bound: the true duration is
    longer, or the margin less, because answers never came. lower, upper: its one-sided bounds, each at the required
    confidence; for a count the range that it may be in. samples: number of samples. needed, needed_90: samples of a run
    that would decide it with a probability of 80 % and of 90 %, at the seen rate; None if it is decided or no number
    would. worth: how many independent samples they are worth; None if that is not known. incident_size: of a rate of
    sessions that passes, the largest number of sessions that one incident may take, so that it still does. why: one
    sentence.
    """

    threshold: Threshold
    result: ThresholdResult
    value: float | None = None
    beyond: bool = False
    lower: float | None = None
    upper: float | None = None
    samples: int = 0
    needed: int | None = None
    needed_90: int | None = None
    worth: int | None = None
    incident_size: int | None = None
    why: str = ""

    @property
    def lacks_only_samples(self) -> bool:
        """Whether an inconclusive result comes only from too few samples: what was observed keeps the threshold.

        Drops that are only possible are in the observed value. Two other results do not come from too few samples: a
        count is inconclusive if events are unproven, a duration with only a bound if answers never came.
        """
        if self.value is None:
            return True
        return not self.beyond and self.threshold.metric.kind != "count" and self.threshold.holds(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON.

        unit: "%": limit, value and bounds are fractions; "/h": per chat-hour; "s": seconds; "": a count.
        """
        metric = self.threshold.metric
        return {
            "expression": str(self.threshold),
            "metric": metric.name,
            "user_class": self.threshold.user_class,
            "unit": {"rate": "%", "hourly rate": "/h", "duration": "s"}.get(metric.kind, ""),
            "limit": self.threshold.limit,
            **{name: value for name, value in vars(self).items() if name != "threshold"},
        }


class Question(NamedTuple):
    """A threshold as a question about a share: is it below the limit (or above it)?

    design: how far its samples are from independent. wanted: see `dependence.bounds`.
    """

    share: Share
    limit: float
    wants_low: bool
    design: Design = INDEPENDENT
    wanted: bool = False

    @property
    def low_result(self) -> ThresholdResult:
        """The result if few events are proven: few sessions with the property, or if it is wanted, few without it."""
        return ThresholdResult.PASS if self.wants_low != self.wanted else ThresholdResult.FAIL


class Answer(NamedTuple):
    """The answer to a question. needed, needed_90, incident_size: see `Judgement`. reason: a part of a sentence."""

    result: ThresholdResult
    reason: str
    needed: int | None = None
    needed_90: int | None = None
    incident_size: int | None = None


def judge(
    threshold: Threshold,
    facts: Facts,
    confidence: float = CONFIDENCE,
    incident_size: int = 1,
    over_time: OverTime | None = None,
) -> Judgement:
    """Return the judgement of a threshold by the facts of a run. Without samples it never passes.

    incident_size: the largest number of sessions that one incident takes: an assumption (see `dependence`).
    over_time: what the windows of the run say about the threshold. Without it, requests count as independent, and a
    threshold `in every` is not decided.
    """
    metric, facts = threshold.metric, facts.of(threshold.user_class)
    if over_time is not None:
        over_time = over_time.of(threshold.user_class)
    if metric.of_incidents:
        return _judge_incidents(threshold, facts, confidence)
    if metric.subject == "margin" and facts.timeout_s is None:
        return _open(threshold, "the run had no flex-disconnect-timeout, so no margin")
    if threshold.every_s is not None:
        return _judge_every_cell(threshold, facts, OverTime() if over_time is None else over_time)
    if over_time is not None and metric.q is not None:
        return _judge_in_part(threshold, facts, confidence, over_time)
    if metric.kind == "duration":
        samples = metric.samples(facts.books)
        if not samples.count:
            return _open(threshold, f"no {_of(metric)} was measured")
        if metric.q is None:
            return _judge_extreme(threshold, facts, samples)
        return _judge_percentile(threshold, facts, samples, confidence)
    if metric.kind == "hourly rate" or metric.age_s is not None:
        design = dependence.design_of(metric, facts, incident_size)
        judged = judge_by_exposure(threshold, facts, design, confidence)
        worth = max(1, round(judged.samples / design.effect)) if judged.samples else None
        if worth is not None and worth != judged.samples:
            judged = judged._replace(why=f"{judged.why}; {_came(metric, facts, judged.samples, worth)}")
        return Judgement(threshold, **judged._asdict(), worth=worth)
    share = metric.share(facts)
    if metric.kind == "count":
        return _judge_count(threshold, share)
    if not share.n:
        return _open(threshold, f"no {_of(metric)} to judge by")
    if metric.is_request_rate:
        return _judge_request_rate(threshold, facts, confidence, over_time)
    return _judge_rate(threshold, facts, confidence, incident_size)


def overall(judgements: Iterable[Judgement]) -> ThresholdResult | None:
    """Return the worst result of judgements (see `overall_of`)."""
    return overall_of(judgement.result for judgement in judgements)


def overall_of(results: Iterable[ThresholdResult]) -> ThresholdResult | None:
    """Return the worst result: fail, then inconclusive, then pass; None if there are none."""
    found = set(results)
    worst: tuple[ThresholdResult, ...] = (ThresholdResult.FAIL, ThresholdResult.INCONCLUSIVE, ThresholdResult.PASS)
    return next((result for result in worst if result in found), None)


def question(threshold: Threshold, facts: Facts) -> Question:
    """Return the question about a share that a rate or percentile asks; for a margin facts.timeout_s must be set."""
    metric = threshold.metric
    if metric.kind == "rate":
        return Question(metric.share(facts), threshold.limit, threshold.wants_low)
    assert metric.q is not None
    samples = metric.samples(facts.books)
    limit, wants_low = _allowed(threshold)
    surely, at_most = samples.count_above(limit_of_samples(threshold, facts.timeout_s))
    return Question(Share(surely, surely, at_most, samples.count), limit, wants_low)


def reading_of(metric: Metric, reading: Reading | None, facts: Facts) -> Reading | None:
    """Return a reading of the metric's samples; for a margin, what the gap leaves of the timeout (at most, if over)."""
    if metric.subject != "margin" or reading is None:
        return reading
    return None if facts.timeout_s is None else reading._replace(seconds=facts.timeout_s - reading.seconds)


def observed(metric: Metric, facts: Facts) -> float | None:
    """Return what `Judgement.value` is for a count, a rate of samples or a duration, without the work of judging it."""
    if metric.kind == "duration":
        samples = metric.samples(facts.books)
        reading = samples.maximum if metric.q is None else samples.quantile(metric.sample_q)
        reading = reading_of(metric, reading, facts)
        return None if reading is None else reading.seconds
    share = metric.share(facts)
    if not share.n and metric.subject != "sessions":
        return None
    return share.counted if metric.kind == "count" else share.counted / share.n


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
    reading = reading_of(metric, samples.maximum, facts)
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


def _judge_rate(threshold: Threshold, facts: Facts, confidence: float, incident_size: int) -> Judgement:
    metric = threshold.metric
    design, clustered = dependence.design_of(metric, facts, incident_size), dependence.comes_in_clusters(metric)
    asked = question(threshold, facts)._replace(design=design, wanted=dependence.is_wanted(metric))
    share = asked.share
    answer = _settle(asked, confidence, "the rate", metric.noun, clustered)
    if share.open:
        answer = _with_open(answer, asked, threshold, confidence)
    worth = dependence.worth(share, design) if clustered else None
    seen = f"{share.counted} of {_plural(share.n, metric.noun)}{_unproven(share)}"
    if worth is not None and worth != share.n:
        seen += f"; {_came(metric, facts, share.n, worth)}"
    low, high = _bounds(asked, confidence)
    return Judgement(
        threshold, answer.result, dependence.observed(share, asked.wanted), False, low, high, share.n, answer.needed,
        answer.needed_90, worth, answer.incident_size, f"{seen}; {answer.reason}",
    )  # fmt: skip


def _judge_request_rate(threshold: Threshold, facts: Facts, confidence: float, over_time: OverTime | None) -> Judgement:
    asked, noun = question(threshold, facts), threshold.metric.noun
    share, seen, assumed, worth = asked.share, f"{asked.share.counted} of {_plural(asked.share.n, noun)}", "", None
    if over_time is not None:
        counts = over_time.counts.get(threshold)
        effect = None if counts is None else counts.design_effect(confidence, None)
        if effect is None:
            assumed = _TOO_SHORT
        else:
            asked = asked._replace(design=Design(effect, effect))
            worth = dependence.worth(share, asked.design)
            seen += f", worth {worth} independent ones" if worth < share.n else ""
    answer = _settle(asked, confidence, "the rate", noun)
    low, high = _bounds(asked, confidence)
    return Judgement(
        threshold, answer.result, share.counted / share.n, False, low, high, share.n, answer.needed, answer.needed_90,
        worth, why=f"{seen}; {answer.reason}{assumed}",
    )  # fmt: skip


def _came(metric: Metric, facts: Facts, sessions: int, worth: int) -> str:
    """Return how many independent sessions those of a run are worth, and why, as a part of a sentence."""
    incidence, came = facts.incidence, "they came unevenly over time"
    if incidence is not None and incidence.bursts and dependence.about_drops(metric):
        came = f"{_plural(incidence.events, 'drop')} came in {_plural(incidence.incidents, 'incident')}"
    return f"{came}: the {_plural(sessions, 'session')} are worth {worth} independent ones"


def _judge_incidents(threshold: Threshold, facts: Facts, confidence: float) -> Judgement:
    incidence, known = facts.incidence, facts.known
    if not known:
        return _open(threshold, "no session to judge by")
    if incidence is None and facts.books.fates.dropped.most:
        return _open(threshold, "it is not known when the drops came")
    if threshold.metric.subject == INCIDENT:
        worst = None if incidence is None else incidence.worst
        dropped = 0 if worst is None else worst.count
        then = known if facts.worst_open is None else max(facts.worst_open, dropped)
        value = min(1.0, dropped / then) if then else 1.0
        result = ThresholdResult.PASS if threshold.holds(value) else ThresholdResult.FAIL
        said = (
            f"the largest burst dropped {dropped} of {then} {'sessions' if facts.worst_open is None else 'open chats'}"
        )
        seen = said if worst else "no drops came in a burst"
        return Judgement(threshold, result, value, samples=known, why=f"{seen}; it says nothing of those not seen")
    if incidence is None or incidence.length_s <= 0:
        return _open(threshold, "the run has no length")
    hours = incidence.length_s / 3600
    low, high = per_unit(incidence.incidents, hours, 2 * confidence - 1)
    result, settles = ThresholdResult.INCONCLUSIVE, ""
    if high < threshold.limit or low > threshold.limit:
        result = ThresholdResult.PASS if (high < threshold.limit) == threshold.wants_low else ThresholdResult.FAIL
    else:
        # Each second is a trial: a binomial count with so small a rate is a Poisson count.
        seconds = max(incidence.length_s, incidence.incidents)
        needed = sessions_needed(incidence.incidents, seconds, threshold.limit / 3600, confidence)
        settles = "" if needed is None else f": a run of {needed / 3600:.3g} h like this would probably settle it"
    often = f"{float(f'{low:.3g}'):g} to {float(f'{high:.3g}'):g} an hour, each with {percent(confidence)} confidence"
    why = f"{_plural(incidence.incidents, 'incident')} in {hours:.3g} h; {often}{settles}"
    value = incidence.incidents / hours
    return Judgement(threshold, result, value, False, low, high, known, why=why)


def _judge_in_part(threshold: Threshold, facts: Facts, confidence: float, over_time: OverTime) -> Judgement:
    """Return the judgement of a percentile on its part of the run."""
    metric, part = threshold.metric, over_time.part_of(threshold.metric)
    whole, counts = metric.samples(facts.books), over_time.counts.get(threshold)
    if not whole.count:
        return _open(threshold, f"no {_of(metric)} was measured")
    samples = whole if part is None else metric.samples(over_time.books)
    if not samples.count:
        return _open(threshold, f"no {_of(metric)} was measured in the part of the run that is judged")
    judged = facts if part is None else replace(facts, books=over_time.books)
    effect = None if counts is None else counts.design_effect(confidence, part)
    judgement = _judge_percentile(threshold, judged, samples, confidence, effect, over_time=True)
    if part is None or part.given or judgement.result != ThresholdResult.PASS:
        return judgement
    seen = reading_of(metric, whole.quantile(metric.sample_q), facts)
    return judgement if seen is not None and threshold.holds(seen.seconds) else _no_pass(judgement)


def _no_pass(judgement: Judgement) -> Judgement:
    """Return a pass in the steady part as inconclusive, because the threshold does not hold in the whole run.

    A bad run must not pass because its bad time is left out. A user who names the part has decided so.
    """
    why = (
        f"{judgement.why}; in the whole run it does not hold, so this is no pass: --judge FROM-TO leaves the start out"
    )
    return replace(judgement, result=ThresholdResult.INCONCLUSIVE, why=why)


def _judge_every_cell(threshold: Threshold, facts: Facts, over_time: OverTime) -> Judgement:
    """Return the judgement of a threshold `in every` on its part of the run."""
    judgement = _judge_cells(threshold, facts, over_time.cells.get(threshold, []))
    with_ramp = over_time.cells_with_ramp.get(threshold)
    if judgement.result != ThresholdResult.PASS or with_ramp is None:
        return judgement
    lost = _judge_cells(threshold, facts, with_ramp).result == ThresholdResult.FAIL
    return _no_pass(judgement) if lost else judgement


def _judge_cells(threshold: Threshold, facts: Facts, cells: Sequence[CellCounts]) -> Judgement:
    """Return the judgement of a threshold `in every`, from its cells in order of time."""
    metric = threshold.metric
    assert threshold.every_s is not None
    length = length_text(threshold.every_s)
    if not cells:
        return _open(threshold, f"the run has no whole window of {length} with a {_of(metric)}")
    limit, wants_low = _allowed(threshold)
    # Fewer samples than this: one of them alone would be more than the share that is allowed.
    edge = min(limit, 1 - limit)
    least = math.ceil(round(1 / edge, 9)) if edge > 0 else 1
    counted = [cell for cell in cells if cell.share.n >= least]
    few = len(cells) - len(counted)
    lacking = f"{few} of {_plural(len(cells), 'window')} of {length} have fewer than {_plural(least, _of(metric))}"
    if not counted:
        return _open(threshold, lacking)
    ranges = [(cell.share.least / cell.share.n, cell.share.most / cell.share.n) for cell in counted]
    if wants_low:
        place = max(range(len(ranges)), key=ranges.__getitem__)
        lost, held = any(low > limit for low, _ in ranges), all(high < limit for _, high in ranges)
    else:
        place = min(range(len(ranges)), key=lambda i: ranges[i][::-1])
        lost, held = any(high < limit for _, high in ranges), all(low > limit for low, _ in ranges)
    worst, result = counted[place], ThresholdResult.INCONCLUSIVE
    if lost:
        result = ThresholdResult.FAIL
    elif held and not few:
        result = ThresholdResult.PASS
    share, reading = worst.share, reading_of(metric, worst.value, facts)
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    that = f" {_beyond(threshold)}" if metric.kind == "duration" else ""
    why = (
        f"the worst of {_plural(len(counted), 'window')} of {length} began {worst.at_s:.0f} s into the run: "
        f"{count} of {_plural(share.n, metric.noun)}{that} ({share_text(share.counted / share.n)})"
    )
    value, beyond = (share.counted / share.n, False) if reading is None else reading
    samples = sum(cell.share.n for cell in cells)
    return Judgement(threshold, result, value, beyond, samples=samples, why=f"{why}; {lacking}" if few else why)


def _allowed(threshold: Threshold) -> tuple[float, bool]:
    """Return the limit of the share that a rate or percentile is a question about, and whether it must be below it."""
    metric = threshold.metric
    if metric.q is None:
        return threshold.limit, threshold.wants_low
    if metric.subject == "margin":
        # Less margin is more gap: margin.p1 > 5 s is gap.p99 < timeout - 5 s.
        return metric.q, not threshold.wants_low
    return round(1 - metric.q, 9), threshold.wants_low


def _beyond(threshold: Threshold) -> str:
    at = _seconds(threshold.limit)
    return f"with {at} or less left" if threshold.metric.subject == "margin" else f"at or above {at}"


def _judge_percentile(
    threshold: Threshold,
    facts: Facts,
    samples: CensoredHistogram,
    confidence: float,
    design_effect: float | None = None,
    over_time: bool = False,
) -> Judgement:
    """Return the judgement of a percentile.

    design_effect: of its samples; None: they count as independent. over_time: their dependence was to be measured.
    """
    metric, asked = threshold.metric, question(threshold, facts)
    share, margin = asked.share, metric.subject == "margin"
    worth = None
    if design_effect is not None:
        asked = asked._replace(design=Design(design_effect, design_effect))
        worth = dependence.worth(share, asked.design)
    answer = _settle(asked, confidence, "their share", metric.noun)
    q = metric.sample_q
    reading = reading_of(metric, samples.quantile(q), facts)
    assert reading is not None
    low, high = _quantile_bounds(samples, q, confidence, worth)
    if margin:
        assert facts.timeout_s is not None
        timeout_s = facts.timeout_s
        high, low = (None if bound is None else timeout_s - bound for bound in (low, high))
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    # Of some samples only a bound is known.
    which = "without an answer" if metric.is_speed else "the last silence of a chat"
    censored = f" ({samples.censored.count} {which})" if samples.censored.count else ""
    why, reason = f"{count} of {_plural(share.n, metric.noun)} {_beyond(threshold)}{censored}", answer.reason
    if worth is not None and worth < share.n:
        why += f", worth {worth} independent ones"
    elif worth is None and over_time:
        reason += _TOO_SHORT
    return Judgement(
        threshold, answer.result, reading.seconds, reading.over, low, high, share.n, answer.needed, answer.needed_90,
        worth, why=f"{why}; {reason}",
    )  # fmt: skip


def _bounds(asked: Question, confidence: float) -> tuple[float, float]:
    return dependence.bounds(asked.share, asked.design, confidence, asked.wanted)


def _settle(asked: Question, confidence: float, what: str, noun: str, clustered: bool = False) -> Answer:
    """Return the answer to a question. clustered: whether its upper bound depends on the size of incidents."""
    share, limit, wants_low = asked.share, asked.limit, asked.wants_low
    low, high = _bounds(asked, confidence)
    sure, at = f"with {percent(confidence)} confidence", percent(limit)
    at_least, at_most = bound_text(low, up=False), bound_text(high, up=True)
    below, above = ThresholdResult.PASS, ThresholdResult.FAIL
    if not wants_low:
        below, above = above, below
    # The assumption about incidents is in the upper bound of their share: of sessions that ended well, the lower bound.
    if high < limit:
        size = _largest_incident(asked, confidence) if clustered and wants_low and not asked.wanted else None
        return Answer(below, f"{what} is below {at} {sure} (at most {at_most}){holds_for(size)}", incident_size=size)
    if low > limit:
        size = _largest_incident(asked, confidence) if clustered and not wants_low and asked.wanted else None
        return Answer(above, f"{what} is above {at} {sure} (at least {at_least}){holds_for(size)}", incident_size=size)
    if not low and high == 1:
        known = f"nothing is known of {what}"
    elif not low:
        known = f"{what} is below {at_most} {sure}, not below {at}"
    elif high == 1:
        known = f"{what} is above {at_least} {sure}, not above {at}"
    else:
        known = f"{what} is above {at_least} and below {at_most}, each {sure}, and {at} lies between"
    needed, likely = (_needed(asked, confidence, power) for power in POWERS)
    if share.open and needed is None:
        settles = "only a longer run would settle it"
    elif needed is None or likely is None:
        settles = f"not even a billion {_plurals(noun)} like these would settle it"
    elif needed == likely:
        settles = f"{_plural(needed, noun)} {'at this rate' if share.most else 'without one'} would settle it"
    else:
        settles = f"a run of {_plural(needed, noun)} at this rate would settle it with a probability of "
        settles += f"{percent(POWERS[0])}, one of {likely} with {percent(POWERS[1])}"
    return Answer(ThresholdResult.INCONCLUSIVE, f"{known}: {settles}", needed, likely)


def _needed(asked: Question, confidence: float, power: float) -> int | None:
    """Return the samples of a run that would decide a question with this probability: of clusters, so many more.

    The end of a longer run cuts off as many sessions, if the load is the same. They must not be most of all.
    """
    share, design, limit = asked.share, asked.design, asked.limit
    if asked.wanted:
        events, most = share.whole - share.least, float(share.most + share.open)
        least = _of_all(share.least, share, 0)
        by_whole = least > limit * share.n
    else:
        events, most = share.most, _of_all(share.most, share, share.n)
        least = float(share.least)
        by_whole = most < limit * share.n
    needed = sessions_needed(least, share.n, limit, confidence, most, power)
    each = design.effect if events else design.largest
    if needed is None:
        return None
    needed = math.ceil(needed * each)
    return max(needed, share.open) + share.open if by_whole else needed


def _of_all(count: int, share: Share, unknown: int) -> float:
    """Return how many of all samples would be as many as `count` of the whole ones; `unknown` without any."""
    return count * share.n / share.whole if share.whole else unknown


def _largest_incident(asked: Question, confidence: float) -> int:
    """Return the largest number of sessions that an incident may take, so that the upper bound stays on its side."""
    share, wanted = asked.share, asked.wanted
    events, limit = (share.whole - share.least, 1 - asked.limit) if wanted else (share.most, asked.limit)
    whole = share.whole
    return largest_cluster(lambda design: clusters.upper(events, whole, design, confidence), limit, asked.design, whole)


def _quantile_bounds(
    samples: CensoredHistogram, q: float, confidence: float, worth: int | None = None
) -> tuple[float | None, float | None]:
    """Return one-sided bounds (seconds) of the q-quantile, by order statistics; None if there are too few samples.

    With at most k samples at or above a value, and upper(k) below 1 - q, the quantile is below that value. worth: see
    `_bounds`.
    """
    n, tail = samples.count, 1 - q
    of = n if worth is None else worth
    # How many of the greatest samples may lie at or above the quantile, and how many must.
    allowed = bisect_left(range(n + 1), True, key=lambda k: upper(min(k * of / n, of), of, confidence) >= tail)
    too_few = bisect_left(range(n + 1), True, key=lambda k: lower(min(k * of / n, of), of, confidence) > tail)
    least = samples.bracket(n - too_few)[0] if too_few <= n else None
    most = samples.bracket(n - allowed)[1] if allowed else math.inf
    return least, None if most == math.inf else most


def _unproven(share: Share) -> str:
    if share.most > share.counted:
        return f" (and {share.most - share.counted} that may be)"
    return f" ({share.counted - share.least} of them unproven)" if share.counted > share.least else ""


def _with_open(answer: Answer, asked: Question, threshold: Threshold, confidence: float) -> Answer:
    """Return an answer whose reason says what the sessions that the end of the run cut off mean for it."""
    share, metric = asked.share, threshold.metric
    of_class = f"{threshold.user_class}: " if threshold.user_class else ""
    cut = f"the end of the run cut off {share.open} of the {_plural(share.n, 'session')}"
    if answer.result == asked.low_result:
        return answer._replace(reason=f"{answer.reason}; {cut}; assumed: these were in no more danger than the others")
    if answer.result != ThresholdResult.INCONCLUSIVE:
        return answer
    as_if_over = asked._replace(share=share._replace(open=0))
    if answer.needed is not None and _settle(as_if_over, confidence, "", "").result == answer.result:
        return answer
    longer = "for many times the length of a chat"
    if answer.needed is not None:
        longer = f"{math.ceil(10 * answer.needed / share.n) / 10:g} times as long"
    remedies = [f"run {longer}"]
    if metric.per_chat_hour:
        remedies.append(f"judge {of_class}{metric.per_chat_hour}")
    if metric.subject == DROPPED:
        remedies.append(f"judge {of_class}{DROPPED}.by_age(AGE)")
    unknown = f"{cut}, and what would have become of them is not known: {', or '.join(remedies)}"
    return answer._replace(reason=f"{answer.reason}; {unknown}")


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
