"""The campaign file: the demand, the host, and the time that there is for the answer."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from chatload import units
from chatload.chat.personas import PERSONAS
from chatload.errors import FileError, UsageError
from chatload.features.plan.compute import planned_chats
from chatload.features.plan.inputs import DEFAULT_TIMEOUT_S, DayProfile, Demand
from chatload.protocol.toml_file import FromFile, load_toml, with_unit

#: Signers that the first sheet of the sign-off page has room for.
_SIGNERS = 5


Duration = Annotated[float, with_unit(units.DURATION), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, with_unit(units.SHARE), Field(gt=0, allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
_Positive = Annotated[float, with_unit(units.NUMBER), Field(gt=0, allow_inf_nan=False)]
_PerHour = Annotated[float, with_unit(units.RATE_PER_H), Field(gt=0, allow_inf_nan=False)]
_PerSecond = Annotated[float, with_unit(units.RATE_PER_S), Field(gt=0, allow_inf_nan=False)]
_Number = Annotated[int, with_unit(units.COUNT), Field(gt=0)]


class CampaignFile(FromFile):
    """The keys of a campaign file. Durations are seconds, or texts such as "8m"; shares are 0.01 or "1%"; other
    quantities are numbers, or texts such as "4,000" and "4000/h".

    host: URL of the service. time_available: for the whole campaign. servers: how many servers are behind `host`.
    The demand is that of `chatload plan`: chats_per_hour, or chats_per_day with peak_hour_share, or arrival_profile, a
    CSV file; handling_time, agents, patience, growth, rate_cv, percentile, spare, messages_per_chat. persona, script:
    how the client polls, and what customers do, as the options of a run. target_drop_rate: the share of chats that may
    be dropped. flex_disconnect_timeout: what the server is said to have; it is measured in any case. max_sessions,
    max_requests_per_s: ceilings, beside those of chatload.toml. signers: who signs the sign-off page, at most five.
    """

    host: Annotated[str, Field(min_length=1)]
    time_available: Duration
    handling_time: Duration
    chats_per_hour: _PerHour | None = None
    chats_per_day: _Positive | None = None
    peak_hour_share: Share | None = None
    arrival_profile: str = ""
    agents: _Number | None = None
    patience: Duration | None = None
    growth: Share | None = None
    rate_cv: Share | None = None
    percentile: _Positive | None = None
    spare: Annotated[int, Field(ge=0)] | None = None
    messages_per_chat: _Positive | None = None
    target_drop_rate: Share = 0.01
    flex_disconnect_timeout: Duration | None = None
    servers: _Number = 1
    title: str = ""
    service: str = "default"
    dialect: str = "gms-v2"
    persona: str = "strict"
    script: str = ""
    ca_file: str = ""
    client_cert: str = ""
    target_owner_agrees: Texts = ()
    processes: _Number = 1
    max_sessions: _Number | None = None
    max_requests_per_s: _PerSecond | None = None
    signers: Annotated[Texts, Field(max_length=_SIGNERS)] = ("Test lead", "Service owner")

    def demand(self, interval_s: float) -> Demand:
        """Return the demand with this refresh interval. Raises UsageError if the keys contradict each other."""
        optional = {
            "chats_per_hour": self.chats_per_hour, "chats_per_day": self.chats_per_day,
            "peak_hour_share": self.peak_hour_share, "growth": self.growth, "rate_cv": self.rate_cv,
            "percentile": self.percentile, "spare": self.spare, "messages_per_chat": self.messages_per_chat,
            "agents": self.agents, "patience_s": self.patience,
            "arrival_profile": DayProfile.load(self.arrival_profile) if self.arrival_profile else None,
        }  # fmt: skip
        given: dict[str, Any] = {name: value for name, value in optional.items() if value is not None}
        timeout_s = self.flex_disconnect_timeout or max(DEFAULT_TIMEOUT_S, 2 * interval_s)
        return Demand(
            handling_time_s=self.handling_time,
            poll_interval_s=interval_s,
            target_drop_rate=self.target_drop_rate,
            flex_disconnect_timeout_s=timeout_s,
            **given,
        )

    @property
    def inputs(self) -> dict[str, str]:
        """The files that the campaign reads, by the names of their copies in its folder."""
        names = {"arrival_profile.csv": self.arrival_profile, "script.toml": self.script}
        return {copy: name for copy, name in names.items() if name}

    def peak_chats(self, interval_s: float) -> int:
        """Return how many chats open at once are planned for. Raises UsageError if the keys contradict each other."""
        return planned_chats(self.demand(interval_s))


def _as_keys(text: str) -> str:
    """Return a message with the keys of the file in place of the options of `chatload plan`."""
    return re.sub(r"--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), text)


def load_campaign(path: str | Path) -> CampaignFile:
    """Read a campaign file. Raises FileError (file, key, what is expected)."""
    file = load_toml(path, CampaignFile)
    if file.target_drop_rate >= 1:
        raise FileError(path, "target_drop_rate", 'expected a share below 1, such as "1%"')
    if file.persona not in PERSONAS:
        raise FileError(path, "persona", f"expected {' or '.join(PERSONAS)}, not {file.persona!r}")
    for key in ("arrival_profile", "script", "ca_file", "client_cert"):
        name = getattr(file, key)
        if name and not Path(name).is_file():
            raise FileError(path, key, f"there is no file {name}")
    try:
        file.peak_chats(1.0)
    except FileError:  # of the profile
        raise
    except UsageError as error:
        raise FileError(path, "", f"the demand is wrong: {_as_keys(str(error))}") from None
    return file
