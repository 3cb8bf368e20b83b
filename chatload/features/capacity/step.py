"""One step of a capacity search: it puts a load on, lets it settle, and judges it.

A step goes through three phases, each bounded:

- **rise**: until so many sessions are open at once;
- **settle**: until all were refreshed twice, and the median latency of GetMessages in one refresh interval
  differs from that of the interval before by at most a fifth, or 5 ms;
- **hold**: for `hold_s`, and where a threshold has too few samples then, for twice and four times that.

A load is *held* if so many sessions were open at once and every threshold was met by what the step measured. Requests
of one step depend on each other, so that no confidence can come from their number: it comes from the repetition of
steps (`chatload.stats.response`).

Counts, such as `refused.count == 0`, are judged from the step's start, at every look. Rates and percentiles are judged
from the instant at which the step had settled, and only at the ends of the hold. Rates per chat-hour, such as drops,
are judged by the time for which chats were open since the step's start: a load is not held if a higher rate than the
limit is proven. A count of zero would be a stricter limit the more chats there are and the longer they last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from chatload.run.books import Books
from chatload.stats.rates import CONFIDENCE, per_unit, per_unit_lower, share_text
from chatload.thresholds.judgement import Judgement, judge, observed, question
from chatload.thresholds.metrics import Facts, Threshold, parse
from chatload.vocabulary import DROPPED, Outcome, SessionState, ThresholdResult, Verdict

StepOutcome = Literal["held", "not held", "undecided", "spoilt"]
#: Why a load was not held.
Cause = Literal["limit", "knee", "generator", "undecided"]
#: The purpose of the last steps, which hold the answer for `confirm_s`.
CONFIRM = "confirm"

#: What must hold at every step where no thresholds are given; in addition, from the first step's own latency on,
#: LATENCY.
STANDARD = tuple(
    parse(text) for text in ("refused.count == 0", "dropped.per_chat_hour < 0.2", "GetMessages.unsuccessful.rate < 5%")
)
LATENCY = "GetMessages.latency.p95"
#: The limit of LATENCY: this many times its value at the first steps, and at least this long (seconds).
LATENCY_FACTOR, LATENCY_LEAST_S = 3.0, 0.1
#: Confidence at which a rate per chat-hour ends a step before its time. It is high, because it is judged at every look.
_SURE = 0.999
#: A hold is judged at 1, 2 and 4 times its length, then no more.
JUDGEMENTS = 3
#: A rate or percentile is judged by its measured value if at least this many samples are expected on each side of it.
LEAST_SAMPLES = 5
#: Two windows are alike where their medians differ by no more than this share, or by this much (seconds).
ALIKE, ALIKE_S = 0.2, 0.005
#: The generator is at its limit if it uses more than this share of a core, or is stalled for more than this share of
#: the time.
CPU_LIMIT, STALLED_LIMIT = 0.9, 0.05
#: A load was applied if its refreshes left late by at most this part of their interval on average: at most this part
#: of the requests is missing.
LATE_LIMIT = 0.1
_HOUR_S = 3600.0


@dataclass(frozen=True)
class StepRules:
    """The parameters of a capacity search.

    start: sessions of the first step. ceiling: the most it may open. interval_s: between two refreshes of a
    session. timeout_s: the flex-disconnect-timeout. hold_s: how long a step is held at least once it has settled.
    bound_s: the longest that rising (beside the spread of the new sessions), settling and recovering may take.
    confirm_s: how long the answer is held at the end; None is three timeouts and one interval.
    resolution: how wide the interval of the capacity may be, as a share of it. thresholds: what must hold; none is
    STANDARD and LATENCY. confidence: of each end of the interval and of the bound on drops.
    run_time_s: the time that the search has; None if it has as much as it needs.
    """

    start: int = 10
    ceiling: int = 1000
    interval_s: float = 3.0
    timeout_s: float = 45.0
    hold_s: float = 10.0
    bound_s: float = 60.0
    confirm_s: float | None = None
    resolution: float = 0.1
    thresholds: tuple[Threshold, ...] = ()
    confidence: float = CONFIDENCE
    run_time_s: float | None = None

    @property
    def window_s(self) -> float:
        """Length of the windows that are compared (seconds): every session is refreshed in each."""
        return max(self.interval_s, 1.0)

    @property
    def confirming_s(self) -> float:
        """Length of the last hold, which confirms the answer (seconds). A drop shows only after the timeout."""
        least = self.timeout_s + self.interval_s
        return max(self.hold_s, least, least + 2 * self.timeout_s if self.confirm_s is None else self.confirm_s)

    @property
    def between_holds_s(self) -> float:
        """How long it takes from the end of a hold to the beginning of the next, about (seconds)."""
        # Rise and settle, and after every other step, which was not held, a recovery.
        return 5.5 * self.window_s

    @property
    def interval_confidence(self) -> float:
        """The confidence of the two-sided interval: each of its ends has `confidence`."""
        return 2 * self.confidence - 1


@dataclass(frozen=True)
class Look:
    """The state of the run at one instant. at: seconds since the search began. books: counters so far, never changed
    afterwards. cpu_s: CPU seconds that each generator process has used so far."""

    at: float
    books: Books
    cpu_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Sessions open: accepted, and not known to have ended."""
        states = self.books.states
        return states[SessionState.HELD] + states[SessionState.RETRYING] + states[SessionState.LEAVING]

    @property
    def opening(self) -> int:
        """Sessions whose RequestChat is under way."""
        return self.books.states[SessionState.OPENING]


@dataclass(frozen=True)
class Trouble:
    """Why a load was not held. metric: the threshold it broke, or "". at_s: of the first sign. why: one sentence."""

    cause: Cause
    metric: str
    at_s: float
    why: str


@dataclass(frozen=True)
class DropExposure:
    """Sessions that were dropped, and the chat-hours in which that could happen.

    drops: possible ones included. surely: those that are proven.
    """

    drops: int = 0
    chat_hours: float = 0.0
    surely: int = 0

    def __add__(self, other: DropExposure) -> DropExposure:
        return DropExposure(
            self.drops + other.drops, self.chat_hours + other.chat_hours, self.surely + other.surely
        )  # fmt: skip

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the exact bounds of the drops per chat-hour, possible ones included, each with one-sided confidence.

        They assume that drops are independent (`chatload.stats.rates.per_unit`). 0 and infinity without chat-hours.
        """
        return per_unit(self.drops, self.chat_hours, 2 * confidence - 1) if self.chat_hours > 0 else (0.0, inf)


@dataclass
class StepRecord:
    """The result of one step. Instants are as in Look, None if the step did not get so far. calm: latency had become
    steady. open_most: the most sessions seen open at once. rates: successful requests per second in each window since
    the load was reached. exposure: since the step began. proven: since one timeout after the load was reached, before
    which a drop that this load causes does not show."""

    load: int
    purpose: str
    begun: float
    reached: float | None = None
    settled: float | None = None
    calm: bool = False
    ended: float = 0.0
    outcome: StepOutcome = "undecided"
    trouble: Trouble | None = None
    open_most: int = 0
    rates: list[float] = field(default_factory=list)
    exposure: DropExposure = DropExposure()
    proven: DropExposure = DropExposure()
    judgements: list[Judgement] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def is_held(self) -> bool:
        return self.outcome == "held"

    @property
    def is_trial(self) -> bool:
        """Whether the step says whether the server holds the load."""
        return self.outcome in ("held", "not held")

    @property
    def requests_per_s(self) -> float | None:
        """Successful requests per second since the load was reached; None if it was not."""
        return sum(self.rates) / len(self.rates) if self.rates else None


class Step:
    """A step that is active. Call `look` until it returns the record."""

    def __init__(self, rules: StepRules, thresholds: Sequence[Threshold], load: int, purpose: str, look: Look) -> None:
        self.load, self.purpose = load, purpose
        self._rules, self._thresholds = rules, thresholds
        self._hourly = [threshold for threshold in thresholds if is_hourly(threshold)]
        self._record = StepRecord(load, purpose, look.at)
        self._begun = self._last = self._watched = look
        self._rising_until = look.at + rules.bound_s + 2 * rules.window_s
        self._window: Look | None = None
        self._median: float | None = None
        self._settled: Look | None = None
        self._judged = 0
        self._signs: dict[str, float] = {}

    def look(self, look: Look) -> StepRecord | None:
        """Return the step's record when it has ended, None before."""
        record, rules = self._record, self._rules
        record.open_most = max(record.open_most, look.open)
        self._note_exposure(look)
        self._note_signs(look)
        self._last = look
        facts = self._since_begun(look)
        trouble = self._broken_fact(look, facts) or self._proven_rate(look, facts, _SURE)
        if trouble is not None:
            # A chat that is refused is refused by the server; one that is dropped may have been refreshed too late.
            spoilt = "" if trouble.cause == "limit" else generator_trouble(self._begun, look, self._thresholds, rules)
            return self._spoilt(look, spoilt) if spoilt else self._over(look, "not held", trouble)
        if record.reached is None:
            return self._rise(look)
        self._cut_window(look)
        if self._settled is not None:
            return self._hold(look, self._settled, facts)
        if record.calm or look.at - record.reached >= rules.bound_s:
            record.settled = look.at
            self._settled = look
        return None

    # -- phases ------------------------------------------------------------------------------------

    def _rise(self, look: Look) -> StepRecord | None:
        # Chats end and begin all the time, so a few users are always between two chats.
        if look.open + look.opening >= self.load and look.opening <= self.load // 100:
            self._record.reached = look.at
            self._window = look
            return None
        if look.at < self._rising_until:
            return None
        made, rules = look.books.since(self._begun.books), self._rules
        spoilt = generator_trouble(self._begun, look, self._thresholds, rules)
        refused = made.verdicts[Verdict.REFUSED]
        answers = made.outcomes.get("RequestChat", Counter())
        begun = look.open + look.opening
        if not refused and (spoilt or (begun < self.load and answers.total() == answers[Outcome.FINE])):
            why = spoilt or f"it had begun only {begun} of {self.load} sessions"
            return self._spoilt(look, why)
        why = f"only {look.open} of {self.load} sessions could be opened within {look.at - self._begun.at:.3g} s"
        cause: Cause = "limit" if refused else "knee"
        return self._over(look, "not held", Trouble(cause, "RequestChat", look.at, why))

    def _hold(self, look: Look, settled: Look, whole: Facts) -> StepRecord | None:
        rules = self._rules
        least = rules.confirming_s if self.purpose == CONFIRM else rules.hold_s
        if look.at - settled.at < least * 2**self._judged:
            return None
        self._judged += 1
        calm = facts_of(look, settled, rules.timeout_s)
        of = {
            threshold: whole if is_fact(threshold) or is_hourly(threshold) else calm for threshold in self._thresholds
        }
        self._record.judgements = [judge(threshold, facts, rules.confidence) for threshold, facts in of.items()]
        judgements = [judgement for judgement in self._record.judgements if judgement.threshold not in self._hourly]
        met = [_is_met(judgement, of[judgement.threshold]) for judgement in judgements]
        proven = self._proven_rate(look, whole, rules.confidence)
        failed = proven is not None or False in met
        if None in met and not failed and self._judged < JUDGEMENTS:
            return None
        if not failed and None not in met:
            # A late generator can make a server look slow, never fast: such a load is held, if the requests were sent.
            lateness = look.books.since(settled.books).lateness
            late = lateness.total_us / 1e6 / max(lateness.count, 1)
            allowed = LATE_LIMIT * rules.interval_s
            if late <= allowed:
                return self._over(look, "held", None)
            why = f"its own refreshes left {late:.3g} s late on average (at most {allowed:.3g} s are allowed)"
            return self._spoilt(look, why)
        spoilt = generator_trouble(settled, look, self._thresholds, rules)
        if spoilt:
            return self._spoilt(look, spoilt)
        if failed:
            trouble = proven or self._trouble(judgements[met.index(False)], look)
            return self._over(look, "not held", trouble)
        open_one = judgements[met.index(None)]
        trouble = Trouble("undecided", str(open_one.threshold), look.at, open_one.why)
        return self._over(look, "undecided", trouble)

    # -- judging -----------------------------------------------------------------------------------

    def _broken_fact(self, look: Look, facts: Facts) -> Trouble | None:
        """Return the trouble of a count that exceeds its limit; a later look cannot change it. None if none does."""
        for threshold in self._thresholds:
            if is_fact(threshold) and threshold.op in ("<", "<=", "=="):
                value = observed(threshold.metric, facts)
                if value is not None and threshold.is_lost(value):
                    return self._trouble(judge(threshold, facts), look)
        return None

    def _proven_rate(self, look: Look, facts: Facts, confidence: float) -> Trouble | None:
        """Return the trouble of a rate per chat-hour that is proven to exceed its limit; None if none is.

        Possible events count as events: a load is not held on the assumption that there were none.
        """
        hours = facts.chat_hours
        for threshold in self._hourly:
            events = threshold.metric.share(facts).most
            if not events or not hours:
                continue
            first_sign_s = self._signs.setdefault(str(threshold), look.at)
            rate = per_unit_lower(events, hours, confidence)
            if rate > threshold.limit:
                why = f"{_events(threshold, events)} in {hours:.3g} chat-hours: more than {rate:.3g} per chat-hour"
                return Trouble("knee", str(threshold), first_sign_s, why)
        return None

    def _since_begun(self, look: Look) -> Facts:
        """Return what happened since the step began, with its exposure until this look."""
        facts = facts_of(look, self._begun, self._rules.timeout_s)
        facts.books.exposure_s = self._record.exposure.chat_hours * _HOUR_S
        return facts

    def _note_exposure(self, look: Look) -> None:
        """Add the chat-hours and drops since the last look."""
        record, last = self._record, self._last
        hours = (look.at - last.at) * (look.open + last.open) / 2 / _HOUR_S
        dropped, before = look.books.fates.dropped, last.books.fates.dropped
        new = DropExposure(dropped.most - before.most, hours, dropped.least - before.least)
        record.exposure += new
        if record.reached is not None and last.at >= record.reached + self._rules.timeout_s:
            record.proven += new

    def _note_signs(self, look: Look) -> None:
        """Note since which window each threshold has been broken without interruption."""
        # Once a window is enough, and less work: a window has all sessions.
        if look.at - self._watched.at < 0.9 * self._rules.window_s:
            return
        facts = facts_of(look, self._watched, self._rules.timeout_s)
        self._watched = look
        for threshold in self._thresholds:
            if is_hourly(threshold):
                continue
            name, value = str(threshold), observed(threshold.metric, facts)
            if value is None:
                continue
            if not threshold.holds(value):
                self._signs.setdefault(name, look.at)
            elif not is_fact(threshold):
                self._signs.pop(name, None)

    def _trouble(self, judgement: Judgement, look: Look) -> Trouble:
        threshold = judgement.threshold
        metric = threshold.metric
        limit = metric.subject == Verdict.REFUSED or metric.operation == "RequestChat"
        at = self._signs.get(str(threshold), look.at)
        measured = judgement.value is not None and (metric.kind == "rate" or metric.q is not None)
        why = _measured(judgement) if measured else judgement.why
        return Trouble("limit" if limit else "knee", str(threshold), at, why)

    # -- windows -----------------------------------------------------------------------------------

    def _cut_window(self, look: Look) -> None:
        window = self._window
        # A look may come a little early, and then the next would make the window twice as long.
        if window is None or look.at - window.at < 0.9 * self._rules.window_s:
            return
        made = look.books.since(window.books)
        successes = sum(by[Outcome.FINE] + by[Outcome.ENDED] for by in made.outcomes.values())
        self._record.rates.append(successes / (look.at - window.at))
        before, now = self._median, _latency(made, 0.5)
        if self._settled is None:
            differ = inf if before is None or now is None else abs(before - now)
            self._record.calm = differ <= max(ALIKE_S, ALIKE * max(before or 0.0, now or 0.0))
        self._median, self._window = now, look

    def _spoilt(self, look: Look, why: str) -> StepRecord:
        return self._over(look, "spoilt", Trouble("generator", "", look.at, why))

    def _over(self, look: Look, outcome: StepOutcome, trouble: Trouble | None) -> StepRecord:
        record = self._record
        record.outcome, record.ended, record.trouble = outcome, look.at, trouble
        if not record.judgements:
            facts = facts_of(look, self._begun, self._rules.timeout_s)
            record.judgements = [judge(t, facts) for t in self._thresholds if is_fact(t)]
        since = self._settled or self._begun
        made, whole = (look.books.since(earlier.books) for earlier in (since, self._begun))
        record.figures = {
            "latency_p50_s": _latency(made, 0.5),
            "latency_p95_s": _latency(made, 0.95),
            "refused": whole.verdicts[Verdict.REFUSED],
            "dropped": whole.fates.dropped.most,
            "lateness_p99_s": made.lateness.quantile(0.99),
            "cpu": _busiest(since, look),
            "stalled_s": made.stalled_s,
        }
        return record


def _is_met(judgement: Judgement, facts: Facts) -> bool | None:
    """Return whether what the step measured meets a threshold; None if there are too few samples to say."""
    threshold = judgement.threshold
    if judgement.result != ThresholdResult.INCONCLUSIVE:
        return judgement.result == ThresholdResult.PASS
    metric = threshold.metric
    if not judgement.samples or metric.kind == "count" or (metric.kind == "duration" and metric.q is None):
        return None
    asked = question(threshold, facts)
    share, limit = asked.share, asked.limit
    # Of sessions that are open it is not known what will become of them.
    allowed = limit * share.whole
    if min(allowed, share.whole - allowed) < LEAST_SAMPLES:
        return None
    return share.most <= allowed if asked.wants_low else share.least >= allowed


def _measured(judgement: Judgement) -> str:
    """Return what a rate or percentile was. The confidence of its judgement is left out: it needs independence."""
    metric, value = judgement.threshold.metric, judgement.value or 0.0
    beyond = "" if not judgement.beyond else "less than " if metric.subject == "margin" else "more than "
    if metric.kind == "rate":
        return f"it measured {beyond}{share_text(value)}, of {judgement.samples} samples"
    amount = f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
    # A percentile is known to the width of a bucket, so the samples beyond the limit decide.
    counted, _, _ = judgement.why.partition(";")
    return f"it measured {beyond}{amount}: {counted}"


def _latency(books: Books, q: float) -> float | None:
    """Return a quantile of the latency of GetMessages (seconds); None if there was none."""
    latency = books.latency.get("GetMessages")
    return None if latency is None else latency.figure(q)


def _events(threshold: Threshold, count: int) -> str:
    """Return a number of the events that a rate per chat-hour counts, in words."""
    subject = threshold.metric.subject
    if subject == DROPPED:
        return f"{count} {'drop' if count == 1 else 'drops'}"
    return f"{count} {'session' if count == 1 else 'sessions'} {subject}"


def is_hourly(threshold: Threshold) -> bool:
    """Return whether the threshold is about a rate per chat-hour."""
    return threshold.metric.kind == "hourly rate"


def is_fact(threshold: Threshold) -> bool:
    """Return whether the threshold is about a count, which is exact and needs no confidence."""
    return threshold.metric.kind == "count"


def facts_of(now: Look, since: Look, timeout_s: float) -> Facts:
    """Return what happened since another look, with the sessions that are open now.

    Open sessions count as sessions that are cut off with a confirmed goodbye. Those really cut off since then (when the
    load was reduced) are left out.
    """
    books = now.books.since(since.books)
    books.verdicts[Verdict.CUT_OFF] += now.open
    return Facts(books, timeout_s, now.open)


def lateness_limit(thresholds: Sequence[Threshold], rules: StepRules) -> float:
    """Return how late the generator's own refreshes may leave (p99, seconds) before a step says nothing of the server.

    It is half the lowest limit of a latency, at most a twentieth of the timeout, and at least 20 ms (timer resolution).
    """
    limits = [t.limit / 2 for t in thresholds if t.metric.kind == "duration" and t.metric.subject == "latency"]
    return max(0.02, min([*limits, 0.05 * rules.timeout_s]))


def generator_trouble(since: Look, now: Look, thresholds: Sequence[Threshold], rules: StepRules) -> str:
    """Return why the generator itself may have made the server look slow; empty if it cannot."""
    made, length = now.books.since(since.books), now.at - since.at
    late, allowed = made.lateness.quantile(0.99), lateness_limit(thresholds, rules)
    if late is not None and late > allowed:
        return f"its own refreshes left up to {late:.3g} s late (p99; at most {allowed:.3g} s are allowed)"
    busiest = _busiest(since, now)
    if busiest is not None and busiest > CPU_LIMIT:
        return f"its busiest process used {busiest:.0%} of a core"
    if made.stalled_s > STALLED_LIMIT * length * max(len(now.cpu_s), 1):
        return f"it was stalled for {made.stalled_s:.3g} of {length:.3g} s"
    if made.suspects:
        return "its own lateness could have caused a drop"
    return ""


def _busiest(since: Look, now: Look) -> float | None:
    """Return the CPU of the busiest generator process as a share of a core; None if it is not known."""
    length = now.at - since.at
    known = now.cpu_s.keys() & since.cpu_s.keys() if length > 0 else ()
    return max(((now.cpu_s[who] - since.cpu_s[who]) / length for who in known), default=None)
