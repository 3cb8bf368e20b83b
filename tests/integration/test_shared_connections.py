"""Chats over connections they share: as many as there are, each chat's own cookies, and a wait in line that counts."""

from __future__ import annotations

import threading
import time

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.protocol.wire import WireRequest
from chatload.transport import Endpoint, make_factory
from chatload.transport.lean import ConnectionPool
from tests.integration.processes import assert_balanced, locust, simulator, summary_of
from tests.integration.rawserver import OK, RawServer

pytestmark = pytest.mark.slow

REFRESH = WireRequest("POST", "/chat/1/refresh", (("Content-Type", "text/plain"),), b"key=1")


def _slowly(seconds):
    def script(peer, _):
        while peer.read():
            time.sleep(seconds)
            peer.send(OK)

    return script


def test_many_chats_take_turns_on_few_connections():
    with RawServer(_slowly(0.02)) as server:
        opened = make_factory("lean", Endpoint(server.url), connections=3)
        calls = [gevent.spawn(opened().call, REFRESH, 5.0) for _ in range(30)]
        results = [call.get(timeout=10) for call in calls]
    assert {result.http_status for result in results} == {200}
    assert server.connections == 3
    # The last of ten in a line waited nine times, and says so.
    assert max(result.waited_s for result in results) > 0.15
    # Waiting for a turn is no part of connecting: only the three calls that opened a connection say that they did.
    assert sum(result.connect_s > 0 for result in results) == 3


def test_who_asks_again_at_once_stands_in_line_again():
    order = []

    def chat(number):
        transport = opened()
        for _ in range(4):
            transport.call(REFRESH, 5.0)
            order.append(number)

    with RawServer(_slowly(0.01)) as server:
        opened = make_factory("lean", Endpoint(server.url), connections=1)
        gevent.joinall([gevent.spawn(chat, number) for number in range(5)], timeout=10)
    assert order == [0, 1, 2, 3, 4] * 4


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_turns_are_never_more_nor_lost_whoever_gives_up_or_is_killed(comings):
    pool, inside, most = ConnectionPool(2), 0, 0

    def come(after, patience, stay):
        nonlocal inside, most
        gevent.sleep(after / 1000)
        if pool.acquire(patience / 1000):
            inside += 1
            most = max(most, inside)
            try:
                gevent.sleep(stay / 1000)
            finally:
                inside -= 1
                pool.release(None)

    calls = [gevent.spawn(come, *coming[:3]) for coming in comings]
    for call, (*_, killed) in zip(calls, comings, strict=True):
        if killed:
            gevent.sleep(killed / 2000)
            call.kill(block=False)
    gevent.joinall(calls)
    assert inside == 0 and most <= 2
    assert [pool.acquire(0.0) for _ in range(3)] == [True, True, False]


def test_no_turn_in_time_is_a_failure_before_anything_was_sent():
    with RawServer(_slowly(0.5)) as server:
        opened = make_factory("lean", Endpoint(server.url), connections=1)
        calls = [gevent.spawn(opened().call, REFRESH, timeout_s) for timeout_s in (0.4, 0.3, 0.3)]
        results = [call.get(timeout=10) for call in calls]
    assert [result.failure for result in results] == ["timeout"] * 3
    unsent = [result for result in results if result.sent_at is None]
    assert [result.detail for result in unsent] == ["no shared connection was free in time"] * 2
    assert all(0.25 < result.waited_s < 1.0 for result in unsent)


def test_the_connections_go_with_the_run_that_opened_them():
    gone = threading.Semaphore(0)

    def until_closed(peer, _):
        while peer.read():
            peer.send(OK)
        gone.release()

    with RawServer(until_closed) as server:
        opened = make_factory("lean", Endpoint(server.url), connections=3)
        calls = [gevent.spawn(opened().call, REFRESH, 5.0) for _ in range(6)]
        assert [call.get(timeout=10).http_status for call in calls] == [200] * 6
        assert not gone.acquire(timeout=0.1)
        del opened, calls
        assert all(gone.acquire(timeout=2.0) for _ in range(server.connections))


def test_a_run_over_shared_connections_says_so(tmp_path):
    with simulator("--flex-disconnect-timeout", "5") as host:
        run = locust(
            host, tmp_path / "run", "-u", "40", "-r", "40", "-t", "4s", "--flex-disconnect-timeout", "5",
            "--refresh-interval", "1", "--connections", "4",
        )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert summary["sessions"]["started"] >= 40
    assert "shared 4 connections" in run.stdout


def test_too_few_connections_make_the_generator_late_and_not_the_network(tmp_path):
    # Ten chats that each ask once a second, and a connection that carries two requests a second.
    faults = '[[fault]]\nkind = "slow"\ndelay_s = 0.5\noperations = ["GetMessages"]\n'
    with simulator("--flex-disconnect-timeout", "2", faults=faults, tmp_path=tmp_path) as host:
        run = locust(
            host, tmp_path / "run", "-u", "10", "-r", "10", "-t", "9s", "--flex-disconnect-timeout", "2",
            "--refresh-interval", "1", "--connections", "1", "--request-timeout", "1.5",
        )  # fmt: skip
    assert run.returncode == 3, run.stdout + run.stderr
    summary = summary_of(tmp_path / "run")
    assert_balanced(summary)
    assert summary["refresh"]["lateness_s"]["p50"] > 0.5
    blames = summary["sessions"]["dropped_late_by_blame"]
    assert blames["generator"] == summary["sessions"]["by_verdict"]["dropped_late"] > 0


def test_the_requests_transport_shares_none(tmp_path):
    run = locust(
        "http://127.0.0.1:9", tmp_path / "run", "-u", "1", "--flex-disconnect-timeout", "5", "--transport", "requests",
        "--connections", "4",
    )  # fmt: skip
    assert run.returncode == 2
    assert "--transport requests shares no connections; leave --connections out" in run.stderr
