"""What one chat's requests prove of one silence: contacts as intervals, as everywhere.

A request the server answered was seen somewhere between the instant it left and the instant its answer
was in. One that was answered unsuccessfully (statusCode 1, HTTP 500, ...) may or may not have been a
contact in that time; one that got no answer may yet become one for LINGER_S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from chatload.chat.contacts import LINGER_S
from chatload.chat.effects import Exchange


class Span(NamedTuple):
    """Something happened once, not before `earliest` and not after `latest` (instants, seconds)."""

    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Silence:
    """A chat's silence since one contact, and what became of it.

    chat: its number. since: when the server saw that contact. survived_to: the chat surely lived up to
    this instant, no request ending the silence before. ended_by: it had surely ended by then, for silence;
    None where it lived on. found: when it was asked: left, answered.
    """

    chat: int
    since: Span
    survived_to: float
    ended_by: float | None
    found: Span

    @property
    def survived_s(self) -> float:
        """It surely lived through this much silence; not above 0 where nothing is known of it."""
        return self.survived_to - self.since.latest

    @property
    def dropped_s(self) -> float:
        """It surely did not live through more than this; infinite where it lived."""
        return float("inf") if self.ended_by is None else self.ended_by - self.since.earliest


class Watch:
    """The contacts of one chat, turned into silences. contact: the last sure one; since: the last there may
    have been, for a request without an answer may have come after it."""

    __slots__ = ("_chat", "_doubt_from", "_lost_until", "contact", "since")

    def __init__(self, chat: int, opening: Exchange) -> None:
        assert opening.sent_at is not None
        self._chat = chat
        self.since = self.contact = Span(opening.sent_at, opening.received_at)
        self._doubt_from: float | None = None
        self._lost_until = float("-inf")

    def unclear(self, exchange: Exchange) -> None:
        """A request that may have been a contact, and tells nothing of the chat."""
        if exchange.sent_at is None:
            return
        if self._doubt_from is None:
            self._doubt_from = exchange.sent_at
        if not exchange.answered or exchange.gateway:
            self._lost_until = max(self._lost_until, exchange.sent_at + LINGER_S)

    def alive(self, exchange: Exchange) -> Silence:
        """A request was a contact, and found the chat alive: one silence is over, another begins."""
        sent = exchange.begun_at if exchange.sent_at is None else exchange.sent_at
        survived_to = sent if self._doubt_from is None else self._doubt_from
        silence = Silence(self._chat, self.since, survived_to, None, Span(sent, exchange.received_at))
        self.contact = Span(sent, exchange.received_at)
        self.since = Span(sent, max(exchange.received_at, self._lost_until))
        self._doubt_from = None
        return silence

    def ended(self, exchange: Exchange, left: Span | None) -> Silence:
        """A request found the chat ended by silence. left: when the server says that it ended, on our clock.

        That is believed only of an instant before any request that may have ended the silence, or the chat:
        some servers notice, and stamp, an end only when they are asked.
        """
        sent = exchange.begun_at if exchange.sent_at is None else exchange.sent_at
        found = Span(sent, exchange.received_at)
        first = sent if self._doubt_from is None else self._doubt_from
        if left is not None and self.since.earliest <= left.latest < first:
            survived_to = max(left.earliest, self.since.earliest)
            return Silence(self._chat, self.since, survived_to, min(left.latest, found.latest), found)
        return Silence(self._chat, self.since, self.since.earliest, found.latest, found)
