"""The books balance however the run ends, in one process and in several."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.processes import (
    CHAT,
    ENV,
    HASTY,
    ROOT,
    assert_balanced,
    chatload_here,
    ledger_of,
    locust,
    locust_command,
    simulator,
    summary_of,
)  # fmt: skip

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "5")


def check(host, run_dir, least):
    summary = summary_of(run_dir)
    assert_balanced(summary)
    assert summary["sessions"]["started"] >= least
    ledger = ledger_of(host)
    assert len(ledger) == summary["sessions"]["started"]
    reconciled = chatload_here("reconcile", run_dir, "--ledger", host)
    assert reconciled.returncode == 0, reconciled.stdout
    return summary, ledger


def test_two_worker_processes(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", "-u", "40", "-r", "40", "-t", "8s", "--processes", "2", *TIMEOUT,
            "--script", script, *ports(),
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        summary, ledger = check(host, tmp_path / "run", 40)
    assert summary["generator"]["processes"] == 2
    assert {row["end_reason"] for row in ledger} <= {"disconnected", "agent"}
    assert summary["sessions"]["by_verdict"]["cut_off"] > 0


def test_a_number_of_chats_in_two_worker_processes(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", "-u", "10", "-r", "10", "--chats", "25", *TIMEOUT, "--chat-length", "2",
            "--processes", "2", *ports(),
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        summary, _ = check(host, tmp_path / "run", 25)
    assert summary["sessions"]["by_verdict"]["completed"] >= 25


def heed_hangups():
    """Whoever runs the tests may have had SIGHUP ignored, and a run would ignore it too."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("how", "processes", "to_all"),
    [
        (signal.SIGINT, 0, False),
        (signal.SIGTERM, 0, False),
        (signal.SIGHUP, 2, True),  # a terminal that is lost
        (signal.SIGINT, 2, False),
        (signal.SIGINT, 2, True),  # Ctrl-C in a terminal
    ],
)
def test_a_signal_in_the_middle(tmp_path, how, processes, to_all):
    more = ("--processes", processes, *ports()) if processes else ()
    with simulator(*TIMEOUT) as host:
        command = locust_command(
            host,
            tmp_path / "run",
            "-u",
            "30",
            "-r",
            "30",
            "-t",
            "60s",
            *TIMEOUT,
            "--chat-length",
            "1000",
            "--html",
            str(tmp_path / "locust.html"),
            *more,
        )
        run = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True,
            preexec_fn=heed_hangups,
        )  # fmt: skip
        with contextlib.suppress(AssertionError):
            wait_for(lambda: run.poll() is not None or len(ledger_of(host)) >= 30)
        if run.poll() is not None or len(ledger_of(host)) < 30:
            run.kill()
            out, err = run.communicate(timeout=60)
            raise AssertionError(f"exit {run.returncode} before all chats were opened\n{out}{err}")
        if to_all:
            os.killpg(run.pid, how)
        else:
            run.send_signal(how)
        out, err = run.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert run.returncode == 0, out + err
        summary, ledger = check(host, tmp_path / "run", 30)
    assert summary["sessions"]["by_verdict"]["cut_off"] == 30
    assert summary["sessions"]["cut_off_confirmed"] == 30
    assert {row["end_reason"] for row in ledger} == {"disconnected"}
    # Locust's own page: not lost, and with the goodbyes, which it is too early for by itself.
    assert "Disconnect" in (tmp_path / "locust.html").read_text()


def test_a_run_whose_output_nobody_reads_any_more_goes_on(tmp_path):
    with simulator(*TIMEOUT) as host:
        command = locust_command(host, tmp_path / "run", "-u", "10", "-r", "10", "-t", "8s", *TIMEOUT)
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        assert "held" in run.stderr.readline()
        run.stderr.close()  # as by | head
        run.stdout.close()
        assert run.wait(60) == 0
        summary, _ = check(host, tmp_path / "run", 10)
    assert summary["sessions"]["by_verdict"]["cut_off"] == 10


def test_a_page_of_locusts_that_cannot_be_written_loses_nothing_else(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", "-u", "5", "-r", "5", "-t", "2s", *TIMEOUT, "--html", "/dev/full")
    assert run.returncode == 3, run.stdout + run.stderr
    assert run.stderr.count("/dev/full: cannot be written (No space left on device)") == 1
    assert "Traceback" not in run.stderr and "books balance" in run.stdout
    assert summary_of(tmp_path / "run")["sessions"]["started"] >= 5
    assert (tmp_path / "run" / "junit.xml").exists() and Path("/dev/full").is_char_device()


def test_master_and_worker_started_apart(tmp_path):
    port = free_port()
    with simulator(*TIMEOUT) as host:
        master = subprocess.Popen(
            locust_command(
                host, tmp_path / "run", "-u", "20", "-r", "20", "-t", "6s", *TIMEOUT, "--master",
                "--master-bind-port", port, "--expect-workers", "1", "--chat-length", "3",
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV,
        )  # fmt: skip
        worker = subprocess.Popen(
            [*locust_command(host, tmp_path / "unused")[:5], "--worker", "--master-port", str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV,
        )  # fmt: skip
        out, err = master.communicate(timeout=60)
        worker.communicate(timeout=60)
        assert master.returncode == 0, out + err
        check(host, tmp_path / "run", 20)
    assert not (tmp_path / "unused").exists()


def test_a_second_distributed_run_on_the_same_port_is_refused_before_it_has_workers(tmp_path):
    """They would join the master who has the port, and load a stranger's target."""
    shared = ports()
    with simulator(*TIMEOUT) as host:
        command = locust_command(
            host, tmp_path / "first", "-u", "4", "-r", "4", "-t", "60s", "--processes", "1", *TIMEOUT, *shared
        )
        first = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
        )
        try:
            wait_for(lambda: ledger_of(host))
            # It ends when the last process does that has its output open.
            second = locust(
                host, tmp_path / "second", "-u", "4", "-r", "4", "-t", "60s", "--processes", "2", *TIMEOUT, *shared,
                timeout=30,
            )  # fmt: skip
            assert (second.returncode, second.stdout) == (2, "")
            assert second.stderr.startswith(f"chatload: --master-bind-port {shared[1]} cannot be listened on: address")
            assert second.stderr.count("\n") == 1 and not (tmp_path / "second").exists()
            assert first.poll() is None
            first.terminate()
            out, err = first.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    assert first.returncode == 0, out + err
    assert_balanced(summary_of(tmp_path / "first"))


SLOW_GOODBYES = """
[[fault]]
kind = "slow"
operations = ["Disconnect"]
delay_s = 4
"""


@contextlib.contextmanager
def holding(host, run_dir, processes, web=False):
    """A run of locust that holds 10 chats for a minute."""
    more = ("--processes", processes, *ports()) if processes else ()
    command = locust_command(
        host, run_dir, "-u", "10", "-r", "10", "-t", "60s", *TIMEOUT, "--chat-length", "1000", *more
    )  # fmt: skip
    if web:
        command.remove("--headless")
        command += ["--autostart", "--web-port", str(free_port())]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
    )
    try:
        wait_for(lambda: len(ledger_of(host)) >= 10)
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.parametrize(
    ("first", "second", "processes", "to_all", "web"),
    [
        (signal.SIGINT, signal.SIGINT, 0, True, False),
        (signal.SIGINT, signal.SIGINT, 2, True, False),
        (signal.SIGINT, signal.SIGINT, 2, False, False),
        (signal.SIGTERM, signal.SIGTERM, 2, False, False),
        (signal.SIGINT, signal.SIGTERM, 2, True, False),  # as CI services cancel a job
        (signal.SIGINT, signal.SIGINT, 2, True, True),
    ],
)
def test_a_second_signal_ends_the_goodbyes_and_all_that_is_known_is_written(
    tmp_path, first, second, processes, to_all, web
):
    send = os.killpg if to_all else os.kill
    with (
        simulator(*TIMEOUT, faults=SLOW_GOODBYES, tmp_path=tmp_path) as host,
        holding(host, tmp_path / "run", processes, web) as run,
    ):
        time.sleep(1.1)  # a worker hands over once a second
        send(run.pid, first)
        wait_for(lambda: any(row["end_reason"] for row in ledger_of(host)))
        send(run.pid, second)
        out, err = run.communicate(timeout=30)
    assert run.returncode == 3 and "Traceback" not in err, out + err
    summary = summary_of(tmp_path / "run")
    assert summary["sessions"]["started"] == 10
    assert "the run was never finished: what came after its last write is missing" in summary["books"]["imbalances"]
    assert "a second signal ended the run without waiting for goodbyes" in " ".join(out.split())
    assert (tmp_path / "run" / "junit.xml").exists() and (tmp_path / "run" / "summary.md").exists()


def test_a_worker_that_stood_still_receives_both_signals_at_once(tmp_path):
    with (
        simulator(*TIMEOUT, faults=SLOW_GOODBYES, tmp_path=tmp_path) as host,
        holding(host, tmp_path / "run", 2) as run,
    ):
        stopped = psutil.Process(run.pid).children()[0]
        stopped.suspend()
        os.killpg(run.pid, signal.SIGINT)
        wait_for(lambda: any(row["end_reason"] for row in ledger_of(host)))
        os.killpg(run.pid, signal.SIGTERM)
        run.wait(30)
        stopped.resume()
        out, err = run.communicate(timeout=30)
    assert run.returncode == 3 and "Traceback" not in err and "GreenletExit" not in err, out + err
    assert "the process that started this worker has ended" in err


@pytest.mark.parametrize("processes", [0, 2])
def test_a_second_signal_while_the_outputs_are_written_changes_nothing(tmp_path, processes):
    with simulator(*TIMEOUT) as host, holding(host, tmp_path / "run", processes) as run:
        run.send_signal(signal.SIGINT)
        wait_for((tmp_path / "run" / "summary.json").exists)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert run.returncode == 0 and "Traceback" not in err, out + err
    assert_balanced(summary_of(tmp_path / "run"))


def test_no_stop_timeout_cuts_chats_off_and_still_balances(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", "-u", "20", "-r", "20", "-t", "4s", "-s", "0", *TIMEOUT)
        assert run.returncode == 0, run.stdout + run.stderr
        summary = summary_of(tmp_path / "run")
        assert_balanced(summary)
        assert summary["sessions"]["by_verdict"]["cut_off"] >= 10
        assert summary["sessions"]["cut_off_confirmed"] == 0


def test_the_requests_transport_holds_chats_too(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", "-u", "10", "-r", "10", "--chats", "10", "-t", "30s", *TIMEOUT,
            "--chat-length", "2", "--transport", "requests",
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        check(host, tmp_path / "run", 10)


def test_a_worker_that_cannot_hold_chats_is_told_of(tmp_path):
    """Its machine lacks a file that the master's has: no chats come from there, and that is no good run."""
    port, here, elsewhere = free_port(), tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    shutil.copy(ROOT / "chatload" / "features" / "demo" / "script.toml", here / "mine.toml")
    with simulator(*TIMEOUT) as host:
        master = subprocess.Popen(
            locust_command(
                host, tmp_path / "run", "-u", "10", "-r", "10", "-t", "5s", *TIMEOUT, "--script", "mine.toml",
                "--master", "--expect-workers", "2", "--master-bind-port", port,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, cwd=here,
        )  # fmt: skip
        worker = [sys.executable, "-m", "locust", "-f", str(CHAT), "--worker", "--master-port", str(port)]
        workers = [
            subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENV, cwd=folder)
            for folder in (here, elsewhere)
        ]
        out, err = master.communicate(timeout=60)
        for process in workers:
            process.wait(30)
    assert master.returncode == 3, out + err
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    (reason,) = summary["invalid_reasons"]
    assert "holds no chats: mine.toml: cannot be read (No such file or directory)" in reason
    assert reason in err and f"INVALID: {reason}" in " ".join(out.split())


def ports():
    """Where a master listens and its workers find it; not Locust's default, which may be taken."""
    port = free_port()
    return ("--master-bind-port", port, "--master-port", port)


#: Below the ports that connections are made from: one of those may be taken again before it is listened on. Each
#: process of the tests has its own.
_OWN = 20_000 + 1500 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8)
_PORTS = itertools.cycle([*range(_OWN + os.getpid() % 1000, _OWN + 1500), *range(_OWN, _OWN + os.getpid() % 1000)])


def free_port():
    for port in itertools.islice(_PORTS, 1400):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def wait_for(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


DRAINING = """
from locust.env import Environment
from chatload.swarm.run import Run
environment = Environment()
runner = environment.create_master_runner("127.0.0.1", 0)
run, dealt_by = Run(environment), []
run.role.coordinator._recorder = runner._users_dispatcher = object()
runner.send_message = lambda kind: dealt_by.append(runner._users_dispatcher)
run.begin_stopping()
print(dealt_by)
"""


def test_while_chats_say_goodbye_locust_deals_no_users_anew():
    """With millions of them that would be a second of standing still for each worker that is late."""
    run = subprocess.run(
        [sys.executable, "-c", DRAINING], capture_output=True, text=True, env=ENV, timeout=60, check=False
    )
    assert run.stdout == "[None]\n", run.stderr
