"""`chatload probe` against a real simulator: the figures, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

from tests.integration.processes import ENV, ledger_of, simulator
from tests.schemas import read_schema

pytestmark = pytest.mark.slow

ROUGH = """
seed = 5
[[fault]]
kind = "status_1"
chance = 0.05
[[fault]]
kind = "stall"           # handled 300 ms late
chance = 0.03
delay_s = 0.3
[[fault]]
kind = "slow"            # answered 300 ms late
chance = 0.03
delay_s = 0.3
"""
#: CHATLOAD_EVERY_WAY=1 probes a timeout of 45 s too, and each server both smooth and rough.
EVERY_WAY = bool(os.environ.get("CHATLOAD_EVERY_WAY"))
SERVERS = [
    (2.0, [], True),
    *([(2.0, [], False), (5.0, [], True), (5.0, [], False), (45.0, [], False), (45.0, [], True)] if EVERY_WAY else []),
    *([(5.0, ["--dropped-answer", "2"], True), (45.0, ["--dropped-answer", "2"], True)] if EVERY_WAY else []),
]


def probe(*arguments, timeout=300):
    command = [sys.executable, "-m", "chatload", "probe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=timeout)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("timeout, options, rough", SERVERS)
def test_the_timeout_within_2_percent(timeout, options, rough, tmp_path):
    faults = {"faults": ROUGH, "tmp_path": tmp_path} if rough else {}
    with simulator("--flex-disconnect-timeout", timeout, *options, **faults) as host:
        run = probe("--host", host, "--json")
    found = json.loads(run.stdout)
    jsonschema.validate(found, read_schema("probe", "probe"))
    assert run.returncode == 0, run.stderr
    assert found["timeout_lower_s"] <= timeout <= found["timeout_upper_s"]
    assert found["timeout_s"] == pytest.approx(timeout, rel=0.02), found
    assert found["dropped_answer"] == ("2" if options else "0/true")
    assert run.stderr.startswith("opening 54 chats, 96 at most, silent for up to 60 s each.")


def test_a_coarse_sweep_is_reported_and_the_difference_to_what_is_configured(capfd):
    with simulator("--flex-disconnect-timeout", 2, "--sweep-interval", 1) as host:
        run = probe("--host", host, "--flex-disconnect-timeout", 4, "--sessions", 64)
        ends = {row["end_reason"] for row in ledger_of(host)}
    print(run.stdout)
    assert run.returncode == 0, run.stderr
    assert max(map(len, run.stdout.splitlines())) <= 80
    words = " ".join(run.stdout.split())
    assert "The server checks for silent chats at intervals" in words
    assert "warning: the server's timeout is shorter than the 4 s configured" in words
    assert ends <= {"expired", "disconnected"}


def test_without_a_timeout_it_says_so_and_exits_4():
    with simulator("--flex-disconnect-timeout", 0) as host:
        run = probe("--host", host, "--longest", 3, "--sessions", 20)
    assert run.returncode == 4
    assert run.stdout.startswith("no flex-disconnect-timeout within the time allowed: chats survived silences of")


def test_ctrl_c_disconnects_its_chats_and_exits_130():
    with simulator("--flex-disconnect-timeout", 45) as host:
        command = [sys.executable, "-m", "chatload", "probe", "--host", host, "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        try:
            process.stderr.readline()
            deadline = time.monotonic() + 60
            while len(ledger_of(host)) < 10 and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        rows = ledger_of(host)
    assert process.returncode == 130 and json.loads(out)["interrupted"] is True
    assert len(rows) >= 10 and {row["end_reason"] for row in rows} == {"disconnected"}
