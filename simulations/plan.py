"""How often the chats that `chatload plan` plans for are exceeded at the peak: planned are 0.1 % of the time.

Days are simulated chat by chat: arrivals of a Poisson process, lengths, and, with agents, a queue in order of arrival.
The simulation shares no formula with the plan.
"""

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chatload.features.plan.compute import make_plan
from chatload.features.plan.inputs import Constraint, DayProfile, Demand, ServerFigure
from chatload.run.arrivals import Piece, RateProfile
from simulations.frame import SimulatedTable

HANDLING_S = 600.0
#: A day is simulated from three hours before the peak hour, so that its beginning is forgotten.
WARM_UP_S, HOUR_S, STEP_S = 10_800.0, 3600.0, 30.0
#: Days with a queue take longer to simulate: one of so many of the trials.
QUEUE_DAYS = 20


@dataclass(frozen=True)
class PeakHour:
    """An hour as it is.

    chats: expected in the hour. rate_cv: deviation of the day's rate, which is gamma distributed or lognormal. peak:
    how much higher the rate is for the middle 15 minutes.
    """

    chats: float = 3200.0
    rate_cv: float = 0.0
    lognormal: bool = False
    peak: float = 0.0
    agents: int | None = None
    patience_s: float = 0.0

    def draw_factor(self, random: np.random.Generator) -> float:
        """Return a day's rate divided by the expected one."""
        if not self.rate_cv:
            return 1.0
        if self.lognormal:
            variance = np.log1p(self.rate_cv**2)
            return float(np.exp(random.normal(-variance / 2, variance**0.5)))
        return random.gamma(self.rate_cv**-2, self.rate_cv**2)

    def pieces(self) -> list[Piece]:
        """Return the rate per second, from the start of the warm-up."""
        base = self.chats / HOUR_S / (1 + self.peak / 4)
        high = base * (1 + self.peak)
        begin, end = WARM_UP_S + 1350.0, WARM_UP_S + 2250.0
        return [
            Piece(0.0, begin, base, base),
            Piece(begin, end, high, high),
            Piece(end, WARM_UP_S + HOUR_S, base, base),
        ]


@dataclass(frozen=True)
class PlanCase:
    """One row: an hour, what the plan was told of it, and these inputs."""

    name: str
    hour: PeakHour
    told: str
    inputs: dict[str, Any] = field(default_factory=dict)

    def planned(self) -> int:
        """Return the number of open chats that the plan is for."""
        inputs = dict(self.inputs)
        if "arrival_profile" not in inputs:
            inputs.setdefault("chats_per_hour", self.hour.chats)
        demand = Demand(handling_time_s=HANDLING_S, poll_interval_s=3.0, **inputs)
        return make_plan(demand, {Constraint.SESSIONS: ServerFigure(1000.0)}).peak.chats


def _cases() -> list[PlanCase]:
    busy = PeakHour(rate_cv=0.05)
    peak = PeakHour(peak=0.4)
    both = PeakHour(rate_cv=0.05, peak=0.4)
    queue = PeakHour(chats=600.0, agents=95, patience_s=1800.0)
    busy_queue = PeakHour(chats=600.0, peak=0.4, agents=95, patience_s=1800.0)
    patient = {"agents": 95, "patience_s": 1800.0}
    profile = DayProfile("profile.csv", RateProfile(peak.pieces()))
    hourly = "chats per hour"
    on_top = {"chats_per_hour": 3200.0}
    cv, its_profile = {"rate_cv": 0.05}, {"arrival_profile": profile}
    return [
        PlanCase("constant rate", PeakHour(), hourly),
        PlanCase("day's rate with a deviation of 5 %", busy, hourly),
        PlanCase("day's rate with a deviation of 5 %", busy, "`--rate-cv 5%`", cv),
        PlanCase("the same, lognormal", PeakHour(rate_cv=0.05, lognormal=True), "`--rate-cv 5%`", cv),
        PlanCase("the same, with a deviation of 7 %", PeakHour(rate_cv=0.07), "`--rate-cv 5%`", cv),
        PlanCase("15 minutes with +40 %, on top of the 3200", PeakHour(chats=3520.0, peak=0.4), hourly, on_top),
        PlanCase("15 minutes with +40 %", peak, hourly),
        PlanCase("15 minutes with +40 %", peak, "`--arrival-profile`", its_profile),
        PlanCase("both", both, hourly),
        PlanCase("both", both, "`--arrival-profile --rate-cv 5%`", {**cv, **its_profile}),
        PlanCase("95 agents for 100 chats, patience 30 min", queue, hourly),
        PlanCase("95 agents for 100 chats, patience 30 min", queue, "`--agents 95 --patience 1800`", patient),
        PlanCase(
            "the same, 15 minutes with +40 %",
            busy_queue,
            "`--arrival-profile --agents 95 --patience 1800`",
            {**patient, "arrival_profile": DayProfile("profile.csv", RateProfile(busy_queue.pieces()))},
        ),
    ]


CASES = _cases()


def open_chats(hour: PeakHour, days: int, seed: int) -> np.ndarray:
    """Return the number of open chats of each day (rows), every STEP_S of the peak hour (columns)."""
    random = np.random.default_rng(seed)
    steps = int(HOUR_S / STEP_S) + 1
    found = np.empty((days, steps), dtype=int)
    for day in range(days):
        factor = hour.draw_factor(random)
        arrivals = [
            random.uniform(piece.start, piece.end, random.poisson(factor * piece.first * (piece.end - piece.start)))
            for piece in hour.pieces()
        ]
        instants = np.concatenate(arrivals)
        if hour.agents is None:
            ends = instants + random.exponential(HANDLING_S, len(instants))
        else:
            ends = _queued(np.sort(instants), hour.agents, hour.patience_s, random)
        found[day] = _so_far(instants, steps) - _so_far(ends, steps)
    return found


def _so_far(instants: np.ndarray, steps: int) -> np.ndarray:
    """Return how many of the instants are not after each step of the peak hour."""
    places = np.clip(np.ceil((instants - WARM_UP_S) / STEP_S), 0, steps).astype(int)
    return np.cumsum(np.bincount(places, minlength=steps + 1))[:steps]


def _queued(arrivals: np.ndarray, agents: int, patience_s: float, random: np.random.Generator) -> np.ndarray:
    """Return when each chat ends, or is given up, if they wait for `agents` agents in order of arrival."""
    lengths = random.exponential(HANDLING_S, len(arrivals))
    given_up = arrivals + random.exponential(patience_s, len(arrivals))
    ends = given_up.copy()
    free_at = [0.0] * agents
    for chat in range(len(arrivals)):
        start = max(free_at[0], arrivals[chat])
        if start < given_up[chat]:
            ends[chat] = start + lengths[chat]
            heapq.heapreplace(free_at, ends[chat])
    return ends


@dataclass(frozen=True)
class Exceeded:
    """Shares in which more chats were open than planned, with standard errors over days."""

    of_hour: float
    of_hour_error: float
    at_busiest: float
    at_busiest_error: float
    days: float


def exceeded(counts: np.ndarray, planned: int) -> Exceeded:
    """Return how often `planned` is exceeded. days: share of days with more than 0.1 % of the hour above it."""
    above = counts > planned
    by_day = above.mean(axis=1)
    busiest = int(counts.mean(axis=0).argmax())
    at, n = above[:, busiest], len(counts)
    return Exceeded(
        float(by_day.mean()), float(by_day.std() / n**0.5), float(at.mean()), float(at.std() / n**0.5),
        float((by_day > 0.001).mean()),
    )  # fmt: skip


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each case, `trials` days each."""
    rows = []
    counts: dict[PeakHour, np.ndarray] = {}
    for case in CASES:
        days = trials if case.hour.agents is None else max(trials // QUEUE_DAYS, 10)
        if case.hour not in counts:
            counts = {case.hour: open_chats(case.hour, days, seed)}
        planned = case.planned()
        found = exceeded(counts[case.hour], planned)
        rows.append(
            (
                case.name, case.told, str(planned), _share(found.of_hour, found.of_hour_error),
                _share(found.at_busiest, found.at_busiest_error), f"{100 * found.days:.1f} %",
            )
        )  # fmt: skip
    header = (
        "demand", "given to the plan", "chats planned for", "exceeded, of the hour", "exceeded, busiest instant",
        "days with more than 0.1 % of the hour",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)


def _share(mean: float, error: float) -> str:
    return f"{100 * mean:.2f} % ({100 * error:.2f})"
