"""What the client can prove of the server's view: contacts as intervals, gaps as bounds, blame.

A request the server answered was seen somewhere between the instant it left (s) and the instant
its answer was in (r), so the gap between contacts i and j lies in [s_j - r_i, r_j - s_i]. A failed
request may or may not have been a contact: proof holds against the least favourable reading.

Under long polling a server holds a GetMessages, and the clock runs from its release. The release of an
answered one lies in [s, r] too, and after the timestamps of the events it tells. One that got no answer may
have been held from whenever it came: then it is a contact for all of that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chatload.chat.effects import Exchange
from chatload.protocol.wire import Detail
from chatload.vocabulary import Blame, Outcome

#: A request that got no answer may still be acted on by the server for this long (seconds).
LINGER_S = 60.0
_BISECTIONS = 40
#: A plan has to allow for answers that take this part of the timeout; for slower ones the server is blamed.
_USUAL_ANSWER = 0.1
_OWN_SHORTAGES = frozenset({Detail.EXHAUSTED, Detail.NO_TURN})


@dataclass(slots=True)
class Attempt:
    """A request that may have been a contact, anywhere in [sent, latest].

    lost: it got no answer, and was given up at `over`. held_s: for so long after it came the server may
    have held it, and a request that is held is a contact all the while.
    """

    sent: float
    latest: float
    lost: bool
    over: float = 0.0
    held_s: float = 0.0


@dataclass(slots=True)
class Shares:
    """What the silence since the last sure contact went into, in seconds.

    planned: the wait the schedule asked for. generator: our own lateness, stalls and shortages. server:
    waiting in vain for answers. retries: answered failures and their back-off. network: connecting
    and broken connections.
    """

    planned: float = 0.0
    generator: float = 0.0
    server: float = 0.0
    retries: float = 0.0
    network: float = 0.0


@dataclass(slots=True)
class Trail:
    """The contacts that matter for the next verdict; constant in size but for failures in a row.

    sent, received: the last sure contact's bounds. stalled_s: how long this process stood still
    during it. attempts: possible contacts since. widest: bounds of the widest gap between sure
    contacts so far. refreshed: there was a sure contact after the first. broken: since the last sure contact a
    connection could not be made, or broke, or had to be opened anew. untold_gap: after a silence that may have been
    longer than the timeout the server answered 0 without chatEnded: the blame for that silence.
    """

    sent: float
    received: float
    stalled_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)
    widest: tuple[float, float] | None = None
    refreshed: bool = False
    broken: bool = False
    untold_gap: Blame | None = None
    _failed_with: str = ""

    def sure(self, exchange: Exchange, since: float | None = None) -> float:
        """A contact that surely was one; returns the upper bound of the gap it closed (seconds).

        since: of one that may have been held, the earliest instant of its release. A gap ends when it
        comes, which then is not near its answer: it is counted up to its leaving, one latency short.
        """
        assert exchange.sent_at is not None
        sent = exchange.sent_at
        upper = (exchange.received_at if since is None else sent) - self.sent
        if self.widest is None or upper > self.widest[1]:
            self.widest = (self._least_gap(sent), upper)
        self.sent = sent if since is None else since
        self.received = exchange.received_at
        self.stalled_s = exchange.stalled_s
        if self.attempts:
            self.attempts = [a for a in self.attempts if a.lost and a.latest + a.held_s > sent]
        shares = self.shares
        shares.planned = shares.generator = shares.server = shares.retries = shares.network = 0.0
        self.refreshed = True
        self.broken, self.untold_gap = False, None
        self._failed_with = ""
        return upper

    def leaving(self, due: float, ready: float, exchange: Exchange) -> float:
        """Book the time up to a request's first byte; returns the generator's lateness (seconds).

        due: when it was to leave; ready: when the request before it was over.
        """
        shares, start = self.shares, due if due > ready else ready
        waited = start - ready
        if not self._failed_with:
            shares.planned += waited
        else:
            setattr(shares, self._failed_with, getattr(shares, self._failed_with) + waited)
        lateness = exchange.begun_at - start
        if lateness < 0.0:
            lateness = 0.0
        shares.generator += lateness
        if exchange.connected_at > self.sent:
            self.broken = True
        if exchange.sent_at is not None and exchange.connect_s:
            # When it stood still is not told: as much of it as can be was while connecting, so not the network's.
            stalled = min(exchange.stalled_s, exchange.connect_s)
            shares.generator += stalled
            shares.network += exchange.connect_s - stalled
        return lateness

    def resent(self, exchange: Exchange, held_s: float = 0.0) -> None:
        """The first sending of a request that was sent again: the server may have acted on it all the same."""
        assert exchange.sent_at is not None
        latest = max(exchange.sent_at + LINGER_S, exchange.received_at)
        self.attempts.append(Attempt(exchange.sent_at, latest, True, exchange.received_at, held_s))

    def failed(self, exchange: Exchange, held_s: float = 0.0) -> None:
        """A request that did not surely reach the server, after `leaving`; held_s: see Attempt."""
        outcome = exchange.reply.outcome
        sent = exchange.sent_at
        if sent is not None:
            lost = not exchange.answered or exchange.gateway
            latest = sent + LINGER_S if lost else exchange.received_at
            latest = max(latest, exchange.received_at)
            self.attempts.append(Attempt(sent, latest, lost, exchange.received_at, held_s if lost else 0.0))
        if outcome is Outcome.TIMEOUT and sent is not None:
            kind = "server"
        elif exchange.reply.detail in _OWN_SHORTAGES:
            kind = "generator"
        elif outcome in (Outcome.CONNECTION, Outcome.TIMEOUT):
            kind = "network"
            self.broken = True
        else:
            kind = "retries"
        since = exchange.begun_at if sent is None else sent
        stalled = min(stalled_since(exchange), exchange.received_at - since)
        shares = self.shares
        shares.generator += stalled
        setattr(shares, kind, getattr(shares, kind) + exchange.received_at - since - stalled)
        self._failed_with = kind

    def lost(self) -> list[Attempt]:
        """Attempts without an answer that the server may have acted on since the last sure contact."""
        return [attempt for attempt in self.attempts if attempt.lost]

    def bounds(self, sent: float, received: float) -> tuple[float, float]:
        """Bounds of the longest silence before a contact seen in [sent, received] (seconds)."""
        return self._least_gap(sent), received - self.sent

    def feasible(self, gap: float, sent: float) -> bool:
        """Whether the server may have seen no silence longer than `gap` up to the instant `sent`.

        The reading most favourable to the session: the last sure contact as late as it can have
        been, and every possible contact just where it helps most.
        """
        reach = self.received + gap
        spare = [attempt for attempt in self.attempts if attempt.lost]
        for attempt in (*(a for a in self.attempts if not a.lost), Attempt(sent, sent, False)):
            while attempt.sent > reach:
                usable = [a for a in spare if a.sent <= reach and min(a.latest, reach) + a.held_s + gap > reach]
                if not usable:
                    break
                best = min(usable, key=lambda a: a.latest)
                spare.remove(best)
                reach = min(best.latest, reach) + best.held_s + gap
            if attempt.sent <= reach:
                reach = max(reach, min(attempt.latest, reach) + gap)
        return sent <= reach

    def _least_gap(self, sent: float) -> float:
        """The longest silence there must have been before `sent`, by the most favourable reading."""
        silence = sent - self.received
        if not self.attempts or silence <= 0:
            return max(0.0, silence)
        low, high = 0.0, silence
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self.feasible(middle, sent):
                high = middle
            else:
                low = middle
        return low


def stalled_since(exchange: Exchange) -> float:
    """How long this process stood still during a request, beside what `leaving` has booked (seconds)."""
    return exchange.stalled_s if exchange.sent_at is None else max(0.0, exchange.stalled_s - exchange.connect_s)


def blame(trail: Trail, timeout_s: float, sent: float) -> Blame:
    """Whose fault a proven lateness was, for an end learned by a request that left at `sent`.

    The plan's, where the planned silence alone was too long; else of what, taken away, would have
    brought the session in under the timeout: the generator first, then the largest. Where no one
    share would have, the largest.
    """
    shares = trail.shares
    since_answer = sent - trail.received
    # Where only the server's word proves it, the silence counts from the leaving of the last sure contact.
    answering = 0.0 if since_answer > timeout_s else trail.received - trail.sent
    silence = since_answer + answering
    if shares.planned + min(answering, _USUAL_ANSWER * timeout_s) >= timeout_s:
        return Blame.PLAN
    others = {
        Blame.GENERATOR: shares.generator,
        Blame.SERVER: shares.server + answering,
        Blame.RETRIES: shares.retries,
        Blame.NETWORK: shares.network,
    }
    if shares.generator > 0 and silence - shares.generator <= timeout_s:
        return Blame.GENERATOR
    enough = {who: s for who, s in others.items() if silence - s <= timeout_s} or others
    return max(enough, key=lambda who: enough[who])
