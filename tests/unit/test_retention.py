"""Old windows are folded together: what is kept of a long run stays bounded, and says the same."""

import itertools
import sqlite3
from random import Random

import pytest

from chatload.errors import ChatloadError
from chatload.features.report.drift import find_drift, steady_part
from chatload.run.books import Books, RunBooks
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import (
    COARSE_S,
    KEEP_S,
    LEAST_KEEP_S,
    Kept,
    Retention,
    Usage,
    Window,
    WindowCutter,
    fold,
    width,
)
from chatload.run.writer import RunWriter
from tests.run_files import put_books

HOUR = 3600.0


def kept_after(hours, keep_s, seed=1):
    """What is kept of a run of so many hours whose windows are of 10 s and a little."""
    random, retention, at, row = Random(seed), Retention(keep_s), 0.0, 0
    most = 0
    while at < hours * HOUR:
        end = at + (COARSE_S if at > 300 else 1.0) + random.choice((0.0, 0.0, 0.4, -0.1))
        retention.due(end)
        row += 1
        retention.add(Kept(row, at, end))
        at = end
        most = max(most, len(retention._kept))
    return retention._kept, most, at


def test_windows_stay_for_a_day_unless_told_otherwise_and_for_an_hour_at_least():
    assert (KEEP_S, LEAST_KEEP_S) == (24 * HOUR, HOUR)


@pytest.mark.parametrize(
    ("age_s", "width_s"),
    [(0, 0), (1799, 0), (1801, 0), (3599, 0), (3600, 20), (7199, 20), (7200, 40), (14_400, 80), (100 * 3600, 1280)],
)
def test_a_window_may_be_as_long_as_its_age_allows(age_s, width_s):
    assert width(age_s, HOUR) == width_s
    assert width(age_s, 0.0) == 0, "0 is for ever"


def one_window(start, still, cpu, rss, memory, held):
    books = Books()
    books.started, books.states["held"] = 2, held
    return Window(start, start + 10.0, still, books, cpu, rss, memory)


@pytest.mark.parametrize(
    ("cpus", "sizes", "cpu", "rss", "memory"),
    [
        ((10.0, 30.0, 20.0), (5, 7, 6), 30.0, 6, {"a": 6}),
        ((30.0, 10.0, None), (5, 7, None), 30.0, 7, {"a": 7}),
        ((None, 10.0, None), (None, 7, None), 10.0, 7, {"a": 7}),
        ((None, 0.0, None), (None, None, None), 0.0, None, {}),
        ((None, None, None), (5, None, None), None, 5, {"a": 5}),
    ],
)
def test_windows_folded_are_one_of_all_that_was_in_them(cpus, sizes, cpu, rss, memory):
    stills, helds = (9, 4, 6), (9, 0, 6)
    windows = [
        one_window(10.0 * i, stills[i], cpus[i], sizes[i], {} if sizes[i] is None else {"a": sizes[i]}, helds[i])
        for i in range(3)
    ]
    made = fold(windows)
    assert (made.start, made.end, made.open, made.cpu, made.rss, made.memory) == (0.0, 30.0, 4, cpu, rss, memory)
    assert made.books.started == 6 and made.books.states == {"held": 6}, "added up, but for the states: the last's"


def test_a_long_run_keeps_few_windows_more_than_a_short_one():
    rows, most, now = kept_after(48, HOUR)
    # 360 of an hour, 180 for each of its 5.6 doublings, and what has not been looked through yet.
    assert most < 300 + 360 + 6 * 180 + 60
    assert len(rows) > 0.5 * (360 + 5 * 180)
    assert rows[0].start == 0.0 and rows[-1].end == now
    assert all(before.end == after.start for before, after in itertools.pairwise(rows))
    for kept in rows:
        age = now - kept.end
        assert kept.end - kept.start <= max(width(age, HOUR) * 1.25, 10.5), kept
        # A tenth of its age at most: finer than a cell of the drift's.
        assert age < HOUR + 200 or kept.end - kept.start < 0.02 * age


@pytest.mark.parametrize("hours", [1.05, 1.5, 2.1, 4.2])
def test_what_is_kept_leaves_no_time_out(hours):
    rows, _, now = kept_after(hours, HOUR)
    assert rows[0].start == 0.0 and rows[-1].end == now
    assert all(before.end == after.start for before, after in itertools.pairwise(rows))


def test_windows_younger_than_the_bound_stay_as_they_are():
    rows, _, now = kept_after(6, 2 * HOUR)
    assert all(kept.end - kept.start < 10.5 for kept in rows if now - kept.end < 2 * HOUR)
    assert kept_after(6, 0.0)[0] == []  # 0 is for ever: nothing is even remembered


def grown(hours, leak_s, keep_s, path):
    """A run of so many hours in a file, the books of a single process growing."""
    random, books, cutter, windows = Random(3), Books(), WindowCutter(0.0), []
    writer = RunWriter.create(path, RunSettings(keep_windows=keep_s), 0.0)
    books.started = 100
    histogram = books.latency["GetMessages"] = type(books.gap)()
    now = 0.0
    while now < hours * HOUR:
        now += 20.0
        for _ in range(50):
            books.sent["GetMessages"] += 1
            books.outcomes.setdefault("GetMessages", type(books.sent)())["0/false"] += 1
            histogram.add(0.1 * (1 + 0.05 * random.random()) + leak_s * now / HOUR)
            books.gap.add(5.0)
        books.started += 1
        books.verdicts["completed"] += 1
        size = int((100 + 0.1 * now / HOUR) * 2**20)
        windows.append(cutter.cut(now, RunBooks(books.copy()), {"local": Usage(now / 10, size)}))
        if len(windows) == 5:  # each call is synced to the disk
            writer.add_windows(windows)
            windows = []
    put_books(writer, "local", books)
    writer.finish(now)
    writer.close()
    return books


def drift_in(path):
    with RunReader.open(path) as reader:
        found = find_drift(reader.windows(), steady_part(reader.loads()), 45.0, True)
        return {row.metric: row for row in found.metrics}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return folder, {name: grown(6, 0.01, keep_s, folder / name) for name, keep_s in (("all", 0.0), ("folded", HOUR))}


def test_folded_windows_add_up_to_the_books(runs):
    folder, books = runs
    for name, fewest, most in (("all", 1080, 1080), ("folded", 540, 700)):
        with RunReader.open(folder / name) as reader:
            windows = list(reader.windows())
        total = Books()
        for window in windows:
            total.merge(window.books)
        assert fewest <= len(windows) <= most, name
        assert all(before.end == after.start for before, after in itertools.pairwise(windows))
        assert total.sent == books[name].sent and total.outcomes == books[name].outcomes
        assert total.verdicts == books[name].verdicts and total.started == books[name].started
        assert total.latency["GetMessages"].observed.buckets == books[name].latency["GetMessages"].observed.buckets
        assert total.gap.total_us == books[name].gap.total_us
        # Of memory a folded window has what was last held in it.
        assert (
            windows[0].memory
            == {"local": int((100 + 0.1 * windows[0].end / HOUR) * 2**20)}
            == {"local": windows[0].rss}
        )


def test_the_windows_of_user_classes_are_folded_with_those_of_the_run(tmp_path):
    cutter, vip, web, windows = WindowCutter(0.0), Books(), Books(), []
    for number in range(1, 721):
        vip.started += 1
        web.started += number > 5
        total = vip.copy()
        total.merge(web)
        # The first report of Web comes late.
        by_class = {"Vip": vip.copy(), **({"Web": web.copy()} if number > 5 else {})}
        windows.append(cutter.cut(10.0 * number, RunBooks(total, by_class)))
    with RunWriter.create(tmp_path / "run", RunSettings(keep_windows=HOUR), 0.0) as writer:
        writer.add_windows(windows[:-1])
        writer.add_windows(windows[-1:])
    with RunReader.open(tmp_path / "run") as reader:
        whole, *classes = (list(view.windows()) for view in (reader, reader.of_class("Vip"), reader.of_class("Web")))
        loads = list(reader.of_class("Vip").loads())
    assert len(whole) < 600, "nothing was folded"
    for own, books in zip(classes, (vip, web), strict=True):
        assert sum(window.books.started for window in own) == books.started
        assert {(window.start, window.end) for window in own[1:]} <= {(window.start, window.end) for window in whole}
    assert loads == [(window.start, window.end, window.open) for window in classes[0]]


def test_the_drift_is_found_in_folded_windows_as_in_all(runs):
    folder, _ = runs
    whole, folded = drift_in(folder / "all"), drift_in(folder / "folded")
    assert whole.keys() == folded.keys()
    for row in (whole["GetMessages.latency.p95"], folded["GetMessages.latency.p95"]):
        assert row.drifts and row.low < 0.01 < row.high and row.slope == pytest.approx(0.01, rel=0.05)
    assert folded["memory"].slope == pytest.approx(0.1, rel=0.05)


def test_a_fold_is_kept_with_its_window_or_not_at_all(tmp_path):
    writer = RunWriter.create(tmp_path / "run", RunSettings(keep_windows=HOUR), 0.0)
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as other:
        other.execute("CREATE TRIGGER no BEFORE DELETE ON windows BEGIN SELECT RAISE(ABORT, 'no'); END")
    other.close()
    cutter, now = WindowCutter(0.0), 0.0
    with pytest.raises(ChatloadError, match="no"):
        while now < 2 * HOUR:
            now += 10.0
            writer.add_windows([cutter.cut(now, RunBooks(Books()))])
    writer.close()
    with RunReader.open(tmp_path / "run") as reader:
        ends = [window.end for window in reader.windows()]
    # All that were there, none half folded; not the one that came with the fold that failed.
    assert ends == [10.0 * (i + 1) for i in range(len(ends))] and ends[-1] == now - 10.0 > HOUR


@pytest.mark.parametrize(("keep_s", "every_s"), [(HOUR, 100.0), (4 * HOUR, 144.0), (24 * HOUR, 864.0)])
def test_it_is_looked_for_old_windows_now_and_then(keep_s, every_s):
    retention = Retention(keep_s)
    for row in range(4):
        retention.add(Kept(row, 10.0 * row, 10.0 * row + 10.0))
    assert retention.due(10.0 + keep_s - 0.5) == []
    assert retention.due(10.0 + keep_s) == []  # one of them alone is old enough
    looked = 10.0 + keep_s
    assert retention.due(looked + every_s - 0.5) == []
    assert [[kept.row for kept in group] for group in retention.due(looked + every_s)] == [[0, 1], [2, 3]]
