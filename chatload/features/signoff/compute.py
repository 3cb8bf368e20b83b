"""What a campaign's sign-off says: the demand, the answer, the ground of it, and what is still assumed.

Everything is read from the folder of the campaign. Nothing is measured here.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from chatload import exit_codes
from chatload.errors import FileError, UsageError
from chatload.features.campaign.campaign_file import load_campaign
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.results import COPY_FILE, RULES_FILE, CampaignRules, StepEnd, read_end, read_model
from chatload.features.campaign.rules import CampaignStep, goes_on, rule_of
from chatload.features.campaign.view import step_sentence
from chatload.render.words import number, percent, plural, seconds
from chatload.run.schema import RUN_FILE
from chatload.target import TargetRules

_BLOCK = 1 << 20


class SignOffResult(StrEnum):
    """The result of a campaign, in the words of the page."""

    PROVEN = "proven"
    NOT_MET = "target missed"
    INCONCLUSIVE = "inconclusive"
    INCOMPLETE = "incomplete"


EXIT_CODES = {
    SignOffResult.PROVEN: exit_codes.PASSED,
    SignOffResult.NOT_MET: exit_codes.THRESHOLD_FAILED,
    SignOffResult.INCONCLUSIVE: exit_codes.INCONCLUSIVE,
    SignOffResult.INCOMPLETE: exit_codes.INCONCLUSIVE,
}


@dataclass(frozen=True)
class SignedStep:
    """One step as the page shows it.

    found: its sentence. path, sha256: the file that has the facts (below the folder of the campaign) and its digest;
    empty if there is none. attempts: how often it began before, without an end.
    """

    step: CampaignStep
    found: str
    end: StepEnd
    path: str
    sha256: str
    attempts: int


@dataclass(frozen=True)
class SignOff:
    """The content of the page. made_at: Unix seconds. stopped: why the campaign stopped, empty if it did not.

    inputs: the files that the campaign read, as copied to its folder, and the digest of each.
    approval_id, hours: those that the proof ran under; before a proof, those of the campaign.
    """

    found: Findings
    result: SignOffResult
    stopped: str
    steps: tuple[SignedStep, ...]
    inputs: tuple[tuple[str, str], ...]
    approval_id: str
    hours: tuple[str, ...]
    assumptions: tuple[str, ...]
    made_at: float


def sign_off(folder: Path, clock: Callable[[], float] = time.time) -> SignOff:
    """Return the sign-off of the campaign in a folder. Raises UsageError if it is none, FileError if a file is wrong.

    The rules are those that the campaign recorded: a chatload.toml of today has no part in it. clock: Unix seconds.
    """
    if not (folder / COPY_FILE).is_file():
        raise UsageError(f"{folder}: not the folder of a campaign", "make one with chatload campaign FILE.toml")
    rules = read_model(folder / RULES_FILE, CampaignRules)
    ceilings = TargetRules(max_sessions=rules.max_sessions, max_requests_per_s=rules.max_requests_per_s)
    found = Findings(load_campaign(folder / COPY_FILE), folder, ceilings)
    steps = tuple(_steps(folder, found))
    result, stopped = _result(steps)
    approval_id, hours = rules.approval_id, rules.allowed_hours
    if found.proof is not None:
        approval_id, hours = found.proof.settings.approval_id, found.proof.settings.allowed_hours
    assumptions = tuple(open_assumptions(found, steps))
    inputs = tuple((name, sha256_of(folder / name)) for name in (COPY_FILE, *found.file.inputs))
    return SignOff(found, result, stopped, steps, inputs, approval_id, hours, assumptions, clock())


def _steps(folder: Path, found: Findings) -> Iterator[SignedStep]:
    for step in CampaignStep:
        end = read_end(folder, step)
        if end is None:
            return
        file = RUN_FILE if (folder / step.folder / RUN_FILE).exists() else end.file
        path = f"{step.folder}/{file}" if file else ""
        attempts = len(list(folder.glob(f"{step.folder}.try-*")))
        said = end.skipped or step_sentence(step, found)
        yield SignedStep(step, said, end, path, sha256_of(folder / path) if path else "", attempts)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal. Raises FileError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()


def _result(steps: tuple[SignedStep, ...]) -> tuple[SignOffResult, str]:
    """Return the result by the last step that ended, and why the campaign stopped there."""
    if not steps:
        return SignOffResult.INCOMPLETE, "no step has ended"
    last = steps[-1]
    rule = rule_of(last.step, last.end.exit_code)
    if rule.exit_code == exit_codes.THRESHOLD_FAILED:
        return SignOffResult.NOT_MET, rule.why
    if last.step is CampaignStep.PROOF:
        return (SignOffResult.INCONCLUSIVE, rule.why) if rule.why else (SignOffResult.PROVEN, "")
    if goes_on(rule, replaceable=False):
        return SignOffResult.INCOMPLETE, f"{last.step} was the last step that ended"
    return SignOffResult.INCONCLUSIVE, rule.why


def open_assumptions(found: Findings, steps: tuple[SignedStep, ...]) -> Iterator[str]:
    """Yield what the answer rests on without having been measured."""
    ends = {signed.step: signed.end for signed in steps}
    file, plan, said = found.file, found.plan, found.file.flex_disconnect_timeout
    probe = ends.get(CampaignStep.PROBE)
    if probe is not None and probe.exit_code:
        yield f"the timeout of the server is the one of the campaign file, {seconds(found.timeout_s)}: it was not found"
    elif probe is not None and said is not None and said != found.timeout_s:
        yield f"the campaign file says a timeout of {seconds(said)}; the measured one was used: find out which is meant"
    capacity = found.capacity
    if capacity is not None and capacity.interval is None:
        yield f"the limit of the host is not known; it held {plural(capacity.at_least, 'chat')}, and no more was tried"
    tune = ends.get(CampaignStep.TUNE)
    if tune is not None and found.swept is None and found.has_interval:
        yield f"the refresh interval of {seconds(found.interval_s)} was not compared with others"
    if plan is None:
        return
    if plan.servers.needed > file.servers:
        tested = "1 was" if file.servers == 1 else f"{number(file.servers)} were"
        needed = number(plan.servers.needed)
        yield f"{needed} servers carry {needed} times as much as one, with chats spread evenly: {tested} tested"
    load = found.proof_load
    if found.proof is not None and load.part < 1:
        yield (
            f"the proof ran at {percent(load.part)} of the rate that the host has to carry: at all of it, random "
            f"arrivals exceed {number(min(found.held, found.budget.ceiling))} open chats too often; chats that a load "
            "balancer spreads over the servers do not"
        )
    if found.demand.agents is not None:
        yield "customers wait for an agent as the formulas of the plan say; the proof had chats of that mean length"
    yield f"{plural(round(found.demand.arrivals_per_hour), 'chat')} an hour come at the peak, as the demand says"
    yield "nothing else loads the servers at the peak, and no peak of a few seconds is far above the mean of the hour"
