"""Judges events per chat-hour, and the probability of a drop by age: rates that a short run does not make too small.

A rate per session counts a chat that was alive when the run ended as one that was never dropped. A rate per chat-hour
counts the time for which the chat was observed (the bounds: `chatload.stats.rates`). It assumes that the chance of a
drop is the same at each age of a chat. The probability by age does not assume this (`chatload.stats.survival`). It
needs chats that reach the age. Both have the design effect of the run's incidents (`chatload.thresholds.dependence`).

Of events that are known only within a range, the end of the range that is less favourable to the claim is used.
"""

from typing import NamedTuple

from chatload.run.lifetimes import chat_hours_text
from chatload.stats.clusters import Design, largest_cluster, per_unit_lower, per_unit_upper
from chatload.stats.rates import bound_text, multiple_needed, per_unit_text, share_text
from chatload.stats.survival import FailedBefore, Survival
from chatload.thresholds.metrics import Facts, Threshold
from chatload.vocabulary import ThresholdResult


class JudgedRate(NamedTuple):
    """The judgement of a rate by exposure: fields of `Judgement` with the same names."""

    result: ThresholdResult
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    samples: int = 0
    needed: int | None = None
    incident_size: int | None = None
    why: str = ""


def judge_by_exposure(threshold: Threshold, facts: Facts, design: Design, confidence: float) -> JudgedRate:
    """Return the judgement of a threshold on an hourly rate, or on a probability by age.

    design: how far the sessions of the run were from independent.
    """
    judged = _judge_hourly if threshold.metric.age_s is None else _judge_by_age
    return judged(threshold, facts, design, confidence)


def _judge_hourly(threshold: Threshold, facts: Facts, design: Design, confidence: float) -> JudgedRate:
    hours, accepted = facts.chat_hours, facts.books.fates.accepted
    if not hours:
        return JudgedRate(ThresholdResult.INCONCLUSIVE, why="no chat was open for any time")
    share, limit = threshold.metric.share(facts), threshold.limit

    def lower(multiple: float) -> float:
        return per_unit_lower(multiple * share.least, multiple * hours, design, confidence)

    def upper(multiple: float, design: Design = design) -> float:
        return per_unit_upper(multiple * share.most, multiple * hours, design, confidence)

    low, high = lower(1.0), upper(1.0)
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    seen = f"{count} in {chat_hours_text(hours)}"
    result, said = _compared(threshold, low, high, confidence, "the rate per chat-hour")
    needed = size = None
    if result is ThresholdResult.INCONCLUSIVE:
        if share.most / hours < limit:
            needed = multiple_needed(lambda m: upper(m) < limit, accepted)
        elif share.least / hours > limit:
            needed = multiple_needed(lambda m: lower(m) > limit, accepted)
        enough = None if needed is None else chat_hours_text(hours * needed / accepted)
        said += f": {'no time' if enough is None else enough} like these would settle it"
    elif high < limit and threshold.wants_low:
        size = largest_cluster(lambda other: upper(1.0, other), limit, design, accepted)
        said += holds_for(size)
    if facts.is_censored:
        cut = f"{share_text(facts.cut_off_share)} of the chats were still open at the end"
        said += f"; this assumes that a chat is in equal danger at each age, and {cut}"
    return JudgedRate(result, share.counted / hours, low, high, accepted, needed, size, f"{seen}; {said}")


def _judge_by_age(threshold: Threshold, facts: Facts, design: Design, confidence: float) -> JudgedRate:
    lifetimes, age_s, limit = facts.lifetimes, threshold.metric.age_s, threshold.limit
    assert age_s is not None
    if lifetimes is None:
        return JudgedRate(ThresholdResult.INCONCLUSIVE, why="the ages of the chats are not known here")
    worst, best = Survival(*lifetimes.worst()), Survival(*lifetimes.best())

    def most_failed(multiple: float, design: Design = design) -> FailedBefore:
        return worst.failed_before(age_s, confidence, multiple, design)

    def least_failed(multiple: float) -> FailedBefore:
        return best.failed_before(age_s, confidence, multiple, design)

    most, least = most_failed(1.0), least_failed(1.0)
    drops = str(least.failures) if least.failures == most.failures else f"{least.failures} to {most.failures}"
    seen = f"{drops} of {len(worst)} accepted chats dropped before {age_s:g} s, {most.at_risk} observed up to this age"
    result, said = _compared(threshold, least.low, most.high, confidence, f"the probability before {age_s:g} s")
    needed = size = None
    if result is ThresholdResult.INCONCLUSIVE:
        if not most.at_risk:
            said += f": no chat was observed to this age (the oldest to {worst.oldest:g} s): a longer run is needed"
        else:
            if most.estimate is not None and most.estimate < limit:
                needed = multiple_needed(lambda m: most_failed(m).high < limit, len(worst))
            elif least.estimate is not None and least.estimate > limit:
                needed = multiple_needed(lambda m: least_failed(m).low > limit, len(best))
            said += f": {'no number of' if needed is None else needed} chats like these would settle it"
    elif most.high < limit and threshold.wants_low:
        size = largest_cluster(lambda other: most_failed(1.0, other).high, limit, design, len(worst))
        said += holds_for(size)
    return JudgedRate(result, most.estimate, least.low, most.high, len(worst), needed, size, f"{seen}; {said}")


def holds_for(size: int | None) -> str:
    """Return the size of incidents for which a threshold passes, as the end of a sentence; "" if None."""
    return "" if size is None else f" if no incident takes more than {size} session{'' if size == 1 else 's'}"


def _compared(
    threshold: Threshold, low: float, high: float, confidence: float, what: str
) -> tuple[ThresholdResult, str]:
    """Return the result of comparing the bounds of a rate with the limit, and the reason."""
    limit, hourly = threshold.limit, threshold.metric.kind == "hourly rate"
    text = per_unit_text if hourly else bound_text
    at = f"{limit:.10g}" if hourly else f"{100 * limit:.10g} %"
    sure, at_least, at_most = f"with {100 * confidence:.10g} % confidence", text(low, False), text(high, True)
    if high < limit:
        below = ThresholdResult.PASS if threshold.wants_low else ThresholdResult.FAIL
        return below, f"{what} is below {at} {sure} (at most {at_most})"
    if low > limit:
        above = ThresholdResult.FAIL if threshold.wants_low else ThresholdResult.PASS
        return above, f"{what} is above {at} {sure} (at least {at_least})"
    between = f"above {at_least} and below {at_most}, each" if low else f"below {at_most}"
    return (
        ThresholdResult.INCONCLUSIVE,
        f"{what} is {between} {sure}, and {at} lies {'between' if low else 'below that'}",
    )
