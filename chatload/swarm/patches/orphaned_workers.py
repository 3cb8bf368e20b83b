"""A worker of --processes ends if its master ends before the worker has connected.

Fault: a worker that cannot reach its master tries again for five minutes, whether or not its parent still exists, and
would join the next master on that port. Locust 2.47.0, runners.py, `connect_to_master`. When a master ends early,
main.py, `kill_workers`, does not end its workers either: it takes `os.waitpid` with WNOHANG for the end of a child that
still runs. No upstream issue found.

`WorkerRole` ends the workers that have connected. `kill_remaining_workers` ends those that cannot end by themselves.
"""

import os
from contextlib import suppress
from typing import Any

import gevent
import psutil
from locust.runners import WorkerRunner

from chatload import exit_codes

#: The process that read the locustfile: with --processes the parent of the workers.
MAIN_PROCESS = os.getpid()
_CHECK_EVERY_S = 1.0

_connect_to_master = WorkerRunner.connect_to_master


def has_lost_parent() -> bool:
    """Return whether this process was forked by a process that has ended."""
    return os.getpid() != MAIN_PROCESS and os.getppid() != MAIN_PROCESS


def kill_remaining_workers() -> int:
    """Kill the workers of --processes that this master has forked and that still run; return how many they were.

    A worker that is stopped, or whose event loop is blocked, reacts to no message and to no other signal. It would
    outlive the master, and a program that reads the output of the run would wait for its end.
    """
    own, killed = psutil.Process(), 0
    with suppress(psutil.Error):
        command = own.cmdline()
        for child in own.children():
            with suppress(psutil.Error):
                if child.cmdline() == command:
                    child.kill()
                    killed += 1
    return killed


def install() -> None:
    """Watch the parent while a worker connects."""
    WorkerRunner.connect_to_master = _connect_while_parent_lives


def _connect_while_parent_lives(runner: Any) -> None:
    if runner.retry:  # a further attempt, made within the first
        _connect_to_master(runner)
        return
    watch = gevent.spawn(_end_without_parent, gevent.getcurrent())
    try:
        _connect_to_master(runner)
    finally:
        watch.kill()


def _end_without_parent(connecting: Any) -> None:
    while not has_lost_parent():
        gevent.sleep(_CHECK_EVERY_S)
    gevent.get_hub().loop.run_callback(connecting.throw, SystemExit(exit_codes.WRONG_USAGE))
