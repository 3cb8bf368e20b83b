"""How sure it is that a number of servers is enough, and where the doubt comes from.

The number of chats open at the peak and the load that a server holds are both random: the first by the model of the
demand, the second by the certificate of a capacity search (`CapacityCertificate.chance_to_hold`). n servers are enough
for D open chats if each of them holds r(D) / n, where r(D) is D, or more if these chats need more requests per second
than D chats of the search. So

    P(n servers are enough) = sum over D of P(D) P(each server holds r(D) / n)

The doubt is divided by variance: the margin ln(load that a server holds) - ln(r(D) / n) is a sum of independent parts,
so its variance is the sum of theirs (first-order indices of I. M. Sobol, Mathematical Modelling and Computational
Experiments 1 (1993), which add up to 1 here). Within the demand, the part of the day's rate is the variance that a
known rate would remove.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from chatload.features.plan.certificate import CapacityCertificate
from chatload.features.plan.compute import ServerPlan, loads_of
from chatload.features.plan.inputs import Constraint, Demand, Origin
from chatload.features.plan.queueing import Floats, exceeded_at

#: Levels of open chats that stand for their distribution, and the share that is cut off at each of its ends.
_LEVELS, _CUT = 1000, 1e-7


@dataclass(frozen=True)
class Doubt:
    """The chance that servers are enough for the chats open at a random instant of the peak.

    chances: by the number of servers. The others are parts of the doubt, together 1. by_capacity: the capacity of a
    server is not known exactly. by_steps: a server does not hold the same load every time. by_rate: the day's rate.
    by_chance: chance within a day.
    """

    chances: dict[int, float]
    by_capacity: float
    by_steps: float
    by_rate: float
    by_chance: float


def doubt_of(plan: ServerPlan, certificate: CapacityCertificate, run_servers: int = 1) -> Doubt | None:
    """Return the chances for one server less than the plan needs, up to one more than it has.

    Args:
        plan: by the lower end of the certificate's interval.
        certificate: of `run_servers` servers together.

    Returns:
        None if another figure of the capacity decides: the certificate says nothing of it.
    """
    if plan.binding.origin is not Origin.CERTIFIED:
        return None
    chats, shares = _distribution(plan.demand)
    worth = _worth(plan.demand, certificate, chats)
    numbers = range(max(plan.needed - 1, 1), plan.servers + 2)
    chances = {n: float(shares @ certificate.chance_to_hold(worth * run_servers / n, n)) for n in numbers}
    capacity, steps = certificate.log_deviation**2, certificate.step_deviation**2
    demand = _variance(shares, np.log(worth))
    known_rate = demand
    if plan.demand.rate_cv:
        known = replace(plan.demand, rate_cv=0.0)
        its_chats, its_shares = _distribution(known)
        known_rate = min(_variance(its_shares, np.log(_worth(known, certificate, its_chats))), demand)
    parts = np.array([capacity, steps, demand - known_rate, known_rate])
    return Doubt(chances, *(parts / parts.sum()).tolist())


def _worth(demand: Demand, certificate: CapacityCertificate, chats: Floats) -> Floats:
    """Return open chats in chats of the capacity search: more of them if the plan's chats send more requests."""
    if certificate.requests_per_s is None:
        return chats
    each = certificate.requests_per_s / certificate.lower
    requests = [loads_of(demand, level, 0.0)[Constraint.REQUESTS] or 0.0 for level in chats]
    return np.maximum(chats, np.array(requests) / each)


def _distribution(demand: Demand) -> tuple[Floats, Floats]:
    """Return levels of open chats (at least 1), and the share of time that each stands for."""
    guess = 2 * demand.mean_chats
    low, high = (exceeded_at(demand.chats_above, share, guess) for share in (1 - _CUT, _CUT))
    edges = np.unique(np.round(np.linspace(math.floor(low), max(math.ceil(high), math.floor(low) + 1), _LEVELS)))
    above = np.array([1.0, *(demand.chats_above(edge) for edge in edges[1:-1]), 0.0])
    # The share of time between two levels counts as that of the higher one, which is on the safe side.
    return np.maximum(edges[1:], 1.0), above[:-1] - above[1:]


def _variance(shares: Floats, values: Floats) -> float:
    mean = shares @ values
    return float(shares @ (values - mean) ** 2)
