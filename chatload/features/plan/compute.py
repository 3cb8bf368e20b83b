"""A capacity plan: how many servers carry the expected chats, and with how much headroom.

The plan also has the vendor's rule for the threads that refresh chats: refreshPoolSize = peak_chat_sessions /
(refreshPeriod x 5), Genesys Web Engagement, chat options. With refreshPeriod in seconds a refresh takes 0.2 s of a
thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from chatload.errors import UsageError
from chatload.features.plan.drops import DropClaim, Drops, judge_drops
from chatload.features.plan.inputs import Capacity, Constraint, Demand, Origin
from chatload.stats import queueing as queueing

#: Requests of one thread of the vendor's refresh pool per second.
REFRESHES_PER_THREAD = 5
#: A plan that needs more servers than this has a wrong input.
MOST_SERVERS = 100_000


@dataclass(frozen=True)
class Peak:
    """The peak hour: means, and the planned values (at least 1), which are exceeded in the share `Demand.tail` only.

    built_up: the part of the mean that is reached after one hour that begins without open chats.
    """

    mean_chats: float
    chats: int
    mean_arrivals: float
    arrivals: int
    built_up: float


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
class ServerPlan:
    """The plan. rows: every constraint with a figure per server, the one that binds first.

    loads: what the peak needs of each constraint, also of those without a figure per server; None if not known.
    needed: servers that carry the peak. servers: with the spare ones. headroom: factor on the chats per hour that
    `needed` servers still carry. at_random: servers needed if each chat goes to a random server, None if no figure of
    sessions is known. drops: the claim about the target drop rate.
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
    peak = peak_of(demand)
    loads = loads_of(demand, peak.chats, peak.arrivals)
    rows = tuple(sorted(_rows(loads, capacity), key=lambda row: -row.needed / row.per_server))
    if not rows:
        raise UsageError("--messages-per-server needs --messages-per-chat", "or give --sessions-per-server")
    needed = max(row.servers for row in rows)
    if needed > MOST_SERVERS:
        raise UsageError(f"the plan needs {needed} servers, more than {MOST_SERVERS}", "is a figure's unit right?")
    return ServerPlan(
        demand=demand,
        capacity=capacity,
        peak=peak,
        loads=loads,
        rows=rows,
        needed=needed,
        headroom=_headroom(demand, capacity, needed),
        at_random=_at_random(demand, capacity, needed),
        drops=judge_drops(drops, demand),
        pool_size=pool_size(peak.chats, demand.poll_interval_s),
        pool_size_per_server=pool_size(math.ceil(peak.chats / needed), demand.poll_interval_s),
    )


def peak_of(demand: Demand) -> Peak:
    """Return the peak hour of a demand."""
    arrivals = demand.arrivals_per_hour
    mean = queueing.mean_chats(arrivals, demand.handling_time_s)
    shape = demand.handling_distribution, demand.handling_cv
    spread = queueing.dispersion(demand.peakedness, *shape)
    return Peak(
        mean_chats=mean,
        chats=max(queueing.peak(mean, demand.tail, demand.peakedness), 1),
        mean_arrivals=arrivals,
        arrivals=max(queueing.peak(arrivals, demand.tail, spread), 1),
        built_up=queueing.built_up(3600, demand.handling_time_s, *shape),
    )


def loads_of(demand: Demand, chats: float, arrivals: float) -> dict[Constraint, float | None]:
    """Return what this many open chats, and this many arrivals in the hour, need of each constraint."""
    length = demand.handling_time_s
    messages = demand.messages_per_chat
    return {
        Constraint.SESSIONS: chats,
        Constraint.REQUESTS: chats * (1 / demand.poll_interval_s + demand.other_requests_per_chat / length),
        Constraint.STARTS: arrivals / 3600,
        Constraint.MESSAGES: None if messages is None else chats * messages / length,
    }


def servers_needed(demand: Demand, capacity: Capacity) -> int:
    """Return how many servers carry the peak, without spare ones."""
    peak = peak_of(demand)
    return max(row.servers for row in _rows(loads_of(demand, peak.chats, peak.arrivals), capacity))


def servers_worth(demand: Demand, capacity: Capacity) -> float:
    """Return the load in servers as a fractional number, so that the effect of small changes can be measured."""
    mean = queueing.mean_chats(demand.arrivals_per_hour, demand.handling_time_s)
    spread = queueing.dispersion(demand.peakedness, demand.handling_distribution, demand.handling_cv)
    chats = max(queueing.level(mean, demand.tail, demand.peakedness), 1.0)
    arrivals = max(queueing.level(demand.arrivals_per_hour, demand.tail, spread), 1.0)
    loads = loads_of(demand, chats, arrivals)
    return max(row.needed / row.per_server for row in _rows(loads, capacity))


def pool_size(chats: int, refresh_period_s: float) -> int:
    """Return refreshPoolSize by the vendor's rule, rounded up."""
    return math.ceil(chats / (refresh_period_s * REFRESHES_PER_THREAD) - 1e-9)


def plan_dict(plan: ServerPlan) -> dict[str, Any]:
    """Return the plan's figures as plain values."""
    return {
        "demand": {**asdict(plan.demand), "arrivals_per_hour": plan.demand.arrivals_per_hour},
        "capacity": {
            constraint.value: {"value": value, "origin": plan.capacity.origins[constraint].value}
            for constraint, value in plan.capacity.known()
        },
        "peak": asdict(plan.peak),
        "loads": {constraint.value: load for constraint, load in plan.loads.items()},
        "constraints": [
            {
                "name": row.constraint.value, "needed": row.needed, "per_server": row.per_server,
                "origin": row.origin.value, "servers": row.servers, "margin": row.margin(plan.needed),
                "margin_with_spare": row.margin(plan.servers),
            }
            for row in plan.rows
        ],
        "servers": {
            "needed": plan.needed, "spare": plan.demand.spare, "total": plan.servers,
            "needed_if_assigned_at_random": plan.at_random,
        },
        "headroom": plan.headroom,
        "drops": asdict(plan.drops),
        "refresh_pool_size": {"total": plan.pool_size, "per_server": plan.pool_size_per_server},
    }  # fmt: skip


def _rows(loads: dict[Constraint, float | None], capacity: Capacity) -> Iterator[PlanRow]:
    for constraint, per_server in capacity.known():
        load = loads[constraint]
        if load is not None:
            servers = max(math.ceil(load / per_server - 1e-9), 1)
            yield PlanRow(constraint, load, per_server, capacity.origins.get(constraint, Origin.TYPED), servers)


def _headroom(demand: Demand, capacity: Capacity, needed: int) -> float:
    """Return the factor on the chats per hour from which on one more server is needed."""

    def too_many(factor: float) -> bool:
        more = replace(demand, growth=(1 + demand.growth) * factor - 1)
        return servers_needed(more, capacity) > needed

    return queueing.least(too_many, 1.0, 2.0)


def _at_random(demand: Demand, capacity: Capacity, needed: int) -> int | None:
    """Return the servers needed if chats go to random servers: then each has a Poisson number of chats."""
    limit = capacity.sessions_per_server
    if limit is None:
        return None
    mean = queueing.mean_chats(demand.arrivals_per_hour, demand.handling_time_s)

    def fits(servers: int) -> bool:
        # Random assignment divides bunches of arrivals too: Z - 1 is divided by the number of servers.
        peakedness = 1 + (demand.peakedness - 1) / servers
        return queueing.above(math.floor(limit), mean / servers, peakedness) <= demand.tail

    low, high = needed, needed
    while not fits(high):
        low, high = high + 1, 2 * high
        if high > MOST_SERVERS:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return high
