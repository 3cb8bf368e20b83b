"""The Locust user of the open workload: a source, at which chats arrive.

A locustfile imports ArrivalUser from here; importing registers the options of the open workload too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.pool import Group
from locust import events, task
from locust.env import Environment

from chatload.run.books import LATE_START_S
from chatload.swarm import options
from chatload.swarm.alarm import Alarm
from chatload.swarm.plan import Plan
from chatload.swarm.user import ChatHolder

log = logging.getLogger("chatload")

__all__ = ["ArrivalUser"]

events.init_command_line_parser.add_listener(options.add_arrival_options)


class ArrivalUser(ChatHolder):
    """A source: each of a run's users begins its share of the arrivals, every chat in a greenlet of its own."""

    abstract = True
    is_source = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._chats = Group()
        self._left_at = float("inf")

    def stop(self, force: bool = False) -> Any:
        """Locust wants this source gone: no chat arrives from now on."""
        self._left_at = min(self._left_at, time.monotonic())
        return super().stop(force)

    @task
    def arrivals(self) -> None:
        """Begin chats at their time until the run ends, and stay until the last one is over."""
        plan = self._run.plan
        if plan is None or plan.workload is None:
            self.leave.wait()
            return
        instants = plan.workload.instants(self._run.name_source())
        try:
            self._begin_chats(plan, instants)
            self._chats.join()
        finally:
            # Killed, too: those begun just now must run for once, for a greenlet that never ran books no end.
            gevent.sleep(0)
            self._chats.kill()

    def _begin_chats(self, plan: Plan, instants: Iterator[float]) -> None:
        due, alarm = next(instants, None), Alarm()
        try:
            while due is not None and self._run.wants_more() and not self._left_before(due, alarm):
                self._chats.spawn(self._arrive, plan, due)
                due = next(instants, None)
            self.leave.wait()
        finally:
            alarm.close()
            # Where the end of the run found the generator behind, what it owes is not forgotten.
            owed_until = min(self._left_at, time.monotonic()) - LATE_START_S
            while due is not None and due <= owed_until and self._run.wants_more():
                self._run.facts.books.arrived(None)
                due = next(instants, None)

    def _left_before(self, due: float, alarm: Alarm) -> bool:
        """Wait for an instant; True where the run ends first."""
        if due <= time.monotonic():
            gevent.sleep(0)  # behind its time: others must run all the same
        return alarm.wait(due, self.leave)

    def _arrive(self, plan: Plan, due: float) -> None:
        """One arrival: a chat, from here to its verdict, unless there is no room for it."""
        late_s, run = time.monotonic() - due, self._run
        if not run.wants_more():
            return
        books = run.facts.books
        if plan.workload is not None and books.states.total() >= plan.workload.max_open:
            books.arrived(None)
            return
        books.arrived(late_s)
        session = run.new_session()
        assert session is not None
        try:
            self.hold(plan, session)
        except Exception as error:
            # As Locust does with one in a task: it is told, and the run goes on.
            self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)
            log.exception("chatload: a chat could not be held")
