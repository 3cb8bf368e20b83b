"""SIGINT, SIGTERM and SIGHUP in a Locust process.

| when | first signal | second | third |
|---|---|---|---|
| before a run can begin | one line, exit code 128 + number | | |
| during a run | chats disconnect, outputs are written | no more disconnects, outputs are written | exit at once |
| after the run | Locust ends | ignored until the outputs are written | exit at once |

SIGHUP of a lost terminal does what SIGTERM does.

Faults: Locust 2.47.0, main.py, has a traceback for a signal during the import of a locustfile, and runs its shutdown
once more for each further SIGTERM. No upstream issue found. gevent 26.9.0: its signal handlers do not run while outputs
are rendered, and libev restores the default action when the last watcher of a signal is closed, so that a signal during
the exit kills the process. https://github.com/gevent/gevent/issues/1815

Therefore the handlers are Python's own. They run in any greenlet, so they only schedule a callback.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event
from locust import runners

from chatload import exit_codes
from chatload.swarm.patches.orphaned_workers import MAIN_PROCESS

_BOTH = (signal.SIGINT, signal.SIGTERM)


def exit_on_signal() -> None:
    """Until a run begins, let a signal end this process with one line. For the locust command only."""
    if "locust.main" in sys.modules:
        for number in _BOTH:
            signal.signal(number, _exit_before_run)


class Signals:
    """The signals of a process that has a runner. Made in Locust's main greenlet.

    received: the name of the first signal that asked for the end; empty if there was none.
    """

    def __init__(self, runner: Any, waits_for_workers: bool, end_at_once: Callable[[], None]) -> None:
        """Install the handlers.

        waits_for_workers: whether the main greenlet waits for workers before it starts a run. end_at_once: ends the
        process without disconnects, with outputs. Returns if no chat is left to wait for.
        """
        # Locust calls listeners in reverse order of registration: these come before those of its runner, which wait
        # until the chats have disconnected.
        events = runner.environment.events
        events.test_start.add_listener(self._watch_sigterm)
        events.quitting.add_listener(self._quitting)
        events.quit.add_listener(self.ignore_all)
        self._main = gevent.getcurrent()
        self._runner, self._waits, self._end_at_once = runner, waits_for_workers, end_at_once
        self._asked_twice = self._main_ends = False
        self._never = Event()
        self.received = ""
        self._sigterm: Any = None
        for number in _BOTH:
            signal.signal(number, self._first)
        # nohup ignores SIGHUP; that stays so.
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, _hung_up)

    def _watch_sigterm(self, **_: Any) -> None:
        """A run has begun: record SIGTERM, which Locust handles now, with a gevent watcher."""
        if self._sigterm is None:
            self._sigterm = gevent.signal_handler(signal.SIGTERM, self._record, signal.SIGTERM)

    def run_ends(self, **_: Any) -> None:
        """The run is ending for any reason: the next signal ends it at once.

        This also replaces Locust's handler of SIGTERM, which would run its shutdown again for each signal.
        """
        for number in _BOTH:
            signal.signal(number, self._next)

    def _quitting(self, **_: Any) -> None:
        # A process that was stopped receives SIGINT and SIGTERM together. Locust's handler of SIGTERM would shut down
        # beside the main greenlet, and raise SystemExit after it: a traceback. gevent throws any exception of such a
        # handler into the main greenlet, so this one waits until the process ends.
        if self._main_ends and gevent.getcurrent() is not self._main:
            self._never.wait()
        self.run_ends()

    def ignore_all(self, **_: Any) -> None:
        """All outputs are written: no signal may change the exit code."""
        for number in (*_BOTH, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _record(self, number: int) -> None:
        self.received = self.received or signal.Signals(number).name

    def _first(self, number: int, _: Any) -> None:
        self._record(number)
        self.run_ends()
        gevent.get_hub().loop.run_callback(self._end, number)

    def _end(self, number: int) -> None:
        if self._waits and self._runner.state == runners.STATE_INIT:
            # Locust would print the traceback of a KeyboardInterrupt.
            gevent.spawn(self._quit_before_run, number)
        else:
            self._main_ends = True
            self._main.throw(KeyboardInterrupt)

    def _quit_before_run(self, number: int) -> None:
        self._runner.quit()  # workers that are connected already would wait for a run
        gevent.get_hub().loop.run_callback(self._main.throw, _exit_code(number))

    def _next(self, _: int, __: Any) -> None:
        if self._asked_twice:
            os._exit(exit_codes.INVALID)
        self._asked_twice = True
        gevent.spawn(self._end_at_once)


def _exit_before_run(number: int, _: Any) -> None:
    raise _exit_code(number)


def _exit_code(number: int) -> SystemExit:
    """Return what ends a process in which no run has begun."""
    if os.getpid() == MAIN_PROCESS:  # the workers of --processes print nothing
        print("chatload: interrupted before the run began", file=sys.stderr, flush=True)
    return SystemExit(128 + number)


def _hung_up(_: int, __: Any) -> None:
    # The kernel and the shell each send SIGHUP: the second one must not end the disconnects.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)
