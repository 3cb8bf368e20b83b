"""A seeded model of the network between the generator and the service."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from random import Random


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """One-way latency is lognormal (median_s, sigma of the log). loss: chance that a message
    vanishes, each way. refused: chance that no connection can be made. stale: chance that the server closes a
    kept connection just as a request leaves on it; it has taken the request, soon or late, or not, half and half.
    duplicated: chance that a request arrives a second time, at most one flex-disconnect-timeout later. late: chance
    that a request arrives only after the client has given it up, by at most one flex-disconnect-timeout."""

    median_s: float = 0.001
    sigma: float = 0.5
    loss: float = 0.0
    refused: float = 0.0
    stale: float = 0.0
    duplicated: float = 0.0
    late: float = 0.0

    def latency(self, random: Random) -> float:
        """One one-way latency, seconds."""
        return self.median_s * exp(random.gauss(0.0, self.sigma)) if self.median_s else 0.0

    def lost(self, random: Random) -> bool:
        """Whether one message vanishes."""
        return self.loss > 0 and random.random() < self.loss

    def refuses(self, random: Random) -> bool:
        """Whether one connection is refused."""
        return self.refused > 0 and random.random() < self.refused

    def goes_stale(self, random: Random) -> bool:
        """Whether one kept connection is closed just as a request leaves."""
        return self.stale > 0 and random.random() < self.stale

    def duplicates(self, random: Random) -> bool:
        """Whether one request arrives twice."""
        return self.duplicated > 0 and random.random() < self.duplicated

    def delays(self, random: Random) -> bool:
        """Whether one request arrives after it was given up."""
        return self.late > 0 and random.random() < self.late


@dataclass(frozen=True, slots=True)
class Stalls:
    """Windows [start, end) (seconds, in order, apart) in which the generator stands still."""

    windows: tuple[tuple[float, float], ...] = ()

    def awake(self, at: float) -> float:
        """The first instant from `at` on at which the generator runs."""
        for start, end in self.windows:
            if start <= at < end:
                return end
        return at

    def shifted(self, by_s: float) -> Stalls:
        """The same stalls, each so much later."""
        return Stalls(tuple((start + by_s, end + by_s) for start, end in self.windows))

    def within(self, start: float, end: float) -> float:
        """How long the generator stood still in [start, end]."""
        return sum(max(0.0, min(end, b) - max(start, a)) for a, b in self.windows)
