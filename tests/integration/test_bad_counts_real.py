"""Servers that die, hang or go away for a while: real runs, whose thresholds must not pass, and say why."""

import json

import pytest

from chatload.render import words
from tests.integration.processes import assert_balanced, locust, report_here, simulator, summary_of

pytestmark = pytest.mark.slow
TIMEOUT = ("--flex-disconnect-timeout", "2")
LOAD = ("-u", "20", "-r", "20", *TIMEOUT, "--refresh-interval", "0.5", "--request-timeout", "1")


def judged(host, folder, *options, thresholds):
    """A finished run, its summary, and its thresholds by expression."""
    more = [part for threshold in thresholds for part in ("--threshold", threshold)]
    run = locust(host, folder, *LOAD, *options, *more)
    summary = summary_of(folder)
    assert_balanced(summary)
    for row in summary["requests"]["by_operation"].values():
        answered_or_not = sum(row["by_outcome"].values())
        assert row["latency_s"]["unanswered"] <= answered_or_not
    return run, summary, {threshold["expression"]: threshold for threshold in summary["thresholds"]}


def test_a_server_that_dies_passes_no_threshold_though_thousands_never_began(tmp_path):
    died = '[[fault]]\nkind = "outage"\nfrom_s = 5.0\n'
    thresholds = (
        "dropped_late.rate < 5%", "dropped.rate < 5%", "GetMessages.latency.p99 < 300ms", "margin.p1 > 500ms",
        "unserved.rate < 1%",
    )  # fmt: skip
    with simulator(*TIMEOUT, faults=died, tmp_path=tmp_path) as host:
        run, summary, found = judged(host, tmp_path / "run", "-t", "14s", "--chat-length", "3", thresholds=thresholds)
    assert run.returncode == 1, run.stdout + run.stderr
    assert {name: threshold["result"] for name, threshold in found.items() if threshold["result"] == "pass"} == {}
    assert found["unserved.rate < 1%"]["result"] == "fail"
    sessions = summary["sessions"]
    never = sum(sessions["unserved_by_verdict"].values())
    accepted = sessions["started"] - never
    assert never > 20 and accepted >= 20, sessions
    # No rate of the accepted has those that never began in its denominator.
    assert found["dropped.rate < 5%"]["samples"] <= accepted
    assert found["unserved.rate < 1%"]["samples"] == sessions["started"]
    assert summary["requests"]["by_operation"]["GetMessages"]["latency_s"]["unanswered"] > 0
    assert "without an answer" in run.stdout and "FAILED" in run.stdout


def test_requests_that_are_never_answered_are_no_fast_ones(tmp_path):
    hangs = '[[fault]]\nkind = "stall"\nchance = 0.05\noperations = ["GetMessages"]\ndelay_s = 5.0\n'
    thresholds = (
        "GetMessages.latency.p99 < 300ms",
        "GetMessages.latency.max < 300ms",
        "GetMessages.latency.p50 < 300ms",
    )
    # No chat is lost by requests that hang for 1 s, so the verdict is about the latency alone.
    patient = ("--flex-disconnect-timeout", "8")
    with simulator(*patient, faults=hangs, tmp_path=tmp_path) as host:
        options = ("-t", "15s", "--chat-length", "4", *patient)
        run, summary, found = judged(host, tmp_path / "run", *options, thresholds=thresholds)
    assert run.returncode == 1, run.stdout + run.stderr
    assert [threshold["result"] for threshold in found.values()] == ["fail", "fail", "pass"]
    latency = summary["requests"]["by_operation"]["GetMessages"]["latency_s"]
    timeouts = summary["requests"]["by_operation"]["GetMessages"]["by_outcome"]["timeout"]
    assert latency["unanswered"] >= timeouts > 10
    assert latency["p50"] < 0.3 and latency["p99"] is None and latency["max"] is None
    assert latency["over"]["p99"] == pytest.approx(1.0, abs=0.1)
    longer = f"over {words.seconds(latency['over']['p99'])}"
    assert longer in " ".join(run.stdout.split()) and "without an answer)" in run.stdout
    assert longer in (tmp_path / "run" / "summary.md").read_text()
    assert report_here(tmp_path / "run").returncode == 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert longer in page.replace("\u00a0", " ") and "without an answer" in page


def test_the_silence_that_ended_a_chat_is_a_gap(tmp_path):
    away = '[[fault]]\nkind = "outage"\nfrom_s = 5.0\nuntil_s = 10.0\n'
    thresholds = ("gap.max < 2s", "margin.min > 100ms", "margin.p1 > 100ms")
    with simulator(*TIMEOUT, faults=away, tmp_path=tmp_path) as host:
        options = ("-t", "14s", "--chat-length", "30")
        run, summary, found = judged(host, tmp_path / "run", *options, thresholds=thresholds)
    assert run.returncode in (1, 4), run.stdout + run.stderr
    assert "pass" not in [threshold["result"] for threshold in found.values()], json.dumps(found, indent=1)
    gap, margin = summary["refresh"]["gap_s"], summary["refresh"]["margin_s"]
    assert gap["max"] is None and margin["min"] is None
    assert "margin before the timeout: least under " in run.stdout
