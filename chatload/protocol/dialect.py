"""Dialects: how a chat service names its operations and fields, as TOML data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from chatload.errors import UsageError
from chatload.protocol.names import Name, ResponseNames, WireName, get_in, one_of
from chatload.protocol.operations import CORE, OPERATION_FIELDS, UPLOAD, USER_DATA
from chatload.protocol.secret import Secret, revealed
from chatload.protocol.toml_file import (
    MOST_DEPTH,
    FromFile,
    MistakeError,
    Seconds,
    load_toml,
    loads_toml,
    read_toml,
    unknown_key,
)

Encoding = Literal["form", "json", "multipart"]
Environment = Mapping[str, str]
#: Fields that may be in the path of a request.
IN_PATH = ("service", "chat_id", "file_id")
#: In the name of user_data: stands for the key of one entry.
KEY = "{key}"


def _text_or_secret(value: Any, info: ValidationInfo, *key: str) -> str | Secret:
    """Return a text, or the value of the environment variable that `{ env = "NAME" }` names."""
    if isinstance(value, dict) and set(value) == {"env"} and isinstance(value["env"], str):
        if info.context is None:
            return Secret("")
        if not info.context.get(value["env"]):
            raise MistakeError(f"the environment variable {value['env']} is not set", *key)
        return Secret(info.context[value["env"]])
    if not isinstance(value, str):
        raise ValueError('expected text, or { env = "NAME" }')
    return value


def _fixed_value(value: Any, info: ValidationInfo, *key: str) -> Any:
    """Return a value sent with every request: text, a number, true, false, or a table of these."""
    if isinstance(value, dict) and set(value) != {"env"}:
        if len(key) >= MOST_DEPTH:
            raise ValueError(f"expected tables {MOST_DEPTH} deep at most")
        return {name: _fixed_value(inner, info, *key, name) for name, inner in value.items()}
    return value if isinstance(value, bool | int | float) else _text_or_secret(value, info, *key)


def _header_name(name: str) -> str:
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("expected a header's name: letters, digits, dashes")
    if name.lower() in ("content-length", "transfer-encoding", "host", "connection"):
        raise ValueError("expected to be left out; it is set for every request")
    return name


def _header_value(value: Any, info: ValidationInfo) -> str | Secret:
    given = _text_or_secret(value, info)
    text = revealed(given)
    if text != text.strip() or not all(" " <= c <= "~" or "\xa0" <= c <= "\xff" for c in text):
        raise ValueError("expected a value fit for a header: one line, Latin-1, no space around it")
    return given


def _prefix(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError('expected text starting with "/"')
    return value


def _field_names(names: list[str]) -> list[str]:
    if not set(names) <= {name for fields in OPERATION_FIELDS.values() for name in fields}:
        raise ValueError("expected a list of our field names")
    return names


_Fixed = dict[str, Annotated[Any, BeforeValidator(_fixed_value)]]


class RequestTable(FromFile):
    """The table [request].

    prefix: path before that of every operation; may contain {service}. operation: the name under which a body names its
    operation; None if the path does. numbers: our fields that are JSON numbers. fixed: see OperationWire.
    """

    prefix: Annotated[str, BeforeValidator(_prefix)]
    encoding: Encoding = "form"
    operation: WireName | None = None
    numbers: Annotated[list[str], AfterValidator(_field_names)] = Field(default=[])
    headers: dict[Annotated[str, AfterValidator(_header_name)], Annotated[Any, BeforeValidator(_header_value)]] = Field(
        default={}
    )
    fixed: _Fixed = Field(default={})


class OperationWire(FromFile):
    """One operation on the wire: a table [operations.NAME].

    path: below the prefix; may contain {chat_id} and {file_id}. name: its name in a body that names the operation.
    parameters: our field -> name on the wire. fixed: values that are always sent (text; in JSON also numbers and
    tables; {service} in a text is filled in). content: the name of the bytes of an upload (multipart: that of the part;
    JSON: that of the base64 text).
    """

    path: str = ""
    method: str = "POST"
    parameters: dict[str, WireName] = Field(default={})
    fixed: _Fixed = Field(default={})
    name: str = ""
    encoding: Encoding = "form"
    content: WireName | None = None


class ServerTable(FromFile):
    """The table [server]: other facts about the server.

    keeps_ended_s: at least this long (seconds) the server answers 0/true, with the transcript, for a chat that ended
        for another reason than silence; 0: not known.
    long_poll_s: without events, the server may hold a GetMessages for this long (seconds); 0: it answers at once.
    agent_end_removes_customer: if an agent ends the chat by leaving, the server writes the customer's ParticipantLeft
        directly after the agent's.
    """

    keeps_ended_s: Seconds = 0.0
    long_poll_s: Seconds = 0.0
    agent_end_removes_customer: bool = False


class Dialect(FromFile):
    """How one kind of chat service is spoken to: a dialect's file."""

    name: str
    request: RequestTable
    operations: dict[Annotated[str, one_of(OPERATION_FIELDS)], OperationWire]
    response: ResponseNames = ResponseNames()
    server: ServerTable = ServerTable()

    @field_validator("operations")
    @classmethod
    def _completed(cls, operations: dict[str, OperationWire], info: ValidationInfo) -> dict[str, OperationWire]:
        """Fill in what [request] says for all operations. They get the order of OPERATION_FIELDS."""
        request = info.data.get("request")
        if request is None:
            return operations  # [request] has a mistake, and that is reported.
        completed = {}
        for name in OPERATION_FIELDS:
            if name in operations:
                wire = operations[name]
                given = {key: getattr(wire, key) for key in wire.model_fields_set}
                fixed = {**request.fixed, **wire.fixed}
                update = {"name": name, "encoding": request.encoding, **given, "fixed": fixed}
                completed[name] = wire.model_copy(update=update)
        return completed

    @model_validator(mode="after")
    def _without_mistakes(self) -> Dialect:
        for key, expected in _mistakes(self):
            raise MistakeError(expected, key)
        return self

    def with_trailing_slash(self, operation: str) -> Dialect:
        """Return this dialect with one slash at the end of an operation's path; unchanged if bodies name operations."""
        if self.request.operation is not None:
            return self
        wire = self.operations[operation]
        slashed = wire.model_copy(update={"path": wire.path.rstrip("/") + "/"})
        return self.model_copy(update={"operations": {**self.operations, operation: slashed}})

    def require(self, operations: Iterable[str]) -> None:
        """Raise UsageError if the dialect lacks one of the operations."""
        lacking = sorted(set(operations) - set(self.operations))
        if lacking:
            raise UsageError(
                f"dialect {self.name!r} has no operation {', '.join(lacking)}",
                "describe it in the dialect's file, or do without it",
            )


def load_dialect(name_or_path: str, environment: Environment | None = os.environ) -> Dialect:
    """Return a built-in dialect by name, or one from a TOML file by path. Raises UsageError or FileError.

    name_or_path: a text that ends with .toml or contains a slash is a path.
    environment: values such as { env = "NAME" } are read from it; None leaves them empty, for a server, which does not
        need the keys of its clients.
    """
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return load_toml(name_or_path, Dialect, environment)
    folder = resources.files("chatload.protocol") / "dialects"
    known = sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if name_or_path not in known:
        raise UsageError(f"no dialect named {name_or_path!r}", f"known: {', '.join(known)}, or a path to a .toml file")
    text = (folder / f"{name_or_path}.toml").read_text(encoding="utf-8")
    return parse_dialect(text, f"{name_or_path}.toml", environment)


def variables_of(name_or_path: str) -> set[str]:
    """Return the environment variables that a dialect's file names; a built-in one names none. Raises FileError."""
    if not Path(name_or_path).is_file():
        return set()
    found: set[str] = set()
    tables = [read_toml(name_or_path)]
    while tables:
        table = tables.pop()
        tables += [inner for inner in table.values() if isinstance(inner, dict)]
        if set(table) == {"env"} and isinstance(table["env"], str):
            found.add(table["env"])
    return found


def parse_dialect(text: str, source: str, environment: Environment | None = os.environ) -> Dialect:
    """Return the Dialect in TOML text; `source` names the file in errors. Raises FileError."""
    return loads_toml(text, Dialect, source, environment)


# -- names that could not be distinguished when a request is decoded -------------------------------


def _mistakes(dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Yield the key of each contradiction within the dialect, and what is expected there."""
    request, operations = dialect.request, dialect.operations
    for name in CORE:
        if name not in operations:
            yield f"operations.{name}", "expected a table"
    if request.encoding != "json":
        if request.numbers:
            yield "request.numbers", 'expected only with encoding "json"'
        if request.operation is not None and len(request.operation) > 1:
            yield "request.operation", 'expected one name; lists are for encoding "json"'
    places: dict[tuple[str, str, str], str] = {}
    for operation, wire in operations.items():
        key = f"operations.{operation}"
        for field in wire.parameters:
            if field not in OPERATION_FIELDS[operation]:
                yield f"{key}.parameters.{field}", unknown_key(OPERATION_FIELDS[operation], field)
        for field, expected in _mistaken_names(request, wire):
            yield f"{key}.parameters.{field}", expected
        for own, expected in _mistaken_content(operation, wire):
            yield f"{key}.{own}", expected
        if wire.encoding != "json" and any(isinstance(value, dict) for value in wire.fixed.values()):
            yield f"{key}.fixed", 'expected text; tables are for encoding "json"'
        for part in IN_PATH:
            if (request.prefix + wire.path).count("{" + part + "}") > 1:
                yield f"{key}.path", f"expected {{{part}}} once in prefix and path"
        place = (wire.method, wire.path.rstrip("/"), "" if request.operation is None else wire.name)
        if place in places:
            other = "another path, or request.operation" if request.operation is None else "another name"
            yield f"{key}.path", f"expected {other}: {places[place]} has the same"
        places[place] = operation


def _mistaken_names(request: RequestTable, wire: OperationWire) -> Iterator[tuple[str, str]]:
    taken = {name for name in (wire.content, request.operation) if name}
    for ours, name in wire.parameters.items():
        if (ours == USER_DATA) != any(KEY in part for part in name):
            yield ours, 'expected {key} in the name of user_data and in no other, as in ["userData", "{key}"]'
        if ours == USER_DATA and (KEY in "".join(name[:-1]) or name[-1].count(KEY) > 1 or name == (KEY,)):
            yield ours, 'expected {key} once, at the end, and below something: ["userData", "{key}"]'
        outer = [get_in(wire.fixed, name[:depth]) for depth in range(1, len(name))] if wire.encoding == "json" else []
        if any(_clash(name, other) for other in taken) or not all(isinstance(value, dict | None) for value in outer):
            yield ours, f"expected a name of its own; {' '.join(name)} is taken"
        taken.add(name)


def _clash(one: Name, other: Name) -> bool:
    """Return whether two names cannot be distinguished, or one would be both a text and an object with the other."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer) and KEY in shorter[-1] + longer[-1]:
        template, plain = (shorter, longer) if KEY in shorter[-1] else (longer, shorter)
        before, _, after = template[-1].partition(KEY)
        return template[:-1] == plain[:-1] and plain[-1].startswith(before) and plain[-1].endswith(after)
    return longer[: len(shorter)] == shorter


def _mistaken_content(operation: str, wire: OperationWire) -> Iterator[tuple[str, str]]:
    if (wire.content is not None) != (operation == UPLOAD):
        expected = "the name of the file's content" if operation == UPLOAD else f"it in {UPLOAD} alone"
        yield "content", f"expected {expected}"
    if operation == UPLOAD and wire.encoding == "form":
        yield "encoding", 'expected "multipart" or "json" for a file'
    if wire.encoding != "json" and wire.content is not None and len(wire.content) > 1:
        yield "content", 'expected one name; lists are for encoding "json"'
