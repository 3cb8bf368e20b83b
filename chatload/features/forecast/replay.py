"""Replays: customers held by the virtual driver under measured conditions, in one process or several.

Customers do not depend on each other, so they are held in pieces, each by a virtual swarm of its own. The result is
the same for any number of processes.

An engine of its own, without payloads and a common clock, was measured and removed: for the sample run it took 14 to
36 us of CPU per request, this driver 64 to 85 us, and both gave the same drop rates within their 95 % intervals. A
million requests take about 80 s of one core.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from chatload.chat.record import SessionRecord
from chatload.chat.settings import SessionSettings
from chatload.features.forecast.conditions import Conditions, MeasuredServer
from chatload.features.forecast.incidents import count_failures
from chatload.run.books import Books, may_be_dropped
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.vocabulary import Verdict

#: Drops outside incidents.
CALM = -1
#: Customers of one piece, and at most so many customer-seconds: a piece's memory grows with both.
_PIECE, _PIECE_S = 500, 1_800_000.0
#: How often the service forgets chats that ended long ago (virtual seconds).
_FORGET_S = 60.0


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
    settings, result = job.settings, CohortResult()
    server = MeasuredServer(job.conditions, settings.request_timeout_s, job.factor, job.seed)
    service = ChatService(server.config(settings.timeout_s, settings.keeps_ended_s), server)
    incidents = _Incidents(job.conditions, settings.timeout_s + settings.policy.interval_s)

    def ended(record: SessionRecord) -> None:
        result.sent += record.messages_sent
        result.heard += record.messages_received
        result.confirmed += record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed
        if may_be_dropped(record):
            result.drops[incidents.at(record.ended_at)] += 1

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


class _Incidents:
    """Finds the incident a drop belongs to: one under way, or over for no longer than clients take to find out."""

    def __init__(self, conditions: Conditions, lingers_s: float) -> None:
        stretches, self._length = conditions.stretches, conditions.length_s
        ends = [*(stretch.start for stretch in stretches[1:]), self._length]
        self._spans = [
            (stretch.start, end + lingers_s, stretch.incident)
            for stretch, end in zip(stretches, ends, strict=True)
            if stretch.incident != CALM
        ]

    def at(self, instant: float) -> int:
        within = instant % self._length
        for start, end, number in self._spans:
            if start <= within < end or start <= within + self._length < end:
                return number
        return CALM


# -- several processes -----------------------------------------------------------------------------

#: Holds the customers of a job.
Replayer = Callable[[ReplayJob], CohortResult]
#: Called with the number of customers that are done and of all.
Progress = Callable[[int, int], None]


@contextmanager
def replayers(processes: int, progress: Progress = lambda _, __: None) -> Iterator[Replayer]:
    """Yield a function that replays jobs in so many processes, which end with the block."""
    if processes == 1:
        yield lambda job: _merged(map(replay, _pieces(job)), len(job.starts), progress)
        return
    pool = multiprocessing.get_context("spawn").Pool(processes, _ignore_interrupt)
    try:
        # In their order, so that sums of floats come out the same each time.
        yield lambda job: _merged(pool.imap(replay, _pieces(job)), len(job.starts), progress)
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


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the first process, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _merged(results: Iterator[CohortResult], customers: int, progress: Progress) -> CohortResult:
    total = CohortResult()
    for result in results:
        total.merge(result)
        progress(total.customers, customers)
    return total
