"""One probe, sans-IO: `take` what is to be sent now, `receive` what became of it, until it is `over`."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from chatload.chat.effects import Exchange, Send
from chatload.features.probe.board import Board, Phase
from chatload.features.probe.chats import ProbeChat, Script, Until
from chatload.features.probe.settings import APART_S, OPERATIONS, ProbeSettings

_INF = float("inf")
#: Chats that look at the edge together, and how far apart they begin, as a part of the timeout: so many of
#: them, or of those there are, find where it is; then others, close together, bound it from both sides. Under a
#: coarse sweep that would be one look for all.
_COHORT, _ENOUGH, _WIDE, _CLOSE = 16, 8, 0.02, 0.005
#: Refining may take this many timeouts, the operations after that so many, each this long besides (seconds).
_REFINING, _HURRYING, _REFINING_S = 2.6, 1.3, 3.0
#: Chats that check on a single drop.
_VERIFIERS = 3
#: Who has waited for an answer for so long is not waited for (seconds).
_PATIENCE_S = 1.0
#: How long the goodbyes may take (seconds).
GOODBYE_S = 5.0


class Order(NamedTuple):
    """A request to be sent now, for a chat; one at a time for each."""

    chat: int
    send: Send


class Probe:
    """Runs its chats' scripts. A driver calls `take` at `due`, sends each order, and hands what became of it to
    `receive`. All instants are the driver's clock, seconds. Deterministic in (settings, instants, exchanges)."""

    def __init__(self, settings: ProbeSettings, now: float) -> None:
        self.settings, self.begun_at = settings, now
        self.board = Board(settings)
        self.chats: list[ProbeChat] = []
        self.interrupted = self.over = False
        self.ended_at = now
        self._random = Random(settings.seed)
        self._scripts: dict[int, Script[None]] = {}
        self._waiting: dict[int, Until] = {}
        self._wakes: dict[int, float] = {}
        self._version = 0
        self._flying: dict[int, float] = {}
        self._orders: list[Order] = []
        self._searchers: list[ProbeChat] = []
        self._limit = now + settings.time_allowed_s
        self._edge_at = now
        self._leaving = False
        self._goodbyes: set[int] = set()
        self._cohorts, self._gathered = 0, False
        self._first_round(now)

    def due(self) -> float:
        """When `take` has something to do next if nothing is received before."""
        if self._orders:
            return -_INF
        return min(self._limit, min(self._awake().values(), default=_INF))

    def take(self, now: float) -> list[Order]:
        """Everything to be sent now."""
        moved = True
        while moved:
            ready = [number for number, at in self._awake().items() if at <= now]
            for number in ready:
                del self._waiting[number], self._wakes[number]
                self._advance(number, now)
            moved = bool(ready) or self._govern(now)
        orders, self._orders = self._orders, []
        self._flying.update((order.chat, now) for order in orders)
        return orders

    def receive(self, number: int, exchange: Exchange) -> None:
        """What became of a chat's order."""
        self._flying.pop(number, None)
        if number in self._scripts:
            self._advance(number, exchange)

    def stop(self, now: float) -> None:
        """It is interrupted: only the goodbyes are left."""
        self.interrupted = True
        if not self._leaving:
            self._leave(now)

    # -- the chats ---------------------------------------------------------------------------------

    def _first_round(self, now: float) -> None:
        """Those silent until the edge is known first, then the longest silences: a chat that ends too soon
        is found out by those that have been silent for longer and live."""
        settings = self.settings
        for place in range(settings.silent):
            chat = self._search(now + len(self.chats) * APART_S, None)
            chat.verifies = place < _VERIFIERS
        for silence in settings.silences():
            self._search(now + len(self.chats) * APART_S, silence)
        for name in OPERATIONS:
            for _ in range(settings.operation_chats):
                chat = self._new_chat()
                self._begin(chat, chat.keep_doing(now + chat.number * APART_S, name))
        for _ in range(settings.disconnected):
            chat = self._new_chat()
            self._begin(chat, chat.leave_early(now + chat.number * APART_S))

    def _search(self, at: float, rung: float | None) -> ProbeChat:
        chat = self._new_chat()
        self._searchers.append(chat)
        self._begin(chat, chat.keep_silent(at, rung, self._random.random))
        return chat

    def _new_chat(self) -> ProbeChat:
        chat = ProbeChat(len(self.chats), self.board)
        self.chats.append(chat)
        self.board.chats += 1
        return chat

    def _begin(self, chat: ProbeChat, script: Script[None]) -> None:
        self._scripts[chat.number] = script
        self._advance(chat.number, None)

    def _advance(self, number: int, value: float | Exchange | None) -> None:
        script = self._scripts[number]
        try:
            step = next(script) if value is None else script.send(value)
        except StopIteration:
            del self._scripts[number]
            step = None
        chat = self.chats[number]
        if self._leaving and isinstance(value, Exchange) and number not in self._goodbyes:
            # What was under way when it was time to leave has been taken in; no more of that script.
            self._scripts.pop(number, script).close()
            self._part(chat)
        elif isinstance(step, Send):
            self._orders.append(Order(number, step))
        elif step is not None:
            self._waiting[number], self._wakes[number] = step, step.when()

    def _awake(self) -> dict[int, float]:
        """When each chat that waits is to go on: made anew where anything was learned since."""
        if self._version != self.board.version:
            self._version = self.board.version
            self._wakes = {number: until.when() for number, until in self._waiting.items()}
        return self._wakes

    # -- what the whole does next --------------------------------------------------------------------

    def _govern(self, now: float) -> bool:
        """Go on to the next phase where it is time; whether anything changed."""
        board = self.board
        if self._leaving:
            if not self.over and (now >= self._limit or not (self._scripts or self._flying)):
                self.over, self.ended_at = True, now
            return False
        if now >= self.begun_at + self.settings.time_allowed_s:
            self._leave(now)
            return True
        drops, searched = len(board.bounds.drops), self._searched
        if board.phase is Phase.SEARCHING:
            if drops >= 2 or (drops and searched):
                board.phase, self._edge_at = Phase.REFINING, now
                board.version += 1
                return True
            if searched and self._known_long_enough(now):
                self._leave(now)
                return True
            return False
        return self._refine(now)

    def _refine(self, now: float) -> bool:
        board, last = self.board, self.begun_at + self.settings.time_allowed_s
        decided = all(board.decided(name) for name in OPERATIONS)
        if board.good or board.hurried:
            if (decided or now >= self._edge_limit()) and self._known_long_enough(now):
                self._leave(now)
                return True
            self._limit = self._edge_limit() if now < self._edge_limit() else last
            return False
        self._limit = self._edge_limit()
        if self._more(now):
            return True
        if now >= self._limit or (self._searched and not any(chat.living for chat in self._searchers)):
            # What has been learned has to do; the operations get the time of one more timeout.
            board.hurried, self._edge_at = True, now
            board.version += 1
            return True
        return False

    def _edge_limit(self) -> float:
        """Until when the edge, and then the operations, are looked at."""
        board = self.board
        timeouts = _HURRYING if board.hurried else _REFINING
        timeout = min(board.bounds.upper_s + board.sweep.lower_s, self.settings.longest_s)
        return min(self._edge_at + timeouts * timeout + _REFINING_S, self.begun_at + self.settings.time_allowed_s)

    def _more(self, now: float) -> bool:
        """Send chats to look at the edge together, where those that have looked do not suffice: new ones, or,
        once there are no more to open, those that live; whether there were any."""
        if any(chat.pending and self._awaited(chat.number, now) for chat in self._searchers):
            return False
        upper = self.board.bounds.upper_s
        near = sum(chat.living and now < chat.contact.latest + upper for chat in self._searchers)
        wide = self.board.overlaps or (not self._cohorts and near < _ENOUGH)
        apart = (_WIDE if wide else _CLOSE) * upper
        fresh = min(_COHORT, self.board.room)
        for place in range(fresh):
            self._search(now + place * apart, None)
        living = [] if fresh or self._gathered else [chat for chat in self._searchers if chat.living]
        living.sort(key=lambda chat: -chat.contact.earliest)
        for place, chat in enumerate(living[:_COHORT]):
            chat.refresh_at, self._gathered = now + place * apart, True
            self.board.version += 1
        self._cohorts += 1
        return bool(fresh or living)

    def _awaited(self, number: int, now: float) -> bool:
        """Whether a chat is still going to be asked, or its answer may be here soon."""
        return number in self._waiting or now < self._flying.get(number, now) + _PATIENCE_S

    @property
    def _searched(self) -> bool:
        """Whether every chat that looks for the edge was asked once."""
        return not any(chat.pending for chat in self._searchers)

    def _known_long_enough(self, now: float) -> bool:
        """Whether ended chats have been asked for as long as was wished."""
        wished = self.settings.ended_for_s
        if not wished:
            return True
        asking = [chat for chat in self.chats if chat.ended and chat.number in self._scripts]
        return not asking and any(chat.ended for chat in self.chats)

    # -- leaving -------------------------------------------------------------------------------------

    def _leave(self, now: float) -> None:
        """Every chat that may be open says goodbye."""
        self._leaving, self._limit = True, now + GOODBYE_S
        self._waiting.clear()
        self._wakes.clear()
        self._orders.clear()
        for chat in self.chats:
            if chat.number in self._flying:
                continue
            if chat.number in self._scripts:
                self._scripts.pop(chat.number).close()
            self._part(chat)

    def _part(self, chat: ProbeChat) -> None:
        if chat.watch is not None and not chat.ended:
            self._goodbyes.add(chat.number)
            self._begin(chat, chat.say_goodbye())
