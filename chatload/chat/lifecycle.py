"""The life cycle of one chat: a generator that yields effects and receives results.

RequestChat; then GetMessages on its schedule all along, while the customer waits for an agent and
talks; then Disconnect and the check that it ended. Source of the rules: the Web API Developer
Guide's "Life Cycle of a Chat Session" and its status table.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping

from chatload.chat.bookkeeping import Bookkeeping
from chatload.chat.effects import Effect, Exchange, Result, Wait, Woken
from chatload.chat.extras import OF_A_FILE
from chatload.chat.script import Action
from chatload.chat.trail import Trail
from chatload.chat.verdict import Finding, Goodbye
from chatload.vocabulary import Outcome, Verdict

Steps = Generator[Effect, Result, None]

_UNANSWERED = frozenset({Outcome.TIMEOUT, Outcome.CONNECTION})
_RETRIABLE = frozenset({Outcome.UNSUCCESSFUL, Outcome.VIOLATION})
_GOODBYES = 3


class ChatSession(Bookkeeping):
    """One chat. A driver runs `steps()`, answering each effect; then `record` says what became of it.

    Whatever happens, `record.verdict` is set once when `steps()` has returned or `cut` was called,
    and `books` have counted the session and every request. Deterministic in (settings, seed, results).
    """

    __slots__ = ()

    def steps(self) -> Steps:
        """The chat, as effects; send each result back in."""
        opening = yield from self._open()
        if opening is None:
            return
        self._customer.begin(opening.received_at)
        self._clock.anchor = opening.received_at
        self._plan_refresh(opening.received_at)
        while not self.record.verdict:
            if self._stopping:
                yield from self._leave(Verdict.CUT_OFF, "the run was stopped")
            elif self._failures and self._spent():
                yield from self._leave(Verdict.GAVE_UP, "the retry budget was spent")
            elif (first := self._before_refresh()) is not None:
                yield from first
            else:  # nearly all of a chat is this, so it is no generator of its own
                due = self._refresh_due
                self._woken((yield Wait(due)), due)
                if self._stopping:
                    continue
                self.settings.policy.ticked(self._clock, due)
                exchange = self._answered((yield self._ask("GetMessages", self._refresh_fields(due), due)))
                if not self._failures:
                    self._plan_refresh(exchange.received_at)
                if self._is_end(exchange):
                    yield from self._learn_end(exchange)
                elif self._failures:
                    self._plan_retry(exchange)

    def cut(self, now: float) -> None:
        """The driver must end this chat at once, without a goodbye; a no-op where it is over."""
        if self.record.verdict:
            return
        if self._sending is not None:
            self._books.cut(self._sending.operation)
            self._record_request(self._sending.operation, 1)
        self._close(Verdict.CUT_OFF, "the run was stopped before the chat could say goodbye", now)

    def _woken(self, woken: Result, until: float) -> None:
        assert isinstance(woken, Woken)
        stopped_at = woken.stopped_at
        if stopped_at is None:
            self._now = until  # woken later than that is the generator's lateness
        else:
            self._now, self._stopping = min(stopped_at, until), True  # what follows is due now

    # -- opening ---------------------------------------------------------------------------------

    def _open(self) -> Generator[Effect, Result, Exchange | None]:
        policy = self.settings.policy
        fields = self._introduction()
        due = self._ready
        while True:
            exchange = self._answered((yield self._ask("RequestChat", fields, due)))
            reply = exchange.reply
            if reply.outcome is Outcome.FINE and reply.chat_id and exchange.sent_at is not None:
                self.record.chat_id = reply.chat_id
                self._trail = Trail(exchange.sent_at, exchange.received_at, exchange.stalled_s)
                self._clock.contact_sent = exchange.sent_at
                self._opening = exchange
                self._take(exchange)
                return exchange
            self._failures += 1
            self.record.failures += 1
            safe = reply.outcome in _RETRIABLE or exchange.sent_at is None
            # A RequestChat that may have been taken is never sent twice: that would open a second chat.
            if self._stopping or not safe or self._failures > policy.retries:
                self._not_opened(exchange)
                return None
            due = exchange.received_at + policy.backoff_s * 2.0 ** (self._failures - 1)
            self._woken((yield Wait(due)), due)

    def _introduction(self) -> Mapping[str, str]:
        """The fields of RequestChat."""
        return self.settings.script.introduction()

    def _not_opened(self, exchange: Exchange) -> None:
        outcome = exchange.reply.outcome
        if self._stopping:
            self._close(Verdict.CUT_OFF, "the run was stopped before the chat was accepted", exchange.received_at)
        elif outcome not in _UNANSWERED:
            self._close(Verdict.REFUSED, f"RequestChat: {exchange.reply.detail or 'no chatId'}", exchange.received_at)
        else:
            self._close(Verdict.GAVE_UP, f"RequestChat: {exchange.reply.detail}", exchange.received_at)

    # -- the chat itself -------------------------------------------------------------------------

    def _before_refresh(self) -> Steps | None:
        """What is due before the next refresh: the customer's end or action, as steps."""
        customer = self._customer
        action = customer.next()
        refresh_due = self._refresh_due
        if customer.end_at <= refresh_due and (action is None or customer.end_at <= action.due):
            return self._complete(customer.end_at)
        if action is not None and action.due <= refresh_due and self._acts():
            return self._act(action)
        return None

    def _complete(self, due: float) -> Steps:
        """The customer has had enough."""
        self._woken((yield Wait(due)), due)
        if not self._stopping:
            yield from self._leave(Verdict.COMPLETED, "we disconnected and it was confirmed", due)

    def _act(self, action: Action) -> Steps:
        """The customer's action."""
        self._woken((yield Wait(action.due)), action.due)
        if self._stopping:
            return
        fields = self._action_fields(action)
        if fields is None:
            self._customer.done(self._now, action)
            return
        exchange = self._answered((yield self._ask(action.operation, fields, action.due, action.content)))
        self._acted(action, exchange)
        if self._is_end(exchange):
            yield from self._learn_end(exchange)
        elif self._failures:
            self._plan_retry(exchange)

    def _action_fields(self, action: Action) -> dict[str, str] | None:
        """What an action carries beside the keys; None where it has lost its object, a file that is not there."""
        fields = dict(action.fields)
        if action.message:
            fields["message"] = action.message
        if action.operation in ("SendMessage", "ReadReceipt"):
            fields["position"] = str(self._transcript.position)
        if action.operation in OF_A_FILE:
            if self._file_id is None:
                return None
            fields["file_id"] = self._file_id
        return fields

    def _acts(self) -> bool:
        """Whether the customer may act now; not while failures are being retried."""
        return not self._failures

    def _refresh_fields(self, now: float) -> Mapping[str, str]:
        """What a GetMessages carries beside the keys."""
        return self._cursor()

    def _is_end(self, exchange: Exchange) -> bool:
        """Whether the client takes this answer for the end of the session. A server that does not tell chatEnded tells
        the end by our own ParticipantLeft."""
        reply = exchange.reply
        return reply.ended or (not reply.told and reply.outcome is Outcome.FINE and self._transcript.left)

    def _plan_retry(self, exchange: Exchange) -> None:
        self._refresh_due = self.settings.policy.next_retry(self._clock, exchange.received_at, self._failures)

    def _learn_end(self, exchange: Exchange) -> Steps:
        """The chat has ended: how, and what that makes of it."""
        yield from self._ask_why(exchange)
        finding = self._judge(exchange)
        if exchange.reply.still_open:
            # By the status table a statusCode 2 is the end for the client; the chat may be open on the server.
            self._over = True
            yield from self._say_goodbye_once()
        self._end(finding, exchange)

    def _ask_why(self, exchange: Exchange) -> Steps:
        """Read how a chat ended, where the answer that said so did not show it."""
        self._over = True
        for _ in range(_GOODBYES):
            if exchange.reply.outcome is Outcome.UNRECOVERABLE or self._transcript.ended_by():
                return
            asked = self._answered((yield self._ask("GetMessages", self._cursor(), self._now)))
            if asked.reply.outcome is Outcome.UNRECOVERABLE:
                return

    def _say_goodbye_once(self) -> Steps:
        """Disconnect, whatever comes of it."""
        self._enter("leaving")
        self._answered((yield self._ask("Disconnect", self._cursor(), self._now)))

    def _acted(self, action: Action, exchange: Exchange) -> None:
        """The customer's action was sent: done with it, unless the service asks for a retry."""
        outcome = exchange.reply.outcome
        if outcome in _RETRIABLE:
            return
        if outcome is Outcome.FINE:
            self.record.messages_sent += action.operation == "SendMessage"
            self._file_id = exchange.reply.file_id or self._file_id
            if self.settings.policy.kind != "fixed":
                self._plan_refresh(exchange.received_at)
        self._customer.done(exchange.received_at, action)

    def _plan_refresh(self, now: float) -> None:
        self._refresh_due = self.settings.policy.next_refresh(self._clock, now)

    def _spent(self) -> bool:
        """Whether to give up: the deadline is past, and as many retries as the budget since then too."""
        return self._late_failures > self.settings.policy.retries

    # -- leaving ---------------------------------------------------------------------------------

    def _leave(self, verdict: Verdict, why: str, due: float | None = None) -> Steps:
        """Disconnect, and the check that it ended; `verdict` where it is confirmed, or was all that was wanted."""
        assert self._trail is not None
        due = self._now if due is None else due
        self._enter("leaving")
        if verdict is not Verdict.GAVE_UP and max(due, self._now) - self._trail.sent > self.settings.timeout_s:
            # It may have been dropped by now. Ask before: an answer to Disconnect would not show who ended it.
            exchange = self._answered((yield self._ask("GetMessages", self._cursor(), due)))
            if self._is_end(exchange):
                yield from self._learn_end(exchange)
                return
            due = self._now
        operation, tries = "Disconnect", 0
        taken: Exchange | None = None
        while True:
            exchange = self._answered((yield self._ask(operation, self._cursor(), due)))
            tries += 1
            if operation == "Disconnect":
                if self._goodbye_sent is None:
                    self._goodbye_sent = exchange.sent_at
                if exchange.reply.outcome in (Outcome.FINE, Outcome.ENDED):
                    taken = exchange
            if self._is_end(exchange) or (taken is not None and self._is_over(taken, exchange)):
                self._end(self._judge_goodbye(exchange, taken, verdict, why), exchange)
                return
            if verdict is Verdict.GAVE_UP:
                break
            # Taken but not ended: ask, rather than disconnect twice.
            operation = "GetMessages" if exchange.reply.outcome is Outcome.FINE else "Disconnect"
            if tries >= _GOODBYES and (self._stopping or exchange.reply.outcome is Outcome.FINE):
                break
            if tries >= _GOODBYES and (verdict is not Verdict.COMPLETED or self._spent()):
                break
            due = self.settings.policy.next_retry(self._clock, self._ready, tries)
            self._woken((yield Wait(due)), due)
        if taken is not None and not taken.reply.told:
            # A Disconnect answered 0 is a goodbye taken, where the server does not tell whether the chat has ended.
            self._end(self._judge_goodbye(taken, taken, verdict, why), taken)
        else:
            self._unconfirmed(verdict, why, exchange)

    @staticmethod
    def _is_over(taken: Exchange, asked: Exchange) -> bool:
        """Whether a chat is over whose Disconnect was taken, by a server that does not tell chatEnded: the answer to
        one question more does not tell it either."""
        reply = asked.reply
        return asked is not taken and not taken.reply.told and not reply.told and reply.outcome is Outcome.FINE

    def _judge_goodbye(self, exchange: Exchange, taken: Exchange | None, verdict: Verdict, why: str) -> Finding:
        """A goodbye was answered "ended": by us, or was it over before? taken: the Disconnect that the server surely
        processed."""
        assert self._trail is not None and self._goodbye_sent is not None
        alive = taken is not None and taken.reply.told and taken.reply.outcome is Outcome.FINE
        taken_at = None if taken is None else taken.sent_at
        goodbye = Goodbye(verdict, why, self._goodbye_sent, taken_at, alive)
        finding = self._judge(exchange, goodbye)
        if finding.verdict is verdict:
            self.record.goodbye_at = taken_at
            self.record.goodbye_confirmed = finding.confirmed or verdict is not Verdict.COMPLETED
        return finding

    def _unconfirmed(self, verdict: Verdict, why: str, exchange: Exchange) -> None:
        """The goodbye was never confirmed. A session that may have been found too late is not claimed."""
        assert self._trail is not None
        if verdict is Verdict.COMPLETED:
            verdict, why = Verdict.GAVE_UP, "Disconnect was never confirmed"
        deadline = self._trail.sent + self.settings.timeout_s
        walked_away = verdict is Verdict.CUT_OFF
        late = any((a.sent if walked_away else a.latest) > deadline for a in self._trail.attempts)
        if late or self._trail.untold_gap:
            lower, upper = self._trail.bounds(self._ready, exchange.received_at)
            doubt = f"{why}; it may have been dropped by then"
            self._end(Finding(Verdict.DROPPED_UNPROVEN, doubt, lower, upper), exchange)
        else:
            self._close(verdict, why, exchange.received_at)
