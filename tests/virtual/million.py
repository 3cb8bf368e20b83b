"""Makes a run file of many sessions in virtual time, with faults: python -m tests.virtual.million DIR [CHATS]."""

from __future__ import annotations

import sys
import time

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import Fault, FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.network import NetworkModel
from tests.virtual.recorded import RecordingSwarm

TIMEOUT_S, USERS = 10.0, 2000


def make(run_dir, chats):
    """A run of `chats` sessions with an outage, slow answers and lost messages."""
    script = CustomerScript(
        chat_length=Distribution("exponential", 10.0),
        messages=Distribution("uniform", 0.0, 2.0),
        shows_typing=False,
    )
    settings = SessionSettings(make_policy("fraction", TIMEOUT_S, None, 0.8), 4.0, script)
    faults = [
        Fault("outage", from_s=12.0, until_s=27.0),
        Fault("status_1", chance=0.01),
        Fault("slow", chance=0.002, delay_s=3.0),
        Fault("status_2", chance=0.0005),
    ]
    config = SimulatorConfig(flex_disconnect_timeout_s=TIMEOUT_S, agent_leaves_chance=0.1)
    service = ChatService(config, FaultPlan(faults, 1))
    network = NetworkModel(0.02, 0.8, loss=0.0005)
    RecordingSwarm(run_dir, settings, service, users=USERS, chats=chats, seed=1, network=network).run()


if __name__ == "__main__":
    began = time.monotonic()
    make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000)
    print(f"{time.monotonic() - began:.0f} s")
