"""The personas: how a client behaves on the wire.

`strict` follows the status table; `widget` is the vendor's own browser client.
Source of `widget`: the behaviour of Genesys Widgets' WebChatService plugin, as public clients show it. docs/personas.md
lists where it differs from the status table. One difference remains: a browser has several connections and sends a
message while a poll is unanswered; here the message waits for the answer to the poll.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy

from chatload.chat.contacts import ContactLog
from chatload.chat.customer import ChatCustomer, ChatHooks
from chatload.chat.effects import Exchange
from chatload.chat.engine import ChatEngine, ChatObserver, Persona, Steps
from chatload.chat.record import RecentContacts
from chatload.chat.settings import SessionSettings
from chatload.chat.verdict import Finding
from chatload.vocabulary import Outcome, Verdict

#: The widget gives a request up after this time (seconds).
REQUEST_TIMEOUT_S = 3.0
#: After more than this many statusCode 1 in a row the widget says that the chat server is offline, and goes on.
POLL_EXCEPTION_LIMIT = 5
#: userData that the widget sends with RequestChat.
USER_DATA: Mapping[str, str] = {
    "user_data._genesys_source": "web",
    "user_data._genesys_referrer": "",
    "user_data._genesys_pageTitle": "chatload",
    "user_data._genesys_browser": "chatload",
    "user_data._genesys_OS": "chatload",
}
#: The strict client asks at most this many times for the cause of an end, or the confirmation of its Disconnect.
_MOST_QUESTIONS = 3


class StrictPersona:
    """A client that follows the status table: it retries, ends on statusCode 2, and has its Disconnect confirmed."""

    __slots__ = ()
    drafts = False
    reads_next_position = True
    retries = True

    def opening_fields(self, introduction: Mapping[str, str]) -> Mapping[str, str]:
        return introduction

    def next_poll(self, chat: ChatEngine, now: float) -> float:
        return chat.settings.policy.next_retry(chat.clock, now, chat.failures)

    def gives_up(self, chat: ChatEngine) -> bool:
        # The first request after the deadline failed, and so did all its retries.
        return chat.late_failures > chat.settings.policy.retries

    def takes_as_end(self, chat: ChatEngine, exchange: Exchange) -> bool:
        # If a server does not send chatEnded, our own ParticipantLeft shows the end.
        reply = exchange.reply
        return reply.ended or (not reply.told and reply.outcome is Outcome.FINE and chat.transcript.left)

    def ask_cause(self, chat: ChatEngine, exchange: Exchange) -> Steps:
        # Read on in the transcript if the answer that told the end did not show its cause.
        for _ in range(_MOST_QUESTIONS):
            if exchange.reply.outcome is Outcome.UNRECOVERABLE or chat.transcript.ended_by():
                return
            asked = yield from chat.request("GetMessages", chat.cursor(), chat.now)
            if asked.reply.outcome is Outcome.UNRECOVERABLE:
                return

    def leave(self, chat: ChatEngine, verdict: Verdict, why: str, due: float | None = None) -> Steps:
        due = chat.now if due is None else due
        chat.enter("leaving")
        if verdict is not Verdict.GAVE_UP and max(due, chat.now) - chat.accepted.sent > chat.settings.timeout_s:
            # The chat may have been dropped. Ask first: an answer to Disconnect would not show who ended it.
            exchange = yield from chat.request("GetMessages", chat.cursor(), due)
            if self.takes_as_end(chat, exchange):
                yield from chat.learn_end(exchange)
                return
            due = chat.now
        operation, tries = "Disconnect", 0
        taken: Exchange | None = None
        while True:
            exchange = yield from chat.request(operation, chat.cursor(), due)
            tries += 1
            outcome = exchange.reply.outcome
            if operation == "Disconnect":
                if chat.goodbye_sent_at is None:
                    chat.goodbye_sent_at = exchange.sent_at
                if outcome in (Outcome.FINE, Outcome.ENDED):
                    taken = exchange
            if self.takes_as_end(chat, exchange) or (taken is not None and _is_over_untold(taken, exchange)):
                chat.end(chat.judge_goodbye(exchange, taken, verdict, why), exchange)
                return
            if verdict is Verdict.GAVE_UP:
                break
            # A Disconnect that was accepted but did not end the chat is not sent again: ask whether the chat has ended.
            operation = "GetMessages" if outcome is Outcome.FINE else "Disconnect"
            repeats = verdict is Verdict.COMPLETED and not chat.stopping and operation == "Disconnect"
            if tries >= _MOST_QUESTIONS and (not repeats or self.gives_up(chat)):
                break
            due = chat.settings.policy.next_retry(chat.clock, chat.ready, tries)
            yield from chat.wait(due)
        if taken is not None and not taken.reply.told:
            # The server never sends chatEnded: a Disconnect that was answered 0 counts as the end.
            chat.end(chat.judge_goodbye(taken, taken, verdict, why), taken)
        else:
            chat.end_unconfirmed(verdict, why, exchange)


def _is_over_untold(taken: Exchange, asked: Exchange) -> bool:
    """Return whether, without any chatEnded, the Disconnect (`taken`) and a later request were answered 0."""
    reply = asked.reply
    return asked is not taken and not taken.reply.told and not reply.told and reply.outcome is Outcome.FINE


class WidgetPersona:
    """The vendor's browser client.

    It does not end on statusCode 2: it goes on polling, as real customers' browsers do, until the customer closes the
    chat. The verdict is that of the first statusCode 2, unless a later success showed that the chat was alive.
    """

    __slots__ = ("_lost",)
    drafts = True
    reads_next_position = False
    retries = False

    def __init__(self) -> None:
        #: The state at the first statusCode 2: what is requested afterwards does not change the verdict.
        self._lost: tuple[Finding, Exchange, ContactLog, RecentContacts] | None = None

    def opening_fields(self, introduction: Mapping[str, str]) -> Mapping[str, str]:
        return {**introduction, "text": "", **USER_DATA, **introduction}

    def next_poll(self, chat: ChatEngine, now: float) -> float:
        return chat.settings.policy.next_refresh(chat.clock, now)

    def gives_up(self, chat: ChatEngine) -> bool:
        return False

    def takes_as_end(self, chat: ChatEngine, exchange: Exchange) -> bool:
        outcome = exchange.reply.outcome
        if outcome is Outcome.UNRECOVERABLE and self._lost is None:
            self._lost = chat.judge(exchange), exchange, deepcopy(chat.accepted), deepcopy(chat.recent)
        elif outcome is Outcome.FINE:
            self._lost = None
        elif outcome is Outcome.UNSUCCESSFUL and chat.failures == POLL_EXCEPTION_LIMIT + 1:
            chat.observer.went_offline()
        if outcome is Outcome.ENDED and self._lost is not None:
            self._end_as_lost(chat)
            return False
        return outcome is Outcome.ENDED

    def ask_cause(self, chat: ChatEngine, exchange: Exchange) -> Steps:
        yield from ()  # The widget sends nothing after the end.

    def leave(self, chat: ChatEngine, verdict: Verdict, why: str, due: float | None = None) -> Steps:
        # One Disconnect, whatever the answer is.
        chat.enter("leaving")
        exchange = yield from chat.request("Disconnect", {}, chat.now if due is None else due)
        reply = exchange.reply
        chat.goodbye_sent_at = exchange.received_at if exchange.sent_at is None else exchange.sent_at
        if self._lost is not None and reply.outcome is not Outcome.FINE:
            self._end_as_lost(chat)
        elif reply.ended or (reply.outcome is Outcome.FINE and not reply.told):
            taken = None if reply.outcome is Outcome.UNRECOVERABLE else exchange
            chat.end(chat.judge_goodbye(exchange, taken, verdict, why), exchange)
        else:
            chat.end_unconfirmed(verdict, why, exchange)

    def _end_as_lost(self, chat: ChatEngine) -> None:
        assert self._lost is not None
        finding, exchange, chat.contacts, chat.recent = self._lost
        chat.end(finding, exchange)


#: A persona's name in the options, and what makes one.
PERSONAS: Mapping[str, Callable[[], Persona]] = {"strict": StrictPersona, "widget": WidgetPersona}


def new_chat(
    settings: SessionSettings,
    observer: ChatObserver,
    seed: int,
    started_at: float,
    visitor: ChatCustomer | None = None,
    hooks: ChatHooks | None = None,
) -> ChatEngine:
    """Return a new chat with the settings' persona, in the arm of a sweep that its seed gives; arguments as for
    `ChatEngine`."""
    persona = PERSONAS[settings.persona]()
    return ChatEngine(settings.arm_of(seed), persona, observer, seed, started_at, visitor, hooks)
