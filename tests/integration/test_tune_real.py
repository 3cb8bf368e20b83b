"""`chatload tune` for real: a sweep on a simulator, its promise with three times the sessions, and Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import pytest

from chatload.chat.settings import fractions_in
from tests.integration.processes import ENV, HASTY, assert_balanced, chatload, simulator, summary_of

pytestmark = pytest.mark.slow
TIMEOUT_S = 2
FAULTS = '[[fault]]\nkind = "status_1"\nchance = 0.02\n[[fault]]\nkind = "stall"\nchance = 0.02\ndelay_s = 0.2\n'


SILENT = """
chat_length = { shape = "uniform", low = 2.4, high = 3.2 }
messages = { shape = "fixed", value = 0 }
"""


def tune(host, run_dir, script, *options):
    return [
        *("tune", "--host", host, "--flex-disconnect-timeout", TIMEOUT_S, "--script", script, "-u", 120, "-r", 120),
        *("--run-dir", run_dir, *options),
    ]


def test_a_sweep_its_curve_and_its_promise(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text(SILENT)
    with simulator("--flex-disconnect-timeout", TIMEOUT_S, faults=FAULTS, tmp_path=tmp_path) as host:
        done = chatload(*tune(host, tmp_path / "run", script, "--sweep", "0.5,1.1", "--sessions", 40, "--target", "15%",
                              "--faults", tmp_path / "faults.toml", "--json"))  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told = json.loads(done.stdout)
        again = chatload(*tune(host, tmp_path / "again", script, "--sweep", told["recommended"]["fraction"],
                               "--sessions", 120, "--target", "15%", "--chat-seed", 9))  # fmt: skip
    assert "ended" in done.stderr, "shows no progress"
    short, late = told["arms"]
    assert told["recommended"]["fraction"] == 0.5 and told["stopped_by"] == 1.1
    assert (short["sessions"], late["sessions"]) == (40, 40)
    assert late["lower"] > 0.5 and late["polls_per_s"] < short["polls_per_s"]
    for arm, model in zip(told["arms"], told["model"], strict=True):
        assert max(arm["lower"], model["lower"]) <= min(arm["upper"], model["upper"])
    assert again.returncode == 0, again.stdout + again.stderr
    assert_balanced(summary_of(tmp_path / "run"))


def test_ctrl_c_ends_the_sweep_politely_and_reads_what_is_there(tmp_path):
    script = tmp_path / "script.toml"
    script.write_text(HASTY)
    with simulator("--flex-disconnect-timeout", TIMEOUT_S) as host:
        arguments = tune(host, tmp_path / "run", script, "--sweep", "0.3,0.5")
        command = [sys.executable, "-m", "chatload", *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV) as process:
            try:
                until = time.monotonic() + 40
                for line in process.stderr:
                    if ";" in line and not line.startswith("sweep") and "; 0 of" not in line:
                        break
                    assert time.monotonic() < until
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=40)
            except BaseException:
                process.kill()
                raise
    assert process.returncode == 4, out + err
    assert "Traceback" not in err and "would settle it" in " ".join(out.split())
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert summary["sessions"]["by_verdict"]["cut_off"] == summary["sessions"]["cut_off_confirmed"] > 0
    assert summary["settings"]["sweep"] == list(fractions_in("0.3,0.5"))
