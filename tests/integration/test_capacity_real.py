"""The capacity search with real Locust processes against the simulator, whose capacity is known.

The whole of it, minutes long, with CHATLOAD_CAPACITY=1.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest

from chatload.run.histogram import Histogram
from tests.integration.processes import (
    ENV,
    ROOT,
    assert_balanced,
    ledger_of,
    locust,
    locust_command,
    simulator,
    summary_of,
)  # fmt: skip
from tests.schemas import read_schema

pytestmark = pytest.mark.slow
CAPACITY = ROOT / "locustfiles" / "capacity.py"
in_full = pytest.mark.skipif(not os.environ.get("CHATLOAD_CAPACITY"), reason="minutes long: CHATLOAD_CAPACITY=1")
#: Facts only: a machine that others use too makes the generator late, and latencies say nothing then.
FACTS = ("--threshold", "refused.count == 0; dropped.count == 0")


def search(host, run_dir, *options, timeout=170):
    run = locust(host, run_dir, *options, locustfile=CAPACITY, timeout=timeout)
    assert "Traceback" not in run.stderr, run.stderr
    found = json.loads((Path(run_dir) / "capacity.json").read_text())
    jsonschema.validate(found, read_schema("capacity", "capacity"))
    assert_balanced(summary_of(run_dir))
    assert (Path(run_dir) / "capacity.html").read_text().startswith("<!doctype html>")
    return run, found


@in_full  # test_campaign_real.py finds a smaller one
def test_a_small_limit_is_found_to_the_unit(tmp_path):
    server = ("--flex-disconnect-timeout", "3", "--limit-for-sessions", "37")
    with simulator(*server) as host:
        run, found = search(
            host, tmp_path / "run", "--flex-disconnect-timeout", "3", "--refresh-interval", "1", *FACTS,
            "--chat-length", "600", "--start-sessions", "48", "--step-hold", "1", "--step-bound", "20",
        )  # fmt: skip
    assert (found["kind"], found["held"], found["failed"], found["claim"]) == ("limit", 37, 38, True), run.stdout
    assert (found["capacity"]["lower"], found["capacity"]["upper"]) == (37, 37)
    assert run.returncode == 0
    assert "The server's limit is 37 sessions" in run.stdout
    assert found["steps"][-1]["purpose"] == "confirm"


def test_ctrl_c_keeps_the_steps_that_were_measured(tmp_path):
    options = (
        "--flex-disconnect-timeout", "3", "--refresh-interval", "1", "--chat-length", "600", "--start-sessions", "4",
        "--step-hold", "1", "--threshold", "refused.count == 0; dropped.per_chat_hour < 100",
    )  # fmt: skip
    with simulator("--flex-disconnect-timeout", "3") as host:
        command = locust_command(host, tmp_path / "run", *options, locustfile=CAPACITY)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
        ) as run:
            try:
                # More than 8 chats: two steps are over, and the third has begun.
                while len(ledger_of(host)) <= 8 and run.poll() is None:
                    time.sleep(0.2)
                run.send_signal(signal.SIGINT)
                out, err = run.communicate(timeout=60)
            except BaseException:
                os.killpg(run.pid, signal.SIGKILL)
                raise
    assert run.returncode == 4 and "Traceback" not in err, err
    assert "No claim about the server: it was stopped before it was done" in " ".join(out.split())
    found = json.loads((tmp_path / "run" / "capacity.json").read_text())
    jsonschema.validate(found, read_schema("capacity", "capacity"))
    # A step during which this machine stood still is spoilt, and repeated with other chats.
    held = [step for step in found["steps"] if step["outcome"] != "spoilt"]
    assert [step["load"] for step in held] == ([4, 8] if len(held) == len(found["steps"]) else [4, 8][: len(held)])
    assert (found["kind"], found["claim"], found["held"]) == ("stopped", False, held[-1]["load"]), out
    judged = {row["expression"]: row for row in held[-1]["judgements"]}["dropped.per_chat_hour < 100"]
    assert judged["value"] == 0 and judged["upper"] > 100 and judged["result"] == "inconclusive"
    assert_balanced(summary_of(tmp_path / "run"))
    assert (tmp_path / "run" / "capacity.html").exists()


def test_a_load_does_not_pass_because_its_latency_shares_a_bucket_with_the_limit(tmp_path):
    """A step is judged by the difference of two histograms, of whose extremes only the buckets are known.

    The simulator answers each GetMessages after `slow_s` at least, so that no median is below the limit, however busy
    the machine is. If the middle of the bucket were taken for the longest latency of the step, the limit would be above
    it: 1 session would pass, the server refuses the second, and "The server's limit is 1 session" would exit with 0.
    """
    limit_s, slow_s = 1.186, 1.188
    one = Histogram()
    one.add(slow_s)
    [(low, high, _)] = one.bins()
    assert (low + high) / 2 < limit_s < slow_s < high - 0.009  # room for the time that a request itself takes
    script = tmp_path / "script.toml"
    script.write_text("messages = 0\n")
    slow = f'[[fault]]\nkind = "slow"\noperations = ["GetMessages"]\ndelay_s = {slow_s}\n'
    server = ("--flex-disconnect-timeout", "6", "--limit-for-sessions", "1")
    with simulator(*server, faults=slow, tmp_path=tmp_path) as host:
        run, found = search(
            host, tmp_path / "run", "--flex-disconnect-timeout", "6", "--refresh-interval", "1.5", "--script", script,
            "--chat-length", "600", "--start-sessions", "1", "--step-hold", "12", "--step-bound", "20",
            "--threshold", f"GetMessages.latency.p50 < {1000 * limit_s:g}ms; refused.count == 0",
        )  # fmt: skip
    reasons = summary_of(tmp_path / "run")["invalid_reasons"]
    if found["kind"] == "generator":
        reasons.append(found["why"])
    if reasons:
        pytest.skip(f"the generator was at fault: {reasons[0]}")
    assert (found["kind"], found["held"], found["failed"], found["claim"]) == ("knee", 0, 1, False), run.stdout
    assert run.returncode == 4
    assert "No claim about the server: not even 1 could be held; no load was held" in " ".join(run.stdout.split())
    judged = found["steps"][-1]["judgements"][0]
    assert judged["result"] == "fail" and judged["lower"] > limit_s
    assert f"{judged['samples']} of {judged['samples']} requests at or above 1.186 s" in judged["why"]


def test_what_cannot_be_meant_is_refused_in_one_line_before_the_run(tmp_path):
    run = locust("http://127.0.0.1:9", tmp_path / "run", "--max-sessions", "5", locustfile=CAPACITY, timeout=60)
    assert run.returncode == 2
    assert "--start-sessions 10 is above the ceiling of 5 sessions" in run.stderr and "Traceback" not in run.stderr
    assert not (tmp_path / "run").exists()


@in_full
@pytest.mark.timeout(700)
@pytest.mark.parametrize("length", ["600", "30"])
@pytest.mark.parametrize("processes", ["0", "2"])
def test_limit_for_sessions_137(tmp_path, length, processes):
    more = ("--processes", processes) if processes != "0" else ()
    with simulator("--flex-disconnect-timeout", "10", "--limit-for-sessions", "137") as host:
        _, found = search(
            host, tmp_path / "run", "--flex-disconnect-timeout", "10", "--chat-length", length, "--step-hold", "5",
            *FACTS, *more, timeout=600,
        )  # fmt: skip
    assert (found["kind"], found["held"], found["failed"], found["claim"]) == ("limit", 137, 138, True)


@in_full
@pytest.mark.timeout(1300)
def test_the_knee_of_a_server_that_slows_down(tmp_path):
    """By the virtual driver, with as many sessions that only poll, their phases at random: p95 is 0.5 s at 100
    (tests/virtual/test_capacity_knee.py)."""
    script = tmp_path / "script.toml"
    script.write_text("messages = 0\n")
    server = ("--flex-disconnect-timeout", "30", "--service-time", "0.02", "--coherency", "0.0001")
    with simulator(*server) as host:
        run, found = search(
            host, tmp_path / "run", "--flex-disconnect-timeout", "30", "--refresh-interval", "5", "--script", script,
            "--chat-length", "100000", "--step-hold", "20", "--start-sessions", "20",
            "--threshold", "GetMessages.latency.p95 < 500ms; dropped.count == 0; refused.count == 0", timeout=1200,
        )  # fmt: skip
    assert found["kind"] == "knee" and found["claim"], run.stdout
    capacity = found["capacity"]
    assert 85 <= capacity["lower"] < capacity["upper"] <= 115


@in_full
@pytest.mark.timeout(700)
@pytest.mark.parametrize(
    "options",
    [
        ("--max-sessions", "60"),
        ("--max-sessions", "5000", "--refresh-interval", "0.1", "--transport", "requests", "--start-sessions", "20"),
    ],
)
def test_without_a_limit_of_the_servers_none_is_claimed(tmp_path, options):
    with simulator("--flex-disconnect-timeout", "5") as host:
        run, found = search(
            host, tmp_path / "run", "--flex-disconnect-timeout", "5", "--chat-length", "600", "--step-hold", "5",
            *options, timeout=600,
        )  # fmt: skip
    assert found["kind"] == "generator" and not found["claim"], run.stdout
    assert "The generator was the limit" in run.stdout and run.returncode in (3, 4)
