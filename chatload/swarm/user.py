"""The Locust users that hold chats. A locustfile derives a class from one of them.

Importing this module has no effect on Locust. Defining a class that is not abstract installs chatload in this process,
so that a locustfile needs no call of its own.
"""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.pool import Group
from locust import User, constant, task
from locust.env import Environment
from locust.exception import StopTest, StopUser

from chatload.chat.customer import ChatCustomer
from chatload.chat.script import CustomerScript
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S
from chatload.protocol.reply import Event as ChatEvent
from chatload.protocol.secret import Secret, without_login
from chatload.run.books import LATE_START_S, Books
from chatload.swarm import log
from chatload.swarm.classes import TASK_TAG, ChatNotBegun
from chatload.swarm.patches.signals import exit_on_signal
from chatload.swarm.patches.spawning import wait_without_tasks, yield_if_due

if TYPE_CHECKING:
    from chatload.swarm.plan import RunPlan
    from chatload.swarm.run import Run

#: The last part of a wait uses the kernel's timer and cannot be interrupted (seconds).
_FINE_S = 0.002
_CLOCK_MONOTONIC, _TFD_TIMER_ABSTIME = 1, 1
_READ = 1
#: The users that Locust starts in one instant begin their first chats within this time (seconds).
PHASE_S = 1.0

#: With these Locust ends a user.
_ENDS = (gevent.GreenletExit, StopUser, StopTest)

__all__ = ["ArrivalUser", "ChatUser", "SoakUser", "SweepUser"]


def _own_task(given: Any) -> Any:
    """Return a copy of a task of chatload, with tags of its own; any other task as it is."""
    if not getattr(given, "is_chatload_task", False):
        return given
    made = FunctionType(given.__code__, given.__globals__, given.__name__, given.__defaults__, given.__closure__)
    vars(made).update(vars(given))
    vars(made)["locust_tag_set"] = {TASK_TAG, *getattr(given, "locust_tag_set", ())}
    return made


def _task(of_chats: Callable[..., None]) -> Any:
    """Declare the one task of a user that holds chats."""
    vars(of_chats)["is_chatload_task"] = True
    return task(of_chats)


def _while_stopping(error: BaseException) -> bool:
    """Return whether an exception was raised in `on_stop`: Locust calls it while it handles one that ends a user."""
    context = error.__context__
    return context is not None and (isinstance(context, _ENDS) or _while_stopping(context))


class ChatHolder(User):
    """A user that holds chats until the run ends.

    workload: which options and listeners are installed beside those of every chatload locustfile: "", "arrivals",
    "sweep" or "soak" (see `chatload.swarm.install`).

    A class may set its own values for the options below, in place of those of the run; each is checked before the run
    begins, and so is the name of each attribute. It may define the hooks `before_chat`, `headers`, `next_message` and
    `on_event`. docs/python.md describes both.
    """

    abstract = True
    wait_time = constant(0)
    workload = ""
    holds_chats = True
    is_source = False
    host_login: Secret | None = None

    persona: str | None = None
    script: CustomerScript | str | None = None
    service: str | None = None
    dialect: str | None = None
    refresh_policy: str | None = None
    refresh_interval: float | str | None = None
    refresh_fraction: float | str | None = None
    poll_jitter: float | str | None = None
    allow_late_refresh: bool | None = None
    chat_length: float | str | None = None
    request_timeout: float | str | None = None
    long_poll: float | str | None = None

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        # Each class has a task of its own, so that a tag of one is not a tag of all.
        cls.tasks = [_own_task(each) for each in cls.tasks]
        if isinstance(cls.host, str) and cls.host != without_login(cls.host):
            # Locust shows the host of a class in its web UI.
            cls.host_login = Secret(cls.host)
            cls.host = without_login(cls.host)
        if not cls.abstract:
            # The import of the rest takes a second, in which a signal has to end the process with one line.
            exit_on_signal()
            from chatload.swarm.install import install

            install(cls.workload)

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.leave = Event()
        self.chat_run: Run = environment.chatload_run
        yield_if_due()

    def before_chat(self, customer: ChatCustomer) -> None:
        """Hook: prepare a customer before its chat begins, for example fetch a token with `customer.fetch`."""

    def headers(self, customer: ChatCustomer) -> Mapping[str, str]:
        """Hook: return headers for the next request of a chat, beside those of the dialect."""
        return {}

    def next_message(self, customer: ChatCustomer) -> str | None:
        """Hook: return the text that the customer sends now, None if it has nothing more to say.

        When a message is sent, the script decides; how many there are, this hook.
        """
        return None

    def on_event(self, customer: ChatCustomer, event: ChatEvent) -> None:
        """Hook: an event of the chat was received, such as a message of the agent."""

    def on_start(self) -> None:
        """Called by Locust before the first task."""
        wait_without_tasks(self, self.leave)

    def run(self) -> None:
        """Called by Locust in the greenlet of this user. Reports an error in `on_stop`, which Locust does not."""
        try:
            super().run()
        except Exception as error:
            if _while_stopping(error):
                tb = error.__traceback__ and error.__traceback__.tb_next
                self.environment.events.user_error.fire(user_instance=self, exception=error, tb=tb)
            raise

    def wait_for_the_end(self) -> None:
        """Wait until this user has to leave: no more of its chats may begin."""
        facts = self.chat_run.facts
        facts.waiting += 1
        try:
            self.leave.wait()
        finally:
            facts.waiting -= 1

    def stop(self, force: bool = False) -> Any:
        """Called by Locust to end this user. force: kill it; else its chats disconnect first."""
        if not force:
            if self.leave.is_set():
                return False
            self.leave.set()
        return super().stop(force)


class ChatUser(ChatHolder):
    """Closed workload: holds one complete chat after another."""

    abstract = True
    _begun = False

    @_task
    def chat(self) -> None:
        """Hold one chat, from RequestChat to its verdict."""
        plan = self.chat_run.plan
        if not self._begun:
            self._begun = True
            if self.leave.wait(random.uniform(0.0, PHASE_S)):
                return
        if plan is None:
            self.leave.wait()
            return
        # Locust moves the users of a worker that has left to another worker, which may be about to leave too.
        leaving = self.leave.is_set() or self.chat_run.ending_signal
        try:
            session = None if leaving else self.chat_run.new_session(self)
        except ChatNotBegun:
            self.leave.wait(PAUSE_AFTER_REFUSAL_S)
            return
        if session is None:
            self.wait_for_the_end()
            return
        self.chat_run.hold(plan, session, self.leave)
        if not session.record.chat_id:
            self.leave.wait(PAUSE_AFTER_REFUSAL_S)


class SweepUser(ChatUser):
    """Closed workload with the interval sweep's option `--sweep`."""

    abstract = True
    workload = "sweep"


class SoakUser(ChatUser):
    """Closed workload that logs from time to time what drifts."""

    abstract = True
    workload = "soak"


class PreciseTimer:
    """Wakes one greenlet at an instant, to within 0.05 ms.

    gevent's timers have the resolution of epoll_wait, 1 ms: at 100 arrivals per second this is 5 % of the mean gap.
    Linux's timerfd_create(2) is used; on other systems the timer is as exact as gevent's.
    """

    def __init__(self) -> None:
        self._system = ctypes.CDLL(None)
        has_one = hasattr(self._system, "timerfd_create")
        self._fd = self._system.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC) if has_one else -1
        self._watcher: Any = gevent.get_hub().loop.io(self._fd, _READ) if self._fd >= 0 else None

    def wait(self, until: float, leave: Event) -> bool:
        """Sleep until an instant of time.monotonic(); return True if `leave` was set before it."""
        delay = until - time.monotonic()
        coarse = delay if self._watcher is None else delay - _FINE_S
        if coarse > 0 and leave.wait(coarse):
            return True
        if self._watcher is not None and until > time.monotonic():
            seconds = int(until)
            # struct itimerspec: interval and instant, each in seconds and nanoseconds.
            at = (ctypes.c_long * 4)(0, 0, seconds, int((until - seconds) * 1e9))
            # Setting it again discards an unread expiration.
            self._system.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, at, None)
            gevent.get_hub().wait(self._watcher)
        return bool(leave.is_set())

    def close(self) -> None:
        """Close the timer."""
        if self._watcher is not None:
            self._watcher.close()
            os.close(self._fd)
            self._watcher = None


class ArrivalUser(ChatHolder):
    """Open workload: begins its share of the arrivals of a run, each chat in a greenlet of its own."""

    abstract = True
    workload = "arrivals"
    is_source = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._chats = Group()
        self._left_at = float("inf")
        self._used_up = False

    def stop(self, force: bool = False) -> Any:
        """Called by Locust to end this user: no chat arrives from now on."""
        self._left_at = min(self._left_at, time.monotonic())
        return super().stop(force)

    @_task
    def arrivals(self) -> None:
        """Begin chats at their time until the run ends, then wait until the last one has ended."""
        plan = self.chat_run.plan
        if plan is None or plan.workload is None:
            self.leave.wait()
            return
        instants = plan.workload.instants(self.chat_run.name_source())
        try:
            self._begin_chats(plan, instants)
            self._chats.join()
            if self._used_up:
                self.wait_for_the_end()
        finally:
            # Also if this greenlet is killed: a chat whose greenlet never ran would have no verdict.
            gevent.sleep(0)
            self._chats.kill()

    def _begin_chats(self, plan: RunPlan, instants: Iterator[float]) -> None:
        due, timer = next(instants, None), PreciseTimer()
        try:
            while due is not None and self.chat_run.wants_more() and not self._used_up:
                if due <= time.monotonic():
                    gevent.sleep(0)  # behind schedule: other greenlets have to run all the same
                if timer.wait(due, self.leave):
                    break
                self._chats.spawn(self._arrive, plan, due)
                due = next(instants, None)
            if not self._used_up:
                self.leave.wait()
        finally:
            timer.close()
            # Arrivals that were due before the end but did not begin, because the generator was late.
            late_before = min(self._left_at, time.monotonic()) - LATE_START_S
            while due is not None and due <= late_before and self.chat_run.wants_more() and not self._used_up:
                self._books(plan).arrived(None)
                due = next(instants, None)

    def _books(self, plan: RunPlan) -> Books:
        return self.chat_run.facts.books_of(plan.of(type(self).__name__).name)

    def _arrive(self, plan: RunPlan, due: float) -> None:
        """Hold the chat of one arrival, unless too many are open."""
        late_s, run = time.monotonic() - due, self.chat_run
        if not run.wants_more() or self._used_up:
            return
        books = self._books(plan)
        if plan.workload is not None and run.facts.open >= plan.workload.max_open:
            books.arrived(None)
            return
        try:
            session = run.new_session(self)
            if session is None:
                self._used_up = True
                return
            books.arrived(late_s)
            run.hold(plan, session, self.leave)
        except ChatNotBegun:
            books.arrived(late_s)
        except Exception as error:
            # As Locust does with an exception in a task: report it and go on.
            self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)
            log.exception("chatload: a chat could not be held")
