"""The operations of a chat service and what each may carry, in our words."""

from __future__ import annotations

from collections.abc import Mapping

KEYS = ("user_id", "secure_key", "alias")
#: A field that stands for many: `user_data.<key>`, one for each entry of the user data.
USER_DATA = "user_data"
USER_DATA_PREFIX = "user_data."
#: What a file is, beside its bytes.
FILE = ("file_name", "file_type")
_NAMES = ("nickname", "first_name", "last_name")
_IN_CHAT = ("chat_id", *KEYS, "position")

#: Operation -> the fields it may carry. chat_id and file_id may be in a path as well.
OPERATION_FIELDS: Mapping[str, tuple[str, ...]] = {
    "RequestChat": (*_NAMES, "email", "subject", "text", USER_DATA),
    "GetMessages": (*_IN_CHAT, "message"),
    "SendMessage": (*_IN_CHAT, "message", "message_type"),
    "StartTyping": (*_IN_CHAT, "message"),
    "StopTyping": (*_IN_CHAT, "message"),
    "Disconnect": _IN_CHAT,
    "UpdateNickname": (*_IN_CHAT, *_NAMES),
    "UpdateData": (*_IN_CHAT, USER_DATA),
    "PushUrl": (*_IN_CHAT, "url"),
    "CustomNotice": (*_IN_CHAT, "message"),
    "ReadReceipt": _IN_CHAT,
    "FileLimits": _IN_CHAT,
    "FileUpload": (*_IN_CHAT, *FILE),
    "FileDownload": (*_IN_CHAT, "file_id"),
    "FileDelete": (*_IN_CHAT, "file_id"),
}
#: Operations that every dialect has.
CORE = ("RequestChat", "GetMessages", "SendMessage", "StartTyping", "StopTyping", "Disconnect")
#: The operation that brings bytes of its own.
UPLOAD = "FileUpload"
#: Operations that, taken twice, leave the chat as if taken once: they read, or say what already holds.
_REPEATABLE = frozenset(
    (
        "GetMessages",
        "StartTyping",
        "StopTyping",
        "Disconnect",
        "UpdateData",
        "ReadReceipt",
        "FileLimits",
        "FileDownload",
    )
)


def repeatable(operation: str, fields: Mapping[str, str]) -> bool:
    """Whether a request may be taken twice. With a message even GetMessages may not: it would be said twice."""
    return operation in _REPEATABLE and (operation != "GetMessages" or "message" not in fields)
