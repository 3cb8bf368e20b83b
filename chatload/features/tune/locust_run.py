"""The sweep as a process: headless Locust. A signal that stops chatload stops it too."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from chatload import exit_codes
from chatload.errors import UsageError

LOCUSTFILE = Path(__file__).parent / "interval_sweep.py"


def command(options: Mapping[str, Any], more: Sequence[str]) -> list[str]:
    """Return the command line of a sweep. options: Locust options by name. more: further arguments, unchanged."""
    given = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
        *("--loglevel", "WARNING", *given, *more),
    ]


def hold(options: Mapping[str, Any], more: Sequence[str]) -> None:
    """Run a sweep to its end; its progress goes to our stderr. Raises UsageError if Locust refuses it.

    An interrupt (SIGINT, SIGTERM) is passed on once: the chats disconnect, and the run has the sessions so far.
    """
    # Not in the terminal's process group: otherwise Ctrl-C would reach it twice, and the second one ends it at once.
    child = subprocess.Popen(
        command(options, more), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )

    asked: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        # SIGTERM, not SIGINT: Python raises SIGINT in the active greenlet, which may be writing the run file.
        if not asked:
            asked.append(number)
            child.terminate()

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.kill()
            child.wait()
    if code == exit_codes.WRONG_USAGE:
        raise UsageError("locust refused the sweep", "see its message above")
