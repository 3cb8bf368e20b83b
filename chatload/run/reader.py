"""Reading a run, whether its writer finished it, is still at it, or died."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from chatload.chat.record import COLUMNS, SessionRecord
from chatload.chat.timeline import Timeline
from chatload.errors import UsageError
from chatload.run import checks
from chatload.run.books import Books
from chatload.run.schema import RUN_FILE, SCHEMA_VERSION, TRUTHS, run_file
from chatload.run.settings import RunSettings
from chatload.run.windows import Window

_ROWS_AT_ONCE = 1000
# In brackets: SQLite takes a name in double quotes for a text where there is no such column.
_SESSION = ", ".join(f"[{name}]" for name in COLUMNS)


class Incident(NamedTuple):
    """What happened to the run itself. at: Unix seconds; kind: e.g. "worker_lost"."""

    at: float
    kind: str
    what: str


class NotAccepted(NamedTuple):
    """Sessions that were started and never accepted: what became of them, the reason, and how many they are."""

    verdict: str
    why: str
    sessions: int


class EndSilence(NamedTuple):
    """Of one dropped session, in seconds: bounds of the silence after which the server ended it, and the lower bound
    of the silence up to the request that found it ended; None where it is not known."""

    lower_s: float | None
    upper_s: float | None
    found_s: float | None


class RunReader:
    """One run as it was when it was opened, read only: later writes do not show.

    settings: of the run. facts: its versions, seed and times.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self.facts: dict[str, Any] = checks.facts(self._rows("SELECT key, value FROM run"))
        self.settings: RunSettings = self.facts.pop("settings")

    @classmethod
    def open(cls, run: str | Path) -> RunReader:
        """Open a run's folder or file. Raises UsageError (one line) where it is not a readable run."""
        path = run_file(run)
        if not path.is_file():
            missing = f"no {RUN_FILE} in it" if Path(run).is_dir() else "there is no such file"
            raise UsageError(f"{run}: not a run ({missing})", "name the folder that --run-dir named")
        with _told(path):
            database = _connect(path)
            try:
                checks.guard(database)
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if not version:
                    raise UsageError(f"{path}: not a run of chatload")
                if version != SCHEMA_VERSION:
                    message = f"{path}: run format {version}, but this chatload reads {SCHEMA_VERSION}"
                    raise UsageError(message, "use the version of chatload that made the run")
                database.execute("BEGIN")  # one view of the run over all queries
                return cls(path, database)
            except BaseException:
                database.close()
                raise

    @property
    def run_dir(self) -> Path:
        """The folder the run is in."""
        return self.path.parent

    @property
    def started_at(self) -> float | None:
        """When the run began, Unix seconds."""
        return self.facts.get("started_at")

    @property
    def ended_at(self) -> float | None:
        """When the run was finished, Unix seconds; None where it never was."""
        return self.facts.get("ended_at")

    def sessions(self) -> Iterator[SessionRecord]:
        """Every session's record, in the order they were kept, a few in memory at a time."""
        with _told(self.path):
            for row in checks.sessions(self._rows(f"SELECT {_SESSION} FROM sessions ORDER BY rowid")):
                record = SessionRecord(*row)
                for name in TRUTHS:
                    setattr(record, name, bool(getattr(record, name)))
                yield record

    def books_by_worker(self) -> dict[str, Books]:
        """Each process's last books, by its name."""
        rows = self._rows("SELECT worker, data FROM books ORDER BY worker")
        with _told(self.path):
            return {checks.text(worker): checks.books(data) for worker, data in rows}

    def books(self) -> Books:
        """The books of all processes together."""
        merged = Books()
        for books in self.books_by_worker().values():
            merged.merge(books)
        return merged

    def incidents(self) -> list[Incident]:
        """What happened to the run itself, oldest first."""
        rows = self._rows("SELECT at, kind, what FROM incidents ORDER BY at, rowid")
        with _told(self.path):
            return [Incident(*checks.incident(row)) for row in rows]

    def windows(self) -> Iterator[Window]:
        """The run over time, oldest first, one window in memory at a time."""
        rows = self._rows('SELECT start, "end", open, books, cpu, rss, memory FROM windows ORDER BY start, rowid')
        with _told(self.path):
            for row in rows:
                yield Window(*checks.window(row))

    def loads(self) -> Iterator[tuple[float, float, int]]:
        """(start, end, sessions open) of every window, oldest first, without its books."""
        with _told(self.path):
            for row in self._rows('SELECT start, "end", open FROM windows ORDER BY start, rowid'):
                yield checks.stretch(row)

    def timelines(self) -> list[Timeline]:
        """How the worst sessions came to their end, the most severe first."""
        rows = self._rows("SELECT data FROM timelines ORDER BY severity_s DESC, rowid")
        with _told(self.path):
            return [checks.timeline(data) for (data,) in rows]

    def drop_instants(self) -> list[float]:
        """When each dropped session was found to be so, in order, Unix seconds."""
        rows = self._rows("SELECT ended_at FROM sessions WHERE verdict LIKE 'dropped%' ORDER BY ended_at")
        with _told(self.path):
            return [checks.instant(at) for (at,) in rows]

    def count_sessions(self) -> int:
        """How many session rows there are."""
        return int(next(self._rows("SELECT count(*) FROM sessions"))[0])

    def count_by_verdict(self) -> dict[str, int]:
        """Session rows per verdict, those that occur."""
        rows = self._rows("SELECT verdict, count(*) FROM sessions GROUP BY verdict ORDER BY verdict")
        with _told(self.path):
            return {checks.text(verdict): count for verdict, count in rows}

    def not_accepted(self, most: int) -> list[NotAccepted]:
        """Why sessions were not accepted, the most frequent reasons first, at most so many.

        That our own end of the run cut them off is no reason of the server's, and comes last.
        """
        sql = (
            "SELECT verdict, why, count(*) AS sessions FROM sessions WHERE chat_id = '' OR verdict = 'refused' "
            f"GROUP BY verdict, why ORDER BY verdict = 'cut_off', sessions DESC, verdict, why LIMIT {most:d}"
        )
        rows = self._rows(sql)
        with _told(self.path):
            return [NotAccepted(checks.text(verdict), checks.text(why), count) for verdict, why, count in rows]

    def end_silences(self) -> Iterator[EndSilence]:
        """The silences after which the server ended sessions, one for each dropped session."""
        names = "end_silence_lower_s, end_silence_upper_s, gap_lower_s"
        rows = self._rows(f"SELECT {names} FROM sessions WHERE verdict LIKE 'dropped%'")
        with _told(self.path):
            for row in rows:
                yield EndSilence(*(None if value is None else checks.instant(value) for value in row))

    def count_outlived(self, seconds: float) -> int:
        """Sessions that were not dropped although they surely were silent for longer than so many seconds."""
        sql = "SELECT count(*) FROM sessions WHERE verdict NOT LIKE 'dropped%' AND gap_lower_s > ?"
        return int(next(self._rows(sql, seconds))[0])

    def count_cut_off_confirmed(self) -> int:
        """Sessions cut off by the end of the run whose goodbye the server confirmed."""
        sql = "SELECT count(*) FROM sessions WHERE verdict = 'cut_off' AND goodbye_confirmed"
        return int(next(self._rows(sql))[0])

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, sql: str, *values: Any) -> Iterator[Any]:
        with _told(self.path):
            cursor = self._database.execute(sql, values)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from rows


def _connect(path: Path) -> sqlite3.Connection:
    """A read-only connection that also sees what a writer left in the write-ahead log."""
    address = f"file:{quote(str(path.absolute()))}"
    database = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=30, isolation_level=None)
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # In a folder that cannot be written SQLite refuses a WAL file: it cannot make its index.
        # With no log beside it there is nothing to index, and the file alone is the whole run.
        database.close()
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise
        database = sqlite3.connect(f"{address}?immutable=1", uri=True, isolation_level=None)
    return database


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a run ({error})") from None
