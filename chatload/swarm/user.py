"""The Locust user that holds chats, and chatload's place in Locust's events.

A locustfile imports ChatUser from here; importing registers the options and listeners.
"""

from __future__ import annotations

import inspect
import os
import random
import sys
from typing import Any

from gevent import GreenletExit
from gevent.event import Event
from locust import User, constant, events, task
from locust.env import Environment

from chatload import exit_codes
from chatload.chat.engine import ChatEngine
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S
from chatload.errors import ChatloadError
from chatload.swarm import options, outcome, signals
from chatload.swarm.driver import Driver
from chatload.swarm.garbage import settle
from chatload.swarm.live import attach
from chatload.swarm.locust_html import LocustHtml
from chatload.swarm.login import hide_login, host_with_login
from chatload.swarm.plan import Plan
from chatload.swarm.run import Run, run_of
from chatload.swarm.user_count import count_quickly

#: The users of one spawn start within this time (seconds), not in the same instant.
PHASE_S = 1.0

__all__ = ["ChatHolder", "ChatUser"]

events.init_command_line_parser.add_listener(options.add_options)


class ChatHolder(User):
    """A user that holds chats, until it is told to leave."""

    abstract = True
    wait_time = constant(0)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.leave = Event()
        self._run = run_of(environment)
        self._run.breather.breathe()

    def on_start(self) -> None:
        """Wait for the end of the run where --tags left no task: Locust would log an error for each of its endless
        attempts to find one."""
        if not self.tasks:
            self.leave.wait()
            raise GreenletExit

    def stop(self, force: bool = False) -> Any:
        """Locust wants this user gone: its chats say goodbye, or at once with `force`."""
        if not force:
            if self.leave.is_set():
                return False
            self.leave.set()
        return super().stop(force)

    def hold(self, plan: Plan, session: ChatEngine) -> None:
        """Hold one chat, over a connection of its own, until it is over or this greenlet is killed."""
        run, names = self._run, plan.dialect.response
        transport = plan.open_transport()
        try:
            Driver(plan.encoder, names, transport, run.monitor, self.leave, run.tally.request).hold(session)
        finally:
            transport.close()
            run.session_ended(session)


class ChatUser(ChatHolder):
    """Holds one complete chat after another: the closed workload."""

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._begun = False

    @task
    def chat(self) -> None:
        """One chat, from RequestChat to its verdict."""
        run = self._run
        plan = run.plan
        if not self._begun:
            self._begun = True
            if self.leave.wait(random.uniform(0.0, PHASE_S)):
                return
        # Locust moves the users of a worker that has left to another one, which may be about to leave too.
        leaving = self.leave.is_set() or run.asked_to_end
        session = None if plan is None or leaving else run.new_session()
        if plan is None or session is None:
            self.leave.wait()
            return
        self.hold(plan, session)
        if not session.record.chat_id:
            self.leave.wait(PAUSE_AFTER_REFUSAL_S)


def _fail(error: ChatloadError) -> None:
    print(f"chatload: {error}", file=sys.stderr, flush=True)
    raise SystemExit(error.exit_code)


count_quickly()

#: The quit event does not say whose it is.
_environments: list[Environment] = []


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    _environments.append(environment)
    hide_login(environment)
    # Locust's runners look with this who stops them, and all its sources are read at the first time: a third of a
    # second in which the chats would stand still at their end.
    inspect.stack()
    settle()
    html = LocustHtml(environment)
    run = run_of(environment)
    run.last_outputs.append(html.write)
    parsed: Any = environment.parsed_options
    _take_signals(run, waits_for_workers=run.is_master and bool(parsed and parsed.headless))
    if run.is_worker or parsed is None:
        return
    try:
        if parsed.headless or parsed.autostart:
            run.check(parsed, host_with_login(environment))
        attach(run)
    except ChatloadError as error:
        _fail(error)


def _take_signals(run: Run, waits_for_workers: bool) -> None:
    """The listener is added here, after those of Locust's runner, to be the first at the end: theirs wait for the
    goodbyes."""
    taken = run.signals = signals.Signals(run.runner, waits_for_workers, lambda: _end_at_once(run))
    run.environment.events.test_start.add_listener(lambda **_: taken.note_sigterm())
    run.environment.events.quitting.add_listener(lambda **_: taken.run_ends())
    run.environment.events.quit.add_listener(lambda **_: taken.all_is_written())


def _end_at_once(run: Run) -> None:
    if run.is_worker:
        os._exit(exit_codes.INVALID)  # the master has what it handed over until the last second
    if run.end_at_once():
        os._exit(outcome.report(run, exit_codes.INVALID))


@events.test_start.add_listener
def _test_start(environment: Environment, **_: Any) -> None:
    run = run_of(environment)
    try:
        run.begin()
    except ChatloadError as error:
        run.refused(error)


@events.test_stopping.add_listener
def _test_stopping(environment: Environment, **_: Any) -> None:
    run_of(environment).drain()


@events.test_stop.add_listener
def _test_stop(environment: Environment, **_: Any) -> None:
    run_of(environment).end()


@events.cpu_warning.add_listener
def _cpu_warning(environment: Environment, **_: Any) -> None:
    run_of(environment).facts.books.cpu_saturated += 1


@events.quitting.add_listener
def _quitting(environment: Environment, **_: Any) -> None:
    if environment.process_exit_code is None:
        environment.process_exit_code = outcome.locusts_code()


@events.quit.add_listener
def _quit(exit_code: int, **_: Any) -> None:
    """Last of all: only now has every goodbye been counted."""
    code = exit_code
    for environment in _environments:
        code = outcome.report(run_of(environment), code)
    if code != exit_code:
        raise SystemExit(code)
