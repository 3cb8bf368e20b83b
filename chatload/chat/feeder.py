"""Feeders: the values of customers, one row each, from a CSV or a JSON-lines file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict

from chatload.errors import FileError
from chatload.protocol.toml_file import MistakeError
from chatload.random_numbers import SplitMix64

#: The order in which rows are used, and what happens after the last one.
IN_ORDER, RANDOM, UNIQUE = "in_order", "random", "unique"
STOP, REPEAT, ERROR = "stop", "repeat", "error"
ORDERS: Final = (IN_ORDER, RANDOM, UNIQUE)
ENDS: Final = (STOP, REPEAT, ERROR)
#: A larger file is refused (bytes): every process keeps all rows in memory.
MOST_BYTES: Final = 256 * 2**20
#: The endings of JSON-lines files; any other file is read as CSV.
_JSON_LINES = (".jsonl", ".ndjson")
Row = Mapping[str, str]
NO_ROW: Final[Row] = MappingProxyType({})


def _order(value: Any) -> Any:
    if value not in ORDERS:
        raise MistakeError(f"expected one of {', '.join(ORDERS)}")
    return value


def _end(value: Any) -> Any:
    if value not in ("", *ENDS):
        raise MistakeError(f"expected one of {', '.join(ENDS)}")
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        raise MistakeError("expected the name of a .csv or .jsonl file")
    return value


@dataclass(frozen=True, slots=True)
class Feeder:
    """Where the values of customers come from, and how a chat gets its row.

    file: CSV with a line of column names, or JSON lines (.jsonl, .ndjson): one object of texts and numbers a line.
    order: `in_order`: each process goes through the rows by itself, from the first one on. `random`: any row, as often
        as chance wants. `unique`: the processes of a run share the rows, and no row is used twice in one pass.
    at_end: after the last row, `stop`: no more chats of this class begin; `repeat`: the first row again; `error`: the
        run ends and is invalid. `random` has no end.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    file: Annotated[str, BeforeValidator(_text)]
    order: Annotated[Literal["in_order", "random", "unique"], BeforeValidator(_order)] = "in_order"
    at_end: Annotated[Literal["", "stop", "repeat", "error"], BeforeValidator(_end)] = ""

    def __str__(self) -> str:
        return f"{self.file} ({', '.join(filter(None, (self.order, self.at_end)))})"

    def load(self) -> FeederRows:
        """Read the file. Raises FileError, also if order and at_end do not fit."""
        if self.order == RANDOM and self.at_end:
            raise FileError(self.file, "at_end", "has no effect: the order random has no end; leave it out")
        if self.order != RANDOM and not self.at_end:
            raise FileError(self.file, "at_end", f"is missing: say what happens after the last row ({', '.join(ENDS)})")
        try:
            with open(self.file, "rb") as stream:
                data = stream.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                raise FileError(self.file, "", f"larger than {MOST_BYTES // 2**20} MiB")
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise FileError(self.file, "", f"cannot be read ({error.strerror})") from None
        except UnicodeDecodeError as error:
            raise FileError(self.file, "", f"not UTF-8 ({error.reason} at byte {error.start})") from None
        rows = list(_json_rows(self.file, text) if self.file.lower().endswith(_JSON_LINES) else _rows(self.file, text))
        if not rows:
            raise FileError(self.file, "", "has no rows")
        return FeederRows(self, tuple(rows), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class FeederRows:
    """The rows of a feeder's file. sha256: of the file, by which processes and runs know that they use the same."""

    feeder: Feeder
    rows: Sequence[Row]
    sha256: str

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.rows[0])


def _rows(file: str, text: str) -> Iterator[Row]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = next(reader, [])
        if len(set(columns)) < len(columns) or not all(columns):
            raise FileError(file, "line 1", "expected a different name for each column")
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(columns):
                raise FileError(file, f"line {reader.line_num}", f"{len(cells)} values for {len(columns)} columns")
            yield dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise FileError(file, f"line {reader.line_num}", str(error)) from None


def _json_rows(file: str, text: str) -> Iterator[Row]:
    columns: list[str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise FileError(file, f"line {number}", "not JSON") from None
        if not isinstance(found, dict) or not all(isinstance(value, str | int | float) for value in found.values()):
            raise FileError(file, f"line {number}", "expected an object of texts and numbers")
        if columns is None:
            columns = list(found)
        if set(found) != set(columns):
            raise FileError(
                file, f"line {number}", f"expected the same names as in the first line: {', '.join(columns)}"
            )
        yield {name: _plain(found[name]) for name in columns}


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


# -- texts with columns ----------------------------------------------------------------------------


def columns_in(text: str) -> list[str]:
    """Return the columns that a text names, such as `name` in "Hello {name}". Raises ValueError with what is wrong."""
    found = []
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("a brace without its partner; write {{ or }} for the brace itself") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not name or set(name) & set("[]."):
            raise ValueError(f"{{{name}}}: expected the name of a column in braces, or {{{{ for the brace itself")
        found.append(name)
    return found


def filled(text: str, row: Row) -> str:
    """Return the text with the values of a row in place of its columns, and with single braces.

    A column that the row does not have stays as it is written: in virtual time there is no row.
    """
    if "{" not in text and "}" not in text:
        return text
    parts = Formatter().parse(text)
    return "".join(before + ("" if name is None else row.get(name, f"{{{name}}}")) for before, name, _, _ in parts)


# -- which row comes next --------------------------------------------------------------------------


@dataclass
class RowCounter:
    """Goes through `total` rows, in order. again: from the first one again after the last."""

    total: int
    again: bool
    used: int = 0

    def take(self, count: int = 1) -> range:
        """Return the numbers of the next rows, at most `count`; above `total` in a further pass. Empty: the end."""
        left = count if self.again else min(count, self.total - self.used)
        first = self.used
        self.used += left
        return range(first, first + left)


def random_row(total: int, chat: int) -> int:
    """Return the row of a chat by chance. It depends on the chat's number only."""
    return int(SplitMix64(f"{chat}/feeder").random() * total)


def block_size(total: int) -> int:
    """Return how many rows a process is given at a time: few, so that all processes get some of a short file."""
    return max(1, min(50, total // 100))
