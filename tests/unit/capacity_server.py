"""A made-up server and generator for the capacity search, in virtual time: what it should find is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from chatload.features.capacity.search import CapacitySearch, Result
from chatload.features.capacity.step import Look, StepRules
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram

RULES = StepRules(start=10, ceiling=5000, interval_s=1.0, timeout_s=4.0, hold_s=3.0, bound_s=15.0)
#: Of an exponential distribution, 95 % are below so many means.
P95 = math.log(20)
#: Of a second's refreshes no more than these are drawn: enough to judge by, and quickly done.
MOST_DRAWS = 200


@dataclass
class Server:
    """limit: refuses above so many, then until below 80 % of it. knee: the load at which p95 reaches 100 ms.
    breaks: the load above which chats drop. slow_from: the load from which the generator itself is late. hogs: CPU it
    takes for each session. churn: share of the chats that end each second, to begin anew. stuck_at: more users than
    that it cannot begin. ghosts: the first chats that leave stand at the server until they are dropped."""

    limit: int | None = None
    knee: float | None = None
    breaks: int | None = None
    slow_from: int | None = None
    hogs: float = 0.0
    churn: float = 0.0
    stuck_at: int | None = None
    ghosts: bool = False

    def mean_latency(self, load: int) -> float:
        base = 0.004
        if self.knee is None:
            return base
        # Steep, as a queue is: 12 ms and 100 ms at the knee are p95s.
        return base + (0.1 / P95 - base) * (load / self.knee) ** 6


class World:
    """Runs one search against one server, a look about every second."""

    def __init__(self, server: Server, rules: StepRules, seed: int = 0) -> None:
        self.server, self.search, self.random = server, CapacitySearch(rules), Random(seed)
        self.rules, self.books = rules, Books()
        self.now, self.cpu = 0.0, 0.0
        self.open = self.users = 0
        self.refusing = False
        self.ghosts, self.ghosts_until = 0, 0.0

    def run(self, seconds: float = 50_000.0) -> Result:
        """The result; a search that does not end fails."""
        while self.now < seconds:
            copy = Books()
            copy.merge(self.books)
            copy.states["held"] = self.open
            wanted = self.search.look(Look(self.now, copy, {"local": self.cpu}))
            if wanted is None:
                assert self.search.result is not None
                return self.search.result
            self.second(wanted)
        raise AssertionError([(s.load, s.purpose, s.outcome) for s in self.search.steps])

    def second(self, wanted: int) -> None:
        """One second goes by; new users come within about one refresh interval."""
        server, length = self.server, self.random.uniform(0.95, 1.2)
        self.now += length
        if server.stuck_at is not None:
            wanted = min(wanted, server.stuck_at)
        if wanted < self.users:
            self.users = wanted
            self.leave(max(0, self.open - wanted))
        self.users += math.ceil((wanted - self.users) * 0.7)
        for _ in range(sum(self.random.random() < server.churn for _ in range(self.open)) if server.churn else 0):
            self.open -= 1
            self.books.verdicts["completed"] += 1
            self.ask()
        for _ in range(self.users - self.open):
            self.ask()
        self.refresh(length)

    def leave(self, chats: int) -> None:
        """So many chats say goodbye; of a server with ghosts, no goodbye is confirmed in its first recovery."""
        self.open -= chats
        self.books.verdicts["cut_off"] += chats
        if self.server.ghosts and not self.ghosts and chats:
            self.ghosts, self.ghosts_until = chats, self.now + self.rules.timeout_s
        else:
            goodbyes = self.books.outcomes.setdefault("Disconnect", type(self.books.verdicts)())
            goodbyes["0/true"] += chats

    def ask(self) -> None:
        """One RequestChat."""
        limit = self.server.limit
        self.books.started += 1
        if limit is not None:
            still = self.open + (self.ghosts if self.now < self.ghosts_until else 0)
            self.refusing = still >= limit or (self.refusing and still >= 0.8 * limit)
        by_outcome = self.books.outcomes.setdefault("RequestChat", type(self.books.verdicts)())
        by_outcome["2" if self.refusing else "0/false"] += 1
        if self.refusing:
            self.books.verdicts["refused"] += 1
        else:
            self.open += 1

    def refresh(self, length: float) -> None:
        """The refreshes of that second."""
        server, books = self.server, self.books
        mean = server.mean_latency(self.open)
        latency = books.latency.setdefault("GetMessages", CensoredHistogram()).observed
        answered = round(self.open * length / self.rules.interval_s)
        books.outcomes.setdefault("GetMessages", type(books.verdicts)())["0/false"] += answered
        late = server.slow_from is not None and self.open >= server.slow_from
        if late or server.knee is not None:
            for _ in range(min(answered, MOST_DRAWS)):
                own = self.random.uniform(0.1, 0.6) if late else 0.0005
                latency.add(self.random.expovariate(1 / mean) + (own if late else 0.0))
                books.lateness.add(own)
        else:
            latency.merge(_alike(answered, mean))
            books.lateness.merge(_alike(answered, 0.0005))
        self.cpu += length * min(1.0, server.hogs * self.open)
        if server.breaks is not None and self.open > server.breaks:
            books.verdicts["dropped_late"] += 1


def _alike(n: int, value: float) -> Histogram:
    made = Histogram()
    made.extend([value] * n)
    return made


def find(server: Server, rules: StepRules = RULES, seed: int = 0) -> tuple[Result, CapacitySearch]:
    """What a search finds, and the search."""
    world = World(server, rules, seed)
    return world.run(), world.search
