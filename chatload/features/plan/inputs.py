"""The inputs of a capacity plan: the expected demand, and what one server carries: typed in, published, or as a run
shows it. What a run held need not be the limit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from chatload.errors import UsageError
from chatload.features.plan.agents import AgentQueue, agent_queue, fluid_peak, profile_queue
from chatload.features.plan.certificate import CapacityCertificate, SearchFile
from chatload.features.plan.queueing import BusiestInstant, above, busiest_instant
from chatload.run.arrivals import RateProfile, load_profile
from chatload.run.books import is_unserved, may_be_dropped
from chatload.run.reader import Reads, RunReader
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
    CERTIFIED = "capacity search"
    TYPED = "typed in"
    PRESET = "preset"


def option(name: str) -> str:
    """Return an input as an option: poll_interval_s is --poll-interval."""
    return "--" + name.removesuffix("_s").replace("_", "-")


@dataclass(frozen=True)
class DayProfile:
    """The arrival rate over a day, and the file that it is from."""

    name: str
    rate: RateProfile

    @classmethod
    def load(cls, path: str | Path) -> "DayProfile":
        """Read the CSV file of `--arrival-profile`. Raises FileError."""
        return cls(str(path), load_profile(path))

    @property
    def highest_rate(self) -> float:
        """The highest rate (chats per hour)."""
        return 3600 * max(max(piece.first, piece.last) for piece in self.rate.pieces)

    @property
    def longest_row_s(self) -> float:
        """The longest time between two of its rows (seconds): what changes faster is not in it."""
        return max(piece.end - piece.start for piece in self.rate.pieces)

    def clock(self, at_s: float) -> str:
        """Return an instant, in seconds since the profile began, as H:MM of its file's time."""
        minutes = round((self.rate.first_row_s + at_s) / 60)
        return f"{minutes // 60}:{minutes % 60:02}"


@dataclass(frozen=True)
class Demand:
    """The expected demand. Shares and growth are fractions, times are seconds.

    chats_per_hour: in the peak hour; or chats_per_day and peak_hour_share, the share of them in the peak hour; or
    arrival_profile, the rate over the day. rate_cv: standard deviation / mean of the day's rate around the expected
    one. handling_time_s: mean time that a chat is open; with `agents`, the mean time with an agent, without the wait.
    handling_cv: standard deviation / mean of the chat length, for lognormal. agents: chats that can be with an agent at
    once, None for as many as come; further chats wait. patience_s: mean time until a waiting customer gives up, None if
    nobody does. percentile: the planned number of open chats is not exceeded in this part of the peak hour (percent).
    peakedness: variance-to-mean ratio of the number of open chats, 1 for Poisson. messages_per_chat: of both sides,
    None if not known. other_requests_per_chat: without polls. spare: servers that may fail. target_drop_rate: the share
    of chats that may be dropped.
    """

    handling_time_s: float
    poll_interval_s: float
    chats_per_hour: float | None = None
    chats_per_day: float | None = None
    peak_hour_share: float | None = None
    arrival_profile: DayProfile | None = None
    rate_cv: float = 0.0
    handling_distribution: LengthDistribution = LengthDistribution.EXPONENTIAL
    handling_cv: float | None = None
    agents: float | None = None
    patience_s: float | None = None
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
        self._check_agents()
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
        ways = ("arrival_profile", "chats_per_hour", "chats_per_day", "peak_hour_share")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) > 1 and given[0] != "chats_per_day":
            raise UsageError(f"{option(given[0])} and {option(given[1])} contradict each other", "give one of them")
        if not given or given == ["peak_hour_share"]:
            hint = "give --chats-per-hour, --chats-per-day or --arrival-profile"
            raise UsageError("the number of chats is missing", hint)
        if not 0 <= self.rate_cv < 1:
            message = f"--rate-cv {100 * self.rate_cv:g} % is not from 0 up to, not including, 100 %"
            raise UsageError(message, "it is the standard deviation of the day's rate divided by its mean")
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

    def _check_agents(self) -> None:
        if self.agents is None:
            if self.patience_s is not None:
                raise UsageError("--patience needs --agents", "without it every chat has an agent at once")
            return
        if self.agents < 1:
            raise UsageError(f"--agents {self.agents:g} is not a number from 1")
        _above_0("patience_s", self.patience_s)
        if self.handling_distribution is not LengthDistribution.EXPONENTIAL:
            message = f"--agents contradicts --handling-distribution {self.handling_distribution}"
            raise UsageError(message, "Erlang's formulas for waiting chats hold for exponential handling times")
        if self.peakedness != 1:
            raise UsageError("--agents contradicts --peakedness", "Erlang's formulas hold for Poisson arrivals")
        queue = self.queue
        if queue is not None and queue.unstable_share > self.tail / 2:
            days = f"on {100 * queue.unstable_share:.3g} % of days " if self.rate_cv else ""
            message = (
                f"--agents {self.agents:g}: {days}more chats come than the agents can end, and the queue never ends"
            )
            raise UsageError(message, "give --patience, or more agents")

    @property
    def arrivals_per_hour(self) -> float:
        """Chats that arrive in the peak hour, growth included; of a profile, in an hour at its highest rate."""
        before = self.chats_per_hour
        if self.arrival_profile is not None:
            before = self.arrival_profile.highest_rate
        elif before is None:
            before = (self.chats_per_day or 0.0) * (self.peak_hour_share or 0.0)
        return before * (1 + self.growth)

    @property
    def counted_chats(self) -> tuple[float, str]:
        """Expected chats, growth included, and the time in which they arrive: the longest that the inputs tell of."""
        grown = 1 + self.growth
        if self.arrival_profile is not None:
            return self.arrival_profile.rate.total * grown, "the profile"
        if self.chats_per_day is not None:
            return self.chats_per_day * grown, "a day"
        return self.arrivals_per_hour, "the peak hour"

    @property
    def open_s(self) -> float:
        """The mean time that a chat is open at the peak (seconds), its wait for an agent included."""
        queue = self.queue
        waiting_s = 0.0 if queue is None else queue.figures(self.handling_time_s).mean_wait_s
        return self.handling_time_s + waiting_s

    @property
    def busiest(self) -> BusiestInstant | None:
        """When most chats are open on a day with the expected rate, and the load of this instant in erlangs.

        None without a profile, or if its highest rate is taken as lasting: with agents, but without patience. The
        number of chats in a birth-death process grows with the rate, so that is an upper bound.
        """
        profile = self.arrival_profile
        if profile is None:
            return None
        factor, length = 1 + self.growth, self.handling_time_s
        if self.agents is None:
            at_s, mean = busiest_instant(profile.rate, length, self.handling_distribution, self.handling_cv)
            return BusiestInstant(at_s, mean * factor)
        if self.patience_s is None:
            return None
        peak = fluid_peak(profile.rate, factor, self.agents, length, self.patience_s)
        return BusiestInstant(peak.at_s, peak.offered)

    @property
    def offered(self) -> float:
        """The load of the peak in erlangs: the mean number of chats that would be open if it lasted and none waited."""
        busiest = self.busiest
        return self.arrivals_per_hour * self.handling_time_s / 3600 if busiest is None else busiest.mean

    @property
    def queue(self) -> AgentQueue | None:
        """The chats that wait and those with an agent; None if there are as many agents as chats."""
        if self.agents is None:
            return None
        if self.patience_s is None:
            return agent_queue(self.offered, self.agents, None, self.rate_cv)
        if self.arrival_profile is None:
            return agent_queue(self.offered, self.agents, self.patience_s / self.handling_time_s, self.rate_cv)
        agents = (self.agents, self.handling_time_s, self.patience_s)
        return profile_queue(self.arrival_profile.rate, 1 + self.growth, *agents, self.rate_cv)

    @property
    def mean_chats(self) -> float:
        """The mean number of chats open at once at the peak, those that wait for an agent included."""
        queue = self.queue
        return self.offered if queue is None else queue.mean

    def chats_above(self, level: float) -> float:
        """Return the share of time, at the peak, in which more than `level` chats are open."""
        queue = self.queue
        return above(level, self.offered, self.peakedness, self.rate_cv) if queue is None else queue.above(level)

    def grown(self, factor: float) -> "Demand":
        """Return the demand with this many times the chats."""
        return replace(self, growth=(1 + self.growth) * factor - 1)

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

    held: by all servers together. certificate: of a capacity search, also for all servers together. bursts: bursts of
    drops. demand: what is known of the run by fields of Demand: the
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
    certificate: CapacityCertificate | None = None

    def capacity(self) -> dict[Constraint, ServerFigure]:
        """Return what one server held, or holds by the certificate: an equal part.

        A capacity search puts loads on that are not held, so nothing but its certificate says what a server carries.
        """
        figures = {}
        if self.certificate is None:
            held = zip((Constraint.SESSIONS, Constraint.REQUESTS, Constraint.STARTS), self.held, strict=True)
            figures = {constraint: ServerFigure(value, Origin.HELD) for constraint, value in held if value > 0}
        else:
            figures[Constraint.SESSIONS] = ServerFigure(self.certificate.lower, Origin.CERTIFIED)
            if self.certificate.requests_per_s is not None:
                figures[Constraint.REQUESTS] = ServerFigure(self.certificate.requests_per_s, Origin.CERTIFIED)
        return {name: figure._replace(value=figure.value / self.servers) for name, figure in figures.items()}


#: What `measure_run` reads.
MEASURE_READS = Reads(windows=1, sessions=1)


def measure_run(reader: RunReader, name: str, servers: int = 1, search: SearchFile | None = None) -> Measured:
    """Read a run. servers: number of servers that shared its load. search: what it found, if it was a capacity search.

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
    dropped = Drops(drops, possible, open_s)
    certificate = None if search is None else search.capacity
    if certificate is not None:
        # A search goes above the capacity on purpose. Its certificate has the drops at the certified load.
        dropped = Drops(certificate.drops_proven, certificate.drops, 3600 * certificate.chat_hours)
    polls = books.sent[_POLL]
    accepted = books.started - refused
    demand = {
        "handling_time_s": open_s / ended if ended else None,
        "poll_interval_s": open_s / polls if polls else None,
        "other_requests_per_chat": (books.sent.total() - polls) / accepted if accepted else None,
        "flex_disconnect_timeout_s": timeout_s,
    }
    if search is not None:
        # It ends most chats when it reduces the load, and polls late above the capacity.
        demand |= {
            "handling_time_s": None, "other_requests_per_chat": None, "poll_interval_s": search.refresh_interval_s,
        }  # fmt: skip
    return Measured(
        run=name,
        held=held,
        held_for_s=stretch,
        servers=servers,
        drops=dropped,
        sessions=books.started,
        refused=refused,
        bursts=len(find_incidence(reader.drop_instants(), reader.started_at, reader.ended_at).bursts),
        demand={name: value for name, value in demand.items() if value is not None},
        certificate=certificate,
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
    published = {constraint: ServerFigure(value, Origin.PRESET) for constraint, value in preset.items()}
    held = measured.capacity() if measured else {}
    given = {constraint: ServerFigure(value, Origin.TYPED) for constraint, value in typed.items()}
    for constraint, figure in (*published.items(), *held.items(), *given.items()):
        _finite(constraint, figure.value)
        _above_0(constraint, figure.value)
        found[constraint] = figure
    if not found:
        raise UsageError(
            "the capacity of a server is missing",
            "give --run RUN, --sessions-per-server N, --requests-per-server R or --preset NAME",
        )
    return {constraint: found[constraint] for constraint in Constraint if constraint in found}
