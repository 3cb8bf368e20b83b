"""The command of each step of a campaign, from the campaign file and from what the steps before it found. Pure."""

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chatload.features.campaign.budget import SHORT_S, ChatShape, ProofLoad, SweepDesign, proof_s, search_rules
from chatload.features.campaign.campaign_file import CampaignFile
from chatload.features.campaign.results import RESULT_FILES
from chatload.features.campaign.rules import CampaignStep
from chatload.features.probe.evidence import DEFAULT_CHATS, chats_within
from chatload.features.workloads import headless_run
from chatload.run.settings import written

_CHATLOAD = (sys.executable, "-m", "chatload")
#: What a proof has to show of requests.
_SPEED = ("GetMessages.latency.p95 < 3s", "incident.share < 10%")


@dataclass(frozen=True)
class StepOrder:
    """What a step has to do.

    command: its command line. time_s: how long it takes at most (seconds). prints: its standard output is its result
    (JSON).
    """

    step: CampaignStep
    command: tuple[str, ...]
    time_s: float
    prints: bool = False

    @property
    def file(self) -> str:
        """The name of its result."""
        return RESULT_FILES[self.step]


@dataclass(frozen=True)
class LoadFrame:
    """What all steps that run load have in common. folder: of the campaign. timeout_s: the server's, as measured.

    length_s: the mean time that a chat is open at the peak, its wait for an agent included (seconds). max_sessions,
    max_requests_per_s: the ceilings; None for none.
    """

    file: CampaignFile
    folder: Path
    timeout_s: float
    length_s: float
    max_sessions: int | None
    max_requests_per_s: float | None

    @property
    def chats(self) -> ChatShape:
        return ChatShape(self.length_s, self.file.target_drop_rate, self.timeout_s)

    @property
    def processes(self) -> int:
        """The processes of a run: none without a chat."""
        return self.file.processes if self.max_sessions is None else min(self.file.processes, self.max_sessions)

    def run_dir(self, step: CampaignStep) -> str:
        return str(self.folder / step.folder)

    def way(self) -> list[str]:
        """Return the options that say how to reach the service; all commands have them."""
        file = self.file
        texts = {"--service": file.service, "--dialect": file.dialect, "--ca-file": file.ca_file,
                 "--client-cert": file.client_cert}  # fmt: skip
        named = [part for flag, text in texts.items() if text for part in (flag, text)]
        return [*named, *(part for host in file.target_owner_agrees for part in ("--target-owner-agrees", host))]

    def limits(self) -> list[str]:
        """Return the ceilings and the number of processes, as options of a Locust run."""
        ceilings = (("--max-sessions", self.max_sessions), ("--max-requests-per-s", self.max_requests_per_s))
        found = _options({flag: value for flag, value in ceilings if value is not None})
        return [*found, *(("--processes", str(self.processes)) if self.processes > 1 else ())]

    def customers(self) -> list[str]:
        """Return the options of what customers and their client do, as options of a Locust run."""
        persona = [] if self.file.persona == "strict" else ["--persona", self.file.persona]
        return [*persona, *(("--script", self.file.script) if self.file.script else ())]

    def load(self) -> list[str]:
        """Return the options of every Locust run of the campaign."""
        own = _options({"--flex-disconnect-timeout": self.timeout_s, "--chat-length": self.length_s})
        return ["--host", self.file.host, *self.way(), *own, *self.customers(), *self.limits()]


def _options(values: Mapping[str, float | int]) -> list[str]:
    return [part for flag, value in values.items() for part in (flag, written(value))]


def doctor(frame: LoadFrame, users: int) -> StepOrder:
    """Return the check of the machine and the host for so many chats."""
    more = _options({"--users": users, "--processes": frame.processes, "--chat-length": frame.length_s})
    command = (*_CHATLOAD, "doctor", "--host", frame.file.host, *frame.way(), *more, "--run-dir", str(frame.folder))
    return StepOrder(CampaignStep.DOCTOR, (*command, "--json"), SHORT_S, prints=True)


def probe(frame: LoadFrame, time_s: float) -> StepOrder:
    """Return the measurement of the server's timeout, which takes at most `time_s` (seconds)."""
    said = frame.file.flex_disconnect_timeout
    known = _options({} if said is None else {"--flex-disconnect-timeout": said})
    chats = chats_within(DEFAULT_CHATS, frame.max_sessions, frame.max_requests_per_s)
    command = (*_CHATLOAD, "probe", "--host", frame.file.host, *frame.way(), *known, "--sessions", str(chats))
    return StepOrder(CampaignStep.PROBE, (*command, "--json"), time_s, prints=True)


def capacity(frame: LoadFrame, interval_s: float, ceiling: int, time_s: float) -> StepOrder:
    """Return the search for the capacity, up to `ceiling` sessions, in `time_s` (seconds)."""
    rules = search_rules(frame.timeout_s, interval_s, ceiling)
    own: dict[str, float | int] = {"--start-sessions": rules.start, "--step-hold": rules.hold_s}
    if frame.file.persona == "strict":  # other clients have an interval of their own
        own["--refresh-interval"] = interval_s
    bounded = replace(frame, max_sessions=ceiling)
    load = (*bounded.load(), *_options(own), *_time(time_s), "--run-dir", frame.run_dir(CampaignStep.CAPACITY))
    return StepOrder(CampaignStep.CAPACITY, headless_run("capacity", *load), time_s)


def tune(frame: LoadFrame, users: int, design: SweepDesign) -> StepOrder:
    """Return the sweep of refresh intervals, with `users` customers."""
    file, chats = frame.file, frame.chats
    own = {
        "--flex-disconnect-timeout": frame.timeout_s, "--chat-length": chats.length_s, "--users": users,
        "--spawn-rate": _spawn_rate(users, chats), "--sessions": design.sessions, "--target": file.target_drop_rate,
    }  # fmt: skip
    sweep = ("--sweep", ",".join(map(written, design.fractions)))
    command = (
        *_CHATLOAD,
        "tune",
        "--host",
        file.host,
        *_options(own),
        *frame.customers(),
        *sweep,
        *_time(design.time_s),
    )
    more = (*frame.way(), *frame.limits())
    run_dir = frame.run_dir(CampaignStep.TUNE)
    return StepOrder(CampaignStep.TUNE, (*command, "--run-dir", run_dir, "--", *more), design.time_s)


def plan(frame: LoadFrame, interval_s: float, held: int | None) -> StepOrder:
    """Return the plan of the servers for this refresh interval (seconds).

    held: the sessions that the servers behind the host held, if the capacity search certifies no more; None if it
    certifies a capacity.
    """
    file, folder = frame.file, frame.folder / CampaignStep.PLAN.folder
    given = {
        "--chats-per-hour": file.chats_per_hour, "--chats-per-day": file.chats_per_day,
        "--peak-hour-share": file.peak_hour_share, "--growth": file.growth, "--rate-cv": file.rate_cv,
        "--percentile": file.percentile, "--spare": file.spare, "--messages-per-chat": file.messages_per_chat,
        "--handling-time": file.handling_time, "--target-drop-rate": file.target_drop_rate,
        "--poll-interval": interval_s, "--flex-disconnect-timeout": frame.timeout_s, "--agents": file.agents,
        "--patience": file.patience,
    }  # fmt: skip
    profile = ("--arrival-profile", file.arrival_profile) if file.arrival_profile else ()
    # A plan refuses a search that certifies nothing: its run also has loads that were not held.
    found = ["--run", frame.run_dir(CampaignStep.CAPACITY), "--run-servers", str(file.servers)]
    if held is not None:
        found = _options({"--sessions-per-server": held / file.servers})
    values = _options({flag: value for flag, value in given.items() if value is not None})
    pages = ("--html", str(folder / "plan.html"), "--markdown", str(folder / "plan.md"), "--json")
    command = (*_CHATLOAD, "plan", *values, *profile, *found, *pages)
    return StepOrder(CampaignStep.PLAN, command, SHORT_S, prints=True)


def proof(frame: LoadFrame, load: ProofLoad, refresh: Iterable[str]) -> StepOrder:
    """Return the run at the planned load. refresh: the options of the refresh interval."""
    chats, sources = frame.chats, frame.processes
    own = {"--users": sources, "--spawn-rate": sources, "--arrival-rate": load.rate_per_s(chats.length_s)}
    if frame.max_sessions is not None:
        # Random arrivals know no ceiling: what would exceed it is not started, and counted as such.
        own["--max-open"] = frame.max_sessions // sources
    thresholds = [part for text in proof_thresholds(chats) for part in ("--threshold", text)]
    time_s = proof_s(chats, load)
    options = (*frame.load(), *_options(own), *_time(time_s), *refresh, *thresholds)
    command = headless_run("arrivals", *options, "--run-dir", frame.run_dir(CampaignStep.PROOF))
    return StepOrder(CampaignStep.PROOF, command, time_s)


def proof_thresholds(chats: ChatShape) -> list[str]:
    """Return what a proof has to show.

    These are those of the standard gate that as many chats as show the target can decide. The gate's 99th percentiles
    need more: a p99 of RequestChat needs 300 independent openings, and openings of the same time are alike.
    """
    others = chats.other_limit
    rates = {"dropped.rate": chats.target, "unserved.rate": others, "failed.rate": others,
             "GetMessages.unsuccessful.rate": others}  # fmt: skip
    limits = [f"{name} < {100 * limit:.6g}%" for name, limit in rates.items()]
    return [f"dropped.per_chat_hour < {chats.drops_per_hour:.6g}", *limits, *_SPEED]


def _spawn_rate(users: int, chats: ChatShape) -> float:
    """Return how many customers start per second, so that all have started after the ramp."""
    return max(math.ceil(10 * users / chats.ramp_s) / 10, 0.1)


def _time(seconds: float) -> list[str]:
    return ["-t", f"{math.ceil(seconds)}s"]
