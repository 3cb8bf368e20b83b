"""What each operation does to a chat that goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatload.protocol.operations import USER_DATA_PREFIX
from chatload.simulator.model.answers import OperationRefusedError, ServiceAnswer
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault
from chatload.simulator.model.session import SimulatedChat, StoredFile


@dataclass(slots=True)
class ChatRequest:
    """One request. fields: our names. content: the bytes of an upload. fault: the fault that strikes it."""

    operation: str
    chat_id: str | None
    fields: Mapping[str, str]
    content: bytes | None = None
    fault: Fault | None = None


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


def act(chat: SimulatedChat, now: float, request: ChatRequest) -> dict[str, Any] | ServiceAnswer | None:
    """Carry out a request of the customer of a chat that is alive; the secureKey was checked.

    Returns:
        Members to add to the usual answer, or an answer of its own, or None.

    Raises:
        OperationRefusedError: answer 1/false: the chat goes on, and a 2 would tell the client that it has ended.
    """
    config, fields = chat.config, request.fields
    match request.operation:
        case "GetMessages":
            text = text_of(chat, fields, required=False)
            if text and (config.refresh_message == "draft" or (config.refresh_message == "auto" and chat.typing)):
                chat.draft = text
            elif text:
                chat.said(now, text)
        case "SendMessage":
            kind = fields.get("message_type")
            chat.said(now, text_of(chat, fields), {"messageType": kind} if kind else None)
        case "StartTyping" | "StopTyping":
            chat.draft, chat.typing = text_of(chat, fields, required=False), request.operation == "StartTyping"
            if config.typing_events:
                chat.event(now, "TypingStarted" if chat.typing else "TypingStopped", chat.customer, chat.draft or None)
        case "Disconnect":
            chat.end(now, "disconnected")
        case "UpdateNickname":
            nickname = nickname_of(fields)
            if not nickname:
                raise OperationRefusedError("nickname is required")
            chat.customer = chat.customer._replace(nickname=bounded(config, "nickname", nickname))
            chat.event(now, "NicknameUpdated", chat.customer)
        case "UpdateData":
            attach(chat, fields)
            return {"userData": dict(chat.user_data or {})}
        case "PushUrl":
            chat.speak(now, chat.customer, "PushUrl", text_of(chat, fields, "url"))
        case "CustomNotice":
            chat.event(now, "CustomNotice", chat.customer, text_of(chat, fields))
        case "ReadReceipt":
            # No known event tells of the position, so it is only checked.
            if not 0 < position_of(fields) <= chat.events + 1:
                raise OperationRefusedError("position is required, one of an event there is")
        case "FileLimits":
            # The Notice that carries the limits is not in the transcript and has no index [client].
            return {"messages": [chat.notice(now, "file-client-cfg-get", chat.own_files().limits())]}
        case "FileUpload":
            file = _uploaded(chat, request)
            about = file.event_data(chat.own_files().upload(file))
            chat.speak(now, chat.customer, "FileUploaded", file.name, about)
            return about
        case "FileDownload":
            file = chat.own_files().download(fields.get("file_id", ""))
            return ServiceAnswer(raw=file.content, content_type=file.media_type, file_name=file.name)
        case "FileDelete":
            file_id = fields.get("file_id", "")
            file = chat.own_files().delete(file_id)
            chat.event(now, "FileDeleted", chat.customer, file.name, file.event_data(file_id))
    return None


def _uploaded(chat: SimulatedChat, request: ChatRequest) -> StoredFile:
    name, media_type = request.fields.get("file_name", ""), request.fields.get("file_type")
    if request.content is None or not name:
        raise OperationRefusedError("file is required")
    if chat.config.file_needs_agent and chat.agent is None:
        raise OperationRefusedError("files are taken only while an agent is there")
    bounded(chat.config, "file_name", name)
    return StoredFile(name, media_type or "application/octet-stream", request.content)
