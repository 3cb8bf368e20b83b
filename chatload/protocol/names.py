"""Names on the wire, and an answer's way from our names to a dialect's and back.

Our names in answers are those of gms-v2; a dialect that has the same is passed through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatload.protocol.causes import ERROR_CODES, QUIT_REASONS, EndCause

#: A name on the wire: one name, or several that lead into nested objects.
Name = tuple[str, ...]

#: Key in a dialect's [response] -> the name in gms-v2, which is ours.
ANSWER_NAMES = {
    "status_code": "statusCode",
    "chat_ended": "chatEnded",
    "chat_id": "chatId",
    "user_id": "userId",
    "secure_key": "secureKey",
    "alias": "alias",
    "next_position": "nextPosition",
    "messages": "messages",
    "errors": "errors",
    "user_data": "userData",
}
#: The same for [response.event]; what a client has to have is all there.
EVENT_NAMES: Mapping[str, Name] = {
    "nickname": ("from", "nickname"),
    "participant_id": ("from", "participantId"),
    "sender": ("from", "type"),
    "index": ("index",),
    "type": ("type",),
    "utc_time": ("utcTime",),
    "text": ("text",),
    "message_type": ("messageType",),
    "user_data": ("userData",),
    "quit_reason": ("eventAttributes", "GCTI_SYSTEM", "quit-reason-code"),
}
ERROR_NAMES: Mapping[str, Name] = {"code": ("code",), "advice": ("advice",)}
SENDERS = ("Client", "Agent", "Supervisor", "Bot", "External")
EVENT_TYPES = (
    "ParticipantJoined", "ParticipantLeft", "Message", "TypingStarted", "TypingStopped", "NicknameUpdated",
    "PushUrl", "FileUploaded", "FileDeleted", "CustomNotice", "Notice", "IdleAlert", "IdleClose",
)  # fmt: skip


def get_in(payload: Any, name: Name) -> Any:
    """What is at a name; None where nothing is."""
    for part in name:
        if type(payload) is not dict:
            return None
        payload = payload.get(part)
    return payload


def put_in(payload: dict[str, Any], name: Name, value: Any) -> None:
    """Put a value at a name, making the objects that lead there."""
    for part in name[:-1]:
        payload = payload.setdefault(part, {})
    payload[name[-1]] = value


class Renaming:
    """Takes the members of an object from some names to others; what it does not know keeps its name."""

    def __init__(self, pairs: list[tuple[Name, Name]], values: Mapping[Name, Mapping[str, str]] | None = None) -> None:
        """values: at a name as it was, what to write for which word."""
        self._pairs = [(old, new, (values or {}).get(old)) for old, new in pairs]
        self._first = {old[0] for old, _, _ in self._pairs}

    def apply(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The object under its new names."""
        renamed = {key: value for key, value in payload.items() if key not in self._first}
        for old, new, words in self._pairs:
            value = get_in(payload, old)
            if value is not None:
                put_in(renamed, new, words.get(value, value) if words and type(value) is str else value)
        return renamed


@dataclass(frozen=True)
class ResponseNames:
    """What a dialect calls each thing in an answer, as far as it differs from gms-v2.

    answer, event, error: our name (a key of ANSWER_NAMES, EVENT_NAMES, ERROR_NAMES) -> name on the
    wire. event_types, senders: our word -> the word on the wire. quit_reasons, error_codes: code on the wire ->
    the cause of the end it names.
    """

    answer: Mapping[str, Name] = field(default_factory=dict)
    event: Mapping[str, Name] = field(default_factory=dict)
    error: Mapping[str, Name] = field(default_factory=dict)
    event_types: Mapping[str, str] = field(default_factory=dict)
    senders: Mapping[str, str] = field(default_factory=dict)
    quit_reasons: Mapping[str, EndCause] = field(default_factory=lambda: QUIT_REASONS)
    error_codes: Mapping[str, EndCause] = field(default_factory=lambda: ERROR_CODES)
    plain: bool = field(init=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        answer: list[tuple[Name, Name]] = [
            ((ours,), self.answer.get(key, (ours,))) for key, ours in ANSWER_NAMES.items()
        ]
        event = [(ours, self.event.get(key, ours)) for key, ours in EVENT_NAMES.items()]
        error = [(ours, self.error.get(key, ours)) for key, ours in ERROR_NAMES.items()]
        kind, sender = dict(event)[EVENT_NAMES["type"]], dict(event)[EVENT_NAMES["sender"]]
        to_words = {EVENT_NAMES["type"]: self.event_types, EVENT_NAMES["sender"]: self.senders}
        from_words = {kind: _turned(self.event_types), sender: _turned(self.senders)}
        same = all(old == new for old, new in (*answer, *event, *error))
        set_(self, "plain", same and not self.event_types and not self.senders)
        set_(self, "_to", (Renaming(answer), Renaming(event, to_words), Renaming(error)))
        turned = [[(new, old) for old, new in pairs] for pairs in (answer, event, error)]
        set_(self, "_from", (Renaming(turned[0]), Renaming(turned[1], from_words), Renaming(turned[2])))
        set_(self, "_lists", tuple(dict(answer)[(name,)] for name in ("messages", "errors")))

    def to_wire(self, payload: dict[str, Any]) -> dict[str, Any]:
        """An answer of ours in the dialect's names."""
        return payload if self.plain else self._rename(payload, self._to, (("messages",), ("errors",)))  # type: ignore[attr-defined]

    def from_wire(self, payload: dict[str, Any]) -> dict[str, Any]:
        """An answer in the dialect's names, in ours."""
        return payload if self.plain else self._rename(payload, self._from, self._lists)  # type: ignore[attr-defined]

    def name(self, key: str) -> Name:
        """Where an answer has what we call `key` (of ANSWER_NAMES)."""
        return self.answer.get(key, (ANSWER_NAMES[key],))

    @staticmethod
    def _rename(
        payload: dict[str, Any], renamings: tuple[Renaming, Renaming, Renaming], lists: tuple[Name, Name]
    ) -> dict[str, Any]:
        answer, *inner = renamings
        renamed = answer.apply(payload)
        for name, renaming in zip(lists, inner, strict=True):
            items = get_in(payload, name)
            if type(items) is list:
                new = next(new for old, new, _ in answer._pairs if old == name)
                put_in(renamed, new, [renaming.apply(item) if type(item) is dict else item for item in items])
        return renamed


def _turned(words: Mapping[str, str]) -> dict[str, str]:
    return {theirs: ours for ours, theirs in words.items()}
