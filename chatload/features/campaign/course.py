"""The course of a campaign: which step is next, and what the steps so far have found.

The folder is the state. A step that has its record is over and is not repeated. So the same command resumes a campaign
after an interruption.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from chatload import __version__, exit_codes
from chatload.children import ChildEnd
from chatload.errors import ChatloadError, NothingTestedError, UsageError, UserInterruptError
from chatload.features.campaign import commands
from chatload.features.campaign.budget import SHORT_S, SWEEP_LOAD, SweepDesign, proof_s
from chatload.features.campaign.commands import StepOrder
from chatload.features.campaign.findings import Findings
from chatload.features.campaign.host_watch import HostWatch
from chatload.features.campaign.results import OUTPUT_FILE, StepEnd, read_end, write_end
from chatload.features.campaign.rules import CampaignResult, CampaignStep, goes_on, rule_of
from chatload.features.campaign.view import step_sentence
from chatload.render.words import duration, plural

#: Exit codes of a step that are an answer of the server. A step that ended otherwise is done again.
_ANSWERS = frozenset({exit_codes.PASSED, exit_codes.THRESHOLD_FAILED, exit_codes.INCONCLUSIVE})


#: What can be done after a campaign has stopped without an answer.
RESUME = "the same command resumes the campaign"


class StepRunner(Protocol):
    """Runs the command of a step, see `run_child`."""

    def __call__(self, command: Sequence[str], output: Path, *, wanted: Callable[[], bool]) -> ChildEnd:
        """Run a command to its end, or until `wanted` returns False."""


class CampaignCourse:
    """Runs the steps of a campaign one after another.

    say: shows a line to the user. run: runs the command of a step. watch: says whether the host is up. clock: Unix
    seconds.
    """

    def __init__(
        self,
        findings: Findings,
        say: Callable[[str], None],
        run: StepRunner,
        watch: HostWatch,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._found, self._say, self._run, self._watch, self._clock = findings, say, run, watch, clock
        self._file, self._folder, self._rules = findings.file, findings.folder, findings.rules

    def run(self) -> CampaignResult:
        """Do the steps that are left.

        Raises ChatloadError if the campaign cannot go on now. The same command resumes it.
        """
        for number, step in enumerate(CampaignStep, 1):
            place = f"{number}/{len(CampaignStep)} {step}"
            end = read_end(self._folder, step)
            if end is None:
                end = self._do(step, place)
            self._found = Findings(self._file, self._folder, self._rules)
            rule = rule_of(step, end.exit_code)
            took = "" if end.skipped else f" ({duration(end.ended_at - end.began_at)})"
            self._say(f"{place}: {end.skipped or step_sentence(step, self._found)}{took}")
            if not goes_on(rule, self._is_replaceable(step)):
                return CampaignResult(step, rule)
        return CampaignResult(CampaignStep.PROOF, rule)

    def _do(self, step: CampaignStep, place: str) -> StepEnd:
        began = self._clock()
        order = self._order(step)
        if not isinstance(order, str):
            self._check_hours(step, order.time_s, began)
            self._check_host(step, "was not begun")
        folder = self._folder / step.folder
        try:
            _set_aside(folder)
            folder.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made ({error.strerror})", "make room there, or name --dir") from None
        if isinstance(order, str):
            end = StepEnd(step=step, exit_code=exit_codes.PASSED, began_at=began, ended_at=began, skipped=order)
            write_end(self._folder, end)
            return end
        self._say(f"{place} ... {duration(order.time_s)} at most")
        output = folder / (f".{order.file}" if order.prints else OUTPUT_FILE)
        # The plan needs no host.
        child = self._run(order.command, output, wanted=lambda: step is CampaignStep.PLAN or self._watch.is_up())
        if child.asked_by:
            raise UserInterruptError(f"interrupted during {step}", RESUME)
        if why := self._rules.closed(self._clock()):
            raise UsageError(f"{step} was ended: {why}", RESUME)
        if child.exit_code or child.unwanted:
            # What a step found of a host that went down is no answer about the host in operation.
            self._check_host(step, "has no result: the host went down")
        if child.exit_code not in _ANSWERS or (step, child.exit_code) == (CampaignStep.DOCTOR, 1):
            self._refuse(step, child.exit_code, output, order)
        if order.prints:
            output.replace(folder / order.file)
        end = StepEnd(
            step=step, exit_code=child.exit_code, began_at=began, ended_at=self._clock(), command=tuple(order.command),
            file=order.file if (folder / order.file).exists() else "", machine=_machine(),
        )  # fmt: skip
        write_end(self._folder, end)
        return end

    def _check_host(self, step: CampaignStep, what: str) -> None:
        """Raise NothingTestedError if a step needs the host and it cannot be reached. what: became of the step."""
        if step is not CampaignStep.PLAN and (why := self._watch.trouble()):
            host = self._file.host
            raise NothingTestedError(f"{step} {what}; {host} cannot be reached ({why})", f"once it is up, {RESUME}")

    def _check_hours(self, step: CampaignStep, time_s: float, now: float) -> None:
        """Raise UsageError if load is not allowed until the step can have ended."""
        self._rules.require_now(now)
        closes = self._rules.closes_at(now)
        if closes is not None and closes < now + time_s:
            raise UsageError(
                f"{step} takes up to {duration(time_s)}, and the allowed hours end in {duration(closes - now)}",
                "give the same command again when there is time",
            )

    def _refuse(self, step: CampaignStep, exit_code: int, output: Path, order: StepOrder) -> None:
        """Raise the error of a step that has no answer of the server. It is done again by the same command."""
        if order.prints and output.stat().st_size:
            output = output.replace(output.with_name(order.file))
        rule = rule_of(step, exit_code)
        error = ChatloadError(f"{step}: {rule.why} (exit code {exit_code})", f"see the lines above and {output}")
        error.exit_code = rule.exit_code
        raise error

    def _order(self, step: CampaignStep) -> StepOrder | str:
        """Return what the step has to do, or why it is left out."""
        found, frame, budget = self._found, self._found.frame, self._found.budget
        if step is CampaignStep.DOCTOR:
            return commands.doctor(frame, budget.ceiling)
        if step is CampaignStep.PROBE:
            return commands.probe(frame, budget.probe_s)
        if step is CampaignStep.CAPACITY:
            return commands.capacity(frame, budget.interval_s, budget.ceiling, budget.search_s)
        if step is CampaignStep.TUNE:
            design = self._sweep()
            if not found.has_interval:
                return f"left out: the client ({self._file.persona}) polls at its own interval"
            if design is None:
                return "left out: the time available is too short for a sweep"
            return commands.tune(frame, self._sweep_users(), design)
        if step is CampaignStep.PLAN:
            certified = found.capacity is not None and found.capacity.interval is not None
            return commands.plan(frame, found.interval_s, None if certified else found.held)
        self._check_time_of_proof()
        return commands.proof(frame, found.proof_load, found.refresh_options)

    def _sweep_users(self) -> int:
        return max(1, int(SWEEP_LOAD * self._found.held))

    def _sweep(self) -> SweepDesign | None:
        found = self._found
        proof = proof_s(found.chats, found.budget.proof_load(found.held))
        return found.budget.sweep(self._sweep_users(), self._left_s() - proof - 2 * SHORT_S)

    def _check_time_of_proof(self) -> None:
        load = self._found.proof_load
        need, left = proof_s(self._found.chats, load), self._left_s()
        if need > left:
            raise NothingTestedError(
                f"the proof with {load.chats:.3g} open chats on average takes {duration(need)}, and "
                f"{duration(max(left, 0.0))} of time_available are left",
                "raise time_available, and give the same command again",
            )

    def _left_s(self) -> float:
        ends = filter(None, (read_end(self._folder, step) for step in CampaignStep))
        return self._file.time_available - sum(end.ended_at - end.began_at for end in ends)

    def _is_replaceable(self, step: CampaignStep) -> bool:
        """Return whether the campaign can go on without the answer of this step."""
        if step is CampaignStep.PROBE:
            return self._file.flex_disconnect_timeout is not None
        if step is CampaignStep.CAPACITY:
            return self._found.held > 0
        return step is CampaignStep.TUNE


def _machine() -> str:
    """Return this machine and the versions that run load on it."""
    versions = f"Python {platform.python_version()}, chatload {__version__}, Locust {version('locust')}"
    return f"{platform.node()}, {platform.platform()}, {plural(os.cpu_count() or 1, 'core')}; {versions}"


def _set_aside(folder: Path) -> None:
    """Rename the folder of a step that did not end."""
    if folder.exists():
        numbers = range(1, 10_000)
        folder.rename(next(name for n in numbers if not (name := folder.with_name(f"{folder.name}.try-{n}")).exists()))
