"""Judges events per chat-hour, and the probability of a drop by age: rates that a short run does not make too small.

A rate per session counts a chat that was alive when the run ended as one that was never dropped. A rate per chat-hour
counts the time for which the chat was observed (the bounds: `chatload.stats.rates`). It assumes that the chance of a
drop is the same at each age of a chat. The probability by age does not assume this (`chatload.stats.survival`). It
needs chats that reach the age.

Of events that are known only within a range, the end of the range that is less favourable to the claim is used.
"""

from typing import NamedTuple

from chatload.run.lifetimes import chat_hours_text
from chatload.stats.rates import bound_text, multiple_needed, per_unit_lower, per_unit_text, per_unit_upper, share_text
from chatload.stats.survival import Survival
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
    why: str = ""


def judge_by_exposure(threshold: Threshold, facts: Facts, confidence: float) -> JudgedRate:
    """Return the judgement of a threshold on an hourly rate, or on a probability by age."""
    judged = _judge_hourly if threshold.metric.age_s is None else _judge_by_age
    return judged(threshold, facts, confidence)


def _judge_hourly(threshold: Threshold, facts: Facts, confidence: float) -> JudgedRate:
    hours, accepted = facts.chat_hours, facts.books.fates.accepted
    if not hours:
        return JudgedRate(ThresholdResult.INCONCLUSIVE, why="no chat was open for any time")
    share = threshold.metric.share(facts)
    low = per_unit_lower(share.least, hours, confidence)
    high = per_unit_upper(share.most, hours, confidence)
    count = str(share.least) if share.least == share.most else f"{share.least} to {share.most}"
    seen = f"{count} in {chat_hours_text(hours)}"
    result, said = _compared(threshold, low, high, confidence, "the rate per chat-hour")
    needed = None
    if result is ThresholdResult.INCONCLUSIVE:
        limit = threshold.limit
        if share.most / hours < limit:
            needed = multiple_needed(lambda m: per_unit_upper(share.most * m, hours * m, confidence) < limit, accepted)
        elif share.least / hours > limit:
            needed = multiple_needed(lambda m: per_unit_lower(share.least * m, hours * m, confidence) > limit, accepted)
        enough = None if needed is None else chat_hours_text(hours * needed / accepted)
        said += f": {'no time' if enough is None else enough} like these would settle it"
    if facts.is_censored:
        cut = f"{share_text(facts.cut_off_share)} of the chats were still open at the end"
        said += f"; this assumes that a chat is in equal danger at each age, and {cut}"
    return JudgedRate(result, share.counted / hours, low, high, accepted, needed, f"{seen}; {said}")


def _judge_by_age(threshold: Threshold, facts: Facts, confidence: float) -> JudgedRate:
    lifetimes, age_s, limit = facts.lifetimes, threshold.metric.age_s, threshold.limit
    assert age_s is not None
    if lifetimes is None:
        return JudgedRate(ThresholdResult.INCONCLUSIVE, why="the ages of the chats are not known here")
    worst, best = Survival(*lifetimes.worst()), Survival(*lifetimes.best())
    most, least = worst.failed_before(age_s, confidence), best.failed_before(age_s, confidence)
    drops = str(least.failures) if least.failures == most.failures else f"{least.failures} to {most.failures}"
    seen = f"{drops} of {len(worst)} accepted chats dropped before {age_s:g} s, {most.at_risk} observed up to this age"
    result, said = _compared(threshold, least.low, most.high, confidence, f"the probability before {age_s:g} s")
    needed = None
    if result is ThresholdResult.INCONCLUSIVE:
        if not most.at_risk:
            said += f": no chat was observed to this age (the oldest to {worst.oldest:g} s): a longer run is needed"
        else:
            if most.estimate is not None and most.estimate < limit:
                needed = multiple_needed(lambda m: worst.failed_before(age_s, confidence, m).high < limit, len(worst))
            elif least.estimate is not None and least.estimate > limit:
                needed = multiple_needed(lambda m: best.failed_before(age_s, confidence, m).low > limit, len(best))
            said += f": {'no number of' if needed is None else needed} chats like these would settle it"
    return JudgedRate(result, most.estimate, least.low, most.high, len(worst), needed, f"{seen}; {said}")


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
