"""The runs of one Locust process: what its users need, the steps from `test_start` to `test_stop`, and the role of the
process: the only one, the master, or a worker.

Locust's order of events at the end depends on how a run is stopped, and its master stops listening half a second after
it sent "quit". Therefore a worker sends its final report when its users have ended (`test_stop`), the master waits for
all of them (`test_stopping`), and the outputs are written last.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import RLock
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from chatload.chat.engine import ChatEngine
from chatload.chat.feeder import NO_ROW
from chatload.chat.personas import new_chat
from chatload.chat.record import SessionRecord
from chatload.errors import ChatloadError, UsageError
from chatload.run.books import Books
from chatload.run.windows import MASTER
from chatload.run.writer import refuse_unwritable
from chatload.swarm import log
from chatload.swarm.checks import check_service, check_users, doubts, refuse_above_ceiling, refuse_beyond_limits
from chatload.swarm.classes import ChatNotBegun, read_classes
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.driver import SessionDriver, StallMonitor
from chatload.swarm.feeds import Feed, feeds_of
from chatload.swarm.hooks import Fetcher, UserHooks, count_code_error, failed_function
from chatload.swarm.patches import stopping
from chatload.swarm.patches.garbage_collection import GarbageCollection
from chatload.swarm.patches.html_report import LocustHtml
from chatload.swarm.patches.master_heartbeat import accept_any_spawn_timestamp
from chatload.swarm.patches.orphaned_workers import has_lost_parent, kill_remaining_workers
from chatload.swarm.patches.refused_start import end_start
from chatload.swarm.patches.request_statistics import LocustStatistics
from chatload.swarm.patches.signals import Signals
from chatload.swarm.patches.statistics_growth import drop_old_statistics
from chatload.swarm.plan import ClassPlan, RunPlan, make_plan, run_dir_of
from chatload.swarm.worker_report import (
    ALIVE,
    DRAIN,
    REPORT,
    REPORT_EVERY_S,
    ROWS,
    UNFIT,
    ProcessFacts,
    WorkerRegistry,
    WorkerReport,
)
from chatload.vocabulary import IncidentKind, Verdict

#: The master waits this much longer than --stop-timeout for final reports, and this long after the last progress
#: (seconds).
_DRAIN_GRACE_S = 10.0
#: A master writes reports to the run file at this interval (seconds).
_MASTER_WRITES_S = 0.5
#: A master not heard from for this long is gone (seconds): during a run, and otherwise. Stalls of a master are shorter.
GONE_S, IDLE_GONE_S = 10.0, 60.0


class Role(Protocol):
    """What a process does for the run, beside holding chats.

    facts: counters and ended sessions of this process in the current or last run. holds_chats: whether users run in it.
    number: distinguishes the processes of a run that hold chats. report_every_s: interval between two calls of `report`
    (seconds). coordinator: coordinates the run; None in a worker.
    """

    facts: ProcessFacts
    holds_chats: bool
    number: int = 0
    report_every_s: float = REPORT_EVERY_S
    coordinator: RunCoordinator | None = None

    def make_plan(self) -> RunPlan:
        """Make the plan of the next run. Raises UsageError."""

    def begin(self, plan: RunPlan) -> None:
        """Begin a run, with new facts. Raises UsageError."""

    def refuse(self, error: ChatloadError) -> None:
        """This process cannot take part in the run."""

    def report(self) -> None:
        """Pass on what happened since the last call."""

    def allot(self, user_class: str, count: int) -> range:
        """Return numbers of rows of a feeder that no other process gets; empty at the end of the data."""

    def begin_stopping(self, signal_name: str) -> None:
        """The run is stopping (see RunCoordinator.begin_stopping)."""
        return

    def end(self) -> None:
        """All users of the run have ended."""

    def end_at_once(self) -> bool:
        """End the run without waiting for chats to disconnect; return whether its outputs, if any, are written."""
        return True

    def quit(self) -> None:
        """The process is about to exit."""
        return


class _CoordinatingRole(Role):
    process: str
    coordinator: RunCoordinator

    def __init__(self, environment: Environment) -> None:
        self.facts = ProcessFacts(self.process)
        self.coordinator = RunCoordinator(environment)

    def make_plan(self) -> RunPlan:
        return self.coordinator.make_plan()

    def refuse(self, error: ChatloadError) -> None:
        self.coordinator.refuse(error)

    def allot(self, user_class: str, count: int) -> range:
        return self.coordinator.rows.allot(user_class, count)

    def begin_stopping(self, signal_name: str) -> None:
        self.coordinator.begin_stopping(signal_name)


class LocalRole(_CoordinatingRole):
    """The only process of a run: it holds the chats and coordinates."""

    process, holds_chats = "local", True

    def begin(self, plan: RunPlan) -> None:
        self.facts = ProcessFacts(self.process, plan.classes)
        self.coordinator.begin(plan, self.facts.now, self.facts)

    def report(self) -> None:
        self._take_report(final=False)
        self.coordinator.update(final=False)

    def end(self) -> None:
        self._take_report(final=True)
        self.coordinator.end()

    def end_at_once(self) -> bool:
        self._take_report(final=False)
        return self.coordinator.end_at_once()

    def _take_report(self, final: bool) -> None:
        self.coordinator.take(self.process, self.facts.report(final))


class MasterRole(_CoordinatingRole):
    """The master: it holds no chats, receives the reports of its workers, and coordinates."""

    process, holds_chats, report_every_s = MASTER, False, _MASTER_WRITES_S

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._runner: Any = environment.runner
        self._workers = WorkerRegistry()
        self._reported_at = 0.0
        self._run_named = ""
        #: Workers whose reports cannot be read.
        self._unreadable: set[str] = set()
        self._runner.register_message(REPORT, self._on_report)
        self._runner.register_message(UNFIT, self._on_unfit)
        self._runner.register_message(ROWS, self._on_rows)

    def begin(self, plan: RunPlan) -> None:
        self._reported_at = time.monotonic()
        # Locust starts the users on these workers.
        clients = self._runner.clients
        expected = [client.id for client in (*clients.ready, *clients.spawning, *clients.running)]
        self.facts, self._workers = ProcessFacts(self.process), WorkerRegistry(expected, self._reported_at)
        self._unreadable = set()
        self._run_named = self._runner.environment.parsed_options.run_named
        self.coordinator.begin(plan, self.facts.now, self._workers)

    def report(self) -> None:
        """Write what was received; every second, look for silent workers, check whether the run has to end."""
        self.coordinator.write_reports()
        if time.monotonic() - self._reported_at < REPORT_EVERY_S - _MASTER_WRITES_S / 2:
            return
        self._reported_at = time.monotonic()
        self._runner.send_message(ALIVE)
        for worker in self._workers.find_silent(time.monotonic()):
            what = self._workers.describe_silence(worker)
            log.warning("chatload: %s", what)
            self.coordinator.note(IncidentKind.WORKER_SILENT, what)
        self._workers.usage.update(self.facts.usage)
        self.coordinator.update(final=False)

    def begin_stopping(self, signal_name: str) -> None:
        """Let every worker end its chats, and wait for the final reports."""
        super().begin_stopping(signal_name)
        if not self.coordinator.is_recording:
            return
        workers = set(self._runner.clients)
        stopping.stop_rebalancing(self._runner)
        self._runner.send_message(DRAIN)
        until = time.monotonic() + float(self._runner.environment.stop_timeout or 0) + _DRAIN_GRACE_S
        # Reading the reports of a million ended chats takes longer than ending them.
        while self._workers.awaited(workers) and time.monotonic() < max(
            until, self._workers.progressed_at + _DRAIN_GRACE_S
        ):
            gevent.sleep(0.05)

    def end(self) -> None:
        self._workers.usage.update(self.facts.usage)
        self.coordinator.end([self._workers.describe_silence(worker) for worker in self._workers.lost()])

    def end_at_once(self) -> bool:
        if self.coordinator.is_recording:
            self._runner.send_message("quit")
        return self.coordinator.end_at_once()

    def quit(self) -> None:
        """Kill the workers that do not end: those of --processes whose final report never came."""
        if self._workers.lost() and (killed := kill_remaining_workers()):
            log.warning("chatload: %d worker process%s did not end: killed", killed, "es" if killed > 1 else "")

    def _on_report(self, environment: Environment, msg: Any, **_: Any) -> None:
        try:
            report = WorkerReport.read(msg.data)
        except ChatloadError as error:
            if msg.node_id not in self._unreadable:
                self._unreadable.add(msg.node_id)
                what = f"worker {msg.node_id}: {error}"
                log.error("chatload: %s", what)
                self.coordinator.note(IncidentKind.REPORT_UNREADABLE, what)
            return
        if report.run != self._run_named:
            # Of a worker that was stopped (SIGSTOP) until an earlier run was over, or that has not begun this one.
            if report.final:
                self._workers.takes_no_part(msg.node_id)
            return
        if self._workers.receive(msg.node_id, report, time.monotonic()):
            self.coordinator.note(IncidentKind.WORKER_BACK, f"worker {msg.node_id} reports again")
        self.coordinator.take(msg.node_id, report)
        self.coordinator.sessions_ended(len(report.sessions))

    def _on_rows(self, environment: Environment, msg: Any, **_: Any) -> None:
        """A worker asks for rows of a feeder."""
        user_class, count = msg.data
        rows = self.coordinator.rows.allot(str(user_class), int(count))
        self._runner.send_message(ROWS, [user_class, rows.start, len(rows)], msg.node_id)

    def _on_unfit(self, environment: Environment, msg: Any, **_: Any) -> None:
        what = f"worker {msg.node_id} holds no chats: {msg.data}"
        log.error("chatload: %s", what)
        self.coordinator.note(IncidentKind.WORKER_UNFIT, what)
        self._workers.unfit.add(msg.node_id)
        if self._workers.unfit.issuperset(self._runner.clients):
            self.coordinator.request_stop()


class WorkerRole(Role):
    """A worker: it holds chats, reports to its master, and stops loading the target when its master is gone.

    This replaces Locust's own check (see `patches.master_heartbeat`). During a run the master says every second that it
    is alive; Locust's heartbeats count too.

    A worker of --processes is a child of its master and ends with it: another master may bind the port, and the worker
    would join it and load another target.
    """

    holds_chats = True

    def __init__(self, environment: Environment, stop_lock: AbstractContextManager[Any]) -> None:
        """stop_lock: held while the users are stopped."""
        self._environment, self._stop_lock = environment, stop_lock
        self._runner: Any = environment.runner
        self.facts = ProcessFacts(self._runner.client_id)
        self._master_heard_at: float | None = None
        self._run_active = self._has_run = False
        self._runner.register_message(DRAIN, self._stop, concurrent=True)
        self._runner.register_message(ALIVE, self._hear_master, concurrent=True)
        self._runner.register_message(ROWS, self._hear_rows, concurrent=True)
        self._rows: dict[str, AsyncResult[range]] = {}
        environment.events.heartbeat_received.add_listener(self._hear_master)
        # Locust's own listener sends "quit", after which the master may stop reading. Listeners run in reverse order
        # of registration, so this one sends the final report first.
        environment.events.quitting.add_listener(self._stop)
        gevent.spawn(self._watch_master)

    def make_plan(self) -> RunPlan:
        self.number = int(self._runner.worker_index) + 1
        options: Any = self._environment.parsed_options
        names = set(options.customer_classes)
        chosen = [one for one in self._environment.user_classes if one.__name__ in names]
        classes = read_classes(chosen)
        if missing := names - {one.name for one in classes}:
            raise UsageError(f"this worker's locustfile has no user class {min(missing)}", "use the same locustfile")
        plan = make_plan(options, options.host_with_login, options.agreed_hosts, classes)
        for name, sha256 in options.feeders.items():
            rows = plan.of(name).rows
            if rows is None or rows.sha256 != sha256:
                what = f"the feeder of user class {name}" if name else "the feeder"
                raise UsageError(f"{what} is not the same file as the master's", "copy it to this machine")
        return plan

    def allot(self, user_class: str, count: int) -> range:
        """Ask the master. Only one greenlet at a time asks for one class."""
        self._rows[user_class] = reply = AsyncResult()
        self._runner.send_message(ROWS, [user_class, count])
        rows: range = reply.get()
        return rows

    def _hear_rows(self, environment: Environment, msg: Any, **_: Any) -> None:
        user_class, first, count = msg.data
        if reply := self._rows.pop(user_class, None):
            reply.set(range(first, first + count))

    def begin(self, plan: RunPlan) -> None:
        named = self._environment.parsed_options.run_named
        self.facts = ProcessFacts(self._runner.client_id, plan.classes, named)
        self._master_heard_at = time.monotonic()
        self._run_active = self._has_run = True
        self.report()  # before the first chat: if this worker dies within the next second, the master knows of it

    def refuse(self, error: ChatloadError) -> None:
        self._runner.send_message(UNFIT, str(error))

    def report(self) -> None:
        self._runner.send_message(REPORT, self.facts.report(final=False))

    def end(self) -> None:
        self._run_active = False
        self._runner.send_message(REPORT, self.facts.report(final=True))
        stopping.send_final_statistics(self._runner)

    def _stop(self, **_: Any) -> None:
        """Stop the users and send the final report: the master, a signal, or both asked for it."""
        with self._stop_lock:
            self._runner.stop()

    def _hear_master(self, **_: Any) -> None:
        self._master_heard_at = time.monotonic()

    def _watch_master(self) -> None:
        before = time.monotonic()
        while not has_lost_parent():
            gevent.sleep(1.0)
            now = time.monotonic()
            stalled, before = max(0.0, now - before - 2.0), now
            accept_any_spawn_timestamp(self._runner)
            if self._master_heard_at is None:
                continue
            # Time in which this process was stalled proves nothing about the master.
            self._master_heard_at += stalled
            silent_s = now - self._master_heard_at
            if silent_s > (GONE_S if self._run_active else IDLE_GONE_S):
                log.error("chatload: no message from the master for %.0f s: this worker stops", silent_s)
                break
        else:
            # Without a run nothing is lost: the start was refused, and the master has said why.
            if self._has_run:
                log.error("chatload: the process that started this worker has ended: this worker stops")
        self._stop()
        self._runner.quit()


class Run:
    """The runs of one Locust process, one after another.

    plan: what the users go by; None before the first run and if the run was refused. html: Locust's report, which is
    written last. signals: set once Locust's runner exists.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._stop_lock = RLock()
        self.role: Role
        if isinstance(environment.runner, WorkerRunner):
            self.role = WorkerRole(environment, self._stop_lock)
        elif isinstance(environment.runner, MasterRunner):
            self.role = MasterRole(environment)
        else:
            self.role = LocalRole(environment)
        self.plan: RunPlan | None = None
        self.monitor = StallMonitor(
            lambda seconds: self.facts.books.stall(seconds), self._note_suspension, self._note_jump
        )
        self.statistics = LocustStatistics(environment, self._count_other)
        self.html = LocustHtml(environment)
        self.signals: Signals | None = None
        self._collection = GarbageCollection()
        self._reporter: gevent.Greenlet | None = None
        self._sources = 0
        self._feeds: dict[str, Feed] = {}
        self._fetchers: dict[str, Fetcher] = {}

    @property
    def facts(self) -> ProcessFacts:
        """Counters and ended sessions of this process."""
        return self.role.facts

    def check(self, options: Any, host: str | None, user_classes: Sequence[Any]) -> None:
        """Check a run with these options and user classes on this host before it begins. Raises UsageError."""
        coordinator = self.role.coordinator
        assert coordinator is not None, "a worker checks nothing"
        plan = coordinator.plan_for(options, host, user_classes)
        coordinator.load.check(plan)
        check_users(user_classes, plan.workload is not None)
        plan.rules.require_now(time.time())
        refuse_above_ceiling(plan.rules, options.num_users or 1, plan.mix)
        refuse_unwritable(run_dir_of(options))
        refuse_beyond_limits(options)
        asked = {(one.run.host, one.run.service, one.run.dialect): one for one in plan.classes.values()}
        for one in asked.values():
            timeout_s = one.settings.request_timeout_s
            # A class that has hooks may need a token, which a chat that does not exist has not.
            check_service(
                one.encoder, one.open_transport, timeout_s, one.run.host, one.run.service, "headers" in one.hooks
            )

    def begin(self) -> None:
        """Begin a run with empty counters (`test_start`), if the options allow it."""
        try:
            self.plan = self.role.make_plan()
            check_users(self.environment.user_classes, self.plan.workload is not None)
            self._sources = 0
            self._feeds = feeds_of(self.plan.classes, self.role.allot)
            self._fetchers = {name: self._fetcher(one) for name, one in self.plan.classes.items() if one.hooks}
            self.role.begin(self.plan)
            if self.role.coordinator is not None:
                for doubt in doubts(self.plan.run, self.plan.gate):
                    log.warning("chatload: %s", doubt)
                    self.role.coordinator.add_note(doubt)
        except ChatloadError as error:
            self.plan = None
            log.error("chatload: %s", error)
            self.role.refuse(error)
            if self.role.coordinator is not None:
                end_start()
            return
        if self.role.holds_chats:
            self._collection.begin()
            self.monitor.start()
        self._reporter = gevent.spawn(self._report_repeatedly)

    def wants_more(self) -> bool:
        """Return whether another chat may begin in this process."""
        return self.plan is not None and not (self.plan.run.chats and self.facts.numbered >= self.plan.run.chats)

    @property
    def ending_signal(self) -> str:
        """The name of the signal that has asked this process to end; empty if there was none."""
        return "" if self.signals is None else self.signals.received

    def new_session(self, user: Any) -> ChatEngine | None:
        """Return the next chat of a user to hold, None if no more chats may begin.

        Other greenlets may run meanwhile: a hook may send requests. Raises ChatNotBegun, which is counted already.
        """
        plan, facts = self.plan, self.facts
        if plan is None or not self.wants_more():
            return None
        mine, number = plan.of(type(user).__name__), self._next_number(plan)
        books, feed, visitor, hooks = facts.books_of(mine.name), self._feeds.get(mine.name), None, None
        row = NO_ROW
        if feed is not None:
            drawn = feed.row(number)
            if drawn is None:
                facts.numbered -= 1
                if feed.end_is_error:
                    facts.feeder_ended = str(feed)
                return None
            row = drawn
        if feed is not None or mine.hooks:
            visitor = mine.settings.script.customer(number, row)
        if mine.hooks and visitor is not None:
            hooks = UserHooks(user, mine.hooks, self._fetchers[mine.name], books)
            if why := hooks.before_chat(visitor):
                self._count_not_begun(books, mine.name, why)
                raise ChatNotBegun(why)
        return new_chat(mine.settings, books, number, time.monotonic(), visitor, hooks)

    def _next_number(self, plan: RunPlan) -> int:
        number = (plan.run.chat_seed << 48) + (self.role.number << 32) + self.facts.numbered
        self.facts.numbered += 1
        return number

    def _count_not_begun(self, books: Books, user_class: str, why: str) -> None:
        """Count a customer who got no chat as a session that was never accepted."""
        now = time.monotonic()
        record = SessionRecord(
            verdict=Verdict.GAVE_UP.value, why=why, started_at=now, ended_at=now, user_class=user_class
        )
        books.session_started()
        books.session_ended(record)
        self.facts.add_record(record)
        self._count_ended()

    def _note_suspension(self) -> None:
        self.facts.suspended = True

    def _note_jump(self, seconds: float) -> None:
        self.facts.jumped_s += seconds

    def _fetcher(self, plan: ClassPlan) -> Fetcher:
        return Fetcher(
            plan.run.host,
            plan.settings.request_timeout_s,
            plan.open_host,
            lambda: self.facts.books_of(plan.name),
            self.statistics.fetched,
        )

    def name_source(self) -> str:
        """Return a name for another source of arrivals: unique in the run, and the same when the run is repeated."""
        self._sources += 1
        return f"{self.plan.run.chat_seed if self.plan else 0} {self.role.number} {self._sources}"

    def hold(self, plan: RunPlan, session: ChatEngine, leave: Event) -> None:
        """Hold one chat, over a transport of its own, until it has ended or the calling greenlet is killed.

        leave: set when the chat has to disconnect.
        """
        mine, hooks = plan.of(session.settings.user_class), session.hooks
        transport = mine.open_transport()
        names, on_request = mine.dialect.response, self.statistics.request
        headers = None
        if isinstance(hooks, UserHooks) and hooks.has_headers and session.visitor is not None:
            headers = partial(hooks.headers, session.visitor)
        try:
            SessionDriver(mine.encoder, names, transport, self.monitor, leave, on_request, headers).hold(session)
        finally:
            transport.close()
            self.session_ended(session)

    def session_ended(self, session: ChatEngine) -> None:
        """Add an ended session to the facts. A master counts the sessions of its workers when they report them."""
        self.facts.add(session)
        self._count_ended()

    def count_code_error(self, user: Any, error: Exception, tb: TracebackType | None) -> None:
        """Count an exception in the code of a user class, which makes the run invalid. Locust logs its traceback."""
        name, function = type(user).__name__, failed_function(tb)
        if count_code_error(self.facts.books_of(name), name, function, error):
            kind = type(error).__name__
            log.error("chatload: %s in %s of user class %s: the run is invalid", kind, function, name)

    def _count_other(self, failed: bool) -> None:
        """Count a request of a user that holds no chats."""
        self.facts.books.other_requests += 1
        self.facts.books.other_failed += failed

    def _count_ended(self) -> None:
        if self.role.coordinator is not None:
            self.role.coordinator.sessions_ended(1)

    def _report_repeatedly(self) -> None:
        due = time.monotonic()
        while True:
            # By the clock, however long a report takes: reports that arrived meanwhile are waiting.
            due = max(due + self.role.report_every_s, time.monotonic())
            gevent.sleep(due - time.monotonic())
            if self._reporter is not gevent.getcurrent():
                return
            self.statistics.flush()
            runner: Any = self.environment.runner
            self.facts.users = runner.user_count if self.role.holds_chats else 0
            self.role.report()
            drop_old_statistics(self.environment.stats)
            self._collection.check(self.facts.open)

    def begin_stopping(self) -> None:
        """The run is stopping (`test_stopping`)."""
        gevent.sleep(0)  # Locust's handler of SIGTERM may have run before ours
        self.role.begin_stopping(self.ending_signal)

    def end(self) -> None:
        """All users have ended (`test_stop`)."""
        with self._stop_lock:  # after a signal to all processes, the master stops twice
            self._reporter = None  # not killed: it may be writing
            self.monitor.stop()
            self._collection.end()
            self.statistics.flush()
            self.role.end()

    def end_at_once(self) -> bool:
        """End the run without waiting for chats to disconnect (second signal); return whether outputs were written."""
        if self.role.coordinator is None:
            return self.role.end_at_once()  # a worker holds the lock while its chats disconnect
        with self._stop_lock:  # never while `end` writes
            return self.role.end_at_once()


def run_of(environment: Environment) -> Run:
    """Return the Run of an environment; make it at the first call."""
    run = getattr(environment, "chatload_run", None)
    if run is None:
        run = environment.chatload_run = Run(environment)
    assert isinstance(run, Run)
    return run
