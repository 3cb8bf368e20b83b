"""What every request of a chat carries, and what it leaves behind: in the books, the record and the trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from chatload.chat.draws import Draws
from chatload.chat.effects import Exchange, Result, Send
from chatload.chat.policy import RefreshClock
from chatload.chat.record import SessionRecord
from chatload.chat.script import Customer, CustomerScript
from chatload.chat.settings import SessionSettings
from chatload.chat.timeline import Recent, Timeline, severity
from chatload.chat.trail import Trail, blame, stalled_since
from chatload.chat.transcript import Transcript
from chatload.chat.verdict import EndEvidence, Finding, Goodbye, judge
from chatload.protocol.causes import EndCause
from chatload.protocol.reply import Event, Reply
from chatload.run.books import Books
from chatload.vocabulary import Blame, Outcome, Verdict

_FINE, _ENDED = Outcome.FINE, Outcome.ENDED  # an enum's attributes cost more than a global


class Bookkeeping:
    """One chat's facts, request by request; what to send when is for `ChatSession`."""

    __slots__ = (
        "_at", "_books", "_cause", "_clock", "_code", "_customer", "_extra", "_failures", "_file_id", "_goodbye_sent",
        "_keys", "_late_failures", "_merged", "_now", "_opening", "_over", "_position", "_ready", "_recent",
        "_refresh_due", "_sending", "_state", "_stopping", "_taken", "_trail", "_transcript", "_usual", "record",
        "settings",
    )  # fmt: skip

    def __init__(self, settings: SessionSettings, books: Books, seed: int, started_at: float) -> None:
        """started_at: now, on the driver's clock (seconds)."""
        self.settings = settings
        self.record = SessionRecord(started_at=started_at, group=settings.group)
        self._books = books
        self._customer = self._make_customer(settings.script, Draws(seed))
        self._transcript = Transcript(settings.server.clock, settings.agent_end_removes_customer)
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
        #: What the last answer that named one gave as the cause of an end, since the last success, and its code.
        self._cause: EndCause | None = None
        self._code = ""
        self._recent = Recent()
        #: Refreshes as they should be, which the record is told of in the end.
        self._usual = 0
        self._state = ""
        books.started += 1
        self._enter("opening")

    def _make_customer(self, script: CustomerScript, random: Draws) -> Customer:
        return Customer(script, random)

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

    # -- requests --------------------------------------------------------------------------------

    def _ask(self, operation: str, extra: Mapping[str, str], due: float, content: bytes | None = None) -> Send:
        """The effect that sends one operation; what it is answered by goes into `_answered`. Its fields are the keys
        and `extra`: the same object for as long as both are."""
        settings = self.settings
        timeout_s = settings.request_timeout_s
        if operation == "GetMessages":
            self._books.polls_begun += 1
            timeout_s += settings.long_poll_s
        else:
            self._books.begun(operation)
        if extra is not self._extra:
            self._extra, self._merged = extra, {**self._keys, **extra}
        self._sending = send = Send(operation, self._merged, due, timeout_s, content)
        return send

    def _answered(self, exchange: Result) -> Exchange:
        """Book everything about the request under way, which has ended so."""
        send = self._sending
        assert isinstance(exchange, Exchange) and send is not None
        self._sending = None
        if exchange.stopping:
            self._stopping = True
        operation, due, sent, received = send.operation, send.due, exchange.sent_at, exchange.received_at
        held_s = self.settings.long_poll_s if operation == "GetMessages" else 0.0
        trail = None if self._over else self._trail
        reply = exchange.reply
        unusual = (
            operation != "GetMessages" or reply.outcome is not _FINE or held_s or exchange.resent or not reply.told
        )
        if unusual or trail is None or sent is None:
            self._record_request(operation, 0 if sent is None else 1 + exchange.resent)
            self._recent.add(operation, due, sent, received, reply.outcome._value_)
            self._books.request(operation, exchange)
            if trail is not None:
                self._book_time(trail, operation, due, exchange, held_s)
        else:
            self._usual += 1
            self._recent.refreshed(due, sent, received)
            lateness = self._leaving(trail, due, exchange)
            if received - trail.sent > self.settings.timeout_s:
                self._outlive(trail, sent)
            self._books.refreshed(received - sent, lateness, trail.sure(exchange))
        self._ready = self._now = received
        if operation != "RequestChat":
            self._take(exchange, "position" in send.fields)
        return exchange

    def _record_request(self, operation: str, contacts: int) -> None:
        record = self.record
        record.requests += 1
        record.polls += operation == "GetMessages"
        record.contacts += contacts

    def _leaving(self, trail: Trail, due: float, exchange: Exchange) -> float:
        """Book the time up to a request's first byte; its lateness (seconds)."""
        lateness = trail.leaving(due, self._ready, exchange)
        if lateness > self.record.lateness_max_s:
            self.record.lateness_max_s = lateness
        return lateness

    def _book_time(self, trail: Trail, operation: str, due: float, exchange: Exchange, held_s: float) -> None:
        lateness = self._leaving(trail, due, exchange)
        if operation == "GetMessages":
            self._books.late(lateness)
        if exchange.resent:
            trail.resent(exchange, held_s)
        if exchange.reply.outcome is _FINE:
            since = self._contact_from(exchange, held_s) if held_s else None
            if exchange.reply.told:
                self._outlive(trail, exchange.sent_at or exchange.received_at)
                self._books.closed(trail.sure(exchange, since))
            else:
                self._book_untold(trail, exchange, since)
        elif not exchange.reply.ended:
            trail.failed(exchange, held_s)

    def _outlive(self, trail: Trail, sent: float) -> None:
        """A request that left at `sent` was answered: the chat goes on. Note where no server should let it."""
        if not trail.attempts and sent - trail.received > self.settings.timeout_s:
            self.settings.server.outlived_timeout = True

    def _book_untold(self, trail: Trail, exchange: Exchange, since: float | None) -> None:
        """Book a success without chatEnded: after a silence that was too long, the chat may have been over by then."""
        timeout_s, sent = self.settings.timeout_s, exchange.sent_at
        assert sent is not None
        untold = trail.untold_gap
        if untold is None and exchange.received_at - trail.sent > timeout_s:
            untold = blame(trail, timeout_s, sent)
        self._books.closed(trail.sure(exchange, since))
        trail.untold_gap = untold

    def _contact_from(self, exchange: Exchange, held_s: float) -> float:
        """The earliest instant at which a success that may have been held was released."""
        assert exchange.sent_at is not None
        # That it told nothing for as long as the server holds proves no hold: the answer may have been slow.
        released = self._transcript.released_after(exchange.reply)
        return min(max(exchange.sent_at, released), exchange.received_at)

    def _take(self, exchange: Exchange, asked: bool = True) -> None:
        """Keep what an answer gives: newest keys, position, events; count failures in a row."""
        reply, outcome, trail = exchange.reply, exchange.reply.outcome, self._trail
        assert trail is not None
        if exchange.answered and exchange.sent_at is not None:
            self._clock.saw(exchange.received_at - exchange.sent_at)
        if outcome is _FINE or outcome is _ENDED:
            self._failures = self._late_failures = 0
        else:
            self._failures += 1
            self._late_failures += exchange.received_at > self._clock.contact_sent + self.settings.timeout_s
            self.record.failures += 1
        if outcome is not _FINE and (reply.errors or reply.still_open or reply.monitored is not None):
            self._note_causes(reply)
        state = "retrying" if self._failures else "held"
        if state != self._state and self._state != "leaving":
            self._enter(state)
        if outcome is _FINE:
            self._clock.contact_sent = trail.sent
            if reply is self._taken:
                return  # the very answer taken last: it has nothing new
            self._take_keys(reply)
            self._taken = reply if asked and not reply.events else None
            self._cause, self._code = None, ""
            if not self._over:
                self.record.end_evidence = ""
        if reply.events or reply.next_position is not None:
            fresh = self._take_events(exchange, asked)
            opening = self._opening
            # A Client who is told of first in a later answer is not the one who opened the chat.
            if opening is not None and (self._transcript.synchronise(fresh, opening) or exchange is not opening):
                self._opening = None

    def _note_causes(self, reply: Reply) -> None:
        """Keep what an answer names as the cause of an end, to judge by and for whoever reads the session's row."""
        if reply.cause is not None:
            self._cause, self._code = reply.cause, reply.code
        told = [f"error {code}" for code in reply.errors]
        if reply.still_open:
            told.append("chatEnded false")
        if reply.monitored is not None:
            told.append(f"monitored {str(reply.monitored).lower()}")
        self.record.end_evidence = ", ".join(told)
        self._taken = None  # a success takes this back, also where it is the very answer that was taken last

    def _take_keys(self, reply: Reply) -> None:
        """Keep the newest."""
        keys = self._keys
        for name in ("chat_id", "user_id", "secure_key", "alias"):
            value = getattr(reply, name)
            if value is not None and keys.get(name) != value:
                self._books.rotations += name == "secure_key" and name in keys
                if name == "alias" and name in keys:
                    self._transcript.moved()
                keys[name] = value
                self._extra = None

    def _take_events(self, exchange: Exchange, asked: bool = True) -> list[Event]:
        fresh = self._transcript.read(exchange.reply, exchange.received_at, asked)
        for event in fresh:
            if event.who == "Agent":
                self._customer.heard(event.kind, exchange.received_at)
        self.record.messages_received = self._transcript.agent_messages
        if self._transcript.handed_on:
            self.settings.server.hands_chats_on = True
        return fresh

    def _cursor(self) -> Mapping[str, str]:
        """Where to read on from: the same object for as long as that is."""
        position = self._transcript.position
        if position != self._position:
            self._position, self._at = position, {"position": str(position)}
        return self._at

    # -- the end ---------------------------------------------------------------------------------

    def _judge(self, exchange: Exchange, goodbye: Goodbye | None = None) -> Finding:
        """The verdict on a session that this answer says has ended; goodbye: our own Disconnect, if one had left."""
        assert self._trail is not None
        trail, transcript, settings, record = self._trail, self._transcript, self.settings, self.record
        received, sent = exchange.received_at, exchange.sent_at
        if exchange.reply.alias is not None and exchange.reply.alias != self._keys.get("alias"):
            transcript.moved()
        left = transcript.left_at(trail.sent, received) if transcript.left else None
        if transcript.left and transcript.quit_reason:
            reason = f"quit reason {transcript.quit_reason}"
            record.end_evidence = f"{record.end_evidence}, {reason}".lstrip(", ")
        if left is not None:
            record.end_silence_lower_s = max(0.0, left[0] - trail.received)
            record.end_silence_upper_s = left[1] - trail.sent
        return judge(
            EndEvidence(
                trail,
                transcript,
                exchange.reply.outcome,
                received if sent is None else sent,
                received,
                settings.timeout_s,
                settings.keeps_ended_s,
                self._books.rotations > 0,
                exchange.reply.told and not exchange.reply.still_open,
                settings.server,
                self._cause,
                self._code,
                left,
                goodbye,
            )
        )

    def _end(self, finding: Finding, exchange: Exchange) -> None:
        """Record a finding with its bounds, blame and the generator's own part."""
        assert self._trail is not None
        record, trail, timeout = self.record, self._trail, self.settings.timeout_s
        record.gap_lower_s, record.gap_upper_s = finding.lower_s, finding.upper_s
        record.learned_by = exchange.reply.outcome.value
        own = trail.shares.generator + stalled_since(exchange)
        record.generator_s = own
        if finding.verdict is Verdict.FAILED:
            self.settings.server.lost_in_time = True
        if finding.verdict is Verdict.DROPPED_LATE:
            sent = exchange.received_at if exchange.sent_at is None else exchange.sent_at
            before = trail.untold_gap if finding.upper_s <= timeout else None
            whose = before or blame(trail, timeout, sent)
            record.blame = whose.value
            record.generator_suspect = whose is Blame.GENERATOR
        elif finding.verdict is Verdict.DROPPED_UNPROVEN:
            record.generator_suspect = finding.upper_s - own - trail.stalled_s <= timeout < finding.upper_s
        self._close(finding.verdict, finding.why, exchange.received_at)

    def _close(self, verdict: Verdict, why: str, now: float) -> None:
        record, usual = self.record, self._usual
        record.requests += usual
        record.polls += usual
        record.contacts += usual
        record.verdict, record.why, record.ended_at = verdict.value, why, now
        if record.gap_upper_s is None and self._trail is not None and self._trail.widest is not None:
            record.gap_lower_s, record.gap_upper_s = self._trail.widest
        self._enter("")
        self._books.session(record, self.settings.timeout_s)

    def _enter(self, state: str) -> None:
        """Book the move from one state to the next: opening, held, retrying, leaving, and none."""
        if state != self._state:
            self._books.moved(self._state, state)
            self._state = state
