"""Reads a run that was finished, that is still being written, or whose writer died."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from chatload.chat.record import COLUMNS, SessionRecord, Timeline
from chatload.errors import UsageError
from chatload.run import checks
from chatload.run.books import Books
from chatload.run.schema import RUN_FILE, SCHEMA_VERSION, TRUTHS, run_file
from chatload.run.settings import RunSettings
from chatload.run.windows import Window

_ROWS_AT_ONCE = 1000
# In brackets: if there is no such column, SQLite reads a name in double quotes as a text.
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
    """The last silence of one dropped session (seconds; None: not known).

    lower_s, upper_s: bounds of the silence after which the server ended it. found_s: the lower bound of the silence up
    to the request that learned the end.
    """

    lower_s: float | None
    upper_s: float | None
    found_s: float | None


class RunReader:
    """A read-only view of one run, as it was when it was opened: later writes are not seen.

    settings: of the run. facts: its versions, seed and times.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self.facts: dict[str, Any] = checks.facts(self._rows("SELECT key, value FROM run"))
        self.settings: RunSettings = self.facts.pop("settings")

    @classmethod
    def open(cls, run: str | Path) -> RunReader:
        """Open the run in a folder or file. Raises UsageError (one line) if it is not a readable run."""
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
        """When the run was finished, Unix seconds; None if it never was."""
        return self.facts.get("ended_at")

    def sessions(self) -> Iterator[SessionRecord]:
        """Yield the record of every session in the order of writing, with few in memory at a time."""
        with _told(self.path):
            for row in checks.sessions(self._rows(f"SELECT {_SESSION} FROM sessions ORDER BY rowid")):
                record = SessionRecord(*row)
                for name in TRUTHS:
                    setattr(record, name, bool(getattr(record, name)))
                yield record

    def books_by_worker(self) -> dict[str, Books]:
        """Return the latest books of each process, by its name."""
        rows = self._rows("SELECT worker, data FROM books ORDER BY worker")
        with _told(self.path):
            return {checks.text(worker): checks.books(data) for worker, data in rows}

    def books(self) -> Books:
        """Return the merged books of all processes."""
        merged = Books()
        for books in self.books_by_worker().values():
            merged.merge(books)
        return merged

    def incidents(self) -> list[Incident]:
        """Return what happened to the run itself, the oldest first."""
        rows = self._rows("SELECT at, kind, what FROM incidents ORDER BY at, rowid")
        with _told(self.path):
            return [Incident(*checks.incident(row)) for row in rows]

    def windows(self) -> Iterator[Window]:
        """Yield the windows of the run, the oldest first, with one in memory at a time."""
        rows = self._rows('SELECT start, "end", open, books, cpu, rss, memory FROM windows ORDER BY start, rowid')
        with _told(self.path):
            for row in rows:
                yield Window(*checks.window(row))

    def loads(self) -> Iterator[tuple[float, float, int]]:
        """Yield start, end (Unix seconds) and open sessions of every window, the oldest first, without its books."""
        with _told(self.path):
            for row in self._rows('SELECT start, "end", open FROM windows ORDER BY start, rowid'):
                yield checks.stretch(row)

    def timelines(self) -> list[Timeline]:
        """Return the timelines of the worst sessions, the most severe first."""
        rows = self._rows("SELECT data FROM timelines ORDER BY severity_s DESC, rowid")
        with _told(self.path):
            return [checks.timeline(data) for (data,) in rows]

    def drop_instants(self) -> list[float]:
        """Return when the end of each dropped session was learned (Unix seconds), in order of time."""
        rows = self._rows("SELECT ended_at FROM sessions WHERE verdict LIKE 'dropped%' ORDER BY ended_at")
        with _told(self.path):
            return [checks.instant(at) for (at,) in rows]

    def count_sessions(self) -> int:
        """Return the number of session rows."""
        return int(next(self._rows("SELECT count(*) FROM sessions"))[0])

    def count_by_verdict(self) -> dict[str, int]:
        """Return the number of session rows for each verdict that occurs."""
        rows = self._rows("SELECT verdict, count(*) FROM sessions GROUP BY verdict ORDER BY verdict")
        with _told(self.path):
            return {checks.text(verdict): count for verdict, count in rows}

    def not_accepted(self, most: int) -> list[NotAccepted]:
        """Return why sessions were not accepted: at most `most` reasons, the most frequent first.

        Sessions that the end of the run cut off come last: the server is not the reason for these.
        """
        sql = (
            "SELECT verdict, why, count(*) AS sessions FROM sessions WHERE chat_id = '' OR verdict = 'refused' "
            f"GROUP BY verdict, why ORDER BY verdict = 'cut_off', sessions DESC, verdict, why LIMIT {most:d}"
        )
        rows = self._rows(sql)
        with _told(self.path):
            return [NotAccepted(checks.text(verdict), checks.text(why), count) for verdict, why, count in rows]

    def end_silences(self) -> Iterator[EndSilence]:
        """Yield the silence after which the server ended a session, for each dropped session."""
        names = "end_silence_lower_s, end_silence_upper_s, gap_lower_s"
        rows = self._rows(f"SELECT {names} FROM sessions WHERE verdict LIKE 'dropped%'")
        with _told(self.path):
            for row in rows:
                yield EndSilence(*(None if value is None else checks.instant(value) for value in row))

    def count_outlived(self, seconds: float) -> int:
        """Return the number of sessions that were surely silent for longer than `seconds` and were not dropped."""
        sql = "SELECT count(*) FROM sessions WHERE verdict NOT LIKE 'dropped%' AND gap_lower_s > ?"
        return int(next(self._rows(sql, seconds))[0])

    def count_cut_off_confirmed(self) -> int:
        """Return the number of sessions that the end of the run cut off and whose goodbye the server confirmed."""
        sql = "SELECT count(*) FROM sessions WHERE verdict = 'cut_off' AND goodbye_confirmed"
        return int(next(self._rows(sql))[0])

    def close(self) -> None:
        """Close the file."""
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
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as a run ({error})") from None
