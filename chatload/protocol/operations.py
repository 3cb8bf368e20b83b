"""The operations of a chat service and the fields of each, under our names."""

from collections.abc import Mapping

KEYS = ("user_id", "secure_key", "alias")
#: A field that stands for several: `user_data.<key>`, one for each entry of the user data.
USER_DATA = "user_data"
USER_DATA_PREFIX = "user_data."
#: The fields of a file, besides its bytes.
FILE = ("file_name", "file_type")
_NAMES = ("nickname", "first_name", "last_name")
_IN_CHAT = ("chat_id", *KEYS, "position")

#: Operation -> the fields it may have. chat_id and file_id may also be in the path.
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
#: The operation that has bytes of its own.
UPLOAD = "FileUpload"
#: Operations that may be processed twice with the same effect as once: they read, or repeat what is already true.
_REPEATABLE = frozenset({
    "GetMessages", "StartTyping", "StopTyping", "Disconnect", "UpdateData", "ReadReceipt", "FileLimits", "FileDownload",
})  # fmt: skip


def repeatable(operation: str, fields: Mapping[str, str]) -> bool:
    """Return whether a request may be processed twice. A GetMessages with a message may not: it would be sent twice."""
    return operation in _REPEATABLE and (operation != "GetMessages" or "message" not in fields)
