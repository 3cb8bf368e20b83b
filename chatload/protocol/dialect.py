"""Dialects: how a chat service names its operations and fields, as TOML data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal, get_args
from urllib.parse import quote, quote_plus

import orjson

from chatload.errors import FileError, UsageError
from chatload.protocol.reply import ResponseNames
from chatload.protocol.toml_file import parse_toml, read_toml
from chatload.protocol.wire import WireRequest

Encoding = Literal["form", "json"]

#: Operations every dialect must describe, and the fields each may carry (our names).
KEYS = ("user_id", "secure_key", "alias")
OPERATION_FIELDS: Mapping[str, tuple[str, ...]] = {
    "RequestChat": ("nickname", "subject", "text"),
    "GetMessages": (*KEYS, "position", "message"),
    "SendMessage": (*KEYS, "position", "message"),
    "StartTyping": (*KEYS, "position", "message"),
    "StopTyping": (*KEYS, "position", "message"),
    "Disconnect": (*KEYS, "position"),
}
_CONTENT_TYPES: Mapping[Encoding, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class OperationWire:
    """One operation on the wire: path below the prefix ({chat_id} allowed), our field -> wire name."""

    path: str
    method: str
    parameters: Mapping[str, str]
    fixed: Mapping[str, str]


@dataclass(frozen=True)
class Dialect:
    """One way of speaking to a chat service.

    prefix: path before every operation's ({service} allowed). keeps_ended_s: for at least this
    long (seconds) the server answers 0/true, with the transcript, for a chat that ended for
    another reason than silence; 0 where nothing is known of it.
    """

    name: str
    prefix: str
    encoding: Encoding
    headers: Mapping[str, str]
    operations: Mapping[str, OperationWire]
    response: ResponseNames = field(default_factory=ResponseNames)
    keeps_ended_s: float = 0.0

    def encoder(self, service: str) -> Encoder:
        """The request builder for one service name."""
        return Encoder(self, service)


class Encoder:
    """Turns (operation, fields) into a WireRequest for one dialect and one service."""

    def __init__(self, dialect: Dialect, service: str) -> None:
        prefix = dialect.prefix.replace("{service}", quote(service, safe=""))
        headers = (("Content-Type", _CONTENT_TYPES[dialect.encoding]), *dialect.headers.items())
        self._headers = tuple(headers)
        self._form = dialect.encoding == "form"
        self._operations = {
            name: (wire.method, prefix + wire.path, tuple(wire.parameters.items()), dict(wire.fixed))
            for name, wire in dialect.operations.items()
        }

    def encode(self, operation: str, fields: Mapping[str, str]) -> WireRequest:
        """The request for `operation`; fields the dialect has no name for are left out."""
        method, path, parameters, fixed = self._operations[operation]
        if "{chat_id}" in path:
            path = path.replace("{chat_id}", quote(fields.get("chat_id", ""), safe=""))
        values = dict(fixed)
        for ours, theirs in parameters:
            value = fields.get(ours)
            if value is not None:
                values[theirs] = value
        if self._form:
            body = "&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in values.items()).encode()
        else:
            body = orjson.dumps(values)
        return WireRequest(method, path or "/", self._headers, body)


def load_dialect(name_or_path: str) -> Dialect:
    """A built-in dialect by name, or one from a TOML file by path.

    Raises UsageError for an unknown name, FileError (file, key, what was expected) for a bad file.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return _dialect(read_toml(name_or_path), name_or_path)
    folder = resources.files("chatload.protocol") / "dialects"
    known = sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name_or_path not in known:
        raise UsageError(f"no dialect named {name_or_path!r}", f"known: {', '.join(known)}, or a path to a .toml file")
    return parse_dialect((folder / f"{name_or_path}.toml").read_text(encoding="utf-8"), f"{name_or_path}.toml")


def parse_dialect(text: str, source: str) -> Dialect:
    """A Dialect from TOML text; `source` names the file in errors."""
    return _dialect(parse_toml(text, source), source)


def _dialect(data: dict[str, Any], source: str) -> Dialect:
    table = _Table(source, "", data)
    request, server = table.table("request"), table.table("server", {})
    dialect = Dialect(
        name=table.text("name"),
        prefix=request.text("prefix", starts="/"),
        encoding=_encoding(request),
        headers=request.texts("headers"),
        operations=_operations(table.table("operations")),
        response=ResponseNames(**_response(table.table("response", {}))),
        keeps_ended_s=server.seconds("keeps_ended_s", 0.0),
    )
    request.only("prefix", "encoding", "headers")
    server.only("keeps_ended_s")
    table.only("name", "request", "operations", "response", "server")
    return dialect


def _encoding(request: _Table) -> Encoding:
    value = request.text("encoding", default="form")
    for known in get_args(Encoding):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise request.wrong("encoding", 'expected "form" or "json"')


def _operations(table: _Table) -> dict[str, OperationWire]:
    operations = {}
    for name, allowed in OPERATION_FIELDS.items():
        entry = table.table(name)
        parameters = entry.texts("parameters")
        for ours in parameters:
            if ours not in allowed:
                raise entry.wrong(f"parameters.{ours}", f"expected one of {', '.join(allowed)}")
        path = entry.text("path", default="")
        method = entry.text("method", default="POST")
        operations[name] = OperationWire(path, method, parameters, entry.texts("fixed"))
        entry.only("path", "method", "parameters", "fixed")
    table.only(*OPERATION_FIELDS)
    return operations


def _response(table: _Table) -> dict[str, str]:
    table.only(*ResponseNames._fields)
    return {name: table.text(name) for name in ResponseNames._fields if name in table.data}


class _Table:
    """A TOML table that knows its file and key, so that every mistake can be named."""

    def __init__(self, source: str, key: str, data: dict[str, Any]) -> None:
        self.source, self.key, self.data = source, key, data

    def wrong(self, name: str, expected: str) -> FileError:
        return FileError(self.source, f"{self.key}.{name}".lstrip("."), expected)

    def table(self, name: str, default: dict[str, Any] | None = None) -> _Table:
        value = self.data.get(name, default)
        if not isinstance(value, dict):
            raise self.wrong(name, "expected a table")
        return _Table(self.source, f"{self.key}.{name}".lstrip("."), value)

    def text(self, name: str, default: str | None = None, starts: str = "") -> str:
        value = self.data.get(name, default)
        if not isinstance(value, str) or not value.startswith(starts):
            raise self.wrong(name, f'expected text starting with "{starts}"' if starts else "expected text")
        return value

    def texts(self, name: str) -> dict[str, str]:
        table = self.table(name, {})
        return {key: table.text(key) for key in table.data}

    def seconds(self, name: str, default: float) -> float:
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise self.wrong(name, "expected seconds, a number not below 0")
        return float(value)

    def only(self, *known: str) -> None:
        for name in self.data:
            if name not in known:
                raise self.wrong(name, f"unknown key; expected one of {', '.join(known)}")
