"""The pure model of the chat service: sessions, faults, ledger. The clock is whoever calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chatload.simulator.answer import Answer, Hold
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import Fault, FaultPlan
from chatload.simulator.ledger import LedgerEntry
from chatload.simulator.session import SimulatedChat

#: 2023-11-14, so that virtual runs have a date of their own (seconds since the Unix epoch).
VIRTUAL_EPOCH = 1_700_000_000.0
_CLOSED = frozenset({"outage", "drop_connection"})


class ChatService:
    """The chat service. For each request: `draw` its fault on arrival, then `process` it (a "stall"
    is processed delay_s later). Deterministic: the same calls give the same answers."""

    def __init__(
        self, config: SimulatorConfig, faults: FaultPlan | None = None, utc_offset: float = VIRTUAL_EPOCH
    ) -> None:
        """utc_offset: seconds since the Unix epoch at instant 0 of the caller's clock."""
        self.config = config
        self.faults = faults or FaultPlan()
        self._utc_offset = utc_offset
        self._started: float | None = None
        self._chats: dict[str, SimulatedChat] = {}
        self._ledger: dict[str, LedgerEntry] = {}

    def start_at(self, now: float) -> None:
        """Count fault windows from here; otherwise from the first request."""
        self._started = now

    def draw(self, now: float, operation: str) -> Fault | None:
        """The fault that strikes a request arriving now."""
        if self._started is None:
            self._started = now
        return self.faults.draw(now - self._started, operation)

    def process(
        self,
        now: float,
        operation: str,
        chat_id: str | None,
        fields: Mapping[str, str],
        fault: Fault | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Handle one request; `fields` are ours (user_id, secure_key, position, message, ...), user data
        flattened as `user_data.<key>`; `content` is an upload's."""
        if self._started is None:
            self._started = now
        if fault is None or fault.processed():
            payload = self._open(now, fields, fault) if operation == "RequestChat" else self._handle(
                now, operation, chat_id, fields, fault
            )  # fmt: skip
        else:
            self._came_for(now, chat_id)
            payload = {}
        return _disguise(payload, fault) if fault is not None else Answer(payload)

    def hold_due(self, hold: Hold) -> float:
        """When to `resume` a held request at the latest; never after its `until`."""
        return hold.until

    def resume(self, now: float, hold: Hold) -> Answer:
        """The answer to a held request, or one held still; calling it early does no harm."""
        chat = self._chats.get(hold.chat_id)
        return Answer(_error(2, "Chat session not found") if chat is None else self._answer(chat, hold.position))

    def abandon(self, now: float, hold: Hold) -> None:
        """The connection of a held request is gone: the silence counts from here."""

    def sweep(self, now: float) -> None:
        """Book every end that is due, and forget chats that ended long ago."""
        keep = self.config.keeps_ended_s
        gone = []
        for chat_id, chat in self._chats.items():
            chat.advance(now)
            ended_at = chat.entry.ended_at
            if ended_at is not None and now - ended_at > keep:
                gone.append(chat_id)
        for chat_id in gone:
            del self._chats[chat_id]

    @property
    def live_sessions(self) -> int:
        """Chats not known to have ended."""
        return sum(not chat.ended for chat in self._chats.values())

    def ledger_rows(self, now: float) -> Iterator[dict[str, Any]]:
        """Every session's row, in order of starting, as of now."""
        self.sweep(now)
        for entry in list(self._ledger.values()):
            yield entry.row()

    # -- one request -----------------------------------------------------------------------------

    def _open(self, now: float, fields: Mapping[str, str], fault: Fault | None) -> dict[str, Any]:
        if fault is not None and fault.kind == "status_2":
            return _error(2, "Chat refused")
        if not fields.get("nickname"):
            return _error(2, "Nickname or both names are needed")
        limit = self.config.limit_for_sessions
        if limit is not None and self.live_sessions >= limit:
            self.sweep(now)
            if self.live_sessions >= limit:
                return _error(2, "limit-for-sessions reached")
        number = len(self._ledger) + 1
        chat_id = f"{number:08X}CHAT"
        entry = self._ledger[chat_id] = LedgerEntry(chat_id, now)
        chat = SimulatedChat(self.config, entry, f"{self.config.seed}/{number}", self._utc_offset)
        self._chats[chat_id] = chat
        chat.open(fields["nickname"])
        chat.contact(now, "RequestChat")
        return {**self._answer(chat, 1), "chatId": chat_id}

    def _handle(
        self, now: float, operation: str, chat_id: str | None, fields: Mapping[str, str], fault: Fault | None
    ) -> dict[str, Any]:
        chat = self._chats.get(chat_id or "")
        if chat is None:
            self._came_for(now, chat_id)
            return _error(2, "Chat session not found")
        if fields.get("secure_key") != chat.secure_key or fields.get("user_id") != chat.user_id:
            return _error(2, "Access denied")
        chat.advance(now)
        if chat.ended:
            return self._after_the_end(now, chat, fields)
        chat.contact(now, operation)
        if fault is not None and fault.kind == "status_2":
            chat.end(now, "unrecoverable")
            return _error(2, "Session lost")
        if fault is not None and fault.kind == "early_end" and operation != "Disconnect":
            chat.end(now, "early")
        elif operation == "Disconnect":
            chat.end(now, "disconnected")
        elif fields.get("message") and operation == "SendMessage":
            chat.said(now, fields["message"])
        return self._answer(chat, _position(fields))

    def _after_the_end(self, now: float, chat: SimulatedChat, fields: Mapping[str, str]) -> dict[str, Any]:
        self._came_for(now, chat.entry.chat_id)
        ended_at, config = chat.entry.ended_at, self.config
        forgotten = ended_at is None or now - ended_at > config.keeps_ended_s
        if forgotten or (chat.entry.end_reason == "expired" and config.dropped_answer == "2"):
            return _error(2, "Chat session not found")
        if chat.entry.end_reason == "unrecoverable":
            return _error(2, "Session lost")
        return self._answer(chat, _position(fields))

    def _came_for(self, now: float, chat_id: str | None) -> None:
        """A request came for a chat; where it is over already, that is a late contact."""
        entry = self._ledger.get(chat_id or "")
        if entry is None:
            return
        chat = self._chats.get(entry.chat_id)
        if chat is not None:
            chat.advance(now)
        if entry.ended_at is not None and entry.late_contact_at is None:
            entry.late_contact_at = now

    def _answer(self, chat: SimulatedChat, position: int) -> dict[str, Any]:
        transcript = chat.transcript
        return {
            "statusCode": 0,
            "chatEnded": chat.ended,
            "messages": transcript[position - 1 :] if position >= 1 else [],
            "nextPosition": len(transcript) + 1,
            "alias": "117",
            "userId": chat.user_id,
            "secureKey": chat.secure_key,
        }


def _position(fields: Mapping[str, str]) -> int:
    text = fields.get("position", "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _error(status_code: int, advice: str) -> dict[str, Any]:
    errors = [{"code": 200 + status_code, "advice": advice}]
    return {"statusCode": status_code, "chatEnded": status_code == 2, "errors": errors, "messages": []}


def _disguise(payload: dict[str, Any], fault: Fault) -> Answer:
    """What a fault makes of an answer."""
    kind = fault.kind
    if kind in _CLOSED:
        return Answer(drop=True)
    if kind in ("status_1", "status_1_violation"):
        return Answer({**_error(1, "Try again"), "chatEnded": kind == "status_1_violation"})
    if kind in ("http_500", "http_503"):
        return Answer(raw=b"Internal error", http_status=int(kind[-3:]))
    if kind == "malformed":
        return Answer(raw=b'{"statusCode":0,"chatEnded":fal')
    if kind == "html":
        return Answer(raw=b"<html><body>Please log in</body></html>")
    if kind == "unknown_status":
        return Answer({"statusCode": 7, "chatEnded": False, "messages": []})
    return Answer(payload, delay_s=fault.delay_s if kind == "slow" else 0.0)
