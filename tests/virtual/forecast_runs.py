"""Runs made in virtual time by the full driver and the simulator's own model, to fit forecasts to."""

from __future__ import annotations

import sys

from chatload.chat.policy import make_policy
from chatload.chat.script import CustomerScript, Distribution
from chatload.chat.settings import SessionSettings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.network import NetworkModel
from tests.virtual.recorded import RecordingSwarm


def record(
    run_dir,
    policy,
    *,
    faults=(),
    users=60,
    run_s=160.0,
    chat_s=30.0,
    request_timeout_s=2.0,
    network=None,
    seed=5,
    **config,
):
    """A recorded run of the default script."""  # fmt: skip
    script = CustomerScript(chat_length=Distribution("exponential", chat_s))
    made = make_policy(*policy)
    settings = SessionSettings(made, request_timeout_s, script)
    service = ChatService(
        SimulatorConfig(flex_disconnect_timeout_s=made.timeout_s, idle_alert_s=0.0, **config), FaultPlan(faults, seed)
    )
    named = {
        "refresh_policy": made.kind, "refresh_interval": made.interval_s, "request_timeout": request_timeout_s,
        "chat_length": chat_s, "script": "", "dialect": "gms-v2", "spawn_rate": 10.0,
    }  # fmt: skip
    swarm = RecordingSwarm(
        run_dir, settings, service, named=named, users=users, chats=10**9, seed=seed, stop_at=run_s,
        network=network or NetworkModel(0.01, 0.6), spread_s=10.0,
    )  # fmt: skip
    return swarm.run()


if __name__ == "__main__":
    # A run to forecast from at the server's default timeout: python -m tests.virtual.forecast_runs DIR
    from chatload.simulator.model.faults import Fault

    record(
        sys.argv[1], ("fixed", 45.0, 3.0), faults=[Fault("status_1", chance=0.002), Fault("slow", 0.01, delay_s=1.0)],
        users=150, run_s=1200.0, chat_s=600.0, request_timeout_s=10.0,
    )  # fmt: skip
