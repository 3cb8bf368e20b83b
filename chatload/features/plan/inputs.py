"""The inputs of a capacity plan: the expected demand, and what one server carries: typed in, published, or as a run
shows it. What a run held need not be the limit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import accumulate
from typing import NamedTuple

from chatload.errors import UsageError
from chatload.run.books import is_unserved, may_be_dropped
from chatload.run.reader import RunReader
from chatload.run.windows import Window
from chatload.stats.bursts import find_incidence
from chatload.vocabulary import DROPPED_SURELY, Verdict

#: The vendor's default of flex-disconnect-timeout (seconds).
DEFAULT_TIMEOUT_S = 45.0
_POLL = "GetMessages"
#: Sessions with these verdicts have no known chat length.
_UNENDED = (Verdict.CUT_OFF, Verdict.REFUSED)


class LengthDistribution(StrEnum):
    """How the lengths of chats are spread around their mean."""

    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"
    FIXED = "fixed"


class Constraint(StrEnum):
    """A resource that limits a server. The value is the input that has its figure per server."""

    SESSIONS = "sessions_per_server"
    REQUESTS = "requests_per_server"
    STARTS = "starts_per_server"
    MESSAGES = "messages_per_server"


#: What is counted, with its unit.
LABELS = {
    Constraint.SESSIONS: "sessions", Constraint.REQUESTS: "requests/s", Constraint.STARTS: "chat starts/s",
    Constraint.MESSAGES: "messages/s",
}  # fmt: skip


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
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float):
                _finite(item.name, value)
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
        if self.peakedness > max(self.mean_chats, 1.0):
            message = f"--peakedness {self.peakedness:g} is more than the {self.mean_chats:.3g} chats open on average"
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
        before = self.chats_per_hour
        if before is None:
            before = (self.chats_per_day or 0.0) * (self.peak_hour_share or 0.0)
        return before * (1 + self.growth)

    @property
    def mean_chats(self) -> float:
        """The mean number of chats open at once in the peak hour, by Little's law."""
        return self.arrivals_per_hour * self.handling_time_s / 3600

    @property
    def tail(self) -> float:
        """The share of time in which more chats than planned may be open."""
        return (100 - self.percentile) / 100


class ServerFigure(NamedTuple):
    """What one server carries of a constraint: chats open at once, else a rate per second."""

    value: float
    origin: Origin = Origin.TYPED


#: What one server carries, for the constraints that are known, in their order.
Capacity = Mapping[Constraint, ServerFigure]


@dataclass(frozen=True)
class Preset:
    """Figures of one Chat Server that the vendor has published, with their source."""

    name: str
    about: str
    source: str
    figures: Mapping[Constraint, float]


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "genesys-sizing",
            "one Chat Server on two 3 GHz Xeons: 500 sessions, 50 messages/s (rare peaks 150), 10 sessions opened "
            "and closed per second (rare peaks 30), messages up to 4 KB, transcripts up to 54 KB",
            "Genesys, Chat Server option reference, older sizing advice",
            {Constraint.SESSIONS: 500, Constraint.MESSAGES: 50, Constraint.STARTS: 10},
        ),
        Preset(
            "genesys-limits",
            "where one Chat Server with its default options refuses: limit-for-sessions 1000 (limit-for-flex-users "
            "1001), accepting again under limits-restore-threshold 80 %; not what it carries well",
            "Genesys, Chat Server option reference, defaults",
            {Constraint.SESSIONS: 1000},
        ),
    )
}


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise UsageError(f"{option(name)} {value} is not a number to plan with")


def _above_0(name: str, value: float | None) -> None:
    if value is not None and value <= 0:
        raise UsageError(f"{option(name)} {value:g} is not above 0")


# -- what a run shows ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drops:
    """Measured drops, and the time in which they happened.

    drops: proven. possible: proven and unproven. chat_seconds: time that chats were open, summed over all chats.
    bound: instead of these, an upper bound of the share of chats dropped, if only that is known.
    """

    drops: int = 0
    possible: int = 0
    chat_seconds: float = 0.0
    bound: float | None = None


class Held(NamedTuple):
    """The most that was held, each over a stretch of its own: sessions open throughout, means of the rates."""

    sessions: int
    requests_per_s: float
    starts_per_s: float


@dataclass(frozen=True)
class Measured:
    """The figures of one run that a plan uses. Times are seconds.

    held: by all servers together. bursts: bursts of drops. demand: what is known of the run by fields of Demand: the
    mean time that chats were open (divided by the chats that ended), this time divided by the polls, the requests of a
    chat other than polls, and the timeout.
    """

    run: str
    held: Held
    held_for_s: float
    servers: int
    drops: Drops
    sessions: int
    refused: int
    bursts: int
    demand: Mapping[str, float]

    def capacity(self) -> dict[Constraint, float]:
        """Return what one server held: an equal part."""
        held = zip((Constraint.SESSIONS, Constraint.REQUESTS, Constraint.STARTS), self.held, strict=True)
        return {constraint: value / self.servers for constraint, value in held if value > 0}


def measure_run(reader: RunReader, name: str, servers: int = 1) -> Measured:
    """Read a run. servers: number of servers that shared its load.

    Raises UsageError if it held nothing. A load counts as held if it lasted for at least one flex-disconnect-timeout,
    because a refresh that comes too late shows only after that time.
    """
    if servers < 1:
        raise UsageError(f"--run-servers {servers} is not a whole number from 1")
    timeout_s = reader.settings.flex_disconnect_timeout
    stretch = timeout_s or DEFAULT_TIMEOUT_S
    held = most_held(list(reader.windows()), stretch)
    if held is None or held.sessions == 0:
        raise UsageError(
            f"{name}: no session was held for one flex-disconnect-timeout ({stretch:g} s)",
            "give a longer run, or --sessions-per-server N",
        )
    open_s, ended, drops, possible, refused = 0.0, 0, 0, 0, 0
    for session in reader.sessions():
        if is_unserved(session):
            refused += 1
            continue
        open_s += max(session.ended_at - session.started_at, 0.0)
        ended += session.verdict not in _UNENDED
        drops += session.verdict in DROPPED_SURELY
        possible += may_be_dropped(session)
    books = reader.books()
    polls = books.sent[_POLL]
    accepted = books.started - refused
    demand = {
        "handling_time_s": open_s / ended if ended else None,
        "poll_interval_s": open_s / polls if polls else None,
        "other_requests_per_chat": (books.sent.total() - polls) / accepted if accepted else None,
        "flex_disconnect_timeout_s": timeout_s,
    }
    return Measured(
        run=name,
        held=held,
        held_for_s=stretch,
        servers=servers,
        drops=Drops(drops, possible, open_s),
        sessions=books.started,
        refused=refused,
        bursts=len(find_incidence(reader.drop_instants(), reader.started_at, reader.ended_at).bursts),
        demand={name: value for name, value in demand.items() if value is not None},
    )


def most_held(windows: Sequence[Window], stretch_s: float) -> Held | None:
    """Return the most that was held over at least `stretch_s` seconds of whole windows; None if the run is shorter."""
    opens = [window.open for window in windows]
    sent = list(accumulate((window.books.sent.total() for window in windows), initial=0))
    started = list(accumulate((window.books.started for window in windows), initial=0))
    held: Held | None = None
    end = 0
    for first, window in enumerate(windows):
        while end < len(windows) and windows[end].end - window.start < stretch_s:
            end += 1
        if end == len(windows):
            break
        length = windows[end].end - window.start
        sessions = min(opens[first : end + 1])
        requests, starts = (sent[end + 1] - sent[first]) / length, (started[end + 1] - started[first]) / length
        best = held or Held(0, 0.0, 0.0)
        held = Held(max(sessions, best[0]), max(requests, best[1]), max(starts, best[2]))
    return held


def capacity_of(
    measured: Measured | None, preset: Mapping[Constraint, float], typed: Mapping[Constraint, float]
) -> Capacity:
    """Return one server's capacity. A figure typed in overrides the run's, which overrides the preset's.

    Raises UsageError if a figure is impossible or there is none.
    """
    found: dict[Constraint, ServerFigure] = {}
    held = measured.capacity() if measured else {}
    for figures, origin in ((preset, Origin.PRESET), (held, Origin.HELD), (typed, Origin.TYPED)):
        for constraint, value in figures.items():
            _finite(constraint, value)
            _above_0(constraint, value)
            found[constraint] = ServerFigure(value, origin)
    if not found:
        raise UsageError(
            "the capacity of a server is missing",
            "give --run RUN, --sessions-per-server N, --requests-per-server R or --preset NAME",
        )
    return {constraint: found[constraint] for constraint in Constraint if constraint in found}
