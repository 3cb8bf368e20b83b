"""The three roles of a process in a run: the only process, the master, or a worker.

Locust's order of events at the end depends on how a run is stopped, and its master stops listening half a second after
it sent "quit". Therefore a worker sends its final report when its users have ended (`test_stop`), the master waits for
all of them (`test_stopping`), and the outputs are written last.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from chatload.errors import ChatloadError
from chatload.run.books import Books
from chatload.run.windows import MASTER, Usage
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.master_watchdog import MasterWatchdog
from chatload.swarm.patches import stopping
from chatload.swarm.plan import RunPlan, make_plan
from chatload.swarm.worker_registry import WorkerRegistry
from chatload.swarm.worker_report import (
    ALIVE,
    DRAIN,
    REPORT,
    REPORT_EVERY_S,
    UNFIT,
    ProcessFacts,
    WorkerReport,
)
from chatload.vocabulary import IncidentKind

log = logging.getLogger("chatload")

#: The master waits this much longer than --stop-timeout for final reports, and this long after the last progress
#: (seconds).
_DRAIN_GRACE_S = 10.0
#: A master writes reports to the run file at this interval (seconds).
_MASTER_WRITES_S = 0.5


class Role(Protocol):
    """What a process does for the run, beside holding chats.

    Attributes:
        process: name of this process in the run's records.
        number: distinguishes the processes of a run that hold chats.
        holds_chats: whether users run in this process.
        write_every_s: interval between two calls of `write` (seconds).
        coordinator: coordinates the run; None in a worker.
    """

    process: str
    holds_chats: bool
    write_every_s: float
    coordinator: RunCoordinator | None

    @property
    def number(self) -> int:
        """See above."""

    def make_plan(self) -> RunPlan:
        """Make the plan of the next run. Raises UsageError."""

    def begin(self, plan: RunPlan, facts: ProcessFacts) -> None:
        """Begin a run. facts: of this process. Raises UsageError."""

    def refuse(self, error: ChatloadError) -> None:
        """This process cannot take part in the run."""

    def session_ended(self) -> None:
        """A session ended in this process."""

    def write(self) -> None:
        """Write what was received since the last call."""

    def report(self) -> None:
        """Pass on what happened since the last call. Called every second."""

    def begin_stopping(self, signal_name: Callable[[], str]) -> None:
        """The run is stopping (see RunCoordinator.begin_stopping)."""

    def end(self) -> None:
        """All users of the run have ended."""

    def end_at_once(self) -> bool:
        """End the run without waiting for chats to disconnect; return whether outputs were written."""


class LocalRole:
    """The only process of a run: it holds the chats and coordinates."""

    process, number, holds_chats, write_every_s = "local", 0, True, REPORT_EVERY_S

    def __init__(self, environment: Environment) -> None:
        self._facts = ProcessFacts(self.process)
        self._coordinator = RunCoordinator(environment, self)
        self.coordinator: RunCoordinator | None = self._coordinator

    def make_plan(self) -> RunPlan:
        """Make the plan of the next run. Raises UsageError."""
        return self._coordinator.make_plan()

    def begin(self, plan: RunPlan, facts: ProcessFacts) -> None:
        """Begin a run. Raises UsageError."""
        self._facts = facts
        self._coordinator.begin(plan, facts.now)

    def refuse(self, error: ChatloadError) -> None:
        """Refuse the run."""
        self._coordinator.refuse(error)

    def session_ended(self) -> None:
        """Count an ended session."""
        self._coordinator.sessions_ended(1)

    def write(self) -> None:
        """Do nothing: `report` writes."""

    def report(self) -> None:
        """Record what happened, and check whether the run has to end."""
        self._coordinator.take(self.process, self._facts.report(final=False))
        self._coordinator.update(self.usage(), final=False)

    def begin_stopping(self, signal_name: Callable[[], str]) -> None:
        """Record who ended the run."""
        self._coordinator.begin_stopping(signal_name)

    def end(self) -> None:
        """Write the outputs."""
        self._coordinator.take(self.process, self._facts.report(final=True))
        self._coordinator.end(self.usage())

    def end_at_once(self) -> bool:
        """Write the outputs with what has happened so far."""
        return self._coordinator.end_at_once(self._facts.report(final=False))

    def books(self) -> Books:
        """Return the counters of this process."""
        return self._facts.books.copy()

    def usage(self) -> dict[str, Usage]:
        """Return CPU time and memory of this process."""
        return {self.process: self._facts.usage()}

    @property
    def processes(self) -> int:
        """1 once a run has begun."""
        return int(self._coordinator.run_dir is not None)


class MasterRole:
    """The master: it holds no chats, receives the reports of its workers, and coordinates."""

    process, number, holds_chats, write_every_s = "local", 0, False, _MASTER_WRITES_S

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = environment.runner
        self._facts = ProcessFacts(self.process)
        self._workers = WorkerRegistry()
        self._coordinator = RunCoordinator(environment, self)
        self.coordinator: RunCoordinator | None = self._coordinator
        self._runner.register_message(REPORT, self._on_report)
        self._runner.register_message(UNFIT, self._on_unfit)

    def make_plan(self) -> RunPlan:
        """Make the plan of the next run. Raises UsageError."""
        return self._coordinator.make_plan()

    def begin(self, plan: RunPlan, facts: ProcessFacts) -> None:
        """Begin a run. Raises UsageError."""
        self._facts, self._workers = facts, WorkerRegistry()
        self._coordinator.begin(plan, facts.now)

    def refuse(self, error: ChatloadError) -> None:
        """Refuse the run."""
        self._coordinator.refuse(error)

    def session_ended(self) -> None:
        """Do nothing: sessions end in workers."""

    def write(self) -> None:
        """Write the workers' reports."""
        self._coordinator.write_reports()

    def report(self) -> None:
        """Tell the workers that the master is alive, look for silent ones, check whether the run has to end."""
        self._runner.send_message(ALIVE)
        for worker in self._workers.find_silent(time.monotonic()):
            what = self._workers.describe_silence(worker)
            log.warning("chatload: %s", what)
            self._coordinator.note(IncidentKind.WORKER_SILENT, what)
        self._coordinator.update(self._usage_with_master(), final=False)

    def begin_stopping(self, signal_name: Callable[[], str]) -> None:
        """Let every worker end its chats, and wait for the final reports."""
        self._coordinator.begin_stopping(signal_name)
        if not self._coordinator.is_recording:
            return
        workers = set(self._runner.clients)
        stopping.stop_rebalancing(self._runner)
        self._runner.send_message(DRAIN)
        until = time.monotonic() + float(self._environment.stop_timeout or 0) + _DRAIN_GRACE_S
        # Reading the reports of a million ended chats takes longer than ending them.
        while self._workers.awaited(workers) and time.monotonic() < max(
            until, self._workers.progressed_at + _DRAIN_GRACE_S
        ):
            gevent.sleep(0.05)

    def end(self) -> None:
        """Write the outputs."""
        lost = [self._workers.describe_silence(worker) for worker in self._workers.lost()]
        self._coordinator.end(self._usage_with_master(), lost)

    def end_at_once(self) -> bool:
        """Write the outputs with the reports so far, and end the workers."""
        if self._coordinator.is_recording:
            self._runner.send_message("quit")
        return self._coordinator.end_at_once(None)

    def books(self) -> Books:
        """Return the counters of all workers together."""
        return self._workers.total()

    def usage(self) -> dict[str, Usage]:
        """Return CPU time and memory of each worker by its latest report."""
        return self._workers.usage

    @property
    def processes(self) -> int:
        """The number of workers that have reported."""
        return len(self._workers)

    def _usage_with_master(self) -> dict[str, Usage]:
        return {**self._workers.usage, MASTER: self._facts.usage()}

    def _on_report(self, environment: Environment, msg: Any, **_: Any) -> None:
        try:
            report = WorkerReport.read(msg.data)
        except ChatloadError as error:
            if self._coordinator.error is None:
                self._coordinator.fail(error)
            return
        if self._workers.receive(msg.node_id, report, time.monotonic()):
            self._coordinator.note(IncidentKind.WORKER_BACK, f"worker {msg.node_id} reports again")
        self._coordinator.take(msg.node_id, report)
        self._coordinator.sessions_ended(len(report.sessions))

    def _on_unfit(self, environment: Environment, msg: Any, **_: Any) -> None:
        what = f"worker {msg.node_id} holds no chats: {msg.data}"
        log.error("chatload: %s", what)
        self._coordinator.note(IncidentKind.WORKER_UNFIT, what)
        self._workers.unfit.add(msg.node_id)
        if self._workers.unfit.issuperset(self._runner.clients):
            self._coordinator.request_stop()


class WorkerRole:
    """A worker: it holds chats and reports to its master."""

    holds_chats, write_every_s = True, REPORT_EVERY_S
    coordinator: RunCoordinator | None = None

    def __init__(self, environment: Environment, stop_lock: AbstractContextManager[Any]) -> None:
        """stop_lock: held while the users are stopped."""
        self._environment, self._stop_lock = environment, stop_lock
        self._runner: Any = environment.runner
        self.process: str = self._runner.client_id
        self._facts = ProcessFacts(self.process)
        self._runner.register_message(DRAIN, self._stop, concurrent=True)
        self._watchdog = MasterWatchdog(self._runner, self._master_gone)
        # Locust's own listener sends "quit", after which the master may stop reading. Listeners run in reverse order
        # of registration, so this one sends the final report first.
        environment.events.quitting.add_listener(self._stop)

    @property
    def number(self) -> int:
        """The worker's index, from 1 on."""
        return int(self._runner.worker_index) + 1

    def make_plan(self) -> RunPlan:
        """Make the plan from the options that the master sent. Raises UsageError."""
        options: Any = self._environment.parsed_options
        return make_plan(options, options.host_with_login, [options.agreed_host])

    def begin(self, plan: RunPlan, facts: ProcessFacts) -> None:
        """Begin a run."""
        self._facts = facts
        self._watchdog.run_begins()

    def refuse(self, error: ChatloadError) -> None:
        """Tell the master that this worker cannot hold chats."""
        self._runner.send_message(UNFIT, str(error))

    def session_ended(self) -> None:
        """Do nothing: the master counts sessions."""

    def write(self) -> None:
        """Do nothing: the master writes."""

    def report(self) -> None:
        """Send a report."""
        self._runner.send_message(REPORT, self._facts.report(final=False))

    def begin_stopping(self, signal_name: Callable[[], str]) -> None:
        """Do nothing: the users are being stopped."""

    def end(self) -> None:
        """Send the final report."""
        self._watchdog.run_ends()
        self._runner.send_message(REPORT, self._facts.report(final=True))
        stopping.send_final_statistics(self._runner)

    def end_at_once(self) -> bool:
        """Return True: the master has all that happened until the last second."""
        return True

    def _stop(self, **_: Any) -> None:
        """Stop the users and send the final report: the master, a signal, or both asked for it."""
        with self._stop_lock:
            self._runner.stop()

    def _master_gone(self) -> None:
        self._stop()
        self._runner.quit()


def role_of(environment: Environment, stop_lock: AbstractContextManager[Any]) -> Role:
    """Return the role of this process by Locust's runner."""
    if isinstance(environment.runner, WorkerRunner):
        return WorkerRole(environment, stop_lock)
    if isinstance(environment.runner, MasterRunner):
        return MasterRole(environment)
    return LocalRole(environment)
