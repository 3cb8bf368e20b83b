"""A share of a crowd of customers, held to the end: what came of it, in figures that add."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from chatload.chat.engine import ChatEngine
from chatload.chat.settings import SessionSettings
from chatload.features.forecast.conditions import Conditions, Weather
from chatload.features.forecast.solo import Solo
from chatload.run.books import Books, may_be_dropped
from chatload.vocabulary import Verdict

#: Not in an incident.
CALM = -1


@dataclass(frozen=True, slots=True)
class Job:
    """Customers for one process: number `first` and on, one for each instant of `starts` (seconds).

    factor: round trips are this much longer. watched: stretches of time in which failures are counted.
    """

    settings: SessionSettings
    conditions: Conditions
    first: int
    starts: tuple[float, ...]
    stop_at: float
    seed: int = 0
    factor: float = 1.0
    watched: tuple[tuple[float, float], ...] = ()


@dataclass(slots=True)
class Crowd:
    """What came of customers. customers_s: the time they were there, seconds. messages: the agents'.

    drops: sessions that were dropped, or may have been, by the incident they were dropped in. failures: by
    stretch watched. confirmed: of the sessions cut off, those whose goodbye was confirmed.
    """

    books: Books = field(default_factory=Books)
    customers: int = 0
    customers_s: float = 0.0
    sent: int = 0
    heard: int = 0
    drops: Counter[int] = field(default_factory=Counter)
    failures: Counter[int] = field(default_factory=Counter)
    confirmed: int = 0

    def merge(self, other: Crowd) -> None:
        """Add another share of the crowd."""
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


def hold(job: Job) -> Crowd:
    """Hold a job's customers, one after the other."""
    crowd = Crowd()
    incidents = _Incidents(job.conditions, job.settings.timeout_s + job.settings.policy.interval_s)

    def over(session: ChatEngine) -> None:
        record = session.record
        crowd.sent += record.messages_sent
        crowd.heard += record.messages_received
        crowd.confirmed += record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed
        if may_be_dropped(record):
            crowd.drops[incidents.at(record.ended_at)] += 1

    def failed(at: float, _: str) -> None:
        for number, (start, end) in enumerate(job.watched):
            if start <= at < end:
                crowd.failures[number] += 1

    weather = Weather(job.conditions, job.factor)
    solo = Solo(job.settings, weather, crowd.books, over, failed if job.watched else None, job.seed)
    for number, starts_at in enumerate(job.starts, job.first):
        if starts_at < job.stop_at:
            solo.customer(number, starts_at, job.stop_at)
            crowd.customers_s += job.stop_at - starts_at
        crowd.customers += 1
    solo.close()
    return crowd


class _Incidents:
    """Which incident a drop belongs to: one under way, or over for no longer than it takes to find out."""

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
