"""Names on the wire, and the renaming of answers from our names to those of a dialect and back.

Our names in answers are those of gms-v2. Answers of a dialect with the same names are not changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from chatload.protocol.toml_file import MOST_DEPTH, FromFile, unknown_key

#: A name on the wire: one name, or several that lead into nested objects.
Name = tuple[str, ...]


def get_in(payload: Any, name: Name) -> Any:
    """Return the value at a name; None if there is none."""
    for part in name:
        if type(payload) is not dict:
            return None
        payload = payload.get(part)
    return payload


def put_in(payload: dict[str, Any], name: Name, value: Any) -> None:
    """Put a value at a name. Missing objects on the way are created; anything else that is there is replaced."""
    for part in name[:-1]:
        if type(payload.get(part)) is not dict:
            payload[part] = {}
        payload = payload[part]
    payload[name[-1]] = value


# -- the causes of an end --------------------------------------------------------------------------


class EndCause(StrEnum):
    """What the server names as the cause of the end of a chat.

    LOGOUT: the customer disconnected. INACTIVITY: no request within flex-disconnect-timeout. PARTICIPANT: removed by
    an agent, supervisor or bot. SYSTEM: removed by the server itself. BAD_KEY: removed for a wrong secure key.
    IDLE: closed by inactivity control. RESTORATION: lost while the session was restored on another server.
    UNKNOWN_SESSION: the server does not know the session (any more); this says nothing about the cause.

    Sources: Genesys documentation, Chat Server "Reason Codes" (GCTI_SYSTEM / quit-reason-code), and the vendor's
    support in its public forum for the error codes.
    """

    LOGOUT = "logout"
    INACTIVITY = "inactivity"
    PARTICIPANT = "participant"
    SYSTEM = "system"
    BAD_KEY = "bad_key"
    IDLE = "idle"
    RESTORATION = "restoration"
    UNKNOWN_SESSION = "unknown_session"


#: Code of the customer's ParticipantLeft -> cause, in the built-in dialects.
QUIT_REASONS = {
    "0": EndCause.LOGOUT,
    "3": EndCause.INACTIVITY,  # flex-disconnect-timeout; documented as not delivered to clients
    "4": EndCause.PARTICIPANT,
    "5": EndCause.SYSTEM,
    "6": EndCause.BAD_KEY,
    "7": EndCause.IDLE,
    "8": EndCause.RESTORATION,
}
#: Code in `errors` of an answer -> cause, in the built-in dialects.
ERROR_CODES = {
    "8209": EndCause.INACTIVITY,  # User was logged out
    "8201": EndCause.UNKNOWN_SESSION,  # No such user in the session
    "8210": EndCause.BAD_KEY,  # Bad secure key
}

# -- the tables of a dialect's file ----------------------------------------------------------------

SENDERS = ("Client", "Agent", "Supervisor", "Bot", "External")
EVENT_TYPES = (
    "ParticipantJoined", "ParticipantLeft", "Message", "TypingStarted", "TypingStopped", "NicknameUpdated",
    "PushUrl", "FileUploaded", "FileDeleted", "CustomNotice", "Notice", "IdleAlert", "IdleClose",
)  # fmt: skip


def _wire_name(value: Any) -> Name:
    """Return a name on the wire: from a text, or from a list of texts that lead into nested objects."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValueError('expected a name, or a list of them as in ["outer", "inner"]')
    if len(parts) > MOST_DEPTH:
        raise ValueError(f"expected a list of {MOST_DEPTH} names at most")
    return tuple(parts)


def one_of(known: Collection[str]) -> AfterValidator:
    """Return the check that a key of a table is one of these."""

    def check(key: str) -> str:
        if key not in known:
            raise ValueError(unknown_key(known, key))
        return key

    return AfterValidator(check)


def _different(words: dict[str, str]) -> dict[str, str]:
    if len(set(words.values())) < len(words):
        raise ValueError("expected a different word for each")
    return words


WireName = Annotated[Name, BeforeValidator(_wire_name)]
_Causes = dict[str, Annotated[EndCause, Field(strict=False)]]


class EventNames(FromFile):
    """The table [response.event]: everything in an event that a client needs, and its name."""

    nickname: WireName = ("from", "nickname")
    participant_id: WireName = ("from", "participantId")
    sender: WireName = ("from", "type")
    index: WireName = ("index",)
    type: WireName = ("type",)
    utc_time: WireName = ("utcTime",)
    text: WireName = ("text",)
    message_type: WireName = ("messageType",)
    user_data: WireName = ("userData",)
    quit_reason: WireName = ("eventAttributes", "GCTI_SYSTEM", "quit-reason-code")


class ErrorNames(FromFile):
    """The table [response.error]."""

    code: WireName = ("code",)
    advice: WireName = ("advice",)


class ResponseNames(FromFile):
    """The table [response]: the names in the answers of a dialect. The defaults are our names.

    event_types, senders: our word -> word on the wire. quit_reasons, error_codes: code on the wire -> the cause of the
    end that it names.
    """

    status_code: WireName = ("statusCode",)
    chat_ended: WireName = ("chatEnded",)
    chat_id: WireName = ("chatId",)
    user_id: WireName = ("userId",)
    secure_key: WireName = ("secureKey",)
    alias: WireName = ("alias",)
    next_position: WireName = ("nextPosition",)
    messages: WireName = ("messages",)
    errors: WireName = ("errors",)
    user_data: WireName = ("userData",)
    event: EventNames = EventNames()
    error: ErrorNames = ErrorNames()
    event_types: Annotated[dict[Annotated[str, one_of(EVENT_TYPES)], str], AfterValidator(_different)] = Field(
        default={}
    )
    senders: Annotated[dict[Annotated[str, one_of(SENDERS)], str], AfterValidator(_different)] = Field(default={})
    quit_reasons: _Causes = QUIT_REASONS
    error_codes: _Causes = ERROR_CODES

    @cached_property
    def plain(self) -> bool:
        """Whether no name or word differs from ours."""
        return self.to_wire.plain

    @cached_property
    def to_wire(self) -> Renaming:
        """The renaming of answers from our names to those of the dialect."""
        event = _renaming(self.event, words={"type": self.event_types, "sender": self.senders})
        return _renaming(self, inner={"messages": event, "errors": _renaming(self.error)})

    @cached_property
    def from_wire(self) -> Renaming:
        """The renaming of answers from the names of the dialect to ours."""
        return self.to_wire.turned()


class _Member(NamedTuple):
    """The new name of a member, the words to replace in a text there, and the renaming of the objects in a list."""

    old: Name
    new: Name
    words: Mapping[str, str]
    inner: Renaming | None


class Renaming:
    """Renames the members of an object; members that it does not know keep their names."""

    def __init__(self, members: Iterable[_Member]) -> None:
        self._members = tuple(members)
        self._first = {member.old[0] for member in self._members}
        self.plain: bool = all(
            old == new and not words and (inner is None or inner.plain) for old, new, words, inner in self._members
        )

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self.plain:
            return payload
        renamed = {key: value for key, value in payload.items() if key not in self._first}
        for old, new, words, inner in self._members:
            value = get_in(payload, old)
            if value is None:
                continue
            if words and type(value) is str:
                value = words.get(value, value)
            elif inner is not None and type(value) is list:
                value = [inner(item) if type(item) is dict else item for item in value]
            put_in(renamed, new, value)
        return renamed

    def turned(self) -> Renaming:
        """Return the renaming back."""
        return Renaming(
            _Member(new, old, {theirs: ours for ours, theirs in words.items()}, inner and inner.turned())
            for old, new, words, inner in self._members
        )


def _renaming(
    names: FromFile, words: Mapping[str, Mapping[str, str]] = {}, inner: Mapping[str, Renaming] = {}
) -> Renaming:
    """Return the renaming from our names, which are the defaults of the table, to its names."""
    ours = {key: field.default for key, field in type(names).model_fields.items() if isinstance(field.default, tuple)}
    return Renaming(_Member(old, getattr(names, key), words.get(key, {}), inner.get(key)) for key, old in ours.items())
