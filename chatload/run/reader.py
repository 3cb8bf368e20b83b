"""Reads a run that was finished, that is still being written, or whose writer died."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from chatload.chat.record import COLUMNS, SessionRecord, Timeline
from chatload.errors import UsageError
from chatload.run import schema
from chatload.run.books import Books
from chatload.run.lifetimes import Lifetimes
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.vocabulary import DROPPED_PERHAPS, DROPPED_SURELY, ENDING_INCIDENTS, EndedBy, Verdict

_ROWS_AT_ONCE = 1000
T = TypeVar("T")
_BLOCK_ROW = tuple[schema.Whole, schema.Text, schema.Text, bool, schema.Whole]
#: An adapter takes about a millisecond to make, and a history reads hundreds of runs.
_adapter = cache(TypeAdapter)
# In brackets: if there is no such column, SQLite reads a name in double quotes as a text.
_SESSION = ", ".join(f"[{name}]" for name in COLUMNS)


class Incident(NamedTuple):
    """What happened to the run itself. at: Unix seconds; kind: e.g. "worker_lost"."""

    at: schema.Instant
    kind: schema.Text
    what: schema.Text


class RunEnd(NamedTuple):
    """How a run ended.

    by: what ended it. after_s: seconds from its start to the instant at which its end began (the goodbyes of its chats
    come after that); None: not known. planned_s: the planned run time (seconds); None: none was set.
    """

    by: EndedBy
    after_s: float | None
    planned_s: float | None


def run_end(
    incidents: Iterable[Incident], started_at: float | None, ended_at: float | None, planned_s: float | None
) -> RunEnd:
    """Return how the run ended: by its first incident that ends a run, otherwise as planned."""
    by, at = (EndedBy.UNFINISHED if ended_at is None else EndedBy.PLAN), ended_at
    first = next((incident for incident in incidents if incident.kind in ENDING_INCIDENTS), None)
    if first is not None:
        by, at = EndedBy(first.kind), first.at
    after_s = None if started_at is None or at is None else round(max(0.0, at - started_at), 3)
    return RunEnd(by, after_s, planned_s)


class NotAccepted(NamedTuple):
    """Sessions that were started and never accepted: what became of them, the reason, and how many they are."""

    verdict: schema.Text
    why: schema.Text
    sessions: int


class EndSilence(NamedTuple):
    """The last silence of one dropped session (seconds; None: not known).

    lower_s, upper_s: bounds of the silence after which the server ended it. found_s: the lower bound of the silence up
    to the request that learned the end.
    """

    lower_s: schema.Instant | None
    upper_s: schema.Instant | None
    found_s: schema.Instant | None


@dataclass(frozen=True)
class Reads:
    """How often a computation reads all windows and all sessions of a run, at most."""

    windows: int = 0
    sessions: int = 0

    def __add__(self, other: Reads) -> Reads:
        return Reads(self.windows + other.windows, self.sessions + other.sessions)


#: Called with the part of the work of `RunReader.work` that was done since the last call.
OnRead = Callable[[float], object]
#: Reading a window with its books takes about as long as reading so many sessions (measured: 50 to 70). Only the time
#: left that a command shows depends on it.
_WINDOW_WORK = 60.0


class RunReader(AbstractContextManager["RunReader"]):
    """A read-only view of one run, as it was when it was opened: later writes are not seen.

    settings: of the run. facts: its versions, seed and times. on_read: is called with the work of the windows and
    sessions that were read, in the unit of `work`.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, on_read: OnRead | None = None) -> None:
        self.path = path
        self.on_read = on_read
        self._database = database
        self._user_class: str | None = None
        self.facts = schema.facts(database.execute("SELECT key, value FROM run"))
        self.settings: RunSettings = self.facts.pop("settings")

    @classmethod
    def open(cls, run: str | Path, on_read: OnRead | None = None) -> RunReader:
        """Open the run in a folder or file. Raises UsageError (one line) if it is not a readable run."""
        path = schema.run_file(run)
        if not path.is_file():
            missing = f"no {schema.RUN_FILE} in it" if Path(run).is_dir() else "there is no such file"
            raise UsageError(f"{run}: not a run ({missing})", "name the folder that --run-dir named")
        with _unreadable_as_usage_error(path):
            database = _connect(path)
            try:
                schema.guard(database)
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if not version:
                    raise UsageError(f"{path}: not a run of chatload")
                if version != schema.SCHEMA_VERSION:
                    message = f"{path}: run format {version}, but this chatload reads {schema.SCHEMA_VERSION}"
                    raise UsageError(message, "use the version of chatload that made the run")
                database.execute("BEGIN")  # one view of the run over all queries
                return cls(path, database, on_read)
            except BaseException:
                database.close()
                raise

    @property
    def run_dir(self) -> Path:
        return self.path.parent

    @property
    def started_at(self) -> float | None:
        """When the run began, Unix seconds."""
        return self.facts.get("started_at")

    @property
    def ended_at(self) -> float | None:
        """When the run was finished, Unix seconds; None if it never was."""
        return self.facts.get("ended_at")

    def sessions(self) -> Iterator[SessionRecord]:
        """Yield the record of every session in the order of writing, with few in memory at a time."""
        rows = self._read(schema.SESSION_ROW, f"SELECT {_SESSION} FROM {self._sessions} ORDER BY rowid")
        return self._counted(starmap(SessionRecord, rows), 1.0, _ROWS_AT_ONCE)

    def of_class(self, name: str) -> RunReader:
        """Return a view of the sessions, counters and windows of one user class, in a run with several."""
        view = copy(self)
        view._user_class = name
        return view

    def limited_to(self, user_class: str) -> RunReader:
        """Return `of_class` of the class that a user names; "": this view. Raises UsageError for a class it has not."""
        names = sorted(self.books_by_class()) if user_class else []
        if not user_class or user_class in names:
            return self.of_class(user_class) if user_class else self
        has = f"expected one of {', '.join(names)}" if names else "the run has only one: leave it out"
        raise UsageError(f"--user-class {user_class}: {self.run_dir} has no such user class", has)

    def books_by_part(self) -> dict[tuple[str, str], Books]:
        """Return the latest books of each process and user class. The class "" has what belongs to none."""
        sql = "SELECT worker, user_class, data FROM books ORDER BY worker, user_class"
        rows = self._read(tuple[schema.Text, schema.Text, schema.BooksCell], sql)
        return {(worker, name): books for worker, name, books in rows if self._user_class in (None, name)}

    def books_by_worker(self) -> dict[str, Books]:
        """Return the latest books of each process, by its name."""
        return _merged((worker, books) for (worker, _), books in self.books_by_part().items())

    def books_by_class(self) -> dict[str, Books]:
        """Return the books of each user class, by its name; empty if the run had only one class."""
        return _merged((name, books) for (_, name), books in self.books_by_part().items() if name)

    def books(self) -> Books:
        """Return the merged books of all processes."""
        return _merged(("", books) for books in self.books_by_part().values()).get("", Books())

    def incidents(self) -> list[Incident]:
        """Return what happened to the run itself, the oldest first."""
        return list(self._read(Incident, "SELECT at, kind, what FROM incidents ORDER BY at, rowid"))

    def windows(self) -> Iterator[Window]:
        """Yield the windows of the run, the oldest first, with one in memory at a time.

        Those of one user class have no CPU and no memory, which belong to processes.
        """
        if self._user_class is not None:
            sql = f'SELECT start, "end", open, books FROM {self._class_windows} ORDER BY start, rowid'
            # These are not a part of `work`, because the windows of all chats are read at the same time.
            return starmap(Window, self._read(schema.CLASS_WINDOW_ROW, sql))
        sql = 'SELECT start, "end", open, books, cpu, rss, memory FROM windows ORDER BY start, rowid'
        return self._counted(starmap(Window, self._read(schema.WINDOW_ROW, sql)), _WINDOW_WORK, 10)

    def loads(self) -> Iterator[tuple[float, float, int]]:
        """Yield start, end (Unix seconds) and open sessions of every window, the oldest first, without its books."""
        windows = "windows" if self._user_class is None else self._class_windows
        return self._read(schema.LOAD_ROW, f'SELECT start, "end", open FROM {windows} ORDER BY start, rowid')

    def timelines(self) -> list[Timeline]:
        """Return the timelines of the worst sessions, the most severe first."""
        sql = "SELECT data FROM timelines ORDER BY severity_s DESC, rowid"
        return [timeline for (timeline,) in self._read(tuple[schema.TimelineCell], sql)]

    def drop_instants(self) -> list[float]:
        """Return when the end of each dropped session was learned (Unix seconds), in order of time."""
        sql = f"SELECT ended_at FROM {self._sessions} WHERE verdict LIKE 'dropped%' ORDER BY ended_at"
        return [at for (at,) in self._read(tuple[schema.Instant], sql)]

    def lifetimes(self) -> Lifetimes:
        """Return how long the accepted sessions lived."""
        sql = (
            f"SELECT alive_s, ended_at - accepted_at AS ended_s, verdict FROM {self._sessions} "
            "WHERE alive_s IS NOT NULL AND accepted_at IS NOT NULL"
        )
        rows = self._read(tuple[schema.Instant, schema.Instant, schema.Text], sql)
        return Lifetimes.of(self._counted(rows, 1.0, _ROWS_AT_ONCE))

    @property
    def _sessions(self) -> str:
        """The sessions to read, as a table of a query."""
        return "sessions" if self._user_class is None else self._of_class("sessions")

    @property
    def _class_windows(self) -> str:
        return self._of_class("class_windows")

    def _of_class(self, table: str) -> str:
        # In hexadecimal: a name in a file from anybody may have quotes, or a null character, which ends a query.
        name = f"CAST(x'{(self._user_class or '').encode(errors='replace').hex()}' AS TEXT)"
        return f"(SELECT rowid AS rowid, * FROM {table} WHERE user_class = {name})"

    def count_sessions(self) -> int:
        return self._count("TRUE")

    def count_by_verdict(self) -> dict[str, int]:
        """Return the number of session rows for each verdict that occurs."""
        sql = f"SELECT verdict, count(*) FROM {self._sessions} GROUP BY verdict ORDER BY verdict"
        return dict(self._read(tuple[schema.Text, int], sql))

    def fates_by_block(self, column: str, start: float, end: float, count: int) -> tuple[Books, ...]:
        """Return verdicts and blames of the sessions of each of `count` blocks of equal time, as books.

        column: the instant by which a session belongs to a block: "started_at" or "ended_at". start, end: of all blocks
        (Unix seconds). Sessions that the end of the run cut off are left out.
        """
        sql = (
            f"SELECT CAST(max(0, min(?, ? * ([{column}] - ?) / ?)) AS INTEGER) AS block, verdict, blame, "
            f"chat_id = '' OR verdict = 'refused' AS unserved, count(*) FROM {self._sessions} "
            "WHERE verdict != 'cut_off' GROUP BY block, verdict, blame, unserved"
        )
        blocks = tuple(Books() for _ in range(count))
        for block, verdict, blame, unserved, sessions in self._read(
            _BLOCK_ROW, sql, count - 1, count, start, end - start
        ):
            books = blocks[block]
            books.verdicts[verdict] += sessions
            if unserved:
                books.unserved[verdict] += sessions
            if blame:
                books.blames[blame] += sessions
        return blocks

    def not_accepted(self, most: int) -> list[NotAccepted]:
        """Return why sessions were not accepted: at most `most` reasons, the most frequent first.

        Sessions that the end of the run cut off come last: the server is not the reason for these.
        """
        sql = (
            f"SELECT verdict, why, count(*) AS sessions FROM {self._sessions} "
            "WHERE chat_id = '' OR verdict = 'refused' "
            f"GROUP BY verdict, why ORDER BY verdict = 'cut_off', sessions DESC, verdict, why LIMIT {most:d}"
        )
        return list(self._read(NotAccepted, sql))

    def end_silences(self) -> Iterator[EndSilence]:
        """Yield the silence after which the server ended a session, for each dropped session."""
        names = "end_silence_lower_s, end_silence_upper_s, gap_lower_s"
        return self._read(EndSilence, f"SELECT {names} FROM {self._sessions} WHERE verdict LIKE 'dropped%'")

    def count_outlived(self, seconds: float) -> int:
        """Return the number of sessions that were surely silent for longer than `seconds` and were not dropped."""
        return self._count("verdict NOT LIKE 'dropped%' AND gap_lower_s > ?", seconds)

    def count_cut_off_confirmed(self) -> int:
        """Return the number of sessions that the end of the run cut off and whose goodbye the server confirmed."""
        return self._count("verdict = 'cut_off' AND goodbye_confirmed")

    def count_ended_badly(self, start: float, at: float, end: float) -> int:
        """Return how many chats that were accepted before `at` ended badly from `start` to `end` (Unix seconds).

        Badly: dropped, perhaps dropped, or failed.
        """
        bad = ", ".join(f"'{verdict}'" for verdict in (*DROPPED_SURELY, *DROPPED_PERHAPS, Verdict.FAILED))
        return self._count(f"verdict IN ({bad}) AND accepted_at <= ? AND ended_at BETWEEN ? AND ?", at, start, end)

    def work(self, reads: Reads) -> float:
        """Return the work of these reads, in the unit of `on_read`: about the time to read one session."""
        windows = int(next(self._read(tuple[int], "SELECT count(*) FROM windows"))[0])
        return reads.windows * windows * _WINDOW_WORK + reads.sessions * self.count_sessions()

    def close(self) -> None:
        self._database.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, condition: str, *values: Any) -> int:
        sql = f"SELECT count(*) FROM {self._sessions} WHERE {condition}"
        return int(next(self._read(tuple[int], sql, *values))[0])

    def _counted(self, rows: Iterator[T], work: float, often: int) -> Iterator[T]:
        """Yield the rows, and call `on_read` after each `often` of them. work: of a row."""
        on_read = self.on_read
        if on_read is None:
            yield from rows
            return
        number = 0
        for number, row in enumerate(rows, 1):
            yield row
            if not number % often:
                on_read(often * work)
        on_read(number % often * work)

    def _read(self, kind: Any, sql: str, *values: Any) -> Iterator[Any]:
        """Yield the rows of a query as values of a type that pydantic validates."""
        validate = _adapter(kind).validate_python
        with _unreadable_as_usage_error(self.path):
            cursor = self._database.execute(sql, values)
        with _unreadable_as_usage_error(self.path, [column for column, *_ in cursor.description]):
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from map(validate, rows)


def _merged(parts: Iterable[tuple[str, Books]]) -> dict[str, Books]:
    """Return the sums of books by name."""
    merged: dict[str, Books] = {}
    for name, books in parts:
        merged.setdefault(name, Books()).merge(books)
    return merged


def _connect(path: Path) -> sqlite3.Connection:
    """Return a read-only connection that also reads the write-ahead log of a writer."""
    address = f"file:{quote(str(path.absolute()))}"
    database = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=30, isolation_level=None)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # SQLite cannot open a WAL database in a read-only folder, because it cannot create the index of the log.
        # Without a log there is nothing to index: the file alone is the whole run.
        database.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        database = sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
    return database


@contextmanager
def _unreadable_as_usage_error(path: Path, columns: Sequence[str] = ()) -> Iterator[None]:
    """Raise UsageError for what makes a run unreadable. columns: the names of the columns of the rows that are read."""
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = list(map(str, first["loc"]))
        if columns and place:
            place[0] = columns[int(place[0])]
        where, what = ".".join(place), first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path}: cannot be read as a run ({where}{': ' if where else ''}{what})") from None
    except (sqlite3.Error, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a run ({error})") from None
