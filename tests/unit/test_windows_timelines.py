import json
from dataclasses import asdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.record import KEPT, Contact, SessionRecord, Timeline, WorstTimelines, severity
from chatload.run.books import Books, RunBooks
from chatload.run.histogram import RELATIVE_ERROR, Histogram
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import COARSE_S, FINE_FOR_S, FINE_S, MASTER, Usage, WindowCutter
from chatload.run.writer import RunWriter
from chatload.vocabulary import Verdict
from tests.run_files import add_timelines


def line(severity_s, verdict="dropped_late", blame="server", chat_id="c"):
    contacts = [Contact("GetMessages", 1.0, None, 2.0, "timeout"), Contact("GetMessages", 3.0, 3.1, 3.2, "2")]
    return Timeline(chat_id, verdict, blame, "why", 2.0, severity_s, 0.0, 0.5, {"server": 2.7}, contacts)


@given(st.lists(st.floats(1e-5, 1e3), max_size=60), st.lists(st.floats(1e-5, 1e3), max_size=60))
def test_since_gives_what_was_added(first, then):
    # An extreme of a difference is the edge of a bucket, whose edges are this factor apart.
    width = 2 * RELATIVE_ERROR / (1 - RELATIVE_ERROR)
    histogram, added = Histogram(), Histogram()
    for value in first:
        histogram.add(value)
    earlier = Histogram.from_dict(histogram.to_dict())
    for value in then:
        histogram.add(value)
        added.add(value)
    since = histogram.since(earlier)
    assert (since.count, since.zeros, since.buckets) == (added.count, added.zeros, added.buckets)
    for ours, exact in ((since.minimum, added.minimum), (since.maximum, added.maximum)):
        assert ours == pytest.approx(exact, rel=1.001 * width) if exact is not None else ours is None


def test_windows_add_up_to_the_books():
    random, books, cutter = Random(1), Books(), WindowCutter(100.0)
    total = Books()
    for second in range(1, 40):
        for _ in range(random.randrange(5)):
            books.started += 1
            books.sent["GetMessages"] += 1
            books.outcomes.setdefault("GetMessages", type(books.sent)())["0/false"] += 1
            books.gap.add(random.random())
        if random.random() < 0.3:
            books.session_ended(SessionRecord(verdict="dropped_late", blame="plan"))
        now = 100.0 + second
        assert cutter.due(now)
        window = cutter.cut(now, RunBooks(Books.from_dict(books.to_dict())))
        assert (window.start, window.end) == (now - 1, now)
        assert window.open == books.started - books.verdicts.total()
        total.merge(window.books)
    ours, theirs = total.to_dict(), books.to_dict()
    assert ours["verdicts"] and ours["gap"]["observed"]["count"] > 10
    for part in (ours["gap"]["observed"], ours["lateness"], theirs["gap"]["observed"], theirs["lateness"]):
        part.pop("min"), part.pop("max")
    assert ours == theirs


def test_windows_are_fine_at_first_and_coarse_later():
    cutter = WindowCutter(0.0)
    assert not cutter.due(0.5 * FINE_S)
    assert cutter.due(FINE_S)
    cutter.cut(FINE_FOR_S, RunBooks(Books()))
    assert not cutter.due(FINE_FOR_S + FINE_S)
    assert cutter.due(FINE_FOR_S + COARSE_S)


def test_cpu_is_of_the_busiest_process_and_memory_of_all():
    cutter = WindowCutter(0.0)
    assert cutter.cut(1.0, RunBooks(Books()), {"a": Usage(0.5, 10)}).cpu is None
    window = cutter.cut(3.0, RunBooks(Books()), {"a": Usage(0.9, 10), "b": Usage(9.0, 5)})
    assert (window.cpu, window.rss, window.memory) == (pytest.approx(20.0), 15, {"a": 10, "b": 5})
    assert cutter.cut(4.0, RunBooks(Books()), {"a": Usage(1.0, 10), "b": Usage(9.8, 5)}).cpu == pytest.approx(80.0)


def test_a_masters_memory_counts_and_its_cpu_does_not():
    cutter = WindowCutter(0.0)
    cutter.cut(1.0, RunBooks(Books()), {"a": Usage(0.0, 10), MASTER: Usage(0.0, 7)})
    window = cutter.cut(2.0, RunBooks(Books()), {"a": Usage(0.25, 10), MASTER: Usage(0.9, 7)})
    assert (window.cpu, window.rss, window.memory) == (pytest.approx(25.0), 17, {"a": 10, MASTER: 7})


@pytest.mark.parametrize("name", ["local", "worker-1", "vm_2", "Z"])
def test_the_cpu_of_any_process_counts_but_the_masters(name):
    cutter = WindowCutter(0.0)
    cutter.cut(1.0, RunBooks(Books()), {name: Usage(1.0, 10), MASTER: Usage(0.0, 7)})
    assert cutter.cut(3.0, RunBooks(Books()), {name: Usage(2.0, 10), MASTER: Usage(1.9, 7)}).cpu == pytest.approx(50.0)
    assert cutter.cut(4.0, RunBooks(Books()), {"new": Usage(2.0, 10), MASTER: Usage(2.9, 7)}).cpu is None


def test_only_the_worst_of_each_kind_are_admitted():
    worst, random = WorstTimelines(), Random(2)
    severities = [random.random() for _ in range(500)]
    admitted = [s for s in severities if worst.admits(line(s))]
    assert set(sorted(severities)[-KEPT:]) <= set(admitted)
    assert len(admitted) < 100
    assert worst.admits(line(0.0, blame="plan"))
    assert not worst.admits(line(0.0))


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [("dropped_late", 1.0), ("dropped_unproven", 3.0), ("dropped_early", -3.0), ("failed", 0.0), ("completed", None)],
)
def test_severity_is_how_far_the_timeout_was_missed(verdict, expected):
    assert severity(Verdict(verdict), 3.0, 5.0, 2.0) == expected


def test_windows_and_timelines_are_kept_in_the_run(tmp_path):
    books = Books()
    books.started = 3
    cutter = WindowCutter(10.0)
    with RunWriter.create(tmp_path / "run", RunSettings()) as writer:
        writer.add_windows([cutter.cut(11.0, RunBooks(books), {"a": Usage(1.0, 7)})])
        add_timelines(writer, [line(1.0), line(2.0, chat_id="worst")])
    with RunReader.open(tmp_path / "run") as reader:
        (window,) = reader.windows()
        assert (window.start, window.end, window.open, window.cpu, window.rss) == (10.0, 11.0, 3, None, 7)
        assert window.memory == {"a": 7}
        assert window.books.started == 3
        first, second = reader.timelines()
    assert (first.chat_id, second.severity_s) == ("worst", 1.0)
    assert first.contacts[0] == Contact("GetMessages", 1.0, None, 2.0, "timeout")
    assert (first.sure_received, first.timeout_s) == (0.5, 2.0)
    json.dumps(asdict(first))
