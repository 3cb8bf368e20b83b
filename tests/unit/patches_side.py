"""Each fault of Locust and gevent that chatload works around, and the workaround. Run by test_locust_side.py.

The first part of a test shows the fault without the workaround. If that part fails, Locust has mended the fault, and
the workaround in chatload/swarm/patches/ can be removed.
"""

from __future__ import annotations

from locust import User, argument_parser, runners, task  # isort: skip
import gc
import inspect
import logging
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner
from locust.stats import RequestStats

from chatload.errors import UsageError
from chatload.protocol.reply import Reply
from chatload.protocol.wire import WireResult
from chatload.swarm.patches import (
    default_options,
    host_login,
    master_heartbeat,
    option_units,
    refused_start,
    stopping,
    user_counts,
    web_start,
)
from chatload.swarm.patches.garbage_collection import GarbageCollection
from chatload.swarm.patches.request_statistics import LocustStatistics
from chatload.swarm.patches.spawning import limit_users, wait_without_tasks, yield_if_due
from chatload.swarm.patches.statistics_growth import drop_old_statistics
from chatload.vocabulary import Outcome

LOGIN = "https://u:p@a.example"


def idle_user():
    class Idle(User):
        @task
        def wait_for_ever(self):
            gevent.sleep(60)

    return Idle


# -- option_units --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (("-u", "4,000"), "num_users", 4000),
        (("-r", "600/min"), "spawn_rate", 10),
        (("-t", "1.5h"), "run_time", 5400),
        (("-s", "250ms"), "stop_timeout", 0.25),
    ],
)
def test_options_of_locust_take_plain_numbers_only(given, name, value, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        argument_parser.get_parser().parse_args(given)
    monkeypatch.setattr(argument_parser, "gt_zero", argument_parser.gt_zero)
    option_units.install()
    parser = argument_parser.get_parser()
    option_units.read_units(parser)
    assert getattr(parser.parse_args(given), name) == value
    with pytest.raises(SystemExit):
        parser.parse_args([given[0], "soon"])
    assert f"{given[0]}/--" in capsys.readouterr().err


# -- default_options -----------------------------------------------------------------------------


def test_default_options_are_built_for_each_option(monkeypatch):
    plain = argument_parser.default_args_dict
    assert plain() is not plain()
    assert "argument_parser.default_args_dict()" in inspect.getsource(WorkerRunner), "called elsewhere now"
    expected = plain()
    monkeypatch.setattr(argument_parser, "default_args_dict", plain)
    default_options.install()
    default_options.install()
    assert argument_parser.default_args_dict() == expected and "headless" in expected
    assert argument_parser.default_args_dict() is argument_parser.default_args_dict()


# -- user_counts ---------------------------------------------------------------------------------


class Visited(list):
    visits = 0

    def __iter__(self):
        Visited.visits += len(self)
        return super().__iter__()


@pytest.mark.parametrize("classes", [1, 2])
def test_every_user_is_visited_to_count_them(classes):
    kinds = [type(f"Kind{n}", (), {}) for n in range(classes)]
    users = Visited(SimpleNamespace(args=(kinds[n % classes](),)) for n in range(7))
    runner = SimpleNamespace(user_classes=kinds, user_greenlets=users)
    Visited.visits = 0
    plain = Runner.user_classes_count.fget(runner)
    assert Visited.visits == 7
    assert user_counts.user_classes_count(runner) == plain
    if classes == 1:
        assert Visited.visits == 7, "one class: nobody is visited"


# -- host_login ----------------------------------------------------------------------------------


def test_the_environment_shows_the_password(monkeypatch):
    assert Environment(host=LOGIN).host == LOGIN
    monkeypatch.setattr(Environment, "host", None, raising=False)  # restores the class afterwards
    host_login.install()
    options = SimpleNamespace(host=LOGIN)
    environment = Environment(host=LOGIN, parsed_options=options)
    host_login.hide_login(environment)
    shown, with_login = "https://a.example", host_login.host_with_login
    assert (environment.host, options.host, with_login(environment)) == (shown, shown, LOGIN)
    assert "u:p" not in repr(vars(environment))
    environment.host = "https://v:q@b.example"  # as the web UI does
    assert (environment.host, with_login(environment)) == ("https://b.example", "https://v:q@b.example")
    environment.host = "https://c.example"
    assert with_login(environment) == "https://c.example"
    environment.host = shown
    assert with_login(environment) == LOGIN


# -- html_report ---------------------------------------------------------------------------------

SLOW_GOODBYE = """
import gevent
from locust import User, events, task

class Leaves(User):
    @task
    def hold(self):
        try:
            gevent.sleep(60)
        finally:
            events.request.fire(request_type="X", name="goodbye", response_time=1, response_length=0, exception=None)

@events.spawning_complete.add_listener
def stop(**_):
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_sigterm_leaves_no_html_report(tmp_path):
    # chatload's own is tested in tests/integration/test_stopping.py.
    (tmp_path / "locustfile.py").write_text(SLOW_GOODBYE)
    command = [sys.executable, "-m", "locust", "--headless", "-u", "1", "--html", "report.html", "-s", "1"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert not (tmp_path / "report.html").exists()


# -- request_statistics --------------------------------------------------------------------------


def test_each_request_updates_the_statistics(monkeypatch):
    environment = Environment(user_classes=[idle_user()])
    environment.create_local_runner()
    logged = []
    monkeypatch.setattr(environment.stats, "log_request", lambda *args: logged.append(args))
    for _ in range(10):
        environment.events.request.fire(
            request_type="X", name="x", response_time=1, response_length=0, exception=None, context={}
        )
    assert len(logged) == 10
    reporter = LocustStatistics(environment, [].append)
    for _ in range(10):
        reporter.request("x", WireResult(1.0, 1.1, 0.0, 200, b""), Reply(Outcome.FINE))
    reporter.flush()
    assert len(logged) == 10 and environment.stats.total.num_requests == 10


# -- statistics_growth ---------------------------------------------------------------------------


def test_statistics_grow_with_the_length_of_a_run(monkeypatch):
    stats, began = RequestStats(), 1_800_000_000.0

    def run(drop):
        monkeypatch.setattr(time, "time", lambda: began)
        stats.reset_all()
        for second in range(3000):
            monkeypatch.setattr(time, "time", lambda now=began + second: now)
            stats.log_request("CHAT", "GetMessages", 5, 10)
            stats.log_request("CHAT", "GetMessages", 5, 10)
            stats.log_error("CHAT", "GetMessages", ValueError("no"))
            if drop:
                drop_old_statistics(stats)
        entry = stats.get("GetMessages", "CHAT")
        seconds = [len(each.num_reqs_per_sec) for each in (entry, stats.total)] + [len(entry.num_fail_per_sec)]
        return seconds, (entry.num_requests, entry.current_rps, entry.current_fail_per_sec, entry.total_rps)

    (long, before), (short, after) = run(False), run(True)
    assert min(long) >= 3000, "Locust drops them itself now"
    assert before == after and max(short) <= 62
    stats.history = [{"time": n} for n in range(20_000)]
    for _ in range(20):
        drop_old_statistics(stats)
    assert 300 < len(stats.history) <= 720
    assert (stats.history[0], stats.history[-1]) == ({"time": 0}, {"time": 19_999})


# -- master_heartbeat ----------------------------------------------------------------------------


class QuitError(Exception):
    pass


def heartbeat_check(monkeypatch):
    """Locust's check, once, with a heartbeat that is a moment old by the monotonic clock and 61 s by the wall clock."""

    def quit_worker():
        raise QuitError

    turns = iter([None])
    monkeypatch.setattr(gevent, "sleep", lambda _: next(turns))
    worker = SimpleNamespace(last_heartbeat_timestamp=time.time() - 61, quit=quit_worker)
    WorkerRunner.heartbeat_timeout_checker(worker)


def test_a_step_of_the_wall_clock_ends_workers(monkeypatch):
    with pytest.raises(QuitError):
        heartbeat_check(monkeypatch)
    monkeypatch.setattr(runners, "MASTER_HEARTBEAT_TIMEOUT", 60)
    master_heartbeat.install()
    with pytest.raises(StopIteration):
        heartbeat_check(monkeypatch)


def test_an_earlier_spawn_message_is_discarded():
    source = inspect.getsource(WorkerRunner)
    assert 'job["timestamp"] <= self.last_received_spawn_timestamp' in source
    worker = SimpleNamespace(last_received_spawn_timestamp=1e9)
    master_heartbeat.accept_any_spawn_timestamp(worker)
    assert worker.last_received_spawn_timestamp == 0.0


# -- stopping ------------------------------------------------------------------------------------


def stopping_master(listener):
    environment = Environment(user_classes=[idle_user()])
    runner = environment.create_master_runner("127.0.0.1", 0)
    runner._users_dispatcher, runner.state = object(), runners.STATE_RUNNING
    seen = []

    def test_stopping(**_):
        listener(runner)
        seen.append(runner._users_dispatcher)

    environment.events.test_stopping.add_listener(test_stopping)
    runner.stop()
    runner.greenlet.kill()
    return seen


def test_a_stopping_master_still_redistributes_users():
    assert stopping_master(lambda runner: None) != [None]
    assert stopping_master(stopping.stop_rebalancing) == [None]


@pytest.mark.parametrize("ends", [False, True])
def test_a_listener_cannot_refuse_a_start(ends):
    environment = Environment(user_classes=[idle_user()])
    runner = environment.create_local_runner()

    def test_start(**_):
        if ends:
            refused_start.end_start()
        raise ValueError("refused")

    environment.events.test_start.add_listener(test_start)
    gevent.spawn(runner.start, 2, 2).join()
    users = runner.user_count
    runner.quit()
    assert users == (0 if ends else 2)


def test_a_stop_looks_at_the_stack(monkeypatch):
    looked = []
    monkeypatch.setattr(runners.inspect, "stack", lambda: looked.append(1))
    runner = Environment(user_classes=[idle_user()]).create_local_runner()
    runner.stop()
    assert looked


def test_the_final_statistics_of_a_worker_are_sent_by_a_timer_only():
    assert "_send_stats" not in inspect.getsource(Runner.stop)
    assert "_send_stats" not in inspect.getsource(MasterRunner.quit)
    sent = []
    stopping.send_final_statistics(SimpleNamespace(_send_stats=lambda: sent.append(1)))
    assert sent == [1]


# -- spawning ------------------------------------------------------------------------------------


def turns_while_spawning(work):
    class Busy(User):
        def __init__(self, environment):
            super().__init__(environment)
            until = time.perf_counter() + 0.001
            while time.perf_counter() < until:
                pass
            work()

        @task
        def wait_for_ever(self):
            gevent.sleep(60)

    environment = Environment(user_classes=[Busy])
    runner, turns = environment.create_local_runner(), []

    def other():
        while True:
            turns.append(1)
            gevent.sleep(0)

    greenlet = gevent.spawn(other)
    gevent.sleep(0)
    turns.clear()
    runner.spawn_users({"Busy": 50})
    taken = len(turns)
    greenlet.kill()
    runner.quit()
    return taken


def test_spawning_yields_to_nobody():
    assert turns_while_spawning(lambda: None) <= 1
    assert turns_while_spawning(yield_if_due) >= 5


def test_no_event_comes_before_the_number_of_users_changes():
    environment = Environment(user_classes=[idle_user()])
    runner, heard, notes = environment.create_local_runner(), [], []
    runner.start(1, 100)
    runner.spawning_greenlet.join()
    for name, hook in vars(environment.events).items():
        if name not in ("spawning_complete", "usage_monitor"):
            hook.add_listener(lambda name=name, **_: heard.append(name))
    runner.start(3, 100)
    runner.spawning_greenlet.join()
    assert heard == [] and runner.user_count == 3
    limit_users(runner, lambda: 5, notes.append)
    runner.start(9, 100)
    runner.spawning_greenlet.join()
    assert runner.user_count == 5 and notes == ["9 users requested; the ceiling on sessions is 5"]
    runner.quit()


def test_a_user_without_tasks_logs_again_and_again(caplog):
    class Idle(User):
        wait_time = staticmethod(lambda: 0.0)

    class Waits(Idle):
        def on_start(self):
            wait_without_tasks(self, Event())

    logged = []
    for kind in (Idle, Waits):
        kind.tasks = []
        environment = Environment(user_classes=[kind], catch_exceptions=True)
        caplog.clear()
        with caplog.at_level(logging.ERROR, "locust.user.task"):
            greenlet = gevent.spawn(kind(environment).run)
            gevent.sleep(0.05)
            greenlet.kill()
        logged.append(sum("No tasks defined" in record.getMessage() for record in caplog.records))
    assert logged[0] > 1 and logged[1] == 0


# -- web_start -----------------------------------------------------------------------------------


def web_ui():
    environment = Environment(user_classes=[idle_user()], parsed_options=argument_parser.parse_options(args=[]))
    environment.create_local_runner()
    environment.web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)
    return environment


def test_a_start_from_the_web_ui_cannot_be_refused():
    def refuse(**_):
        raise RuntimeError("refused")

    environment = web_ui()
    environment.events.test_start.add_listener(refuse)
    form = {"user_count": "1", "spawn_rate": "1"}
    answer = environment.web_ui.app.test_client().post("/swarm", data=form).get_json()
    assert answer["success"], "an exception of a listener refuses the start now"
    environment.runner.quit()

    environment = web_ui()

    @contextmanager
    def allowed(form):
        raise UsageError(f"no {form['user_count']}")
        yield

    web_start.check_starts(environment.web_ui, allowed)
    answer = environment.web_ui.app.test_client().post("/swarm", data=form).get_json()
    assert (answer["success"], answer["message"]) == (False, "no 1")
    environment.runner.quit()


def test_the_form_of_an_active_run_changes_its_options():
    # What chatload does about it is tested in tests/integration/test_web_start.py.
    environment = web_ui()
    client = environment.web_ui.app.test_client()
    form = {"user_count": "1", "spawn_rate": "1", "stop_timeout": "7"}
    client.post("/swarm", data=form)
    client.post("/swarm", data={**form, "stop_timeout": "9"})
    assert float(environment.parsed_options.stop_timeout) == 9
    environment.runner.quit()


@pytest.mark.parametrize(
    ("state", "active", "sent"), [("stopped", True, "running"), ("stopped", False, "stopped"), ("ready", True, "ready")]
)
def test_the_page_polls_until_the_last_chat_has_ended(state, active, sent):
    # That it polls no more once it is told "stopped" is seen in tests/browser/test_web_ui.py.
    assert web_start.state_for_page(state, active) == sent


# -- signals -------------------------------------------------------------------------------------

CLOSED_WATCHER = """
import os, signal, gevent
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
watcher = gevent.signal_handler(signal.SIGTERM, lambda: None)
gevent.sleep(0.01)
watcher.cancel()
gevent.sleep(0.01)
os.kill(os.getpid(), signal.SIGTERM)
gevent.sleep(0.1)
"""


def test_closing_a_watcher_of_a_signal_restores_the_default_action():
    # What chatload does about it is tested in tests/unit/test_signals.py.
    done = subprocess.run([sys.executable, "-c", CLOSED_WATCHER], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


# -- garbage_collection --------------------------------------------------------------------------


def test_a_growing_population_is_visited_again_and_again():
    full = []

    def seen(phase, info):
        if phase == "start" and info["generation"] == 2:
            full.append(1)

    def grow():
        full.clear()
        population = [[] for _ in range(300_000)]
        return len(full), len(population)

    gc.callbacks.append(seen)
    collection = GarbageCollection()
    try:
        assert grow()[0] > 0
        collection.begin()
        assert grow()[0] == 0
    finally:
        collection.end()
        gc.callbacks.remove(seen)
    assert gc.isenabled()
