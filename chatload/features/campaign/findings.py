"""What the steps of a campaign have found so far, and what follows from it for the next ones."""

import math
from functools import cached_property
from pathlib import Path

from chatload.chat.policy import WIDGET_INTERVAL_S, make_policy
from chatload.features.campaign.budget import (
    CampaignBudget,
    ChatShape,
    PeakLoad,
    ProofLoad,
    proof_load,
    search_ceiling,
)
from chatload.features.campaign.campaign_file import CampaignFile
from chatload.features.campaign.commands import LoadFrame
from chatload.features.campaign.results import (
    CapacityResult,
    DoctorResult,
    PlanResult,
    ProbeResult,
    ProofResult,
    SweptInterval,
    TuneResult,
    read_result,
)
from chatload.features.campaign.rules import CampaignStep
from chatload.features.plan.inputs import DEFAULT_TIMEOUT_S, Demand
from chatload.run.settings import RunSettings, session_settings
from chatload.target import TargetRules

#: A configured timeout this close to the measured bounds counts as equal (seconds).
_ROUNDING_S = 1e-3


class Findings:
    """What the steps of a campaign have found so far, read from its folder. Raises FileError for a file that is wrong.

    Later steps use a figure of the file or a default in the place of one that was not found.
    """

    def __init__(self, file: CampaignFile, folder: Path, rules: TargetRules) -> None:
        self.file, self.folder, self.rules = file, folder, rules

    @cached_property
    def probe(self) -> ProbeResult | None:
        return read_result(self.folder, CampaignStep.PROBE, ProbeResult)

    @cached_property
    def capacity(self) -> CapacityResult | None:
        return read_result(self.folder, CampaignStep.CAPACITY, CapacityResult)

    @cached_property
    def tune(self) -> TuneResult | None:
        return read_result(self.folder, CampaignStep.TUNE, TuneResult)

    @cached_property
    def plan(self) -> PlanResult | None:
        return read_result(self.folder, CampaignStep.PLAN, PlanResult)

    @cached_property
    def doctor(self) -> DoctorResult | None:
        return read_result(self.folder, CampaignStep.DOCTOR, DoctorResult)

    @cached_property
    def proof(self) -> ProofResult | None:
        return read_result(self.folder, CampaignStep.PROOF, ProofResult)

    @property
    def timeout_s(self) -> float:
        """The timeout that the load goes by (seconds): the configured one if the measured bounds allow it."""
        said, probe = self.file.flex_disconnect_timeout, self.probe
        if probe is None or probe.timeout_lower_s is None or probe.timeout_upper_s is None:
            return said or DEFAULT_TIMEOUT_S
        if said is not None and probe.timeout_lower_s - _ROUNDING_S <= said <= probe.timeout_upper_s + _ROUNDING_S:
            return said
        return math.floor(1000 * probe.timeout_lower_s) / 1000

    @property
    def search_interval_s(self) -> float:
        """The refresh interval of the capacity search (seconds): that of a run without options."""
        own = WIDGET_INTERVAL_S if self.file.persona == "widget" else None
        return make_policy("fixed", self.timeout_s, own, None, False).interval_s

    @property
    def has_interval(self) -> bool:
        """Whether the refresh interval can be chosen: a browser's client has its own."""
        return self.file.persona == "strict"

    @property
    def swept(self) -> SweptInterval | None:
        """The refresh interval that the sweep recommends; None if there is none."""
        return None if self.tune is None else self.tune.best

    @property
    def interval_s(self) -> float:
        """The refresh interval of the answer (seconds)."""
        return self.search_interval_s if self.swept is None else self.swept.interval_s

    @property
    def refresh_options(self) -> list[str]:
        """The options of this interval."""
        if not self.has_interval:
            return []
        if self.swept is None:
            return ["--refresh-interval", f"{self.interval_s:.6g}"]
        return ["--refresh-policy", "fraction", "--refresh-fraction", f"{self.swept.fraction:g}"]

    @property
    def held(self) -> int:
        """The sessions that the servers behind the host hold."""
        return 0 if self.capacity is None else self.capacity.at_least

    @property
    def chats(self) -> ChatShape:
        return self.frame.chats

    @property
    def frame(self) -> LoadFrame:
        file, rules = self.file, self.rules
        lowered = rules.lowered(file.max_sessions, file.max_requests_per_s)
        ceilings = (lowered.max_sessions, lowered.max_requests_per_s)
        return LoadFrame(file, self.folder, self.timeout_s, self.demand.open_s, *ceilings)

    @cached_property
    def demand(self) -> Demand:
        """The demand, at the refresh interval of the capacity search."""
        return self.file.demand(self.search_interval_s)

    @property
    def proof_load(self) -> ProofLoad:
        """The load of the proof: the part of the peak that the servers behind the host have to carry."""
        if self.plan is None or not self.held:
            return self.budget.proof_load(self.budget.assumed)
        peak = PeakLoad(self.plan.peak.chats, self.demand.tail)
        held = min(self.held, self.budget.ceiling)
        return proof_load(self.chats, peak, self.plan.servers.needed, self.file.servers, held)

    @cached_property
    def budget(self) -> CampaignBudget:
        """The time and the load of the campaign."""
        frame, peak = self.frame, PeakLoad(self.file.peak_chats(self.search_interval_s), self.demand.tail)
        often, seldom = (self._rate(interval) for interval in (self.search_interval_s, self.timeout_s / 2))
        by_rate = None if frame.max_requests_per_s is None else max(1, int(frame.max_requests_per_s / often))
        return CampaignBudget(
            chats=self.chats,
            time_s=self.file.time_available,
            timeout_s=self.timeout_s,
            interval_s=self.search_interval_s,
            per_chat=(often, seldom),
            ceiling=search_ceiling(peak.chats, self.file.servers, frame.max_sessions, by_rate),
            peak=peak,
            servers=self.file.servers,
            swept=self.has_interval,
        )

    def _rate(self, interval_s: float) -> float:
        """Return the requests per second of one chat."""
        from chatload.swarm.checks import planned_rate

        chat = session_settings(
            RunSettings(
                flex_disconnect_timeout=self.timeout_s, refresh_interval=interval_s, request_timeout=self.timeout_s / 2,
                long_poll=0.0, chat_length=self.chats.length_s,
            )
        )  # fmt: skip
        return planned_rate(1, chat)
