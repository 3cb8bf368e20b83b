"""The life cycle of one chat: a generator that yields effects and receives results.

RequestChat; then GetMessages on its schedule all along, while the customer waits for an agent and
talks; then Disconnect and the check that it ended. Source of the rules: the Web API Developer
Guide's "Life Cycle of a Chat Session" and its status table.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict

from chatload.protocol.reply import Event, Reply
from chatload.protocol.status import Outcome
from chatload.session.books import Books
from chatload.session.draws import Draws
from chatload.session.effects import Effect, Exchange, Result, Send, Wait, Woken
from chatload.session.extras import OF_A_FILE
from chatload.session.policy import RefreshClock
from chatload.session.record import Blame, SessionRecord, Verdict
from chatload.session.script import Action, Customer, CustomerScript
from chatload.session.settings import SessionSettings
from chatload.session.timeline import Recent, Timeline, severity
from chatload.session.trail import Trail, blame
from chatload.session.transcript import Transcript
from chatload.session.verdict import Finding, judge

Steps = Generator[Effect, Result, None]

_FINE, _ENDED = Outcome.FINE, Outcome.ENDED  # an enum's attributes cost more than a global
_UNANSWERED = frozenset({Outcome.TIMEOUT, Outcome.CONNECTION})
_RETRIABLE = frozenset({Outcome.UNSUCCESSFUL, Outcome.VIOLATION})
_GOODBYES = 3


class ChatSession:
    """One chat. A driver runs `steps()`, answering each effect; then `record` says what became of it.

    Whatever happens, `record.verdict` is set once when `steps()` has returned or `cut` was called,
    and `books` have counted the session and every request. Deterministic in (settings, seed, results).
    """

    __slots__ = (
        "_at", "_books", "_clock", "_customer", "_extra", "_failures", "_file_id", "_goodbye_sent",
        "_keys", "_late_failures", "_merged", "_now", "_opening", "_over", "_position", "_ready", "_recent",
        "_refresh_due", "_sending", "_state", "_stopping", "_taken", "_trail", "_transcript", "record", "settings",
    )  # fmt: skip

    def __init__(self, settings: SessionSettings, books: Books, seed: int, started_at: float) -> None:
        """started_at: now, on the driver's clock (seconds)."""
        self.settings = settings
        self.record = SessionRecord(started_at=started_at, group=settings.group)
        self._books = books
        self._customer = self._make_customer(settings.script, Draws(seed))
        self._transcript = Transcript(agent_end_removes=settings.agent_end_removes_customer)
        self._trail: Trail | None = None
        self._clock = RefreshClock(started_at, started_at)
        self._refresh_due = started_at
        self._ready = started_at
        self._now = started_at
        self._keys: dict[str, str] = {}
        self._extra: Mapping[str, str] | None = None
        self._merged: Mapping[str, str] = {}
        self._position = 0
        self._at: Mapping[str, str] = {}
        self._taken: Reply | None = None
        self._failures = 0
        self._late_failures = 0
        self._stopping = False
        self._sending: Send | None = None
        self._over = False
        self._file_id: str | None = None
        self._goodbye_sent: float | None = None
        self._opening: Exchange | None = None
        self._recent = Recent()
        self._state = ""
        books.started += 1
        self._enter("opening")

    def _make_customer(self, script: CustomerScript, random: Draws) -> Customer:
        return Customer(script, random)

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
            elif self._spent():
                yield from self._leave(Verdict.GAVE_UP, "the retry budget was spent")
            else:
                yield from self._live()

    def cut(self, now: float) -> None:
        """The driver must end this chat at once, without a goodbye; a no-op where it is over."""
        if self.record.verdict:
            return
        if self._sending is not None:
            self._books.cut(self._sending.operation)
            self.record.contacts += 1
            self._sending = None
        self._close(Verdict.CUT_OFF, "the run was stopped before the chat could say goodbye", now)

    def timeline(self) -> Timeline | None:
        """The last contacts of a session that ended badly; None of one that did not, or never was opened."""
        record, trail, timeout = self.record, self._trail, self.settings.timeout_s
        severe = severity(record.verdict, record.gap_lower_s, record.gap_upper_s, timeout)
        if severe is None or trail is None:
            return None
        facts = record.chat_id, record.verdict, record.blame, record.why
        return Timeline(
            *facts,
            timeout,
            severe,
            trail.sent,
            trail.received,
            asdict(trail.shares),
            self._recent.contacts(),
        )

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

    def _live(self) -> Steps:
        """One step: whatever is due next, the customer's action, the refresh or the end."""
        customer = self._customer
        action = customer.next()
        refresh_due = self._refresh_due
        if customer.end_at <= refresh_due and (action is None or customer.end_at <= action.due):
            self._woken((yield Wait(customer.end_at)), customer.end_at)
            if not self._stopping:
                yield from self._leave(Verdict.COMPLETED, "we disconnected and it was confirmed", customer.end_at)
            return
        if action is not None and action.due <= refresh_due and self._acts():
            self._woken((yield Wait(action.due)), action.due)
            if self._stopping:
                return
            fields = self._action_fields(action)
            if fields is None:
                customer.done(self._now, action)
                return
            exchange = self._answered((yield self._ask(action.operation, fields, action.due, action.content)))
            self._acted(action, exchange)
        else:
            self._woken((yield Wait(refresh_due)), refresh_due)
            if self._stopping:
                return
            self.settings.policy.ticked(self._clock, refresh_due)
            exchange = self._answered((yield self._ask("GetMessages", self._refresh_fields(refresh_due), refresh_due)))
            if not self._failures:
                self._plan_refresh(exchange.received_at)
        if self._is_end(exchange):
            yield from self._ask_why(exchange)
            self._end(self._judge(exchange), exchange)
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
        """Whether the client takes this answer for the end of the session."""
        return exchange.reply.ended

    def _plan_retry(self, exchange: Exchange) -> None:
        self._refresh_due = self.settings.policy.next_retry(self._clock, exchange.received_at, self._failures)

    def _ask_why(self, exchange: Exchange) -> Steps:
        """Read how a chat ended, where the answer that said so had no room for the transcript."""
        self._over = True
        for _ in range(_GOODBYES):
            if exchange.reply.outcome is not Outcome.ENDED or self._transcript.ended_by():
                return
            asked = self._answered((yield self._ask("GetMessages", self._cursor(), self._now)))
            if asked.reply.outcome is Outcome.UNRECOVERABLE:
                return

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
        due = self._now if due is None else due
        self._enter("leaving")
        operation = "Disconnect"
        exchange = None
        tries = 0
        while exchange is None or tries < _GOODBYES or (verdict is Verdict.COMPLETED and not self._spent()):
            if tries:
                due = self.settings.policy.next_retry(self._clock, self._ready, tries)
                self._woken((yield Wait(due)), due)
            tries += 1
            exchange = self._answered((yield self._ask(operation, self._cursor(), due)))
            if operation == "Disconnect" and self._goodbye_sent is None and exchange.sent_at is not None:
                self._goodbye_sent = exchange.sent_at
            if exchange.reply.ended:
                self._end(self._judge_goodbye(exchange, verdict, why), exchange)
                return
            if verdict is Verdict.GAVE_UP:
                break
            # Taken but not ended: ask, rather than disconnect twice.
            operation = "GetMessages" if exchange.reply.outcome is Outcome.FINE else "Disconnect"
            if tries >= _GOODBYES and (self._stopping or exchange.reply.outcome is Outcome.FINE):
                break
        assert exchange is not None
        self._unconfirmed(verdict, why, exchange)

    def _judge_goodbye(self, exchange: Exchange, verdict: Verdict, why: str) -> Finding:
        """A goodbye was answered "ended": by us, or was it over before?"""
        assert self._trail is not None and self._goodbye_sent is not None
        left = self._transcript.left_at()
        before = left is not None and left[1] < self._goodbye_sent
        finding = self._judge(exchange, self._goodbye_sent)
        confirmed = finding.verdict is Verdict.DROPPED_EARLY and not before
        if not confirmed:
            return finding
        told = left is not None or self._transcript.left
        self.record.goodbye_confirmed = told or verdict is not Verdict.COMPLETED
        more = "" if told else "; there was no transcript to say whether another had ended it just before"
        return finding._replace(verdict=verdict, why=why + more)

    def _unconfirmed(self, verdict: Verdict, why: str, exchange: Exchange) -> None:
        """The goodbye was never confirmed. A session that may have been found too late is not claimed."""
        assert self._trail is not None
        if verdict is Verdict.COMPLETED:
            verdict, why = Verdict.GAVE_UP, "Disconnect was never confirmed"
        deadline = self._trail.sent + self.settings.timeout_s
        walked_away = verdict is Verdict.CUT_OFF
        if any((a.sent if walked_away else a.latest) > deadline for a in self._trail.attempts):
            lower, upper = self._trail.bounds(self._ready, exchange.received_at)
            doubt = f"{why}; it may have been dropped by then"
            self._end(Finding(Verdict.DROPPED_UNPROVEN, doubt, lower, upper), exchange)
        else:
            self._close(verdict, why, exchange.received_at)

    # -- requests --------------------------------------------------------------------------------

    def _woken(self, woken: Result, until: float) -> None:
        assert isinstance(woken, Woken)
        # Woken too late is the generator's lateness; woken before is a stop, and what follows is due now.
        self._now = woken.now if woken.now < until else until
        self._stopping = self._stopping or woken.stopping

    def _ask(self, operation: str, extra: Mapping[str, str], due: float, content: bytes | None = None) -> Send:
        """The effect that sends one operation; what it is answered by goes into `_answered`."""
        record, settings = self.record, self.settings
        self._books.sent[operation] += 1
        record.requests += 1
        timeout_s = settings.request_timeout_s
        if operation == "GetMessages":
            record.polls += 1
            timeout_s += settings.long_poll_s
        self._sending = send = Send(operation, self._fields(extra), due, timeout_s, content)
        return send

    def _answered(self, exchange: Result) -> Exchange:
        """Book everything about the request under way, which has ended so."""
        send, record = self._sending, self.record
        assert isinstance(exchange, Exchange) and send is not None
        self._sending = None
        if exchange.stopping:
            self._stopping = True
        operation, due, sent, received = send.operation, send.due, exchange.sent_at, exchange.received_at
        self._books.request(operation, exchange)
        self._recent.add(operation, due, sent, received, exchange.reply.outcome._value_)
        if sent is not None:
            record.contacts += 1 + exchange.resent
        self._book_time(operation, due, exchange, self.settings.long_poll_s if operation == "GetMessages" else 0.0)
        self._ready = self._now = received
        if operation != "RequestChat":
            self._take(exchange, "position" in send.fields)
        return exchange

    def _fields(self, extra: Mapping[str, str]) -> Mapping[str, str]:
        """The keys and `extra`: the same object for as long as both are."""
        if extra is not self._extra:
            self._extra, self._merged = extra, {**self._keys, **extra}
        return self._merged

    def _book_time(self, operation: str, due: float, exchange: Exchange, held_s: float) -> None:
        trail, books = self._trail, self._books
        if trail is None or self._over:
            return
        lateness = trail.leaving(due, self._ready, exchange)
        if lateness > self.record.lateness_max_s:
            self.record.lateness_max_s = lateness
        if operation == "GetMessages":
            books.lateness.add(lateness)
        if exchange.resent:
            trail.resent(exchange, held_s)
        if exchange.reply.outcome is _FINE:
            books.gap.add(trail.sure(exchange, self._contact_from(exchange, held_s) if held_s else None))
        elif not exchange.reply.ended:
            trail.failed(exchange, held_s)

    def _contact_from(self, exchange: Exchange, held_s: float) -> float:
        """The earliest instant at which a success that may have been held was released."""
        assert exchange.sent_at is not None
        # That it told nothing for as long as the server holds proves no hold: the answer may have been slow.
        released = self._transcript.released_after(exchange.reply)
        return min(max(exchange.sent_at, released), exchange.received_at)

    def _take(self, exchange: Exchange, asked: bool = True) -> None:
        """Keep what an answer gives: newest keys, position, events; count failures in a row."""
        reply, outcome, sent = exchange.reply, exchange.reply.outcome, exchange.sent_at
        if exchange.answered and sent is not None:
            self._clock.saw(exchange.received_at - sent)
        if outcome is _FINE or outcome is _ENDED:
            self._failures = self._late_failures = 0
        else:
            self._failures += 1
            self._late_failures += exchange.received_at > self._clock.contact_sent + self.settings.timeout_s
            self.record.failures += 1
        if self._state != "leaving":
            self._enter("retrying" if self._failures else "held")
        if outcome is _FINE and sent is not None:
            self._clock.contact_sent = sent if self._trail is None else self._trail.sent
            if reply is self._taken:
                return  # the very answer taken last: it has nothing new
            self._take_keys(reply)
            self._taken = None if reply.events else reply
        if self._trail is not None and (reply.events or reply.next_position is not None):
            fresh = self._take_events(exchange, asked)
            if self._opening is not None and self._transcript.synchronise(fresh, self._opening):
                self._opening = None

    def _take_keys(self, reply: Reply) -> None:
        """Keep the newest."""
        keys = self._keys
        for name in ("chat_id", "user_id", "secure_key", "alias"):
            value = getattr(reply, name)
            if value is not None and keys.get(name) != value:
                self._books.rotations += name == "secure_key" and name in keys
                keys[name] = value
                self._extra = None

    def _take_events(self, exchange: Exchange, asked: bool = True) -> list[Event]:
        fresh = self._transcript.read(exchange.reply, asked)
        for event in fresh:
            if event.who == "Agent":
                self._customer.heard(event.kind, exchange.received_at)
        self.record.messages_received = self._transcript.agent_messages
        return fresh

    def _cursor(self) -> Mapping[str, str]:
        """Where to read on from: the same object for as long as that is."""
        position = self._transcript.position
        if position != self._position:
            self._position, self._at = position, {"position": str(position)}
        return self._at

    # -- the end ---------------------------------------------------------------------------------

    def _judge(self, exchange: Exchange, sent: float | None = None) -> Finding:
        assert self._trail is not None
        at = exchange.sent_at if sent is None else sent
        settings = self.settings
        return judge(
            self._trail,
            self._transcript,
            exchange.reply.outcome,
            exchange.received_at if at is None else at,
            exchange.received_at,
            settings.timeout_s,
            settings.keeps_ended_s,
            goodbye=sent is not None,
            keys_rotate=self._books.rotations > 0,
        )

    def _end(self, finding: Finding, exchange: Exchange) -> None:
        """Record a finding with its bounds, blame and the generator's own part."""
        assert self._trail is not None
        record, trail, timeout = self.record, self._trail, self.settings.timeout_s
        record.gap_lower_s, record.gap_upper_s = finding.lower_s, finding.upper_s
        record.learned_by = exchange.reply.outcome.value
        own = trail.shares.generator + exchange.stalled_s
        record.generator_s = own
        if finding.verdict is Verdict.DROPPED_LATE:
            sent = exchange.received_at if exchange.sent_at is None else exchange.sent_at
            whose = blame(trail, timeout, sent)
            record.blame = whose.value
            record.generator_suspect = whose is Blame.GENERATOR
        elif finding.verdict is Verdict.DROPPED_UNPROVEN:
            record.generator_suspect = finding.upper_s - own - trail.stalled_s <= timeout < finding.upper_s
        self._close(finding.verdict, finding.why, exchange.received_at)

    def _close(self, verdict: Verdict, why: str, now: float) -> None:
        record = self.record
        record.verdict, record.why, record.ended_at = verdict.value, why, now
        if record.gap_upper_s is None and self._trail is not None and self._trail.widest is not None:
            record.gap_lower_s, record.gap_upper_s = self._trail.widest
        self._enter("")
        self._books.session(record)

    def _enter(self, state: str) -> None:
        """Book the move from one state to the next: opening, held, retrying, leaving, and none."""
        if state != self._state:
            self._books.moved(self._state, state)
            self._state = state
