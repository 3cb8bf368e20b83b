"""The inputs of a capacity plan: the expected demand, and what one server has carried."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from chatload.errors import UsageError

#: The vendor's default of flex-disconnect-timeout (seconds).
DEFAULT_TIMEOUT_S = 45.0


class LengthDistribution(StrEnum):
    """How the lengths of chats are spread around their mean."""

    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"
    FIXED = "fixed"


class Constraint(StrEnum):
    """A resource that limits a server. The value is the name of its figure per server in Capacity."""

    SESSIONS = "sessions_per_server"
    REQUESTS = "requests_per_server"
    STARTS = "starts_per_server"
    MESSAGES = "messages_per_server"

    @property
    def label(self) -> str:
        """What is counted, with its unit."""
        return {"sessions": "sessions", "requests": "requests/s", "starts": "chat starts/s", "messages": "messages/s"}[
            self.value.partition("_")[0]
        ]


class Origin(StrEnum):
    """Where a figure of capacity comes from."""

    HELD = "held by the run"
    TYPED = "typed in"
    PRESET = "preset"


def option(name: str) -> str:
    """Return an input as an option: poll_interval_s is --poll-interval."""
    return "--" + name.removesuffix("_s").replace("_", "-")


@dataclass(frozen=True)
class Demand:
    """The expected demand. Shares and growth are fractions, times are seconds.

    chats_per_hour: in the peak hour; or chats_per_day and peak_hour_share, the share of them in the peak hour.
    handling_cv: standard deviation / mean of the chat length, for lognormal. percentile: the planned number of open
    chats is not exceeded in this part of the peak hour (percent). peakedness: variance-to-mean ratio of the number of
    open chats, 1 for Poisson. messages_per_chat: of both sides, None if not known. other_requests_per_chat: without
    polls. spare: servers that may fail. target_drop_rate: the share of chats that may be dropped.
    """

    handling_time_s: float
    poll_interval_s: float
    chats_per_hour: float | None = None
    chats_per_day: float | None = None
    peak_hour_share: float | None = None
    handling_distribution: LengthDistribution = LengthDistribution.EXPONENTIAL
    handling_cv: float | None = None
    growth: float = 0.0
    percentile: float = 99.9
    peakedness: float = 1.0
    messages_per_chat: float | None = None
    other_requests_per_chat: float = 2.0
    spare: int = 1
    target_drop_rate: float | None = None
    flex_disconnect_timeout_s: float = DEFAULT_TIMEOUT_S

    def __post_init__(self) -> None:
        """Raise UsageError if an input is impossible or contradicts another."""
        _finite(self)
        self._check_arrivals()
        self._check_chats()
        if not 50 <= self.percentile < 100:
            raise UsageError(f"--percentile {self.percentile:g} is not from 50 up to, not including, 100")
        if self.target_drop_rate is not None and not 0 < self.target_drop_rate < 1:
            raise UsageError("--target-drop-rate is not between 0 and 1", "no run shows that no chat is ever dropped")
        if self.spare < 0 or self.spare != int(self.spare):
            raise UsageError(f"--spare {self.spare} is not a whole number from 0")
        if self.peakedness < 1:
            message = f"--peakedness {self.peakedness:g} is below 1, smoother than Poisson"
            raise UsageError(message, "plan with 1, which is on the safe side")
        mean = self.arrivals_per_hour * self.handling_time_s / 3600
        if self.peakedness > max(mean, 1.0):
            message = f"--peakedness {self.peakedness:g} is more than the {mean:.3g} chats open on average"
            raise UsageError(message, "the approximation is not valid there: plan for the largest bunch itself")

    def _check_arrivals(self) -> None:
        if self.chats_per_hour is not None and (self.chats_per_day is not None or self.peak_hour_share is not None):
            also = "--chats-per-day" if self.chats_per_day is not None else "--peak-hour-share"
            raise UsageError(f"--chats-per-hour and {also} contradict each other", "give one of them")
        if self.chats_per_hour is None and self.chats_per_day is None:
            raise UsageError("the number of chats is missing", "give --chats-per-hour, or --chats-per-day")
        if self.chats_per_day is not None and self.peak_hour_share is None:
            raise UsageError("--chats-per-day needs --peak-hour-share", "the share of them in the busiest hour")
        for name in ("chats_per_hour", "chats_per_day"):
            _above_0(name, getattr(self, name))
        share = self.peak_hour_share
        if share is not None and not 1 / 24 - 1e-12 <= share <= 1:
            raise UsageError(
                f"--peak-hour-share {100 * share:g} % is not from 1/24 (4.17 %) to 100 %",
                "the busiest of 24 hours has at least its part",
            )
        if self.growth <= -1:
            raise UsageError(f"--growth {100 * self.growth:g} % leaves no chats", "write 20% for a fifth more")

    def _check_chats(self) -> None:
        for name in ("handling_time_s", "poll_interval_s", "flex_disconnect_timeout_s", "handling_cv"):
            _above_0(name, getattr(self, name))
        for name in ("messages_per_chat", "other_requests_per_chat"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{option(name)} {value:g} is below 0")
        lognormal = self.handling_distribution is LengthDistribution.LOGNORMAL
        if lognormal and self.handling_cv is None:
            raise UsageError("--handling-distribution lognormal needs --handling-cv", "1 is as spread as exponential")
        if not lognormal and self.handling_cv is not None:
            raise UsageError(f"--handling-cv contradicts --handling-distribution {self.handling_distribution}")
        if self.poll_interval_s >= self.flex_disconnect_timeout_s:
            raise UsageError(
                f"--poll-interval {self.poll_interval_s:g} s is not below "
                f"--flex-disconnect-timeout {self.flex_disconnect_timeout_s:g} s",
                "every chat would be dropped",
            )

    @property
    def arrivals_per_hour(self) -> float:
        """Chats that arrive in the peak hour, growth included."""
        if self.chats_per_hour is not None:
            before = self.chats_per_hour
        else:
            before = (self.chats_per_day or 0.0) * (self.peak_hour_share or 0.0)
        return before * (1 + self.growth)

    @property
    def tail(self) -> float:
        """The share of time in which more chats than planned may be open."""
        return (100 - self.percentile) / 100


@dataclass(frozen=True)
class Capacity:
    """What one server carries; None if not known. All figures but sessions are per second.

    origins: where each figure comes from.
    """

    sessions_per_server: float | None = None
    requests_per_server: float | None = None
    starts_per_server: float | None = None
    messages_per_server: float | None = None
    origins: Mapping[Constraint, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise UsageError if a figure is impossible or there is none."""
        _finite(self)
        for constraint in Constraint:
            _above_0(constraint, self.of(constraint))
        if all(self.of(constraint) is None for constraint in Constraint):
            raise UsageError(
                "the capacity of a server is missing",
                "give --run RUN, --sessions-per-server N, --requests-per-server R or --preset NAME",
            )

    def of(self, constraint: Constraint) -> float | None:
        """Return one server's figure."""
        value: float | None = getattr(self, constraint.value)
        return value

    def scaled(self, constraint: Constraint, factor: float) -> Capacity:
        """Return this capacity with one figure multiplied."""
        figures = {item: value * (factor if item is constraint else 1) for item, value in self.known()}
        return Capacity(origins=self.origins, **{item.value: value for item, value in figures.items()})

    def known(self) -> Iterator[tuple[Constraint, float]]:
        """Yield the known figures."""
        for constraint in Constraint:
            value = self.of(constraint)
            if value is not None:
                yield constraint, value


@dataclass(frozen=True)
class Preset:
    """Figures of one Chat Server that the vendor has published, with their source."""

    name: str
    about: str
    source: str
    figures: Mapping[Constraint, float]


_SOURCE = "Genesys, Chat Server option reference"
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "genesys-sizing",
            "one Chat Server on two 3 GHz Xeons: 500 sessions, 50 messages/s (rare peaks 150), 10 sessions opened "
            "and closed per second (rare peaks 30), messages up to 4 KB, transcripts up to 54 KB",
            f"{_SOURCE}, older sizing advice",
            {Constraint.SESSIONS: 500, Constraint.MESSAGES: 50, Constraint.STARTS: 10},
        ),
        Preset(
            "genesys-limits",
            "where one Chat Server with its default options refuses: limit-for-sessions 1000 (limit-for-flex-users "
            "1001), accepting again under limits-restore-threshold 80 %; not what it carries well",
            f"{_SOURCE}, defaults",
            {Constraint.SESSIONS: 1000},
        ),
    )
}


def _finite(inputs: Demand | Capacity) -> None:
    for item in fields(inputs):
        value = getattr(inputs, item.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{option(item.name)} {value} is not a number to plan with")


def _above_0(name: str, value: float | None) -> None:
    if value is not None and value <= 0:
        raise UsageError(f"{option(name)} {value:g} is not above 0")
