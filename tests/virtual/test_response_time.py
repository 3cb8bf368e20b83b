"""The response time of polls, in virtual time: a server that stands still is slow, although few polls meet it."""

from __future__ import annotations

from functools import cache

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, parse
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

INTERVAL_S, EVERY_S, STOP_S, USERS = 1.0, 60.0, 630.0, 20
SILENT = CustomerScript(
    chat_length=Distribution("fixed", 5000.0), messages=Distribution("fixed", 0), waits_for_agent=False
)


def settings(kind="fixed", long_poll_s=0.0):
    return SessionSettings(make_policy(kind, 45.0, INTERVAL_S, 0.1), 20.0, SILENT, long_poll_s=long_poll_s)


@cache
def run(still_s, kind="fixed", long_poll_s=0.0):
    """A server that stands still for still_s of every minute; what comes meanwhile is answered when it goes on."""
    steps = [
        (minute * EVERY_S + 30.0 + n / 10, minute * EVERY_S + 30.0 + still_s)
        for minute in range(int(STOP_S / EVERY_S))
        for n in range(round(still_s * 10))
    ]
    faults = FaultPlan(Fault("stall", from_s=at, until_s=at + 0.1, delay_s=end - at) for at, end in steps)
    service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=45.0), faults)
    swarm = VirtualSwarm(
        settings(kind, long_poll_s), service, users=USERS, chats=10**6, stop_at=STOP_S,
        network=NetworkModel(0.001, 0.0), spread_s=INTERVAL_S,
    )  # fmt: skip
    return swarm.run()


def slow_share(samples):
    return samples.count_above(0.3)[0] / samples.count


def result(metric, books):
    return judge(parse(f"GetMessages.{metric}.p95 < 300ms"), Facts(books)).result


def test_a_server_that_stands_still_fails_by_response_time_and_passes_by_latency():
    books = run(4.0).books
    assert (result("latency", books), result("response_time", books)) == ("pass", "fail")


@pytest.mark.parametrize("still_s", [3.0, 4.0])
def test_the_slow_share_is_that_of_the_time(still_s):
    books = run(still_s).books
    # Of a minute's instants, those from the start of the stall to 0.3 s before its end wait for longer than 0.3 s.
    assert slow_share(books.response_time["GetMessages"]) == pytest.approx((still_s - 0.3) / EVERY_S, rel=0.05)
    # One poll of each chat is sent into the stall; the others of that time are never sent.
    assert slow_share(books.latency["GetMessages"]) == pytest.approx(1 / (EVERY_S - still_s + 1), rel=0.2)


def test_every_scheduled_instant_has_one_response_time():
    books = run(4.0).books
    polls = books.response_time["GetMessages"]
    assert polls.count == pytest.approx(USERS * STOP_S / INTERVAL_S, rel=0.02)
    assert books.outcomes["GetMessages"].total() == books.latency["GetMessages"].count < polls.count
    assert books.balanced()


def test_without_a_stall_response_time_is_latency():
    books = run(0.0).books
    response_time, latency = books.response_time["GetMessages"], books.latency["GetMessages"]
    assert response_time.count == latency.count
    assert response_time.quantile(0.99).seconds == pytest.approx(latency.quantile(0.99).seconds, rel=0.02)


@pytest.mark.parametrize(("kind", "long_poll_s"), [("fraction", 0.0), ("fixed", 10.0)])
def test_a_client_without_a_clock_skips_nothing(kind, long_poll_s):
    # `fraction` counts its interval from the last contact; a long poll is held by design.
    books = run(4.0, kind, long_poll_s).books
    assert books.response_time["GetMessages"].count == books.latency["GetMessages"].count
