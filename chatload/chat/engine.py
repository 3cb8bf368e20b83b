"""One chat as a sans-IO engine: a generator that yields effects and receives their results.

The life cycle: RequestChat; then GetMessages on schedule, while the customer waits for an agent and talks; then
Disconnect and the check that the chat has ended. Source: the Web API Developer Guide, "Life Cycle of a Chat Session"
and its status table. What differs between clients is in a `Persona` (see `chatload.chat.personas`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import InitVar, asdict, dataclass, field
from math import inf
from typing import Protocol

from chatload.chat.contacts import ContactLog, find_blame, stalled_since
from chatload.chat.customer import ChatCustomer, ChatHooks
from chatload.chat.effects import Effect, Exchange, Result, Send, Wait
from chatload.chat.policy import RefreshClock
from chatload.chat.record import RecentContacts, SessionRecord, Timeline, severity
from chatload.chat.script import OF_A_FILE, Action, Customer
from chatload.chat.settings import SessionSettings
from chatload.chat.transcript import Transcript
from chatload.chat.verdict import EndEvidence, Finding, Goodbye, judge
from chatload.protocol.names import EndCause
from chatload.protocol.operations import KEYS
from chatload.protocol.reply import Event, Reply
from chatload.random_numbers import SplitMix64
from chatload.vocabulary import Blame, Outcome, Verdict

Steps = Generator[Effect, Result, None]

_FINE, _ENDED = Outcome.FINE, Outcome.ENDED  # an attribute of an enum costs more than a global
_RETRIABLE = frozenset({Outcome.UNSUCCESSFUL, Outcome.VIOLATION})


class ChatObserver(Protocol):
    """Receives what happens in the chats of a process, to count it. Durations in seconds.

    session_accepted: the chat was accepted, and is at risk from now on. at: seconds on the driver's clock.
    refresh_answered: a usual refresh has ended: GetMessages answered 0/false. response_s: from the instant for which it
        was scheduled.
    polls_skipped: polls were due every interval_s while a poll that ended response_s after its scheduled instant was
        waited for, and were never sent. answered: the poll was answered.
    request_ended: any other request has ended. due: the instant for which it was scheduled; None: when it began.
        lateness_s: of a GetMessages of an accepted chat, otherwise None.
    request_cut: the chat was cut off before the answer came, waited_s after its scheduled instant. went_offline: a
        client told its customer that the chat server is offline.
    timeout_s: the flex-disconnect-timeout. gap_s: the upper bound of the gap that the request closed; None if it was
        no sure contact.
    before, after: opening, held, retrying, leaving; "" is none.
    """

    def session_started(self) -> None: ...
    def session_accepted(self, at: float) -> None: ...
    def session_ended(self, record: SessionRecord, timeout_s: float) -> None: ...
    def state_changed(self, before: str, after: str) -> None: ...
    def request_begun(self, operation: str) -> None: ...
    def refresh_answered(self, latency_s: float, lateness_s: float, gap_s: float, response_s: float) -> None: ...
    def polls_skipped(self, response_s: float, interval_s: float, answered: bool) -> None: ...
    def request_ended(
        self,
        operation: str,
        exchange: Exchange,
        lateness_s: float | None = None,
        gap_s: float | None = None,
        due: float | None = None,
    ) -> None: ...
    def request_cut(self, operation: str, waited_s: float) -> None: ...
    def key_replaced(self) -> None: ...
    def went_offline(self) -> None: ...


class Persona(Protocol):
    """How a client behaves where clients differ. Each chat has a persona object of its own.

    Hot path: the engine handles a usual refresh alone. It asks the persona when a chat opens and leaves, after a
    request that was not a success, and after the first success that follows.

    drafts: the message that the customer is typing is sent with StartTyping and with each GetMessages.
    reads_next_position: the cursor follows nextPosition as well as the events' own positions.
    retries: a request that failed is retried before the customer acts again, and an action that was answered
        statusCode 1 is sent again.
    opening_fields: those of RequestChat, given who the customer is.
    next_poll: the instant of the next GetMessages, after a failure.
    gives_up: whether the client leaves because too many requests have failed.
    takes_as_end: whether the client takes this answer as the end of the chat.
    ask_cause: sends the requests by which the client asks for the cause of the end that `exchange` told.
    leave: says goodbye and ends the chat. verdict, why: they hold if no evidence contradicts them. due: when the first
        request should leave; None: now.
    """

    drafts: bool
    reads_next_position: bool
    retries: bool

    def opening_fields(self, introduction: Mapping[str, str]) -> Mapping[str, str]: ...
    def next_poll(self, chat: ChatEngine, now: float) -> float: ...
    def gives_up(self, chat: ChatEngine) -> bool: ...
    def takes_as_end(self, chat: ChatEngine, exchange: Exchange) -> bool: ...
    def ask_cause(self, chat: ChatEngine, exchange: Exchange) -> Steps: ...
    def leave(self, chat: ChatEngine, verdict: Verdict, why: str, due: float | None = None) -> Steps: ...


@dataclass(slots=True, eq=False)
class ChatEngine:
    """One chat. A driver runs `steps()` and answers each effect; afterwards `record` says what became of the chat.

    `record.verdict` is set exactly once, when `steps()` has returned or `cut` was called. By then the observer has
    received the session and every request. Deterministic in (settings, seed, results).

    seed: of the chat's random numbers. started_at: now. All instants: seconds on the driver's clock.
    visitor: who the customer is; None: as the script says it without a feeder. hooks: called as the chat goes on.
    contacts: None until the chat is accepted. recent: the last requests. clock: what the refresh policy knows.
    now: the instant that the engine has reached. ready: when the last request was over.
    failures: unsuccessful requests in a row. late_failures: those of them that ended after the deadline.
    stopping: the run asks this chat to say goodbye.
    goodbye_sent_at: when the first Disconnect left; the persona sets it.
    usual_refreshes: refreshes that `record` does not count yet: it gets them all when the chat ends.
    """

    settings: SessionSettings
    persona: Persona
    observer: ChatObserver
    seed: InitVar[int]
    started_at: InitVar[float]
    visitor: ChatCustomer | None = None
    hooks: ChatHooks | None = None
    record: SessionRecord = field(init=False)
    customer: Customer = field(init=False)
    transcript: Transcript = field(init=False)
    clock: RefreshClock = field(init=False)
    now: float = field(init=False)
    ready: float = field(init=False)
    contacts: ContactLog | None = field(init=False, default=None)
    recent: RecentContacts = field(init=False, default_factory=RecentContacts)
    failures: int = field(init=False, default=0)
    late_failures: int = field(init=False, default=0)
    stopping: bool = field(init=False, default=False)
    goodbye_sent_at: float | None = field(init=False, default=None)
    usual_refreshes: int = field(init=False, default=0)
    _state: str = field(init=False, default="")
    _refresh_due: float = field(init=False)
    #: The interval of a fixed clock, whose polls are skipped while one is waited for; infinite without such a clock.
    _tick_s: float = field(init=False)
    _keys: dict[str, str] = field(init=False, default_factory=dict)
    #: The fields of the next GetMessages, and the position in them.
    _refresh_fields: Mapping[str, str] = field(init=False)
    _refresh_position: int = field(init=False, default=-1)
    _file_id: str | None = field(init=False, default=None)
    _sending: Send | None = field(init=False, default=None)
    #: The answer taken last, if taking it again would change nothing.
    _taken: Reply | None = field(init=False, default=None)
    #: The end is known: later requests say nothing about the chat's contacts.
    _over: bool = field(init=False, default=False)
    #: The RequestChat that opened the chat, until our own ParticipantJoined has been looked for.
    _opening: Exchange | None = field(init=False, default=None)
    #: The cause of the end and its code, as the last answer that named one said it; cleared by a success.
    _cause: EndCause | None = field(init=False, default=None)
    _code: str = field(init=False, default="")

    def __post_init__(self, seed: int, started_at: float) -> None:
        settings = self.settings
        self.record = SessionRecord(started_at=started_at, group=settings.group, user_class=settings.user_class)
        self.customer = Customer(settings.script, SplitMix64(seed), self.persona.drafts)
        self.customer.asks = self.hooks is not None and self.hooks.has_messages
        self.transcript = Transcript(settings.server.clock, settings.agent_end_removes_customer)
        jitter = settings.poll_jitter
        # Numbers of their own: what the customer does is the same with and without jitter.
        random = SplitMix64(f"{seed}/refresh") if jitter else None
        self.clock = RefreshClock(started_at, started_at, jitter=jitter, random=random)
        self._refresh_due = self.ready = self.now = started_at
        # A server that holds polls (long polling) makes the client skip some by design: they are not late.
        clocked = settings.policy.kind == "fixed" and not settings.long_poll_s
        self._tick_s = settings.policy.interval_s if clocked else inf
        self.observer.session_started()
        self.enter("opening")

    # -- the life cycle --------------------------------------------------------------------------

    def steps(self) -> Steps:
        """Yield the chat's effects; expects the result of each to be sent back."""
        opening = yield from self._open()
        if opening is None:
            return
        record, customer, clock, persona, policy = (
            self.record, self.customer, self.clock, self.persona, self.settings.policy,
        )  # fmt: skip
        customer.begin(opening.received_at)
        clock.anchor = opening.received_at
        self._refresh_due = policy.next_refresh(clock, opening.received_at)
        while not record.verdict:
            failing = self.failures
            if self.stopping:
                yield from persona.leave(self, Verdict.CUT_OFF, "the run was stopped")
                continue
            if failing and persona.gives_up(self):
                yield from persona.leave(self, Verdict.GAVE_UP, "the retry budget was spent")
                continue
            due, action = self._refresh_due, customer.next()
            if customer.end_at <= due and (action is None or customer.end_at <= action.due):
                yield from self.wait(customer.end_at)
                if not self.stopping:
                    why = "we disconnected and it was confirmed"
                    yield from persona.leave(self, Verdict.COMPLETED, why, customer.end_at)
            elif action is not None and action.due <= due and not (failing and persona.retries):
                yield from self._act(action)
            else:
                # Hot path: inlined, because nearly all of a chat is this.
                stopped_at = yield Wait(due)
                if stopped_at is None:
                    self.now = due
                else:
                    self._wake(stopped_at, due)
                    if self.stopping:
                        continue
                policy.ticked(clock, due)
                position = self.transcript.position
                if position != self._refresh_position:
                    # The fields are the same object as long as position and keys are the same.
                    self._refresh_position, self._refresh_fields = position, {**self._keys, **self.cursor()}
                fields = self._refresh_fields
                if customer.text and (draft := customer.draft(due)):
                    fields = {**fields, "message": draft}
                exchange = self._answered((yield self._ask("GetMessages", fields, due)))
                if not self.failures:
                    self._refresh_due = policy.next_refresh(clock, exchange.received_at)
                reply = exchange.reply
                if failing or reply.outcome is not _FINE or not reply.told:
                    yield from self._follow_up(exchange)

    def cut(self, now: float) -> None:
        """End this chat at once, without a goodbye; a chat that is over stays as it is."""
        if self.record.verdict:
            return
        if self._sending is not None:
            self.observer.request_cut(self._sending.operation, now - self._sending.due)
            self._count_request(self._sending.operation, 1)
        self._close(Verdict.CUT_OFF, "the run was stopped before the chat could say goodbye", now)

    def timeline(self, epoch: float = 0.0) -> Timeline | None:
        """Return the last contacts of a session that ended badly; None if it did not, or was never accepted.

        epoch: is added to its instants (seconds): the Unix time at which the driver's clock shows 0.
        """
        record, contacts, timeout_s = self.record, self.contacts, self.settings.timeout_s
        severe = severity(record.verdict, record.gap_lower_s, record.gap_upper_s, timeout_s)
        if severe is None or contacts is None:
            return None
        return Timeline(
            record.chat_id, record.verdict, record.blame, record.why, timeout_s, severe,
            contacts.sent + epoch, contacts.received + epoch, asdict(contacts.shares), self.recent.contacts(epoch),
            user_class=record.user_class,
        )  # fmt: skip

    def _open(self) -> Generator[Effect, Result, Exchange | None]:
        """Send RequestChat until it is accepted; returns None if it was not: then the chat is over."""
        policy = self.settings.policy
        visitor = self.settings.script.customer() if self.visitor is None else self.visitor
        fields = self.persona.opening_fields(visitor.introduction())
        due = self.ready
        while True:
            exchange = yield from self.request("RequestChat", fields, due)
            reply = exchange.reply
            if reply.outcome is _FINE and reply.chat_id and exchange.sent_at is not None:
                self.record.chat_id, self.record.accepted_at = reply.chat_id, exchange.received_at
                if self.visitor is not None:
                    self.visitor.chat_id = reply.chat_id
                self.observer.session_accepted(exchange.received_at)
                self.contacts = ContactLog(exchange.sent_at, exchange.received_at, exchange.stalled_s)
                self.clock.contact_sent = exchange.sent_at
                self._opening = exchange
                self._take(exchange)
                return exchange
            self.failures += 1
            self.record.failures += 1
            safe = reply.outcome in _RETRIABLE or exchange.sent_at is None
            # A RequestChat that the server may have taken is never sent again: that could open a second chat.
            if self.stopping or not safe or self.failures > policy.retries:
                self._not_accepted(exchange)
                return None
            due = exchange.received_at + policy.backoff_s * 2.0 ** (self.failures - 1)
            yield from self.wait(due)

    def _not_accepted(self, exchange: Exchange) -> None:
        reply = exchange.reply
        if self.stopping:
            verdict, why = Verdict.CUT_OFF, "the run was stopped before the chat was accepted"
        elif reply.outcome in (Outcome.TIMEOUT, Outcome.CONNECTION):
            verdict, why = Verdict.GAVE_UP, f"RequestChat: {reply.detail}"
        else:
            verdict, why = Verdict.REFUSED, f"RequestChat: {reply.detail or 'no chatId'}"
        self._close(verdict, why, exchange.received_at)

    def _act(self, action: Action) -> Steps:
        yield from self.wait(action.due)
        if self.stopping:
            return
        if self.customer.asks and self.customer.begins_message(action):
            said = self._ask_hook()
            if not self.customer.begin_message(action, said):
                return
        if action.operation in OF_A_FILE and self._file_id is None:
            self.customer.done(self.now, action)  # The file that it needs was never uploaded.
            return
        fields = dict(action.fields)
        if action.message:
            fields["message"] = action.message
        if action.operation in ("SendMessage", "ReadReceipt"):
            fields |= self.cursor()
        if action.operation in OF_A_FILE and self._file_id is not None:
            fields["file_id"] = self._file_id
        exchange = yield from self.request(action.operation, fields, action.due, action.content)
        outcome = exchange.reply.outcome
        if outcome is _FINE:
            self.record.messages_sent += action.operation == "SendMessage"
            self._file_id = exchange.reply.file_id or self._file_id
            if self.settings.policy.kind != "fixed":
                self._refresh_due = self.settings.policy.next_refresh(self.clock, exchange.received_at)
        if not (self.persona.retries and outcome in _RETRIABLE):
            self.customer.done(exchange.received_at, action)
        yield from self._follow_up(exchange)

    def _ask_hook(self) -> str | None:
        """Return what the customer says next by the hook `next_message`."""
        assert self.hooks is not None and self.visitor is not None
        said = self.hooks.next_message(self.visitor)
        if self.visitor.is_leaving:
            self.customer.end_at = self.now
        return said

    def _follow_up(self, exchange: Exchange) -> Steps:
        """Do what the persona does after an answer that may be the end, or a failure."""
        if self.persona.takes_as_end(self, exchange):
            yield from self.learn_end(exchange)
        elif self.failures:
            self._refresh_due = self.persona.next_poll(self, exchange.received_at)

    # -- for personas: requests ------------------------------------------------------------------

    def request(
        self, operation: str, fields: Mapping[str, str], due: float, content: bytes | None = None
    ) -> Generator[Effect, Result, Exchange]:
        """Send one operation with the chat's keys and these fields, and record its result; arguments as for Send."""
        return self._answered((yield self._ask(operation, {**self._keys, **fields}, due, content)))

    def wait(self, until: float) -> Steps:
        """Wait until an instant, or until the run stops."""
        self._wake((yield Wait(until)), until)

    def cursor(self) -> Mapping[str, str]:
        """Return the field that asks for the events from our position on."""
        return {"position": str(self.transcript.position)}

    def enter(self, state: str) -> None:
        if state != self._state:
            self.observer.state_changed(self._state, state)
            self._state = state

    # -- for personas: the end -------------------------------------------------------------------

    def learn_end(self, exchange: Exchange) -> Steps:
        """End the chat, because this answer says that it has ended; the verdict follows from the evidence."""
        self._over = True
        yield from self.persona.ask_cause(self, exchange)
        finding = self.judge(exchange)
        if exchange.reply.still_open:
            # By the status table a statusCode 2 is the end for the client; the chat may still be open on the server.
            self.enter("leaving")
            yield from self.request("Disconnect", self.cursor(), self.now)
        self.end(finding, exchange)

    def judge(self, exchange: Exchange, goodbye: Goodbye | None = None) -> Finding:
        """Return the verdict on a chat that this answer says has ended."""
        contacts, transcript, record = self.accepted, self.transcript, self.record
        if exchange.reply.alias not in (None, self._keys.get("alias")):
            transcript.moved()
        left = transcript.left_at(contacts.sent, exchange.received_at) if transcript.left else None
        if transcript.left and transcript.quit_reason:
            reason = f"quit reason {transcript.quit_reason}"
            record.end_evidence = f"{record.end_evidence}, {reason}".lstrip(", ")
        if left is not None:
            record.end_silence_lower_s = max(0.0, left[0] - contacts.received)
            record.end_silence_upper_s = left[1] - contacts.sent
        cause, code = self._cause, self._code
        return judge(EndEvidence(contacts, transcript, exchange, self.settings, cause, code, left, goodbye))

    def judge_goodbye(self, exchange: Exchange, taken: Exchange | None, verdict: Verdict, why: str) -> Finding:
        """Return the verdict on a chat that had ended by this answer, which came after our Disconnect had left.

        taken: the Disconnect that the server surely processed. verdict, why: what holds if the chat went on until then.
        """
        assert self.goodbye_sent_at is not None
        alive = taken is not None and taken.reply.told and taken.reply.outcome is _FINE
        taken_at = None if taken is None else taken.sent_at
        finding = self.judge(exchange, Goodbye(verdict, why, self.goodbye_sent_at, taken_at, alive))
        if finding.verdict is verdict:
            self.record.goodbye_at = taken_at
            self.record.goodbye_confirmed = finding.confirmed or verdict is not Verdict.COMPLETED
        return finding

    def end(self, finding: Finding, exchange: Exchange) -> None:
        """End the chat with a finding: its bounds, its blame and the generator's own part go into the record."""
        record, contacts, timeout_s = self.record, self.accepted, self.settings.timeout_s
        record.gap_lower_s, record.gap_upper_s = finding.lower_s, finding.upper_s
        record.learned_by = exchange.reply.outcome.value
        own = contacts.shares.generator + stalled_since(exchange)
        record.generator_s = own
        if finding.verdict is Verdict.FAILED:
            self.settings.server.lost_in_time = True
        if finding.verdict is Verdict.DROPPED_EARLY and EndCause.INACTIVITY in (self._cause, self.transcript.cause):
            self.settings.server.drops_in_time = True
        if finding.verdict is Verdict.DROPPED_LATE:
            if exchange.reply.outcome is _ENDED:
                self.settings.server.tells_silent_ends = True
            sent = exchange.received_at if exchange.sent_at is None else exchange.sent_at
            before = contacts.untold_gap if finding.upper_s <= timeout_s else None
            blame = before or find_blame(contacts, timeout_s, sent)
            record.blame = blame.value
            record.generator_suspect = blame is Blame.GENERATOR
        elif finding.verdict is Verdict.DROPPED_UNPROVEN:
            record.generator_suspect = finding.upper_s - own - contacts.stalled_s <= timeout_s < finding.upper_s
        self._close(finding.verdict, finding.why, exchange.received_at)

    def end_unconfirmed(self, verdict: Verdict, why: str, exchange: Exchange) -> None:
        """End the chat after a goodbye that was never confirmed. It may have been dropped before: then say so."""
        contacts = self.accepted
        if verdict is Verdict.COMPLETED:
            verdict, why = Verdict.GAVE_UP, "Disconnect was never confirmed"
        deadline = contacts.sent + self.settings.timeout_s
        cut_off = verdict is Verdict.CUT_OFF
        late = any((a.sent if cut_off else a.latest) > deadline for a in contacts.attempts)
        if late or contacts.untold_gap:
            lower, upper = contacts.bounds(self.ready, exchange.received_at)
            doubt = f"{why}; it may have been dropped by then"
            self.end(Finding(Verdict.DROPPED_UNPROVEN, doubt, lower, upper), exchange)
        else:
            self._close(verdict, why, exchange.received_at)

    @property
    def accepted(self) -> ContactLog:
        assert self.contacts is not None
        return self.contacts

    def _close(self, verdict: Verdict, why: str, now: float) -> None:
        record, contacts, usual = self.record, self.contacts, self.usual_refreshes
        record.requests += usual
        record.polls += usual
        record.contacts += usual
        record.verdict, record.why, record.ended_at = verdict.value, why, now
        if record.gap_upper_s is None and contacts is not None and contacts.widest is not None:
            record.gap_lower_s, record.gap_upper_s = contacts.widest
        if contacts is not None and record.accepted_at is not None:
            record.alive_s = max(0.0, self._surely_open_until(contacts) - record.accepted_at)
        self.enter("")
        self.observer.session_ended(record, self.settings.timeout_s)

    def _surely_open_until(self, contacts: ContactLog) -> float:
        """Return the last instant at which the chat was surely open: from its first Disconnect on it is not."""
        goodbye = self.goodbye_sent_at
        if goodbye is not None and self.record.goodbye_at is not None:
            return goodbye
        sure = contacts.sent if contacts.untold_gap is None else contacts.sent_before_untold
        return sure if goodbye is None else min(sure, goodbye)

    # -- requests and answers --------------------------------------------------------------------

    def _wake(self, stopped_at: Result, until: float) -> None:
        assert not isinstance(stopped_at, Exchange)
        if stopped_at is None:
            self.now = until  # waking later than that is the generator's lateness
        else:
            self.now, self.stopping = min(stopped_at, until), True  # what follows is due now

    def _ask(self, operation: str, fields: Mapping[str, str], due: float, content: bytes | None = None) -> Send:
        settings = self.settings
        timeout_s = settings.request_timeout_s
        self.observer.request_begun(operation)
        if operation == "GetMessages":
            timeout_s += settings.long_poll_s
        self._sending = send = Send(operation, fields, due, timeout_s, content)
        return send

    def _answered(self, exchange: Result) -> Exchange:
        """Record the result of the request under way."""
        send = self._sending
        assert isinstance(exchange, Exchange) and send is not None
        self._sending = None
        if exchange.stopping:
            self.stopping = True
        operation, due, sent, received = send.operation, send.due, exchange.sent_at, exchange.received_at
        held_s = self.settings.long_poll_s if operation == "GetMessages" else 0.0
        contacts = None if self._over else self.contacts
        reply = exchange.reply
        unusual = (
            operation != "GetMessages" or reply.outcome is not _FINE or held_s or exchange.resent or not reply.told
        )
        if unusual or contacts is None or sent is None:
            self._count_request(operation, 0 if sent is None else 1 + exchange.resent)
            self.recent.add(operation, due, sent, received, reply.outcome._value_)
            if contacts is None:
                self.observer.request_ended(operation, exchange, due=due)
            else:
                self._record_contact(contacts, operation, due, exchange, held_s)
        else:
            self.usual_refreshes += 1
            self.recent.add_refresh(due, sent, received)
            lateness = self._record_departure(contacts, due, exchange)
            if received - contacts.sent > self.settings.timeout_s:
                self._note_outlived(contacts, sent)
            self.observer.refresh_answered(received - sent, lateness, contacts.add_sure(exchange), received - due)
        if received - due > self._tick_s and operation == "GetMessages" and contacts is not None:
            self.observer.polls_skipped(received - due, self._tick_s, exchange.answered)
        self.ready = self.now = received
        if operation != "RequestChat":
            self._take(exchange, "position" in send.fields)
        return exchange

    def _count_request(self, operation: str, contacts: int) -> None:
        self.record.requests += 1
        self.record.polls += operation == "GetMessages"
        self.record.contacts += contacts

    def _record_departure(self, contacts: ContactLog, due: float, exchange: Exchange) -> float:
        lateness = contacts.add_departure(due, self.ready, exchange)
        if lateness > self.record.lateness_max_s:
            self.record.lateness_max_s = lateness
        return lateness

    def _record_contact(
        self, contacts: ContactLog, operation: str, due: float, exchange: Exchange, held_s: float
    ) -> None:
        """Record what a request other than a usual refresh shows about contacts and gaps."""
        lateness = self._record_departure(contacts, due, exchange)
        reply, gap = exchange.reply, None
        if exchange.resent:
            contacts.add_lost(exchange, held_s)
        if reply.outcome is _FINE:
            sent, timeout_s = exchange.sent_at, self.settings.timeout_s
            assert sent is not None
            since = None
            untold = None
            if held_s:
                # An answer without events does not prove a hold, however late it came: it may just have been slow.
                since = min(max(sent, self.transcript.released_after(reply.events)), exchange.received_at)
            if reply.told:
                self._note_outlived(contacts, sent)
            elif contacts.untold_gap is None and exchange.received_at - contacts.sent > timeout_s:
                # The chat may have been over: the success does not tell.
                untold = find_blame(contacts, timeout_s, sent)
                contacts.sent_before_untold = contacts.sent
            else:
                untold = contacts.untold_gap
            gap = contacts.add_sure(exchange, since)
            contacts.untold_gap = untold
        elif not reply.ended:
            contacts.add_failed(exchange, held_s)
        self.observer.request_ended(operation, exchange, lateness if operation == "GetMessages" else None, gap, due)

    def _note_outlived(self, contacts: ContactLog, sent: float) -> None:
        if not contacts.attempts and sent - contacts.received > self.settings.timeout_s:
            self.settings.server.outlived_timeout = True

    def _take(self, exchange: Exchange, asked: bool = True) -> None:
        """Take what an answer contains: keys, position, events. asked: the request carried our position."""
        reply, outcome, contacts = exchange.reply, exchange.reply.outcome, self.contacts
        assert contacts is not None
        if exchange.answered and exchange.sent_at is not None:
            self.clock.saw(exchange.received_at - exchange.sent_at)
        if outcome is _FINE or outcome is _ENDED:
            self.failures = self.late_failures = 0
        else:
            self.failures += 1
            self.late_failures += exchange.received_at > self.clock.contact_sent + self.settings.timeout_s
            self.record.failures += 1
        if outcome is not _FINE and (reply.errors or reply.still_open or reply.monitored is not None):
            self._note_causes(reply)
        state = "retrying" if self.failures else "held"
        if state != self._state and self._state != "leaving":
            self.enter(state)
        if outcome is _FINE:
            self.clock.contact_sent = contacts.sent
            if reply is self._taken:
                return  # the same object as last time: it contains nothing new
            self._take_keys(reply)
            self._taken = reply if asked and not reply.events else None
            self._cause, self._code = None, ""
            if not self._over:
                self.record.end_evidence = ""
        if reply.events or reply.next_position is not None:
            fresh = self._take_events(exchange, asked)
            opening = self._opening
            # Looked for in the answer to RequestChat and in the next one only: a Client who joins later is not us.
            if opening is not None and (self.transcript.synchronise(fresh, opening) or exchange is not opening):
                self._opening = None

    def _note_causes(self, reply: Reply) -> None:
        """Keep the cause of an end that an answer names, for the verdict and for the session's row."""
        if reply.cause is not None:
            self._cause, self._code = reply.cause, reply.code
        told = [f"error {code}" for code in reply.errors]
        if reply.still_open:
            told.append("chatEnded false")
        if reply.monitored is not None:
            told.append(f"monitored {str(reply.monitored).lower()}")
        self.record.end_evidence = ", ".join(told)
        self._taken = None  # The next success must clear this, even if it is the same object as the last one.

    def _take_keys(self, reply: Reply) -> None:
        keys = self._keys
        for name in ("chat_id", *KEYS):
            value, before = getattr(reply, name), keys.get(name)
            if value is None or value == before:
                continue
            keys[name] = value
            self._refresh_position = -1
            if before is not None and name == "secure_key":
                self.observer.key_replaced()
                self.settings.server.replaces_keys = True
            elif before is not None and name == "alias":
                self.transcript.moved()

    def _take_events(self, exchange: Exchange, asked: bool) -> list[Event]:
        asked = asked and self.persona.reads_next_position
        fresh = self.transcript.read(exchange.reply, exchange.received_at, asked)
        for event in fresh:
            if event.who == "Agent":
                self.customer.heard(event.kind, exchange.received_at)
                self.record.messages_received += event.kind == "Message"
        if self.transcript.handed_on:
            self.settings.server.hands_chats_on = True
        if self.hooks is not None and self.visitor is not None:
            for event in fresh:
                self.hooks.on_event(self.visitor, event)
            if self.visitor.is_leaving:
                self.customer.end_at = min(self.customer.end_at, exchange.received_at)
        return fresh
