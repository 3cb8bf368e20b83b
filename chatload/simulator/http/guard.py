"""Guards against clients that never finish a request, so that they cannot use up connections."""

from __future__ import annotations

import resource
from typing import Protocol

MAX_HEAD_BYTES = 64 * 1024
#: Where a connection is: between requests, in a request's headers, in its body.
IDLE, HEAD, BODY = 0, 1, 2


class Guarded(Protocol):
    """A connection, as the guard knows it."""

    def cut(self) -> None:
        """End it: its time is up."""


class Guard:
    """Knows the connections that are in the middle of sending a request, the longest at it first.

    read_timeout_s: from connecting, or a request's first byte, until its headers are whole; and from
    there until its body is. max_waiting: above this many such connections, the one longest at it goes.
    """

    def __init__(self, read_timeout_s: float, max_waiting: int) -> None:
        self.read_timeout_s, self.max_waiting = read_timeout_s, max_waiting
        self._waiting: dict[Guarded, float] = {}

    def note(self, connection: Guarded, stage: int, now: float) -> None:
        """A connection has come to a stage."""
        self._waiting.pop(connection, None)
        if stage != IDLE:
            self._waiting[connection] = now
            if len(self._waiting) > self.max_waiting:
                self._cut_oldest()

    def sweep(self, now: float) -> None:
        """Cut off every connection whose time is up; costs what is due."""
        while self._waiting and now - next(iter(self._waiting.values())) > self.read_timeout_s:
            self._cut_oldest()

    def _cut_oldest(self) -> None:
        connection = next(iter(self._waiting))
        del self._waiting[connection]
        connection.cut()


def raise_file_limit() -> int:
    """Let this process open as many files as it may; gives how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft
