"""What a run must hold to pass, and when it is hopeless to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chatload.errors import UsageError
from chatload.run.settings import GATES, RunSettings
from chatload.thresholds.grammar import Threshold, parse, parse_abort
from chatload.thresholds.judgement import Judgement, judge, overall
from chatload.thresholds.metrics import Facts
from chatload.thresholds.sequential import hopeless
from chatload.vocabulary import RunResult, ThresholdResult

#: The vendor's browser client gives up a request after this time (seconds): for its customer a slower answer is none.
PATIENCE_S = 3.0
#: What a run must not do to its sessions unseen -> the other subjects of metrics that are about it too.
_FATES: Mapping[str, frozenset[str]] = {
    "unserved": frozenset({"refused", "gave_up", "completed"}),
    "dropped": frozenset({"dropped_late", "dropped_early", "dropped_unproven", "blame", "completed"}),
    "failed": frozenset({"completed"}),
}


@dataclass(frozen=True)
class Gate:
    """thresholds: what must hold, judged once at the end. abort_on: what ends a run early once it is lost,
    looked at all the time. confidence: of each judgement, 0 to 1. allow_inconclusive: undecided
    thresholds do not fail."""

    thresholds: tuple[Threshold, ...] = ()
    abort_on: tuple[Threshold, ...] = ()
    confidence: float = 0.95
    allow_inconclusive: bool = False

    def judge(self, facts: Facts) -> list[Judgement]:
        """A judgement for each threshold, in order; then those of `_unseen`."""
        own = [judge(threshold, facts, self.confidence) for threshold in self.thresholds]
        return own + self._unseen(facts) if own else own

    def _unseen(self, facts: Facts) -> list[Judgement]:
        """What thresholds about other things would pass unseen: sessions that were unserved, dropped or failed.

        An inconclusive judgement for each of these rates that is above the standard gate's limit, where no threshold
        is about such sessions.
        """
        about = {threshold.metric.subject.partition(".")[0] for threshold in self.thresholds}
        unseen = []
        for threshold in map(parse, standard_thresholds()):
            subject = threshold.metric.subject
            if subject not in _FATES or about & {subject, *_FATES[subject]}:
                continue
            judgement = judge(threshold, facts, self.confidence)
            if judgement.result == ThresholdResult.FAIL:
                why = f"{judgement.why}; no threshold is about {threshold.metric.name}: set one, or --gate standard"
                unseen.append(replace(judgement, result=ThresholdResult.INCONCLUSIVE, why=why))
        return unseen

    def result(self, judgements: Iterable[Judgement], accepted: int) -> RunResult:
        """The result of a run that is valid, whose books balance, and that was not aborted.

        accepted: sessions that were accepted. Without one nothing was tested: a threshold can then still fail, but
        the run cannot pass, whatever `allow_inconclusive` says; nor can it where `judge` found what is unseen.
        """
        judgements = list(judgements)
        came_to = overall(judgements)
        if came_to == ThresholdResult.FAIL:
            return RunResult.FAILED
        if not accepted:
            return RunResult.NOTHING_TESTED
        if came_to is None:
            return RunResult.NOT_JUDGED
        unseen = any(judgement.threshold not in self.thresholds for judgement in judgements)
        undecided = unseen or (came_to == ThresholdResult.INCONCLUSIVE and not self.allow_inconclusive)
        return RunResult.INCONCLUSIVE if undecided else RunResult.PASSED

    def abort(self, facts: Facts) -> str:
        """Why the run is hopeless; empty while it is not."""
        for threshold in self.abort_on:
            why = hopeless(threshold, facts, 1 - self.confidence)
            if why:
                return why
        return ""

    def settings(self) -> dict[str, Any]:
        """The settings of a run that `gate_of` reads back."""
        return {
            "thresholds": tuple(str(threshold) for threshold in self.thresholds),
            "abort_on": tuple(str(threshold) for threshold in self.abort_on),
            "confidence": self.confidence,
            "allow_inconclusive": self.allow_inconclusive,
        }


def standard_thresholds(long_poll_s: float = 0.0) -> tuple[str, ...]:
    """The thresholds of `--gate standard`; docs/ci.md says why these.

    long_poll_s: the time for which the server may hold a GetMessages, which then is no delay of it.
    """
    return (
        "unserved.rate < 1%",
        "dropped.rate < 1%",
        "failed.rate < 1%",
        "GetMessages.unsuccessful.rate < 1%",
        f"GetMessages.latency.p99 < {PATIENCE_S + long_poll_s:g}s",
        f"RequestChat.latency.p99 < {PATIENCE_S:g}s",
        "margin.p1 > 0s",
        "lateness.p99 < 500ms",
    )


def make_gate(
    thresholds: Iterable[str],
    abort_on: Iterable[str] = (),
    percent: float = 95.0,
    allow_inconclusive: bool = False,
    *,
    named: str = "",
    long_poll_s: float = 0.0,
) -> Gate:
    """A gate from texts.

    Args:
        thresholds: what must hold. abort_on: what ends the run early once it is lost.
        percent: the confidence. allow_inconclusive: undecided thresholds do not fail.
        named: "standard", or empty: the gate whose thresholds come first, without those that are about a metric of
            `thresholds`. long_poll_s: see `standard_thresholds`.

    Raises:
        UsageError: for what cannot be meant.
    """
    if not 50 <= percent < 100:
        raise UsageError(f"--confidence {percent:g} is not a percentage from 50 to under 100", "95 is usual")
    if named and named not in GATES:
        raise UsageError(f"--gate {named} is not a gate", f"there is {', '.join(GATES)}")
    own = tuple(parse(text) for text in thresholds)
    metrics = {threshold.metric.name for threshold in own}
    standard = map(parse, standard_thresholds(long_poll_s) if named else ())
    return Gate(
        (*(threshold for threshold in standard if threshold.metric.name not in metrics), *own),
        tuple(parse_abort(text) for text in abort_on),
        percent / 100,
        allow_inconclusive,
    )


def gate_of(run: RunSettings) -> Gate:
    """The gate in a run's settings."""
    return make_gate(run.thresholds, run.abort_on, round(100 * run.confidence, 9), run.allow_inconclusive)


def regate(
    run: RunSettings,
    thresholds: Iterable[str],
    percent: float | None,
    allow_inconclusive: bool,
    named: str = "",
) -> Gate:
    """The gate in a run's settings, with what is given in place of its own; named: see `make_gate`."""
    own = gate_of(run)
    given = tuple(thresholds)
    return make_gate(
        given if given or named else map(str, own.thresholds),
        map(str, own.abort_on),
        100 * own.confidence if percent is None else percent,
        allow_inconclusive or own.allow_inconclusive,
        named=named,
        long_poll_s=run.long_poll or 0.0,
    )
