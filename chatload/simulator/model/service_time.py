"""How long requests take at the service: a line of requests before a few workers, as in queueing theory.

Every request waits for the first of `servers` workers that is free (first come, first served) and is then
served for an exponential time, whose mean grows with the chats that are open as the Universal Scalability Law
has it (N. J. Gunther, "A General Theory of Computational Scalability Based on Rational Functions", 2008):

    mean(N) = service_time (1 + contention (N - 1) + coherency N (N - 1))

With both at 0, and requests that come independently of each other at a rate r, that is the M/M/c queue: its load is
r service_time / servers, and above 1 the line grows without end. Sessions that refresh by a clock come more
evenly, so their line is shorter than M/M/c says until just before that.

A request reaches the chat once it was served, not when it arrives: as at a real server, a refresh that stands in line
for too long comes too late. A request whose client has hung up is served all the same.
"""

from __future__ import annotations

import math
from heapq import heapreplace

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.draws import Draws


class Workers:
    """The workers of one service, each known by when it is free next (the caller's clock, seconds)."""

    __slots__ = ("_config", "_draws", "_free")

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._free = [-math.inf] * config.servers
        self._draws = Draws(f"{config.seed}/service time")

    def take(self, now: float, sessions: int) -> float:
        """A request has come, `sessions` chats being open: it was served so many seconds from now."""
        mean = mean_service_s(self._config, sessions)
        if mean <= 0:
            return 0.0
        done = max(now, self._free[0]) - mean * math.log1p(-self._draws.within((0.0, 1.0)))
        heapreplace(self._free, done)
        return done - now


def mean_service_s(config: SimulatorConfig, sessions: int) -> float:
    """How long a request is served on average while so many chats are open (seconds)."""
    n = max(sessions, 1)
    return config.service_time_s * (1 + config.contention * (n - 1) + config.coherency * n * (n - 1))
