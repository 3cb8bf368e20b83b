"""One server that stands still for ten seconds, met by both workloads in virtual time."""

from collections import Counter
from functools import cache

import pytest

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.run.arrivals import RateProfile, arrivals
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel, Stalls

LENGTH_S, RATE, STOP_S = 10.0, 5.0, 200.0
STILL = (120.0, 130.0)
SETTINGS = SessionSettings(
    make_policy("fixed", 45.0, 3.0), 20.0,
    CustomerScript(chat_length=Distribution("exponential", LENGTH_S), messages=Distribution("fixed", 0)),
)  # fmt: skip


def still():
    """Every request that comes while the server stands still is taken up when it goes on."""
    steps = [STILL[0] + n / 10 for n in range(100)]
    return FaultPlan(Fault("stall", from_s=at, until_s=at + 0.1, delay_s=STILL[1] - at) for at in steps)


def run(**workload):
    service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=45.0, agent_wait_s=(1.0, 2.0)), still())
    swarm = VirtualSwarm(SETTINGS, service, chats=10**6, stop_at=STOP_S, network=NetworkModel(0.001, 0.0), **workload)
    return swarm.run()


@cache
def opened():
    return run(arrivals=arrivals(RateProfile.constant(RATE), 1.0, "1"))


def begun_while_still(records):
    return sum(STILL[0] < record.started_at < STILL[1] for record in records)


def test_a_server_that_stands_still_stops_a_closed_workload_and_not_an_open_one():
    # The users of the closed one hold as many chats at a time as arrive in the open one: by Little's law.
    users = round(RATE * LENGTH_S)
    open_run, closed_run = opened(), run(users=users, spread_s=LENGTH_S)
    assert abs(len(open_run.records) - len(closed_run.records)) < 4 * (RATE * STOP_S) ** 0.5
    assert abs(begun_while_still(open_run.records) - 10 * RATE) < 4 * (10 * RATE) ** 0.5
    assert begun_while_still(closed_run.records) <= users / 10
    waited = [r.books.latency["RequestChat"].count_above(1.0)[0] for r in (open_run, closed_run)]
    assert waited[0] > 5 * waited[1]
    assert open_run.books.balanced() and closed_run.books.balanced()


def test_arrivals_of_an_open_workload_are_booked_and_none_comes_after_the_end():
    result = opened()
    assert result.books.arrivals == result.books.start_lateness.count == result.books.started
    assert max(record.started_at for record in result.records) < STOP_S
    verdicts = Counter(record.verdict for record in result.records)
    assert set(verdicts) <= {"completed", "cut_off"} and verdicts["completed"] > 700


def test_a_generator_that_stood_still_begins_late_what_arrived_meanwhile():
    stood = Stalls(((50.0, 52.0),))
    result = run(arrivals=arrivals(RateProfile.constant(RATE), 1.0, "1"), stalls=stood)
    due = [t for t in take(arrivals(RateProfile.constant(RATE), 1.0, "1")) if 50.0 <= t < 52.0]
    assert len(due) > 2
    assert result.books.late_starts == sum(52.0 - t > 0.1 for t in due)
    assert result.books.start_lateness.maximum == pytest.approx(52.0 - due[0])


def take(instants):
    for instant in instants:
        if instant > STOP_S:
            return
        yield instant
