"""The capacity search: which load is held, which is not, and what limits it.

A state machine without a clock: called about once a second with a Look, it returns how many sessions are wanted.

1. **Doubles** from `start` until a load is not held, or the generator's own limit is reached.
2. **Narrows** between the highest load held and the lowest that was not: where chats were refused it tries the
   most that were open at once then, and goes up from there by 1, 2, 4...; else it halves.
3. **Confirms**: holds the answer once more, long enough for a drop to show. If that fails the answer is lower.

After a load that was not held it **recovers** first: a Chat Server whose limit has refused a chat refuses more chats
until it is below limits-restore-threshold (80 %) of the limit, and a queue must become empty. A step that the generator
itself disturbed ("spoilt") says nothing about the server and is repeated. If it is spoilt again and again, the search
ends without a claim.

A load is *held* if so many sessions were open at once and every threshold passed. The answer is a bracket:
the highest load held, and the lowest load above it that was not.

One step of the search puts a load on, lets it settle, and judges it. It goes through three phases, each bounded:

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
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from chatload.errors import UsageError
from chatload.run.books import Books
from chatload.swarm.checks import planned_rate
from chatload.thresholds.judgement import Judgement, judge
from chatload.thresholds.metrics import Facts, Threshold, parse
from chatload.vocabulary import Outcome, SessionState, Verdict

if TYPE_CHECKING:
    from chatload.swarm.plan import RunPlan

#: A recovering server is given this part of the sessions it could not hold, or of those it held.
RECOVER_TO = 0.5
#: How often a step is repeated that the generator spoilt, and how often an answer may fail to be confirmed.
REPEATS, CONFIRMATIONS = 3, 3
#: Maximum number of steps of a search.
MOST_STEPS = 60

_LEAST_HOLD_S = 10.0
#: Maximum number of sessions if neither --max-sessions nor chatload.toml sets one.
MOST_SESSIONS = 1000

StepOutcome = Literal["held", "not held", "undecided", "spoilt"]
#: Why a load was not held.
Cause = Literal["limit", "knee", "generator", "undecided"]
#: What ended a search.
Kind = Cause | Literal["stopped"]

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


def rules_of(plan: RunPlan) -> StepRules:
    """Return the rules of the search that a plan asks for. Raises UsageError."""
    policy, run = plan.settings.policy, plan.run
    start = run.start_sessions or 1
    ceiling = MOST_SESSIONS if plan.rules.max_sessions is None else plan.rules.max_sessions
    if plan.rules.max_requests_per_s is not None:
        ceiling = min(ceiling, int(plan.rules.max_requests_per_s / planned_rate(1, plan.settings)))
    if ceiling < start:
        message = f"--start-sessions {start} is above the ceiling of {ceiling} sessions"
        raise UsageError(message, plan.rules.origin("max_sessions"))
    hold = run.step_hold or max(_LEAST_HOLD_S, 3 * policy.interval_s)
    percent = run.resolution or 5.0
    if percent > 50:
        raise UsageError(f"--resolution {percent:g} is above 50 %")
    return StepRules(
        start=start,
        ceiling=ceiling,
        interval_s=policy.interval_s,
        timeout_s=policy.timeout_s,
        hold_s=hold,
        bound_s=run.step_bound or 6 * hold,
        resolution=percent / 100,
        thresholds=plan.gate.thresholds,
        confidence=plan.gate.confidence,
    )


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


@dataclass
class StepRecord:
    """The result of one step. Instants are as in Look, None if the step did not get so far. calm: latency had become
    steady. open_most: the most sessions seen open at once. rates: successful requests per second in each window since
    the load was reached."""

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
        self._median: float | None = None
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
            return self._spoilt(look, spoilt) if spoilt else self._over(look, "not held", trouble)
        if record.reached is None:
            return self._rise(look)
        self._cut_window(look)
        if self._settled is not None:
            return self._hold(look, self._settled)
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

    def _hold(self, look: Look, settled: Look) -> StepRecord | None:
        rules = self._rules
        least = rules.confirming_s if self.purpose == "confirm" else rules.hold_s
        if look.at - settled.at < least * 2**self._judged:
            return None
        self._judged += 1
        confidence = 1 - (1 - rules.confidence) / JUDGEMENTS
        whole, calm = (facts_of(look, since, rules.timeout_s) for since in (self._begun, settled))
        judgements = [judge(t, whole if is_fact(t) else calm, confidence) for t in self._thresholds]
        self._record.judgements = judgements
        results = {judgement.result for judgement in judgements}
        if "inconclusive" in results and "fail" not in results and self._judged < JUDGEMENTS:
            return None
        if results <= {"pass"}:
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
        for judgement in judgements:
            if judgement.result == "fail":
                return self._over(look, "not held", self._trouble(judgement, look))
        open_one = next(judgement for judgement in judgements if judgement.result == "inconclusive")
        trouble = Trouble("undecided", str(open_one.threshold), look.at, open_one.why)
        return self._over(look, "undecided", trouble)

    # -- judging -----------------------------------------------------------------------------------

    def _broken_fact(self, look: Look) -> Judgement | None:
        """Return the judgement of a count that exceeds its limit; a later look cannot change it. None if none does."""
        facts = facts_of(look, self._begun, self._rules.timeout_s)
        for threshold in self._thresholds:
            if is_fact(threshold) and threshold.op in ("<", "<=", "=="):
                judgement = judge(threshold, facts)
                if judgement.value is not None and threshold.is_lost(judgement.value):
                    return judgement
        return None

    def _note_signs(self, look: Look) -> None:
        """Note since when each threshold has been broken without interruption."""
        facts = facts_of(look, self._last, self._rules.timeout_s)
        for threshold in self._thresholds:
            name, value = str(threshold), judge(threshold, facts).value
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
        return Trouble("limit" if limit else "knee", str(threshold), at, judgement.why)

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


def _latency(books: Books, q: float) -> float | None:
    """Return a quantile of the latency of GetMessages (seconds); None if there was none."""
    latency = books.latency.get("GetMessages")
    return None if latency is None else latency.figure(q)


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


# -- from step to step ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """The result of a search.

    kind: whose limit it is: "limit", the server refuses more; "knee", it gets slow or drops; "generator", no claim
    about the server is made beyond what was held; "undecided", too few samples; "stopped", before its end.
    held: the highest load held, 0 for none. not_held: the lowest above it that was not shown to be held, None where
    none was tried. failed: the lowest above it at which a threshold failed, and trouble what broke there; loads
    between not_held and failed were undecided. confirmed: `held` was held a second time. why: one sentence where the
    search ended for another reason than having its answer.
    """

    kind: Kind
    held: int
    not_held: int | None
    failed: int | None
    confirmed: bool
    trouble: Trouble | None
    why: str = ""

    @property
    def is_claim(self) -> bool:
        """Whether it says more of the server than that it held what it held."""
        return self.kind in ("limit", "knee") and self.confirmed


class CapacitySearch:
    """One search. Call `look` with the state of the run until `result` is set."""

    def __init__(self, rules: StepRules) -> None:
        self.rules = rules
        self.thresholds: tuple[Threshold, ...] = rules.thresholds or FACTS
        self.steps: list[StepRecord] = []
        self.result: Result | None = None
        self.wanted = 0
        self._own_latency = not rules.thresholds
        self._step: Step | None = None
        self._recovering: _Recovery | None = None
        self._held: list[StepRecord] = []
        self._undecided: list[StepRecord] = []
        self._failed: StepRecord | None = None
        self._tried: dict[int, int] = {}
        self._climb_by = 1
        self._unconfirmed = 0

    def look(self, look: Look) -> int | None:
        """Return how many sessions are wanted now; None if there is a result."""
        if self.result is not None:
            return None
        if self._recovering is not None:
            if self._recovering.over(look, self.thresholds, self.rules):
                self._begin(look, *self._recovering.then)
        elif self._step is None:
            self._begin(look, min(self.rules.start, self.rules.ceiling), "first")
        else:
            record = self._step.look(look)
            if record is not None:
                self._learn(record, look)
        return None if self.result is not None else self.wanted

    def stop(self) -> Result:
        """End the search now; return its result, or what is known so far."""
        if self.result is None:
            self._finish("stopped", "it was stopped before it was done")
        assert self.result is not None
        return self.result

    @property
    def held(self) -> int:
        """The highest load held so far, below any that failed."""
        return max((step.load for step in self._held), default=0)

    @property
    def not_held(self) -> int | None:
        """The lowest load above `held` that was not shown to be held."""
        tried = [*self._undecided, *([] if self._failed is None else [self._failed])]
        return min((step.load for step in tried if step.load > self.held), default=None)

    def _begin(self, look: Look, load: int, purpose: str) -> None:
        self._recovering, self.wanted = None, load
        self._step = Step(self.rules, self.thresholds, load, purpose, look)

    def _learn(self, record: StepRecord, look: Look) -> None:
        self.steps.append(record)
        if record.outcome == "spoilt":
            self._spoilt(record, look)
        elif record.outcome == "held":
            if self._own_latency:
                # At the first load held the server has little to do: the limit of the latency follows from it.
                self._own_latency = False
                p95_s = record.figures["latency_p95_s"]
                if p95_s is not None:
                    limit_s = max(LATENCY_LEAST_S, LATENCY_FACTOR * p95_s)
                    self.thresholds = (*self.thresholds, parse(f"{LATENCY} < {round(1000 * limit_s)}ms"))
            self._held.append(record)
            if record.purpose == "confirm":
                self._finish(self._kind(), confirmed=True)
            else:
                self._go_on(look, record)
        else:
            self._climb_by = 1
            if record.outcome == "not held":
                self._failed = record
            else:
                self._undecided.append(record)
            self._held = [step for step in self._held if step.load < record.load]
            self._unconfirmed += record.purpose == "confirm"
            self._go_on(look, record)

    def _spoilt(self, record: StepRecord, look: Look) -> None:
        tried = self._tried[record.load] = self._tried.get(record.load, 0) + 1
        if tried <= REPEATS and len(self.steps) < MOST_STEPS:
            # A disturbance of the generator often lasts, so each repeat comes after a longer rest.
            self._recover(look, record, record.load, record.purpose, (tried - 1) * self.rules.hold_s)
            return
        assert record.trouble is not None
        why = f"at {record.load} sessions {record.trouble.why}, {tried} times"
        # If the server itself did not hold a load, that stays true: the generator is not the limit.
        self._finish(self._kind() if self._failed is not None else "generator", why, by=record)

    def _go_on(self, look: Look, last: StepRecord) -> None:
        if len(self.steps) >= MOST_STEPS or self._unconfirmed > CONFIRMATIONS:
            self._finish("undecided", "what was held was not held again, time after time")
            return
        planned = self._next(last)
        if planned is None:
            return
        if last.outcome == "held" and planned[0] > last.load:
            self._begin(look, *planned)
        else:
            self._recover(look, last, *planned)

    def _next(self, last: StepRecord) -> tuple[int, str] | None:
        """Return the next load and its purpose; None if there is a result instead."""
        held, failed, not_held, rules = self.held, self._failed, self.not_held, self.rules
        if failed is None or not_held is None:
            # A load can be undecided for lack of samples. A higher load has more samples.
            if last.load >= rules.ceiling:
                self._finish("generator", f"it was not allowed to open more than {rules.ceiling} sessions")
                return None
            return min(2 * last.load, rules.ceiling), "double"
        refused = self._kind() == "limit" and not_held == failed.load
        if not_held - held <= (1 if refused else max(1, int(rules.resolution * held))):
            if held:
                return held, "confirm"
            self._finish(self._kind(), f"not even {not_held} could be held")
            return None
        # If not even the plateau was held, a limit alone does not explain the refusals: then halve.
        if refused and held < failed.open_most < failed.load and failed.purpose != "plateau":
            return failed.open_most, "plateau"
        if refused and failed.open_most <= held:
            load = min(held + self._climb_by, not_held - 1)
            self._climb_by *= 2
            return load, "climb"
        return (held + not_held) // 2, "halve"

    def _recover(self, look: Look, after: StepRecord, load: int, purpose: str, rest_s: float = 0.0) -> None:
        stood = [n for n in (self.held, after.open_most) if n]
        down = max(1, int(RECOVER_TO * min([*stood, load])))
        self._step, self.wanted = None, min(down, load)
        self._recovering = _Recovery(look, self.wanted, (load, purpose), rest_s)

    # -- the end -----------------------------------------------------------------------------------

    def _kind(self) -> Kind:
        trouble = None if self._failed is None else self._failed.trouble
        return "undecided" if trouble is None else trouble.cause

    def _finish(self, kind: Kind, why: str = "", confirmed: bool = False, by: StepRecord | None = None) -> None:
        failed = self._failed
        undecided = next((step for step in self._undecided if step.load == self.not_held), None)
        at = failed or by or undecided
        if kind == "limit" and failed is not None and failed.load > self.held + 1:
            # Refusals at that load do not show why lower loads were not held.
            kind, confirmed = "undecided", False
            why = f"between {self.held} and {failed.load} sessions it was not decided what could be held"
        self._step = self._recovering = None
        self.result = Result(
            kind, self.held, self.not_held, None if failed is None else failed.load,
            confirmed, None if at is None else at.trouble, why,
        )  # fmt: skip


@dataclass
class _Recovery:
    """Fewer sessions for a while, at least rest_s seconds, until the server meets the thresholds again.

    then: the next load and its purpose. down: the last look at so few sessions.
    """

    begun: Look
    load: int
    then: tuple[int, str]
    rest_s: float
    down: Look | None = None

    def over(self, look: Look, thresholds: tuple[Threshold, ...], rules: StepRules) -> bool:
        """Return whether all thresholds held for a refresh interval, or the allowed time has passed."""
        made, lasted_s = look.books.since(self.begun.books), look.at - self.begun.at
        # A chat without a confirmed goodbye stays open at the server until the timeout.
        gone, confirmed = made.verdicts[Verdict.CUT_OFF], made.outcomes.get("Disconnect", Counter())[Outcome.ENDED]
        rest_s = max(self.rest_s, rules.timeout_s if gone > confirmed else 0.0)
        if lasted_s >= rules.bound_s + rest_s:
            return True
        if look.open + look.opening > self.load or lasted_s < rest_s:
            return False
        if self.down is None:
            self.down = look
        if look.at - self.down.at < 0.9 * rules.window_s:
            return False
        facts = facts_of(look, self.down, rules.timeout_s)
        self.down = look
        values = ((threshold, judge(threshold, facts).value) for threshold in thresholds)
        return all(value is None or threshold.holds(value) for threshold, value in values)
