"""The run file: one SQLite database, its tables and their version.

run: one row for each fact about the whole run (settings, versions, seed, started_at, ended_at), as JSON.
sessions: one row for each session that ended, columns as in `chatload.chat.record`.
books: one row for each process, its books so far as JSON; they are cumulative, so the newest replaces the older.
incidents: what happened to the run itself and is not in its books, for example that a worker was lost.
windows: one row for each window of time, with what was added to all books in it (see `chatload.run.windows`).
timelines: the last contacts of the worst sessions (see `chatload.chat.record`), as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatload.chat.record import SESSION_COLUMNS

#: PRAGMA user_version of a run file. Only this format is read.
SCHEMA_VERSION = 5
#: Name of the run file in its folder.
RUN_FILE = "run.sqlite"

_SQL_TYPES = {str: "TEXT", int: "INTEGER", bool: "INTEGER", float: "REAL"}
_SESSION_COLUMNS = ", ".join(
    f'"{column.name}" {_SQL_TYPES[column.kind]}{"" if column.nullable else " NOT NULL"}' for column in SESSION_COLUMNS
)

#: Columns of truth values, stored as 0 or 1.
TRUTHS = tuple(column.name for column in SESSION_COLUMNS if column.kind is bool)

TABLES = (
    "CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE sessions ({_SESSION_COLUMNS})",
    "CREATE TABLE books (worker TEXT PRIMARY KEY, data TEXT NOT NULL, updated_at REAL NOT NULL)",
    "CREATE TABLE incidents (at REAL NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL)",
    'CREATE TABLE windows (start REAL NOT NULL, "end" REAL NOT NULL, open INTEGER NOT NULL, books TEXT NOT NULL, '
    "cpu REAL, rss INTEGER, memory TEXT NOT NULL)",
    "CREATE TABLE timelines (severity_s REAL NOT NULL, data TEXT NOT NULL)",
)


def run_file(path: str | Path) -> Path:
    """Return the run file, given a run's folder or the file itself."""
    path = Path(path)
    return path / RUN_FILE if path.is_dir() else path


def plain(value: Any) -> Any:
    """Return the value as JSON can store it: other types, infinities and NaN become text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)
