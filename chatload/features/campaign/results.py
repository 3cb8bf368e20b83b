"""What the steps of a campaign leave in its folder: a record of each step that ended, and the results that others read.

A step has ended if its folder has STEP_FILE, which is written last. The folder of a step that was interrupted is
renamed, and the step is done again.
"""

import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatload.errors import FileError
from chatload.features.campaign.rules import CampaignStep
from chatload.render.output import write_json
from chatload.target import TargetRules

STEP_FILE, OUTPUT_FILE, COPY_FILE, RULES_FILE = "step.json", "output.txt", "campaign.toml", "rules.json"
#: `schema_version` of STEP_FILE and RULES_FILE.
SCHEMA_VERSION = 1
_Model = TypeVar("_Model", bound=BaseModel)
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StepEnd(_Read):
    """The record of a step that ended. Instants: Unix seconds. skipped: why it was left out, empty if it was not.

    file: the result in its folder, empty if it has none. machine: that the generator ran on, with its versions.
    """

    step: CampaignStep
    exit_code: int
    began_at: _Seconds
    ended_at: _Seconds
    command: tuple[str, ...] = ()
    file: str = ""
    skipped: str = ""
    machine: str = ""


class CampaignRules(_Read):
    """What chatload.toml allowed when the campaign began or was last resumed.

    allowed_hours: as texts; empty if they are not limited.
    """

    approval_id: str = ""
    allowed_hours: tuple[str, ...] = ()
    max_sessions: int | None = None
    max_requests_per_s: float | None = None


class DoctorCheck(_Read):
    """One check of doctor."""

    name: str
    state: str
    found: str
    change: str = ""


class DoctorResult(_Read):
    """What doctor found: the worst state, and each check."""

    state: str
    checks: tuple[DoctorCheck, ...]


class ProbeResult(_Read):
    """What a probe measured (seconds); None where it found no timeout."""

    timeout_s: _Seconds | None
    timeout_lower_s: _Seconds | None
    timeout_upper_s: _Seconds | None
    sessions_opened: int
    warnings: tuple[str, ...] = ()


class CapacityInterval(_Read):
    """The capacity that a search claims (sessions)."""

    lower: int
    upper: int
    confidence: float
    drops: int
    chat_hours: float
    drops_per_chat_hour_upper: float | None
    requests_per_s: float | None


class CapacityResult(_Read):
    """What a capacity search found. interval: None where nothing is claimed about the server."""

    kind: str
    held: int
    why: str
    interval: CapacityInterval | None = Field(alias="capacity")

    @property
    def at_least(self) -> int:
        """The number of sessions that the server was shown to hold; 0 if none."""
        if self.interval is not None:
            return self.interval.lower
        return self.held if self.kind == "generator" else 0


class SweptInterval(_Read):
    """One refresh interval of a sweep. most: sessions dropped, unproven ones included. upper: bound of their share."""

    fraction: float
    interval_s: float
    sessions: int
    most: int
    upper: float


class RecommendedInterval(_Read):
    """The refresh interval that a sweep recommends, as a part of the timeout and in seconds."""

    fraction: float
    interval_s: float


class TuneResult(_Read):
    """What a sweep found."""

    result: str
    target: float
    confidence: float
    recommended: RecommendedInterval | None
    arms: tuple[SweptInterval, ...]

    @property
    def best(self) -> SweptInterval | None:
        """The recommended one of its intervals; None if there is none."""
        fraction = None if self.recommended is None else self.recommended.fraction
        return next((arm for arm in self.arms if arm.fraction == fraction), None)


class PlannedServers(_Read):
    """The servers of a plan: to carry the peak, spare, and together."""

    needed: int
    spare: int
    total: int


class PlannedPeak(_Read):
    """The peak of a plan: chats open at once on average and as planned for."""

    mean_chats: float
    chats: int


class PlannedLimit(_Read):
    """One constraint of a plan: what the peak needs, what a server carries, and where this figure comes from."""

    name: str
    needed: float
    per_server: float
    origin: str


class ServerChance(_Read):
    """The chance that so many servers are enough."""

    servers: int
    chance: float


class PlanDoubt(_Read):
    """How sure a plan is."""

    chances: tuple[ServerChance, ...] = ()


class PlanResult(_Read):
    """What a plan says."""

    answer: str
    servers: PlannedServers
    peak: PlannedPeak
    headroom: float
    constraints: tuple[PlannedLimit, ...]
    doubt: PlanDoubt | None = None
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class ProofDrops(_Read):
    """The drops of a run: proven ones, possible ones, and the bound of their share or rate; None without chats."""

    least: int
    most: int
    high: float | None


class ProofExposure(_Read):
    """The time for which the chats of a run were open."""

    chat_hours: float
    dropped_per_chat_hour: ProofDrops


class ProofSessions(_Read):
    """The sessions of a run."""

    started: int
    accepted: int


class ProofThreshold(_Read):
    """One threshold of a run, as it was judged."""

    expression: str
    result: str
    why: str


class ProofSettings(_Read):
    """The settings of a run that concern its permission."""

    approval_id: str = ""
    allowed_hours: tuple[str, ...] = ()


class ProofResult(_Read):
    """What a run's summary.json says of it."""

    result: str
    confidence: float
    sessions: ProofSessions
    exposure: ProofExposure
    rates: dict[str, ProofDrops]
    thresholds: tuple[ProofThreshold, ...]
    invalid_reasons: tuple[str, ...]
    settings: ProofSettings
    started_at: float | None
    ended_at: float | None


#: The result of each step, in its folder.
RESULT_FILES = {
    CampaignStep.DOCTOR: "doctor.json",
    CampaignStep.PROBE: "probe.json",
    CampaignStep.CAPACITY: "capacity.json",
    CampaignStep.TUNE: "tune.json",
    CampaignStep.PLAN: "plan.json",
    CampaignStep.PROOF: "summary.json",
}


def write_rules(folder: Path, rules: TargetRules) -> None:
    """Write the rules under which a campaign goes on, whole or not at all. Raises UsageError."""
    recorded = CampaignRules(
        approval_id=rules.approval_id, allowed_hours=tuple(map(str, rules.hours)), max_sessions=rules.max_sessions,
        max_requests_per_s=rules.max_requests_per_s,
    )  # fmt: skip
    write_json({"schema_version": SCHEMA_VERSION, **recorded.model_dump(mode="json")}, folder / RULES_FILE)


def read_end(folder: Path, step: CampaignStep) -> StepEnd | None:
    """Return the record of a step; None if it has not ended. Raises FileError."""
    path = folder / step.folder / STEP_FILE
    return read_model(path, StepEnd) if path.exists() else None


def write_end(folder: Path, end: StepEnd) -> None:
    """Write the record of a step, whole or not at all. Raises UsageError."""
    write_json({"schema_version": SCHEMA_VERSION, **end.model_dump(mode="json")}, folder / end.step.folder / STEP_FILE)


def read_result(folder: Path, step: CampaignStep, model: type[_Model]) -> _Model | None:
    """Return the result of a step that has ended; None if there is none. Raises FileError."""
    path = folder / step.folder / RESULT_FILES[step]
    return read_model(path, model) if path.exists() and path.with_name(STEP_FILE).exists() else None


def read_model(path: Path, model: type[_Model]) -> _Model:
    """Return a JSON file as a model. Raises FileError."""
    try:
        return model.model_validate(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            raise FileError(path, ".".join(map(str, first["loc"])), first["msg"]) from None
        raise FileError(path, "", f"cannot be read ({error})") from None
