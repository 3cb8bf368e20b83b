"""The model's curve: the same sweep in virtual time, by the real engine against the simulator's model."""

from __future__ import annotations

from math import log
from pathlib import Path

from chatload.chat.record import SessionRecord
from chatload.chat.settings import SessionSettings
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.run.reader import RunReader
from chatload.run.settings import session_settings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

#: The 90th percentile of the normal distribution, and the widest network taken for one (sigma of the log).
_Z90, _MOST_SPREAD = 1.2816, 1.5


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
    """Return the records of `sessions` chats held by `users` customers, with the arms that `settings` have.

    config: the service; by default one with the settings' timeout. Deterministic in its arguments.
    """
    service = config or SimulatorConfig(flex_disconnect_timeout_s=settings.timeout_s, seed=seed)
    first = (seed << 48) - 1  # the driver counts from 1, and a block begins with a whole number of arms
    swarm = VirtualSwarm(
        settings, ChatService(service, faults), users=users, chats=sessions, seed=first, network=network
    )
    return swarm.run().records


def model_of(reader: RunReader, faults: Path) -> list[SessionRecord]:
    """Return the records of a run's sweep repeated in the model.

    Timeout, script, customers and number of sessions are those of the run; the network has its round trips. faults:
    file with the faults of the simulated service. Raises FileError.
    """
    run, books = reader.settings, reader.books()
    return model_sweep(
        session_settings(run),
        books.started,
        FaultPlan.load(faults),
        network=_network(books.latency.get("GetMessages", CensoredHistogram()).observed),
        users=run.users or 100,
        seed=run.chat_seed,
    )


def _network(round_trips: Histogram) -> NetworkModel:
    """Return a lognormal network with the median and 90th percentile of the round trips: longer ones may be faults."""
    median_s = round_trips.quantile(0.5) or 0.001
    spread = log(max(1.0, (round_trips.quantile(0.9) or median_s) / median_s)) / _Z90
    return NetworkModel(median_s / 2, min(spread, _MOST_SPREAD))
