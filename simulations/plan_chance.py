"""Whether servers are enough as often as `chatload plan` says, if a capacity search has an interval of the capacity.

Each trial draws a capacity, what a search finds of it, and a demand. The plan sees only the search and the expected
demand. Then the open chats at an instant of the peak and what each server holds are drawn.
"""

import math

import numpy as np
from scipy.special import ndtr, ndtri

from chatload.features.plan.certificate import CapacityCertificate
from chatload.features.plan.compute import make_plan
from chatload.features.plan.doubt import doubt_of
from chatload.features.plan.inputs import Constraint, Demand, Origin, ServerFigure
from simulations.frame import SimulatedTable, share

#: Ranges of the chance that the plan says, of which each is a row.
RANGES = ((0.5, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99), (0.99, 0.999))
#: A search: the standard deviation of ln(capacity found), and of what a server holds from step to step.
FOUND, STEPS = 0.08, 0.06
HANDLING_S, RATE_CV = 600.0, 0.05


def said_and_true(trials: int, seed: int) -> list[tuple[float, bool]]:
    """Return, for each number of servers of each trial, the chance in the plan, and whether they were enough."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(trials):
        capacity, middle = _search(random)
        mean = math.exp(random.uniform(math.log(200), math.log(2000)))
        width = FOUND * float(ndtri(0.95))
        loads = np.geomspace(0.6 * middle, 1.6 * middle, 40)
        chances = ndtr(-np.log(loads / middle) / math.hypot(FOUND, STEPS))
        certificate = CapacityCertificate(
            lower=middle * math.exp(-width),
            upper=middle * math.exp(width),
            confidence=0.9,
            curve=tuple(zip(loads.tolist(), chances.tolist(), strict=True)),
        )
        demand = Demand(
            handling_time_s=HANDLING_S,
            poll_interval_s=3.0,
            chats_per_hour=3600 / HANDLING_S * mean,
            rate_cv=RATE_CV,
            percentile=95.0,
        )
        plan = make_plan(demand, {Constraint.SESSIONS: ServerFigure(certificate.lower, Origin.CERTIFIED)})
        doubt = doubt_of(plan, certificate)
        if doubt is None:
            raise ValueError("the sessions decide every plan of this simulation")
        chats = random.poisson(mean * random.gamma(RATE_CV**-2, RATE_CV**2))
        for servers, chance in doubt.chances.items():
            held = capacity * np.exp(STEPS * random.normal(size=servers))
            pairs.append((chance, bool(np.all(held >= chats / servers))))
    return pairs


def _search(random: np.random.Generator) -> tuple[float, float]:
    """Return a capacity, and the middle of what a search finds of it, from 60 to 600.

    The logarithm of capacities is uniform over a wider range, so that its ends say nothing of those that are found.
    """
    while True:
        capacity = math.exp(random.uniform(math.log(30), math.log(1200)))
        middle = capacity * math.exp(FOUND * random.normal())
        if 60 <= middle <= 600:
            return capacity, middle


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each range of the chance."""
    pairs = said_and_true(trials, seed)
    rows = []
    for low, high in RANGES:
        found = [(chance, enough) for chance, enough in pairs if low <= chance < high]
        if found:
            mean = sum(chance for chance, _ in found) / len(found)
            enough = share(sum(enough for _, enough in found), len(found))
            rows.append((f"{100 * low:g} to {100 * high:g} %", str(len(found)), f"{100 * mean:.1f} %", enough))
    header = ("chance in the plan", "plans and numbers of servers", "said on average", "servers were enough")
    return SimulatedTable(header, rows, trials, seed)
