"""The steps of a campaign, and what follows from the exit code of each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chatload import exit_codes


class CampaignStep(StrEnum):
    """The steps, in their order. Each is one command."""

    DOCTOR = "doctor"
    PROBE = "probe"
    CAPACITY = "capacity"
    TUNE = "tune"
    PLAN = "plan"
    PROOF = "proof"

    @property
    def folder(self) -> str:
        """The name of its folder in that of the campaign, such as 3-capacity."""
        return f"{list(CampaignStep).index(self) + 1}-{self.value}"


class Decision(StrEnum):
    """What follows from a step."""

    NEXT = "next"
    #: Go on if another figure can take the place of the one that the step did not find, else stop.
    REPLACE = "replace"
    STOP = "stop"


@dataclass(frozen=True)
class StepRule:
    """What follows from one exit code of a step.

    why: what the exit code means for the campaign, as a sentence without its capital and full stop; empty if all is
    well. exit_code: of the campaign, if it stops here.
    """

    decision: Decision
    why: str = ""
    exit_code: int = exit_codes.PASSED


_NEXT = StepRule(Decision.NEXT)
_ENDED = "the step ended without an answer"


def _stop(why: str, exit_code: int) -> StepRule:
    return StepRule(Decision.STOP, why, exit_code)


def _replace(why: str) -> StepRule:
    return StepRule(Decision.REPLACE, why, exit_codes.INCONCLUSIVE)


#: Step and its exit code -> what follows. An exit code that is not listed stops the campaign (see `rule_of`).
RULES: Final[Mapping[tuple[CampaignStep, int], StepRule]] = {
    (CampaignStep.DOCTOR, 0): _NEXT,
    (CampaignStep.DOCTOR, 1): _stop("this machine or the host is not ready", exit_codes.WRONG_USAGE),
    (CampaignStep.PROBE, 0): _NEXT,
    (CampaignStep.PROBE, 4): _replace("the timeout of the server was not found"),
    (CampaignStep.CAPACITY, 0): _NEXT,
    (CampaignStep.CAPACITY, 1): _stop("the capacity search failed", exit_codes.THRESHOLD_FAILED),
    (CampaignStep.CAPACITY, 4): _replace("the capacity of the server was not found"),
    (CampaignStep.TUNE, 0): _NEXT,
    (CampaignStep.TUNE, 1): _stop("not even the shortest interval meets the target", exit_codes.THRESHOLD_FAILED),
    (CampaignStep.TUNE, 4): _replace("no refresh interval was shown to meet the target"),
    (CampaignStep.PLAN, 0): _NEXT,
    (CampaignStep.PLAN, 1): _stop("more chats were dropped than the target allows", exit_codes.THRESHOLD_FAILED),
    # Too few chat-hours so far: the proof is the run that has enough.
    (CampaignStep.PLAN, 4): _NEXT,
    (CampaignStep.PROOF, 0): _NEXT,
    (CampaignStep.PROOF, 1): _stop("the planned load does not meet the target", exit_codes.THRESHOLD_FAILED),
    (CampaignStep.PROOF, 4): _stop("the proof is inconclusive", exit_codes.INCONCLUSIVE),
}
_ANY_STEP: Final[Mapping[int, StepRule]] = {
    exit_codes.WRONG_USAGE: _stop("the step was refused", exit_codes.WRONG_USAGE),
    exit_codes.INVALID: _stop("the step is invalid: the generator was at fault", exit_codes.INVALID),
}


def rule_of(step: CampaignStep, exit_code: int) -> StepRule:
    """Return what follows from the exit code of a step."""
    found = RULES.get((step, exit_code)) or _ANY_STEP.get(exit_code)
    return _stop(_ENDED, exit_codes.INVALID) if found is None else found


def goes_on(rule: StepRule, replaceable: bool) -> bool:
    """Return whether the next step follows. replaceable: another figure can take the place of the missing one."""
    return rule.decision is Decision.NEXT or (rule.decision is Decision.REPLACE and replaceable)


@dataclass(frozen=True)
class CampaignResult:
    """How a campaign ended, or where it stopped. step: the last one; rule: what followed from its exit code."""

    step: CampaignStep
    rule: StepRule

    @property
    def exit_code(self) -> int:
        return self.rule.exit_code
