"""The persona `widget`: what the vendor's own browser client puts on the wire, request for request.

Source: the behaviour of Genesys Widgets' WebChatService plugin as public clients show it. Where it differs
from the status table the strict persona follows is in docs/personas.md. One thing is modelled, not
reproduced: a browser has several connections, and sends while a poll is unanswered; here a send waits for
the poll.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import ceil

from chatload.chat.draws import Draws
from chatload.chat.effects import Effect, Exchange, Result
from chatload.chat.lifecycle import ChatSession
from chatload.chat.script import Action, Customer, CustomerScript
from chatload.chat.timeline import Recent
from chatload.chat.trail import Trail
from chatload.chat.verdict import Finding
from chatload.protocol.reply import Event
from chatload.vocabulary import Outcome, Verdict

#: It polls on a clock of so many seconds, and gives a request up after so many.
POLL_S, REQUEST_TIMEOUT_S = 3.0, 3.0
#: After more than so many statusCode 1 in a row it says that the chat server went offline, and goes on.
POLL_EXCEPTION_LIMIT = 5
#: It says that the customer stopped typing after so many seconds without a keystroke.
STOP_TYPING_S = 2.0
#: userData that it sends with RequestChat.
USER_DATA: Mapping[str, str] = {
    "user_data._genesys_source": "web",
    "user_data._genesys_referrer": "",
    "user_data._genesys_pageTitle": "chatload",
    "user_data._genesys_browser": "chatload",
    "user_data._genesys_OS": "chatload",
}


@dataclass(slots=True)
class WidgetCustomer(Customer):
    """A customer who types into the widget: the draft is known all along, and a pause is told."""

    text: str = ""
    typing_from: float = 0.0
    typing_s: float = 0.0
    sends_at: float = 0.0

    def done(self, now: float, action: Action) -> None:
        """What `next` gave was carried out (well or not) by `now`."""
        script = self.script
        if action.operation == "StartTyping":
            self.typing_from, self.typing_s = now, script.typing.sample(self.random)
            sends = now + self.typing_s + script.hesitation.sample(self.random)
            stops = now + self.typing_s + STOP_TYPING_S
            self.action = Action(stops, "StopTyping") if stops < sends else Action(sends, "SendMessage", self.text)
            self.sends_at = sends
        elif action.operation == "StopTyping":
            self.action = Action(max(now, self.sends_at), "SendMessage", self.text)
        else:
            if action.operation == "SendMessage":
                self.text = ""
            super(WidgetCustomer, self).done(now, action)

    def draft(self, now: float) -> str:
        """What stands in the input at `now`, so far typed."""
        if not self.text or self.action is None or self.action.operation == "StartTyping":
            return ""
        typed = 1.0 if self.typing_s <= 0 else min(1.0, max(0.0, now - self.typing_from) / self.typing_s)
        return self.text[: max(1, ceil(typed * len(self.text)))]

    def _think(self, since: float) -> None:
        super(WidgetCustomer, self)._think(since)
        if self.action is not None and self.action.operation == "StartTyping":
            self.text = self._text()
            self.action.message = self.text[:1]


class WidgetSession(ChatSession):
    """A chat as the vendor's browser client holds it.

    It does not end on statusCode 2: it polls on in vain, as real customers' browsers do, until the
    customer closes the chat. The verdict is that of the first 2, unless an answer took it back.
    """

    _customer: WidgetCustomer
    _lost: tuple[Finding, Exchange, Trail, Recent] | None = None

    def _make_customer(self, script: CustomerScript, random: Draws) -> Customer:
        return WidgetCustomer(script, random)

    def _introduction(self) -> Mapping[str, str]:
        return {**self.settings.script.introduction(), "text": "", **USER_DATA}

    def _acts(self) -> bool:
        return True

    def _spent(self) -> bool:
        return False

    def _plan_retry(self, exchange: Exchange) -> None:
        self._plan_refresh(exchange.received_at)

    def _refresh_fields(self, now: float) -> Mapping[str, str]:
        draft = self._customer.draft(now)
        return {**self._cursor(), "message": draft} if draft else self._cursor()

    def _is_end(self, exchange: Exchange) -> bool:
        outcome = exchange.reply.outcome
        if outcome is Outcome.UNRECOVERABLE and self._lost is None:
            # As it was when it was lost: what is asked in vain from here on changes nothing.
            assert self._trail is not None
            self._lost = self._judge(exchange), exchange, deepcopy(self._trail), deepcopy(self._recent)
        elif outcome is Outcome.FINE:
            self._lost = None
        elif outcome is Outcome.UNSUCCESSFUL and self._failures == POLL_EXCEPTION_LIMIT + 1:
            self._books.offline += 1
        if outcome is Outcome.ENDED and self._lost is not None:
            self._end_as_lost()
            return False
        return outcome is Outcome.ENDED

    def _ask_why(self, exchange: Exchange) -> Generator[Effect, Result, None]:
        """It asks nothing after the end."""
        return
        yield

    def _take_events(self, exchange: Exchange, asked: bool = True) -> list[Event]:
        return super()._take_events(exchange, False)

    def _leave(self, verdict: Verdict, why: str, due: float | None = None) -> Generator[Effect, Result, None]:
        """Stop polling; Disconnect, once, whatever comes of it."""
        self._enter("leaving")
        exchange = self._answered((yield self._ask("Disconnect", {}, self._now if due is None else due)))
        self._goodbye_sent = exchange.received_at if exchange.sent_at is None else exchange.sent_at
        if self._lost is not None and exchange.reply.outcome is not Outcome.FINE:
            self._end_as_lost()
        elif exchange.reply.ended or (exchange.reply.outcome is Outcome.FINE and not exchange.reply.told):
            taken = None if exchange.reply.outcome is Outcome.UNRECOVERABLE else exchange
            self._end(self._judge_goodbye(exchange, taken, verdict, why), exchange)
        else:
            self._unconfirmed(verdict, why, exchange)

    def _acted(self, action: Action, exchange: Exchange) -> None:
        """It sends nothing twice."""
        if exchange.reply.outcome is Outcome.FINE:
            self.record.messages_sent += action.operation == "SendMessage"
            self._file_id = exchange.reply.file_id or self._file_id
        self._customer.done(exchange.received_at, action)

    def _end_as_lost(self) -> None:
        assert self._lost is not None
        finding, exchange, self._trail, self._recent = self._lost
        self._end(finding, exchange)
