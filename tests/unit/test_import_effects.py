"""Importing a module of chatload changes nothing in Locust, gevent or the process's signal handlers."""

import subprocess
import sys

import pytest

from tests.integration.processes import ENV, ROOT

pytestmark = pytest.mark.slow

# In a process of its own: importing Locust patches everything. The locustfiles that chatload ships are programs for
# `locust -f`, not modules: defining their user class is what installs chatload.
CODE = """
import importlib, pkgutil, signal, sys
import locust, locust.main
from locust import argument_parser, env, events, runners, stats, web
from locust.user import task, users

def state():
    handlers = {name: list(hook._handlers) for name, hook in vars(events).items()}
    signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
    modules = (argument_parser, env, events, runners, stats, web, task, users, locust, locust.main)
    attributes = {(module.__name__ if hasattr(module, "__name__") else "events", name): value
                  for module in modules for name, value in vars(module).items() if name != "_handlers"}
    classes = {(kind.__name__, name): value
               for kind in (env.Environment, runners.Runner, runners.LocalRunner, runners.MasterRunner,
                            runners.WorkerRunner, stats.RequestStats, stats.StatsEntry, web.WebUI, users.User)
               for name, value in vars(kind).items()}
    return handlers, signals, attributes, classes

def changed(before, after):
    return [key for old, new in zip(before, after) for key in old.keys() | new.keys()
            if old.get(key) is not new.get(key) and old.get(key) != new.get(key)]

before = state()
import chatload
names = [module.name for module in pkgutil.walk_packages(chatload.__path__, "chatload.")
         if not module.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print("imported", len(names) > 150, "changed", changed(before, state()))

from chatload.swarm.user import ChatUser
assert changed(before, state()) == []
class Customer(ChatUser):
    pass
print("installed", "init" in changed(before, state()), signal.getsignal(signal.SIGINT) is not before[1][signal.SIGINT])
first = state()
class Other(ChatUser):
    pass
print("again", changed(first, state()))
"""


def test_no_import_has_effects_and_a_user_class_installs_once():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=ENV, cwd=ROOT, timeout=120)
    assert done.stdout.splitlines() == ["imported True changed []", "installed True True", "again []"], done.stderr
