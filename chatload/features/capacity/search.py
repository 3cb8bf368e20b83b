"""The capacity search: how many sessions the server holds, as an interval, and what limits it.

A state machine without a clock: called about once a second with a Look, it returns how many sessions are wanted.

1. **Doubles** from `start` until a load is not held, or the generator's own limit is reached.
2. **Narrows**. If a load was not held because the server is slow, fails or drops chats (a knee), loads near the knee
   are tried again and again: the same load may be held in one step and not in the next. All steps together give a curve
   of the chance to hold against load, and an interval for the load at which it is one half (`chatload.stats.response`).
   The next load is the one that tells most about it. If chats were refused (a limit), the search tries the most that
   were open at once then, goes up from there by 1, 2, 4..., and tries the load that was refused once more.
3. **Confirms**: holds the lower end of the interval for a long time, which bounds the drops per chat-hour. If it is not
   held, the search goes on.

After a load that was not held it **recovers** first: a Chat Server whose limit has refused a chat refuses more chats
until it is below limits-restore-threshold (80 %) of the limit, and a queue must become empty. A step that the generator
itself disturbed ("spoilt") says nothing about the server and is repeated. If it is spoilt again and again, the search
ends without a claim.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from chatload.errors import UsageError
from chatload.features.capacity.certificate import Certificate, certify_knee, certify_limit, drops_depend_on_load
from chatload.features.capacity.step import (
    CONFIRM,
    LATENCY,
    LATENCY_FACTOR,
    LATENCY_LEAST_S,
    STANDARD,
    Cause,
    Look,
    Step,
    StepRecord,
    StepRules,
    Trouble,
    facts_of,
    is_hourly,
)
from chatload.stats.response import ResponseCurve
from chatload.swarm.checks import planned_rate
from chatload.thresholds.judgement import observed
from chatload.thresholds.metrics import Threshold, parse
from chatload.vocabulary import Outcome, Verdict

if TYPE_CHECKING:
    from chatload.swarm.plan import RunPlan

#: A recovering server is given this part of the sessions it could not hold, or of those it held.
RECOVER_TO = 0.5
#: How often a step is repeated that the generator spoilt or that had too few samples, and how often an answer may fail
#: to be confirmed.
REPEATS, CONFIRMATIONS = 3, 3
#: Maximum number of steps of a search.
MOST_STEPS = 100
#: The least number of steps that decide between loads near a knee.
LEAST_TRIALS = 8
#: No load is tried above this many times the highest load held.
_FURTHEST = 2

_LEAST_HOLD_S = 10.0
#: Maximum number of sessions if neither --max-sessions nor chatload.toml sets one.
MOST_SESSIONS = 1000
_RESOLUTION_PERCENT = 10.0

#: What ended a search.
Kind = Cause | Literal["stopped"]


def rules_of(plan: RunPlan) -> StepRules:
    """Return the rules of the search that a plan asks for. Raises UsageError."""
    policy, run = plan.settings.policy, plan.run
    start = run.start_sessions or 1
    ceiling = MOST_SESSIONS if plan.rules.max_sessions is None else plan.rules.max_sessions
    if plan.rules.max_requests_per_s is not None:
        rate = sum(share * planned_rate(1, settings) for share, settings in plan.mix)
        ceiling = min(ceiling, int(plan.rules.max_requests_per_s / rate))
    if ceiling < start:
        message = f"--start-sessions {start} is above the ceiling of {ceiling} sessions"
        raise UsageError(message, plan.rules.origin("max_sessions"))
    hold = run.step_hold or max(_LEAST_HOLD_S, 3 * policy.interval_s)
    percent = run.resolution or _RESOLUTION_PERCENT
    if percent > 50:
        raise UsageError(f"--resolution {percent:g} is above 50 %")
    if plan.gate.confidence <= 0.5:
        raise UsageError("--confidence 50 makes no interval of the capacity", "95 is usual")
    for threshold in plan.gate.thresholds:
        _check_threshold(threshold)
    return StepRules(
        start=start,
        ceiling=ceiling,
        interval_s=policy.interval_s,
        timeout_s=policy.timeout_s,
        hold_s=hold,
        bound_s=run.step_bound or 6 * hold,
        confirm_s=run.confirm_hold,
        resolution=percent / 100,
        thresholds=plan.gate.thresholds,
        confidence=plan.gate.confidence,
        run_time_s=run.run_time,
    )


def _check_threshold(threshold: Threshold) -> None:
    """Raise UsageError if no step can judge a threshold."""
    metric = threshold.metric
    instead = "leave it out (--gate standard may have it), or give dropped.per_chat_hour < 0.2"
    if threshold.user_class:
        why = "each step is judged by all chats together"
        instead = f"write it without `{threshold.user_class}:`, or search with this class alone"
    elif threshold.every_s is not None:
        why = "each step is judged as a whole"
        instead = f"write it without `in every`: {replace(threshold, every_s=None)}"
    elif metric.of_incidents:
        why = "incidents are found when the run has ended"
    elif metric.age_s is not None:
        why = "the ages of chats are read when the run has ended"
    elif metric.subject == Verdict.CUT_OFF:
        why, instead = "the search itself cuts chats off when it reduces the load", "leave it out"
    elif is_hourly(threshold) and not threshold.wants_low:
        why = "a step is too short to prove that a rate per chat-hour is above a limit"
        instead = "leave it out, or write <"
    else:
        return
    raise UsageError(f"a capacity search cannot judge {threshold}: {why}", instead)


@dataclass(frozen=True)
class Result:
    """The result of a search.

    kind: whose limit it is: "limit", the server refuses more; "knee", it gets slow or drops; "generator", no claim
    about the server is made beyond what was held; "undecided", too few samples; "stopped", before its end.
    held: the load that was confirmed, or else the highest load held; 0 for none. failed: the lowest load above it at
    which a threshold failed, and trouble what broke there. confirmed: `held` was held to the end of the last step.
    capacity: what the steps say together; None where no claim is made. why: one sentence where the search ended for
    another reason than having its answer.
    """

    kind: Kind
    held: int
    failed: int | None
    confirmed: bool
    trouble: Trouble | None
    capacity: Certificate | None = None
    why: str = ""

    @property
    def is_claim(self) -> bool:
        """Whether it says more of the server than that it held what it held."""
        return self.capacity is not None


class CapacitySearch:
    """One search. Call `look` with the state of the run until `result` is set."""

    def __init__(self, rules: StepRules) -> None:
        self.rules = rules
        self.thresholds: tuple[Threshold, ...] = rules.thresholds or STANDARD
        self.steps: list[StepRecord] = []
        self.result: Result | None = None
        self.wanted = 0
        self._latencies: list[float] = []
        self._step: Step | None = None
        self._recovering: _Recovery | None = None
        # Half a session: not even one is held. Twice the ceiling: a load up to it may be held by chance.
        self._curve = ResponseCurve(0.5, 2.0 * rules.ceiling)
        # The latest step that was not held, and the latest at which chats were refused.
        self._failed: StepRecord | None = None
        self._refused: StepRecord | None = None
        self._trials = 0
        self._spoilt_at: dict[int, int] = {}
        self._climb_by = 1
        self._refused_again = False
        self._undecided = self._unconfirmed = 0

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
            self._end("stopped", f"it was stopped before it was done{self._so_far()}")
        assert self.result is not None
        return self.result

    def _so_far(self) -> str:
        """Return what the steps say of a knee that is not confirmed, as the end of a sentence; empty if nothing."""
        if not self._trials:
            return ""
        low, high = self._curve.interval(self.rules.interval_confidence)
        sure = f"{100 * self.rules.interval_confidence:.3g} % confidence"
        return f"; so far its steps say {math.floor(low)} to {math.ceil(high)} sessions with {sure}, not confirmed"

    def _held_below(self, load: float) -> int:
        """Return the highest load held below another; 0 for none."""
        return max((step.load for step in self.steps if step.is_held and step.load < load), default=0)

    @property
    def held(self) -> int:
        """The highest load held so far."""
        return self._held_below(math.inf)

    def _begin(self, look: Look, load: int, purpose: str) -> None:
        self._recovering, self.wanted = None, load
        self._step = Step(self.rules, self.thresholds, load, purpose, look)

    def _learn(self, record: StepRecord, look: Look) -> None:
        self.steps.append(record)
        if record.outcome == "spoilt":
            self._spoilt(record, look)
            return
        if record.is_trial:
            self._curve.add(record.load, record.is_held)
        if record.is_held:
            self._learn_latency(record)
        else:
            self._climb_by = 1
        if record.outcome == "not held":
            self._failed = record
            if record.trouble is not None and record.trouble.cause == "limit":
                self._refused_again = self._refused is not None and self._refused.load == record.load
                self._refused = record
        self._unconfirmed += record.purpose == CONFIRM and not record.is_held
        self._undecided += record.outcome == "undecided" and self._failed is not None
        self._go_on(look, record)

    def _learn_latency(self, record: StepRecord) -> None:
        """Set the limit of the latency by the first two loads held, at which the server has little to do.

        The lower latency of the two counts: a short disturbance of one of them must not raise the limit.
        """
        p95_s = record.figures["latency_p95_s"]
        if self.rules.thresholds or len(self._latencies) >= 2 or p95_s is None:
            return
        self._latencies.append(p95_s)
        limit_s = max(LATENCY_LEAST_S, LATENCY_FACTOR * min(self._latencies))
        self.thresholds = (*STANDARD, parse(f"{LATENCY} < {round(1000 * limit_s)}ms"))

    def _spoilt(self, record: StepRecord, look: Look) -> None:
        tried = self._spoilt_at[record.load] = self._spoilt_at.get(record.load, 0) + 1
        if tried <= REPEATS and len(self.steps) < MOST_STEPS:
            # A disturbance of the generator often lasts, so each repeat comes after a longer rest.
            self._recover(look, record, record.load, record.purpose, (tried - 1) * self.rules.hold_s)
            return
        assert record.trouble is not None
        self._end("generator", f"at {record.load} sessions {record.trouble.why}, {tried} times", by=record)

    def _go_on(self, look: Look, last: StepRecord) -> None:
        if self._unconfirmed > CONFIRMATIONS:
            self._end("undecided", "what was held was not held again, time after time")
        elif self._undecided > REPEATS:
            assert last.trouble is not None
            self._end("undecided", f"at {last.load} sessions {last.trouble.why}", by=last)
        elif planned := self._next(last, look):
            if last.is_held and planned[0] > last.load:
                self._begin(look, *planned)
            else:
                self._recover(look, last, *planned)

    def _next(self, last: StepRecord, look: Look) -> tuple[int, str] | None:
        """Return the next load and its purpose; None if there is a result instead."""
        rules = self.rules
        if self._failed is None:
            # A load can be undecided for lack of samples. A higher load has more samples.
            if last.load >= rules.ceiling:
                self._end("generator", f"it was not allowed to open more than {rules.ceiling} sessions")
                return None
            return min(2 * last.load, rules.ceiling), "double"
        if self._failed is self._refused:
            return self._next_at_limit(last)
        return self._next_at_knee(last, look)

    # -- a limit: the server refuses chats ---------------------------------------------------------

    def _next_at_limit(self, last: StepRecord) -> tuple[int, str] | None:
        refused = self._refused
        assert refused is not None
        if last.purpose == "repeat" and last.is_held:
            # It was refused once, and held now: the limit is higher.
            self._failed = self._refused = None
            return self._next_load_up(last)
        held = self._held_below(refused.load)
        if last.purpose == CONFIRM and last.is_held and self._refused_again:
            self._finish("limit", last)
            return None
        if len(self.steps) >= MOST_STEPS:
            self._end("undecided", f"{MOST_STEPS} steps did not find the limit")
            return None
        if refused.load - held <= 1:
            if not held:
                self._end("limit", f"not even {refused.load} could be held")
                return None
            return (held, CONFIRM) if self._refused_again else (refused.load, "repeat")
        # If not even the plateau was held, a limit alone does not explain the refusals: then halve.
        if held < refused.open_most < refused.load and refused.purpose != "plateau":
            return refused.open_most, "plateau"
        if refused.open_most <= held:
            load = min(held + self._climb_by, refused.load - 1)
            self._climb_by *= 2
            return load, "climb"
        return (held + refused.load) // 2, "halve"

    def _next_load_up(self, last: StepRecord) -> tuple[int, str] | None:
        if last.load >= self.rules.ceiling:
            self._end("generator", f"it was not allowed to open more than {self.rules.ceiling} sessions")
            return None
        return min(2 * last.load, self.rules.ceiling), "double"

    # -- a knee: the server gets slow, fails or drops ----------------------------------------------

    def _next_at_knee(self, last: StepRecord, look: Look) -> tuple[int, str] | None:
        if last.purpose == CONFIRM and last.is_held:
            self._finish("knee", last)
            return None
        rules = self.rules
        self._trials += last.is_trial
        low, high = self._curve.interval(rules.interval_confidence)
        if low > rules.ceiling:
            self._end("generator", f"it was not allowed to open more than {rules.ceiling} sessions")
            return None
        if sum(step.load == 1 and step.outcome == "not held" for step in self.steps) >= 2 and not self.held:
            self._end("knee", "not even 1 could be held")
            return None
        lower, upper = math.floor(low), math.ceil(high)
        is_narrow = self._trials >= LEAST_TRIALS and upper - lower <= max(1, int(rules.resolution * lower))
        if is_narrow or len(self.steps) >= MOST_STEPS or self._is_late(look):
            if not lower:
                self._end("knee", f"not even {min(s.load for s in self.steps if s.is_trial)} could be held")
                return None
            if not drops_depend_on_load(self.steps, lower, rules.confidence):
                why = "it is not shown that it drops more chats per chat-hour at high loads than at low loads"
                self._end("undecided", why)
                return None
            if len(self.steps) > MOST_STEPS + CONFIRMATIONS or (last.purpose == CONFIRM and self._is_late(look)):
                self._end("undecided", f"{last.load} sessions were not held again")
                return None
            return min(lower, rules.ceiling), CONFIRM
        most = min(rules.ceiling, _FURTHEST * (self.held or rules.start))
        return self._curve.next_dose(1, most), "trial"

    def _is_late(self, look: Look) -> bool:
        """Return whether the time that is left is needed to confirm the answer."""
        rules = self.rules
        steps_s = rules.hold_s + rules.confirming_s + 2 * rules.between_holds_s
        return rules.run_time_s is not None and look.at + steps_s > rules.run_time_s

    def _recover(self, look: Look, after: StepRecord, load: int, purpose: str, rest_s: float = 0.0) -> None:
        stood = [n for n in (self._held_below(after.load), after.open_most) if n]
        down = max(1, int(RECOVER_TO * min([*stood, load])))
        self._step, self.wanted = None, min(down, load)
        self._recovering = _Recovery(look, self.wanted, (load, purpose), rest_s)

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self, kind: Literal["limit", "knee"], confirmed: StepRecord) -> None:
        """End with an answer: the last step confirmed it."""
        rules = self.rules
        if kind == "limit":
            capacity = certify_limit(self.steps, confirmed, rules.confidence)
        else:
            capacity = certify_knee(self.steps, confirmed, self._curve, rules.confidence)
        self._end(kind, held=confirmed.load, capacity=capacity)

    def _end(
        self, kind: Kind, why: str = "", by: StepRecord | None = None, held: int | None = None,
        capacity: Certificate | None = None,
    ) -> None:  # fmt: skip
        most = self.held if held is None else held
        above = [step for step in self.steps if step.outcome == "not held" and step.load > most]
        failed = min(above, key=lambda step: step.load, default=None)
        at = failed or by or self._failed
        self._step = self._recovering = None
        self.result = Result(
            kind, most, None if failed is None else failed.load, capacity is not None,
            None if at is None else at.trouble, capacity, why,
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
        # A single drop in so short a time would be a high rate per chat-hour.
        judged = (threshold for threshold in thresholds if not is_hourly(threshold))
        values = ((threshold, observed(threshold.metric, facts)) for threshold in judged)
        return all(value is None or threshold.holds(value) for threshold, value in values)
