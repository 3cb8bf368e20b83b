"""The transcript of a chat: who takes part, who ended it, why, and when by the server's clock.

A timestamp is an interval. It is as wide as the clock's resolution, and in our time it is known only as well as the
offset between the clocks. A clock that contradicts itself proves nothing: it was set, or several nodes stamp
the events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import gcd

from chatload.chat.effects import Exchange
from chatload.protocol.names import EndCause
from chatload.protocol.reply import Event, Reply

Interval = tuple[float, float]

_MS = 0.001
#: The largest drift between two clocks (seconds per second): a crystal drifts by 1e-4, a slewed clock by 5e-4.
_DRIFT = 1e-3
#: How many chats in a row must agree before a clock is a witness again after a contradiction, and before their common
#: bounds narrow those of one chat.
_AGREE_AGAIN = 20
#: After this many contradictions a clock is never a witness again.
_MOST_CONTRADICTIONS = 3
#: Two ParticipantLeft (the agent's and the customer's) that are at most the first time apart (seconds) belong to one
#: ending if the server is known to write both. Up to the second time they may, if nothing else explains the customer's.
_AT_ONCE_S, _TOGETHER_S = 0.05, 1.0


class ServerClock:
    """The server's clock, which stamps the events of all chats of this process.

    The opening of each chat bounds the offset (server's clock minus ours, seconds) by an interval. All intervals must
    have a common point. If they have none, the clock was set, or there is more than one clock.
    """

    def __init__(self) -> None:
        self._resolution_ms = 0
        self._offset: Interval | None = None
        self._seen_at = 0.0
        self._agreed = 0
        self._contradictions = 0
        self._moved_at = float("-inf")

    def saw(self, utc_ms: int, sent: float, received: float) -> None:
        """Add an event stamped `utc_ms` that was written between these instants on our clock (seconds)."""
        self._resolution_ms = gcd(self._resolution_ms, utc_ms)
        low, high = self.offset(utc_ms, sent, received)
        if self._offset is not None:
            wider = _DRIFT * abs(received - self._seen_at)
            common = max(low, self._offset[0] - wider), min(high, self._offset[1] + wider)
            if common[0] > common[1]:
                self._contradictions += 1
                self._agreed, self._moved_at = 0, received
            else:
                self._agreed += 1
                low, high = common
        self._offset, self._seen_at = (low, high), received

    def contradicted(self, received: float) -> None:
        """Note that a timestamp in an answer received at this instant contradicts what is known."""
        self._contradictions = max(self._contradictions, 1)
        self._agreed, self._moved_at = 0, received

    def is_witness(self, since: float) -> bool:
        """Return whether its timestamps are evidence for a chat that was opened at the instant `since`."""
        if not self._contradictions:
            return True
        steady = self._contradictions < _MOST_CONTRADICTIONS and self._agreed >= _AGREE_AGAIN
        return steady and since > self._moved_at

    def narrowed(self, offset: Interval) -> Interval:
        """Return a chat's own bounds of the offset, narrowed by the common bounds of all chats of this process.

        The common bounds are used only if the clock has never contradicted itself and enough chats have seen it. With
        so many chats, the stamps of two nodes, or of a clock that was set, would have contradicted each other.
        """
        if self._offset is None or self._contradictions or self._agreed < _AGREE_AGAIN:
            return offset
        low, high = max(offset[0], self._offset[0]), min(offset[1], self._offset[1])
        return (low, high) if low <= high else offset

    def resolution_s(self, *utc_ms: int) -> float:
        """Return the resolution (seconds) by all timestamps so far and these; never finer than it really is."""
        return max(1, gcd(self._resolution_ms, *utc_ms)) * _MS

    def offset(self, utc_ms: int, sent: float, received: float, *others_ms: int) -> Interval:
        """Return bounds of the server's clock minus ours (seconds), by an event written in [sent, received].

        others_ms: further timestamps that show the resolution.
        """
        stamp = utc_ms * _MS
        return stamp - received, stamp + self.resolution_s(utc_ms, *others_ms) - sent


@dataclass(slots=True)
class ObservedServer:
    """What the chats of this process together have learned about the server.

    clock: the clock that stamps events.
    outlived_timeout: a chat went on after a silence that was surely longer than the timeout.
    lost_in_time: a chat whose every refresh was in time was answered statusCode 2.
    drops_in_time: a chat whose every refresh was in time was removed for inactivity: its timeout was shorter.
    tells_silent_ends: a chat that surely ended by its silence was answered 0/true.
    hands_chats_on: a chat went on after its only agent had left. Then an agent's ParticipantLeft alone does not show
        that the agent ended the chat.
    replaces_keys: the server has replaced a secure key.

    After outlived_timeout, lost_in_time, tells_silent_ends or replaces_keys, a statusCode 2 after a silence does not
    show that the silence was the cause. After drops_in_time, a removal for inactivity does not show that the silence
    was too long by the configured timeout.
    """

    clock: ServerClock = field(default_factory=ServerClock)
    outlived_timeout: bool = False
    lost_in_time: bool = False
    drops_in_time: bool = False
    tells_silent_ends: bool = False
    hands_chats_on: bool = False
    replaces_keys: bool = False


@dataclass(slots=True)
class Transcript:
    """What the client has read in the transcript of a chat.

    agent_end_removes: if an agent ends the chat, the server also writes the customer's ParticipantLeft.
    position: the cursor: events from here on are asked for.
    own_id: our participantId, "" until it is known. clients: how many Clients have joined.
    agents: the agents who take part now.
    agent_left: by the last answer with events, an agent has left. was_left_alone: at some time the last agent had left.
    handed_on: another agent joined after that, or a later answer told that the chat went on.
    others: further participants who take part now and may end the chat: supervisors, bots, agents who were not seen to
        join. other_left: since the last answer that showed the chat alive, one of them has left.
    incomplete: positions are missing, or nextPosition lies beyond the events: some events were not sent to us.
    left: there was our own ParticipantLeft. surely_ours: it cannot be another Client's. cause, quit_reason: why.
    joined: there was our own ParticipantJoined.
    agent_left_ms, joined_ms, left_ms: the server's time of these events.
    opening: bounds of the time of the request that opened the chat (seconds). None if our own ParticipantJoined is
        missing or has no timestamp, or if the server that stamped it is not the one that answers now (failed_over).
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
    others: set[str] = field(default_factory=set)
    other_left: bool = False
    incomplete: bool = False
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
    #: The greatest position of an event so far, and the time of that event, -1 and 0 before the first.
    _last_position: int = -1
    _last_ms: int = 0

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
            self._note_order(event, received)
            fresh.append(event)
            if self.released_after([event]) > received:
                self._distrust(received)
        if not reply.ended and (reply.told or not self.left):
            # The chat goes on: who has left so far was an agent who handed it on, or another Client.
            self.agent_left = self.left = self.other_left = False
        if was_left_alone and reply.told and not reply.ended:
            self.handed_on = True
        if asked and reply.next_position is not None:
            if fresh and reply.next_position > self._last_position + 1 > 0:
                self.incomplete = True
            self.position = max(self.position, reply.next_position, 1)
        return fresh

    def synchronise(self, fresh: list[Event], opening: Exchange) -> bool:
        """Learn our participantId and bound the server's clock by our own ParticipantJoined, if it is there.

        It was stamped while RequestChat was under way. The first Client to join is the one who opened the chat.
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

    def released_after(self, events: Iterable[Event]) -> float:
        """Return the earliest instant, on our clock, at which an answer with these events can have left the server."""
        stamps = [event.utc_ms for event in events if event.utc_ms is not None]
        offset = self._offset(*stamps)
        return max(stamps) * _MS - offset[1] if stamps and offset is not None else float("-inf")

    def left_at(self, alive: float, received: float) -> Interval | None:
        """Return bounds of the instant, on our clock, of our own ParticipantLeft; None if nothing dates it.

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

        That is "agent", "idle", "self" (our own ParticipantLeft), "either" (an agent, a supervisor or a bot, or the
        cause of our own ParticipantLeft), or "". doubtful: something else than the agent may explain our own
        ParticipantLeft.
        """
        if self.idle_closed:
            return "idle"
        agent_ended = self.agent_left and not self.agents
        if not self.left:
            return "agent" if agent_ended else ""
        if not self.surely_ours:
            return "either" if agent_ended else ""
        if self.other_left and not agent_ended:
            return "either"
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
        """Return bounds of the server's clock minus ours; None if unknown, or if the clock is no witness."""
        if self.opening is None or self.joined_ms is None or not self.clock.is_witness(self.opening[0]):
            return None
        return self.clock.narrowed(self.clock.offset(self.joined_ms, *self.opening, *stamps_ms))

    def _resolution_s(self, *stamps_ms: int) -> float:
        return self.clock.resolution_s(self.joined_ms or 0, *stamps_ms)

    def _distrust(self, received: float) -> None:
        self.opening = None
        self.clock.contradicted(received)

    def _note_order(self, event: Event, received: float) -> None:
        """Note what the order of the events shows: missing positions, and stamps that go back."""
        if event.position <= self._last_position:
            return
        self.incomplete = self.incomplete or 0 <= self._last_position < event.position - 1
        self._last_position = event.position
        if event.utc_ms is not None:
            if event.utc_ms < self._last_ms - _TOGETHER_S / _MS:
                self._distrust(received)
            self._last_ms = event.utc_ms

    def _note(self, event: Event) -> None:
        kind, who = event.kind, event.who
        if who != "Client":
            self._note_other(event)
        self.clients += kind == "ParticipantJoined" and who == "Client"
        if kind == "IdleClose":
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

    def _note_other(self, event: Event) -> None:
        name = event.participant or event.nickname
        if event.kind == "ParticipantLeft":
            self.others.discard(name)
            self.other_left = self.other_left or event.who != "Agent"
        elif event.kind == "ParticipantJoined" or (event.kind == "Message" and event.who == "Agent"):
            self.others.add(name)

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
