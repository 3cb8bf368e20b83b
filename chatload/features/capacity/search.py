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
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from chatload.errors import UsageError
from chatload.features.capacity.step import (
    FACTS,
    LATENCY,
    LATENCY_FACTOR,
    LATENCY_LEAST_S,
    Look,
    Step,
    StepRecord,
    StepRules,
    Trouble,
    facts_of,
)
from chatload.swarm.checks import planned_rate
from chatload.thresholds.grammar import Threshold, parse
from chatload.thresholds.judgement import COMPARE, judge
from chatload.vocabulary import Outcome, Verdict

if TYPE_CHECKING:
    from chatload.swarm.plan import RunPlan

Kind = Literal["limit", "knee", "generator", "undecided", "stopped"]

#: A recovering server is given this part of the sessions it could not hold, or of those it held.
RECOVER_TO = 0.5
#: How often a step is repeated that the generator spoilt, and how often an answer may fail to be confirmed.
REPEATS, CONFIRMATIONS = 3, 3
#: Maximum number of steps of a search.
MOST_STEPS = 60

_LEAST_HOLD_S = 10.0
#: Maximum number of sessions if neither --max-sessions nor chatload.toml sets one.
MOST_SESSIONS = 1000


def rules_of(plan: RunPlan) -> StepRules:
    """Return the rules of the search that a plan asks for. Raises UsageError."""
    policy, run = plan.settings.policy, plan.run
    start, ceiling = run.start_sessions or 1, _ceiling(plan)
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


def _ceiling(plan: RunPlan) -> int:
    """Return how many sessions the search may open, by the run's ceilings on sessions and requests per second."""
    rules = plan.rules
    most = MOST_SESSIONS if rules.max_sessions is None else rules.max_sessions
    if rules.max_requests_per_s is not None:
        most = min(most, int(rules.max_requests_per_s / planned_rate(1, plan.settings)))
    return most


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

    # -- from step to step -------------------------------------------------------------------------

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
                self._take_latency(record)
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

    def _take_latency(self, first: StepRecord) -> None:
        """Derive the limit of the latency from the first load held, at which the server has little to do."""
        self._own_latency = False
        p95 = first.figures["latency_p95_s"]
        if p95 is not None:
            limit = max(LATENCY_LEAST_S, LATENCY_FACTOR * p95)
            self.thresholds = (*self.thresholds, parse(f"{LATENCY} < {round(1000 * limit)}ms"))

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


class _Recovery:
    """Fewer sessions for a while, at least rest_s seconds, until the server meets the thresholds again.

    then: the next load and its purpose.
    """

    def __init__(self, look: Look, load: int, then: tuple[int, str], rest_s: float) -> None:
        self.then, self._rest_s = then, rest_s
        self._load, self._begun = load, look
        self._down: Look | None = None

    def over(self, look: Look, thresholds: tuple[Threshold, ...], rules: StepRules) -> bool:
        """Return whether all thresholds held for a refresh interval, or the allowed time has passed."""
        made, lasted_s = look.books.since(self._begun.books), look.at - self._begun.at
        # A chat without a confirmed goodbye stays open at the server until the timeout.
        gone, confirmed = made.verdicts[Verdict.CUT_OFF], made.outcomes.get("Disconnect", Counter())[Outcome.ENDED]
        rest_s = max(self._rest_s, rules.timeout_s if gone > confirmed else 0.0)
        if lasted_s >= rules.bound_s + rest_s:
            return True
        if look.open + look.opening > self._load or lasted_s < rest_s:
            return False
        if self._down is None:
            self._down = look
        if look.at - self._down.at < 0.9 * rules.window_s:
            return False
        facts = facts_of(look, self._down, rules.timeout_s)
        self._down = look
        values = ((threshold, judge(threshold, facts).value) for threshold in thresholds)
        return all(value is None or COMPARE[threshold.op](value, threshold.limit) for threshold, value in values)


def shifted(record: StepRecord, by: float) -> StepRecord:
    """Return the record with its instants counted from `by` (seconds)."""

    def moved(at: float | None) -> float | None:
        return None if at is None else round(at - by, 3)

    trouble = record.trouble and replace(record.trouble, at=round(record.trouble.at - by, 3))
    return replace(
        record, begun=round(record.begun - by, 3), reached=moved(record.reached), settled=moved(record.settled),
        ended=round(record.ended - by, 3), trouble=trouble,
    )  # fmt: skip
