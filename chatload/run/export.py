"""Exports a run's sessions, windows and requests as flat tables (CSV, JSON lines, Parquet), row by row."""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from chatload.chat.record import COLUMN_TYPES
from chatload.errors import UsageError
from chatload.run.histogram import Reading
from chatload.run.reader import OnRead, Reads, RunReader
from chatload.run.writer import replacing
from chatload.vocabulary import Outcome, Verdict

Row = tuple[Any, ...]
#: The name of a column and the type of its values. Any value except a text may be None.
Column = tuple[str, type]

#: The number of rows in memory at a time, and in one row group of a Parquet file.
ROWS_AT_ONCE = 20_000

_FIRST_COLUMNS = (
    "chat_id", "verdict", "blame", "started_at", "ended_at", "contacts", "gap_lower_s", "gap_upper_s",
)  # fmt: skip
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
#: Places where a spreadsheet may begin a formula (OWASP, "CSV Injection"): these characters, full-width ones too, at
#: the start of a cell, or after a character that may be read as the end of one.
_SPECIAL = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n＝＋－＠])")


#: Called with the work of an export when it begins; returns the function that is called with the work done (see
#: `RunReader.work`).
OnBegin = Callable[[float], OnRead | None]
_READS = {"sessions": Reads(sessions=1), "windows": Reads(windows=1), "requests": Reads()}


def _without_progress(_: float) -> None:
    return None


def export(
    run: str | Path, what: str, form: str, stream: IO[Any], user_class: str = "", on_begin: OnBegin = _without_progress
) -> None:
    """Write the sheet `what` (a key of SHEETS) of `run` to `stream`: text for csv and jsonl, bytes for parquet.

    user_class: the one whose chats are written; "": those of all. on_begin: see `OnBegin`. Raises UsageError if the run
    cannot be read or has no such class, or the package for Parquet is missing.
    """
    columns, rows = SHEETS[what]
    with RunReader.open(run) as reader:
        reader.on_read = on_begin(reader.work(_READS[what]))
        _WRITERS[form](columns, rows(reader.limited_to(user_class)), stream)


def export_file(
    run: str | Path, what: str, form: str, path: str | Path, user_class: str = "", on_begin: OnBegin = _without_progress
) -> None:
    """Write the sheet `what` of `run` to the file `path`: completely, or not at all. See `export`."""
    with replacing(path, "wb" if form == "parquet" else "w") as stream:
        export(run, what, form, stream, user_class, on_begin)


def form_of(path: str | Path) -> str:
    """Return the format that the ending of a file's name stands for; csv if it stands for none."""
    ending = Path(path).suffix.lstrip(".").lower()
    return ending if ending in _WRITERS else "csv"


def _columns(kind: type, *names: str) -> tuple[Column, ...]:
    return tuple((name, kind) for name in names)


def _known_or_over(*names: str) -> tuple[Column, ...]:
    """Return two columns for each duration. One is filled: its value, or the bound that it is longer than."""
    return _columns(float, *(f"{name}{ending}" for name in names for ending in ("_s", "_over_s")))


def _either(reading: Reading | None) -> tuple[float | None, float | None]:
    """Return the values of the two columns of `_known_or_over`."""
    if reading is None:
        return None, None
    return (None, reading.seconds) if reading.over else (reading.seconds, None)


_OUTCOMES = _columns(int, *(f"outcome_{outcome.value}" for outcome in Outcome))
_SESSION_COLUMNS = tuple((name, COLUMN_TYPES[name]) for name in dict.fromkeys((*_FIRST_COLUMNS, *COLUMN_TYPES)))
_WINDOW_COLUMNS = (
    *_columns(float, "start", "end"),
    *_columns(int, "open", "started", *(f"verdict_{verdict.value}" for verdict in Verdict), "requests"),
    *_OUTCOMES,
    *_columns(int, "getmessages_unanswered"),
    *_known_or_over("getmessages_latency_p50", "getmessages_latency_p99"),
    *_columns(float, "lateness_p99_s"),
    *_known_or_over("gap_max"),
    *_columns(float, "cpu_percent"),
    *_columns(int, "rss_bytes"),
)
_REQUEST_COLUMNS = (
    *_columns(str, "operation"),
    *_columns(int, "sent"),
    *_OUTCOMES,
    *_columns(int, "answered", "unanswered"),
    *_known_or_over("latency_p50", "latency_p99", "latency_p99_9", "latency_max"),
)


def _session_rows(reader: RunReader) -> Iterator[Row]:
    return map(attrgetter(*(name for name, _ in _SESSION_COLUMNS)), reader.sessions())


def _window_rows(reader: RunReader) -> Iterator[Row]:
    for window in reader.windows():
        books = window.books
        latency = books.latency["GetMessages"]
        yield (
            window.start,
            window.end,
            window.open,
            books.started,
            *(books.verdicts[verdict.value] for verdict in Verdict),
            books.sent.total(),
            *(sum(by[outcome.value] for by in books.outcomes.values()) for outcome in Outcome),
            latency.censored.count,
            *_either(latency.quantile(0.5)),
            *_either(latency.quantile(0.99)),
            books.lateness.quantile(0.99),
            *_either(books.gap.maximum),
            window.cpu,
            window.rss,
        )


def _request_rows(reader: RunReader) -> Iterator[Row]:
    books = reader.books()
    for operation in sorted(books.sent.keys() | books.outcomes.keys()):
        latency = books.latency[operation]
        yield (
            operation,
            books.sent[operation],
            *(books.outcomes[operation][outcome.value] for outcome in Outcome),
            latency.observed.count,
            latency.censored.count,
            *(cell for q in (0.5, 0.99, 0.999, 1.0) for cell in _either(latency.quantile(q))),
        )


#: The tables of a run. A row is a session, a window, or an operation.
SHEETS: dict[str, tuple[tuple[Column, ...], Callable[[RunReader], Iterator[Row]]]] = {
    "sessions": (_SESSION_COLUMNS, _session_rows),
    "windows": (_WINDOW_COLUMNS, _window_rows),
    "requests": (_REQUEST_COLUMNS, _request_rows),
}


def _write_csv(columns: Iterable[Column], rows: Iterable[Row], stream: IO[str]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name for name, _ in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    """Return the value as a CSV cell that no spreadsheet reads as a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Few texts have one of these characters: to look for them first halves the time of an export.
    if isinstance(value, str) and _SPECIAL.search(value) and not _NUMERIC.fullmatch(value):
        # The csv module does not quote a single CR, and some readers take it for the end of the row.
        return _FORMULA.sub(r"\1'", value).replace("\r\n", "\n").replace("\r", "\n")
    return value


def _write_jsonl(columns: Iterable[Column], rows: Iterable[Row], stream: IO[str]) -> None:
    names = [name for name, _ in columns]
    for row in rows:
        stream.write(json.dumps(dict(zip(names, row, strict=True)), allow_nan=False) + "\n")


def _write_parquet(columns: tuple[Column, ...], rows: Iterator[Row], stream: IO[bytes]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet needs the package pyarrow", "pip install 'chatload[parquet]'") from None
    number = pyarrow.float64()
    types: dict[Any, Any] = {str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_()}
    types |= {float: number, float | None: number}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns])
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            arrays = [pyarrow.array(values, t) for values, t in zip(zip(*some, strict=True), schema.types, strict=True)]
            writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))


_WRITERS: dict[str, Callable[[tuple[Column, ...], Iterator[Row], IO[Any]], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
