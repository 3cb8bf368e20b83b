"""A run is written once, read by anybody, and survives its writer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from chatload.chat.record import COLUMNS, SessionRecord
from chatload.errors import ChatloadError, UsageError
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.schema import SCHEMA_VERSION
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter, replacing
from tests.run_files import add_sessions, put_books

FULL = SessionRecord(
    "c1", "dropped_late", "server", "silent", 1.5, 9.5, 4, 5, 1, 45.25, 46.0, "0/true",
    True, 0.25, True, 0.5, 2, 3, "w1",
)  # fmt: skip

SETTINGS = RunSettings(chat_seed=7, flex_disconnect_timeout=45.0, script="s.toml", script_text="x" * 9000)


def books(**verdicts: int) -> Books:
    made = Books()
    made.started = sum(verdicts.values())
    made.verdicts.update(verdicts)
    return made


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "deep" / "run", SETTINGS, 12.5) as writer:
        add_sessions(writer, [FULL, FULL, SessionRecord(verdict="refused")])
        writer.incident("worker_lost", "w2")
        writer.finish(20.0)
    with RunReader.open(tmp_path / "deep" / "run") as reader:
        assert list(reader.sessions()) == [FULL, FULL, SessionRecord(verdict="refused")]
        assert next(reader.sessions()).generator_suspect is True
        assert reader.settings == SETTINGS
        assert (reader.started_at, reader.ended_at, reader.facts["seed"]) == (12.5, 20.0, 7)
        assert [(i.kind, i.what) for i in reader.incidents()] == [("worker_lost", "w2")]
        assert reader.count_by_verdict() == {"dropped_late": 2, "refused": 1}
        assert reader.count_sessions() == 3


def test_columns_are_the_record(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, RunSettings()).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        info = list(database.execute("PRAGMA table_info(sessions)"))
        assert tuple(row[1] for row in info) == COLUMNS
        assert {row[1]: row[2] for row in info}["gap_lower_s"] == "REAL"
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_process_has_one_row_of_books_its_last(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        put_books(writer, "w1", books(completed=1))
        put_books(writer, "w1", books(completed=5))
        put_books(writer, "w2", books(failed=2))
    with RunReader.open(tmp_path / "run.sqlite") as reader:
        assert {w: b.started for w, b in reader.books_by_worker().items()} == {"w1": 5, "w2": 2}
        assert reader.books().verdicts == {"completed": 5, "failed": 2}


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        add_sessions(writer, [FULL])
    before = (tmp_path / "run.sqlite").read_bytes()
    with pytest.raises(UsageError, match="a run is already there; choose another --run-dir"):
        RunWriter.create(tmp_path, RunSettings())
    assert (tmp_path / "run.sqlite").read_bytes() == before


def test_a_folder_that_cannot_be_made_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UsageError, match="--run-dir"):
            RunWriter.create(where, RunSettings())


def test_a_failed_write_is_told_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        broken = SessionRecord("c2", "completed")
        broken.contacts = None  # type: ignore[assignment]
        with pytest.raises(ChatloadError, match=r"run\.sqlite: cannot be written"):
            add_sessions(writer, [FULL, broken])
        add_sessions(writer, [FULL])
    with RunReader.open(tmp_path) as reader:
        assert reader.count_sessions() == 1


KILLED = """
import os, sys
from chatload.chat.record import SessionRecord
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter, row
writer = RunWriter.create(sys.argv[1], RunSettings(name="killed"))
for i in range(50):
    writer.keep([row(SessionRecord(f"c{i}", "completed"))], {})
print("ready", flush=True)
writer._database.execute("BEGIN IMMEDIATE")
writer._database.execute("DELETE FROM sessions")
sys.stdin.read()
"""


def test_a_run_whose_file_is_removed_or_renamed_is_told_at_the_next_write(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "run", SETTINGS) as writer:
        put_books(writer, "w1", books(completed=1))
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(ChatloadError, match="removed or renamed"):
            put_books(writer, "w1", books(completed=2))


def test_a_run_whose_writer_was_killed_is_read(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        writer.send_signal(signal.SIGKILL)
    assert (tmp_path / "run" / "run.sqlite-wal").stat().st_size > 0
    with RunReader.open(tmp_path / "run") as reader:
        assert [record.chat_id for record in reader.sessions()] == [f"c{i}" for i in range(50)]
        assert reader.ended_at is None


def test_a_reader_sees_the_run_as_it_was_when_opened(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        add_sessions(writer, [FULL])
        with RunReader.open(tmp_path) as reader:
            add_sessions(writer, [FULL])
            assert reader.count_sessions() == len(list(reader.sessions())) == 1


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, RunSettings()).close()
    with RunReader.open(tmp_path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._database.execute("DELETE FROM run")


def test_a_closed_run_is_one_file(tmp_path: Path) -> None:
    RunWriter.create(tmp_path, RunSettings()).close()
    RunReader.open(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["run.sqlite"]


def _empty_database(path: Path, version: int) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (a)")
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()


def test_what_is_not_a_run_is_wrong_usage_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be looked at as one" * 100)
    (tmp_path / "empty").write_text("")
    _empty_database(tmp_path / "other", SCHEMA_VERSION)
    _empty_database(tmp_path / "newer", SCHEMA_VERSION + 1)
    RunWriter.create(tmp_path / "older", RunSettings()).close()
    with sqlite3.connect(tmp_path / "older" / "run.sqlite") as database:
        database.execute("PRAGMA user_version = 0")
    database.close()
    for name, said in [
        ("older", "not a run of chatload"),
        ("missing", "no such file"), ("", "no run.sqlite"), ("text", "cannot be read as a run"),
        ("empty", "not a run"), ("other", "cannot be read as a run"),
        ("newer", f"run format {SCHEMA_VERSION + 1}, but this chatload reads {SCHEMA_VERSION}; use the"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=said) as caught:
            RunReader.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_damaged_run_is_wrong_usage(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        add_sessions(writer, [FULL] * 5000)
    path = tmp_path / "run.sqlite"
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(size // 4)
        stream.write(b"\xff" * (size // 2))
    with pytest.raises(UsageError, match="cannot be read as a run"), RunReader.open(tmp_path) as reader:
        list(reader.sessions())


def test_what_is_unreadable_is_named(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        add_sessions(writer, [FULL])
        put_books(writer, "w1", Books())
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("UPDATE sessions SET contacts = 'many'")
        database.execute("UPDATE books SET data = replace(data, '\"started\": 0', '\"started\": -1')")
    with RunReader.open(tmp_path) as reader:
        with pytest.raises(UsageError, match=r"\(contacts: Input should be a valid integer\)"):
            list(reader.sessions())
        with pytest.raises(UsageError, match=r"\(data.started: Input should be greater than or equal to 0\)"):
            reader.books()
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("UPDATE run SET value = '\"noon\"' WHERE key = 'started_at'")
    database.close()
    with pytest.raises(UsageError, match=r"\(started_at: Input should be a valid number\)"):
        RunReader.open(tmp_path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as stream:
        stream.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with replacing(path) as stream:
        stream.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError) as refused, replacing(tmp_path / "no" / "out"):
        pass
    assert str(refused.value) == f"{tmp_path / 'no' / 'out'}: cannot be written (No such file or directory)"


def test_what_was_written_leaves_no_file_open(tmp_path: Path) -> None:
    RunWriter.create(tmp_path / "first", RunSettings()).close()
    before = len(os.listdir("/dev/fd"))
    for i in range(5):
        with RunWriter.create(tmp_path / f"run{i}", RunSettings()), replacing(tmp_path / f"out{i}") as stream:
            stream.write("new")
        RunReader.open(tmp_path / f"run{i}").close()
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize("wrong", ["missing", "", "empty", "other", "newer"])
def test_what_was_refused_leaves_no_file_open(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "empty").write_text("")
    _empty_database(tmp_path / "other", SCHEMA_VERSION)
    _empty_database(tmp_path / "newer", SCHEMA_VERSION + 1)
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(UsageError):
            RunReader.open(tmp_path / wrong)
    assert len(os.listdir("/dev/fd")) == before


def test_room_is_made_on_a_full_disk_by_emptying_the_log(tmp_path):
    writer = RunWriter.create(tmp_path / "run", RunSettings())
    add_sessions(writer, [SessionRecord(chat_id="c", verdict="completed")])
    log = tmp_path / "run" / "run.sqlite-wal"
    assert log.stat().st_size > 0
    writer.make_room()
    assert log.stat().st_size == 0
    writer.close()
    writer.make_room()  # whatever comes of it


def test_a_written_file_is_readable_by_all_and_a_failed_one_leaves_nothing(tmp_path):
    file = tmp_path / "out.txt"
    with replacing(file) as stream:
        stream.write("whole")
    assert file.stat().st_mode & 0o777 == 0o644
    with pytest.raises(RuntimeError), replacing(file) as stream:
        stream.write("half")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.txt", "whole")]
    with pytest.raises(UsageError, match="cannot be written"), replacing(tmp_path / "none" / "out.txt"):
        pass
