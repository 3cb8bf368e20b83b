"""The gate: the thresholds of a run, its result, and when it is hopeless to go on."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chatload.chat.personas import REQUEST_TIMEOUT_S
from chatload.errors import UsageError
from chatload.plausibility import doubtful_limit
from chatload.run.books import Books
from chatload.run.settings import GATES, STEADY, RunSettings
from chatload.stats.rates import CONFIDENCE
from chatload.thresholds.abort import AbortMonitor
from chatload.thresholds.judgement import Judgement, judge, overall
from chatload.thresholds.metrics import OF_ALL, Facts, Threshold, parse, parse_abort
from chatload.thresholds.over_time import OverTime
from chatload.vocabulary import DROPPED, UNSERVED, RunResult, ThresholdResult, Verdict

#: Rates that a gate has to be about: the subject of each -> its sessions by verdict, with the subjects of thresholds
#: that cover them. A threshold about the rate itself covers all.
_FATES: Mapping[str, Mapping[Verdict, frozenset[str]]] = {
    UNSERVED: {
        Verdict.REFUSED: frozenset({"refused"}),
        Verdict.GAVE_UP: frozenset({"gave_up"}),
        Verdict.FAILED: frozenset({"failed"}),
    },
    DROPPED: {
        Verdict.DROPPED_LATE: frozenset({"dropped_late", "blame"}),
        Verdict.DROPPED_EARLY: frozenset({"dropped_early"}),
    },
    Verdict.FAILED: {Verdict.FAILED: frozenset({"failed"})},
}


def _covers(thresholds: Iterable[Threshold], subject: str, books: Books) -> bool:
    """Return whether thresholds are about all sessions of this subject, a key of _FATES, that occurred."""
    about = set()
    for metric in (threshold.metric for threshold in thresholds):
        if metric.subject == Verdict.COMPLETED:
            # A number of completed chats does not limit how many others were dropped or failed.
            if metric.kind == "rate" and subject != UNSERVED:
                return True
        # Rates are shares of the accepted sessions, so most say nothing of those that were never accepted.
        elif subject != UNSERVED or metric.kind == "count" or metric.subject in OF_ALL:
            about.add(metric.subject.partition(".")[0])
    if subject in about:
        return True
    fates = books.fates
    for verdict, by in _FATES[subject].items():
        accepted = fates.accepted_with(verdict)
        if (fates.verdicts[verdict] - accepted if subject == UNSERVED else accepted) and not about & by:
            return False
    return True


@dataclass(frozen=True)
class Gate:
    """What a run must fulfil.

    thresholds: judged once, at the end. abort_on: checked all the time; a run ends early once one of them is lost.
    confidence: of each judgement, 0 to 1. allow_inconclusive: inconclusive thresholds that lack only samples do not
    fail the run. incident_size: the largest number of sessions that one incident takes, 1 or more: an assumption of
    rates of sessions. part: of the run, as --judge names it.
    """

    thresholds: tuple[Threshold, ...] = ()
    abort_on: tuple[Threshold, ...] = ()
    confidence: float = CONFIDENCE
    allow_inconclusive: bool = False
    incident_size: int = 1
    part: str = STEADY

    def doubts(self) -> list[str]:
        """Return a warning for each threshold that surely is meant otherwise."""
        thresholds = (*self.thresholds, *self.abort_on)
        found = (doubtful_limit(str(each), each.metric.kind, each.op, each.limit) for each in thresholds)
        return [warning for warning in found if warning]

    def require_classes(self, names: Collection[str]) -> None:
        """Raise UsageError for a threshold on a user class that the run does not have. names: of its user classes."""
        for threshold in (*self.thresholds, *self.abort_on):
            if not threshold.user_class or (threshold.user_class in names and len(names) > 1):
                continue
            if len(names) > 1:
                what, hint = "no such user class", f"expected one of {', '.join(sorted(names))}"
            else:
                what, hint = "the run has only one user class", f"leave `{threshold.user_class}:` out"
            raise UsageError(f"threshold '{threshold}': {what}", hint)

    def judge(self, facts: Facts, over_time: OverTime | None = None) -> list[Judgement]:
        """Return a judgement for each threshold, in order; then those of `_not_covered`.

        over_time: what the windows of the run say about the thresholds; None: there are none.
        """
        own = [judge(threshold, facts, self.confidence, self.incident_size, over_time) for threshold in self.thresholds]
        return own + self._not_covered(facts) if own else own

    def _not_covered(self, facts: Facts) -> list[Judgement]:
        """Return judgements about unserved, dropped and failed sessions that no threshold of this gate covers.

        There is one, inconclusive, for each of these rates that fails the limit of the standard gate if sessions count
        as independent: many drops in one incident prove little about their rate, but they may not go unmentioned.
        """
        independent = replace(facts, incidence=None, blocks=())
        found = []
        for threshold in map(parse, standard_thresholds()):
            subject = threshold.metric.subject
            if subject not in _FATES or self._covers(subject, facts):
                continue
            if judge(threshold, independent, self.confidence).result == ThresholdResult.FAIL:
                judgement = judge(threshold, facts, self.confidence)
                why = f"{judgement.why}; no threshold is about {threshold.metric.name}: set one, or --gate standard"
                found.append(replace(judgement, result=ThresholdResult.INCONCLUSIVE, why=why))
        return found

    def _covers(self, subject: str, facts: Facts) -> bool:
        """Return whether thresholds cover a subject in each user class: those on this class, and those on all."""
        return all(
            _covers([t for t in self.thresholds if t.user_class in ("", name)], subject, part.books)
            for name, part in (facts.by_class or {"": facts}).items()
        )

    def result(self, judgements: Iterable[Judgement], accepted: int) -> RunResult:
        """Return the result of a run that is valid, whose books balance, and that was not aborted.

        A run does not pass, even with `allow_inconclusive`, if no session was accepted (then nothing was tested, but a
        threshold can still fail), if `judge` found something that no threshold covers, or if an inconclusive threshold
        lacks more than samples: for example if 70 % of the sessions may have been dropped.
        """
        judgements = list(judgements)
        worst = overall(judgements)
        if worst == ThresholdResult.FAIL:
            return RunResult.FAILED
        if not accepted:
            return RunResult.NOTHING_TESTED
        if worst is None:
            return RunResult.NOT_JUDGED
        not_covered = any(judgement.threshold not in self.thresholds for judgement in judgements)
        undecided = [judgement for judgement in judgements if judgement.result == ThresholdResult.INCONCLUSIVE]
        if self.allow_inconclusive:
            undecided = [judgement for judgement in undecided if not judgement.lacks_only_samples]
        return RunResult.INCONCLUSIVE if not_covered or undecided else RunResult.PASSED

    def abort_monitor(self, timeout_s: float | None) -> AbortMonitor:
        """Return what watches `abort_on` during one run. timeout_s: its flex-disconnect-timeout (seconds)."""
        return AbortMonitor(self.abort_on, 1 - self.confidence, timeout_s)

    def settings(self) -> dict[str, Any]:
        """Return the settings of a run that `gate_of` reads back."""
        return {
            "thresholds": tuple(str(threshold) for threshold in self.thresholds),
            "abort_on": tuple(str(threshold) for threshold in self.abort_on),
            "confidence": self.confidence,
            "allow_inconclusive": self.allow_inconclusive,
            "judge": self.part,
            "incident_size": self.incident_size,
        }


def standard_thresholds(long_poll_s: float = 0.0) -> tuple[str, ...]:
    """Return the thresholds of `--gate standard`; docs/ci.md has the reasons.

    The vendor's browser client gives a request up after REQUEST_TIMEOUT_S: a slower answer never reaches its customer.
    long_poll_s: the time for which the server may hold a GetMessages (seconds); this is not a delay.
    """
    return (
        "unserved.rate < 1%",
        "dropped.rate < 1%",
        "failed.rate < 1%",
        "GetMessages.unsuccessful.rate < 1%",
        f"GetMessages.latency.p99 < {REQUEST_TIMEOUT_S + long_poll_s:g}s",
        f"RequestChat.latency.p99 < {REQUEST_TIMEOUT_S:g}s",
        "margin.p1 > 0s",
        "lateness.p99 < 500ms",
        "incident.share < 10%",
    )


def make_gate(
    thresholds: Iterable[str],
    abort_on: Iterable[str] = (),
    percent: float = 100 * CONFIDENCE,
    allow_inconclusive: bool = False,
    *,
    incident_size: int = 1,
    named: str = "",
    long_poll_s: float = 0.0,
    part: str = STEADY,
) -> Gate:
    """Return the gate that options describe (see Gate); raises UsageError for a wrong value.

    named: "standard" or "": the gate whose thresholds are added before, except those about a metric of `thresholds`.
    long_poll_s: see `standard_thresholds`.
    """
    if not 50 <= percent < 100:
        raise UsageError(f"--confidence {percent:g} is not a percentage from 50 to under 100", "95 is usual")
    if incident_size < 1:
        raise UsageError(f"--incident-size {incident_size} is not a number of sessions", "write 1 or more")
    if named and named not in GATES:
        raise UsageError(f"--gate {named} is not a gate", f"expected one of {', '.join(GATES)}")
    own = tuple(parse(text) for text in thresholds)
    # A threshold `in every` or on a user class does not take the place of one about the whole run.
    metrics = {threshold.about for threshold in own if threshold.every_s is None}
    standard = map(parse, standard_thresholds(long_poll_s) if named else ())
    return Gate(
        (*(threshold for threshold in standard if threshold.metric.name not in metrics), *own),
        tuple(parse_abort(text) for text in abort_on),
        percent / 100,
        allow_inconclusive,
        incident_size,
        part,
    )


def gate_of(run: RunSettings, named: str = "") -> Gate:
    """Return the gate in the settings of a run. named: see `make_gate`."""
    return make_gate(
        run.thresholds,
        run.abort_on,
        round(100 * run.confidence, 9),
        run.allow_inconclusive,
        incident_size=run.incident_size,
        named=named,
        long_poll_s=run.long_poll or 0.0,
        part=run.judge,
    )


def regate(
    run: RunSettings,
    thresholds: tuple[str, ...],
    percent: float | None,
    allow_inconclusive: bool,
    named: str = "",
    incident_size: int | None = None,
    part: str | None = None,
) -> Gate:
    """Return the gate in the settings of a run, with the given values in place of its own (see `make_gate`).

    Raises UsageError, also for a threshold on a user class that the run does not have.
    """
    gate_of(run)  # its own values have to be right too, because a run file may come from anybody
    given = replace(
        run,
        thresholds=thresholds if thresholds or named else run.thresholds,
        confidence=run.confidence if percent is None else percent / 100,
        allow_inconclusive=allow_inconclusive or run.allow_inconclusive,
        judge=run.judge if part is None else part,
        incident_size=incident_size or run.incident_size,
    )
    gate = gate_of(given, named)
    gate.require_classes([one.name for one in run.classes])
    return gate
