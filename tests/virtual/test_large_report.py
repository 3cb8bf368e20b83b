"""A report of a million sessions stays within its memory."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from chatload.run.books import Books
from chatload.run.schema import run_file
from tests.integration.processes import ENV, summary_of
from tests.virtual.million import make

CHATS, COPIES = 10_000, 100


def multiply(run_dir, copies):
    """As if the run had been held `copies` times over, one after the other.

    Its windows are stretched: `test_report_figures` has a run of many.
    """
    database = sqlite3.connect(run_file(run_dir), isolation_level=None)
    ((start, end),) = database.execute('SELECT min(start), max("end") FROM windows')
    database.execute("BEGIN")
    names = [row[1] for row in database.execute("PRAGMA table_info(sessions)")]
    later = {name: f"{name} + ?1" for name in ("started_at", "accepted_at", "ended_at")} | {"chat_id": "chat_id || ?1"}
    rows = database.execute("SELECT max(rowid) FROM sessions").fetchone()[0]
    values = ", ".join(later.get(name, f'"{name}"') for name in names)
    for i in range(1, copies):
        insert = f"INSERT INTO sessions SELECT {values} FROM sessions WHERE rowid <= {rows}"
        database.execute(insert, (i * (end - start),))
    stretched = 'UPDATE windows SET start = ?1 + (start - ?1) * ?2, "end" = ?1 + ("end" - ?1) * ?2'
    database.execute(stretched, (start, copies))
    books, total = Books.from_dict(json.loads(database.execute("SELECT data FROM books").fetchone()[0])), Books()
    for _ in range(copies):
        total.merge(books)
    database.execute("UPDATE books SET data = ?", (json.dumps(total.to_dict()),))
    database.execute("UPDATE run SET value = ? WHERE key = 'ended_at'", (str(start + copies * (end - start)),))
    database.execute("COMMIT")
    database.close()


@pytest.mark.slow
def test_a_million_sessions(tmp_path):
    make(tmp_path / "run", CHATS)
    multiply(tmp_path / "run", COPIES)
    command = [sys.executable, "-m", "chatload", "report", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENV)
    out = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, out
    assert usage.ru_maxrss < 1_000_000  # kB
    summary = summary_of(tmp_path / "run")
    assert summary["sessions"]["started"] == CHATS * COPIES
    assert summary["bursts"]["incidents"] < summary["bursts"]["drops"] / 20
