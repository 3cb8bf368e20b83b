"""The run file: one SQLite database, its tables and their version, and the values that its cells may have.

run: one row for each fact about the whole run (settings, versions, seed, started_at, ended_at), as JSON.
sessions: one row for each session that ended, columns as in `chatload.chat.record`.
books: one row for each process and user class, its books so far as JSON; they are cumulative, so the newest replaces
    the older. The class "" has what belongs to none; in a run with one class, everything.
incidents: what happened to the run itself and is not in its books, for example that a worker was lost.
windows: one row for each window of time, with what was added to all books in it (see `chatload.run.windows`).
class_windows: in a run with several user classes, the windows of each; without CPU and memory, which belong to
    processes.
timelines: the last contacts of the worst sessions (see `chatload.chat.record`), as JSON.

A file may come from an untrusted source. So each value is validated before it is used: a value that chatload never
writes is refused, and a text that is too long is cut.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, TypeAdapter

from chatload.chat.record import COLUMN_TYPES, Timeline
from chatload.run.books import MOST_TEXT, Books
from chatload.run.histogram import MOST_NUMBER, MOST_S
from chatload.run.settings import RunSettings

#: PRAGMA user_version of a run file. Only this format is read.
SCHEMA_VERSION = 9
#: Name of the run file in its folder.
RUN_FILE = "run.sqlite"
#: No cell of a run file is larger than this (bytes): SQLite refuses to read or write it.
MOST_BYTES: Final = 32 * 2**20
#: The earliest instant that a calendar can show (Unix seconds); the latest is MOST_S.
_LEAST_S = -62_000_000_000.0
#: Limits of JSON: its depth and the number of its values. Then the number of processes of a run.
_MOST_DEPTH, _MOST_VALUES, _MOST_PROCESSES = 8, 500_000, 1000

_SQL_TYPES = {
    str: "TEXT NOT NULL", int: "INTEGER NOT NULL", bool: "INTEGER NOT NULL", float: "REAL NOT NULL",
    float | None: "REAL",
}  # fmt: skip
_SESSION_COLUMNS = ", ".join(f'"{name}" {_SQL_TYPES[kind]}' for name, kind in COLUMN_TYPES.items())
TABLES = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE sessions ({_SESSION_COLUMNS})",
    "CREATE TABLE books (worker TEXT NOT NULL, user_class TEXT NOT NULL, data TEXT NOT NULL, "
    "updated_at REAL NOT NULL, PRIMARY KEY (worker, user_class))",
    "CREATE TABLE incidents (at REAL NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL)",
    'CREATE TABLE windows (start REAL NOT NULL, "end" REAL NOT NULL, open INTEGER NOT NULL, books TEXT NOT NULL, '
    "cpu REAL, rss INTEGER, memory TEXT NOT NULL)",
    'CREATE TABLE class_windows (user_class TEXT NOT NULL, start REAL NOT NULL, "end" REAL NOT NULL, '
    "open INTEGER NOT NULL, books TEXT NOT NULL)",
    "CREATE INDEX windows_of_class ON class_windows (user_class, start)",
    "CREATE TABLE timelines (severity_s REAL NOT NULL, data TEXT NOT NULL)",
)


def run_file(path: str | Path) -> Path:
    """Return the run file, given a run's folder or the file itself."""
    path = Path(path)
    return path / RUN_FILE if path.is_dir() else path


# -- reading -----------------------------------------------------------------------------------------


def guard(database: sqlite3.Connection) -> None:
    """Refuse a file that could run code or use up the memory: functions in its schema, huge cells, and views, virtual
    tables or computed columns in place of plain tables. Raises ValueError."""
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    for _, name, kind, *_ in database.execute("PRAGMA main.table_list").fetchall():
        if kind == "shadow" or name.startswith("sqlite_"):
            continue
        if kind != "table":
            raise ValueError(f"{name!r} is a {kind}, not a table")
        columns = database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
        if hidden := [column for column, how in columns if how]:
            raise ValueError(f"column {hidden[0]!r} of {name} is computed")


def _loaded(text: Any) -> Any:
    if not isinstance(text, str):
        raise ValueError("not JSON text")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def _books(text: Any) -> Books:
    # The types of Books limit its depth and numbers. To look at each value again would add a third to the time.
    if isinstance(text, str) and text.count(",") >= _MOST_VALUES:
        raise ValueError("too much JSON")
    return Books.from_dict(_loaded(text))


def parsed(text: Any, least: float = -MOST_NUMBER, most: float = MOST_NUMBER) -> Any:
    """Return the JSON value in a cell. least, most: the range that its numbers must be in.

    Raises ValueError if it is not JSON, or larger than any that chatload writes.
    """
    value = _loaded(text)
    left, depth, level = _MOST_VALUES, 0, [value]
    while level:
        left -= len(level)
        if depth > _MOST_DEPTH or left < 0:
            raise ValueError("JSON nested too deep" if left >= 0 else "too much JSON")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, int | float) and not least <= item <= most:
                raise ValueError("a number is out of range")
        level = inner
        depth += 1
    return value


def _cut(value: Any) -> Any:
    """Return the value with every text in it cut to MOST_TEXT."""
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else f"{value[: MOST_TEXT - 1]}…"
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, list) else value


def _timeline(text: Any) -> Timeline:
    # As JSON, because only there a strict check takes a list for a Contact. A check that is not strict takes the text
    # "inf" for a number, and `parsed` has not seen that one.
    checked = json.dumps(_cut(parsed(text, _LEAST_S, MOST_S)))
    made = _TIMELINE.validate_json(checked, strict=True, extra="forbid")
    if not 0 < made.timeout_s < 1e9:
        raise ValueError("timeout_s is out of range")
    return made


_TIMELINE = TypeAdapter(Timeline)
#: The types of cells. Instant: an instant (Unix seconds) or a duration (seconds) that a calendar can show.
Text = Annotated[str, Field(strict=True), AfterValidator(_cut)]
Instant = Annotated[float, Field(strict=True, ge=_LEAST_S, le=MOST_S)]
Number = Annotated[float, Field(strict=True, ge=_LEAST_S, le=MOST_NUMBER)]
Whole = Annotated[int, Field(strict=True)]
Bytes = Annotated[int, Field(strict=True, ge=0, le=MOST_NUMBER)]
BooksCell = Annotated[Books, PlainValidator(_books)]
TimelineCell = Annotated[Timeline, PlainValidator(_timeline)]
#: The memory (bytes) of each process, by its name.
MemoryCell = Annotated[dict[Text, Bytes], Field(max_length=_MOST_PROCESSES), BeforeValidator(parsed)]


def _check_times(row: Any) -> Any:
    start, end, *_ = row
    if end < start:
        raise ValueError("a window ends before its start")
    return row


#: The start, the end and the open sessions of a window; those with its books; and a whole row of windows.
LOAD_ROW: Final = Annotated[tuple[Instant, Instant, Whole], AfterValidator(_check_times)]
CLASS_WINDOW_ROW: Final = Annotated[tuple[Instant, Instant, Whole, BooksCell], AfterValidator(_check_times)]
WINDOW_ROW: Final = Annotated[
    tuple[Instant, Instant, Whole, BooksCell, Number | None, Bytes | None, MemoryCell], AfterValidator(_check_times)
]
_BY_TYPE: Final[Mapping[Any, Any]] = {str: Text, int: Whole, bool: bool, float: Instant, float | None: Instant | None}
#: A row of sessions: the values of a SessionRecord in the order of its columns.
SESSION_ROW: Final[Any] = tuple[*map(_BY_TYPE.get, COLUMN_TYPES.values())]  # type: ignore[misc]
_TIMES: TypeAdapter[dict[str, float | None]] = TypeAdapter(dict[str, Instant | None])


def facts(rows: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the facts about the whole run, by name; `settings` is its RunSettings. Raises ValueError."""
    stored = {str(key): parsed(value) for key, value in rows}
    settings, files = stored.pop("settings", None), stored.pop("files", {})
    if not isinstance(settings, dict) or not isinstance(files, dict):
        raise ValueError("its settings are missing")
    found = {key: _cut(value) for key, value in stored.items()}
    found["settings"] = RunSettings.from_dict(_cut(settings), files)
    _TIMES.validate_python({name: found.get(name) for name in ("started_at", "ended_at")})
    return found
