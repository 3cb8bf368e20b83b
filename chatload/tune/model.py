"""The model's curve: the same sweep in virtual time, by the real engine against the simulator's model."""

from __future__ import annotations

from pathlib import Path

from chatload.session.policy import make_policy
from chatload.session.record import SessionRecord
from chatload.session.script import CustomerScript, load_script
from chatload.session.settings import SessionSettings
from chatload.session.sweep import swept
from chatload.simulator.config import SimulatorConfig
from chatload.simulator.faults import FaultPlan
from chatload.simulator.model import ChatService
from chatload.store.reader import RunReader
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel


def model_sweep(
    settings: SessionSettings,
    sessions: int,
    faults: FaultPlan,
    *,
    config: SimulatorConfig | None = None,
    network: NetworkModel = NetworkModel(),
    users: int = 100,
    seed: int = 0,
) -> list[SessionRecord]:
    """The records of `sessions` chats held by `users` customers, with the arms that `settings` have.

    config: the service; by default one with the settings' timeout. Deterministic in its arguments.
    """
    service = config or SimulatorConfig(flex_disconnect_timeout_s=settings.timeout_s, seed=seed)
    swarm = VirtualSwarm(
        settings, ChatService(service, faults), users=users, chats=sessions, seed=seed << 48, network=network
    )
    return swarm.run().records


def model_of(reader: RunReader, faults: Path) -> list[SessionRecord]:
    """The sweep in a run once more, in the model: same timeout, script, customers and number of sessions; one-way
    latency half the run's median round trip. faults: of the simulated service. Raises FileError."""
    given, books = reader.settings, reader.books()
    timeout_s = float(given["flex_disconnect_timeout"])
    script = load_script(given["script"]) if given.get("script") else CustomerScript()
    settings = SessionSettings(
        make_policy("fraction", timeout_s),
        float(given["request_timeout"]),
        script.with_chat_length(float(given["chat_length"])) if not given.get("script") else script,
    )
    latency = books.latency.get("GetMessages")
    median_s = (latency.quantile(0.5) if latency else None) or 0.001
    return model_sweep(
        swept(settings, tuple(given["sweep"])),
        books.started,
        FaultPlan.load(faults),
        network=NetworkModel(median_s / 2),
        users=int(given.get("users") or 100),
        seed=int(given.get("chat_seed") or 0),
    )
