"""A child process that is ended politely: an interrupt of this process is passed on to it once."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import NamedTuple

#: How often `wanted` is asked (seconds).
ASK_S = 5.0


class ChildEnd(NamedTuple):
    """How a child ended.

    asked_by: the number of the signal that asked this process to end meanwhile, 0 for none. unwanted: whether `wanted`
    ended it.
    """

    exit_code: int
    asked_by: int = 0
    unwanted: bool = False


def run_child(
    command: Sequence[str],
    output: Path | None = None,
    *,
    shown: bool = False,
    wanted: Callable[[], bool] | None = None,
    ask_s: float = ASK_S,
) -> ChildEnd:
    """Run a command to its end; its standard error is ours.

    SIGINT, SIGTERM and SIGHUP (the terminal was closed) are passed on once, as SIGTERM: Python raises SIGINT in the
    active greenlet, which may be writing the run file.

    Args:
        command: program and arguments.
        output: file that gets its standard output, which is dropped by default.
        shown: its standard output is ours.
        wanted: asked every `ask_s` seconds; the child is asked to end once it returns False.
    """
    asked: list[int] = []
    child: subprocess.Popen[bytes] | None = None
    unwanted = False

    def hand_on(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.append(number)
            if child is not None:
                child.terminate()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    # Before the child starts: a signal in between would leave it running without us.
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        with nullcontext() if shown else open(output or os.devnull, "wb") as stdout:
            # Not in the terminal's process group: Ctrl-C would reach it twice, and the second one ends it at once.
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, start_new_session=True)
        if asked:
            child.terminate()
        while True:
            try:
                code = child.wait(None if wanted is None or unwanted else ask_s)
                break
            except subprocess.TimeoutExpired:
                if wanted is not None and not asked and not wanted():
                    unwanted = True
                    child.terminate()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()
    return ChildEnd(code, asked[0] if asked else 0, unwanted)
