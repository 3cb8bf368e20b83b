"""Rows of the fault table that need a whole run: real Locust processes, and one in virtual time."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.errors import UsageError
from chatload.features.reconcile.compute import reconcile
from chatload.features.reconcile.ledger import LedgerRow
from chatload.features.report.summary import invalid_reasons
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.swarm.checks import check_service
from chatload.virtual.driver import VirtualSwarm
from tests.faults.certificates import Certificates
from tests.integration.processes import (
    ENV,
    assert_balanced,
    chatload_here,
    ledger_of,
    locust,
    locust_command,
    plan_for,
    simulator,
    summary_of,
)  # fmt: skip
from tests.integration.rawserver import OK, RawServer, answering
from tests.integration.test_stopping import free_port, ports, wait_for
from tests.integration.wire import started

pytestmark = pytest.mark.slow

FEW_FILES = """
import os
import resource

from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


@events.test_start.add_listener
def few_files(environment, **_):
    limit = len(os.listdir("/proc/self/fd")) + 6
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
"""
STEPPING = """
import time

import gevent
from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


really, step = time.time, 0.0
time.time = lambda: really() + step


@events.test_start.add_listener
def steps(environment, **_):
    def walk():
        global step
        for step in (3600.0, -7200.0, 0.0):
            gevent.sleep(1.2)

    gevent.spawn(walk)
"""


AHEAD = """
import time

import gevent
from locust import events
from locust.runners import WorkerRunner

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


really, ahead = time.time, 0.0
time.time = lambda: really() + ahead


@events.test_start.add_listener
def steps(environment, **_):
    def walk():
        global ahead
        while True:
            gevent.sleep(0.1)
            ahead += 3600.0 if isinstance(environment.runner, WorkerRunner) else -60.0

    gevent.spawn(walk)
"""


# requests asks for the name at every new connection, and so is the harder; the other by hand.
EVERY_WAY = ("requests", "lean") if os.environ.get("CHATLOAD_EVERY_WAY") else ("requests",)


@pytest.mark.parametrize("transport", EVERY_WAY)
def test_file_descriptors(tmp_path, transport):
    locustfile = tmp_path / "few_files.py"
    locustfile.write_text(FEW_FILES)
    with simulator("--flex-disconnect-timeout", "5", "--no-agents") as host:
        run = locust(
            host.replace("127.0.0.1", "localhost"), tmp_path / "run", "-u", "10", "-r", "10", "-t", "3s",
            "--flex-disconnect-timeout", "5", "--chat-length", "60", "--transport", transport, locustfile=locustfile,
        )  # fmt: skip
    assert run.returncode == 3, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert summary["generator"]["exhausted"] > 0
    assert "INVALID: the generator ran out of local ports or file descriptors" in run.stdout
    verdicts = summary["sessions"]["by_verdict"]
    assert verdicts["gave_up"] > 0 and verdicts["cut_off"] > 0 and verdicts["refused"] == verdicts["failed"] == 0


def test_steps_of_the_wall_clock(tmp_path):
    locustfile = tmp_path / "stepping.py"
    locustfile.write_text(STEPPING)
    with simulator("--flex-disconnect-timeout", "5", "--no-agents") as host:
        run = locust(
            host, tmp_path / "run", "-u", "5", "-r", "5", "-t", "4s", "--flex-disconnect-timeout", "5",
            "--chat-length", "1", locustfile=locustfile,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        reconciled = chatload_here("reconcile", tmp_path / "run", "--ledger", host)
    assert reconciled.returncode == 0, reconciled.stdout
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    verdicts = {verdict: n for verdict, n in summary["sessions"]["by_verdict"].items() if n}
    assert set(verdicts) <= {"completed", "cut_off"} and verdicts["completed"] > 2, verdicts
    # A jump ahead is an incident; it makes a run invalid only if a pause of the machine may have ended a chat badly.
    assert "clock_jumped" in {incident["kind"] for incident in summary["incidents"]}
    assert summary["refresh"]["lateness_s"]["max"] < 60 and summary["refresh"]["gap_s"]["max"] < 60
    assert 3 < summary["ended_at"] - summary["started_at"] < 60
    windows = chatload_here("export", tmp_path / "run", "windows").stdout.splitlines()
    header, *rows = [line.split(",") for line in windows]
    spans = [(float(row[header.index("start")]), float(row[header.index("end")])) for row in rows]
    assert len(spans) >= 3 and all(0 <= end - start < 60 for start, end in spans)
    sessions = chatload_here("export", tmp_path / "run", "sessions").stdout.splitlines()
    header, *rows = [line.split(",") for line in sessions]
    for row in rows:
        assert summary["started_at"] - 1 <= float(row[header.index("started_at")]) <= summary["ended_at"]
        assert summary["started_at"] - 1 <= float(row[header.index("ended_at")]) <= summary["ended_at"] + 1


def test_workers_whose_wall_clocks_are_set_ahead_and_a_masters_set_back(tmp_path):
    locustfile = tmp_path / "ahead.py"
    locustfile.write_text(AHEAD)
    with simulator("--flex-disconnect-timeout", "5", "--no-agents") as host:
        run = locust(
            host, tmp_path / "run", "-u", "15", "-r", "5", "-t", "6s", "--flex-disconnect-timeout", "5",
            "--chat-length", "100", "--processes", "2", *ports(), locustfile=locustfile,
        )  # fmt: skip
        ledger = ledger_of(host)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    # By Locust's own heartbeat each worker would have ended within a second, and its chats with it; and after the
    # first second of the ramp no more users would have come.
    assert summary["sessions"]["by_verdict"]["cut_off"] == summary["sessions"]["cut_off_confirmed"] == 15
    assert all(row["ended_at"] - row["started_at"] > 1 for row in ledger)


def test_a_restart_that_forgets_all_sessions(tmp_path):
    port = free_port()
    options = ("--port", port, "--flex-disconnect-timeout", "10", "--no-agents")
    with started(*options) as (process, host):
        command = locust_command(
            host, tmp_path / "run", "-u", "10", "-r", "10", "-t", "7s", "--flex-disconnect-timeout", "10",
            "--refresh-interval", "0.5", "--chat-length", "6000",
        )  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENV) as run:
            wait_for(lambda: len(ledger_of(host)) == 10)
            process.send_signal(signal.SIGKILL)
            process.wait()
            with started(*options, "--seed", "7"):
                out, _ = run.communicate(timeout=60)
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert run.returncode == 0, out
    verdicts = {verdict: n for verdict, n in summary["sessions"]["by_verdict"].items() if n}
    assert verdicts == {"failed": 10, "cut_off": 10}, (verdicts, out)
    assert (
        "statusCode 2 though every refresh was in time" in chatload_here("export", tmp_path / "run", "sessions").stdout
    )


def check(plan):
    one = plan.of("")
    check_service(one.encoder, one.open_transport, one.settings.request_timeout_s, one.run.host, one.run.service)


@pytest.mark.parametrize("transport", ["lean", "requests"])
def test_what_no_run_could_mend_is_found_before_it(tmp_path, transport):
    certificates = Certificates(tmp_path)
    with RawServer(answering(OK), certificates.expired) as server:
        with pytest.raises(UsageError, match="cannot be reached: certificate expired or not yet valid"):
            check(plan_for(server.url, "--ca-file", certificates.authority, "--transport", transport))
    with RawServer(answering(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")) as server:
        with pytest.raises(UsageError, match="HTTP 302"):
            check(plan_for(server.url, "--transport", transport))
    assert len(server.seen) == 1 and b"/login" not in server.seen[0][1]


def test_an_hours_outage():
    settings = SessionSettings(
        make_policy("fixed", 45.0), 10.0, CustomerScript(Distribution("fixed", 120.0), waits_for_agent=False)
    )
    outage = Fault("outage", from_s=600.0, until_s=4200.0)
    service = ChatService(SimulatorConfig(agents=False), FaultPlan([outage]))
    run = VirtualSwarm(settings, service, users=4, chats=100_000, stop_at=7200.0).run()
    assert run.books.balanced() and run.books.started == len(run.records)
    rows = [LedgerRow(row["chat_id"], row["end_reason"], late_contact_at=row["late_contact_at"]) for row in run.ledger]
    assert not reconcile(run.records, rows).contradictions
    verdicts = {verdict: n for verdict, n in run.books.verdicts.items() if n}
    assert set(verdicts) == {"completed", "dropped_unproven", "gave_up", "cut_off"}, verdicts
    assert not invalid_reasons(run.books)
    after = [record.verdict for record in run.records if record.started_at > 4201]
    assert set(after) == {"completed", "cut_off"} and len(after) > 80
