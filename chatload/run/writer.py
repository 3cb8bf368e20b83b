"""Writes a run: one folder with one SQLite file. An existing run is never overwritten."""

from __future__ import annotations

import errno
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from chatload import __version__
from chatload.chat.record import COLUMNS, SessionRecord, Timeline
from chatload.errors import ChatloadError, UsageError
from chatload.run.books import Books
from chatload.run.schema import RUN_FILE, SCHEMA_VERSION, TABLES
from chatload.run.settings import RunSettings
from chatload.run.windows import Kept, Retention, Window, fold

_INSERT = f"INSERT INTO sessions VALUES ({', '.join('?' * len(COLUMNS))})"
#: A rowid of None: SQLite chooses the next one.
_INSERT_WINDOW = (
    'INSERT INTO windows (rowid, start, "end", open, books, cpu, rss, memory) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
)
_INSERT_CLASS_WINDOW = 'INSERT INTO class_windows (user_class, start, "end", open, books) VALUES (?, ?, ?, ?, ?)'
_UPSERT_BOOKS = (
    "INSERT INTO books VALUES (?, ?, ?, ?) "
    "ON CONFLICT (worker, user_class) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at"
)


class RunWriter(AbstractContextManager["RunWriter"]):
    """Writes one run; a run has only one writer. Each call is one transaction: all of it is stored, or nothing.

    It may be used from any thread, one call at a time. A write that fails raises ChatloadError. keep_windows_s: see
    `Retention`.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, keep_windows_s: float) -> None:
        self.path = path
        self._file = path.absolute()  # a locustfile may change the working directory
        self._database = database
        self._retention = Retention(keep_windows_s)

    @classmethod
    def create(cls, run_dir: str | Path, settings: RunSettings, started_at: float | None = None) -> RunWriter:
        """Begin a run in a folder, which is created if it does not exist. started_at: Unix seconds; now by default.

        Raises UsageError if the folder already has a run, or cannot be written.
        """
        run_dir = Path(run_dir)
        path = run_dir / RUN_FILE
        with _refused(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            # Created exclusively: of two runs that start at the same time, only one gets the folder.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        facts = {
            "settings": settings.to_dict(),
            "files": settings.files(),
            "versions": {"chatload": __version__, "python": platform.python_version()},
            "seed": settings.chat_seed,
            "started_at": time.time() if started_at is None else started_at,
        }
        with _sqlite_as_chatload_error(path):
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            database.execute("PRAGMA journal_mode = WAL")
            # Every transaction is synced to the disk: it survives a crash of the machine.
            database.execute("PRAGMA synchronous = FULL")
        with _transaction(path, database):
            for statement in (*TABLES, f"PRAGMA user_version = {SCHEMA_VERSION}"):
                database.execute(statement)
            for key, value in facts.items():
                _put(database, key, value)
        return cls(path, database, settings.keep_windows)

    def keep(
        self,
        rows: Iterable[Sequence[Any]],
        books: Mapping[str, Mapping[str, str]],
        timelines: Iterable[Timeline] = (),
    ) -> None:
        """Store what is new since the last call, in one transaction: books and sessions agree even after a kill.

        rows: sessions that ended, as `row` makes them. books: by process and user class, the books so far
        (`Books.to_dict` as JSON); they replace its earlier ones. timelines: of sessions that ended badly.

        Also raises ChatloadError if the file has been removed or renamed: SQLite would write to it without an
        error, and its data would be lost with the last open handle.
        """
        if not self._file.exists():
            raise ChatloadError(f"{self.path}: was removed or renamed during the run")
        now = time.time()
        ends = [(timeline.severity_s, json.dumps(asdict(timeline))) for timeline in timelines]
        with _transaction(self.path, self._database) as database:
            database.executemany(_INSERT, rows)
            parts = [(worker, name, data, now) for worker, by_class in books.items() for name, data in by_class.items()]
            database.executemany(_UPSERT_BOOKS, parts)
            database.executemany("INSERT INTO timelines VALUES (?, ?)", ends)

    def add_windows(self, windows: Sequence[Window]) -> None:
        """Store windows that are over and, in the same transaction, merge old windows if that is due."""
        with _transaction(self.path, self._database) as database:
            new = [
                Kept(database.execute(_INSERT_WINDOW, (None, *_cells(window))).lastrowid or 0, window.start, window.end)
                for window in windows
            ]
            of_classes = ((name, own) for window in windows for name, own in window.by_class.items())
            database.executemany(_INSERT_CLASS_WINDOW, ((name, *_cells(own)[:4]) for name, own in of_classes))
            for group in self._retention.due(new[-1].end) if new else []:
                _fold(database, group)
        for kept in new:
            self._retention.add(kept)

    def incident(self, kind: str, what: str, at: float | None = None) -> None:
        """Store what happened to the run itself. kind: an IncidentKind. at: Unix seconds; now by default."""
        values = (time.time() if at is None else at, kind, what)
        with _transaction(self.path, self._database) as database:
            database.execute("INSERT INTO incidents VALUES (?, ?, ?)", values)

    def make_room(self) -> None:
        """Free the disk space of the log if possible, so that a last incident can be written to a full disk."""
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def finish(self, ended_at: float | None = None) -> None:
        """Store that the run ended and everything was written. ended_at: Unix seconds; now by default."""
        with _transaction(self.path, self._database) as database:
            _put(database, "ended_at", time.time() if ended_at is None else ended_at)

    def close(self) -> None:
        """Close the file. A run that is not finished stays readable, as an unfinished run."""
        with _sqlite_as_chatload_error(self.path):
            # Without a log, a closed run is one file that can be read in a read-only folder too. While the run is being
            # read the log cannot be removed. It stays, and no data is lost.
            with suppress(sqlite3.OperationalError):
                self._database.execute("PRAGMA busy_timeout = 0")
                self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.close()

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _transaction(path: Path, database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Store everything that is written meanwhile, or nothing. Raises ChatloadError if it cannot be written."""
    with _sqlite_as_chatload_error(path):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has rolled back by itself after a full disk
                database.execute("ROLLBACK")
            raise


def _put(database: sqlite3.Connection, key: str, value: Any) -> None:
    """Store a fact about the whole run, or replace it."""
    database.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (key, json.dumps(value)))


#: One session as a row of the run file: its values in the order of COLUMNS.
row: Callable[[SessionRecord], tuple[Any, ...]] = attrgetter(*COLUMNS)


def _cells(window: Window) -> tuple[Any, ...]:
    books, memory = json.dumps(window.books.to_dict()), json.dumps(window.memory)
    return window.start, window.end, window.open, books, window.cpu, window.rss, memory


def _fold(database: sqlite3.Connection, group: list[Kept]) -> None:
    """Merge these windows into one, in the row of the first."""
    ends = group[0].row, group[-1].row
    rows = database.execute("SELECT * FROM windows WHERE rowid BETWEEN ? AND ? ORDER BY rowid", ends).fetchall()
    made = fold(
        Window(start, end, still, Books.from_dict(json.loads(books)), cpu, rss, json.loads(memory))
        for start, end, still, books, cpu, rss, memory in rows
    )
    database.execute("DELETE FROM windows WHERE rowid BETWEEN ? AND ?", ends)
    database.execute(_INSERT_WINDOW, (ends[0], *_cells(made)))
    # The windows of the user classes have the same starts and ends.
    for (name,) in database.execute("SELECT DISTINCT user_class FROM class_windows").fetchall():
        where = "FROM class_windows WHERE user_class = ? AND start BETWEEN ? AND ?"
        which = (name, group[0].start, group[-1].start)
        rows = database.execute(f'SELECT start, "end", open, books {where} ORDER BY start, rowid', which).fetchall()
        if rows:
            own = fold(
                Window(start, end, still, Books.from_dict(json.loads(books))) for start, end, still, books in rows
            )
            database.execute(f"DELETE {where}", which)
            database.execute(_INSERT_CLASS_WINDOW, (name, *_cells(own)[:4]))


def refuse_unwritable(run_dir: str | Path) -> None:
    """Raise UsageError if no run can begin in this folder. The check writes nothing."""
    run_dir = Path(run_dir)
    with _refused(run_dir):
        if (run_dir / RUN_FILE).exists():
            raise FileExistsError
        there = next(folder for folder in (run_dir, *run_dir.absolute().parents) if folder.exists())
        if not there.is_dir():
            raise UsageError(f"{there}: is not a folder", "choose another --run-dir")
        if not os.access(there, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(number, os.strerror(number))


@contextmanager
def _refused(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        why = "a run is already there" if run_dir.is_dir() else "is not a folder"
        raise UsageError(f"{run_dir}: {why}", "choose another --run-dir") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{run_dir}: cannot be written ({reason})", "choose another --run-dir") from None


@contextmanager
def _sqlite_as_chatload_error(path: Path) -> Iterator[None]:
    """Raise ChatloadError for an error of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise ChatloadError(f"{path}: cannot be written ({error})") from error


@contextmanager
def replacing(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that gets the name `path` only after it is complete and on the disk. mode: "w" (UTF-8) or "wb".

    If it cannot be written, UsageError is raised, and a file that was at `path` is unchanged.
    """
    path = Path(path)
    opened: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, mode, **opened) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = ""
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
