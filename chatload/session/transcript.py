"""What the transcript has told: who is there, who ended the chat, how the server's clock runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatload.protocol.reply import Event, Reply
from chatload.session.effects import Exchange

_MS = 0.001
#: An own ParticipantLeft at once after the agent's belongs to the agent's ending where the server is known to
#: write it and nothing else explains it; else nobody can tell. Nor can anybody of one that comes a little
#: later, where nothing else explains it (milliseconds).
_AT_ONCE_MS, _TOGETHER_MS = 50, 1000


@dataclass(slots=True)
class Transcript:
    """The client's reading of a transcript.

    position: the cursor to ask from. joined_utc_ms, left_utc_ms: the server's time of our own ParticipantJoined and
    ParticipantLeft. offset: bounds of the server's clock minus ours (seconds), None until the server has shown its
    clock. agent_left: an agent has left and none is there, told by the last answer with events. agent_end_removes:
    the server writes our ParticipantLeft too where an agent ends the chat.
    """

    position: int = 1
    agents: set[str] = field(default_factory=set)
    agent_left_ms: int | None = None
    agent_left: bool = False
    idle_closed: bool = False
    left: bool = False
    joined_utc_ms: int | None = None
    left_utc_ms: int | None = None
    offset: tuple[float, float] | None = None
    agent_messages: int = 0
    agent_end_removes: bool = False

    def read(self, reply: Reply, asked: bool = True) -> list[Event]:
        """Take in an answer's events; returns the new ones (a server may repeat them).

        asked: the request carried our position. The answer to one that did not has no events, and its
        nextPosition lies behind those not read yet.
        """
        fresh = []
        cursor = self.position
        for event in reply.events:
            if 0 <= event.position < cursor:
                continue
            self.position = max(self.position, event.position + 1)
            self._note(event)
            fresh.append(event)
        if not reply.ended:
            # The chat goes on after whoever has left so far: it was handed on, not ended.
            self.agent_left = False
        if asked and reply.next_position is not None:
            self.position = max(self.position, reply.next_position, 1)
        return fresh

    def synchronise(self, joined: list[Event], opening: Exchange) -> bool:
        """Bound the server's clock by our own ParticipantJoined, stamped while RequestChat was under way; whether
        the clock is known."""
        if self.offset is not None:
            return True
        if opening.sent_at is None:
            return False
        for event in joined:
            if event.kind == "ParticipantJoined" and event.who == "Client" and event.utc_ms is not None:
                self.joined_utc_ms = event.utc_ms
                stamp = event.utc_ms * _MS
                self.offset = (stamp - opening.received_at, stamp + _MS - opening.sent_at)
                return True
        return False

    def released_after(self, reply: Reply) -> float:
        """The earliest instant, on our clock, at which an answer with these events can have left the server."""
        stamps = [event.utc_ms for event in reply.events if event.utc_ms is not None]
        return max(stamps) * _MS - self.offset[1] if stamps and self.offset is not None else float("-inf")

    def left_at(self) -> tuple[float, float] | None:
        """Bounds, on our clock, of the instant the server wrote our own ParticipantLeft."""
        if self.left_utc_ms is None or self.offset is None:
            return None
        stamp = self.left_utc_ms * _MS
        return stamp - self.offset[1], stamp + _MS - self.offset[0]

    def outlived(self, seconds: float) -> bool:
        """Whether, by the server's own clock, the chat surely was so old when we left it."""
        if self.joined_utc_ms is None or self.left_utc_ms is None:
            return False
        return self.left_utc_ms - self.joined_utc_ms > seconds / _MS - 1

    def ended_by(self, doubtful: bool = False) -> str:
        """Who or what ended the chat, as far as the events tell: "agent", "idle", "self" (our own
        ParticipantLeft), "" (not told), or "either": the agent, or what is behind our ParticipantLeft.

        doubtful: something else than the agent may explain our own ParticipantLeft.
        """
        if self.idle_closed:
            return "idle"
        if not self.left:
            return "agent" if self.agent_left and not self.agents else ""
        removed = "agent" if self.agent_end_removes and not doubtful else "either"
        if self.agent_left_ms is None or self.left_utc_ms is None:
            return removed if self.agent_left and not self.agents else "self"
        apart = self.left_utc_ms - self.agent_left_ms
        if 0 <= apart <= _AT_ONCE_MS:
            return removed
        return "either" if 0 <= apart <= _TOGETHER_MS and not doubtful else "self"

    def _note(self, event: Event) -> None:
        kind, who = event.kind, event.who
        if kind == "Message" and who == "Agent":
            self.agent_messages += 1
        elif kind == "IdleClose":
            self.idle_closed = True
        elif kind == "ParticipantJoined" and who == "Agent":
            self.agents.add(event.participant or event.nickname)
            self.agent_left = False
        elif kind == "ParticipantLeft" and who == "Agent":
            self.agents.discard(event.participant or event.nickname)
            self.agent_left, self.agent_left_ms = True, event.utc_ms
        elif kind == "ParticipantLeft" and who == "Client":
            self.left, self.left_utc_ms = True, event.utc_ms
