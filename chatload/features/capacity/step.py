"""One step of a capacity search: a load is put on, left to settle, and judged.

A step goes through three phases, each bounded:

- **rise**: until so many sessions are open at once;
- **settle**: until all were refreshed twice, and the median latency of GetMessages in one refresh interval
  differs from that of the interval before by at most a fifth, or 5 ms;
- **hold**: for `hold_s`, and where that leaves a threshold undecided for twice and four times that.

Counts, such as `refused.count == 0`, are facts: they are judged from the step's start, at every look. Rates and
percentiles are judged from the instant at which the step had settled, and only at the ends of the hold. That is up to
JUDGEMENTS times, so each judgement has a higher confidence: all of them together have the requested one (Bonferroni).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chatload.run.books import Books
from chatload.thresholds.judgement import COMPARE, Judgement, judge
from chatload.thresholds.metrics import Facts, Op, Threshold, parse
from chatload.vocabulary import Outcome, SessionState, Verdict

StepOutcome = Literal["held", "not held", "undecided", "spoilt"]
#: Why a load was not held.
Cause = Literal["limit", "knee", "generator", "undecided"]

#: What must hold at every step where no thresholds are given; and, from the first step's own latency on, LATENCY.
FACTS = tuple(
    parse(text)
    for text in ("refused.count == 0", "dropped.count == 0", "gave_up.count == 0", "GetMessages.unsuccessful.rate < 5%")
)
LATENCY = "GetMessages.latency.p95"
#: The limit of LATENCY: this many times its value at the first step, and at least this long (seconds).
LATENCY_FACTOR, LATENCY_LEAST_S = 3.0, 0.1
#: A hold is judged at 1, 2 and 4 times its length, then no more.
JUDGEMENTS = 3
#: Two windows are alike where their medians differ by no more than this share, or by this much (seconds).
ALIKE, ALIKE_S = 0.2, 0.005
#: The generator is at its limit if it uses more than this share of a core, or is stalled for more than this share of
#: the time.
CPU_LIMIT, STALLED_LIMIT = 0.9, 0.05
#: A load was applied if its refreshes left late by at most this part of their interval on average: at most this part
#: of the requests is missing.
LATE_LIMIT = 0.1


@dataclass(frozen=True)
class StepRules:
    """The parameters of a capacity search.

    start: sessions of the first step. ceiling: the most it may open. interval_s: between two refreshes of a
    session. timeout_s: the flex-disconnect-timeout. hold_s: how long a step is held at least once it has settled.
    bound_s: the longest that rising (beside the spread of the new sessions), settling and recovering may take.
    resolution: how near the two ends of a knee's bracket must be, as a share. thresholds: what must hold; none is
    FACTS and LATENCY. confidence: of a step's judgement.
    """

    start: int = 10
    ceiling: int = 1000
    interval_s: float = 3.0
    timeout_s: float = 45.0
    hold_s: float = 10.0
    bound_s: float = 60.0
    resolution: float = 0.05
    thresholds: tuple[Threshold, ...] = ()
    confidence: float = 0.95

    @property
    def window_s(self) -> float:
        """Length of the windows that are compared (seconds): every session is refreshed in each."""
        return max(self.interval_s, 1.0)

    @property
    def confirming_s(self) -> float:
        """Length of the last hold, which confirms the answer (seconds): a drop shows only after the timeout."""
        return max(self.hold_s, self.timeout_s + self.interval_s)


@dataclass(frozen=True)
class Look:
    """The state of the run at one instant. at: seconds, monotonic clock. books: counters so far, never changed
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
    """Why a load was not held. metric: the threshold it broke, empty where it is none. at: of the first sign,
    on the looks' clock. why: one sentence."""

    cause: Cause
    metric: str
    at: float
    why: str


@dataclass
class StepRecord:
    """The result of one step. Instants are on the looks' clock, None if the step did not get so far. calm: latency had
    become steady. open_most: the most sessions seen open at once. rates: successful requests per second in each window
    since the load was reached."""

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
    judgements: list[Judgement] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


class Step:
    """A step that is active. Call `look` until it returns the record."""

    def __init__(self, rules: StepRules, thresholds: Sequence[Threshold], load: int, purpose: str, look: Look) -> None:
        self.load, self.purpose = load, purpose
        self._rules, self._thresholds = rules, thresholds
        self._record = StepRecord(load, purpose, look.at)
        self._begun = self._last = look
        self._rising_until = look.at + rules.bound_s + 2 * rules.window_s
        self._window: Look | None = None
        self._medians: list[float | None] = []
        self._settled: Look | None = None
        self._judged = 0
        self._signs: dict[str, float] = {}

    def look(self, look: Look) -> StepRecord | None:
        """Return the step's record when it has ended, None before."""
        record, rules = self._record, self._rules
        record.open_most = max(record.open_most, look.open)
        self._note_signs(look)
        self._last = look
        broken = self._broken_fact(look)
        if broken is not None:
            trouble = self._trouble(broken, look)
            # A chat that is refused is refused by the server; one that is dropped may have been refreshed too late.
            spoilt = "" if trouble.cause == "limit" else generator_trouble(self._begun, look, self._thresholds, rules)
            if spoilt:
                return self._over(look, "spoilt", Trouble("generator", "", look.at, spoilt))
            return self._over(look, "not held", trouble)
        if record.reached is None:
            return self._rise(look)
        self._cut_window(look)
        if self._settled is None:
            self._settle(look)
            return None
        return self._hold(look)

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
            return self._over(look, "spoilt", Trouble("generator", "", look.at, why))
        why = f"only {look.open} of {self.load} sessions could be opened within {look.at - self._begun.at:.3g} s"
        cause: Cause = "limit" if refused else "knee"
        return self._over(look, "not held", Trouble(cause, "RequestChat", look.at, why))

    def _settle(self, look: Look) -> None:
        record, reached = self._record, self._record.reached
        assert reached is not None
        record.calm = len(self._medians) >= 2 and _alike(self._medians[-2], self._medians[-1])
        if record.calm or look.at - reached >= self._rules.bound_s:
            record.settled = look.at
            self._settled = look

    def _hold(self, look: Look) -> StepRecord | None:
        settled = self._settled
        assert settled is not None
        rules = self._rules
        least = rules.confirming_s if self.purpose == "confirm" else rules.hold_s
        if look.at - settled.at < least * 2**self._judged:
            return None
        self._judged += 1
        judgements = self._judge(look, 1 - (1 - rules.confidence) / JUDGEMENTS)
        self._record.judgements = judgements
        results = {judgement.result for judgement in judgements}
        if "inconclusive" in results and "fail" not in results and self._judged < JUDGEMENTS:
            return None
        if results <= {"pass"}:
            slack = load_not_applied(settled, look, rules)
            return self._over(look, "spoilt" if slack else "held", Trouble("generator", "", look.at, slack))
        spoilt = generator_trouble(settled, look, self._thresholds, rules)
        if spoilt:
            return self._over(look, "spoilt", Trouble("generator", "", look.at, spoilt))
        for judgement in judgements:
            if judgement.result == "fail":
                return self._over(look, "not held", self._trouble(judgement, look))
        open_one = next(judgement for judgement in judgements if judgement.result == "inconclusive")
        trouble = Trouble("undecided", str(open_one.threshold), look.at, open_one.why)
        return self._over(look, "undecided", trouble)

    # -- judging -----------------------------------------------------------------------------------

    def _judge(self, look: Look, confidence: float) -> list[Judgement]:
        assert self._settled is not None
        whole = facts_of(look, self._begun, self._rules.timeout_s)
        calm = facts_of(look, self._settled, self._rules.timeout_s)
        return [judge(t, whole if is_fact(t) else calm, confidence) for t in self._thresholds]

    def _broken_fact(self, look: Look) -> Judgement | None:
        """Return the judgement of a count that exceeds its limit; a later look cannot change it. None if none does."""
        facts = facts_of(look, self._begun, self._rules.timeout_s)
        for threshold in self._thresholds:
            if is_fact(threshold) and threshold.op in _MOST:
                judgement = judge(threshold, facts)
                # A count that must equal a number may still reach it while it is below.
                if judgement.value is not None and not COMPARE[_MOST[threshold.op]](judgement.value, threshold.limit):
                    return judgement
        return None

    def _note_signs(self, look: Look) -> None:
        """Note since when each threshold has been broken without interruption."""
        facts = facts_of(look, self._last, self._rules.timeout_s)
        for threshold in self._thresholds:
            name, value = str(threshold), judge(threshold, facts).value
            if value is None:
                continue
            if not COMPARE[threshold.op](value, threshold.limit):
                self._signs.setdefault(name, look.at)
            elif not is_fact(threshold):
                self._signs.pop(name, None)

    def _trouble(self, judgement: Judgement, look: Look) -> Trouble:
        threshold = judgement.threshold
        metric = threshold.metric
        limit = metric.subject == Verdict.REFUSED or metric.operation == "RequestChat"
        at = self._signs.get(str(threshold), look.at)
        return Trouble("limit" if limit else "knee", str(threshold), at, judgement.why)

    # -- windows -----------------------------------------------------------------------------------

    def _cut_window(self, look: Look) -> None:
        window = self._window
        # A look may come a little early, and then the next would make the window twice as long.
        if window is None or look.at - window.at < 0.9 * self._rules.window_s:
            return
        made = look.books.since(window.books)
        latency = made.latency.get("GetMessages")
        self._medians.append(None if latency is None else latency.figure(0.5))
        self._record.rates.append(_successes(made) / (look.at - window.at))
        self._window = look

    def _over(self, look: Look, outcome: StepOutcome, trouble: Trouble | None) -> StepRecord:
        record = self._record
        record.outcome, record.ended = outcome, look.at
        record.trouble = None if outcome == "held" else trouble
        if not record.judgements:
            facts = facts_of(look, self._begun, self._rules.timeout_s)
            record.judgements = [judge(t, facts) for t in self._thresholds if is_fact(t)]
        since = self._settled or self._begun
        made = look.books.since(since.books)
        whole = look.books.since(self._begun.books)
        latency = made.latency.get("GetMessages")
        record.figures = {
            "latency_p50_s": None if latency is None else latency.figure(0.5),
            "latency_p95_s": None if latency is None else latency.figure(0.95),
            "refused": whole.verdicts[Verdict.REFUSED],
            "dropped": whole.fates.dropped.most,
            "lateness_p99_s": made.lateness.quantile(0.99),
            "cpu": _busiest(since, look),
            "stalled_s": made.stalled_s,
        }
        return record


_MOST: Mapping[Op, Op] = {"<": "<", "<=": "<=", "==": "<="}


def is_fact(threshold: Threshold) -> bool:
    """Return whether the threshold is about a count, which is exact and needs no confidence."""
    return threshold.metric.kind == "count"


def facts_of(now: Look, since: Look, timeout_s: float) -> Facts:
    """Return what happened since another look, with the sessions that are open now.

    Open sessions are alive, like sessions cut off with a confirmed goodbye, and are counted as such. Those really cut
    off since then (when the load was reduced) are left out.
    """
    books = now.books.since(since.books)
    books.verdicts[Verdict.CUT_OFF] += now.open
    return Facts(books, timeout_s, now.open)


def latency_limit(thresholds: Sequence[Threshold]) -> float | None:
    """Return the lowest limit of a latency (seconds), None if there is none."""
    limits = [t.limit for t in thresholds if t.metric.kind == "duration" and t.metric.subject == "latency"]
    return min(limits, default=None)


def lateness_limit(thresholds: Sequence[Threshold], rules: StepRules) -> float:
    """Return how late the generator's own refreshes may leave (p99, seconds) before a step says nothing of the server.

    It is half the lowest limit of a latency, at most a twentieth of the timeout, and at least 20 ms (timer resolution).
    """
    limit = latency_limit(thresholds)
    return max(0.02, 0.05 * rules.timeout_s if limit is None else min(limit / 2, 0.05 * rules.timeout_s))


def load_not_applied(since: Look, now: Look, rules: StepRules) -> str:
    """Return why the load was not applied as planned; empty if it was.

    A late generator can make a server look slow, never fast. So a load that is held under a late generator is held, if
    the requests were sent.
    """
    lateness, allowed = now.books.since(since.books).lateness, LATE_LIMIT * rules.interval_s
    late = lateness.total_us / 1e6 / max(lateness.count, 1)
    if late > allowed:
        return f"its own refreshes left {late:.3g} s late on average (at most {allowed:.3g} s are allowed)"
    return ""


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


def _alike(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return False
    return abs(one - other) <= max(ALIKE_S, ALIKE * max(one, other))


def _successes(books: Books) -> int:
    return sum(by[Outcome.FINE] + by[Outcome.ENDED] for by in books.outcomes.values())
