"""What a dialect must not say: names that could not be told apart when a request is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatload.protocol.names import Name
from chatload.protocol.operations import UPLOAD, USER_DATA
from chatload.protocol.toml_file import Table

if TYPE_CHECKING:
    from chatload.protocol.dialect import Dialect, OperationWire

#: What of a request may be in its path.
IN_PATH = ("service", "chat_id", "file_id")
KEY = "{key}"


def check_operations(dialect: Dialect, operations: Table, request: Table) -> None:
    """Raises FileError for what cannot be meant."""
    if dialect.operation is not None and dialect.encoding != "json" and len(dialect.operation) > 1:
        raise request.wrong("operation", 'expected one name; lists are for encoding "json"')
    places: dict[tuple[str, str, str], str] = {}
    for operation, wire in dialect.operations.items():
        entry = operations.table(operation)
        _check_parameters(dialect, wire, entry)
        _check_content(operation, wire, entry)
        if wire.encoding != "json" and any(isinstance(value, dict) for value in wire.fixed.values()):
            raise entry.wrong("fixed", 'expected text; tables are for encoding "json"')
        for field in IN_PATH:
            if (dialect.prefix + wire.path).count("{" + field + "}") > 1:
                raise entry.wrong("path", f"expected {{{field}}} once in prefix and path")
        named = wire.name if dialect.operation is not None else ""
        place = (wire.method, wire.path.rstrip("/"), named)
        if place in places:
            told_apart = "another name" if dialect.operation is not None else "another path, or request.operation"
            raise entry.wrong("path", f"expected {told_apart}: {places[place]} has the same")
        places[place] = operation


def _check_parameters(dialect: Dialect, wire: OperationWire, entry: Table) -> None:
    table = entry.table("parameters", {})
    taken: set[Name] = {wire.content} if wire.content else set()
    if dialect.operation is not None:
        taken.add(dialect.operation)
    for ours, name in wire.parameters.items():
        if (ours == USER_DATA) != any(KEY in part for part in name):
            raise table.wrong(
                ours, 'expected {key} in the name of user_data and in no other, as in ["userData", "{key}"]'
            )
        if ours == USER_DATA and (KEY in "".join(name[:-1]) or name[-1].count(KEY) > 1 or name == (KEY,)):
            raise table.wrong(ours, 'expected {key} once, at the end, and below something: ["userData", "{key}"]')
        if any(_clash(name, other) for other in taken):
            raise table.wrong(ours, f"expected a name of its own; {' '.join(name)} is taken")
        taken.add(name)


def _clash(one: Name, other: Name) -> bool:
    """Whether the two cannot be told apart, or one is to hold text and the other's object."""
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) == len(longer) and KEY in shorter[-1] + longer[-1]:
        template, plain = (shorter, longer) if KEY in shorter[-1] else (longer, shorter)
        before, _, after = template[-1].partition(KEY)
        return template[:-1] == plain[:-1] and plain[-1].startswith(before) and plain[-1].endswith(after)
    return longer[: len(shorter)] == shorter


def _check_content(operation: str, wire: OperationWire, entry: Table) -> None:
    if (wire.content is not None) != (operation == UPLOAD):
        expected = "the name of the file's content" if operation == UPLOAD else f"it in {UPLOAD} alone"
        raise entry.wrong("content", f"expected {expected}")
    if operation == UPLOAD and wire.encoding == "form":
        raise entry.wrong("encoding", 'expected "multipart" or "json" for a file')
    if wire.encoding != "json" and wire.content is not None and len(wire.content) > 1:
        raise entry.wrong("content", 'expected one name; lists are for encoding "json"')
