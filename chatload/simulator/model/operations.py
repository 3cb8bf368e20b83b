"""What each operation does to a chat that goes on: a table of handlers.

A handler gets a request of the customer of a chat that is alive; the secureKey was checked. It returns members to add
to the usual answer, or an answer of its own, or None. OperationRefusedError is answered 1/false: the chat goes on, and
a 2 would tell the client that it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatload.protocol.operations import USER_DATA_PREFIX
from chatload.simulator.model.answers import OperationRefusedError, ServiceAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.session import Participant, SimulatedChat, StoredFile, agent_is_there


@dataclass(slots=True)
class ChatRequest:
    """One request. fields: our names. content: the bytes of an upload. fault: the fault that strikes it."""

    operation: str
    chat_id: str | None
    fields: Mapping[str, str]
    content: bytes | None = None
    fault: Fault | None = None


Handled = dict[str, Any] | ServiceAnswer | None
Handler = Callable[[SimulatedChat, float, ChatRequest], Handled]


def nickname_of(fields: Mapping[str, str]) -> str:
    """Return the customer's name: nickname, or first and last name [gms]; empty if neither is given."""
    nickname = fields.get("nickname", "").strip()
    first, last = fields.get("first_name", "").strip(), fields.get("last_name", "").strip()
    return nickname or (f"{first} {last}" if first and last else "")


def position_of(fields: Mapping[str, str]) -> int:
    """Return the transcriptPosition of a request; 0 if it has none or it is not a number."""
    text = fields.get("position", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def attach(chat: SimulatedChat, fields: Mapping[str, str]) -> None:
    """Store the user data of a request; the newest value of a key counts."""
    start = USER_DATA_PREFIX
    brought = {name.removeprefix(start): value for name, value in fields.items() if name.startswith(start)}
    if not brought:
        return
    kept = {**(chat.user_data or {}), **brought}
    size = sum(
        len(name.encode("utf-8", "replace")) + len(value.encode("utf-8", "replace")) for name, value in kept.items()
    )
    if size > chat.config.message_max_bytes:
        raise OperationRefusedError(f"too much user data; at most {chat.config.message_max_bytes} bytes")
    chat.user_data = kept


def text_of(chat: SimulatedChat, fields: Mapping[str, str], name: str = "message", required: bool = True) -> str:
    """Return a text field of the request."""
    text = fields.get(name, "")
    if required and not text:
        raise OperationRefusedError(f"{name} is required")
    return bounded(chat.config, name, text)


def bounded(config: SimulatorConfig, name: str, text: str) -> str:
    """Return the text; raises OperationRefusedError if it is too long."""
    limit = config.message_max_bytes
    if len(text) > limit or len(text.encode("utf-8", "replace")) > limit:
        raise OperationRefusedError(f"{name} too long; at most {limit} bytes")
    return text


def _get_messages(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    text = text_of(chat, request.fields, required=False)
    if not text:
        return None
    mode = chat.config.refresh_message
    if mode == "draft" or (mode == "auto" and chat.typing):
        chat.draft = text
    else:
        chat.said(now, text)
    return None


def _send_message(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    text, kind = text_of(chat, request.fields), request.fields.get("message_type")
    chat.said(now, text, {"messageType": kind} if kind else None)
    return None


def _typing(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    chat.draft, chat.typing = text_of(chat, request.fields, required=False), request.operation == "StartTyping"
    if chat.config.typing_events:
        chat.event(now, "TypingStarted" if chat.typing else "TypingStopped", chat.customer, chat.draft or None)
    return None


def _disconnect(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    chat.end(now, "disconnected")
    return None


def _update_nickname(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    nickname = nickname_of(request.fields)
    if not nickname:
        raise OperationRefusedError("nickname is required")
    bounded(chat.config, "nickname", nickname)
    chat.customer = Participant(nickname, chat.customer.number, chat.customer.kind)
    chat.event(now, "NicknameUpdated", chat.customer)
    return None


def _update_data(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    attach(chat, request.fields)
    return {"userData": dict(chat.user_data or {})}


def _push_url(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    chat.speak(now, chat.customer, "PushUrl", text_of(chat, request.fields, "url"))
    return None


def _custom_notice(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    chat.event(now, "CustomNotice", chat.customer, text_of(chat, request.fields))
    return None


def _read_receipt(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    """Store the position; the known event types have none for it."""
    position = position_of(request.fields)
    if not 0 < position <= chat.events + 1:
        raise OperationRefusedError("position is required, one of an event there is")
    chat.read_position = max(chat.read_position, position)
    return None


def _file_limits(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    """Answer with a Notice that carries the limits; it is not in the transcript and has no index [client]."""
    return {"messages": [chat.notice(now, "file-client-cfg-get", chat.own_files().limits())]}


def _file_upload(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    name, media_type = request.fields.get("file_name", ""), request.fields.get("file_type")
    if request.content is None or not name:
        raise OperationRefusedError("file is required")
    if chat.config.file_needs_agent and not agent_is_there(chat):
        raise OperationRefusedError("files are taken only while an agent is there")
    bounded(chat.config, "file_name", name)
    file = StoredFile(name, media_type or "application/octet-stream", request.content)
    about = file.event_data(chat.own_files().upload(file))
    chat.speak(now, chat.customer, "FileUploaded", name, about)
    return about


def _file_download(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    file = chat.own_files().download(request.fields.get("file_id", ""))
    return ServiceAnswer(raw=file.content, content_type=file.media_type, file_name=file.name)


def _file_delete(chat: SimulatedChat, now: float, request: ChatRequest) -> Handled:
    file_id = request.fields.get("file_id", "")
    file = chat.own_files().delete(file_id)
    chat.event(now, "FileDeleted", chat.customer, file.name, file.event_data(file_id))
    return None


#: Every operation on a chat; RequestChat opens one.
HANDLERS: Mapping[str, Handler] = {
    "GetMessages": _get_messages,
    "SendMessage": _send_message,
    "StartTyping": _typing,
    "StopTyping": _typing,
    "Disconnect": _disconnect,
    "UpdateNickname": _update_nickname,
    "UpdateData": _update_data,
    "PushUrl": _push_url,
    "CustomNotice": _custom_notice,
    "ReadReceipt": _read_receipt,
    "FileLimits": _file_limits,
    "FileUpload": _file_upload,
    "FileDownload": _file_download,
    "FileDelete": _file_delete,
}
