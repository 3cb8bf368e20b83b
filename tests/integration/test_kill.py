"""kill -9 at random instants: what was kept stays, once each; what is missing is said; and nobody loads on.

CI stops one worker for good (SIGSTOP) and kills one master; CHATLOAD_KILLS=50 does it so often, by hand, and also kills
workers:

    CHATLOAD_KILLS=50 pytest tests/integration/test_kill.py -s
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter

import psutil
import pytest

from chatload.errors import UsageError
from chatload.run.reader import RunReader
from tests.integration.processes import (
    ENV,
    HASTY,
    chatload_here,
    ledger_of,
    locust_command,
    report_here,
    simulator,
    summary_of,
)
from tests.integration.test_stopping import ports

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("CHATLOAD_KILLS", "2"))
TIMEOUT = ("--flex-disconnect-timeout", "5")
#: A stall of this machine is not chatload's: what is at risk by design is 2 s.
RISK_S, STALL_S = 2.0, 3.0
#: Bytes that fit on the full disk.
FULL = 150_000


@pytest.fixture(scope="module")
def host():
    with simulator(*TIMEOUT) as address:
        yield address


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def kept(run_dir):
    """Chat ids of the rows that are on the disk, and how long ago the newest books were written."""
    with RunReader.open(run_dir) as reader:
        rows = Counter(record.chat_id for record in reader.sessions())
        kinds = {incident.kind for incident in reader.incidents()}
    with contextlib.closing(sqlite3.connect(run_dir / "run.sqlite")) as database:
        (newest,) = database.execute("SELECT max(updated_at) FROM books").fetchone()
    return rows, time.time() - (newest or 0.0), kinds


def enough(run_dir):
    with contextlib.suppress(UsageError):  # there, and for some milliseconds not yet a run
        return (run_dir / "run.sqlite").exists() and len(kept(run_dir)[0]) >= 10
    return False


@pytest.mark.parametrize("number", range(KILLS))
def test_what_was_kept_outlives_any_kill(number, host, tmp_path):
    draw = random.Random(number)
    victim = ("worker", "master")[number % 2]
    how = signal.SIGSTOP if number % 4 == 0 else signal.SIGKILL
    (tmp_path / "script.toml").write_text(HASTY)
    run_dir = tmp_path / "run"
    command = locust_command(
        host, run_dir, "-u", "24", "-r", "24", "-t", "90s", "--processes", "2", *ports(), *TIMEOUT,
        "--script", tmp_path / "script.toml", "--stop-timeout", "2",
    )  # fmt: skip
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
    )
    try:
        until(lambda: enough(run_dir), 60)
        time.sleep(draw.uniform(0.0, 2.0))
        workers = psutil.Process(run.pid).children()
        before, _, _ = kept(run_dir)
        os.kill(draw.choice(workers).pid if victim == "worker" else run.pid, how)
        _, age_s, _ = kept(run_dir)
        if victim == "worker":
            until(lambda: "worker_silent" in kept(run_dir)[2], 30)
            run.send_signal(signal.SIGTERM)
            assert run.wait(60) == 3
            assert not any(worker.is_running() for worker in workers), "a stopped worker outlives its master"
        else:
            # Orphans say goodbye and end by themselves.
            until(lambda: not any(worker.is_running() for worker in workers), 60)
            alive = [row for row in ledger_of(host) if not row["end_reason"]]
            assert not alive, "nobody holds a chat any more"
    finally:
        os.killpg(run.pid, signal.SIGKILL) if run.poll() is None else None
        run.communicate(timeout=20)
    report = report_here(run_dir)
    assert report.returncode == 3 and "Traceback" not in report.stderr, report.stderr
    assert (run_dir / "report.html").exists()
    after = kept(run_dir)[0]
    print(
        f"\n  {number}: {victim} killed, {sum(before.values())} kept before, {sum(after.values())} after, {age_s:.2f} s"
    )
    assert set(before) <= set(after), "a session that was on the disk is lost"
    assert max(after.values()) == 1, "a session is counted twice"
    assert age_s < RISK_S + STALL_S
    check_books(summary_of(run_dir), after, victim)
    reconciled = chatload_here("reconcile", run_dir, "--ledger", host, "--json")
    assert reconciled.returncode == 0, reconciled.stdout


def check_books(summary, rows, victim):
    """The books of what is there agree with the rows to the unit, and what is missing is said."""
    assert not summary["books"]["balanced"]
    assert summary["sessions"]["started"] >= sum(summary["sessions"]["by_verdict"].values()) == sum(rows.values())
    said = " ".join(summary["books"]["imbalances"])
    assert "session rows" not in said, said
    if victim == "worker":
        assert "fell silent with" in said and "state unknown" in said
    else:
        assert "never finished" in said


def test_a_full_disk_stops_the_recording_loudly_and_not_the_run(host, tmp_path):
    (tmp_path / "script.toml").write_text(HASTY)
    command = locust_command(
        host, tmp_path / "run", "-u", "40", "-r", "40", "-t", "12s", *TIMEOUT, "--script", tmp_path / "script.toml",
    )  # fmt: skip
    # No file of this process may grow beyond this: the run file cannot take all of the run.
    full = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({FULL}, {FULL})); "
    full += "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    run = subprocess.run(
        [command[0], "-c", full, *command[1:]], capture_output=True, text=True, env=ENV, timeout=60, check=False
    )
    assert run.returncode == 3, run.stdout + run.stderr
    assert run.stderr.count("RECORDING STOPPED") == 1 and "Traceback" not in run.stderr, run.stderr
    summary = summary_of(tmp_path / "run")
    assert not summary["books"]["balanced"]
    assert any("recording" in line for line in summary["books"]["imbalances"]), summary["books"]
    # It stopped recording, and went on loading: the server saw chats that no row is of.
    assert len(ledger_of(host)) > summary["sessions"]["started"] > 0


def test_a_second_signal_ends_at_once(host, tmp_path):
    command = locust_command(
        host, tmp_path / "run", "-u", "20", "-r", "20", "-t", "60s", *TIMEOUT, "--chat-length", "1000",
        "--stop-timeout", "50", "--request-timeout", "40",
    )  # fmt: skip
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    before = len(ledger_of(host))
    try:
        until(lambda: len(ledger_of(host)) >= before + 20, 60)
        os.kill(_simulator_of(host), signal.SIGSTOP)  # nobody answers goodbyes
        run.send_signal(signal.SIGINT)
        time.sleep(2)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 3
    finally:
        os.kill(_simulator_of(host), signal.SIGCONT)
        run.kill()
        run.communicate(timeout=20)
    report = report_here(tmp_path / "run")
    assert report.returncode == 3 and "never finished" in report.stdout
    assert "ended_at_once" in kept(tmp_path / "run")[2]


def _simulator_of(host):
    port = int(host.rsplit(":", 1)[1])
    return next(c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == "LISTEN")
