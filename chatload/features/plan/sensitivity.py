"""Which input of a plan matters most: each is changed a little, and until one more server is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from chatload.errors import UsageError
from chatload.features.plan.compute import ServerPlan, servers_needed, servers_worth
from chatload.features.plan.inputs import Capacity, Constraint, Demand, option
from chatload.stats import queueing as queueing

#: Every input is changed by this share of itself.
STEP = 0.1
#: Changes of an input are examined up to this factor.
FARTHEST = 10.0
_DEMAND = (
    "chats_per_hour", "chats_per_day", "peak_hour_share", "growth", "handling_time_s", "handling_cv", "peakedness",
    "poll_interval_s", "other_requests_per_chat", "messages_per_chat",
)  # fmt: skip
_At = Callable[[float], tuple[Demand, Capacity]]


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
    def option(self) -> str:
        """The input as an option."""
        return option(self.name)

    @property
    def strength(self) -> float:
        """The larger of both changes, without its sign."""
        return max(abs(self.down or 0.0), abs(self.up or 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)


def influences(plan: ServerPlan) -> list[Influence]:
    """Return every input that is a quantity, the most influential first.

    The percentile is changed by its tail, the share of time in which more chats are open.
    """
    found = [_influence(plan, name, value, at) for name, value, at in _inputs(plan)]
    return sorted(found, key=lambda item: (-item.strength, abs(item.one_more_change or FARTHEST)))


def _inputs(plan: ServerPlan) -> Iterator[tuple[str, float, _At]]:
    demand, capacity = plan.demand, plan.capacity
    for name in _DEMAND:
        value = getattr(demand, name)
        if value:
            yield name, value, _of_demand(demand, capacity, name)
    yield "percentile", demand.percentile, _of_tail(demand, capacity)
    for row in plan.rows:
        yield row.constraint.value, row.per_server, _of_capacity(demand, capacity, row.constraint)


def _of_demand(demand: Demand, capacity: Capacity, name: str) -> _At:
    return lambda factor: (replace(demand, **{name: getattr(demand, name) * factor}), capacity)


def _of_tail(demand: Demand, capacity: Capacity) -> _At:
    return lambda factor: (replace(demand, percentile=100 - 100 * demand.tail * factor), capacity)


def _of_capacity(demand: Demand, capacity: Capacity, constraint: Constraint) -> _At:
    return lambda factor: (demand, capacity.scaled(constraint, factor))


def _influence(plan: ServerPlan, name: str, value: float, at: _At) -> Influence:
    now = servers_worth(plan.demand, plan.capacity)
    down, up = (_change(at, factor, now) for factor in (1 - STEP, 1 + STEP))
    factor = _one_more(plan, at)
    if factor is None:
        return Influence(name, value, down, up, None, None)
    if name == "percentile":
        reached = 100 - 100 * plan.demand.tail * factor
        return Influence(name, value, down, up, reached, reached / value - 1)
    return Influence(name, value, down, up, value * factor, factor - 1)


def _change(at: _At, factor: float, now: float) -> float | None:
    try:
        return servers_worth(*at(factor)) / now - 1
    except UsageError:
        return None


def _one_more(plan: ServerPlan, at: _At) -> float | None:
    """Return the factor nearest to 1, on either side, from which on one more server is needed."""

    def too_few(factor: float) -> bool:
        try:
            return servers_needed(*at(factor)) > plan.needed
        except UsageError:
            return False  # impossible values are no answer

    for toward in (FARTHEST, 1 / FARTHEST):
        edge = _edge(at, toward)
        if edge != 1 and too_few(edge):
            # The share of the way from 1 to the edge. Once too_few is true it stays true.
            way = queueing.least(lambda share, e=edge: too_few(1 + share * (e - 1)), 0.0, 1.0)  # type: ignore[misc]
            return float(1 + way * (edge - 1))
    return None


def _edge(at: _At, toward: float) -> float:
    """Return `toward`, or the farthest possible factor before it: an interval must stay below the timeout."""

    def possible(share: float) -> bool:
        try:
            at(1 + share * (toward - 1))
        except UsageError:
            return False
        return True

    if possible(1.0):
        return toward
    impossible = queueing.least(lambda share: not possible(share), 0.0, 1.0)
    return 1 + max(impossible - 1e-9, 0.0) * (toward - 1)
