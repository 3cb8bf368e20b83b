"""A server that holds polls, and the persona of the vendor's browser client: real runs against the ledger."""

import itertools

import pytest

from tests.integration.processes import assert_balanced, chatload_here, ledger_of, locust, simulator, summary_of

pytestmark = pytest.mark.slow
AGENTS = ("--agent-wait", "0.1", "0.6", "--agent-answer", "0.1", "0.5", "--agent-leaves-chance", "0.3")
LEAVES = ("--agent-leaves-after", "1", "4")


def hold(tmp_path, server, *options):
    """30 chats; gives the summary and the ledger, which agree."""
    with simulator(*server, *AGENTS, *LEAVES) as host:
        options = ("-u", "30", "-r", "30", "--chats", "30", "-t", "60s", "--chat-length", "6", *options)
        run = locust(host, tmp_path / "run", *options)
        assert run.returncode == 0, run.stdout + run.stderr
        reconciled = chatload_here("reconcile", tmp_path / "run", "--ledger", host)
        ledger = ledger_of(host)
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    return summary, ledger


def test_a_server_that_holds_polls_drops_nobody(tmp_path):
    timeout, held = ("--flex-disconnect-timeout", "5"), ("--long-poll", "1.5")
    summary, ledger = hold(tmp_path, (*timeout, *held), *timeout, *held)
    verdicts = summary["sessions"]["by_verdict"]
    assert verdicts["completed"] + verdicts["ended_by_agent"] >= 27
    assert not [row for row in ledger if row["end_reason"] == "expired"]
    assert summary["refresh"]["margin_s"]["min"] > 0
    assert summary["requests"]["by_operation"]["GetMessages"]["latency_s"]["max"] > 1.4


def test_a_hold_longer_than_the_timeout_is_no_proof_against_anyone(tmp_path):
    timeout, held = ("--flex-disconnect-timeout", "3"), ("--long-poll", "5")
    summary, ledger = hold(tmp_path, (*timeout, *held), *timeout, *held)
    verdicts = summary["sessions"]["by_verdict"]
    assert verdicts.get("dropped_late", 0) + verdicts.get("dropped_early", 0) == 0
    assert verdicts["completed"] + verdicts["ended_by_agent"] + verdicts["dropped_unproven"] == 30
    assert not [row for row in ledger if row["end_reason"] == "expired"]


def test_the_widget_polls_every_3_seconds_and_its_verdicts_stand(tmp_path):
    timeout = ("--flex-disconnect-timeout", "10")
    summary, ledger = hold(tmp_path, (*timeout, "--refresh-message", "draft"), *timeout, "--persona", "widget")
    verdicts = summary["sessions"]["by_verdict"]
    assert verdicts["completed"] > 15
    assert summary["settings"]["refresh_interval"] == 3.0
    stall = summary["generator"]["longest_stall_s"]  # of a machine that stood still
    for row in ledger:
        polls = [contact[0] for contact in row["contacts"] if contact[1] == "GetMessages"]
        assert all(2.5 - stall < later - earlier < 3.5 + stall for earlier, later in itertools.pairwise(polls)), polls


def test_a_widget_on_another_schedule_is_refused_in_one_line(tmp_path):
    with simulator() as host:
        run = locust(host, tmp_path / "run", "-u", "1", "--persona", "widget", "--refresh-policy", "deadline")
    assert run.returncode == 2
    assert "polls on a fixed clock" in run.stderr and "Traceback" not in run.stderr
