"""The simulator's line before its workers, against queueing theory; and what a slow service does to a chat."""

from __future__ import annotations

from itertools import pairwise
from math import factorial
from random import Random

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService, ServiceWorkers
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

SERVICE_S = 0.01


def waiting(load: float, servers: int, requests: int = 300_000) -> float:
    """The mean time in the system, of requests that come as a Poisson stream."""
    workers, random = ServiceWorkers(SimulatorConfig(service_time_s=SERVICE_S, servers=servers)), Random(5)
    now = total = 0.0
    for _ in range(requests):
        now += random.expovariate(load * servers / SERVICE_S)
        total += workers.take(now, 1)
    return total / requests


@pytest.mark.parametrize(("load", "servers"), [(0.3, 1), (0.7, 1), (0.5, 4), (0.8, 3)])
def test_requests_that_come_at_random_wait_as_erlang_c_says(load: float, servers: int) -> None:
    offered = load * servers
    full = offered**servers / factorial(servers) / (1 - load)
    waits = full / (sum(offered**k / factorial(k) for k in range(servers)) + full)
    expected = SERVICE_S + waits * SERVICE_S / (servers * (1 - load))
    assert waiting(load, servers) == pytest.approx(expected, rel=0.04)


def test_no_service_time_is_no_delay() -> None:
    service = ChatService(SimulatorConfig())
    assert [service.serve(now) for now in (0.0, 0.0, 1.0)] == [0.0, 0.0, 0.0]


def test_a_request_waits_for_those_before_it_and_not_longer() -> None:
    workers = ServiceWorkers(SimulatorConfig(service_time_s=1.0))
    first, second = workers.take(0.0, 1), workers.take(0.0, 1)
    assert second > first > 0
    later = workers.take(first + second + 100.0, 1)
    assert later == pytest.approx(1.0, abs=10)


@pytest.mark.parametrize(("sessions", "grown"), [(0, 1.0), (1, 1.0), (2, 1 + 0.1 + 0.02), (100, 1 + 9.9 + 99.0)])
def test_the_service_time_grows_by_the_universal_scalability_law(sessions: int, grown: float) -> None:
    config = SimulatorConfig(service_time_s=0.01, contention=0.1, coherency=0.01)
    assert ServiceWorkers(config).mean_s(sessions) == pytest.approx(0.01 * grown)


def test_a_chat_whose_refreshes_stand_in_line_too_long_is_dropped_and_the_ledger_says_so() -> None:
    settings = SessionSettings(make_policy("fixed", 2.0, 1.0), 60.0)
    service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=2.0, service_time_s=0.1))
    run = VirtualSwarm(settings, service, users=40, chats=60, seed=3, network=NetworkModel(0.0)).run()
    verdicts = {record.chat_id: record.verdict for record in run.records}
    expired = [row["chat_id"] for row in run.ledger if row["end_reason"] == "expired"]
    assert len(expired) > 40
    # They were sent in time: whether they came in time only the server knows.
    assert {verdicts[chat] for chat in expired} <= {"dropped_late", "dropped_unproven"}
    for row in run.ledger:
        instants = [contact[0] for contact in row["contacts"]]
        assert all(0 <= b - a <= 2.0 for a, b in pairwise(instants)), "a contact after the timeout"
