"""A chat as a forecast needs it: when it was last heard of, who is to come, how it ends. No keys, no texts.

The same fates as `chatload.simulator`'s chat has (a test holds them against each other), without payloads to build
and read back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import inf
from random import Random

from chatload.features.forecast.conditions import Agents
from chatload.protocol.reply import Event, Reply
from chatload.vocabulary import Outcome

#: 2023-11-14, as the simulator's virtual runs (seconds since the Unix epoch).
_EPOCH = 1_700_000_000.0
#: Past all positions: a request without one is told no events.
_NONE = 1_000_000_000
_FINE = Reply(Outcome.FINE, False)
_LOST = Reply(Outcome.UNRECOVERABLE, True, detail="statusCode 2")
_CUSTOMER_LEAVES = frozenset({"expired", "disconnected", "early"})
_JOINED, _SAID, _LEFT, _CLOSED = "ParticipantJoined", "Message", "ParticipantLeft", "IdleClose"


def around(mean_s: float, random: Random) -> float:
    """A time uniform from 0.4 to 1.6 of its mean (seconds)."""
    return mean_s * (0.4 + 1.2 * random.random())


def age_of(hazard: Sequence[tuple[float, float]], random: Random) -> float:
    """The age (seconds) at which something of this hazard, (from age, chance per second), happens; or infinite."""
    if not hazard:
        return inf
    left = random.expovariate(1.0)
    for number, (age, chance) in enumerate(hazard):
        until = hazard[number + 1][0] if number + 1 < len(hazard) else inf
        if chance > 0:
            if left <= chance * (until - age):
                return age + left / chance
            left -= chance * (until - age)
    return inf


class LeanChat:
    """One chat at the server. Requests come in order of time; `ask` answers each. last: the last contact."""

    __slots__ = (
        "_agents", "_awaited", "_dropped_answer", "_ends", "_events", "_joins_at", "_keeps_s", "_planned",
        "_random", "_timeout_s", "ended_at", "last", "reason",
    )  # fmt: skip

    def __init__(
        self, agents: Agents, timeout_s: float, keeps_s: float, dropped_answer: str, random: Random, now: float
    ) -> None:
        self._agents, self._timeout_s, self._keeps_s, self._random = agents, timeout_s, keeps_s, random
        self._dropped_answer = dropped_answer
        self.last = now
        self.ended_at: float | None = None
        self.reason = ""
        self._events: list[Event] = []
        self._planned: list[float] = []
        # Both are when the agent joins; _awaited only as long as that lies ahead.
        self._awaited = self._joins_at = inf if agents.join_s is None else now + around(agents.join_s, random)
        leaves = now + age_of(agents.leaving, random)
        closes = now + age_of(agents.closing, random)
        self._ends = (leaves, "agent") if leaves < closes else (closes, "idle")
        for chance, reason in ((agents.early, "early"), (agents.lost, "unrecoverable")):
            if chance:
                self._ends = min(self._ends, (now + random.expovariate(chance), reason))
        self._add(now, _JOINED, "Client")

    def opening(self) -> Reply:
        """The answer to RequestChat."""
        return Reply(Outcome.FINE, False, "chat", "1", "1", "1", len(self._events) + 1, tuple(self._events))

    def quiet_until(self, position: int) -> float:
        """The instant before which a request from `position` on is told nothing, as long as contacts are in time."""
        if self.ended_at is not None or len(self._events) >= position:
            return -inf
        return min(self._awaited, self._ends[0], self._planned[0] if self._planned else inf)

    def ask(self, now: float, operation: str, fields: Mapping[str, str]) -> Reply:
        """Answer a request that arrives `now`."""
        if self.ended_at is None:
            self._advance(now)
        if self.ended_at is not None:
            return self._after_the_end(now, fields)
        if now > self.last:
            self.last = now
        if operation == "Disconnect":
            self._end(now, "disconnected")
            return self._told(fields)
        if operation == "SendMessage":
            self._answer(now)
        if len(self._events) < int(fields.get("position") or _NONE):
            return _FINE
        return self._told(fields)

    def _answer(self, now: float) -> None:
        agents = self._agents
        if agents.answer_s is not None and self._joins_at < inf:
            self._planned.append(max(now, self._joins_at) + around(agents.answer_s, self._random))
            self._planned.sort()

    def _advance(self, now: float) -> None:
        """Let everything happen that was due by `now`; a contact at the deadline itself is still in time."""
        deadline = self.last + self._timeout_s
        ends, reason = self._ends
        over = min(deadline, ends)
        until = min(now, over)
        if self._awaited <= until:
            self._add(self._awaited, _JOINED, "Agent")
            self._awaited = inf
        planned = self._planned
        if planned and planned[0] <= until:
            due = bisect_right(planned, until)
            for at in planned[:due]:
                self._add(at, _SAID, "Agent")
            del planned[:due]
        if deadline < now and deadline <= ends:
            self._end(deadline, "expired")
        elif ends <= now:
            self._end(ends, reason)

    def _end(self, at: float, reason: str) -> None:
        self.ended_at, self.reason = at, reason
        if reason in _CUSTOMER_LEAVES:
            self._add(at, _LEFT, "Client")
        elif reason == "agent":
            self._add(at, _LEFT, "Agent")
        elif reason == "idle":
            self._add(at, _CLOSED, "External")

    def _add(self, at: float, kind: str, who: str) -> None:
        self._events.append(Event(len(self._events) + 1, kind, who, who, int((_EPOCH + at) * 1000), who))

    def _told(self, fields: Mapping[str, str]) -> Reply:
        position = int(fields.get("position") or 0)
        events = tuple(self._events[position - 1 :]) if position else ()
        following = len(self._events) + 1
        if self.ended_at is None:
            return Reply(Outcome.FINE, False, next_position=following, events=events)
        return Reply(Outcome.ENDED, True, next_position=following, events=events, detail="statusCode 0/true")

    def _after_the_end(self, now: float, fields: Mapping[str, str]) -> Reply:
        assert self.ended_at is not None
        forgotten = now - self.ended_at > self._keeps_s
        if forgotten or self.reason == "unrecoverable" or (self.reason == "expired" and self._dropped_answer == "2"):
            return _LOST
        return self._told(fields)
