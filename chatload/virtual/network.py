"""A seeded model of the network between the generator and the service."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from random import Random
from typing import Literal

#: What can happen to a message on its way (see NetworkModel).
Mishap = Literal["loss", "stale", "duplicated", "late"]


@dataclass(frozen=True)
class NetworkModel:
    """The network between the generator and the service, with random latencies and faults. Probabilities are 0 to 1.

    The arguments of its methods: `random`: the driver's generator; `now`: virtual time (seconds).

    median_s, sigma: the one-way latency is lognormal; sigma is the standard deviation of its logarithm.
    loss: probability that a message is lost, in each direction.
    refused: probability that no connection can be made.
    stale: probability that the server closes a kept connection just as a request leaves on it; in half of these cases
        it processes the request, at most one flex-disconnect-timeout later.
    duplicated: probability that a request arrives a second time, at most one flex-disconnect-timeout later.
    late: probability that a request arrives after the client has given it up, at most one flex-disconnect-timeout
        later.
    """

    median_s: float = 0.001
    sigma: float = 0.5
    loss: float = 0.0
    refused: float = 0.0
    stale: float = 0.0
    duplicated: float = 0.0
    late: float = 0.0

    def latency(self, random: Random) -> float:
        """Return the one-way latency of a message (seconds)."""
        return self.median_s * exp(random.gauss(0.0, self.sigma)) if self.median_s else 0.0

    def request_latency(self, random: Random, now: float, operation: str) -> float:
        """Return the time a request that leaves now takes to the service."""
        return self.latency(random)

    def answer_latency(self, random: Random, request_latency: float) -> float:
        """Return the time an answer takes back; request_latency: what its request took."""
        return self.latency(random)

    def refuses(self, random: Random, now: float, operation: str) -> bool:
        """Return whether no connection can be made for a request that leaves now."""
        return self.refused > 0 and random.random() < self.refused

    def suffers(self, mishap: Mishap, random: Random) -> bool:
        """Return whether this happens to a message."""
        chance: float = getattr(self, mishap)
        return chance > 0 and random.random() < chance


@dataclass(frozen=True, slots=True)
class Stalls:
    """Windows [start, end) (seconds, in order, not overlapping) in which the generator is stalled."""

    windows: tuple[tuple[float, float], ...] = ()

    def awake(self, at: float) -> float:
        """Return the first instant from `at` on at which the generator runs."""
        for start, end in self.windows:
            if start <= at < end:
                return end
        return at

    def shifted(self, by_s: float) -> Stalls:
        """Return the same stalls, each `by_s` seconds later."""
        return Stalls(tuple((start + by_s, end + by_s) for start, end in self.windows))

    def within(self, start: float, end: float) -> float:
        """Return how long the generator was stalled in [start, end] (seconds)."""
        return sum(max(0.0, min(end, b) - max(start, a)) for a, b in self.windows)
