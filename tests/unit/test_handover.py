"""What workers hand over, as Locust sends it, is at the master what they had."""

import json
import time
from types import SimpleNamespace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.effects import Exchange
from chatload.chat.record import COLUMNS, Contact, SessionRecord, Timeline
from chatload.errors import ChatloadError
from chatload.protocol.reply import Reply
from chatload.run.books import Books, RunBooks
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.swarm.load import LoadController
from chatload.swarm.worker_report import REPORT_EVERY_S, SILENT_S, ProcessFacts, WorkerRegistry, WorkerReport
from chatload.target import TargetRules
from chatload.thresholds.gate import make_gate
from chatload.vocabulary import Outcome

SECONDS = st.floats(0.0, 1e3)
OPERATIONS = st.sampled_from(("GetMessages", "SendMessage"))
DEEDS = st.one_of(
    st.tuples(st.just("request"), OPERATIONS, st.sampled_from(list(Outcome)), SECONDS),
    st.tuples(st.just("session"), st.sampled_from(("completed", "dropped_late")), st.sampled_from(("", "network"))),
    st.tuples(st.just("state_changed"), st.sampled_from(("", "held")), st.sampled_from(("", "leaving"))),
    st.tuples(st.just("arrived"), st.none() | SECONDS),
    st.tuples(st.just("stall"), SECONDS),
    st.tuples(st.just("refreshed"), SECONDS, SECONDS),
)  # fmt: skip
#: Who did something, and what; or None: hands over. Or -1: the master asks for the total.
STEPS = st.lists(st.tuples(st.integers(0, 2), st.none() | DEEDS) | st.just((-1, None)), max_size=80)


def done(books, kind, *what):
    if kind == "request":
        operation, outcome, took = what
        books.sent[operation] += 1
        books.request_ended(operation, Exchange(1.0, 1.0, 1.0 + took, Reply(outcome)))
    elif kind == "session":
        books.started += 1
        books.session_ended(SessionRecord(verdict=what[0], blame=what[1]))
    elif kind == "refreshed":
        books.lateness.add(what[0])
        books.gap.add(what[1])
    else:
        getattr(books, kind)(*what)


def sent(facts, final=False):
    """Through Locust's own packing (locust/rpc/protocol.py)."""
    packed = msgpack.dumps(("chatload-report", facts.report(final), facts.worker))
    return WorkerReport.read(msgpack.loads(packed, raw=False, strict_map_key=False)[1])


@given(STEPS)
def test_any_handovers_of_any_workers_make_their_own_books_together(steps):
    workers, registry, handed = [ProcessFacts(name) for name in "abc"], WorkerRegistry(), {}
    for number, deed in [*steps, (0, None), (1, None), (2, None), (-1, None)]:
        if number < 0:
            expected = Books()
            for books in handed.values():
                expected.merge(books)
            assert registry.total().to_dict() == expected.to_dict()
        elif deed is None:
            registry.receive(workers[number].worker, sent(workers[number]), 0.0)
            # In the order in which the master adds up: sums of floats depend on it.
            handed[number] = workers[number].books.copy()
        else:
            done(workers[number].books, *deed)
    assert len(registry) == 3


def test_a_total_once_given_stays_as_it_was():
    registry, facts = WorkerRegistry(), ProcessFacts("a")
    facts.books.started = 1
    registry.receive("a", sent(facts), 0.0)
    first = registry.total()
    facts.books.started = 5
    registry.receive("a", sent(facts), 1.0)
    assert (first.started, registry.total().started) == (1, 5)


FULL = SessionRecord("c1", "dropped_late", "network", "why", 1.0, 9.5, 5, 6, 1, 1.5, None, "timeout", True, 0.1, True)
LINE = Timeline(
    "c1",
    "dropped_late",
    "network",
    "why",
    2.0,
    7.0,
    0.0,
    0.5,
    {"server": 2.7},
    [Contact("GetMessages", 1, None, 2, "2")],
)


def ended(record, timeline=None):
    return SimpleNamespace(record=record, timeline=lambda _: timeline)


def test_rows_and_timelines_are_written_as_they_were_and_once(tmp_path):
    facts = ProcessFacts("w1")
    facts.add(ended(FULL, LINE))
    facts.books.started = 1
    facts.books.session_ended(FULL)
    first, second = sent(facts), sent(facts, final=True)
    assert not second.sessions and not second.timelines and second.final and second.usage.rss > 0
    with RunWriter.create(tmp_path, RunSettings()) as writer:
        writer.keep(first.sessions, {"w1": first.books}, [Timeline.from_dict(data) for data in first.timelines])
    with RunReader.open(tmp_path) as reader:
        assert list(reader.sessions()) == [FULL] and FULL.worker == "w1"
        assert reader.timelines() == [LINE]
        assert reader.books().to_dict() == facts.books.to_dict()


@pytest.mark.parametrize(
    "data",
    [
        {"sessions": [], "timelines": [], "books": {}, "final": False, "usage": [0.0, 0]},
        [[["c1"] * (len(COLUMNS) - 1)], [], "{}", [0.0, 0], False],
        [[], [], "{}", [0.0], False],
        None,
    ],
)
def test_facts_of_another_version_are_told_from_ours(data):
    with pytest.raises(ChatloadError, match="the same chatload"):
        WorkerReport.read(data)


def test_a_worker_that_falls_silent_is_named_once_with_its_open_sessions():
    registry, facts = WorkerRegistry(), ProcessFacts("a")
    facts.books.started = 7
    facts.books.verdicts["completed"] = 3
    registry.receive("a", sent(facts), 100.0)
    assert not registry.find_silent(100.0 + SILENT_S)
    assert registry.find_silent(100.1 + SILENT_S) == ["a"] and not registry.find_silent(200.0)
    assert "with 4 sessions open" in registry.describe_silence("a")
    assert registry.lost() == ["a"] and not registry.awaited(["a"])
    assert registry.receive("a", sent(facts, final=True), 300.0), "it had been silent"
    assert not registry.lost()


def test_a_worker_that_never_reports_is_silent_and_lost():
    registry = WorkerRegistry(["a", "b", "unfit"], 100.0)
    registry.unfit.add("unfit")
    registry.receive("b", sent(ProcessFacts("b"), final=True), 101.0)
    assert not registry.find_silent(100.0 + SILENT_S)
    assert registry.find_silent(100.1 + SILENT_S) == ["a"] and not registry.awaited(["a", "b"])
    assert registry.lost() == ["a"] and "never reported" in registry.describe_silence("a")


def test_a_worker_that_was_given_no_users_is_not_lost():
    registry = WorkerRegistry(["a"], 100.0)
    registry.takes_no_part("a")
    assert not registry.lost() and not registry.awaited(["a"]) and not registry.find_silent(200.0)
    registry.receive("a", sent(ProcessFacts("a")), 201.0)
    registry.takes_no_part("a")
    assert registry.lost() == ["a"] and registry.awaited(["a"])


def test_the_exposure_of_open_chats_is_in_each_report_and_in_the_live_counters():
    registry, now = WorkerRegistry(), time.monotonic()
    for name in "ab":
        facts = ProcessFacts(name)
        facts.books.session_accepted(now - 3600.0)
        registry.receive(name, sent(facts), 0.0)
        assert facts.total().exposure_s >= 3600.0
    assert registry.total().exposure_s >= 7200.0


def test_progress_is_a_session_that_ended_or_a_worker_that_did():
    registry, facts = WorkerRegistry(), ProcessFacts("a")
    registry.receive("a", sent(facts), 1.0)
    assert registry.progressed_at == 0.0, "only a sign of life"
    facts.add(ended(FULL))
    registry.receive("a", sent(facts), 2.0)
    assert registry.progressed_at == 2.0
    registry.receive("a", sent(facts, final=True), 3.0)
    assert registry.progressed_at == 3.0


def plan(rules=TargetRules(), abort_on=(), over=None):
    workload = None if over is None else SimpleNamespace(over=lambda: over)
    settings = SimpleNamespace(timeout_s=45.0)
    gate, run = make_gate((), abort_on), SimpleNamespace(chats=0)
    return SimpleNamespace(rules=rules, gate=gate, workload=workload, settings=settings, run=run)


def conditions(**given):
    load = LoadController()
    load.begin(plan(**given))
    return load


def asked_never():
    raise AssertionError("nobody needs the books of all")


def test_a_run_that_nothing_ends_never_adds_its_books_up():
    assert conditions().stop_reason(asked_never, 1.0) is None
    assert conditions(over=False).stop_reason(asked_never, 1.0) is None


def test_what_ends_a_run():
    books = Books()
    books.started, books.verdicts["failed"] = 11, 1
    assert conditions(rules=TargetRules(max_sessions=9)).stop_reason(lambda: RunBooks(books), 1.0)[0] == "ceiling"
    assert conditions(rules=TargetRules(max_sessions=10)).stop_reason(lambda: RunBooks(books), 1.0) is None
    assert conditions(abort_on=("failed.count < 1",)).stop_reason(lambda: RunBooks(books), 1.0)[0] == "aborted"
    assert conditions(abort_on=("failed.count < 2",)).stop_reason(lambda: RunBooks(books), 1.0) is None
    parts = RunBooks(books, {"Vip": Books(), "Web": books})
    assert conditions(abort_on=("Web: failed.count < 1",)).stop_reason(lambda: parts, 1.0)[0] == "aborted"
    assert conditions(abort_on=("Vip: failed.count < 1",)).stop_reason(lambda: parts, 1.0) is None
    ending = conditions(over=True)
    assert ending.stop_reason(lambda: RunBooks(books), 1.0) is None, "ten chats are open"
    books.verdicts["completed"] = 10
    looks = [ending.stop_reason(lambda: RunBooks(books), second * REPORT_EVERY_S) for second in range(1, 5)]
    assert looks == [None, None, None, ("", "")]


def test_books_are_json_that_the_run_file_has_always_had():
    facts = ProcessFacts("a")
    facts.books.gap.add(0.25)
    assert json.loads(facts.report(False).books[""]) == json.loads(json.dumps(facts.books.to_dict()))
