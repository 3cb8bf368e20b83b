"""A child process: its output, its exit code, and what an interrupt of ours does to it."""

import signal
import sys

import pytest

from chatload.children import ChildEnd, run_child


def python(code):
    return [sys.executable, "-c", code]


def test_the_output_and_the_exit_code(tmp_path):
    output = tmp_path / "output.txt"
    assert run_child(python("print('found'); raise SystemExit(4)"), output) == ChildEnd(4)
    assert output.read_text() == "found\n"
    assert run_child(python("print('dropped')")) == ChildEnd(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_child_politely_and_our_handlers_come_back(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # The child interrupts us, waits for the SIGTERM that we pass on, and ends by itself.
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        f"os.kill(os.getppid(), {number.value})\n"
        "while True: signal.pause()\n"
    )
    assert run_child(python(code)) == ChildEnd(3, asked_by=number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_child_that_is_not_wanted_any_more_is_ended_politely(tmp_path):
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "while True: signal.pause()\n"
    )
    assert run_child(python(code), wanted=lambda: not ready.exists(), ask_s=0.02) == ChildEnd(3, unwanted=True)


def test_the_output_can_be_ours(capfd):
    assert run_child(python("print('seen')"), shown=True) == ChildEnd(0) and capfd.readouterr().out == "seen\n"
