"""`--abort-on`: says during a run that a threshold is lost. It may be asked at any time, however often.

A rate or a percentile is lost once the evidence that its share is above the allowed one reaches 1 / alpha. The samples
that speak against the threshold are grouped by blocks of time, as long as the flex-disconnect-timeout: within it the
drops of one outage are learned. So an outage that drops forty chats is one group, and whatever the sizes of the groups,
a run that meets its threshold is called lost with a probability of at most alpha (`chatload.stats.clusters`). An
incident that begins at the end of a block is two groups; docs/statistics.md has the measured effect.

The expected number is that of the sessions that have *begun*, and those still alive count as if they will meet the
threshold. If only ended sessions were counted, every run would look bad early on, because dropped sessions end first. A
session with a probability of at most L to be dropped has an integrated hazard of at most -ln(1 - L). Of a rate per
chat-hour, the expected number is the limit times the chat-hours so far.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from chatload.run.lifetimes import chat_hours_text
from chatload.stats.clusters import RateEvidence
from chatload.thresholds.judgement import percent, question, reading_of
from chatload.thresholds.metrics import OF_ALL, Facts, Threshold

#: The length of blocks of a run without a flex-disconnect-timeout (seconds), and of the shortest ones.
_BLOCK_S, _LEAST_BLOCK_S = 60.0, 1.0


@dataclass
class _Course:
    """The course of one threshold: the evidence of complete blocks, and how many samples were against it.

    before: when this block began. seen: at the last look.
    """

    evidence: RateEvidence = field(default_factory=RateEvidence)
    before: int = 0
    seen: int = 0


class AbortMonitor:
    """Watches the thresholds of `--abort-on` during one run."""

    def __init__(self, thresholds: Iterable[Threshold], alpha: float, timeout_s: float | None) -> None:
        """thresholds: of `parse_abort`. alpha: see the module, between 0 and 1. timeout_s: of the run; None: none."""
        self._courses = {threshold: _Course() for threshold in thresholds}
        self._alpha = alpha
        self._block_s = max(_LEAST_BLOCK_S, timeout_s or _BLOCK_S)
        self._block = 0

    def why_lost(self, facts: Facts, elapsed_s: float) -> str:
        """Return why a threshold is lost; "" while all may still hold.

        A threshold on a user class is watched by the facts of that class.

        Only proven samples count against a threshold. A count or an extreme is lost once it is exceeded.

        Args:
            facts: of the run so far.
            elapsed_s: seconds since its start; never less than in the call before.
        """
        block = int(elapsed_s / self._block_s)
        ends, self._block = block > self._block, block
        whys = [
            self._why_lost(threshold, course, facts.of(threshold.user_class), ends)
            for threshold, course in self._courses.items()
        ]
        return next(filter(None, whys), "")

    def _why_lost(self, threshold: Threshold, course: _Course, facts: Facts, ends: bool) -> str:
        metric = threshold.metric
        if metric.subject == "margin" and facts.timeout_s is None:
            return ""
        if metric.kind == "count" or (metric.kind == "duration" and metric.q is None):
            return _exceeded(threshold, facts)
        if metric.kind == "hourly rate":
            against, expected = metric.share(facts).least, threshold.limit * facts.chat_hours
            seen = f"{against} in {chat_hours_text(facts.chat_hours)}"
        else:
            against, n, limit = _against(threshold, facts)
            if not 0 < limit < 1:
                return ""
            expected = -n * math.log1p(-limit) if metric.of_sessions else n * limit
            noun = {"session": "sessions begun", "refresh": "refreshes"}.get(metric.noun, "requests")
            seen = f"{against} of {n} {noun}"
        if ends:
            course.evidence.add(max(0, course.seen - course.before))
            course.before = course.seen
        course.seen = against
        evidence = course.evidence.log(expected, max(0, against - course.before))
        if evidence < -math.log(self._alpha):
            return ""
        return (
            f"{threshold} is lost: {seen} speak against it; if it holds, so many come over time in at "
            f"most {percent(self._alpha)} of runs"
        )


def _exceeded(threshold: Threshold, facts: Facts) -> str:
    """Return why a count or an extreme is lost. Counts and maxima only rise, minima only fall: this is final."""
    metric = threshold.metric
    if metric.kind == "count":
        value: float = metric.share(facts).counted
        seen = f"{value:g}"
    else:
        reading = reading_of(metric, metric.samples(facts.books).maximum, facts)
        if reading is None:
            return ""
        # If only a bound is known and it exceeds the limit, the true value does too.
        value = reading.seconds
        seen = f"{value:.4g} s"
    return f"{threshold} is lost: {threshold.about} is {seen}" if threshold.is_lost(value) else ""


def _against(threshold: Threshold, facts: Facts) -> tuple[int, int, float]:
    """Return the number of samples against a threshold, the number of all samples, and the share that it allows."""
    asked = question(threshold, facts)
    share, limit, n = asked.share, asked.limit, asked.share.n
    if threshold.metric.of_sessions:
        fates = facts.books.fates
        # Sessions that have not ended count as if they will meet the threshold. Sessions that were never accepted are
        # left out of shares of the accepted ones.
        apart = 0 if threshold.metric.subject in OF_ALL else fates.never_accepted.most
        n = max(n, facts.books.started - apart)
    return (share.least, n, limit) if asked.wants_low else (max(share.whole - share.most, 0), n, 1 - limit)
