"""One simulated chat: its transcript, its clocks, what is planned in it. Advanced to an instant on demand."""

from __future__ import annotations

from heapq import heappop, heappush
from math import ceil
from typing import Any

from chatload.simulator.model import inactivity, keys, participants
from chatload.simulator.model.answer import Hold
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.draws import Draws
from chatload.simulator.model.files import Files
from chatload.simulator.model.keys import KeyRing, KeyState
from chatload.simulator.model.ledger import LedgerEntry
from chatload.simulator.model.participants import Participant, Plan
from chatload.simulator.model.reasons import attributes, removes
from chatload.simulator.model.stamps import Stamps

NEVER = float("inf")
#: Ends after which the transcript says that the customer left.
_CUSTOMER_LEAVES = frozenset({"expired", "disconnected", "early"})
#: Ends after which it says so at some servers only.
_CUSTOMER_IS_REMOVED = frozenset({"agent", "idle"})

_UNREGISTERED = "user-register-timeout"
#: How many places of a transcript one event takes: kind, who, instant, and what goes with it (_Words). In one list
#: they take half the memory of objects of their own, and there are many.
_EVENT = 4
#: An event's text, or its text and further members of its JSON.
_Words = str | tuple[str | None, dict[str, Any]] | None


class SimulatedChat(Draws):
    """A chat on the server. `advance` first, then act; everything happens in order of time. It draws what is random
    in it itself: a Draws beside each would be one object more of many.

    others: who is there besides the customer. awaited: the customer spoke and no agent was there.
    hold: the GetMessages that is held, if one is. user: the flex user's id; email: set where it names
    that user. events: how many are in the transcript. draft: what the customer is typing, as far as known.
    due, settled: the service's own notes, when it looks at this chat next and whether it has counted its end.
    """

    __slots__ = (
        "_agenda", "_alerts", "_held_contact", "_key", "_keys", "_last_contact", "_last_words", "_planned",
        "_stamps", "_transcript", "_utc_offset", "awaited", "config", "customer", "draft", "due", "email", "entry",
        "files", "hold", "others", "read_position", "settled", "typing", "user", "user_data",
    )  # fmt: skip

    def __init__(
        self,
        config: SimulatorConfig,
        entry: LedgerEntry,
        seed: str,
        utc_offset: float,
        nickname: str,
        stamps: Stamps | None = None,
    ) -> None:
        self.config, self.entry = config, entry
        super().__init__(seed)
        self.user = f"{self.bits():016X}"
        self._key = keys.new_key(self)
        self._keys = KeyRing(self._key, entry.started_at) if keys.rotate(config) else None
        self.customer = participants.customer(nickname)
        self._transcript: list[Any] = []
        self.others: tuple[Participant, ...] = ()
        self.awaited = self.typing = self.settled = False
        self.draft = self.email = ""
        self.user_data: dict[str, str] | None = None
        self.files: Files | None = None
        self.read_position = 0
        self.hold: Hold | None = None
        self.due = NEVER
        self._held_contact = 0
        self._utc_offset, self._stamps = utc_offset, stamps
        self._agenda: list[tuple[float, int, Plan, Participant | None]] | None = None
        self._planned = 0
        self._last_contact = entry.started_at
        self.stir(entry.started_at)

    # -- what the customer's requests do -----------------------------------------------------------

    def contact(self, now: float, operation: str) -> None:
        """A protocol request that resets the flex-disconnect-timeout clock."""
        self._last_contact = now
        self.entry.contact(now, operation, self.hold is not None)

    def keep_waiting(self, now: float, hold: Hold) -> None:
        """Hold the request that just made contact; one that was held before is let go."""
        self.release(now)
        self.hold, self._held_contact = hold, self.entry.contacts - 1

    def release(self, now: float) -> None:
        """No request is held any more: the silence counts from here."""
        if self.hold is None:
            return
        self.hold = None
        if not self.ended:
            self._last_contact = now
            self.entry.released(self._held_contact, now)

    def said(self, now: float, text: str, more: dict[str, Any] | None = None) -> None:
        """The customer sent a message; whoever is there will answer, or the first agent to come."""
        self.typing, self.draft = False, ""
        self.speak(now, self.customer, "Message", text, more)
        participants.heard(self, now)

    def end(self, now: float, reason: str, detail: str = "") -> None:
        """The chat is over."""
        if self.hold is not None:
            self.entry.released(self._held_contact, now)
        self.entry.ended_at, self.entry.end_reason, self.entry.detail = now, reason, detail
        leaves = reason in _CUSTOMER_LEAVES or (reason in _CUSTOMER_IS_REMOVED and removes(self.config))
        if leaves and self.config.customer_left_told:
            self.event(now, "ParticipantLeft", self.customer, more=attributes(self.config, reason, detail))
        self._agenda = None

    def close_idle(self, at: float) -> None:
        """Inactivity control closes the chat."""
        if self.config.idle_close_told:
            self.event(at, "IdleClose", participants.SYSTEM, "IDLE_CONTROL_CLOSE")
        self.end(at, "idle")

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.entry.ended_at is not None

    @property
    def dropped(self) -> bool:
        """Whether it ended because its client sent nothing for too long."""
        return self.entry.end_reason == "expired" or self.entry.detail == _UNREGISTERED

    # -- time --------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Let everything happen that was due by `now`; a contact at `now` itself is still in time."""
        entry = self.entry
        while entry.ended_at is None:
            deadline = self._deadline()
            agenda = self._agenda
            planned = agenda[0][0] if agenda else NEVER
            idle = self._idle_at
            due = min(deadline, planned, idle)
            if due > now or (due == now and due == deadline):
                return
            if agenda and due == planned:
                at, _, plan, who = heappop(agenda)
                if not agenda:
                    self._agenda = None
                participants.act(self, at, plan, who)
            elif due == idle:
                self._idle(idle)
            else:
                self._drop(deadline)

    def next_act(self) -> float:
        """When something happens in it next without any request, its being dropped left aside."""
        if self.ended:
            return NEVER
        planned = self._agenda[0][0] if self._agenda else NEVER
        return min(planned, self._idle_at)

    def next_due(self) -> float:
        """When something happens in it next without any request."""
        return NEVER if self.ended else min(self._deadline(), self.next_act())

    def plan(self, at: float, what: Plan, who: Participant | None = None) -> None:
        """`who` does `what` at an instant, unless the chat is over by then."""
        self._planned += 1
        if self._agenda is None:
            self._agenda = []
        heappush(self._agenda, (at, self._planned, what, who))

    # -- the transcript ----------------------------------------------------------------------------

    def event(
        self, now: float, kind: str, who: Participant, text: str | None = None, more: dict[str, Any] | None = None
    ) -> None:
        """Add to the transcript; indices count from 1."""
        self._transcript += (kind, who, now, (text, more) if more else text)

    def speak(self, now: float, who: Participant, kind: str, text: str, more: dict[str, Any] | None = None) -> None:
        """An event that is speech, so that inactivity control begins anew."""
        self.event(now, kind, who, text, more)
        self.stir(now)

    def stir(self, now: float) -> None:
        """Inactivity control begins anew."""
        self._last_words, self._alerts = now, 0

    def events_from(self, position: int) -> list[dict[str, Any]]:
        """The transcript's events from an index on, as JSON."""
        log = self._transcript
        items = [
            self._payload(index, *log[at : at + _EVENT])
            for index, at in enumerate(range((position - 1) * _EVENT, len(log), _EVENT), position)
        ]
        if self._stamps is not None:
            for item in items:
                self._stamps.apply(item, log[item["index"] * _EVENT - 2], self.entry)
        return items

    def notice(self, now: float, text: str, user_data: dict[str, str]) -> dict[str, Any]:
        """A Notice for the customer alone: it is not in the transcript and has no index."""
        payload = self._payload(0, "Notice", self.customer, now, (text, {"userData": user_data}))
        if self._stamps is not None:
            self._stamps.apply(payload, now, self.entry)
        del payload["index"]
        return payload

    @property
    def events(self) -> int:
        """How many events the transcript has."""
        return len(self._transcript) // _EVENT

    def agents(self) -> set[int]:
        """The numbers of all agents who did anything in it."""
        return {who.number for who in self._transcript[1::_EVENT] if who.kind == "Agent"}

    # -- keys --------------------------------------------------------------------------------------

    def check_key(self, shown: str | None, now: float) -> KeyState:
        """What the secureKey a request shows is worth."""
        if self._keys is not None:
            return self._keys.check(shown, now)
        return KeyState.GOOD if shown == self._key else KeyState.WRONG

    def give_key(self, now: float) -> str:
        """The secureKey to put into an answer."""
        return self._key if self._keys is None else self._keys.give(self.config, now, self)

    # -- inside ------------------------------------------------------------------------------------

    def _deadline(self) -> float:
        """When it is dropped if nothing comes: at the first look that finds it silent for too long.

        A request that is held is a contact until it is let go.
        """
        config, last = self.config, self._last_contact
        if self.hold is not None:
            last = max(last, self.hold.until)
        deadline = last + (config.flex_disconnect_timeout_s or NEVER)
        if config.user_register_timeout_s and self.entry.contacts <= 1:
            deadline = min(deadline, self.entry.started_at + config.user_register_timeout_s)
        every = config.sweep_interval_s
        return max(deadline, ceil(deadline / every) * every) if every and deadline < NEVER else deadline

    @property
    def _idle_at(self) -> float:
        return inactivity.due(self.config, self._last_words, self._alerts)

    def _payload(self, index: int, kind: str, who: Participant, at: float, words: _Words) -> dict[str, Any]:
        """An event's JSON, with the names of gms-v2."""
        item: dict[str, Any] = {
            "from": {"nickname": who.nickname, "participantId": who.number, "type": who.kind},
            "index": index,
            "type": kind,
            "utcTime": int((self._utc_offset + at) * 1000),
        }
        text, more = words if type(words) is tuple else (words, {})
        if text is not None:
            item["text"] = text
        item.update(more)
        return item

    def _drop(self, at: float) -> None:
        timeout = self.config.flex_disconnect_timeout_s or NEVER
        if at < self._last_contact + timeout:
            # Not the flex-disconnect-timeout's doing: by that clock it ended before its deadline.
            self.end(at, "early", _UNREGISTERED)
        else:
            self.end(at, "expired")

    def _idle(self, at: float) -> None:
        if inactivity.closes(self.config, self._alerts):
            self.close_idle(at)
        else:
            self._alerts += 1
            self.event(at, "IdleAlert", participants.SYSTEM, "IDLE_CONTROL_ALERT")
