"""Names on the wire, and the renaming of answers from our names to those of a dialect and back.

Our names in answers are those of gms-v2. Answers of a dialect with the same names are not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chatload.protocol.causes import ERROR_CODES, QUIT_REASONS, EndCause

#: A name on the wire: one name, or several that lead into nested objects.
Name = tuple[str, ...]

#: Key in a dialect's [response] -> our name, which is that of gms-v2.
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
#: The same for [response.event]: everything in an event that a client needs.
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
    """Return the value at a name; None if there is none."""
    for part in name:
        if type(payload) is not dict:
            return None
        payload = payload.get(part)
    return payload


def put_in(payload: dict[str, Any], name: Name, value: Any) -> None:
    """Put a value at a name; missing objects on the way are created."""
    for part in name[:-1]:
        payload = payload.setdefault(part, {})
    payload[name[-1]] = value


class Renaming:
    """Renames the members of an object; members that it does not know keep their names."""

    def __init__(self, pairs: list[tuple[Name, Name]], values: Mapping[Name, Mapping[str, str]] | None = None) -> None:
        """Prepare the renaming.

        Args:
            pairs: old name and new name of each member.
            values: old name -> the words to replace there, and what replaces each.
        """
        self._pairs = [(old, new, (values or {}).get(old)) for old, new in pairs]
        self._first = {old[0] for old, _, _ in self._pairs}

    def apply(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return the object with its new names."""
        renamed = {key: value for key, value in payload.items() if key not in self._first}
        for old, new, words in self._pairs:
            value = get_in(payload, old)
            if value is not None:
                put_in(renamed, new, words.get(value, value) if words and type(value) is str else value)
        return renamed

    def new_name(self, name: Name) -> Name:
        """Return the new name of a member."""
        return next(new for old, new, _ in self._pairs if old == name)


_Renamings = tuple[Renaming, Renaming, Renaming]


@dataclass(frozen=True)
class ResponseNames:
    """The names in the answers of a dialect that differ from those of gms-v2.

    answer, event, error: our name (a key of ANSWER_NAMES, EVENT_NAMES, ERROR_NAMES) -> name on the wire. event_types,
    senders: our word -> word on the wire. quit_reasons, error_codes: code on the wire -> the cause of the end that it
    names. plain: no name or word differs.
    """

    answer: Mapping[str, Name] = field(default_factory=dict)
    event: Mapping[str, Name] = field(default_factory=dict)
    error: Mapping[str, Name] = field(default_factory=dict)
    event_types: Mapping[str, str] = field(default_factory=dict)
    senders: Mapping[str, str] = field(default_factory=dict)
    quit_reasons: Mapping[str, EndCause] = field(default_factory=lambda: QUIT_REASONS)
    error_codes: Mapping[str, EndCause] = field(default_factory=lambda: ERROR_CODES)
    plain: bool = field(init=False)
    #: For an answer, its events and its errors: from our names to the dialect's, and back.
    _to: _Renamings = field(init=False, repr=False, compare=False)
    _from: _Renamings = field(init=False, repr=False, compare=False)
    #: The dialect's names of the lists of events and errors.
    _lists: tuple[Name, Name] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        answer: list[tuple[Name, Name]] = [((ours,), self.name(key)) for key, ours in ANSWER_NAMES.items()]
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
        set_(self, "_lists", (self.name("messages"), self.name("errors")))

    def to_wire(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return an answer in our names with the names of the dialect."""
        return payload if self.plain else _rename(payload, self._to, (("messages",), ("errors",)))

    def from_wire(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return an answer of the dialect with our names."""
        return payload if self.plain else _rename(payload, self._from, self._lists)

    def name(self, key: str) -> Name:
        """Return the name on the wire of `key`, a key of ANSWER_NAMES."""
        return self.answer.get(key, (ANSWER_NAMES[key],))


def _rename(payload: dict[str, Any], renamings: _Renamings, lists: tuple[Name, Name]) -> dict[str, Any]:
    answer, *inner = renamings
    renamed = answer.apply(payload)
    for name, renaming in zip(lists, inner, strict=True):
        items = get_in(payload, name)
        if type(items) is list:
            items = [renaming.apply(item) if type(item) is dict else item for item in items]
            put_in(renamed, answer.new_name(name), items)
    return renamed


def _turned(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words with keys and values exchanged."""
    return {theirs: ours for ours, theirs in words.items()}
