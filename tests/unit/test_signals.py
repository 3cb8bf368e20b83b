"""What a signal does to a Locust process: each case in a process of its own, which sends the signal to itself."""

import subprocess
import sys

import pytest

from tests.integration.processes import ENV, ROOT

HEAD = """
import os, signal, sys, time
import gevent
from locust.env import Environment
from chatload.swarm.patches.signals import Signals

def send(number):
    os.kill(os.getpid(), number)
    for _ in range(1000):  # Python runs the handler at one of the next instructions
        pass
"""
IN_A_WRITE = """
signals = Signals(Environment().create_local_runner(), False, lambda: print("at once", flush=True))

def write():
    send({first})
    print("written", flush=True)

gevent.spawn(write)
try:
    gevent.sleep(5)
except KeyboardInterrupt:
    print("main was told", flush=True)
"""
WAITING = """
Signals(Environment().create_master_runner("127.0.0.1", 0), True, lambda: None)
gevent.spawn(send, {first})
gevent.sleep(5)
"""
ENDING = """
signals = Signals(Environment().create_local_runner(), False, lambda: print("at once", flush=True))
gevent.signal_handler(signal.SIGTERM, lambda: print("Locust's own", flush=True))
signals.run_ends()
send({first})
gevent.sleep(0.1)
print("still here", flush=True)
send({second})
gevent.sleep(5)
"""
WRITTEN = """
signals = Signals(Environment().create_local_runner(), False, lambda: print("at once", flush=True))
signals.run_ends()
signals.ignore_all()
for number in ({first}, {second}, signal.SIGHUP):
    send(number)
gevent.sleep(0.1)
print("done", flush=True)
"""
INT, TERM = "signal.SIGINT", "signal.SIGTERM"


def python(script, **values):
    code = HEAD + script.format(**values)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENV, timeout=60, check=False
    )


@pytest.mark.parametrize("number", [INT, TERM])
def test_the_first_signal_breaks_no_greenlets_work(number):
    run = python(IN_A_WRITE, first=number)
    assert (run.stdout, run.stderr) == ("written\nmain was told\n", "")


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_a_master_that_waits_for_workers_leaves_with_one_line(number, code):
    run = python(WAITING, first=number)
    assert (run.returncode, run.stderr) == (code, "chatload: interrupted before the run began\n")


@pytest.mark.parametrize("first", [INT, TERM])
@pytest.mark.parametrize("second", [INT, TERM])
def test_while_a_run_ends_the_next_signal_ends_it_at_once_and_the_one_after_that_the_process(first, second):
    run = python(ENDING, first=first, second=second)
    assert (run.returncode, run.stdout, run.stderr) == (3, "at once\nstill here\n", "")


def test_once_all_is_written_no_signal_changes_the_exit_code():
    run = python(WRITTEN, first=INT, second=TERM)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("base", ["ChatUser", "ArrivalUser"])
@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_a_signal_before_the_run_is_one_line(tmp_path, base, number, code):
    file = tmp_path / "locustfile.py"
    file.write_text(
        f"import os, signal\nfrom chatload.swarm.user import {base}\nclass Customer({base}):\n    pass\n"
        f"os.kill(os.getpid(), {number})\nprint('went on')\n"
    )
    command = [sys.executable, "-m", "locust", "-f", file, "--headless"]
    run = subprocess.run(command, capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (code, "", "chatload: interrupted before the run began\n")


IMPORTING = """
import os, signal, sys
sys.path.insert(0, {root!r})

class KillAtImport:
    def find_spec(self, name, path, target=None):
        if name == "chatload.swarm.install":
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, KillAtImport())
from chatload.swarm.user import ChatUser

class Customer(ChatUser):
    pass
print("went on")
"""


@pytest.mark.parametrize(("number", "code"), [(INT, 130), (TERM, 143)])
def test_a_signal_while_chatload_is_imported_is_one_line(tmp_path, number, code):
    """The import takes a second."""
    file = tmp_path / "locustfile.py"
    file.write_text(IMPORTING.format(root=str(ROOT), number=number))
    command = [sys.executable, "-m", "locust", "-f", file, "--headless"]
    run = subprocess.run(command, capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (code, "", "chatload: interrupted before the run began\n")
