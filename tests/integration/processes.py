"""Real processes for the tests: the simulator, and headless Locust on it. All on loopback, all bounded."""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import vl_convert

from chatload import cli
from chatload.run.settings import OptionGroup, options_of
from chatload.swarm.plan import make_plan
from tests.integration.warm_locust import run_locust

ROOT = Path(__file__).resolve().parents[2]
CHAT = ROOT / "locustfiles" / "chat.py"
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

HASTY = """
chat_length = { shape = "uniform", low = 1.5, high = 5.0 }
messages = { shape = "uniform", low = 1, high = 3 }
think = { shape = "lognormal", median = 0.4, sigma = 0.5 }
typing = 0.2
answer_patience = 2.0
"""


@contextmanager
def simulator(*options, faults=None, tmp_path=None):
    """A simulator process; gives its base URL."""
    command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", *map(str, options)]
    if faults is not None:
        file = tmp_path / "faults.toml"
        file.write_text(faults)
        command += ["--faults", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line + process.stderr.read()
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert "Traceback" not in err, err
    assert process.returncode in (0, 130), err


def locust_command(host, run_dir, *options, locustfile=CHAT):
    return [
        *(sys.executable, "-m", "locust", "-f", str(locustfile), "--host", host, "--headless"),
        *("--only-summary", "--loglevel", "WARNING", "--run-dir", str(run_dir), *map(str, options)),
    ]


def locust(host, run_dir, *options, timeout=110, **more):
    """One headless Locust run to its end; gives the finished process. Its workers never outlive it."""
    return run_locust(locust_command(host, run_dir, *options, **more)[3:], ENV, timeout)


def plan_for(url, *options):
    """What a locustfile's options come to for this host, without a process."""
    parser = argparse.ArgumentParser()
    for option in options_of(OptionGroup.RUN):
        option.add_to(parser)
    return make_plan(parser.parse_args(options), url)


def chatload(*arguments, timeout=60):
    """One chatload command to its end."""
    command = [sys.executable, "-m", "chatload", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=timeout, check=False)


def chatload_here(*arguments):
    """One chatload command in this process: to start one costs more than to read a finished run.

    Not for use in threads: standard output is redirected for the whole process.
    """
    command = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        cli.run(command)
    return subprocess.CompletedProcess(command, left.value.code, out.getvalue(), err.getvalue())


def report_here(*arguments):
    """`chatload report` in this process, for tests of its judgement.

    Vega does not draw the charts: drawing is nearly all of the work of a report, and has tests of its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vl_convert, "vegalite_to_svg", lambda spec: '<svg class="marks"></svg>')
        return chatload_here("report", *arguments)


def summary_of(run_dir):
    return json.loads((Path(run_dir) / "summary.json").read_text())


def ledger_of(host):
    with urllib.request.urlopen(f"{host}/simulator/ledger", timeout=30) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


#: A stall of the generator that only a busy machine causes (seconds).
LONG_STALL_S = 0.2


def fails_by_stalls_alone(summary, good=("pass",)):
    """Whether a run did not have the wanted result only because this machine stood still.

    Its own record says that a process was stopped for long, and nothing is bad but the lateness of the generator. No
    test can demand of such a run that it passes, only that it says so. good: the results of thresholds that are wanted.
    """
    if summary["generator"]["longest_stall_s"] < LONG_STALL_S:
        return False
    if summary["invalid_reasons"]:
        return all(" late" in reason for reason in summary["invalid_reasons"])
    bad = [each["metric"] for each in summary["thresholds"] if each["result"] not in good]
    return bool(bad) and all(metric.startswith("lateness.") for metric in bad)


def assert_balanced(summary):
    """started = sum of verdicts, sent = sum of outcomes, and the run says the same."""
    assert summary["books"]["balanced"], summary["books"]
    assert summary["sessions"]["started"] == sum(summary["sessions"]["by_verdict"].values())
    for operation, entry in summary["requests"]["by_operation"].items():
        assert entry["sent"] == sum(entry["by_outcome"].values()), operation
