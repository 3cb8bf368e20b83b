"""Dialects: how a chat service names its operations and fields, as TOML data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, Literal, get_args

from chatload.errors import UsageError
from chatload.protocol.causes import ERROR_CODES, QUIT_REASONS, EndCause
from chatload.protocol.dialect_checks import check_operations
from chatload.protocol.encode import Encoder
from chatload.protocol.names import ANSWER_NAMES, ERROR_NAMES, EVENT_NAMES, EVENT_TYPES, SENDERS, Name, ResponseNames
from chatload.protocol.operations import CORE, OPERATION_FIELDS
from chatload.protocol.secret import Secret
from chatload.protocol.toml_file import MOST_DEPTH, Table, parse_toml, read_toml

__all__ = ["OPERATION_FIELDS", "Dialect", "Encoder", "OperationWire", "load_dialect", "parse_dialect"]

Encoding = Literal["form", "json", "multipart"]
Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OperationWire:
    """One operation on the wire.

    path: below the prefix ({chat_id} and {file_id} allowed). name: its name in a body that names the
    operation. parameters: our field -> name on the wire. fixed: values sent always (text; in JSON
    numbers and tables too; `{service}` in a text is filled in). content: what an upload's bytes are
    called (multipart: that part's name; JSON: base64 text).
    """

    path: str
    method: str
    parameters: Mapping[str, Name]
    fixed: Mapping[str, Any]
    name: str
    encoding: Encoding = "form"
    content: Name | None = None


@dataclass(frozen=True)
class Dialect:
    """One way of speaking to a chat service.

    prefix: path before every operation's ({service} allowed). operation: where a body names its
    operation, None where the path does. numbers: our fields that are JSON numbers. keeps_ended_s:
    for at least this long (seconds) the server answers 0/true, with the transcript, for a chat that
    ended for another reason than silence; 0 where nothing is known of it. long_poll_s: for so long
    (seconds) it may hold a GetMessages that has nothing to tell; 0 where it answers at once.
    agent_end_removes_customer: where an agent's leaving ends the chat, it writes the customer's
    ParticipantLeft at once after the agent's.
    """

    name: str
    prefix: str
    encoding: Encoding
    headers: Mapping[str, str | Secret]
    operations: Mapping[str, OperationWire]
    operation: Name | None = None
    numbers: frozenset[str] = frozenset()
    response: ResponseNames = field(default_factory=ResponseNames)
    keeps_ended_s: float = 0.0
    long_poll_s: float = 0.0
    agent_end_removes_customer: bool = False

    def with_trailing_slash(self, operation: str) -> Dialect:
        """This dialect with one slash at the end of an operation's path, where paths name operations."""
        if self.operation is not None:
            return self
        wire = self.operations[operation]
        slashed = replace(wire, path=wire.path.rstrip("/") + "/")
        return replace(self, operations={**self.operations, operation: slashed})

    def encoder(self, service: str) -> Encoder:
        """The request builder for one service name."""
        return Encoder(self, service)

    def require(self, operations: Iterable[str]) -> None:
        """Raises UsageError where the dialect lacks one of the operations."""
        lacking = sorted(set(operations) - set(self.operations))
        if lacking:
            raise UsageError(
                f"dialect {self.name!r} has no operation {', '.join(lacking)}",
                "describe it in the dialect's file, or do without it",
            )


def load_dialect(name_or_path: str, environment: Environment | None = os.environ) -> Dialect:
    """A built-in dialect by name, or one from a TOML file by path.

    environment: where values such as { env = "NAME" } come from; None leaves them empty, for a server
    that has no use for its clients' keys. Raises UsageError for an unknown name, FileError (file, key,
    what was expected) for a bad file and for a variable that is not set.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return _dialect(read_toml(name_or_path), name_or_path, environment)
    folder = resources.files("chatload.protocol") / "dialects"
    known = sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name_or_path not in known:
        raise UsageError(f"no dialect named {name_or_path!r}", f"known: {', '.join(known)}, or a path to a .toml file")
    text = (folder / f"{name_or_path}.toml").read_text(encoding="utf-8")
    return parse_dialect(text, f"{name_or_path}.toml", environment)


def parse_dialect(text: str, source: str, environment: Environment | None = os.environ) -> Dialect:
    """A Dialect from TOML text; `source` names the file in errors."""
    return _dialect(parse_toml(text, source), source, environment)


def _dialect(data: dict[str, Any], source: str, environment: Environment | None) -> Dialect:
    table = Table(source, "", data)
    request, server = table.table("request"), table.table("server", {})
    encoding = _encoding(request, "form")
    operation = request.path("operation") if "operation" in request.data else None
    fixed = _fixed(request, environment)
    dialect = Dialect(
        name=table.text("name"),
        prefix=request.text("prefix", starts="/"),
        encoding=encoding,
        headers=_headers(request, environment),
        operations=_operations(table.table("operations"), encoding, fixed, environment),
        operation=operation,
        numbers=_numbers(request, encoding),
        response=_response(table.table("response", {})),
        keeps_ended_s=server.seconds("keeps_ended_s", 0.0),
        long_poll_s=server.seconds("long_poll_s", 0.0),
        agent_end_removes_customer=server.truth("agent_end_removes_customer", False),
    )
    request.only("prefix", "encoding", "operation", "numbers", "headers", "fixed")
    server.only("keeps_ended_s", "long_poll_s", "agent_end_removes_customer")
    table.only("name", "request", "operations", "response", "server")
    check_operations(dialect, table.table("operations"), request)
    return dialect


def _encoding(table: Table, default: str) -> Encoding:
    value = table.text("encoding", default=default)
    for known in get_args(Encoding):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise table.wrong("encoding", 'expected "form", "json" or "multipart"')


def _numbers(request: Table, encoding: Encoding) -> frozenset[str]:
    names = request.data.get("numbers", [])
    known = {name for fields in OPERATION_FIELDS.values() for name in fields}
    if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
        raise request.wrong("numbers", "expected a list of our field names")
    if names and encoding != "json":
        raise request.wrong("numbers", 'expected only with encoding "json"')
    return frozenset(names)


def _operations(
    table: Table, encoding: Encoding, fixed: Mapping[str, Any], environment: Environment | None
) -> dict[str, OperationWire]:
    operations = {}
    for name, allowed in OPERATION_FIELDS.items():
        if name not in table.data and name not in CORE:
            continue
        entry = table.table(name)
        own = _encoding(entry, encoding)
        operations[name] = OperationWire(
            path=entry.text("path", default=""),
            method=entry.text("method", default="POST"),
            parameters=entry.paths("parameters", allowed),
            fixed={**fixed, **_fixed(entry, environment)},
            name=entry.text("name", default=name),
            encoding=own,
            content=entry.path("content") if "content" in entry.data else None,
        )
        entry.only("path", "method", "parameters", "fixed", "name", "encoding", "content")
    table.only(*OPERATION_FIELDS)
    return operations


def _headers(request: Table, environment: Environment | None) -> dict[str, str | Secret]:
    table = request.table("headers", {})
    headers = {}
    for name in table.data:
        value = _text_or_secret(table, name, environment)
        text = value.reveal() if isinstance(value, Secret) else value
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise table.wrong(name, "expected a header's name: letters, digits, dashes")
        if name.lower() in ("content-length", "transfer-encoding", "host", "connection"):
            raise table.wrong(name, "expected to be left out; it is set for every request")
        if text != text.strip() or not all(" " <= c <= "~" or "\xa0" <= c <= "\xff" for c in text):
            raise table.wrong(name, "expected a value fit for a header: one line, Latin-1, no space around it")
        headers[name] = value
    return headers


def _fixed(table: Table, environment: Environment | None) -> dict[str, Any]:
    fixed = table.table("fixed", {})
    return {name: _fixed_value(fixed, name, environment) for name in fixed.data}


def _fixed_value(table: Table, name: str, environment: Environment | None, depth: int = 1) -> Any:
    value = table.data[name]
    if isinstance(value, dict) and set(value) != {"env"}:
        inner = table.table(name)
        if depth >= MOST_DEPTH:
            raise table.wrong(name, f"expected tables {MOST_DEPTH} deep at most")
        return {key: _fixed_value(inner, key, environment, depth + 1) for key in inner.data}
    if isinstance(value, bool | int | float):
        return value
    return _text_or_secret(table, name, environment)


def _text_or_secret(table: Table, name: str, environment: Environment | None) -> str | Secret:
    """Text as it stands, or { env = "NAME" }: the value of an environment variable."""
    value = table.data[name]
    if not isinstance(value, dict):
        return table.text(name)
    variable = table.table(name).text("env")
    table.table(name).only("env")
    if environment is None:
        return Secret("")
    if not environment.get(variable):
        raise table.wrong(name, f"the environment variable {variable} is not set")
    return Secret(environment[variable])


def _response(table: Table) -> ResponseNames:
    table.only(*ANSWER_NAMES, "event", "error", "event_types", "senders", "quit_reasons", "error_codes")
    for name, words in (("event_types", EVENT_TYPES), ("senders", SENDERS)):
        table.table(name, {}).only(*words)
        theirs = list(table.texts(name).values())
        if len(set(theirs)) < len(theirs):
            raise table.wrong(name, "expected a different word for each")
    return ResponseNames(
        answer={key: table.path(key) for key in ANSWER_NAMES if key in table.data},
        event=table.paths("event", EVENT_NAMES),
        error=table.paths("error", ERROR_NAMES),
        event_types=table.texts("event_types"),
        senders=table.texts("senders"),
        quit_reasons=_causes(table, "quit_reasons", QUIT_REASONS),
        error_codes=_causes(table, "error_codes", ERROR_CODES),
    )


def _causes(table: Table, name: str, default: Mapping[str, EndCause]) -> Mapping[str, EndCause]:
    """The table of code -> cause at a key; the built-in one where the dialect has none."""
    if name not in table.data:
        return default
    causes = {}
    for code, word in table.texts(name).items():
        if word not in list(EndCause):
            raise table.table(name).wrong(code, f"expected one of {', '.join(EndCause)}")
        causes[code] = EndCause(word)
    return causes
