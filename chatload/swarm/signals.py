"""SIGINT and SIGTERM in a Locust process.

| when | first signal | second | third |
|---|---|---|---|
| before a run can begin | one line, exit code 128 + number | | |
| during a run | chats say goodbye, outputs are written | no more goodbyes, outputs are written | exit at once |
| after the run | Locust ends | ignored until the outputs are written | exit at once |

SIGHUP of a lost terminal does what SIGTERM does.

The handlers are Python's own, not gevent's. They run in whatever greenlet happens to be running, so they do no more
than schedule a callback. gevent's would not run while outputs are rendered, and libev restores the default action when
its last watcher of a signal is closed, so that a signal during the exit would kill the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent
from locust import runners

from chatload import exit_codes

_BOTH = (signal.SIGINT, signal.SIGTERM)
#: The process that read the locustfile. Workers of --processes are forked from it and leave the words to it.
_READER = os.getpid()


def end_start_up() -> None:
    """From now on a signal ends this process with one line. For the time in which nothing has begun."""
    for number in _BOTH:
        signal.signal(number, _end_start_up)


class Signals:
    """The signals of a process that has a runner. Made in Locust's main greenlet, where it waits for the run.

    end_at_once: ends the process without goodbyes, outputs written; returns where there are none left to wait for.
    received: the name of the first signal that asked for the end; empty where none has.
    """

    def __init__(self, runner: Any, waits_for_workers: bool, end_at_once: Callable[[], None]) -> None:
        """waits_for_workers: whether the main greenlet waits for workers before it starts a run."""
        self._main = gevent.getcurrent()
        self._runner, self._waits, self._end_at_once = runner, waits_for_workers, end_at_once
        self._asked = False
        self.received = ""
        self._sigterm: Any = None
        for number in _BOTH:
            signal.signal(number, self._first)
        # Under nohup it is ignored, and stays so.
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, _hung_up)

    def note_sigterm(self) -> None:
        """A run has begun: notice SIGTERM, which is Locust's to handle by now, with a gevent watcher of its own."""
        if self._sigterm is None:
            self._sigterm = gevent.signal_handler(signal.SIGTERM, self._received, signal.SIGTERM)

    def run_ends(self) -> None:
        """The run is ending, whatever the reason: the next signal ends it at once.

        This also replaces Locust's own handler of SIGTERM. It would run its shutdown again for each further signal.
        """
        for number in _BOTH:
            signal.signal(number, self._next)

    def all_is_written(self) -> None:
        """Nothing is left but to exit: no signal may change the exit code."""
        for number in (*_BOTH, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _received(self, number: int) -> None:
        self.received = self.received or signal.Signals(number).name

    def _first(self, number: int, _: Any) -> None:
        self._received(number)
        self.run_ends()
        gevent.get_hub().loop.run_callback(self._end, number)

    def _end(self, number: int) -> None:
        if self._waits and self._runner.state == runners.STATE_INIT:
            # Locust would let a KeyboardInterrupt through as a traceback.
            gevent.spawn(self._leave, number)
        else:
            self._main.throw(KeyboardInterrupt)

    def _leave(self, number: int) -> None:
        self._runner.quit()  # the workers that are here already would wait for a run
        gevent.get_hub().loop.run_callback(self._main.throw, _left(number))

    def _next(self, _: int, __: Any) -> None:
        if self._asked:
            os._exit(exit_codes.INVALID)
        self._asked = True
        gevent.spawn(self._end_at_once)


def _end_start_up(number: int, _: Any) -> None:
    raise _left(number)


def _left(number: int) -> SystemExit:
    """What ends a process in which no run had begun."""
    if os.getpid() == _READER:
        print("chatload: interrupted before the run began", file=sys.stderr, flush=True)
    return SystemExit(128 + number)


def _hung_up(_: int, __: Any) -> None:
    # The kernel and the shell each send it: the second must not end the goodbyes.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)
