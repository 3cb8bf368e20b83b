"""A child process that is ended politely: an interrupt of this process is passed on to it once."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple


class ChildEnd(NamedTuple):
    """How a child ended. asked_by: the number of the signal that asked this process to end meanwhile, 0 for none."""

    exit_code: int
    asked_by: int = 0


def run_child(command: Sequence[str], output: Path | None = None) -> ChildEnd:
    """Run a command to its end; its standard error is ours.

    SIGINT and SIGTERM are passed on once, as SIGTERM: Python raises SIGINT in the active greenlet, which may be writing
    the run file. output: file that gets its standard output, which is dropped by default.
    """
    asked: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.append(number)
            if child is not None:
                child.terminate()

    # Before the child starts: a signal in between would leave it running without us.
    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with open(output or os.devnull, "wb") as stdout:
            # Not in the terminal's process group: Ctrl-C would reach it twice, and the second one ends it at once.
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True)
        if asked:
            child.terminate()
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()
    return ChildEnd(code, asked[0] if asked else 0)
