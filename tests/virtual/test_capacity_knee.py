"""Where the simulator's knee is that the capacity search is measured against: by the model itself, in virtual time."""

from __future__ import annotations

from random import Random
from statistics import fmean

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

INTERVAL_S, LIMIT_S = 5.0, 0.5
SLOWING = SimulatorConfig(flex_disconnect_timeout_s=30.0, service_time_s=0.02, coherency=0.0001)
SCRIPT = CustomerScript(messages=Distribution("fixed", 0)).with_chat_length(1e6)


def p95(sessions: int, seed: int, seconds: float = 150.0) -> float:
    """Of GetMessages, with so many sessions that only poll, each from an instant of its own."""
    settings = SessionSettings(make_policy("fixed", 30.0, INTERVAL_S), 10.0, SCRIPT)
    network = NetworkModel(0.0003)
    swarm = VirtualSwarm(
        settings, ChatService(SLOWING), users=0, chats=sessions, seed=seed, network=network, stop_at=seconds
    )
    random = Random(seed)
    for _ in range(sessions):
        swarm.at(random.uniform(0.0, INTERVAL_S), swarm.next_chat)
    found = swarm.run().books.latency["GetMessages"].figure(0.95)
    assert found is not None
    return found


def test_the_knee_lies_at_a_hundred_sessions() -> None:
    below, above = (fmean(p95(sessions, seed) for seed in range(1, 4)) for sessions in (94, 106))
    assert below < LIMIT_S < above
