"""Run by test_locust_side.py in a process of its own: importing Locust patches everything."""

from __future__ import annotations

from locust.event import Events  # isort: skip
import time
from contextlib import nullcontext
from types import SimpleNamespace

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from locust.stats import RequestStats

from chatload.features.probe.evidence import make_settings
from chatload.features.probe.load import ProbeRunner
from chatload.features.probe.measurement import measurement
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.protocol.reply import Reply
from chatload.protocol.wire import WireResult
from chatload.swarm import driver
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.patches.request_statistics import LocustStatistics
from chatload.swarm.run import MasterRole, WorkerRole
from chatload.swarm.worker_report import REPORT, ProcessFacts, WorkerReport
from chatload.vocabulary import FACTS_MISSING, Outcome


def _environment(listeners=()):
    environment = SimpleNamespace(stats=RequestStats(), events=Events())

    def on_request(request_type, name, response_time, response_length, exception=None, **_):
        environment.stats.log_request(request_type, name, response_time, response_length)
        if exception:
            environment.stats.log_error(request_type, name, exception)

    on_request.__module__ = "locust.runners"
    environment.events.request.add_listener(on_request)
    for listener in listeners:
        environment.events.request.add_listener(listener)
    return environment


def _state(entry):
    return (
        entry.num_requests, entry.num_failures, pytest.approx(entry.total_response_time), entry.min_response_time,
        entry.max_response_time, dict(entry.response_times), entry.total_content_length,
        sum(entry.num_reqs_per_sec.values()),
    )  # fmt: skip


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GetMessages", "SendMessage"]), st.floats(0, 60), st.integers(0, 2000),
        st.sampled_from([Outcome.FINE, Outcome.FINE, Outcome.ENDED, Outcome.UNSUCCESSFUL]),
    ),
    max_size=40,
)  # fmt: skip


@given(REQUESTS)
def test_many_at_a_time_make_the_same_statistics(requests):
    heard = []
    alone, watched = _environment(), _environment([lambda **named: heard.append(named["name"])])
    reporters = [LocustStatistics(alone, [].append), LocustStatistics(watched, [].append)]
    for name, took, size, outcome in requests:
        for reporter in reporters:
            reporter.request(name, WireResult(1.0, 1.0 + took, 0.0, 200, b"x" * size), Reply(outcome, detail="x"))
    for reporter in reporters:
        reporter.flush()
        reporter.flush()
    assert heard == [name for name, *_ in requests]
    for entry in ("total", *{("GetMessages", "CHAT"), ("SendMessage", "CHAT")}):
        one, other = (
            environment.stats.total if entry == "total" else environment.stats.entries[entry]
            for environment in (alone, watched)
        )
        assert _state(one) == _state(other)
    assert set(alone.stats.errors) == set(watched.stats.errors)


def test_a_listener_that_comes_late_hears_what_comes_after():
    heard, environment = [], _environment()
    reporter, result, reply = (
        LocustStatistics(environment, [].append),
        WireResult(1.0, 1.1, 0.0, 200, b"x"),
        Reply(Outcome.FINE),
    )
    reporter.request("GetMessages", result, reply)
    environment.events.request.add_listener(lambda **named: heard.append(named["name"]))
    reporter.request("GetMessages", result, reply)
    reporter.flush()
    assert heard == ["GetMessages"]
    assert environment.stats.total.num_requests == 2


def test_requests_of_other_users_are_counted_apart():
    others, environment = [], _environment()
    reporter, result = LocustStatistics(environment, others.append), WireResult(1.0, 1.1, 0.0, 200, b"x")
    for outcome in (Outcome.FINE, Outcome.UNSUCCESSFUL):
        reporter.request("GetMessages", result, Reply(outcome, detail="x"))
    reporter.fetched("token", 0.1, 1, "HTTP 401")
    assert environment.stats.total.num_requests == 2, "the one that did not fail waits for its batch"
    for exception in (None, OSError("refused"), None):
        environment.events.request.fire(
            request_type="GET", name="/", response_time=1, response_length=1, exception=exception, context={}
        )
    assert others == [False, True, False]


def test_a_report_that_cannot_be_read_is_an_incident_of_the_run_once():
    heard, noted = {}, []
    runner = SimpleNamespace(register_message=heard.__setitem__)
    role = MasterRole(SimpleNamespace(runner=runner))
    role.coordinator.note = lambda kind, what: noted.append((kind, what))
    for _ in range(2):
        heard[REPORT](environment=None, msg=SimpleNamespace(node_id="w1", data=[1, 2]))
    ((kind, what),) = noted
    assert kind in FACTS_MISSING and what.startswith("worker w1: ") and "the same chatload" in what


def test_a_worker_reports_before_its_first_chat():
    sent = []
    runner = SimpleNamespace(
        client_id="w1", register_message=lambda *_, **__: None,
        send_message=lambda kind, report: sent.append((kind, report.run, report.final)),
    )  # fmt: skip
    environment = SimpleNamespace(runner=runner, events=Events(), parsed_options=SimpleNamespace(run_named="second"))
    WorkerRole(environment, nullcontext()).begin(SimpleNamespace(classes=()))
    assert sent == [(REPORT, "second", False)]


def test_a_report_of_an_earlier_run_is_no_part_of_this_one():
    heard, taken = {}, []
    role = MasterRole(SimpleNamespace(runner=SimpleNamespace(register_message=heard.__setitem__)))
    role.coordinator.take = lambda worker, report: taken.append(report)
    for facts in (ProcessFacts("w1", run="an earlier one"), ProcessFacts("w2")):
        facts.books.started = 5
        heard[REPORT](environment=None, msg=SimpleNamespace(node_id=facts.worker, data=list(facts.report(final=True))))
    assert [report.run for report in taken] == [""] and role.coordinator.figures.total().started == 0


def test_a_suspended_machine_is_noticed_once(monkeypatch):
    suspended, seen, heard = iter([7.0, 2.0, 7.0, 4.0, 7.0, 12.0]), [], Event()
    monkeypatch.setattr(driver, "suspended_s", lambda: next(suspended, 12.0))
    monitor = driver.StallMonitor(lambda _: None, lambda: (seen.append(1), heard.set()))
    monitor.start()
    assert heard.wait(10)
    gevent.sleep(3 * driver.BEAT_S)
    monitor.stop()
    assert seen == [1]


def test_a_jump_of_the_wall_clock_is_noticed_whenever_the_process_is_stopped():
    clock = driver.WallClock()
    # Monotonic, wall, monotonic: the process may be stopped between any two readings.
    readings = [(1.0, 101.0, 1.0), (2.0, 102.0, 2.5), (9.0, 112.0, 12.0), (13.0, 113.0, 13.0), (14.0, 126.0, 14.5)]
    jumps = [clock.jumped_s(*reading) for reading in (*readings, (15.0, 96.0, 15.0))]
    assert [jump > driver.SUSPENDED_S for jump in jumps] == [False, False, False, False, True, False]
    assert jumps[4] == 11.5


def test_a_jump_of_the_wall_clock_is_reported_once_and_a_suspension_is_no_jump(monkeypatch):
    really, ahead, suspended, seen, heard = time.time, 0.0, 0.0, [], Event()
    monkeypatch.setattr(time, "time", lambda: really() + ahead)
    monkeypatch.setattr(driver, "suspended_s", lambda: suspended)
    monitor = driver.StallMonitor(lambda _: None, heard.set, lambda seconds: (seen.append(seconds), heard.set()))
    monitor.start()
    ahead = 100.0
    assert heard.wait(10) and len(seen) == 1 and 99 < seen[0] <= 100
    heard.clear()
    ahead, suspended = 200.0, 100.0
    assert heard.wait(10)
    monitor.stop()
    assert len(seen) == 1


def test_a_probe_whose_machine_was_paused_says_that_its_bounds_are_too_low(monkeypatch):
    really, ahead = time.time, 0.0

    class Refusing:
        def call(self, request, timeout_s):
            nonlocal ahead
            ahead = 12.0
            return WireResult(None, time.monotonic(), failure="connection", detail="connection refused")

        def close(self):
            pass

    monkeypatch.setattr(time, "time", lambda: really() + ahead)
    dialect, settings = load_dialect("gms-v2"), make_settings(longest_s=1.0, time_allowed_s=1.0, chats=20)
    found = measurement(ProbeRunner(settings, Encoder(dialect, "default"), dialect.response, Refusing).run())
    assert [warning for warning in found.warnings if "suspended or paused for 12" in warning and "too low" in warning]


def test_a_jump_of_the_wall_clock_is_an_incident_of_the_run():
    coordinator, noted, facts = RunCoordinator(SimpleNamespace()), [], ProcessFacts("w1")
    coordinator.note = lambda kind, what: noted.append((kind, what))
    facts.jumped_s = 12.0
    for _ in range(2):
        coordinator.take("w1", WorkerReport.read(list(facts.report(final=False))))
    what = "worker w1: the wall clock jumped ahead by 12 s: it was set, or the machine was paused"
    assert noted == [("clock_jumped", what)]


def test_a_suspended_machine_is_an_incident_of_the_run():
    coordinator, noted, facts = RunCoordinator(SimpleNamespace()), [], ProcessFacts("w1")
    coordinator.note = lambda kind, what: noted.append((kind, what))
    facts.suspended = True
    for _ in range(2):
        coordinator.take("w1", WorkerReport.read(list(facts.report(final=False))))
    ((kind, what),) = noted
    assert kind == "suspended" and what.startswith("worker w1: the machine was suspended")
