"""A child process: its output, its exit code, and what an interrupt of ours does to it."""

import signal
import sys

from chatload.children import ChildEnd, run_child


def python(code):
    return [sys.executable, "-c", code]


def test_the_output_and_the_exit_code(tmp_path):
    output = tmp_path / "output.txt"
    assert run_child(python("print('found'); raise SystemExit(4)"), output) == ChildEnd(4)
    assert output.read_text() == "found\n"
    assert run_child(python("print('dropped')")) == ChildEnd(0)


def test_an_interrupt_ends_the_child_politely_and_our_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # The child interrupts us, waits for the SIGTERM that we pass on, and ends by itself.
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "while True: signal.pause()\n"
    )
    assert run_child(python(code)) == ChildEnd(3, asked_by=signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
