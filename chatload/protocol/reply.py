"""Replies of the chat service, read strictly: every answer gets an outcome; no answer raises an error."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from chatload.protocol.names import EndCause, EventNames, ResponseNames, get_in
from chatload.protocol.wire import MAX_BODY_BYTES, WireResult
from chatload.vocabulary import TELL_THE_END, Outcome


class Event(NamedTuple):
    """One transcript event. kind and who as the protocol names them (e.g. ParticipantLeft, Agent).

    position: -1 if it has none. utc_ms: the server's time (milliseconds since the Unix epoch). participant: the
    sender's participantId, which is unique, unlike nicknames. quit_reason: of a ParticipantLeft, the code for why the
    participant left, as received; cause: what the code means in the dialect. text: of a Message, cut to MOST_TEXT.
    """

    position: int
    kind: str
    who: str
    nickname: str
    utc_ms: int | None
    participant: str = ""
    quit_reason: str = ""
    cause: EndCause | None = None
    text: str = ""

    def __repr__(self) -> str:
        """Return all but the text, so that what people wrote is in no log and no traceback."""
        return f"Event{tuple(self[:-1])}"


@dataclass(slots=True)
class Reply:
    """One answer: its outcome, and what the client keeps.

    Keys and position are None if the answer has none. file_id: of a file that was just uploaded. detail: a constant
    text, so that statistics can be kept by it. told: chatEnded was in the answer and not
    null. still_open: a statusCode 2 came with chatEnded false. errors: the codes in `errors`, as received; code, cause:
    the first of them that the dialect knows, and what it means. monitored: the member of that name, in an answer that
    is not 0/false.
    """

    outcome: Outcome
    chat_id: str | None = None
    user_id: str | None = field(default=None, repr=False)
    secure_key: str | None = field(default=None, repr=False)
    alias: str | None = None
    next_position: int | None = None
    events: tuple[Event, ...] = ()
    detail: str = ""
    file_id: str | None = None
    told: bool = True
    still_open: bool = False
    errors: tuple[str, ...] = ()
    code: str = ""
    cause: EndCause | None = None
    monitored: bool | None = None

    @property
    def ended(self) -> bool:
        return self.outcome in TELL_THE_END


GATEWAY_STATUSES = frozenset({502, 503, 504})
#: An answer with a longer id, key, name or code is malformed (characters): every chat and the run file store them.
MOST_TEXT = 4096
#: The number of entries of `errors` that are kept.
_MOST_ERRORS = 8
_QUIT_REASON = EventNames().quit_reason
_NO_EVENTS: tuple[Event, ...] = ()


def read(names: ResponseNames, result: WireResult) -> Reply:
    """Return the Reply for the result of a transport."""
    if result.failure is not None:
        return Reply(Outcome(result.failure), detail=result.detail or result.failure)
    if result.http_status != 200:
        return Reply(Outcome.HTTP_ERROR, detail=f"HTTP {result.http_status}")
    return parse_body(names, result.body)


def read_file(names: ResponseNames, result: WireResult) -> Reply:
    """Return the Reply to a FileDownload: on success the body is the file itself, on refusal an ordinary answer."""
    reply = read(names, result)
    if result.failure is None and result.http_status == 200 and reply.outcome is Outcome.MALFORMED:
        return Reply(Outcome.FINE)
    return reply


def classify(status_code: object, chat_ended: object) -> Outcome:
    """Return the outcome for `statusCode` and `chatEnded` from JSON.

    Strict: "0", 0.0, true and a missing code are malformed, not 0. On status 1 the answer's own chatEnded carries no
    information; (1, true) cannot happen by the table, so it is counted under its own outcome and handled as 1.
    Source: Web API Developer Guide, "Chat Server Status Codes" (the seed document).
    """
    if type(status_code) is not int:
        return Outcome.MALFORMED
    if status_code == 0:
        if chat_ended is None or chat_ended is False:
            return Outcome.FINE
        return Outcome.ENDED if chat_ended is True else Outcome.MALFORMED
    if status_code == 1:
        return Outcome.VIOLATION if chat_ended is True else Outcome.UNSUCCESSFUL
    return Outcome.UNRECOVERABLE if status_code == 2 else Outcome.UNKNOWN_STATUS


def parse_body(names: ResponseNames, body: bytes) -> Reply:
    """Return the Reply in the body of an HTTP 200 answer."""
    if len(body) > MAX_BODY_BYTES:
        return _malformed("body too large")
    if not body:
        return _malformed("empty body")
    try:
        payload = orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        return _malformed("body is not JSON")
    return parse_payload(names, payload)


class _TooLongError(Exception):
    """A text is longer than MOST_TEXT."""


def parse_payload(names: ResponseNames, payload: Any) -> Reply:
    """Return the Reply in a decoded JSON value; members that the dialect does not name are ignored."""
    if type(payload) is not dict:
        return _malformed("body is not a JSON object")
    try:
        return _parse(names, payload)
    except _TooLongError:
        return _malformed("a text is too long")


def _malformed(detail: str) -> Reply:
    return Reply(Outcome.MALFORMED, detail=detail)


def _parse(names: ResponseNames, payload: dict[str, Any]) -> Reply:
    if not names.plain:
        payload = names.from_wire(payload)
    get = payload.get
    code, chat_ended = get("statusCode"), get("chatEnded")
    outcome = classify(code, chat_ended)
    if outcome is Outcome.MALFORMED:
        what = "chatEnded is" if type(code) is int else "statusCode is missing or"
        return _malformed(f"{what} of the wrong type")
    if outcome is Outcome.UNKNOWN_STATUS:
        return Reply(outcome, detail="statusCode not in the table")
    events, user_data, position = get("messages"), get("userData"), get("nextPosition")
    reply = Reply(
        outcome,
        _text(get("chatId")),
        _text(get("userId")),
        _text(get("secureKey")),
        _text(get("alias")),
        position if type(position) is int and position >= 0 else None,
        _events(names, events) if events else _NO_EVENTS,
        "" if outcome is Outcome.FINE else f"statusCode {outcome.value}",
        _text(user_data.get("file-id")) if type(user_data) is dict else None,
        chat_ended is not None,
    )
    if outcome is not Outcome.FINE:
        _read_cause(names, payload, reply)
    return reply


def _read_cause(names: ResponseNames, payload: dict[str, Any], reply: Reply) -> None:
    """Store what an answer says about an end besides its statusCode."""
    errors, monitored = payload.get("errors"), payload.get("monitored")
    codes = [_text(item.get("code")) for item in errors if type(item) is dict] if type(errors) is list else []
    reply.errors = tuple(code for code in codes[:_MOST_ERRORS] if code)
    reply.code = next((code for code in reply.errors if code in names.error_codes), "")
    reply.cause = names.error_codes[reply.code] if reply.code else None
    reply.still_open = reply.outcome is Outcome.UNRECOVERABLE and payload.get("chatEnded") is False
    reply.monitored = monitored if type(monitored) is bool else None


def _text(value: Any) -> str | None:
    if type(value) is str:
        if len(value) > MOST_TEXT:
            raise _TooLongError
        return value or None
    return str(value) if type(value) is int else None


def _events(names: ResponseNames, messages: Any) -> tuple[Event, ...]:
    """Return the readable events; anything else is ignored, as a browser client does."""
    if type(messages) is not list:
        return _NO_EVENTS
    events = []
    for item in messages:
        if type(item) is not dict or type(item.get("type")) is not str:
            continue
        sender = item.get("from")
        sender = sender if type(sender) is dict else {}
        index, utc = item.get("index"), item.get("utcTime")
        quit_reason = (_text(get_in(item, _QUIT_REASON)) or "") if item["type"] == "ParticipantLeft" else ""
        text = item.get("text") if item["type"] == "Message" else ""
        events.append(
            Event(
                index if type(index) is int else -1,
                _text(item["type"]) or "",
                _text(sender.get("type")) or "",
                _text(sender.get("nickname")) or "",
                utc if type(utc) is int else None,
                _text(sender.get("participantId")) or "",
                quit_reason,
                names.quit_reasons.get(quit_reason) if quit_reason else None,
                text[:MOST_TEXT] if type(text) is str else "",
            )
        )
    return tuple(events)
