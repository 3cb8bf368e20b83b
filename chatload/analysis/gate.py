"""What a run must hold to pass, and when it is hopeless to go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chatload.analysis.metrics import Facts
from chatload.analysis.sequential import hopeless
from chatload.analysis.threshold_grammar import Threshold, parse, parse_abort
from chatload.analysis.thresholds import Judgement, judge, overall
from chatload.errors import UsageError


class RunResult(StrEnum):
    """The result of a whole run, in the words that every report uses."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    NOTHING_TESTED = "nothing tested"
    NOT_JUDGED = "not judged"


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
        """A judgement for each threshold, in order."""
        return [judge(threshold, facts, self.confidence) for threshold in self.thresholds]

    def result(self, judgements: Iterable[Judgement], accepted: int) -> RunResult:
        """The result of a run that is valid, whose books balance, and that was not aborted.

        accepted: sessions that were accepted. Without one nothing was tested: a threshold can then still fail, but
        the run cannot pass, whatever `allow_inconclusive` says.
        """
        came_to = overall(judgements)
        if came_to == "fail":
            return RunResult.FAILED
        if not accepted:
            return RunResult.NOTHING_TESTED
        if came_to is None:
            return RunResult.NOT_JUDGED
        undecided = came_to == "inconclusive" and not self.allow_inconclusive
        return RunResult.INCONCLUSIVE if undecided else RunResult.PASSED

    def abort(self, facts: Facts) -> str:
        """Why the run is hopeless; empty while it is not."""
        for threshold in self.abort_on:
            why = hopeless(threshold, facts, 1 - self.confidence)
            if why:
                return why
        return ""

    def settings(self) -> dict[str, Any]:
        """What `gate_of` reads back."""
        return {
            "thresholds": [str(threshold) for threshold in self.thresholds],
            "abort_on": [str(threshold) for threshold in self.abort_on],
            "confidence": self.confidence,
            "allow_inconclusive": self.allow_inconclusive,
        }


def make_gate(
    thresholds: Iterable[str], abort_on: Iterable[str] = (), percent: float = 95.0, allow_inconclusive: bool = False
) -> Gate:
    """A gate from texts; percent: the confidence. Raises UsageError for what cannot be meant."""
    if not 50 <= percent < 100:
        raise UsageError(f"--confidence {percent:g} is not a percentage from 50 to under 100", "95 is usual")
    return Gate(
        tuple(parse(text) for text in thresholds),
        tuple(parse_abort(text) for text in abort_on),
        percent / 100,
        allow_inconclusive,
    )


def gate_of(settings: Mapping[str, Any]) -> Gate:
    """The gate in a run's settings."""
    return make_gate(
        settings.get("thresholds") or (),
        settings.get("abort_on") or (),
        100 * float(settings.get("confidence") or 0.95),
        bool(settings.get("allow_inconclusive")),
    )


def regate(
    settings: Mapping[str, Any], thresholds: Iterable[str], percent: float | None, allow_inconclusive: bool
) -> Gate:
    """The gate in a run's settings, with what is given in place of its own."""
    own = dict(settings)
    if given := tuple(thresholds):
        own["thresholds"] = given
    if percent is not None:
        own["confidence"] = percent / 100
    return gate_of({**own, "allow_inconclusive": allow_inconclusive or own.get("allow_inconclusive")})
