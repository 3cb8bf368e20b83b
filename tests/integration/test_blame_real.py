"""Whose fault a drop was, with real Locust processes: the plan's, the server's, the generator's."""

import pytest

from tests.integration.processes import assert_balanced, locust, simulator, summary_of

pytestmark = pytest.mark.slow

STALLING = """
import time

import gevent
from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    pass


@events.test_start.add_listener
def stall(environment, **_):
    import gevent.monkey

    really_sleep = gevent.monkey.get_original("time", "sleep")

    def block():
        gevent.sleep(3.0)
        really_sleep(4.0)

    gevent.spawn(block)
"""


def drops(run_dir):
    summary = summary_of(run_dir)
    assert_balanced(summary)
    return summary, summary["sessions"]["dropped_late_by_blame"]


@pytest.mark.parametrize("answer", ["0/true", "2"])
def test_an_interval_above_the_timeout_drops_everyone_and_says_plan(tmp_path, answer):
    # A busy machine may stop the generator for half a second: the interval is longer by twice as much.
    with simulator("--flex-disconnect-timeout", "2", "--dropped-answer", answer) as host:
        run = locust(
            host, tmp_path / "run", "-u", "30", "-r", "30", "--chats", "30", "--flex-disconnect-timeout", "2",
            "--refresh-interval", "3", "--allow-late-refresh", "--chat-length", "1000",
        )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    summary, blames = drops(tmp_path / "run")
    assert summary["sessions"]["by_verdict"]["dropped_late"] == 30
    assert blames["plan"] == 30


def test_slow_answers_say_server(tmp_path):
    faults = '[[fault]]\nkind = "slow"\ndelay_s = 20.0\nfrom_s = 3.0\nuntil_s = 7.0\noperations = ["GetMessages"]\n'
    # Long in comparison with the half second for which a busy machine may stop the generator.
    options = ("--flex-disconnect-timeout", "3")
    with simulator(*options, faults=faults, tmp_path=tmp_path) as host:
        run = locust(
            host, tmp_path / "run", "-u", "20", "-r", "20", "--chats", "20", *options,
            "--chat-length", "1000", "--request-timeout", "6", "-t", "40s",
        )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    summary, blames = drops(tmp_path / "run")
    assert blames["server"] >= 15, summary["sessions"]
    assert sum(blames.values()) == blames["server"]


def test_a_blocked_event_loop_says_generator_and_the_run_is_invalid(tmp_path):
    locustfile = tmp_path / "stalling.py"
    locustfile.write_text(STALLING)
    with simulator("--flex-disconnect-timeout", "2") as host:
        run = locust(
            host, tmp_path / "run", "-u", "20", "-r", "20", "-t", "11s", "--flex-disconnect-timeout", "2",
            "--chat-length", "1000", locustfile=locustfile,
        )  # fmt: skip
    summary, blames = drops(tmp_path / "run")
    assert run.returncode == 3, run.stdout + run.stderr
    assert summary["valid"] is False
    assert blames["generator"] >= 15, summary["sessions"]
    assert sum(blames.values()) == blames["generator"]
    assert summary["refresh"]["lateness_s"]["max"] > 2.0
    assert "INVALID" in run.stdout.upper()
