"""A capacity plan: how many servers carry the expected chats, with how much headroom, and what matters most.

`queueing` and `agents` have the distribution of the chats open at once. The plan also has the vendor's rule for the
threads that refresh chats: refreshPoolSize = peak_chat_sessions / (refreshPeriod x 5), Genesys Web Engagement, chat
options. With refreshPeriod in seconds a refresh takes 0.2 s of a thread.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Any

from chatload.errors import UsageError
from chatload.features.plan.agents import WaitingFigures
from chatload.features.plan.inputs import Capacity, Constraint, DayProfile, Demand, Drops, Origin
from chatload.features.plan.queueing import (
    above,
    built_up,
    dispersion,
    exceeded_at,
    least,
    level,
    rounded_up,
)
from chatload.stats.rates import CONFIDENCE, per_unit

#: Requests of one thread of the vendor's refresh pool per second.
REFRESHES_PER_THREAD = 5
#: A plan that needs more servers than this has a wrong input.
MOST_SERVERS = 100_000
#: What can be said of the target drop rate.
SHOWN, MISSED, INCONCLUSIVE, NOT_MEASURED, NO_TARGET = "shown", "missed", "inconclusive", "not measured", "no target"
#: Every input is changed by this share of itself, and up to this factor, to see what depends on it.
STEP, FARTHEST = 0.1, 10.0
#: The inputs of the demand that are changed, if they are given.
_CHANGED = (
    "chats_per_hour", "chats_per_day", "peak_hour_share", "arrival_profile", "rate_cv", "growth", "handling_time_s",
    "handling_cv", "agents", "patience_s", "peakedness", "poll_interval_s", "other_requests_per_chat",
    "messages_per_chat",
)  # fmt: skip


@dataclass(frozen=True)
class Peak:
    """The peak hour: means, and the planned values (at least 1), which are exceeded in the share `Demand.tail` only.

    built_up: the part of the mean that is reached after one hour that begins without open chats. at_s: when most chats
    are open, in seconds since the profile of arrivals began; None without a profile, or if its highest rate is taken as
    lasting. waiting: what customers feel at the peak; None if there are as many agents as chats.
    """

    mean_chats: float
    chats: int
    mean_arrivals: float
    arrivals: int
    built_up: float
    at_s: float | None = None
    waiting: WaitingFigures | None = None


@dataclass(frozen=True)
class PlanRow:
    """One constraint: what is needed at the peak, what one server carries, and how many servers are needed."""

    constraint: Constraint
    needed: float
    per_server: float
    origin: Origin
    servers: int

    def margin(self, servers: int) -> float:
        """Return the share of the capacity of this many servers that is left at the peak."""
        return 1 - self.needed / (servers * self.per_server)


@dataclass(frozen=True)
class DropClaim:
    """What can be said of the share of chats that are dropped. result: SHOWN, MISSED or another of these words.

    lower, rate, upper: that share of chats as long as the plan's, each bound with CONFIDENCE. chats_needed: number of
    chats that would show the target if none is dropped.
    """

    result: str
    target: float | None = None
    lower: float | None = None
    rate: float | None = None
    upper: float | None = None
    chats_needed: int | None = None


@dataclass(frozen=True)
class ExpectedDrops:
    """The mean number of drops of so many chats.

    period: the time in which they arrive, "" for a plain number of chats. expected: None if only the bound is known.
    upper: its bound, with CONFIDENCE.
    """

    chats: float
    period: str
    expected: float | None
    upper: float


@dataclass(frozen=True)
class ServerPlan:
    """The plan. rows: every constraint with a figure per server, the one that binds first.

    loads: what the peak needs of each constraint, also of those without a figure per server; None if not known.
    needed: servers that carry the peak. headroom: factor on the chats per hour that `needed` servers still carry.
    at_random: servers needed if each chat goes to a random server, None if no figure of sessions is known. drops: the
    claim about the target drop rate.
    """

    demand: Demand
    capacity: Capacity
    peak: Peak
    loads: dict[Constraint, float | None]
    rows: tuple[PlanRow, ...]
    needed: int
    headroom: float
    at_random: int | None
    drops: DropClaim
    pool_size: int
    pool_size_per_server: int

    @property
    def servers(self) -> int:
        """Servers to have: those that carry the peak, and the spare ones."""
        return self.needed + self.demand.spare

    @property
    def binding(self) -> PlanRow:
        """The constraint that decides."""
        return self.rows[0]


def make_plan(demand: Demand, capacity: Capacity, drops: Drops | None = None) -> ServerPlan:
    """Return the plan. drops: measured at that capacity.

    Raises UsageError if no known figure of a server can be compared with the demand.
    """
    chats, arrivals = (rounded_up(planned) for planned in _planned(demand))
    loads = loads_of(demand, chats, arrivals)
    rows = tuple(sorted(_rows(loads, capacity), key=lambda row: -row.needed / row.per_server))
    if not rows:
        raise UsageError("--messages-per-server needs --messages-per-chat", "or give --sessions-per-server")
    needed = max(row.servers for row in rows)
    if needed > MOST_SERVERS:
        number = str(needed) if needed < 10**9 else f"{needed:.3g}"
        raise UsageError(f"the plan needs {number} servers, more than {MOST_SERVERS}", "is a figure's unit right?")
    return ServerPlan(
        demand=demand,
        capacity=capacity,
        peak=_peak(demand, chats, arrivals),
        loads=loads,
        rows=rows,
        needed=needed,
        headroom=_headroom(demand, capacity, needed),
        at_random=_at_random(demand, capacity, needed),
        drops=judge_drops(drops, demand),
        pool_size=pool_size(chats, demand.poll_interval_s),
        pool_size_per_server=pool_size(math.ceil(chats / needed), demand.poll_interval_s),
    )


def _peak(demand: Demand, chats: int, arrivals: int) -> Peak:
    lengths = (demand.handling_time_s, demand.handling_distribution, demand.handling_cv)
    queue, busiest = demand.queue, demand.busiest
    return Peak(
        mean_chats=demand.mean_chats,
        chats=chats,
        mean_arrivals=demand.arrivals_per_hour,
        arrivals=arrivals,
        built_up=built_up(3600, *lengths),
        at_s=None if busiest is None else busiest.at_s,
        waiting=None if queue is None else queue.figures(demand.handling_time_s),
    )


def planned_chats(demand: Demand) -> int:
    """Return the number of open chats to plan for."""
    return rounded_up(_planned_open(demand))


def _planned_open(demand: Demand) -> float:
    return max(exceeded_at(demand.chats_above, demand.tail, 2 * demand.mean_chats), 1.0)


def _planned(demand: Demand) -> tuple[float, float]:
    """Return the open chats and the arrivals of the peak hour to plan for, at least 1, not rounded."""
    spread = dispersion(demand.peakedness, demand.handling_distribution, demand.handling_cv)
    arrivals = level(demand.arrivals_per_hour, demand.tail, spread, demand.rate_cv)
    return _planned_open(demand), max(arrivals, 1.0)


def loads_of(demand: Demand, chats: float, arrivals: float) -> dict[Constraint, float | None]:
    """Return what this many open chats, and this many arrivals in the hour, need of each constraint.

    Chats that wait for an agent poll, but they have no messages. A customer who gives up sends the other requests of a
    chat at most.
    """
    length, messages = demand.handling_time_s, demand.messages_per_chat
    talking = chats if demand.agents is None else min(chats, demand.agents)
    ending = talking / length
    if demand.patience_s is not None:
        ending += (chats - talking) / demand.patience_s
    return {
        Constraint.SESSIONS: chats,
        Constraint.REQUESTS: chats / demand.poll_interval_s + ending * demand.other_requests_per_chat,
        Constraint.STARTS: arrivals / 3600,
        Constraint.MESSAGES: None if messages is None else talking * messages / length,
    }


def _rows(loads: dict[Constraint, float | None], capacity: Capacity) -> list[PlanRow]:
    return [
        PlanRow(constraint, load, value, origin, max(math.ceil(load / value - 1e-9), 1))
        for constraint, (value, origin) in capacity.items()
        if (load := loads[constraint]) is not None
    ]


def servers_needed(demand: Demand, capacity: Capacity) -> int:
    """Return how many servers carry the peak, without spare ones."""
    chats, arrivals = (rounded_up(planned) for planned in _planned(demand))
    loads = loads_of(demand, chats, arrivals)
    return max(row.servers for row in _rows(loads, capacity))


def servers_worth(demand: Demand, capacity: Capacity) -> float:
    """Return the load in servers as a fractional number, so that the effect of small changes can be measured."""
    loads = loads_of(demand, *_planned(demand))
    return max(row.needed / row.per_server for row in _rows(loads, capacity))


def pool_size(chats: float, refresh_period_s: float) -> int:
    """Return refreshPoolSize by the vendor's rule, rounded up."""
    return math.ceil(chats / (refresh_period_s * REFRESHES_PER_THREAD) - 1e-9)


def _headroom(demand: Demand, capacity: Capacity, needed: int) -> float:
    """Return the factor on the chats per hour from which on one more server is needed."""

    def too_many(factor: float) -> bool:
        try:
            return servers_needed(demand.grown(factor), capacity) > needed
        except UsageError:  # More chats than the agents can end: no number of servers is enough.
            return True

    return least(too_many, 1.0, 2.0)


def _at_random(demand: Demand, capacity: Capacity, needed: int) -> int | None:
    """Return the servers needed if chats go to random servers: then each has a Poisson number of chats.

    None if no figure of sessions is known, or if agents are limited: the plan has no formula for a part of that queue.
    """
    limit = capacity.get(Constraint.SESSIONS)
    if limit is None or demand.agents is not None:
        return None

    def fits(servers: int) -> bool:
        # Random assignment divides bunches of arrivals too: Z - 1 is divided by the number of servers.
        peakedness = 1 + (demand.peakedness - 1) / servers
        share = above(math.floor(limit.value), demand.offered / servers, peakedness, demand.rate_cv)
        return share <= demand.tail

    servers = needed + bisect_left(range(needed, MOST_SERVERS + 1), True, key=fits)
    return servers if servers <= MOST_SERVERS else None


# -- the target drop rate --------------------------------------------------------------------------


def judge_drops(drops: Drops | None, demand: Demand) -> DropClaim:
    """Return the claim that can be made of the target, at the capacity at which the drops were measured.

    Drops are assumed to have a constant rate h per second that a chat is open, so a run with shorter chats is valid for
    longer ones. For chats that are open for a mean time m, the share dropped is 1 - E[exp(-h S)], which is at most
    1 - exp(-h m) for every distribution of the time S (Jensen). With agents, m is that of the peak, so the wait counts.
    """
    target, open_s = demand.target_drop_rate, demand.open_s

    def share(per_s: float) -> float:
        return -math.expm1(-per_s * open_s)

    if drops is not None and drops.bound is not None:
        return DropClaim(_claim(target, 0.0, drops.bound), target, upper=drops.bound)
    if drops is None or drops.chat_seconds <= 0:
        return DropClaim(NO_TARGET if target is None else NOT_MEASURED, target)
    exposure, both_sides = drops.chat_seconds, 2 * CONFIDENCE - 1
    lower = share(per_unit(drops.drops, exposure, both_sides)[0])
    upper = share(per_unit(drops.possible, exposure, both_sides)[1])
    result = _claim(target, lower, upper)
    needed = None
    if result == INCONCLUSIVE and target is not None and not drops.possible:
        needed = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-target))
    return DropClaim(result, target, lower, share(drops.drops / exposure), upper, needed)


def expected_drops(claim: DropClaim, demand: Demand) -> list[ExpectedDrops]:
    """Return the drops to expect of 1000 chats, and of those in the inputs; empty if no drops were measured."""
    if claim.upper is None:
        return []
    return [
        ExpectedDrops(chats, period, None if claim.rate is None else claim.rate * chats, claim.upper * chats)
        for chats, period in ((1000.0, ""), demand.counted_chats)
    ]


def _claim(target: float | None, lower: float, upper: float) -> str:
    if target is None:
        return NO_TARGET
    if upper < target:
        return SHOWN
    return MISSED if lower > target else INCONCLUSIVE


# -- which input matters most ----------------------------------------------------------------------


@dataclass(frozen=True)
class Influence:
    """The influence of one input.

    down, up: relative change of the load in servers if the input is lower or higher by STEP; None if that is
    impossible. one_more_at: the value from which on one more server is needed; None if there is none within a factor of
    FARTHEST. one_more_change: the same, relative to the input.
    """

    name: str
    value: float
    down: float | None
    up: float | None
    one_more_at: float | None
    one_more_change: float | None

    @property
    def strength(self) -> float:
        """The larger of both changes, without its sign."""
        return max(abs(self.down or 0.0), abs(self.up or 0.0))


def influences(plan: ServerPlan) -> list[Influence]:
    """Return every input that is a quantity, the most influential first."""
    names = [name for name in _CHANGED if getattr(plan.demand, name)]
    found = [_influence(plan, name) for name in (*names, "percentile", *(row.constraint for row in plan.rows))]
    return sorted(found, key=lambda item: (-round(item.strength, 6), round(abs(item.one_more_change or FARTHEST), 6)))


def _value(name: str, demand: Demand, capacity: Capacity) -> float:
    value = capacity[name].value if isinstance(name, Constraint) else getattr(demand, name)
    return demand.arrivals_per_hour if isinstance(value, DayProfile) else float(value)


def _changed(plan: ServerPlan, name: str, factor: float) -> tuple[Demand, Capacity] | None:
    """Return the inputs with one of them multiplied; of the percentile, the share of time in which more chats are open.

    None if its value is impossible.
    """
    demand, capacity = plan.demand, plan.capacity
    value = _value(name, demand, capacity) * factor
    if isinstance(name, Constraint):
        return demand, {**capacity, name: capacity[name]._replace(value=value)}
    change: dict[str, Any] = {name: 100 - 100 * demand.tail * factor if name == "percentile" else value}
    try:
        return demand.grown(factor) if name == "arrival_profile" else replace(demand, **change), capacity
    except UsageError:
        return None


def _influence(plan: ServerPlan, name: str) -> Influence:
    now = servers_worth(plan.demand, plan.capacity)
    down, up = (
        None if inputs is None else servers_worth(*inputs) / now - 1
        for inputs in (_changed(plan, name, 1 - STEP), _changed(plan, name, 1 + STEP))
    )
    value, factor = _value(name, plan.demand, plan.capacity), _one_more(plan, name)
    inputs = None if factor is None else _changed(plan, name, factor)
    at = None if inputs is None else _value(name, *inputs)
    return Influence(name, value, down, up, at, None if at is None else at / value - 1)


def _one_more(plan: ServerPlan, name: str) -> float | None:
    """Return the factor nearest to 1, on either side, from which on one more server is needed."""

    def too_few(factor: float) -> bool:
        inputs = _changed(plan, name, factor)
        return inputs is not None and servers_needed(*inputs) > plan.needed

    for toward in (FARTHEST, 1 / FARTHEST):
        edge = _edge(plan, name, toward)
        if edge != 1 and too_few(edge):
            # The share of the way from 1 to the edge. Once too_few is true it stays true.
            way = least(lambda share, e=edge: too_few(1 + share * (e - 1)), 0.0, 1.0)  # type: ignore[misc]
            return float(1 + way * (edge - 1))
    return None


def _edge(plan: ServerPlan, name: str, toward: float) -> float:
    """Return `toward`, or the farthest possible factor before it: an interval must stay below the timeout."""
    if _changed(plan, name, toward) is not None:
        return toward
    impossible = least(lambda share: _changed(plan, name, 1 + share * (toward - 1)) is None, 0.0, 1.0)
    return 1 + max(impossible - 1e-9, 0.0) * (toward - 1)
