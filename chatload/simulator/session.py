"""One simulated chat: its transcript, its agent, its clocks. Advanced to an instant on demand."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from typing import Any

from chatload.simulator.config import SimulatorConfig
from chatload.simulator.ledger import LedgerEntry

_NEVER = float("inf")


class SimulatedChat:
    """A chat on the server. `advance` first, then act; everything happens in order of time."""

    def __init__(self, config: SimulatorConfig, entry: LedgerEntry, seed: str, utc_offset: float) -> None:
        self.config, self.entry = config, entry
        self.random = Random(seed)
        self.user_id = f"{self.random.getrandbits(64):016X}"
        self.secure_key = f"{self.random.getrandbits(64):016x}"
        self.transcript: list[dict[str, Any]] = []
        self.last_contact = entry.started_at
        self._utc_offset = utc_offset
        self._nickname = ""
        self._agenda: list[tuple[float, int, str]] = []
        self._planned = 0
        self._last_words = entry.started_at
        self._alerts = 0

    def open(self, nickname: str) -> None:
        """The customer is in; an agent will come."""
        now = self.entry.started_at
        self._nickname = nickname
        self.event(now, "ParticipantJoined", "Client", nickname)
        if self.config.agents:
            self._plan(now + self.random.uniform(*self.config.agent_wait_s), "join")

    def contact(self, now: float, operation: str) -> None:
        """A protocol request that resets the flex-disconnect-timeout clock."""
        self.last_contact = now
        self.entry.contacts.append((now, operation))

    def said(self, now: float, text: str) -> None:
        """The customer sent a message; an agent who is there will answer."""
        self._speak(now, "Client", self._nickname, text)
        if self.config.agents:
            self._plan(now + self.random.uniform(*self.config.agent_answer_s), "answer")

    def end(self, now: float, reason: str) -> None:
        """The chat is over."""
        self.entry.ended_at, self.entry.end_reason = now, reason
        if reason in ("expired", "disconnected", "early"):
            self.event(now, "ParticipantLeft", "Client", self._nickname)
        self._agenda.clear()

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.entry.ended_at is not None

    def advance(self, now: float) -> None:
        """Let everything happen that was due by `now`; a contact at `now` itself is still in time."""
        while not self.ended:
            expiry = self.last_contact + self.config.flex_disconnect_timeout_s
            idle = self._next_idle()
            agent = self._agenda[0][0] if self._agenda else _NEVER
            due = min(expiry, idle, agent)
            if due > now or (due == now and due == expiry):
                return
            if due == agent:
                self._agent_acts(heappop(self._agenda))
            elif due == idle:
                self._idle(idle)
            else:
                self.end(expiry, "expired")

    def event(self, now: float, kind: str, who: str, nickname: str, text: str | None = None) -> None:
        """Add to the transcript; indices count from 1."""
        item: dict[str, Any] = {
            "from": {"nickname": nickname, "participantId": 2 if who == "Agent" else 1, "type": who},
            "index": len(self.transcript) + 1,
            "type": kind,
            "utcTime": int((self._utc_offset + now) * 1000),
        }
        if text is not None:
            item["text"] = text
        self.transcript.append(item)

    def _plan(self, at: float, what: str) -> None:
        self._planned += 1
        heappush(self._agenda, (at, self._planned, what))

    def _agent_acts(self, planned: tuple[float, int, str]) -> None:
        at, _, what = planned
        config = self.config
        joined = any(item["from"]["type"] == "Agent" for item in self.transcript)
        if what == "join":
            self.event(at, "ParticipantJoined", "Agent", "agent")
            self._last_words, self._alerts = at, 0
            if self.random.random() < config.agent_leaves_chance:
                self._plan(at + self.random.uniform(*config.agent_leaves_after_s), "leave")
        elif what == "leave":
            self.event(at, "ParticipantLeft", "Agent", "agent")
            self.end(at, "agent")
        elif joined:
            self._speak(at, "Agent", "agent", "I see.")

    def _speak(self, at: float, who: str, nickname: str, text: str) -> None:
        self.event(at, "Message", who, nickname, text)
        self._last_words, self._alerts = at, 0

    def _next_idle(self) -> float:
        """When inactivity control next acts: alert, alert2 (where on), close."""
        config = self.config
        if not config.idle_alert_s:
            return _NEVER
        waits = [config.idle_alert_s]
        if config.idle_alert2_s:
            waits.append(config.idle_alert2_s)
        waits.append(config.idle_close_s or _NEVER)
        return self._last_words + sum(waits[: self._alerts + 1])

    def _idle(self, at: float) -> None:
        alerts = 2 if self.config.idle_alert2_s else 1
        if self._alerts < alerts:
            self._alerts += 1
            self.event(at, "IdleAlert", "External", "system")
        else:
            self.event(at, "IdleClose", "External", "system")
            self.end(at, "idle")
