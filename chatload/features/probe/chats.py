"""What each chat of a probe does: generators that yield Send or WaitUntil and receive an Exchange or the time.

Every chat is opened and refreshed once, because a server may drop a chat earlier that was never refreshed. GetMessages
asks for the whole transcript each time: a server does not hold such a request, and the transcript has its timestamps.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, TypeVar

from chatload.chat.effects import Exchange, Send
from chatload.chat.transcript import Transcript
from chatload.features.probe.bounds import ObservedSilence, SilenceWatch, TimeSpan
from chatload.features.probe.evidence import OPERATIONS, KnownCheck, ProbeEvidence
from chatload.protocol.operations import KEYS
from chatload.vocabulary import TELL_THE_END, Outcome

_Result = TypeVar("_Result")
Script = Generator["Send | WaitUntil", Any, _Result]

_RETRIABLE = frozenset({Outcome.UNSUCCESSFUL, Outcome.VIOLATION})
_OPENING_TRIES, _TRIES, _GOODBYES, _NARROWINGS = 5, 8, 3, 3
_BACKOFF_S = 0.05
#: The least timeout there is [opt] (seconds).
_LEAST_S = 1.0
_INTRODUCTION = {"nickname": "chatload probe", "subject": "chatload probe"}
#: This many dropped chats are asked repeatedly whether they are still known, at intervals of this part of their age.
_ASKED_ON, _AGE_STEP, _LEAST_STEP_S = 4, 0.2, 0.25


class WaitUntil(NamedTuple):
    """Sleep until the instant that `when` returns, which new evidence may change."""

    when: Callable[[], float]


def _at(instant: float) -> WaitUntil:
    return WaitUntil(lambda: instant)


class ProbeChat:
    """One chat. opened: the server accepted it. living: it is open and answers. ended: the server said so. drop: the
    silence that ended it."""

    def __init__(self, number: int, board: ProbeEvidence) -> None:
        self.number, self.board = number, board
        self.living = self.opened = self.asked = self.ended = self.lost = False
        self.drop: ObservedSilence | None = None
        self._silence: ObservedSilence | None = None
        self.watch: SilenceWatch  # its contacts and silences, once it was opened
        self.rung: float | None = None
        self.verifies = False
        self.refresh_at = float("inf")
        self._witness, self._lot, self._draws = True, 0.0, 0
        self._transcript = Transcript(board.server_clock)
        self._keys: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Whether it was not yet asked after its first silence."""
        return not (self.asked or self.ended or self.lost)

    def keep_silent(self, at: float, rung: float | None, draw: Callable[[], float]) -> Script[None]:
        """Stay silent, then ask whether the chat lives, repeatedly until it is dropped; then ask whether it is known.

        rung: length of the first silence (seconds); None: until other chats have bounded the timeout.
        """
        board, self.rung = self.board, rung
        if not (yield from self._open(at)):
            return
        self._lot = self._draw(draw)
        while self.living:
            yield WaitUntil(
                lambda: min(self.refresh_at, board.ask_at(self.watch.contact, self.rung, self.verifies, self._lot))
            )
            self.rung, self.verifies, self.asked, self._lot = None, False, True, self._draw(draw)
            self.refresh_at = float("inf")
            yield from self._settle()
        if self.drop is not None and board.counts["asked_on"] < _ASKED_ON:
            board.counts["asked_on"] += 1
            yield from self._stay_known(self.drop, board.known)

    def keep_doing(self, at: float, name: str) -> Script[None]:
        """Send one operation only; after longer than the timeout, ask whether the chat lives."""
        board, self._witness = self.board, False
        if not (yield from self._open(at)):
            return
        operation, fields, expected = OPERATIONS[name]
        while self.living and not board.decided(name):
            since, pause, before, last = self.watch.since, board.pause_s(None), float("-inf"), float("-inf")
            while True:
                now = yield self._next_of(since, pause)
                if now >= board.lapsed_at(since):
                    yield from self._find()
                    break
                exchange = yield self._request(operation, fields)
                if exchange.reply.ended:
                    # The answer to another operation has no transcript to say why.
                    yield from self._find()
                    break
                if exchange.reply.outcome is not expected or exchange.sent_at is None:
                    if name == "failed_request" and exchange.reply.outcome is Outcome.FINE:
                        board.taken.add(name)
                        return
                    self._unclear(exchange)
                    break
                self._keep(exchange)
                before, last = last, exchange.sent_at
                pause = board.pause_s(pause)
            self._judge_trial(name, since, before)
            if self.living:
                yield from self._settle()

    def leave_early(self, at: float) -> Script[None]:
        """Disconnect at once, then ask repeatedly whether the chat is known."""
        self._witness = False
        if not (yield from self._open(at)):
            return
        for _ in range(_TRIES):
            exchange = yield self._request("Disconnect", {})
            if exchange.reply.ended and exchange.sent_at is not None:
                self.living, self.ended = False, True
                self._keep(exchange)
                # Sooner after a contact than any timeout it was not dropped but did end by this.
                asked, contact = TimeSpan(exchange.sent_at, exchange.received_at), self.watch.contact
                if exchange.reply.outcome is Outcome.ENDED and asked.latest < contact.earliest + _LEAST_S:
                    end = ObservedSilence(self.number, contact, asked.earliest, asked.latest, asked)
                    yield from self._stay_known(end, self.board.left_known)
                return
            self._unclear(exchange)
            yield from self._settle()
            if not self.living:
                return

    def say_goodbye(self) -> Script[None]:
        for _ in range(_GOODBYES):
            exchange = yield self._request("Disconnect", {})
            if exchange.reply.ended:
                self.living, self.ended = False, True
                return

    def _draw(self, draw: Callable[[], float]) -> float:
        """Return a random number from 0 to 1, alternately below and above 0.5, within a chat and between chats."""
        self._draws += 1
        return (draw() + (self.number + self._draws) % 2) / 2

    def _next_of(self, since: TimeSpan, pause: float) -> WaitUntil:
        return WaitUntil(lambda: min(since.earliest + pause, self.board.lapsed_at(since)))

    def _open(self, at: float) -> Script[bool]:
        yield _at(at)
        for attempt in range(_OPENING_TRIES):
            exchange = yield self._request("RequestChat", _INTRODUCTION)
            reply = exchange.reply
            if reply.outcome is Outcome.FINE and reply.chat_id and exchange.sent_at is not None:
                self.living = self.opened = True
                self.board.counts["opened"] += 1
                self.watch = SilenceWatch(self.number, exchange)
                self._keep(exchange)
                yield from self._settle()
                return self.living
            # A RequestChat that the server may have taken is never sent twice: that would open a second chat.
            if reply.outcome not in _RETRIABLE and exchange.sent_at is not None:
                break
            # An answer of statusCode 1 does not exclude that a chat was opened.
            if not self.board.room:
                break
            self.board.retried += 1
            yield _at(exchange.received_at + _BACKOFF_S * 2.0**attempt)
        self.lost = True
        self.board.counts["not_opened"] += 1
        self.board.refusal = reply.detail
        return False

    def _settle(self) -> Script[None]:
        """Ask until the contact is known narrowly enough: it begins a silence."""
        for _ in range(_NARROWINGS):
            yield from self._find()
            if not self.living or self.board.narrow(self.watch.contact):
                return

    def _find(self) -> Script[None]:
        """Ask until it is clear whether the chat lives."""
        for attempt in range(_TRIES):
            exchange = yield self._request("GetMessages", {"position": "1"})
            if exchange.reply.ended:
                self._end(exchange)
                return
            if exchange.reply.outcome is Outcome.FINE and exchange.sent_at is not None:
                self._keep(exchange)
                self._silence = self.watch.alive(exchange)
                if self._witness:
                    self.board.add(self._silence)
                return
            self._unclear(exchange)
            yield _at(exchange.received_at + (_BACKOFF_S * 2.0**attempt if attempt else 0.0))
        self.lost, self.living = True, False

    def _stay_known(self, end: ObservedSilence, checks: list[KnownCheck]) -> Script[None]:
        """Ask whether the ended chat is still known, until it is not; add each answer to `checks`."""
        assert end.ended_by is not None
        limit = self.board.settings.ended_for_s or float("inf")
        asked = end.found.latest
        while asked - end.ended_by < limit:
            yield _at(asked + max(_LEAST_STEP_S, _AGE_STEP * (asked - end.ended_by)))
            exchange = yield self._request("GetMessages", {"position": "1"})
            asked, outcome = exchange.received_at, exchange.reply.outcome
            if outcome in TELL_THE_END and exchange.sent_at is not None:
                self._keep(exchange)
                known = outcome is Outcome.ENDED
                checks.append(KnownCheck(end, TimeSpan(exchange.sent_at, asked), known))
                if not known:
                    return

    def _request(self, operation: str, fields: dict[str, str]) -> Send:
        return Send(operation, {**self._keys, **fields}, 0.0, self.board.settings.request_timeout_s)

    def _keep(self, exchange: Exchange) -> None:
        """Take the newest keys and the events of an answer."""
        for name in ("chat_id", *KEYS):
            value = getattr(exchange.reply, name)
            if value is not None:
                self._keys[name] = value
        fresh = self._transcript.read(exchange.reply, exchange.received_at)
        if self._transcript.joined_ms is None:
            self._transcript.synchronise(fresh, self.watch.opening)

    def _unclear(self, exchange: Exchange) -> None:
        self.board.counts["unclear"] += 1
        self.watch.unclear(exchange)

    def _end(self, exchange: Exchange) -> None:
        """Record an end: caused by silence, unless the transcript shows another reason."""
        self.living, self.ended = False, True
        self._keep(exchange)
        by = self._transcript.ended_by(True)
        if by in ("agent", "idle", "either"):
            self.board.counts["idle" if by == "idle" else "agent"] += 1
            return
        left = self._transcript.left_at(self.watch.contact.earliest, exchange.received_at)
        self.drop = self.watch.ended(exchange, None if left is None else TimeSpan(*left))
        if self._witness:
            self.board.add(self.drop)
            known = exchange.reply.outcome is not Outcome.UNRECOVERABLE
            self.board.known.append(KnownCheck(self.drop, self.drop.found, known))

    def _judge_trial(self, name: str, since: TimeSpan, before: float) -> None:
        """Record what a chat shows that was kept alive by one operation, after it was asked or found ended.

        before: when the last operation but one left. The last one may have met a transient fault and not have been
        a contact; that both did is unlikely.
        """
        if self.living and self._silence is not None and self._silence.since is since:
            self.board.outlived[name].append(self._silence.survived_s)
        elif self.drop is not None:
            self.board.lapsed[name].append(self.drop.found.latest - before)
