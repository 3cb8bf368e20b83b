"""Writing a run: one folder, one SQLite file, never over another run."""

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
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

from chatload import __version__
from chatload.chat.record import COLUMNS, SessionRecord
from chatload.chat.timeline import Timeline
from chatload.errors import ChatloadError, UsageError
from chatload.run.books import Books
from chatload.run.retention import Kept, Retention, fold
from chatload.run.schema import RUN_FILE, SCHEMA_VERSION, TABLES, plain
from chatload.run.settings import RunSettings
from chatload.run.windows import Window

_INSERT = f"INSERT INTO sessions VALUES ({', '.join('?' * len(COLUMNS))})"
_INSERT_WINDOW = "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_FOLDED = (
    'INSERT INTO windows (rowid, start, "end", open, books, cpu, rss, memory) VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
)
_UPSERT_BOOKS = (
    "INSERT INTO books VALUES (?, ?, ?) "
    "ON CONFLICT (worker) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at"
)


class RunWriter:
    """The one writer of one run. Each call is one transaction: all of it is kept, or none.

    Usable from any thread, one call at a time. A write that fails raises ChatloadError.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, keep_windows_s: float = 0.0) -> None:
        """keep_windows_s: windows are left as they are for so long (see `Retention`); 0 is for ever."""
        self.path = path
        self._database = database
        self._retention = Retention(keep_windows_s)

    @classmethod
    def create(
        cls,
        run_dir: str | Path,
        settings: RunSettings,
        started_at: float | None = None,
        keep_windows_s: float = 0.0,
    ) -> RunWriter:
        """Begin a run in `run_dir`, made where needed; started_at: Unix seconds, now by default; keep_windows_s: for
        so long windows are left as they are, 0 is for ever.

        Raises UsageError where a run is there already or the folder cannot be written.
        """
        run_dir = Path(run_dir)
        path = run_dir / RUN_FILE
        with _refused(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
            # Claimed by exclusive creation: of two runs started at once, only one gets the folder.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        facts = {
            "settings": settings.to_dict(),
            "files": settings.files(),
            "versions": {"chatload": __version__, "python": platform.python_version()},
            "seed": settings.chat_seed,
            "started_at": time.time() if started_at is None else started_at,
        }
        with _told(path):
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            writer = cls(path, database, keep_windows_s)
            writer._begin(facts)
        return writer

    def _begin(self, facts: Mapping[str, Any]) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        # Synced to the disk with every transaction: what was kept outlives the machine.
        self._database.execute("PRAGMA synchronous = FULL")
        with self._transaction() as database:
            for statement in TABLES:
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for key, value in facts.items():
                self._put(key, value)

    def keep(
        self,
        rows: Iterable[Sequence[Any]],
        books: Mapping[str, str],
        timelines: Iterable[Timeline] = (),
    ) -> None:
        """Keep what came up since the last time, all or none of it: sessions that ended (as of `row`), the books so
        far of the processes they are of (as of `Books.to_dict`, in JSON, in place of their earlier ones), and how bad
        sessions came to their end.

        One transaction, so that books and sessions agree whenever the writer is killed.
        """
        now = time.time()
        of_processes = [(worker, of_it, now) for worker, of_it in books.items()]
        ends = [(timeline.severity_s, json.dumps(timeline.to_dict())) for timeline in timelines]
        with self._transaction() as database:
            database.executemany(_INSERT, rows)
            database.executemany(_UPSERT_BOOKS, of_processes)
            database.executemany("INSERT INTO timelines VALUES (?, ?)", ends)

    def add_sessions(self, records: Iterable[SessionRecord | Mapping[str, Any]]) -> None:
        """Keep the records of sessions that ended."""
        rows = [_row(record) for record in records]
        with self._transaction() as database:
            database.executemany(_INSERT, rows)

    def put_books(self, worker: str, books: Books) -> None:
        """Keep one process's books so far, in place of its earlier ones."""
        data = json.dumps(books.to_dict())
        with self._transaction() as database:
            database.execute(_UPSERT_BOOKS, (worker, data, time.time()))

    def add_windows(self, windows: Iterable[Window]) -> None:
        """Keep windows that are over; with them, in the same transaction, old ones are folded where it is time."""
        with self._transaction() as database:
            new = [
                Kept(database.execute(_INSERT_WINDOW, _cells(window)).lastrowid or 0, window.start, window.end)
                for window in windows
            ]
            groups = self._retention.due(new[-1].end) if new else []
            for group in groups:
                _fold(database, group)
        self._retention.folded(groups)
        for kept in new:
            self._retention.add(kept)

    def add_timelines(self, timelines: Iterable[Timeline]) -> None:
        """Keep how bad sessions came to their end."""
        rows = [(timeline.severity_s, json.dumps(timeline.to_dict())) for timeline in timelines]
        with self._transaction() as database:
            database.executemany("INSERT INTO timelines VALUES (?, ?)", rows)

    def incident(self, kind: str, what: str, at: float | None = None) -> None:
        """Note what happened to the run itself, such as kind "worker_lost"; at: Unix seconds, now by default."""
        with self._transaction() as database:
            instant = time.time() if at is None else at
            database.execute("INSERT INTO incidents VALUES (?, ?, ?)", (instant, kind, what))

    def make_room(self) -> None:
        """Give the log's space on the disk back, as far as that can be done: for a last word on a full disk."""
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def finish(self, ended_at: float | None = None) -> None:
        """Say that the run came to its end and all of it is here; ended_at: Unix seconds, now by default."""
        with self._transaction():
            self._put("ended_at", time.time() if ended_at is None else ended_at)

    def close(self) -> None:
        """Close the file; a run that is not finished stays readable, and says that it is not."""
        with _told(self.path):
            # A closed run is one plain file, readable where SQLite may not write; a reader at work
            # prevents that, and then the log stays, which is as good.
            with suppress(sqlite3.OperationalError):
                self._database.execute("PRAGMA busy_timeout = 0")
                self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, key: str, value: Any) -> None:
        row = (key, json.dumps(plain(value)))
        self._database.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", row)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _told(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after a full disk
                    self._database.execute("ROLLBACK")
                raise


#: One session as a row of the run file: its values in the order of COLUMNS.
row: Callable[[SessionRecord], tuple[Any, ...]] = attrgetter(*COLUMNS)


def _row(record: SessionRecord | Mapping[str, Any]) -> tuple[Any, ...]:
    try:
        return row(record if isinstance(record, SessionRecord) else SessionRecord(**record))
    except TypeError as error:
        raise ChatloadError(f"a session's facts cannot be kept ({error})") from None


def _cells(window: Window) -> tuple[Any, ...]:
    books, memory = json.dumps(window.books.to_dict()), json.dumps(window.memory)
    return window.start, window.end, window.open, books, window.cpu, window.rss, memory


def _fold(database: sqlite3.Connection, group: list[Kept]) -> None:
    """One window of these, in the row of the first."""
    ends = group[0].row, group[-1].row
    rows = database.execute("SELECT * FROM windows WHERE rowid BETWEEN ? AND ? ORDER BY rowid", ends).fetchall()
    made = fold(
        Window(start, end, still, Books.from_dict(json.loads(books)), cpu, rss, json.loads(memory))
        for start, end, still, books, cpu, rss, memory in rows
    )
    database.execute("DELETE FROM windows WHERE rowid BETWEEN ? AND ?", ends)
    database.execute(_INSERT_FOLDED, (ends[0], *_cells(made)))


def refuse_unwritable(run_dir: str | Path) -> None:
    """Raises UsageError where no run can begin in this folder, as far as that can be seen without touching anything."""
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
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ChatloadError(f"{path}: cannot be written ({error})") from error


def replacing(path: str | Path) -> AbstractContextManager[IO[str]]:
    """A text file that takes the name `path` only once it is whole and on the disk.

    Raises UsageError where it cannot be written; whatever was at `path` is then still there.
    """
    return _replacing(Path(path), mode="w", encoding="utf-8", newline="")


def replacing_bytes(path: str | Path) -> AbstractContextManager[IO[bytes]]:
    """The same for a file of bytes."""
    return _replacing(Path(path), mode="wb")


@contextmanager
def _replacing(path: Path, **opened: Any) -> Iterator[IO[Any]]:
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with open(handle, **opened) as stream:
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
