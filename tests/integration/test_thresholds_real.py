"""Thresholds as a user meets them: real headless Locust processes, their exit codes and files."""

import json
import xml.etree.ElementTree as ET

import pytest

from tests.integration.processes import assert_balanced, locust, report_here, simulator, summary_of
from tests.integration.test_stopping import ports

TIMEOUT = ("--flex-disconnect-timeout", "2")
RUN = ("-u", "20", "-r", "20", "--chats", "60", "-t", "60s", "--chat-length", "1", *TIMEOUT)
REFUSALS = '[[fault]]\nkind = "status_2"\nchance = 0.5\noperations = ["RequestChat"]\n'
LATE = ("--refresh-interval", "2.2", "--allow-late-refresh", "--chat-length", "30")


@pytest.mark.parametrize(
    ("threshold", "more", "code", "result"),
    [
        ("refused.rate > 60%", (), 1, "failed"),
        ("refused.rate < 0.1%", (), 4, "inconclusive"),
        ("refused.rate < 0.1%", ("--allow-inconclusive",), 0, "passed"),
        ("refused.rate < 20%; refused.count == 0; GetMessages.latency.p50 < 5s", (), 0, "passed"),
    ],
)
def test_the_gate_is_the_exit_code(tmp_path, threshold, more, code, result):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *RUN, "--threshold", threshold, *more)
    assert run.returncode == code, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert summary["result"] == result
    assert result.upper() in run.stdout
    assert result in (tmp_path / "run" / "summary.md").read_text()
    suite = ET.parse(tmp_path / "run" / "junit.xml").getroot()
    failures = suite.findall(".//failure")
    assert bool(failures) == (code != 0)
    again = report_here(tmp_path / "run")
    assert again.returncode == code, again.stdout + again.stderr


def test_a_report_can_be_judged_anew(tmp_path):
    with simulator(*TIMEOUT, faults=REFUSALS, tmp_path=tmp_path) as host:
        run = locust(host, tmp_path / "run", *RUN)
    assert run.returncode == 0, run.stdout + run.stderr
    assert report_here(tmp_path / "run", "--threshold", "refused.rate < 10%").returncode == 1
    assert summary_of(tmp_path / "run")["result"] == "failed"
    assert report_here(tmp_path / "run").returncode == 0
    wrong = report_here(tmp_path / "run", "--threshold", "refuse.rate < 10%")
    assert wrong.returncode == 2
    assert "refused.rate" in wrong.stderr and len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize("processes", [0, 2])
def test_a_hopeless_run_is_ended_early(tmp_path, processes):
    more = ("--processes", str(processes), *ports()) if processes else ()
    with simulator(*TIMEOUT) as host:
        options = ("-u", "40", "-r", "40", "-t", "100s", *TIMEOUT, *LATE, "--abort-on", "dropped_late.rate < 5%", *more)
        run = locust(host, tmp_path / "run", *options, timeout=80)
    summary = summary_of(tmp_path / "run")
    assert run.returncode == 1, run.stdout + run.stderr
    assert_balanced(summary)
    assert "dropped_late.rate < 5% is lost" in summary["aborted"]
    assert summary["result"] == "failed"
    assert summary["ended_at"] - summary["started_at"] < 60
    assert "ended early" in run.stdout


def test_thresholds_of_a_config_file_add_up(tmp_path):
    config = tmp_path / "locust.conf"
    config.write_text("threshold = [refused.rate < 50%, lateness.p50 < 5s]\nconfidence = 90\n")
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *RUN, "--config", config)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert [t["expression"] for t in summary["thresholds"]] == ["refused.rate < 50%", "lateness.p50 < 5 s"]
    assert summary["confidence"] == 0.9
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["settings"]["thresholds"]
