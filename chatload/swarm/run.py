"""The runs of one Locust process: what its users need, and the steps from `test_start` to `test_stop`."""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import RLock
from locust.env import Environment

from chatload.chat.engine import ChatEngine
from chatload.chat.personas import new_chat
from chatload.errors import ChatloadError
from chatload.run.writer import refuse_unwritable
from chatload.swarm.checks import check_service, check_users, refuse_above_ceiling, refuse_beyond_limits
from chatload.swarm.driver import SessionDriver, StallMonitor
from chatload.swarm.patches.garbage_collection import GarbageCollection
from chatload.swarm.patches.html_report import LocustHtml
from chatload.swarm.patches.request_statistics import LocustStatistics
from chatload.swarm.patches.signals import Signals
from chatload.swarm.patches.spawning import CooperativeYield
from chatload.swarm.patches.statistics_growth import drop_old_statistics
from chatload.swarm.plan import RunPlan, run_dir_of
from chatload.swarm.roles import Role, role_of
from chatload.swarm.worker_report import REPORT_EVERY_S, ProcessFacts

log = logging.getLogger("chatload")


class Run:
    """The runs of one Locust process, one after another.

    Attributes:
        role: what this process does for the run beside holding chats.
        plan: what the users go by; None before the first run and if the run was refused.
        html: Locust's report, which is written last.
        signals: set once Locust's runner exists.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._stop_lock = RLock()
        self.role: Role = role_of(environment, self._stop_lock)
        self.plan: RunPlan | None = None
        self.monitor = StallMonitor(lambda seconds: self.facts.books.stall(seconds))
        self.statistics = LocustStatistics(environment)
        self.cooperative_yield = CooperativeYield()
        self.html = LocustHtml(environment)
        self.signals: Signals | None = None
        self._collection = GarbageCollection()
        self._reporter: gevent.Greenlet | None = None
        self._sources = 0

    @property
    def facts(self) -> ProcessFacts:
        """Counters and ended sessions of this process."""
        return self.role.facts

    # -- before and at the beginning -------------------------------------------------------------

    def check(self, options: Any, host: str | None) -> None:
        """Check a run with these options on this host before it begins. Raises UsageError."""
        coordinator = self.role.coordinator
        assert coordinator is not None, "a worker checks nothing"
        plan = coordinator.plan_for(options, host)
        coordinator.load.check(plan)
        self._check_users(plan)
        refuse_above_ceiling(plan.rules, options.num_users or 1, plan.settings)
        refuse_unwritable(run_dir_of(options))
        refuse_beyond_limits(options)
        check_service(
            plan.encoder, plan.open_transport, plan.settings.request_timeout_s, plan.run.host, plan.run.service
        )

    def _check_users(self, plan: RunPlan) -> None:
        check_users(self.environment.user_classes, is_open=plan.workload is not None)

    def begin(self) -> None:
        """Begin a run with empty counters (`test_start`), if the options allow it."""
        try:
            self._begin()
        except ChatloadError as error:
            self.plan = None
            log.error("chatload: %s", error)
            self.role.refuse(error)

    def _begin(self) -> None:
        self.plan = self.role.make_plan()
        self._check_users(self.plan)
        self._sources = 0
        self.role.begin(self.plan)
        if self.role.holds_chats:
            self._collection.begin()
            self.monitor.start()
        self._reporter = gevent.spawn(self._report_repeatedly)

    # -- what users need -------------------------------------------------------------------------

    def wants_more(self) -> bool:
        """Return whether another chat may begin in this process."""
        return self.plan is not None and not (self.plan.run.chats and self.facts.books.started >= self.plan.run.chats)

    @property
    def ending_signal(self) -> str:
        """The name of the signal that has asked this process to end; empty if there was none."""
        return "" if self.signals is None else self.signals.received

    def new_session(self) -> ChatEngine | None:
        """Return the next chat to hold, None if no more chats may begin."""
        plan, books = self.plan, self.facts.books
        if plan is None or not self.wants_more():
            return None
        number = (plan.run.chat_seed << 48) + (self.role.number << 32) + books.started
        return new_chat(plan.settings, books, number, time.monotonic())

    def name_source(self) -> str:
        """Return a name for another source of arrivals: unique in the run, and the same when the run is repeated."""
        self._sources += 1
        return f"{self.plan.run.chat_seed if self.plan else 0} {self.role.number} {self._sources}"

    def hold(self, plan: RunPlan, session: ChatEngine, leave: Event) -> None:
        """Hold one chat, over a transport of its own, until it has ended or the calling greenlet is killed.

        leave: set when the chat has to disconnect.
        """
        transport = plan.open_transport()
        try:
            SessionDriver(
                plan.encoder, plan.dialect.response, transport, self.monitor, leave, self.statistics.request
            ).hold(session)
        finally:
            transport.close()
            self.session_ended(session)

    def session_ended(self, session: ChatEngine) -> None:
        """Add an ended session to the facts. A master counts the sessions of its workers when they report them."""
        self.facts.add(session)
        if self.role.coordinator is not None:
            self.role.coordinator.sessions_ended(1)

    # -- during the run and at its end -----------------------------------------------------------

    def _report_repeatedly(self) -> None:
        every_s = self.role.write_every_s
        due = reported_at = time.monotonic()
        while True:
            # By the clock, however long a report takes: reports that arrived meanwhile are waiting.
            due = max(due + every_s, time.monotonic())
            gevent.sleep(due - time.monotonic())
            if self._reporter is not gevent.getcurrent():
                return
            if due - reported_at < REPORT_EVERY_S - every_s / 2:
                self.role.write()
                continue
            reported_at = due
            self.statistics.flush()
            self.role.report()
            drop_old_statistics(self.environment.stats)
            self._collection.check(self.facts.books.states.total())

    def begin_stopping(self) -> None:
        """The run is stopping (`test_stopping`)."""
        self.role.begin_stopping(lambda: self.ending_signal)

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
