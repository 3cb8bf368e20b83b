"""Replays: customers held by the virtual driver under measured conditions, in one process or several.

`MeasuredServer` is the network, and the faults and ends of the service, that bring the measured conditions about.

Customers do not depend on each other, so they are held in pieces, each by a virtual swarm of its own. The result is
the same for any number of processes.

An engine of its own, without payloads and a common clock, was measured and removed: for the sample run it took 14 to
36 us of CPU per request, this driver 64 to 85 us, and both gave the same drop rates within their 95 % intervals. A
million requests take about 80 s of one core.
"""

from __future__ import annotations

import multiprocessing
import signal
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import inf, log
from random import Random

from chatload.chat.engine import ChatEngine
from chatload.chat.settings import SessionSettings
from chatload.features.forecast.conditions import BROKEN, REFUSED, TIMED_OUT, Conditions, RequestOdds, count_failures
from chatload.random_numbers import SplitMix64
from chatload.run.books import Books, may_be_dropped
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel
from chatload.vocabulary import Verdict

#: Drops outside incidents.
CALM = -1
#: Customers of one piece, and at most so many customer-seconds: a piece's memory grows with both.
_PIECE, _PIECE_S = 500, 1_800_000.0
#: How often the service forgets chats that ended long ago (virtual seconds).
_FORGET_S = 60.0
_NEVER_S = 1e9


class MeasuredServer(NetworkModel):
    """The conditions as the virtual driver needs them: its network, the faults and ends of its service, its settings.

    Deterministic in (conditions, factor, seed) and the calls. When a request leaves, it is drawn whether it will fail,
    and how long it takes: a connection that breaks takes as long as those of the run took to break, anything else a
    round trip. Each way takes half of that.
    """

    unasked: tuple[Fault, ...] = ()

    def __init__(self, conditions: Conditions, request_timeout_s: float, factor: float = 1.0, seed: int = 0) -> None:
        """factor: round trips are this much longer than they were measured."""
        # No message vanishes on its way: a measured timeout is a fault of the service.
        super().__init__(median_s=0.0)
        self._conditions, self._random = conditions, Random(seed)
        self._starts, self._ends = [stretch.start for stretch in conditions.stretches], conditions.ends
        self._drawn = [
            {operation: _ReadyOdds(odds, request_timeout_s, factor) for operation, odds in stretch.odds.items()}
            for stretch in conditions.stretches
        ]
        self._from = self._until = -inf
        self._now: dict[str, _ReadyOdds] = {}
        self._reaches = 0.0
        #: The failures of the requests that are on their way, by the instant of arrival.
        self._failing: dict[float, Fault] = {}
        self._refusing = False

    def config(self, timeout_s: float, keeps_ended_s: float) -> SimulatorConfig:
        """Return the settings of a service with this flex-disconnect-timeout that keeps ended chats for so long."""
        conditions = self._conditions
        # Agents who do not answer answer after the end of any run.
        return SimulatorConfig(
            flex_disconnect_timeout_s=timeout_s,
            keeps_ended_s=keeps_ended_s,
            idle_alert_s=0.0,
            agents=conditions.join_s is not None,
            agent_wait_s=_around(conditions.join_s or 0.0),
            agent_answer_s=_around(_NEVER_S if conditions.answer_s is None else conditions.answer_s),
            dropped_answer=conditions.dropped_answer,
            seed=self._random.getrandbits(62),
        )

    def request_latency(self, random: Random, now: float, operation: str) -> float:
        """Return the time to the service (seconds), or until a connection is refused."""
        drawn = self._at(now, operation)
        if self._refusing:
            return drawn.round_trip(random)
        fault, durations = self._failure(drawn), self._conditions.connection_s
        if fault is not None and fault.kind == BROKEN and durations:
            latency = durations[int(self._random.random() * len(durations))] / 2
        else:
            latency = drawn.round_trip(random) / 2
        if fault is not None:
            self._failing[now + latency] = fault
        return latency

    def answer_latency(self, random: Random, request_latency: float) -> float:
        """Return the other half of the round trip."""
        return request_latency

    def refuses(self, random: Random, now: float, operation: str) -> bool:
        """Return whether no connection can be made."""
        chance = self._at(now, operation).refused
        self._refusing = chance > 0 and random.random() < chance
        return self._refusing

    def draw(self, elapsed: float, operation: str) -> Fault | None:
        """Return the failure of the request that arrives `elapsed` seconds after the start, or None."""
        return self._failing.pop(elapsed, None)

    def _failure(self, drawn: _ReadyOdds) -> Fault | None:
        random = self._random
        place = random.random()
        if place >= drawn.failing:
            return None
        reached, missed = drawn.failures[bisect_right(drawn.chances, place)]
        return reached if self._reaches and random.random() < self._reaches else missed

    def draw_end(self, draws: SplitMix64) -> tuple[float, str] | None:
        """Return the age at which the server's side ends a new chat, and the end reason; None: never."""
        conditions = self._conditions
        hazards = {
            "agent": conditions.leaving,
            "idle": conditions.closing,
            "early": ((0.0, conditions.early),),
            "unrecoverable": ((0.0, conditions.lost),),
        }
        age, reason = min((_age_of(hazard, draws), reason) for reason, hazard in hazards.items())
        return None if age == inf else (age, reason)

    def _at(self, now: float, operation: str) -> _ReadyOdds:
        if not self._from <= now < self._until:
            turns, within = divmod(now, self._conditions.length_s)
            begun = turns * self._conditions.length_s
            number = max(bisect_right(self._starts, within) - 1, 0)
            self._from, self._until = begun + self._starts[number], begun + self._ends[number]
            self._now, self._reaches = self._drawn[number], self._conditions.stretches[number].reaches
        return self._now.get(operation) or self._now[""]


def _around(mean_s: float) -> tuple[float, float]:
    return 0.4 * mean_s, 1.6 * mean_s


def _age_of(hazard: Sequence[tuple[float, float]], draws: SplitMix64) -> float:
    """Return the age (seconds) at which something happens that has this hazard: (from age, chance per second)."""
    if not any(chance for _, chance in hazard):
        return inf
    left = -log(1.0 - draws.random())
    for number, (age, chance) in enumerate(hazard):
        until = hazard[number + 1][0] if number + 1 < len(hazard) else inf
        if chance > 0:
            if left <= chance * (until - age):
                return age + left / chance
            left -= chance * (until - age)
    return inf


class _ReadyOdds:
    """RequestOdds, made ready for drawing.

    failing: chance that a request which was sent fails; chances: cumulated, by failure; failures: the fault that
    reaches the chat, and the one that does not.
    """

    __slots__ = ("_cumulated", "_values", "chances", "failing", "failures", "refused")

    def __init__(self, odds: RequestOdds, request_timeout_s: float, factor: float) -> None:
        bins = list(odds.round_trips.bins())
        least, most = odds.round_trips.minimum or 0.0, odds.round_trips.maximum or 0.0
        self._values = [factor * min(max((low + high) / 2, least), most) for low, high, _ in bins] or [0.0]
        total = sum(count for _, _, count in bins) or 1
        self._cumulated = list(accumulate(count / total for _, _, count in bins))[:-1]
        self.refused = sum(chance for kind, chance in odds.failures if kind == REFUSED)
        sent = max(1.0 - self.refused, 1e-9)
        failures = [(kind, chance) for kind, chance in odds.failures if kind != REFUSED]
        self.chances = list(accumulate(chance / sent for _, chance in failures))
        self.failing = self.chances[-1] if self.chances else 0.0
        self.failures = [
            (
                Fault(kind, reaches=True, delay_s=request_timeout_s if kind == TIMED_OUT else 0.0),
                Fault(kind, reaches=None if kind == "status_2" else False),
            )
            for kind, _ in failures
        ]

    def round_trip(self, random: Random) -> float:
        """Return one round trip (seconds), distributed as the histogram has it, to the histogram's stated error."""
        return self._values[bisect_right(self._cumulated, random.random())]


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """Customers to hold.

    starts: when each customer starts its first chat (seconds). stop_at: when all are stopped. factor: round trips
    are this much longer than measured. watched: spans of time in which failed requests are counted.
    """

    settings: SessionSettings
    conditions: Conditions
    starts: tuple[float, ...]
    stop_at: float
    seed: int = 0
    factor: float = 1.0
    watched: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class CohortResult:
    """What became of the customers of a job; sums that add up over pieces.

    customers_s: the time they were there, seconds. sent, heard: messages of customers and of agents. drops: sessions
    that were, or may have been, dropped, by the incident they were dropped in. failures: failed requests by watched
    span. confirmed: of the sessions cut off, those whose goodbye was confirmed.
    """

    books: Books = field(default_factory=Books)
    customers: int = 0
    customers_s: float = 0.0
    sent: int = 0
    heard: int = 0
    drops: Counter[int] = field(default_factory=Counter)
    failures: Counter[int] = field(default_factory=Counter)
    confirmed: int = 0

    def merge(self, other: CohortResult) -> None:
        """Add the result of more customers."""
        self.books.merge(other.books)
        self.customers += other.customers
        self.customers_s += other.customers_s
        self.sent += other.sent
        self.heard += other.heard
        self.drops.update(other.drops)
        self.failures.update(other.failures)
        self.confirmed += other.confirmed

    @property
    def known(self) -> int:
        """Accepted sessions whose fate is known."""
        return self.books.fates.known(self.confirmed)

    @property
    def late(self) -> int:
        """Sessions proven to be dropped late."""
        return self.books.verdicts[Verdict.DROPPED_LATE]

    @property
    def dropped(self) -> int:
        """Sessions that were dropped, and those that may have been."""
        return self.books.fates.dropped.most


def replay(job: ReplayJob) -> CohortResult:
    """Hold the customers of a job with one virtual swarm."""
    settings, length_s, result = job.settings, job.conditions.length_s, CohortResult()
    server = MeasuredServer(job.conditions, settings.request_timeout_s, job.factor, job.seed)
    service = ChatService(server.config(settings.timeout_s, settings.keeps_ended_s), server)
    lingers_s = settings.timeout_s + settings.policy.interval_s
    # A drop belongs to an incident that was over for no longer than clients take to find out.
    spans = [(start, end + lingers_s) for start, end, _ in job.conditions.incidents]

    def ended(chat: ChatEngine) -> None:
        record = chat.record
        result.sent += record.messages_sent
        result.heard += record.messages_received
        result.confirmed += record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed
        if may_be_dropped(record):
            # A drop counts for the first span that has its instant, or that of the run's next repetition.
            at = record.ended_at % length_s
            own = (n for n, (start, end) in enumerate(spans) if start <= at < end or start <= at + length_s < end)
            result.drops[next(own, CALM)] += 1

    swarm = VirtualSwarm(
        settings, service, chats=10**12, seed=job.seed, network=server, stop_at=job.stop_at, on_ended=ended
    )
    for starts_at in job.starts:
        if starts_at < job.stop_at:
            swarm.at(starts_at, swarm.next_chat)
            result.customers_s += job.stop_at - starts_at
    for number, (start, end) in enumerate(job.watched):
        swarm.at(start, _count, result.failures, number, -1, swarm.books)
        swarm.at(end, _count, result.failures, number, 1, swarm.books)
    for turn in range(1, int(job.stop_at / _FORGET_S) + 1):
        swarm.at(turn * _FORGET_S, service.sweep, turn * _FORGET_S)
    result.books = swarm.run().books
    result.customers = len(job.starts)
    return result


def _count(failures: Counter[int], number: int, sign: int, books: Books) -> None:
    failures[number] += sign * count_failures(books.outcomes)


# -- several processes -----------------------------------------------------------------------------

#: Holds the customers of a job.
Replayer = Callable[[ReplayJob], CohortResult]
#: Called with the number of customers of each part of a job that is done.
OnReplayed = Callable[[int], object]


@contextmanager
def replayers(processes: int, on_replayed: OnReplayed = lambda _: None) -> Iterator[Replayer]:
    """Yield a function that replays jobs in so many processes, which end with the block."""
    if processes == 1:
        yield lambda job: _merged(map(replay, _pieces(job)), on_replayed)
        return
    # Ctrl-C is left to this process, which ends the others.
    pool = multiprocessing.get_context("spawn").Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        # In their order, so that sums of floats come out the same each time.
        yield lambda job: _merged(pool.imap(replay, _pieces(job)), on_replayed)
    finally:
        pool.terminate()
        pool.join()


def remembering(replayer: Replayer) -> Replayer:
    """Return a replayer that holds the customers of equal jobs once: the same sample stands for every load."""
    known: list[tuple[ReplayJob, CohortResult]] = []

    def replay_once(job: ReplayJob) -> CohortResult:
        result = next((result for other, result in known if other == job), None)
        if result is None:
            result = replayer(job)
            known.append((job, result))
        return result

    return replay_once


def _pieces(job: ReplayJob) -> Iterator[ReplayJob]:
    size = max(1, min(_PIECE, int(_PIECE_S / max(job.stop_at, 1.0))))
    for first in range(0, len(job.starts), size):
        seed = Random(f"{job.seed}/{first}").getrandbits(62)
        yield replace(job, starts=job.starts[first : first + size], seed=seed)


def _merged(results: Iterator[CohortResult], on_replayed: OnReplayed) -> CohortResult:
    total = CohortResult()
    for result in results:
        total.merge(result)
        on_replayed(result.customers)
    return total
