"""The transcript of a chat: who takes part, who ended it, why, and when by the server's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from chatload.chat.effects import Exchange
from chatload.chat.observed_server import Interval, ServerClock
from chatload.protocol.names import EndCause
from chatload.protocol.reply import Event, Reply

_MS = 0.001
#: Two ParticipantLeft (the agent's and the customer's) that are at most the first time apart (seconds) belong to one
#: ending if the server is known to write both. Up to the second time they may, if nothing else explains the customer's.
_AT_ONCE_S, _TOGETHER_S = 0.05, 1.0


@dataclass(slots=True)
class Transcript:
    """What the client has read in the transcript of a chat.

    clock: what this process knows about the server's clock.
    agent_end_removes: if an agent ends the chat, the server also writes the customer's ParticipantLeft.
    position: the cursor: events from here on are asked for.
    own_id: our participantId, "" until it is known. clients: how many Clients have joined.
    agents: the agents who take part now. agent_messages: how many messages agents have sent.
    agent_left: by the last answer with events, an agent has left. agent_left_ms: when, by the server's clock.
    was_left_alone: at some time the last agent had left. handed_on: another agent joined after that, or a later answer
        told that the chat went on.
    idle_closed: inactivity control closed the chat.
    left: there was our own ParticipantLeft. surely_ours: it cannot be another Client's. cause, quit_reason: why, by
        that event.
    joined: there was our own ParticipantJoined. joined_ms, left_ms: the server's time of it, and of our own
        ParticipantLeft.
    opening: bounds of the time of the request that opened the chat (seconds). None if our own ParticipantJoined is
        missing or has no timestamp, or if the server that stamped it is not the one that answers now.
    failed_over: a server has answered that is not the one of the opening.
    """

    clock: ServerClock
    agent_end_removes: bool = False
    position: int = 1
    own_id: str = ""
    clients: int = 0
    agents: set[str] = field(default_factory=set)
    agent_left: bool = False
    agent_left_ms: int | None = None
    was_left_alone: bool = False
    handed_on: bool = False
    idle_closed: bool = False
    left: bool = False
    surely_ours: bool = False
    joined: bool = False
    cause: EndCause | None = None
    quit_reason: str = ""
    joined_ms: int | None = None
    left_ms: int | None = None
    opening: Interval | None = None
    failed_over: bool = False
    agent_messages: int = 0

    def read(self, reply: Reply, received: float, asked: bool = True) -> list[Event]:
        """Read an answer's events; returns the new ones (a server may repeat them).

        received: when the answer was in. asked: the request carried our position, and the answer's nextPosition counts.
        The answer to a request without a position has no events, and its nextPosition lies after those not read yet.
        """
        fresh = []
        cursor, was_left_alone = self.position, self.was_left_alone
        for event in reply.events:
            if 0 <= event.position < cursor:
                continue
            self.position = max(self.position, event.position + 1)
            self._note(event)
            fresh.append(event)
            self._check(event.utc_ms, received)
        if not reply.ended and (reply.told or not self.left):
            # The chat goes on: who has left so far was an agent who handed it on, or another Client.
            self.agent_left = self.left = False
        if was_left_alone and reply.told and not reply.ended:
            self.handed_on = True
        if asked and reply.next_position is not None:
            self.position = max(self.position, reply.next_position, 1)
        return fresh

    def synchronise(self, fresh: list[Event], opening: Exchange) -> bool:
        """Learn our participantId and bound the server's clock by our own ParticipantJoined.

        It was stamped while RequestChat was under way. The first Client to join is the one who opened the chat.

        Returns:
            Whether it was among these events.
        """
        for event in fresh:
            if event.kind == "ParticipantJoined" and event.who == "Client":
                self.own_id, self.joined = event.participant, True
                if event.utc_ms is not None and opening.sent_at is not None and not self.failed_over:
                    self.joined_ms, self.opening = event.utc_ms, (opening.sent_at, opening.received_at)
                    self.clock.saw(event.utc_ms, *self.opening)
                return True
        return False

    def moved(self) -> None:
        """Note that another server answers now (another alias); our opening may have been stamped by another clock."""
        self.opening, self.failed_over = None, True

    def released_after(self, reply: Reply) -> float:
        """Return the earliest instant, on our clock, at which an answer with these events can have left the server."""
        stamps = [event.utc_ms for event in reply.events if event.utc_ms is not None]
        offset = self._offset(*stamps)
        return max(stamps) * _MS - offset[1] if stamps and offset is not None else float("-inf")

    def left_at(self, alive: float, received: float) -> Interval | None:
        """Return bounds of the instant, on our clock, at which the server wrote our own ParticipantLeft.

        None if nothing dates it.

        alive: an instant at which the chat was surely alive. received: when the answer with that event was in. A
        timestamp that contradicts these comes from a clock that was set, or from another clock.
        """
        if self.left_ms is None or not self.surely_ours:
            return None
        offset = self._offset(self.left_ms)
        if offset is None:
            return None
        stamp = self.left_ms * _MS
        low, high = stamp - offset[1], stamp + self._resolution_s(self.left_ms) - offset[0]
        if high < alive or low > received:
            self._distrust(received)
            return None
        return low, high

    def outlived(self, seconds: float) -> bool:
        """Return whether, by the server's own clock, the chat was surely older than this when it ended for us."""
        if self.joined_ms is None or self.left_ms is None or self._offset() is None:
            return False
        coarse = self._resolution_s(self.left_ms) - _MS
        return (self.left_ms - self.joined_ms) * _MS - coarse > seconds - _MS

    def ended_by(self, doubtful: bool = False) -> str:
        """Return what ended the chat, as far as the events tell.

        doubtful: something else than the agent may explain our own ParticipantLeft.

        Returns:
            "agent", "idle", "self" (our own ParticipantLeft), "either" (the agent, or the cause of our own
            ParticipantLeft), or "" (not told).
        """
        if self.idle_closed:
            return "idle"
        agent_ended = self.agent_left and not self.agents
        if not self.left:
            return "agent" if agent_ended else ""
        if not self.surely_ours:
            return "either" if agent_ended else ""
        removed = "agent" if self.agent_end_removes and not doubtful else "either"
        if self.agent_left_ms is None or self.left_ms is None or self._offset() is None:
            return removed if agent_ended else "self"
        apart = (self.left_ms - self.agent_left_ms) * _MS
        coarse = self._resolution_s(self.left_ms, self.agent_left_ms) - _MS
        if apart + coarse < 0:
            return "self"
        if apart - coarse <= _AT_ONCE_S:
            return removed
        return "either" if apart - coarse <= _TOGETHER_S and not doubtful else "self"

    def _offset(self, *stamps_ms: int) -> Interval | None:
        """Return bounds of the server's clock minus ours (seconds); None if unknown, or if the clock is no witness."""
        if self.opening is None or self.joined_ms is None or not self.clock.is_witness(self.opening[0]):
            return None
        return self.clock.narrowed(self.clock.offset(self.joined_ms, *self.opening, *stamps_ms))

    def _resolution_s(self, *stamps_ms: int) -> float:
        return self.clock.resolution_s(self.joined_ms or 0, *stamps_ms)

    def _check(self, utc_ms: int | None, received: float) -> None:
        """Check a timestamp: an event that was received by the instant `received` was not written later."""
        offset = None if utc_ms is None else self._offset(utc_ms)
        if utc_ms is not None and offset is not None and utc_ms * _MS - offset[1] > received:
            self._distrust(received)

    def _distrust(self, received: float) -> None:
        self.opening = None
        self.clock.contradicted(received)

    def _note(self, event: Event) -> None:
        kind, who = event.kind, event.who
        self.clients += kind == "ParticipantJoined" and who == "Client"
        if kind == "Message" and who == "Agent":
            self.agent_messages += 1
        elif kind == "IdleClose":
            self.idle_closed = True
        elif kind == "ParticipantJoined" and who == "Agent":
            self.agents.add(event.participant or event.nickname)
            self.agent_left = False
            self.handed_on = self.handed_on or self.was_left_alone
        elif kind == "ParticipantLeft" and who == "Agent":
            self.agents.discard(event.participant or event.nickname)
            self.agent_left, self.agent_left_ms = True, event.utc_ms
            self.was_left_alone = not self.agents
        elif kind == "ParticipantLeft" and who == "Client":
            self._note_client_left(event)

    def _note_client_left(self, event: Event) -> None:
        """Note that a Client has left: our customer, unless the event has another id."""
        if self.own_id and event.participant and event.participant != self.own_id:
            return
        self.left, self.left_ms = True, event.utc_ms
        self.cause, self.quit_reason = event.cause, event.quit_reason
        same = bool(self.own_id) and event.participant == self.own_id
        # If our own ParticipantJoined was never sent to us, the one Client who was seen to join is another one.
        only_we = self.clients <= self.joined
        self.surely_ours = same or (not event.participant and not self.own_id and only_we)
