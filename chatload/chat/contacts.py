"""The contacts of a chat: what the client can prove of the silences that the server saw, and the blame for them.

A request that was answered was seen by the server between the instant it left (s) and the instant its answer was in
(r). So the gap between the contacts i and j lies in [s_j - r_i, r_j - s_i]. A failed request may or may not have been a
contact: a proof must hold in both cases.

Under long polling the server holds a GetMessages, and its timeout runs from the release. If the request was answered,
the release lies in [s, r] too, and after the timestamps of its events. If it was not, the server may have held it since
it arrived: then it is a contact for all that time.
"""

from dataclasses import dataclass, field

from chatload.chat.effects import Exchange
from chatload.protocol.wire import Detail
from chatload.vocabulary import Blame, Outcome

#: The server may act on a request without an answer for this long (seconds).
LINGER_S = 60.0
_BISECTIONS = 40
#: A refresh plan must allow for answers that take this part of the timeout; slower answers are the server's fault.
_USUAL_ANSWER = 0.1
_OWN_SHORTAGES = frozenset({Detail.EXHAUSTED, Detail.NO_TURN})


@dataclass(slots=True)
class Attempt:
    """A request that may have been a contact, at any instant in [sent, latest].

    lost: it got no answer, and was given up at `over`. held_s: the server may have held it for this long after it
    arrived; a held request is a contact for all that time.
    """

    sent: float
    latest: float
    lost: bool
    over: float = 0.0
    held_s: float = 0.0


@dataclass(slots=True)
class LatenessShares:
    """What the silence since the last sure contact was spent on, in seconds.

    planned: the wait that the schedule asked for. generator: our own lateness, stalls and shortages. server: waiting
    for answers that did not come. retries: answered failures and their back-off. network: connecting, and broken
    connections.
    """

    planned: float = 0.0
    generator: float = 0.0
    server: float = 0.0
    retries: float = 0.0
    network: float = 0.0


@dataclass(slots=True)
class ContactLog:
    """The contacts that matter for the next verdict. Its size is constant, except for failures in a row.

    sent, received: the bounds of the last sure contact (seconds). stalled_s: how long this process was stalled in it.
    attempts: possible contacts since then. widest: the bounds of the widest gap between sure contacts so far.
    refreshed: there was a sure contact after the first. broken: since the last sure contact a connection failed, broke,
    or was opened anew. untold_gap: the blame for a silence that may have been longer than the timeout, after which the
    server answered 0 without chatEnded. sent_before_untold: the last sure contact before that silence (seconds).
    """

    sent: float
    received: float
    stalled_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    shares: LatenessShares = field(default_factory=LatenessShares)
    widest: tuple[float, float] | None = None
    refreshed: bool = False
    broken: bool = False
    untold_gap: Blame | None = None
    sent_before_untold: float = 0.0
    _failed_with: str = ""

    def add_sure(self, exchange: Exchange, since: float | None = None) -> float:
        """Add a sure contact; returns the upper bound of the gap that it closed.

        since: the earliest instant at which the server released it, if it may have held it. Such a request came long
        before its answer, so its gap is counted up to the instant it left, which is one latency short.
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

    def add_departure(self, due: float, ready: float, exchange: Exchange) -> float:
        """Add the time up to a request's first byte to the shares; returns the generator's lateness.

        ready: when the request before it was over.
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
            # When the process was stalled is not known: assume as much as possible while connecting.
            stalled = min(exchange.stalled_s, exchange.connect_s)
            shares.generator += stalled
            shares.network += exchange.connect_s - stalled
        return lateness

    def add_lost(self, exchange: Exchange, held_s: float = 0.0) -> None:
        """Add a request without an answer, or the first sending of one that was sent again."""
        assert exchange.sent_at is not None
        latest = max(exchange.sent_at + LINGER_S, exchange.received_at)
        self.attempts.append(Attempt(exchange.sent_at, latest, True, exchange.received_at, held_s))

    def add_failed(self, exchange: Exchange, held_s: float = 0.0) -> None:
        """Add a request that did not surely reach the server, after `add_departure`. held_s: see Attempt."""
        outcome = exchange.reply.outcome
        sent = exchange.sent_at
        if sent is not None:
            if exchange.gateway or not exchange.answered:
                self.add_lost(exchange, held_s)
            else:
                self.attempts.append(Attempt(sent, exchange.received_at, False, exchange.received_at))
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
        return [attempt for attempt in self.attempts if attempt.lost]

    def bounds(self, sent: float, received: float) -> tuple[float, float]:
        """Return the bounds of the longest silence before a contact seen in [sent, received]."""
        return self._least_gap(sent), received - self.sent

    def feasible(self, gap: float, sent: float) -> bool:
        """Return whether the server may have seen no silence longer than `gap` up to the instant `sent`.

        This is the reading most favourable to the session: the last sure contact was as late as possible, and each
        possible contact came where it helps most.
        """
        reach = self.received + gap
        spare = self.lost()
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
        """Return the longest silence that there must have been before `sent`, by the most favourable reading."""
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
    """Return how long this process was stalled during a request, without what `add_departure` has added."""
    return exchange.stalled_s if exchange.sent_at is None else max(0.0, exchange.stalled_s - exchange.connect_s)


def find_blame(contacts: ContactLog, timeout_s: float, sent: float) -> Blame:
    """Return the blame for a proven lateness, if the end was learned by a request that left at `sent`.

    It is the plan's if the planned silence alone was too long. Otherwise it is that of a share without which the
    session would have been in time: the generator's first, then the largest. If there is none, it is the largest share.
    """
    shares = contacts.shares
    since_answer = sent - contacts.received
    # If only the server's word proves it, the silence counts from the instant the last sure contact left.
    answering = 0.0 if since_answer > timeout_s else contacts.received - contacts.sent
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
