"""The simulator described in OpenAPI 3.1, made from the dialect it speaks."""

from collections.abc import Iterable, Mapping
from typing import Any

import chatload
from chatload.protocol.dialect import Dialect, OperationWire
from chatload.protocol.encode import CONTENT_TYPES, form_name
from chatload.protocol.names import EVENT_TYPES, SENDERS, Name, ResponseNames
from chatload.protocol.operations import USER_DATA

Schema = dict[str, Any]

_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_USER_DATA: Schema = {"type": "object", "additionalProperties": _TEXT}
_ABOUT = {
    "RequestChat": "Open a chat. Needs a nickname, or a first and a last name.",
    "GetMessages": "Refresh the chat, and get its events from a position on (0 or none: no events).",
    "SendMessage": "Say something.",
    "StartTyping": "The customer began to type.",
    "StopTyping": "The customer stopped typing.",
    "Disconnect": "End the chat.",
    "UpdateNickname": "Change the customer's name.",
    "UpdateData": "Add to the chat's user data.",
    "PushUrl": "Send a web address.",
    "CustomNotice": "Send a notice.",
    "ReadReceipt": "Say how far the transcript has been read.",
    "FileLimits": "What may be uploaded.",
    "FileUpload": "Upload a file.",
    "FileDownload": "Download a file; a refusal is JSON.",
    "FileDelete": "Delete a file.",
}
_REFUSALS = {
    "400": "The body is broken: not JSON, not whole multipart, not text where text must be.",
    "404": "No such service or operation.",
    "405": "No such method here.",
    "408": "The request did not come in in time.",
    "413": "The body is too large.",
    "415": "Not a content type of this operation.",
}
_KEY_REFUSALS = {"401": "An apikey header is needed.", "403": "Not the right apikey."}
#: Encoding of an operation -> those in which the simulator takes it: browsers may send a form as multipart.
_ENCODINGS = {"json": ("json",), "multipart": ("multipart",), "form": ("form", "multipart")}


def document(dialect: Dialect, service: str, apikey: bool = False) -> dict[str, Any]:
    """Return the OpenAPI document. service: the name served. apikey: whether requests need one."""
    places: dict[tuple[str, str], dict[str, OperationWire]] = {}
    for operation, wire in dialect.operations.items():
        path = (dialect.request.prefix + wire.path).replace("{service}", service) or "/"
        places.setdefault((path, wire.method), {})[operation] = wire
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), operations in places.items():
        paths.setdefault(path, {})[method.lower()] = _operation(dialect, path, service, operations, apikey)
    names = dialect.response
    key: Schema = {"securitySchemes": {"apikey": {"type": "apiKey", "in": "header", "name": "apikey"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"chatload simulator, dialect {dialect.name}",
            "version": chatload.__version__,
            "description": "A simulated chat service. Whether a request succeeded is in the answer's status code, "
            "not in the HTTP status: 0 yes, 1 no but the chat goes on, 2 no and the chat has ended.",
        },
        "paths": {**paths, **_own_pages()},
        "components": {
            "schemas": {"Answer": _answer(names), "Event": _event(names), "Error": _error(names)},
            **(key if apikey else {}),
        },
    }


def _operation(
    dialect: Dialect, path: str, service: str, operations: dict[str, OperationWire], apikey: bool
) -> dict[str, Any]:
    content: dict[str, list[Schema]] = {}
    for operation, wire in operations.items():
        schema = _request(dialect, operation, wire, service)
        for encoding in _ENCODINGS[wire.encoding]:
            content.setdefault(CONTENT_TYPES[encoding], []).append(schema)
    only = next(iter(operations)) if len(operations) == 1 else None
    described: dict[str, Any] = {
        "operationId": only or "operation",
        "summary": _ABOUT[only] if only else "Every operation.",
        "requestBody": {
            "required": CONTENT_TYPES["json"] in content,
            "content": {
                media_type: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}
                for media_type, schemas in content.items()
            },
        },
        "responses": _responses("FileDownload" in operations, apikey),
    }
    in_path = [name for name in ("chat_id", "file_id") if "{" + name + "}" in path]
    if in_path:
        schema = {**_TEXT, "minLength": 1}
        described["parameters"] = [{"name": name, "in": "path", "required": True, "schema": schema} for name in in_path]
    if apikey:
        described["security"] = [{"apikey": []}]
    return described


def _request(dialect: Dialect, operation: str, wire: OperationWire, service: str) -> Schema:
    members: dict[Name, Schema] = {}
    for ours, name in wire.parameters.items():
        json_name = name if wire.encoding == "json" else (form_name(name),)
        if ours == USER_DATA and name[-1] == "{key}" and wire.encoding == "json":
            members[name[:-1]] = _USER_DATA
        elif ours == USER_DATA:
            members[(json_name[-1].replace("{key}", "key"),)] = {**_TEXT, "description": "for any key"}
        else:
            members[json_name] = {"type": "integer", "minimum": 0} if ours in dialect.request.numbers else _TEXT
    required: dict[Name, Schema] = {
        (fixed,): {"const": value.replace("{service}", service)}
        for fixed, value in wire.fixed.items()
        if isinstance(value, str)
    }
    title: Schema = {}
    if dialect.request.operation is not None:
        required[dialect.request.operation] = {"const": wire.name}
        title = {"title": operation}
    if wire.content is not None:
        encoded = {"contentEncoding": "base64", "pattern": _BASE64} if wire.encoding == "json" else {"format": "binary"}
        required[wire.content] = {**_TEXT, **encoded}
    return {**_object({**members, **required}, required), **title}


def _responses(download: bool, apikey: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}}
    if download:
        answer["*/*"] = {"schema": {"type": "string", "format": "binary"}}
    refusals = {**_REFUSALS, **(_KEY_REFUSALS if apikey else {})}
    text = {"text/plain": {"schema": _TEXT}}
    return {
        "200": {"description": "Whether it succeeded is in the answer.", "content": answer},
        **{status: {"description": about, "content": text} for status, about in refusals.items()},
    }


def _own_pages() -> dict[str, Any]:
    status = "How many chats are alive, and how late the end of a silent one was noticed at most."
    pages = [
        ("ledger", "ledger", "What the server saw of every chat, a line each.", "application/x-ndjson", _TEXT),
        ("status", "status", status, "application/json", {"type": "object"}),
        ("openapi.json", "openapi", "This document.", "application/json", {"type": "object"}),
    ]
    described = {}
    for page, operation, summary, media_type, schema in pages:
        answer = {"description": "As it is now.", "content": {media_type: {"schema": schema}}}
        described[f"/simulator/{page}"] = {
            "get": {"operationId": operation, "summary": summary, "responses": {"200": answer}}
        }
    return described


def _answer(names: ResponseNames) -> Schema:
    members: dict[Name, Schema] = {
        names.status_code: {"type": "integer", "description": "0, 1 or 2; others only where a fault has it."},
        names.chat_ended: {"type": ["boolean", "null"]},
        names.messages: {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Event"}},
        names.next_position: {"type": ["integer", "null"], "minimum": 1},
        names.errors: {"type": "array", "items": {"$ref": "#/components/schemas/Error"}},
        names.user_data: _USER_DATA,
        names.chat_id: _TEXT,
        **dict.fromkeys((names.user_id, names.secure_key, names.alias), _TEXT_OR_NULL),
    }
    about = "Only the status code is in every answer. What is left out or null is as the client knows it."
    return {"description": about, **_object(members, [names.status_code])}


def _event(names: ResponseNames) -> Schema:
    schemas: dict[str, Schema] = {
        "nickname": _TEXT,
        "participant_id": {"type": "integer"},
        "sender": {"enum": [names.senders.get(word, word) for word in SENDERS]},
        "index": {"type": "integer", "minimum": 1},
        "type": {"enum": [names.event_types.get(word, word) for word in EVENT_TYPES]},
        "utc_time": {"type": "integer", "description": "Milliseconds since the Unix epoch."},
        "text": _TEXT,
        "message_type": _TEXT,
        "user_data": _USER_DATA,
        "quit_reason": {"type": ["string", "integer"], "description": "Why the customer was removed."},
    }
    required = [names.event.nickname, names.event.sender, names.event.type]
    return _object({getattr(names.event, key): schema for key, schema in schemas.items()}, required)


def _error(names: ResponseNames) -> Schema:
    members: dict[Name, Schema] = {names.error.code: {"type": "integer"}, names.error.advice: _TEXT}
    return _object(members, members)


def _object(members: Mapping[Name, Schema], required: Iterable[Name]) -> Schema:
    """Return the schema of an object with members at these names. A name with several parts is nested."""
    whole: Schema = {"type": "object", "properties": {}}
    for name, schema in members.items():
        inner = whole
        for part in name[:-1]:
            inner = inner["properties"].setdefault(part, {"type": "object", "properties": {}})
        inner["properties"][name[-1]] = schema
    for name in required:
        inner = whole
        for part in name:
            needed = inner.setdefault("required", [])
            if part not in needed:
                needed.append(part)
            inner = inner["properties"][part]
    return whole
