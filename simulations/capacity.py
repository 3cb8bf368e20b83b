"""Capacity searches in virtual time against servers whose knee is known: how often the interval covers it.

Each search runs the real state machine with the default thresholds: 10 sessions first, at most 1000, a refresh every
3 s, steps of 10 s. The server's latency of GetMessages is exponential. Its mean grows with the sixth power of the load,
and its 95th percentile reaches the limit of 100 ms at the knee, which is drawn for each search between 100 and 500
sessions.

The mean is multiplied by noise with median 1 (lognormal), which is drawn for each step, or changes over time (an
Ornstein-Uhlenbeck process). In a stall, the server answers nothing until it is over.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from chatload.features.capacity.length import search_s
from chatload.features.capacity.search import CapacitySearch, Result
from chatload.features.capacity.step import Look, StepRules
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.thresholds.metrics import parse
from chatload.vocabulary import Outcome, SessionState, Verdict
from simulations.frame import SimulatedTable, share

RULES = StepRules(start=10, ceiling=1000, interval_s=3.0, timeout_s=45.0, hold_s=10.0, bound_s=60.0)
#: Of an exponential distribution, 95 % are below so many means.
_P95 = math.log(20)
_LIMIT_S, _BASE_S, _POWER = 0.1, 0.004, 6
#: By how much the logarithm of the mean latency grows with that of the load, at the knee.
_SLOPE = _POWER * (1 - _BASE_S * _P95 / _LIMIT_S)
#: A search that is not over then has an error (seconds).
_LONGEST_S = 100_000.0


@dataclass(frozen=True)
class NoisyServer:
    """knee: sessions; infinite for none. cv: of the noise. memory_s: the time over which it changes; 0 for each step.
    stall_s: how long the server answers nothing, once a minute. drops_per_chat_hour: at every load."""

    knee: float
    cv: float = 0.0
    memory_s: float = 0.0
    stall_s: float = 0.0
    drops_per_chat_hour: float = 0.0

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise's logarithm."""
        return math.sqrt(math.log1p(self.cv**2))

    def mean_latency(self, load: int) -> float:
        return _BASE_S + (_LIMIT_S / _P95 - _BASE_S) * (load / self.knee) ** _POWER


class SearchWorld:
    """One search against one server, with a look about every 3.4 s."""

    def __init__(self, server: NoisyServer, rules: StepRules, seed: int) -> None:
        self.server, self.rules, self.search = server, rules, CapacitySearch(rules)
        self.random = np.random.default_rng(seed)
        self.books = Books()
        self.books.latency["GetMessages"] = CensoredHistogram()
        self.now, self.open, self.wanted = 0.0, 0, 0
        self.noise = self.random.normal()
        self.stalls_at = self.random.uniform(0, 60)

    def run(self) -> Result:
        """Return the result of the search."""
        while self.now < _LONGEST_S:
            self.books.states[SessionState.HELD] = self.open
            wanted = self.search.look(Look(self.now, self.books.copy()))
            if wanted is None:
                assert self.search.result is not None
                return self.search.result
            self.pass_time(wanted)
        raise AssertionError("the search does not end")

    def pass_time(self, wanted: int) -> None:
        """A few seconds go by."""
        random, server, books = self.random, self.server, self.books
        length = random.uniform(3.35, 3.5)
        if server.memory_s:
            kept = math.exp(-length / server.memory_s)
            self.noise = kept * self.noise + math.sqrt(1 - kept**2) * random.normal()
        elif wanted != self.wanted:
            self.noise = random.normal()
        if wanted < self.open:
            books.verdicts[Verdict.CUT_OFF] += self.open - wanted
            books.outcomes["Disconnect"][Outcome.ENDED] += self.open - wanted
            self.open = wanted
        more = wanted - self.open
        books.started += more
        books.outcomes["RequestChat"][Outcome.FINE] += more
        self.open += more
        self.wanted = wanted
        arrivals = self.now + np.sort(random.uniform(0, length, round(self.open * length / self.rules.interval_s)))
        mean = server.mean_latency(self.open) * math.exp(server.sigma * self.noise)
        latencies = random.exponential(mean, arrivals.size)
        if server.stall_s:
            into = (arrivals - self.stalls_at) % 60
            latencies += np.maximum(0.0, server.stall_s - into)
        self.now += length
        books.outcomes["GetMessages"][Outcome.FINE] += arrivals.size
        books.latency["GetMessages"].observed.extend(latencies)
        books.lateness.extend(np.full(arrivals.size, 0.0005))
        drops = random.poisson(server.drops_per_chat_hour * self.open * length / 3600)
        books.verdicts[Verdict.DROPPED_LATE] += drops
        self.open -= min(drops, self.open)


@dataclass(frozen=True)
class Searched:
    """What a search found: whether its interval covers the knee, its width as a share, its length (seconds)."""

    claimed: bool
    covers: bool
    width: float
    length_s: float


def searched(server: NoisyServer, rules: StepRules, seed: int) -> Searched:
    """Run one search."""
    world = SearchWorld(server, rules, seed)
    capacity = world.run().capacity
    if capacity is None:
        return Searched(False, False, math.nan, world.now)
    covers = capacity.lower <= server.knee <= capacity.upper
    return Searched(True, covers, (capacity.upper - capacity.lower) / server.knee, world.now)


ROWS: Mapping[str, NoisyServer] = {
    "no noise": NoisyServer(1.0),
    "cv 0.3 from step to step": NoisyServer(1.0, 0.3),
    "cv 0.6 from step to step": NoisyServer(1.0, 0.6),
    "one stall of 2 s a minute": NoisyServer(1.0, stall_s=2.0),
    "cv 0.3, changing within 60 s": NoisyServer(1.0, 0.3, memory_s=60.0),
}
#: Chats are dropped at every load alike, and the user wants none: there is no knee.
NO_DROP = replace(RULES, thresholds=(parse("dropped.count == 0"), parse("refused.count == 0")))
NO_KNEE = NoisyServer(math.inf, drops_per_chat_hour=0.5)


def searches(server: NoisyServer, rules: StepRules, trials: int, seed: int) -> list[Searched]:
    """Run searches against servers like this one, each with a knee of its own between 100 and 500 sessions."""
    knees = np.exp(np.random.default_rng(seed).uniform(math.log(100), math.log(500), trials))
    if not math.isfinite(server.knee):
        knees = np.full(trials, math.inf)
    return [searched(replace(server, knee=float(knee)), rules, seed + n) for n, knee in enumerate(knees)]


def row(name: str, trials: int, seed: int) -> tuple[str, ...]:
    """Return the row of one of ROWS."""
    found = searches(ROWS[name], RULES, trials, seed)
    claims = [one for one in found if one.claimed]
    said_s = search_s(RULES, ROWS[name].sigma / _SLOPE)
    return (
        name,
        share(len(claims), trials),
        share(sum(one.covers for one in claims), len(claims)) if claims else "",
        f"{100 * median(one.width for one in claims):.1f} %" if claims else "",
        f"{median(one.length_s for one in found) / 60:.0f} min",
        f"{said_s / 60:.0f} min",
    )


def no_knee_row(trials: int, seed: int) -> tuple[str, ...]:
    """Return the row of a server without a knee."""
    found = searches(NO_KNEE, NO_DROP, trials, seed)
    claims = sum(one.claimed for one in found)
    length = f"{median(one.length_s for one in found) / 60:.0f} min"
    return ("no knee; 0.5 drops per chat-hour at every load", share(claims, trials), "", "", length, "")


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table of docs/statistics.md."""
    rows = [*(row(name, trials, seed) for name in ROWS), no_knee_row(trials, seed)]
    header = ("server", "a claim is made", "it covers the knee", "median width", "median length", "said beforehand")
    return SimulatedTable(header, rows, trials, seed)
