"""Runs sweeps: as a headless Locust process, and the same sweep in virtual time, against the simulator's model."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

from chatload.chat.record import SessionRecord
from chatload.chat.settings import SessionSettings
from chatload.children import run_child
from chatload.errors import UsageError, UserInterruptError
from chatload.features.workloads import headless_run
from chatload.run.histogram import CensoredHistogram
from chatload.run.reader import RunReader
from chatload.run.schema import RUN_FILE
from chatload.run.settings import session_settings
from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.faults import FaultPlan
from chatload.simulator.model.service import ChatService
from chatload.virtual.driver import VirtualSwarm
from chatload.virtual.network import NetworkModel

#: The 90th percentile of the normal distribution, and the widest network taken for one (sigma of the log).
_Z90, _MOST_SPREAD = 1.2816, 1.5


def command(options: Mapping[str, Any], more: Sequence[str]) -> list[str]:
    """Return the command line of a sweep. options: Locust options by name. more: further arguments, unchanged."""
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [*headless_run("interval_sweep", *given, *more)]


def hold(options: Mapping[str, Any], more: Sequence[str]) -> None:
    """Run a sweep to its end; its progress goes to our stderr.

    After an interrupt (SIGINT, SIGTERM) the chats disconnect, and the run has the sessions so far. Raises UsageError if
    Locust refuses the sweep, UserInterruptError after an interrupt before the run began.
    """
    done = run_child(command(options, more))
    if (Path(options["run_dir"]) / RUN_FILE).exists():
        return
    if done.asked_by:
        raise UserInterruptError("interrupted before the sweep began")
    raise UsageError("locust refused the sweep", "see its message above")


def model_sweep(
    settings: SessionSettings,
    sessions: int,
    faults: FaultPlan,
    *,
    network: NetworkModel = NetworkModel(),
    users: int = 100,
    seed: int = 0,
) -> list[SessionRecord]:
    """Return the records of `sessions` chats held by `users` customers, with the arms that `settings` have.

    Deterministic in its arguments.
    """
    service = ChatService(SimulatorConfig(flex_disconnect_timeout_s=settings.timeout_s, seed=seed), faults)
    first = (seed << 48) - 1  # the driver counts from 1, and a block begins with a whole number of arms
    return VirtualSwarm(settings, service, users=users, chats=sessions, seed=first, network=network).run().records


def model_of(reader: RunReader, faults: Path) -> list[SessionRecord]:
    """Return the records of a run's sweep repeated in the model.

    Timeout, script, customers and number of sessions are those of the run. The network is lognormal, with the median
    and the 90th percentile of the run's round trips: longer ones may be faults. faults: file with the faults of the
    simulated service. Raises FileError.
    """
    run, books = reader.settings, reader.books()
    round_trips = books.latency.get("GetMessages", CensoredHistogram()).observed
    median_s = round_trips.quantile(0.5) or 0.001
    spread = log(max(1.0, (round_trips.quantile(0.9) or median_s) / median_s)) / _Z90
    return model_sweep(
        session_settings(run),
        books.started,
        FaultPlan.load(faults),
        network=NetworkModel(median_s / 2, min(spread, _MOST_SPREAD)),
        users=run.users or 100,
        seed=run.chat_seed,
    )
