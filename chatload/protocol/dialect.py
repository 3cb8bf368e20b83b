"""Dialects: how a chat service names its operations and fields, as TOML data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from chatload.errors import FileError, UsageError
from chatload.protocol.causes import ERROR_CODES, QUIT_REASONS, EndCause
from chatload.protocol.names import ANSWER_NAMES, ERROR_NAMES, EVENT_NAMES, EVENT_TYPES, SENDERS, Name, ResponseNames
from chatload.protocol.operations import CORE, OPERATION_FIELDS, UPLOAD, USER_DATA
from chatload.protocol.secret import Secret
from chatload.protocol.toml_file import MOST_DEPTH, FromFile, Seconds, checked, parse_toml, read_toml

Encoding = Literal["form", "json", "multipart"]
Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OperationWire:
    """One operation on the wire.

    path: below the prefix; may contain {chat_id} and {file_id}. name: its name in a body that names the operation.
    parameters: our field -> name on the wire. fixed: values that are always sent (text; in JSON also numbers and
    tables; {service} in a text is filled in). content: the name of the bytes of an upload (multipart: that of the part;
    JSON: that of the base64 text).
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
    """How one kind of chat service is spoken to.

    prefix: path before that of every operation; may contain {service}. operation: the name under which a body names its
        operation; None if the path does. numbers: our fields that are JSON numbers.
    keeps_ended_s: at least this long (seconds) the server answers 0/true, with the transcript, for a chat that ended
        for another reason than silence; 0: not known.
    long_poll_s: without events, the server may hold a GetMessages for this long (seconds); 0: it answers at once.
    agent_end_removes_customer: if an agent ends the chat by leaving, the server writes the customer's ParticipantLeft
        directly after the agent's.
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
        """Return this dialect with one slash at the end of an operation's path; unchanged if bodies name operations."""
        if self.operation is not None:
            return self
        wire = self.operations[operation]
        slashed = replace(wire, path=wire.path.rstrip("/") + "/")
        return replace(self, operations={**self.operations, operation: slashed})

    def require(self, operations: Iterable[str]) -> None:
        """Raise UsageError if the dialect lacks one of the operations."""
        lacking = sorted(set(operations) - set(self.operations))
        if lacking:
            raise UsageError(
                f"dialect {self.name!r} has no operation {', '.join(lacking)}",
                "describe it in the dialect's file, or do without it",
            )


def load_dialect(name_or_path: str, environment: Environment | None = os.environ) -> Dialect:
    """Return a built-in dialect by name, or one from a TOML file by path.

    Args:
        name_or_path: a text that ends with .toml or contains a slash is a path.
        environment: values such as { env = "NAME" } are read from it; None leaves them empty, for a server, which does
            not need the keys of its clients.

    Raises:
        UsageError: the name is unknown.
        FileError: the file is wrong, or a variable is not set. It names file, key and what is expected.
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
    """Return the Dialect in TOML text; `source` names the file in errors. Raises FileError."""
    return _dialect(parse_toml(text, source), source, environment)


# -- the file ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnvironmentVariable:
    """The value `{ env = "NAME" }`, which stands for an environment variable."""

    name: str


def _wire_name(value: Any) -> Name:
    """Return a name on the wire: from a text, or from a list of texts that lead into nested objects."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValueError('expected a name, or a list of them as in ["outer", "inner"]')
    if len(parts) > MOST_DEPTH:
        raise ValueError(f"expected a list of {MOST_DEPTH} names at most")
    return tuple(parts)


def _text_or_variable(value: Any) -> str | EnvironmentVariable:
    if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
        return EnvironmentVariable(value["env"])
    if not isinstance(value, str):
        raise ValueError('expected text, or { env = "NAME" }')
    return value


def _fixed_value(value: Any, depth: int = 0) -> Any:
    """Return a value sent with every request: text, a number, true, false, or a table of these."""
    if isinstance(value, dict) and set(value) != {"env"}:
        if depth >= MOST_DEPTH:
            raise ValueError(f"expected tables {MOST_DEPTH} deep at most")
        return {key: _fixed_value(inner, depth + 1) for key, inner in value.items()}
    return value if isinstance(value, bool | int | float) else _text_or_variable(value)


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError('expected text starting with "/"')
    return value


def _different(words: dict[str, str]) -> dict[str, str]:
    if len(set(words.values())) < len(words):
        raise ValueError("expected a different word for each")
    return words


_WireName = Annotated[Name, BeforeValidator(_wire_name)]
_Fixed = dict[str, Annotated[Any, BeforeValidator(_fixed_value)]]
_Causes = dict[str, Annotated[EndCause, Field(strict=False)]]
_Words = dict[str, str]


class RequestTable(FromFile):
    """The table [request]."""

    prefix: Annotated[str, BeforeValidator(_prefix)]
    encoding: Encoding = "form"
    operation: _WireName | None = None
    numbers: list[str] = Field(default=[])
    headers: dict[str, Annotated[Any, BeforeValidator(_text_or_variable)]] = Field(default={})
    fixed: _Fixed = Field(default={})


class OperationTable(FromFile):
    """A table [operations.NAME]."""

    path: str = ""
    method: str = "POST"
    parameters: dict[str, _WireName] = Field(default={})
    fixed: _Fixed = Field(default={})
    name: str | None = None
    encoding: Encoding | None = None
    content: _WireName | None = None


class ResponseTable(FromFile):
    """The table [response]: our name -> the service's name, if it differs from that of gms-v2."""

    status_code: _WireName | None = None
    chat_ended: _WireName | None = None
    chat_id: _WireName | None = None
    user_id: _WireName | None = None
    secure_key: _WireName | None = None
    alias: _WireName | None = None
    next_position: _WireName | None = None
    messages: _WireName | None = None
    errors: _WireName | None = None
    user_data: _WireName | None = None
    event: dict[str, _WireName] = Field(default={})
    error: dict[str, _WireName] = Field(default={})
    event_types: Annotated[_Words, AfterValidator(_different)] = Field(default={})
    senders: Annotated[_Words, AfterValidator(_different)] = Field(default={})
    quit_reasons: _Causes | None = None
    error_codes: _Causes | None = None


class ServerTable(FromFile):
    """The table [server]: other facts about the server (see Dialect)."""

    keeps_ended_s: Seconds = 0.0
    long_poll_s: Seconds = 0.0
    agent_end_removes_customer: bool = False


class DialectFile(FromFile):
    """A dialect's file."""

    name: str
    request: RequestTable
    operations: dict[str, OperationTable]
    response: ResponseTable = ResponseTable()
    server: ServerTable = ServerTable()


class _Source(NamedTuple):
    """The file of a dialect and the environment; makes the errors about the file."""

    name: str
    environment: Environment | None

    def wrong(self, key: str, expected: str) -> FileError:
        """Return the error for a key, written as in TOML."""
        return FileError(self.name, key, expected)

    def known(self, key: str, given: Iterable[str], known: Iterable[str]) -> None:
        """Raise FileError if the table at `key` has an unknown key."""
        for name in given:
            if name not in known:
                raise self.wrong(f"{key}.{name}", f"unknown key; expected one of {', '.join(known)}")

    def resolved(self, key: str, value: Any) -> Any:
        """Return a value with its variables filled in from the environment."""
        if isinstance(value, dict):
            return {name: self.resolved(f"{key}.{name}", inner) for name, inner in value.items()}
        if not isinstance(value, EnvironmentVariable):
            return value
        if self.environment is None:
            return Secret("")
        if not self.environment.get(value.name):
            raise self.wrong(key, f"the environment variable {value.name} is not set")
        return Secret(self.environment[value.name])


def _dialect(data: dict[str, Any], source: str, environment: Environment | None) -> Dialect:
    file, where = checked(data, DialectFile, source), _Source(source, environment)
    request, server = file.request, file.server
    where.known("operations", file.operations, OPERATION_FIELDS)
    for name in CORE:
        if name not in file.operations:
            raise where.wrong(f"operations.{name}", "expected a table")
    if not set(request.numbers) <= {name for fields in OPERATION_FIELDS.values() for name in fields}:
        raise where.wrong("request.numbers", "expected a list of our field names")
    if request.numbers and request.encoding != "json":
        raise where.wrong("request.numbers", 'expected only with encoding "json"')
    if request.operation is not None and request.encoding != "json" and len(request.operation) > 1:
        raise where.wrong("request.operation", 'expected one name; lists are for encoding "json"')
    fixed = where.resolved("request.fixed", request.fixed)
    dialect = Dialect(
        name=file.name,
        prefix=request.prefix,
        encoding=request.encoding,
        headers=_headers(request, where),
        operations={
            # In the order of OPERATION_FIELDS, whatever the file's is.
            name: _operation(name, file.operations[name], request.encoding, fixed, where)
            for name in OPERATION_FIELDS
            if name in file.operations
        },
        operation=request.operation,
        numbers=frozenset(request.numbers),
        response=_response(file.response, where),
        keeps_ended_s=server.keeps_ended_s,
        long_poll_s=server.long_poll_s,
        agent_end_removes_customer=server.agent_end_removes_customer,
    )
    _check_operations(dialect, where)
    return dialect


def _operation(
    name: str, table: OperationTable, encoding: Encoding, fixed: Mapping[str, Any], where: _Source
) -> OperationWire:
    key = f"operations.{name}"
    where.known(f"{key}.parameters", table.parameters, OPERATION_FIELDS[name])
    return OperationWire(
        path=table.path,
        method=table.method,
        parameters=table.parameters,
        fixed={**fixed, **where.resolved(f"{key}.fixed", table.fixed)},
        name=name if table.name is None else table.name,
        encoding=table.encoding or encoding,
        content=table.content,
    )


def _headers(request: RequestTable, where: _Source) -> dict[str, str | Secret]:
    headers = {}
    for name, given in request.headers.items():
        key = f"request.headers.{name}"
        value = where.resolved(key, given)
        text = value.reveal() if isinstance(value, Secret) else value
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise where.wrong(key, "expected a header's name: letters, digits, dashes")
        if name.lower() in ("content-length", "transfer-encoding", "host", "connection"):
            raise where.wrong(key, "expected to be left out; it is set for every request")
        if text != text.strip() or not all(" " <= c <= "~" or "\xa0" <= c <= "\xff" for c in text):
            raise where.wrong(key, "expected a value fit for a header: one line, Latin-1, no space around it")
        headers[name] = value
    return headers


def _response(table: ResponseTable, where: _Source) -> ResponseNames:
    for name, words in (
        ("event", EVENT_NAMES),
        ("error", ERROR_NAMES),
        ("event_types", EVENT_TYPES),
        ("senders", SENDERS),
    ):
        where.known(f"response.{name}", getattr(table, name), words)
    answer = {key: getattr(table, key) for key in ANSWER_NAMES}
    return ResponseNames(
        answer={key: name for key, name in answer.items() if name is not None},
        event=table.event,
        error=table.error,
        event_types=table.event_types,
        senders=table.senders,
        quit_reasons=QUIT_REASONS if table.quit_reasons is None else table.quit_reasons,
        error_codes=ERROR_CODES if table.error_codes is None else table.error_codes,
    )


# -- checks: names that could not be distinguished when a request is decoded -----------------------

#: Fields that may be in the path of a request.
IN_PATH = ("service", "chat_id", "file_id")
#: In the name of user_data: stands for the key of one entry.
KEY = "{key}"


def _check_operations(dialect: Dialect, where: _Source) -> None:
    """Raise FileError if operations of the dialect contradict each other or themselves."""
    places: dict[tuple[str, str, str], str] = {}
    for operation, wire in dialect.operations.items():
        key = f"operations.{operation}"
        _check_parameters(dialect, wire, f"{key}.parameters", where)
        _check_content(operation, wire, key, where)
        if wire.encoding != "json" and any(isinstance(value, dict) for value in wire.fixed.values()):
            raise where.wrong(f"{key}.fixed", 'expected text; tables are for encoding "json"')
        for part in IN_PATH:
            if (dialect.prefix + wire.path).count("{" + part + "}") > 1:
                raise where.wrong(f"{key}.path", f"expected {{{part}}} once in prefix and path")
        named = wire.name if dialect.operation is not None else ""
        place = (wire.method, wire.path.rstrip("/"), named)
        if place in places:
            told_apart = "another name" if dialect.operation is not None else "another path, or request.operation"
            raise where.wrong(f"{key}.path", f"expected {told_apart}: {places[place]} has the same")
        places[place] = operation


def _check_parameters(dialect: Dialect, wire: OperationWire, key: str, where: _Source) -> None:
    taken: set[Name] = {wire.content} if wire.content else set()
    if dialect.operation is not None:
        taken.add(dialect.operation)
    for ours, name in wire.parameters.items():
        if (ours == USER_DATA) != any(KEY in part for part in name):
            raise where.wrong(
                f"{key}.{ours}", 'expected {key} in the name of user_data and in no other, as in ["userData", "{key}"]'
            )
        if ours == USER_DATA and (KEY in "".join(name[:-1]) or name[-1].count(KEY) > 1 or name == (KEY,)):
            raise where.wrong(
                f"{key}.{ours}", 'expected {key} once, at the end, and below something: ["userData", "{key}"]'
            )
        if any(_clash(name, other) for other in taken):
            raise where.wrong(f"{key}.{ours}", f"expected a name of its own; {' '.join(name)} is taken")
        taken.add(name)


def _clash(one: Name, other: Name) -> bool:
    """Return whether two names cannot be distinguished, or one would be both a text and an object with the other."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer) and KEY in shorter[-1] + longer[-1]:
        template, plain = (shorter, longer) if KEY in shorter[-1] else (longer, shorter)
        before, _, after = template[-1].partition(KEY)
        return template[:-1] == plain[:-1] and plain[-1].startswith(before) and plain[-1].endswith(after)
    return longer[: len(shorter)] == shorter


def _check_content(operation: str, wire: OperationWire, key: str, where: _Source) -> None:
    if (wire.content is not None) != (operation == UPLOAD):
        expected = "the name of the file's content" if operation == UPLOAD else f"it in {UPLOAD} alone"
        raise where.wrong(f"{key}.content", f"expected {expected}")
    if operation == UPLOAD and wire.encoding == "form":
        raise where.wrong(f"{key}.encoding", 'expected "multipart" or "json" for a file')
    if wire.encoding != "json" and wire.content is not None and len(wire.content) > 1:
        raise where.wrong(f"{key}.content", 'expected one name; lists are for encoding "json"')
