"""What the sessions of a measured run met, as plain values that can be sent to a process; and the network, faults and
ends that bring the same about in the virtual driver.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, log, log10
from random import Random

from chatload.random_numbers import SeededDraws
from chatload.run.histogram import Histogram
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault

#: Kind of failure (see RequestOdds) -> the simulator's fault that gives it. `refused` is the network's.
_FAULTS = {
    "status_1": "status_1", "status_1_violation": "status_1_violation", "http_error": "http_500",
    "malformed": "malformed", "unknown_status": "unknown_status", "timeout": "lost", "connection": "drop_connection",
    "lost": "status_2",
}  # fmt: skip
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class RequestOdds:
    """What may become of one request of an operation.

    round_trips: seconds. failures: (kind, chance), in a fixed order. Kinds: status_1, status_1_violation, http_error,
    malformed, unknown_status, timeout, connection (broken), refused (no connection made, so nothing was sent), lost
    (statusCode 2 to RequestChat).
    """

    round_trips: Histogram
    failures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run, from `start` (seconds since its beginning) to the next one's.

    odds: by operation; "" is for the operations that have none of their own. incident: its number, -1 outside
    incidents. reaches: chance that the server took a failed request all the same; one that timed out, when it was
    given up.
    """

    start: float
    odds: dict[str, RequestOdds]
    incident: int = -1
    reaches: float = 0.0


@dataclass(frozen=True, slots=True)
class ServerBehaviour:
    """What agents do, and what ends a chat from the server's side. Times in seconds.

    join_s, answer_s: means; each time is uniform from 0.4 to 1.6 of its mean; None: agents do not join, or do not
    answer. leaving: (age of the chat, chance per second from that age on that the agent ends it). closing: the same
    for inactivity control. early, lost: chance per second that the server ends the chat by itself and answers 0/true,
    or statusCode 2.
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

    stretches: in order of time, the first from 0 on; length_s: of all of them together; a longer forecast repeats
    them. dropped_answer: what a dropped chat answers, "0/true" or "2". connection_s: how long connections took to
    break (seconds). sessions: the most that were open.
    """

    stretches: tuple[Stretch, ...]
    length_s: float
    server: ServerBehaviour = ServerBehaviour()
    dropped_answer: str = "0/true"
    connection_s: tuple[float, ...] = ()
    sessions: int = 0

    def incidents(self) -> int:
        """How many incidents there are."""
        return len({stretch.incident for stretch in self.stretches} - {-1})


def latency_factor(growth: float, measured: int, sessions: int) -> float:
    """Return by what factor round trips are longer at `sessions` than at `measured`; growth: for ten times as many."""
    return float(growth ** log10(sessions / measured)) if measured and growth != 1.0 else 1.0


class MeasuredServer:
    """The conditions as the virtual driver needs them: its network, the faults and ends of its service, its settings.

    Deterministic in (conditions, factor, seed) and the calls. When a request leaves, it is drawn whether it will fail,
    and how long it takes: a connection that breaks takes as long as those of the run took to break, anything else a
    round trip. Each way takes half of that.
    """

    restarts: tuple[Fault, ...] = ()

    def __init__(self, conditions: Conditions, request_timeout_s: float, factor: float = 1.0, seed: int = 0) -> None:
        """factor: round trips are this much longer than they were measured."""
        self._conditions, self._random = conditions, Random(seed)
        self._starts = [stretch.start for stretch in conditions.stretches]
        made: dict[int, _ReadyOdds] = {}
        self._drawn: list[dict[str, _ReadyOdds]] = []
        for stretch in conditions.stretches:
            by_operation = {}
            for operation, odds in stretch.odds.items():
                if id(odds) not in made:
                    made[id(odds)] = _ReadyOdds(odds, request_timeout_s, factor)
                by_operation[operation] = made[id(odds)]
            self._drawn.append(by_operation)
        self._from = self._until = -inf
        self._now: dict[str, _ReadyOdds] = {}
        self._reaches = 0.0
        #: The failures of the requests that are on their way, by the instant of arrival.
        self._failing: dict[float, Fault] = {}
        self._refusing = False

    def config(self, timeout_s: float, keeps_ended_s: float) -> SimulatorConfig:
        """Return the settings of a service with this flex-disconnect-timeout that keeps ended chats for so long."""
        server = self._conditions.server
        joins = server.join_s is not None
        # Agents who do not answer answer after the end of any run.
        return SimulatorConfig(
            flex_disconnect_timeout_s=timeout_s,
            keeps_ended_s=keeps_ended_s,
            idle_alert_s=0.0,
            agents=joins,
            agent_wait_s=_around(server.join_s or 0.0),
            agent_answer_s=_around(_NEVER_S if server.answer_s is None else server.answer_s),
            dropped_answer=self._conditions.dropped_answer,
            seed=self._random.getrandbits(62),
        )

    # -- the network of the virtual driver ---------------------------------------------------------

    def request_latency(self, random: Random, now: float, operation: str) -> float:
        """Return the time to the service (seconds), or until a connection is refused."""
        drawn = self._at(now, operation)
        if self._refusing:
            return drawn.round_trip(random)
        fault, durations = self._failure(drawn), self._conditions.connection_s
        if fault is not None and fault.kind == _FAULTS["connection"] and durations:
            latency = durations[int(self._random.random() * len(durations))] / 2
        else:
            latency = drawn.round_trip(random) / 2
        if fault is not None:
            self._failing[now + latency] = fault
        return latency

    def answer_latency(self, random: Random, request_latency: float) -> float:
        """Return the other half of the round trip."""
        return request_latency

    def latency(self, random: Random) -> float:
        """Never asked for: nothing but requests and their answers is sent."""
        return 0.0

    def refuses(self, random: Random, now: float, operation: str) -> bool:
        """Return whether no connection can be made."""
        chance = self._at(now, operation).refused
        self._refusing = chance > 0 and random.random() < chance
        return self._refusing

    def lost(self, random: Random) -> bool:
        """No message vanishes on its way: a measured timeout is a fault of the service."""
        return False

    goes_stale = duplicates = delays = lost

    # -- the faults and ends of the service --------------------------------------------------------

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

    def draw_end(self, draws: SeededDraws) -> tuple[float, str] | None:
        """Return the age at which the server's side ends a new chat, and the end reason; None: never."""
        server = self._conditions.server
        ends = [
            (age_of(hazard, draws), reason)
            for hazard, reason in (
                (server.leaving, "agent"), (server.closing, "idle"), (((0.0, server.early),), "early"),
                (((0.0, server.lost),), "unrecoverable"),
            )
        ]  # fmt: skip
        age, reason = min(ends)
        return None if age == inf else (age, reason)

    def _at(self, now: float, operation: str) -> _ReadyOdds:
        if not self._from <= now < self._until:
            turns, within = divmod(now, self._conditions.length_s)
            begun = turns * self._conditions.length_s
            number = max(bisect_right(self._starts, within) - 1, 0)
            ends = (*self._starts[1:], self._conditions.length_s)[number]
            self._from, self._until = begun + self._starts[number], begun + ends
            self._now, self._reaches = self._drawn[number], self._conditions.stretches[number].reaches
        return self._now.get(operation) or self._now[""]


_NEVER_S = 1e9


def _around(mean_s: float) -> tuple[float, float]:
    return 0.4 * mean_s, 1.6 * mean_s


def age_of(hazard: Sequence[tuple[float, float]], draws: SeededDraws) -> float:
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
                Fault(_FAULTS[kind], reaches=True, delay_s=request_timeout_s if kind == "timeout" else 0.0),
                Fault(_FAULTS[kind], reaches=None if kind == "lost" else False),
            )
            for kind, _ in failures
        ]

    def round_trip(self, random: Random) -> float:
        """Return one round trip (seconds), distributed as the histogram has it, to the histogram's stated error."""
        return self._values[bisect_right(self._cumulated, random.random())]
