"""Customers one after the other, each through all of its time: a million need no more memory than one.

Given the server's state (round trips, failures, agents: `Conditions`) nothing couples one customer with another,
so nothing needs a common clock. Every customer has random numbers of its own: what becomes of it depends
neither on the others nor on which process holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from random import Random

from chatload.chat.effects import IN_TIME, Exchange, Send, Wait, Woken
from chatload.chat.engine import ChatEngine
from chatload.chat.personas import new_chat
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S, SessionSettings
from chatload.features.forecast.conditions import UNANSWERED, Ready, Weather
from chatload.features.forecast.lean_server import LeanChat
from chatload.features.forecast.quiet import Ledger, skip_quiet_refreshes
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.vocabulary import Outcome

_REPLIES = {
    "status_1": Reply(Outcome.UNSUCCESSFUL, False, detail="statusCode 1/false"),
    "status_1_violation": Reply(Outcome.VIOLATION, False, detail="statusCode 1/true"),
    "http_error": Reply(Outcome.HTTP_ERROR, False, detail="HTTP 500"),
    "malformed": Reply(Outcome.MALFORMED, False, detail="body is not JSON"),
    "unknown_status": Reply(Outcome.UNKNOWN_STATUS, False, detail="statusCode not in the table"),
    "timeout": Reply(Outcome.TIMEOUT, False, detail="timeout"),
    "connection": Reply(Outcome.CONNECTION, False, detail="connection closed before the answer"),
    "refused": Reply(Outcome.CONNECTION, False, detail="connection refused"),
    "lost": Reply(Outcome.UNRECOVERABLE, True, detail="statusCode 2"),
}
#: Told of every session that is over, and of every failed request: when it was over, its outcome.
OnSession = Callable[[ChatEngine], None]
OnFailure = Callable[[float, str], None]


class Solo:
    """Holds the chats of one customer after another; the books are whole once it is closed."""

    def __init__(
        self,
        settings: SessionSettings,
        weather: Weather,
        books: Books,
        on_session: OnSession,
        on_failure: OnFailure | None = None,
        seed: int = 0,
    ) -> None:
        self.settings, self.books = settings, books
        self._weather, self._seed = weather, seed
        self._on_session, self._on_failure = on_session, on_failure
        self._conditions = weather.conditions
        self.random = Random(0)
        self.now = 0.0
        self.stop_at = inf
        self.peeked: tuple[float, float] | None = None
        self.ledger = Ledger(books)
        self._odds: dict[str, Ready] = {}
        self._from = self.odds_until = -inf
        self._reaches = 0.0
        self.chat: LeanChat | None = None

    def customer(self, number: int, starts_at: float, stop_at: float) -> None:
        """All chats of customer `number` from one instant to another, at which its last one says goodbye."""
        random = self.random = Random(f"{self._seed}/{number}")
        self.stop_at, self.now = stop_at, starts_at
        while self.now < stop_at:
            session = self.session(random.getrandbits(62))
            self._hold(session)
            self._on_session(session)
            if not session.record.chat_id:
                self.now += PAUSE_AFTER_REFUSAL_S

    def close(self) -> None:
        """All customers were held: the books are whole."""
        self.ledger.close()

    def session(self, seed: int) -> ChatEngine:
        """A chat that begins now."""
        return new_chat(self.settings, self.books, seed, self.now, partial(skip_quiet_refreshes, self))

    def _hold(self, session: ChatEngine) -> None:
        """One chat, to its verdict."""
        stop_at, transmit = self.stop_at, self._transmit
        self.chat = self.peeked = None
        steps = session.steps()
        send = steps.send
        effect = next(steps)
        try:
            while True:
                if type(effect) is Send:
                    exchange = transmit(effect, self.now)
                    self.now = exchange.received_at
                    effect = send(exchange)
                else:
                    assert type(effect) is Wait
                    now, until = self.now, effect.until
                    if until > now:
                        now = self.now = stop_at if now < stop_at < until else until
                    effect = send(Woken(now) if now >= stop_at else IN_TIME)
        except StopIteration:
            return

    def odds(self, operation: str, now: float) -> Ready:
        """What a request of this operation meets now, and until `odds_until`."""
        if not self._from <= now < self.odds_until:
            number, self.odds_until = self._weather.span(now)
            self._from = now
            self._odds, self._reaches = self._weather.ready[number], self._weather.reaches[number]
        return self._odds.get(operation) or self._odds[""]

    def _transmit(self, request: Send, now: float) -> Exchange:
        odds = self.odds(request.operation, now)
        if self.peeked is None:
            drawn = self.random.random()
            trip = odds.draw(self.random)
        else:
            (drawn, trip), self.peeked = self.peeked, None
        failure = odds.failure(drawn) if drawn < odds.clear else None
        stopping = now + trip >= self.stop_at
        if failure is not None:
            return self._failed(request, now, failure, trip, self._reaches)
        # Half of a round trip is the way there, whatever it was that took so long.
        at, over = now + min(trip / 2, request.timeout_s), now + trip
        reply = self._process(at, request)
        if trip > request.timeout_s:
            return self._failed(request, now, "timeout", trip)
        return Exchange(now, now, over, reply, stopping=stopping)

    def _process(self, at: float, request: Send) -> Reply:
        chat = self.chat
        if request.operation != "RequestChat":
            assert chat is not None
            return chat.ask(at, request.operation, request.fields)
        conditions, settings = self._conditions, self.settings
        self.chat = chat = LeanChat(
            conditions.agents, settings.timeout_s, settings.keeps_ended_s, conditions.dropped_answer, self.random, at
        )
        return chat.opening()

    def _failed(self, request: Send, now: float, kind: str, trip: float, reaches: float = 0.0) -> Exchange:
        conditions = self._conditions
        if kind == "timeout":
            over = now + request.timeout_s
        else:
            durations = conditions.connection_s if kind == "connection" else ()
            over = now + min(durations[int(self.random.random() * len(durations))] if durations else trip,
                             request.timeout_s)  # fmt: skip
        # A chat that was opened by a request that failed is nobody's.
        if reaches and kind != "refused" and self.chat is not None and self.random.random() < reaches:
            self._process(over if kind == "timeout" else min(now + trip / 2, over), request)
        if self._on_failure is not None:
            self._on_failure(over, kind)
        sent = None if kind == "refused" else now
        answered = kind not in UNANSWERED
        return Exchange(now, sent, over, _REPLIES[kind], answered=answered, stopping=over >= self.stop_at)
