"""SIGINT and SIGTERM: the first ends a run politely, the second at once. A lost terminal's SIGHUP: politely."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import gevent

_watchers: list[Any] = []
_received: list[str] = []


def received() -> str:
    """The name of the first signal that asked this process to end; empty where none has."""
    return _received[0] if _received else ""


def interrupt_main_only() -> None:
    """Have SIGINT raise KeyboardInterrupt in the main greenlet, where Locust waits for it. Python raises it in
    whatever greenlet happens to run: in one that is writing facts down they would be lost. Called in main's greenlet.
    SIGHUP, which would end the process without goodbyes, does what SIGTERM does.
    """
    if not _watchers:
        main = gevent.getcurrent()
        _watchers.append(gevent.signal_handler(signal.SIGINT, _interrupt, main))
        # Beside Locust's own handler, which is added later and therefore runs later.
        _watchers.append(gevent.signal_handler(signal.SIGTERM, _received.append, signal.SIGTERM.name))
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # under nohup it is ignored, and stays so
            gevent.signal_handler(signal.SIGHUP, _hung_up)


def end_at_once_on_the_next(end: Callable[[], None]) -> None:
    """The run is ending: whoever asks again does not want to wait for goodbyes."""
    while _watchers:
        _watchers.pop().cancel()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, end)


def _interrupt(main: Any) -> None:
    _received.append(signal.SIGINT.name)
    gevent.get_hub().loop.run_callback(main.throw, KeyboardInterrupt)


def _hung_up() -> None:
    _received.append(signal.SIGHUP.name)
    # The kernel and the shell each send it: the second must not end the goodbyes.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.kill(os.getpid(), signal.SIGTERM)
