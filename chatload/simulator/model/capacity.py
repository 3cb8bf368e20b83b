"""Capacity of the service: limits on chats and customers [opt], and workers that take time for each request."""

from __future__ import annotations

import math
from heapq import heapreplace

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.draws import SeededDraws


class ChatLimits:
    """Counts live chats and flex users, and decides which chats are refused.

    A limit that has refused a chat keeps refusing until its count is below limits-restore-threshold of it. sessions:
    live chats. With `one_user_per_email` customers are told apart by e-mail address; else each chat is a flex user.
    """

    __slots__ = ("_config", "_named", "_refusing", "_users", "sessions")

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self.sessions = self._named = 0
        self._refusing: set[str] = set()
        self._users: dict[str, tuple[str, int]] = {}

    @property
    def flex_users(self) -> int:
        """Live flex users."""
        return self.sessions - self._named + len(self._users)

    def user_of(self, email: str) -> str | None:
        """Return the userId of a flex user who has a chat already, or None."""
        known = self._users.get(email)
        return known[0] if known else None

    def refusal(self, email: str) -> str:
        """Return why a chat is refused; empty if it is not."""
        config = self._config
        known = self._users.get(email)
        if self._over("limit-for-sessions", self.sessions, config.limit_for_sessions):
            return "limit-for-sessions reached"
        if known is None and self._over("limit-for-flex-users", self.flex_users, config.limit_for_flex_users):
            return "limit-for-flex-users reached"
        if known is not None and config.sessions_per_flex_user and known[1] >= config.sessions_per_flex_user:
            return "this user has as many chats as allowed"
        return ""

    def opened(self, user: str, email: str) -> None:
        """Count a chat that was opened. email: empty unless it names the user."""
        self.sessions += 1
        if email:
            self._named += 1
            self._users[email] = (user, self._users.get(email, (user, 0))[1] + 1)

    def closed(self, email: str) -> None:
        """Count a chat that is over."""
        self.sessions -= 1
        if email:
            self._named -= 1
            user, count = self._users[email]
            if count > 1:
                self._users[email] = (user, count - 1)
            else:
                del self._users[email]

    def _over(self, name: str, count: int, limit: int | None) -> bool:
        if limit is None:
            return False
        if count >= limit:
            self._refusing.add(name)
        elif count < self._config.limits_restore_threshold * limit:
            self._refusing.discard(name)
        return name in self._refusing


# -- service time ----------------------------------------------------------------------------------


class ServiceWorkers:
    """The workers of one service, and the line before them, as in queueing theory.

    Every request waits for the first of `servers` workers that is free (first come, first served) and is then served
    for an exponential time. Its mean grows with the open chats by the Universal Scalability Law (N. J. Gunther, "A
    General Theory of Computational Scalability Based on Rational Functions", 2008):

        mean(N) = service_time (1 + contention (N - 1) + coherency N (N - 1))

    With both at 0 and independent requests at a rate r this is the M/M/c queue: its load is r service_time / servers,
    and above 1 the line grows without end. Sessions that refresh by a clock arrive more evenly, so their line is
    shorter.

    A request reaches the chat once it was served, not when it arrives: a refresh that waits too long in line comes too
    late, as at a real server. A request is served even if its client has hung up.
    """

    __slots__ = ("_config", "_draws", "_free")

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._free = [-math.inf] * config.servers
        self._draws = SeededDraws(f"{config.seed}/service time")

    def take(self, now: float, sessions: int) -> float:
        """Take a request that arrives now; return the seconds until it was served. sessions: open chats."""
        mean = mean_service_s(self._config, sessions)
        if mean <= 0:
            return 0.0
        done = max(now, self._free[0]) - mean * math.log1p(-self._draws.within((0.0, 1.0)))
        heapreplace(self._free, done)
        return done - now


def mean_service_s(config: SimulatorConfig, sessions: int) -> float:
    """Return the mean service time of a request with this many open chats (seconds)."""
    n = max(sessions, 1)
    return config.service_time_s * (1 + config.contention * (n - 1) + config.coherency * n * (n - 1))
