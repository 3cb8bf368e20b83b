"""Checks of the values in a run file before they are used: the file may come from an untrusted source.

Every function returns the checked value. It raises ValueError (a few words) for a value that chatload never writes.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, Final

from chatload.chat.record import COLUMNS, SESSION_COLUMNS, Timeline
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.run.settings import RunSettings

#: No cell of a run file is larger than this (bytes): SQLite refuses to read or write it.
MOST_BYTES: Final = 32 * 2**20
#: Longer texts are cut to this length (characters): no page, table or terminal can show them.
MOST_TEXT: Final = 4096
#: The range of instants and durations (seconds): what a calendar can show.
LEAST_S, MOST_S = -62_000_000_000.0, 253_402_300_799.0
_MOST_DEPTH, _MOST_VALUES = 8, 500_000
_MOST_PROCESSES = 1000
#: Bucket numbers lie between minus this and this: durations from 1e-17 to 1e17 s.
_MOST_BUCKET = 2000

#: The types that SQLite returns for a value of each type.
_STORED: Mapping[type, tuple[type, ...]] = {str: (str,), int: (int,), bool: (int,), float: (float, int)}
_SESSION_TYPES = tuple(
    (*_STORED[column.kind], NoneType) if column.nullable else _STORED[column.kind] for column in SESSION_COLUMNS
)
_TEXTS = tuple(i for i, types in enumerate(_SESSION_TYPES) if types == (str,))
_FLOATS = tuple(i for i, types in enumerate(_SESSION_TYPES) if float in types)

Row = tuple[Any, ...]


def guard(database: sqlite3.Connection) -> None:
    """Refuse a file that could run code or use up the memory: functions in its schema, huge cells, and views, virtual
    tables or computed columns in place of plain tables."""
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    for _, name, kind, *_ in database.execute("PRAGMA main.table_list").fetchall():
        if kind == "shadow" or name.startswith("sqlite_"):
            continue
        if kind != "table":
            raise ValueError(f"{name!r} is no table but a {kind}")
        columns = database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (name,)).fetchall()
        if hidden := [column for column, how in columns if how]:
            raise ValueError(f"column {hidden[0]!r} of {name} is computed")


def parsed(text: Any) -> Any:
    """Return the JSON value in a cell; refuses more depth or size than a run has."""
    if not isinstance(text, str):
        raise ValueError("not JSON text")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    left = _MOST_VALUES
    queue = [(value, 0)]
    while queue:
        item, depth = queue.pop()
        left -= 1
        if depth > _MOST_DEPTH or left < 0:
            raise ValueError("JSON nested too deep" if left >= 0 else "too much JSON")
        if isinstance(item, dict | list):
            queue += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
        elif isinstance(item, int | float) and not -1e18 <= item <= 1e18:
            raise ValueError("a number out of all proportion")
    return value


def facts(rows: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the facts about the whole run, by name; `settings` is its RunSettings."""
    stored = {_text(key): parsed(value) for key, value in rows}
    settings, files = stored.pop("settings", None), stored.pop("files", {})
    if not isinstance(settings, dict) or not isinstance(files, dict):
        raise ValueError("its settings are missing")
    found = {key: _cut(value) for key, value in stored.items()}
    found["settings"] = RunSettings.from_dict(_cut(settings), files)
    for name in ("started_at", "ended_at"):
        if found.get(name) is not None:
            _seconds(found[name], name)
    return found


def sessions(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows of sessions; each value has the type of its column."""
    good: set[Row] = set()
    for row in rows:
        types = tuple(map(type, row))
        if types not in good:
            for name, kind, known in zip(COLUMNS, types, _SESSION_TYPES, strict=True):
                if kind not in known:
                    raise ValueError(f"sessions: {name} is of the wrong type")
            good.add(types)
        for i in _FLOATS:
            value = row[i]
            if value is not None and not LEAST_S <= value <= MOST_S:
                raise ValueError(f"sessions: {COLUMNS[i]} is out of range")
        if any(len(row[i]) > MOST_TEXT for i in _TEXTS):
            row = tuple(_cut(value) for value in row)
        yield row


def books(text: Any) -> Books:
    """Return the books in a cell: their numbers have the right types and agree with each other."""
    data = parsed(text)
    _numbers(data, "")
    try:
        made, empty = Books.from_dict(data), Books()
        for name in empty.to_dict():
            _like(getattr(made, name), getattr(empty, name), name)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"books: {type(error).__name__}: {error}") from None
    return made


def timeline(text: Any) -> Timeline:
    """Return the timeline in a cell."""
    data = _cut(parsed(text))
    try:
        made = Timeline.from_dict(data)
        for name in ("chat_id", "verdict", "blame", "why", "worker"):
            _text(getattr(made, name))
        for name in ("severity_s", "sure_sent", "sure_received"):
            _seconds(getattr(made, name), name)
        if not 0 < _seconds(made.timeout_s, "timeout_s") < 1e9:
            raise ValueError("timeline: timeout_s is out of range")
        for cause, share in made.shares.items():
            _text(cause)
            _seconds(share, "shares")
        for contact in made.contacts:
            _text(contact.operation)
            _text(contact.outcome)
            for instant in (contact.due, contact.received, *([] if contact.sent is None else [contact.sent])):
                _seconds(instant, "contacts")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"timeline: {type(error).__name__}: {error}") from None
    return made


def incident(row: Row) -> tuple[float, str, str]:
    """Return when (Unix seconds), the kind and the text of an incident."""
    at, kind, what = row
    return _seconds(at, "incidents"), _cut(_text(kind)), _cut(_text(what))


def window(row: Row) -> tuple[float, float, int, Books, float | None, int | None, dict[str, int]]:
    """Return a window's columns, with its books and the memory of each process decoded."""
    start, end, still, data, cpu, rss, of_each = row
    for value in (cpu, rss):
        if value is not None:
            _seconds(value, "windows: cpu or rss", 1e18)
    return *stretch((start, end, still)), books(data), cpu, rss, memory(of_each)


def memory(text: Any) -> dict[str, int]:
    """Return the memory (bytes) of each process, by its name."""
    made = _cut(parsed(text))
    if not isinstance(made, dict) or len(made) > _MOST_PROCESSES:
        raise ValueError("windows: memory is not by process")
    for size in made.values():
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ValueError("windows: memory is no number of bytes")
    return made


def stretch(row: Row) -> tuple[float, float, int]:
    """Return a window's start and end (Unix seconds), and the number of sessions open at its end."""
    start, end, still = row
    if not isinstance(still, int) or _seconds(end, "windows") < _seconds(start, "windows"):
        raise ValueError("windows: not a stretch of time")
    return start, end, still


def instant(value: Any) -> float:
    """Return an instant (Unix seconds) or a duration (seconds)."""
    return _seconds(value, "an instant")


def text(value: Any) -> str:
    """Return a text, cut to MOST_TEXT."""
    return str(_cut(_text(value)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is a {type(value).__name__}")
    return value


def _seconds(value: Any, name: str, most: float = MOST_S) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST_S <= value <= most:
        raise ValueError(f"{name} is no number of seconds")
    return value


def _cut(value: Any) -> Any:
    """Return the value with every text in it cut to MOST_TEXT."""
    if isinstance(value, str):
        return value if len(value) <= MOST_TEXT else f"{value[: MOST_TEXT - 1]}…"
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, list) else value


def _numbers(value: Any, key: str) -> None:
    """Check that a value of the books is a count, or a duration if its key ends with _s; only extremes may be None."""
    if isinstance(value, dict):
        for name, item in value.items():
            if len(name) > MOST_TEXT:
                raise ValueError("books: a name out of all proportion")
            _numbers(item, "states" if key == "states" else name)
        return
    extreme = key in ("min", "max")
    if extreme and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"books: {key} is a {type(value).__name__}")
    if isinstance(value, float) and not extreme and not key.endswith("_s"):
        raise ValueError(f"books: {key} is no whole number")
    if value < 0 and not extreme and key != "states":
        raise ValueError(f"books: {key} is below 0")


def _like(value: Any, empty: Any, name: str) -> None:
    """Check that a part of the books has the same type as in empty books."""
    if isinstance(value, CensoredHistogram):
        _histogram(value.observed)
        _histogram(value.censored)
    elif isinstance(value, Histogram):
        _histogram(value)
    elif isinstance(value, dict) and isinstance(empty, dict):
        for item in value.values():
            _like(item, 0 if isinstance(empty, Counter) else Counter(), name)
    elif not isinstance(value, int | float) or isinstance(value, float) > isinstance(empty, float):
        raise ValueError(f"books: {name} is a {type(value).__name__}")


def _histogram(histogram: Histogram) -> None:
    for count in (histogram.count, histogram.zeros, histogram.total_us, *histogram.buckets.values()):
        if not isinstance(count, int):
            raise ValueError("books: a histogram counts something else")
    empty = (histogram.minimum is None, histogram.maximum is None, histogram.count == 0)
    if len(set(empty)) != 1 or histogram.zeros + sum(histogram.buckets.values()) != histogram.count:
        raise ValueError("books: a histogram does not add up")
    if any(not -_MOST_BUCKET < key < _MOST_BUCKET for key in histogram.buckets):
        raise ValueError("books: a bucket out of all proportion")
    if histogram.count and not 0 <= abs(histogram.maximum or 0.0) <= MOST_S:
        raise ValueError("books: a duration out of all proportion")
