"""One probe, sans-IO: `take` the requests to send now, `receive` their results, until it is `over`."""

from random import Random
from typing import NamedTuple

from chatload.chat.effects import Exchange, Send
from chatload.features.probe.chats import ProbeChat, Script, WaitUntil
from chatload.features.probe.evidence import APART_S, OPERATIONS, ProbeEvidence, ProbeSettings

_INF = float("inf")
#: Chats that test the timeout together, and how far apart they begin, as a part of the timeout. A first group, wide
#: apart, finds it; further groups, close together, bound it from both sides. If the sweep is coarse, groups stay wide
#: apart: otherwise one examination would end them all.
_COHORT, _ENOUGH, _WIDE, _CLOSE = 16, 8, 0.02, 0.005
#: Refining may take this many timeouts, the operations after it this many, and each this long more (seconds).
_REFINING, _HURRYING, _REFINING_S = 2.6, 1.3, 3.0
#: Chats that confirm a single drop.
_VERIFIERS = 3
#: Replies pending longer than this are not waited for (seconds).
_PATIENCE_S = 1.0
#: How long the goodbyes may take (seconds).
GOODBYE_S = 5.0


class ProbeRequest(NamedTuple):
    """A request to send now for a chat; one at a time for each chat."""

    chat: int
    send: Send


class Probe:
    """Runs the scripts of its chats. A driver calls `take` at `due`, sends each request and passes its result to
    `receive`.

    All instants are the driver's clock, seconds. Deterministic in (settings, instants, exchanges).

    jumped_s: by how much other clocks of the machine went on more than the driver's (seconds), 0 if that
    does not count; the driver sets it.
    """

    def __init__(self, settings: ProbeSettings, now: float) -> None:
        self.settings, self.begun_at = settings, now
        self.board = ProbeEvidence(settings)
        self.chats: list[ProbeChat] = []
        self.interrupted = self.over = False
        self.jumped_s = 0.0
        self.ended_at = now
        self._random = Random(settings.seed)
        self._scripts: dict[int, Script[None]] = {}
        self._waiting: dict[int, WaitUntil] = {}
        self._flying: dict[int, float] = {}
        self._orders: list[ProbeRequest] = []
        self._searchers: list[ProbeChat] = []
        self._last = self._limit = now + settings.time_allowed_s
        self._edge_at = now
        self._leaving = False
        self._goodbyes: set[int] = set()
        self._cohorts, self._gathered = 0, False
        self._first_round(now)

    def due(self) -> float:
        """Return when `take` must be called next if nothing is received before."""
        if self._orders:
            return -_INF
        return min([self._limit, *(until.when() for until in self._waiting.values())])

    def take(self, now: float) -> list[ProbeRequest]:
        """Return everything to send now."""
        moved = True
        while moved:
            ready = [number for number, until in self._waiting.items() if until.when() <= now]
            for number in ready:
                del self._waiting[number]
                self._advance(number, now)
            moved = bool(ready) or self._govern(now)
        orders, self._orders = self._orders, []
        self._flying.update((order.chat, now) for order in orders)
        return orders

    def receive(self, number: int, exchange: Exchange) -> None:
        """Pass the result of a chat's request."""
        self._flying.pop(number, None)
        if number in self._scripts:
            self._advance(number, exchange)

    def stop(self, now: float) -> None:
        """Interrupt the probe: it only says its goodbyes."""
        self.interrupted = True
        if not self._leaving:
            self._leave(now)

    def _first_round(self, now: float) -> None:
        """Start the chats that stay silent until the timeout is bounded, then those with the longest silences.

        A chat that ends too early is recognised by chats that were silent for longer and live.
        """
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
            self._orders.append(ProbeRequest(number, step))
        elif step is not None:
            self._waiting[number] = step

    def _govern(self, now: float) -> bool:
        """Start the next phase when its time has come; return whether anything changed."""
        board = self.board
        if self._leaving:
            if not self.over and (now >= self._limit or not (self._scripts or self._flying)):
                self.over, self.ended_at = True, now
            return False
        if now >= self._last:
            self._leave(now)
            return True
        drops, searched = len(board.bounds.drops), self._searched
        if board.refining:
            return self._refine(now)
        if drops >= 2 or (drops and searched):
            board.refining, self._edge_at = True, now
            return True
        if searched and self._known_long_enough():
            self._leave(now)
            return True
        return False

    def _refine(self, now: float) -> bool:
        board = self.board
        decided = all(board.decided(name) for name in OPERATIONS)
        if board.good or board.hurried:
            if (decided or now >= self._edge_limit()) and self._known_long_enough():
                self._leave(now)
                return True
            self._limit = self._edge_limit() if now < self._edge_limit() else self._last
            return False
        self._limit = self._edge_limit()
        if self._more(now):
            return True
        if now >= self._limit or (self._searched and not any(chat.living for chat in self._searchers)):
            # The bounds stay as they are; the operations get the time of one more timeout.
            board.hurried, self._edge_at = True, now
            return True
        return False

    def _edge_limit(self) -> float:
        """Return until when the timeout, and then the operations, are tested."""
        board = self.board
        timeouts = _HURRYING if board.hurried else _REFINING
        timeout = min(board.bounds.upper_s + board.sweep.lower_s, self.settings.longest_s)
        return min(self._edge_at + timeouts * timeout + _REFINING_S, self._last)

    def _more(self, now: float) -> bool:
        """Start another group of chats that test the timeout, if needed; return whether any were started.

        New chats first; once no more may be opened, those that live.
        """
        if any(chat.pending and self._awaited(chat.number, now) for chat in self._searchers):
            return False
        upper = self.board.bounds.upper_s
        near = sum(chat.living and now < chat.watch.contact.latest + upper for chat in self._searchers)
        wide = self.board.overlaps or (not self._cohorts and near < _ENOUGH)
        apart = (_WIDE if wide else _CLOSE) * upper
        fresh = min(_COHORT, self.board.room)
        for place in range(fresh):
            self._search(now + place * apart, None)
        living = [] if fresh or self._gathered else [chat for chat in self._searchers if chat.living]
        living.sort(key=lambda chat: -chat.watch.contact.earliest)
        for place, chat in enumerate(living[:_COHORT]):
            chat.refresh_at, self._gathered = now + place * apart, True
        self._cohorts += 1
        return bool(fresh or living)

    def _awaited(self, number: int, now: float) -> bool:
        """Return whether a chat will still be asked, or its answer may arrive soon."""
        return number in self._waiting or now < self._flying.get(number, now) + _PATIENCE_S

    @property
    def _searched(self) -> bool:
        """Whether every chat that tests the timeout was asked once."""
        return not any(chat.pending for chat in self._searchers)

    def _known_long_enough(self) -> bool:
        """Return whether ended chats were asked for as long as requested."""
        if not self.settings.ended_for_s:
            return True
        ended = [chat.number for chat in self.chats if chat.ended]
        return bool(ended) and self._scripts.keys().isdisjoint(ended)

    def _leave(self, now: float) -> None:
        """Disconnect every chat that may be open."""
        self._leaving, self._limit = True, now + GOODBYE_S
        self._waiting.clear()
        self._orders.clear()
        for chat in self.chats:
            if chat.number in self._flying:
                continue
            if chat.number in self._scripts:
                self._scripts.pop(chat.number).close()
            self._part(chat)

    def _part(self, chat: ProbeChat) -> None:
        if chat.opened and not chat.ended:
            self._goodbyes.add(chat.number)
            self._begin(chat, chat.say_goodbye())
