"""What sessions of a measured run met: round trips, failures, agents. Plain values that can be sent to a process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log10
from random import Random

from chatload.run.histogram import Histogram

#: What becomes of a request that fails: all but these were answered. refused is a connection never made.
UNANSWERED = frozenset({"timeout", "connection", "refused"})


class RoundTrips:
    """Draws round trips (seconds) as a histogram has them, tail and all, to its stated error.

    Walker's alias method (M. D. Vose, "A linear algorithm for generating random numbers with a given
    distribution", IEEE Transactions on Software Engineering 17 (1991)): one uniform number a draw.
    """

    __slots__ = ("table",)

    def __init__(self, histogram: Histogram, factor: float = 1.0) -> None:
        """factor: every round trip is this much longer than it was measured."""
        bins = list(histogram.bins())
        least, most = histogram.minimum or 0.0, histogram.maximum or 0.0
        values = [factor * min(max((low + high) / 2, least), most) for low, high, _ in bins] or [0.0]
        #: Values, how much of each place is its own, whose the rest is, and how many there are.
        self.table = (values, *_aliased([n for _, _, n in bins] or [1]), len(values))

    def draw(self, random: Random) -> float:
        """One round trip, seconds."""
        values, keep, alias, size = self.table
        place = random.random() * size
        number = int(place)
        return values[number if place - number < keep[number] else alias[number]]


def _aliased(counts: Sequence[int]) -> tuple[list[float], list[int]]:
    size, total = len(counts), sum(counts)
    keep, alias = [size * n / total for n in counts], list(range(size))
    small = [i for i in range(size) if keep[i] < 1.0]
    large = [i for i in range(size) if keep[i] >= 1.0]
    while small and large:
        few, many = small.pop(), large[-1]
        alias[few] = many
        keep[many] -= 1.0 - keep[few]
        if keep[many] < 1.0:
            small.append(large.pop())
    for i in (*small, *large):
        keep[i] = 1.0
    return keep, alias


@dataclass(frozen=True, slots=True)
class Odds:
    """What may become of one request of an operation. failures: outcome -> chance, in a fixed order."""

    round_trips: Histogram
    failures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run, from `start` (seconds since its beginning) to the next one's.

    odds: by operation; "" is for those that have none of their own. incident: its number, -1 where it is none.
    reaches: chance that the server took a request that failed all the same; one that was given up, by then.
    """

    start: float
    odds: dict[str, Odds]
    incident: int = -1
    reaches: float = 0.0


@dataclass(frozen=True, slots=True)
class Agents:
    """What agents do, and what ends a chat from the server's side. Times in seconds.

    join_s, answer_s: means, each time uniform from 0.4 to 1.6 of it; None: it does not happen. leaving:
    (age of the chat, chance per second from there on that the agent ends it). closing: the same for
    inactivity control. early, lost: chance per second that the server ends the chat by itself, telling
    0/true or statusCode 2.
    """

    join_s: float | None = 1.0
    answer_s: float | None = 1.0
    leaving: tuple[tuple[float, float], ...] = ()
    closing: tuple[tuple[float, float], ...] = ()
    early: float = 0.0
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the sessions of one run met.

    stretches: in order of time, the first from 0 on; length_s: of all of them, after which they begin
    anew where a forecast is longer. dropped_answer: what a dropped chat answers, "0/true" or "2". connection_s: how
    long broken connections took to show. sessions: the most that were open.
    """

    stretches: tuple[Stretch, ...]
    length_s: float
    agents: Agents = Agents()
    dropped_answer: str = "0/true"
    connection_s: tuple[float, ...] = ()
    sessions: int = 0

    def incidents(self) -> int:
        """How many incidents there are."""
        return len({stretch.incident for stretch in self.stretches} - {-1})


def latency_factor(growth: float, measured: int, sessions: int) -> float:
    """How much longer round trips are at `sessions` than at `measured`, at `growth` for ten times as many."""
    return float(growth ** log10(sessions / measured)) if measured and growth != 1.0 else 1.0


@dataclass(slots=True)
class Weather:
    """The conditions made ready for drawing: where a request meets which odds."""

    conditions: Conditions
    factor: float = 1.0
    starts: list[float] = field(init=False)
    reaches: list[float] = field(init=False)
    ready: list[dict[str, Ready]] = field(init=False)

    def __post_init__(self) -> None:
        made: dict[int, Ready] = {}
        self.starts = [stretch.start for stretch in self.conditions.stretches]
        self.reaches = [stretch.reaches for stretch in self.conditions.stretches]
        self.ready = []
        for stretch in self.conditions.stretches:
            by_operation = {}
            for operation, odds in stretch.odds.items():
                if id(odds) not in made:
                    made[id(odds)] = Ready(odds, self.factor)
                by_operation[operation] = made[id(odds)]
            self.ready.append(by_operation)

    def span(self, at: float) -> tuple[int, float]:
        """The stretch an instant is in, and until when it lasts. Past the end everything begins anew."""
        length = self.conditions.length_s
        turns, within = divmod(at, length)
        number = max(bisect_right(self.starts, within) - 1, 0)
        until = self.starts[number + 1] if number + 1 < len(self.starts) else length
        return number, turns * length + until


class Ready:
    """Odds, ready to be drawn from: clear is the chance that nothing fails."""

    __slots__ = ("clear", "draw", "kinds", "round_trips")

    def __init__(self, odds: Odds, factor: float) -> None:
        self.round_trips = RoundTrips(odds.round_trips, factor)
        self.draw = self.round_trips.draw
        self.kinds: list[tuple[float, str]] = []
        reached = 0.0
        for kind, chance in odds.failures:
            reached += chance
            self.kinds.append((reached, kind))
        self.clear = reached

    def failure(self, drawn: float) -> str | None:
        """The failure a uniform number below `clear` stands for."""
        for reached, kind in self.kinds:
            if drawn < reached:
                return kind
        return None
