"""The charts' figures: bars that add up, columns that are few whatever the run's length."""

import re
import tracemalloc

import pytest

from chatload.chat.record import SessionRecord
from chatload.features.report import figures
from chatload.features.report.figures import COLUMNS, HEAT_COLUMNS, series
from chatload.features.report.page import _latencies, page_document
from chatload.features.report.summary import summarize
from chatload.render import charts
from chatload.render.html import html
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books

WINDOWS, SESSIONS = 3000, 100_000


def histogram(*values):
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def books(gaps=(), lateness=()):
    made = Books()
    made.gap, made.lateness = CensoredHistogram(histogram(*gaps)), histogram(*lateness)
    return made


def rows(chart):
    return [row.cells for row in chart.figures.rows]


@pytest.mark.parametrize("timeout", [2.0, 15.0, None])
def test_bars_of_gaps_count_every_gap_once_and_the_timeout_parts_two(timeout):
    gaps = [0.01, 0.66, 0.67, 1.9, 1.95, 2.5, 7.0]
    (chart,) = figures.refresh_charts(books(gaps), timeout)
    bars = figures._even_bins(histogram(*gaps), timeout)
    assert sum(bar["count"] for bar in bars) == len(gaps) == sum(int(row[2]) for row in rows(chart))
    assert len({round(bar["high"] - bar["low"], 9) for bar in bars}) == 1
    if timeout:
        assert not [bar for bar in bars if bar["low"] < timeout - 1e-9 and bar["high"] > timeout + 1e-9]
        beyond = sum(gap > timeout for gap in gaps)
        assert sum(bar["count"] for bar in bars if bar["low"] >= timeout - 1e-9) == beyond
        assert f"{beyond} gap" in chart.shows


def test_gaps_of_which_none_has_an_end_are_not_drawn():
    made = Books()
    made.gap.add_longer_than(1.5)
    assert list(figures.refresh_charts(made, 2.0)) == []


def test_one_gap_far_beyond_the_timeout_does_not_make_thousands_of_bars():
    bars = figures._even_bins(histogram(*(0.1 * i for i in range(1, 20)), 5000.0), 2.0)
    assert [(bar["count"], bar["tip"]) for bar in bars][-1] == (1, "1: above 6.00 s")
    assert bars[-1]["high"] < 6.1 and sum(bar["count"] for bar in bars) == 20


def test_the_longest_is_exact_where_percentiles_are_within_a_percent():
    made = Books()
    made.latency["GetMessages"] = CensoredHistogram(histogram(0.0003, 0.8019))
    (row,) = _latencies(made).rows
    assert (*row.cells[1:3], row.cells[-1]) == ("2", "0", "802 ms")


def test_lateness_is_the_generators_and_in_words():
    (chart,) = figures.refresh_charts(books(lateness=[0.0005] * 99 + [0.2]), None)
    assert chart.heading == "The generator's own lateness" and "the latest 200 ms late" in chart.shows
    assert sum(int(row[2]) for row in rows(chart)) == 100


def windows(count=WINDOWS, length=10.0):
    for i in range(count):
        made = Books()
        made.started, made.sent["GetMessages"] = 33, 400
        made.outcomes["GetMessages"] = type(made.sent)({"0/false": 400})
        latency = made.latency["GetMessages"] = CensoredHistogram()
        for k in range(60):
            latency.add(0.0005 * 1.15 ** ((k + i) % 60))
        made.verdicts.update({"completed": 32, "dropped_late": 1} if i % 7 == 0 else {"completed": 33})
        yield Window(length * i, length * (i + 1), 40 + i % 5, made, 12.0, 1 << 27)


@pytest.mark.parametrize("count", [WINDOWS, 3250])
def test_thousands_of_windows_become_few_columns_that_add_up(count):
    made = series(windows(count), 0.0, count * 10.0)
    assert 0.7 * COLUMNS < len(made.columns) <= COLUMNS
    assert len({round(row["t2"] - row["t"], 6) for row in made.columns[:-1]}) == 1
    assert sum(row["ended"] for row in made.columns) == count * 33
    assert sum(row["dropped"] for row in made.columns) == len(range(0, count, 7))
    assert all(row["requests"] == pytest.approx(40.0) for row in made.columns)
    assert len({cell["t"] for cell in made.heat["GetMessages"]}) <= HEAT_COLUMNS
    assert (made.unit, made.length) == ("h", pytest.approx(count / 360))


def test_columns_are_alike_though_the_first_windows_are_finer():
    fine = list(windows(300, 1.003))
    coarse = [Window(w.start + 300.9, w.end + 300.9, w.open, w.books) for w in windows(30, 10.02)]
    made = series([*fine, *coarse], 0.0, 601.5)
    lengths = {round(60 * (row["t2"] - row["t"])) for row in made.columns}
    assert lengths == {10} and len(made.columns) == 60


def test_the_last_column_is_as_wide_as_it_lasted():
    made = series(windows(30, 1.0), 0.0, 30.0)
    for figure in ("requests", "refreshes", "cpu", "memory"):
        last = {}
        for row in made.rows({figure: figure}):
            last.setdefault(row["what"], []).append((row["t"], row["n"]))
        for points in last.values():
            # A step reaches to the next point: the last column needs one at its end.
            assert [t for t, _ in points[-2:]] == [29.0, 30.0] and points[-1][1] == points[-2][1]
            assert len(points) == 31


def test_a_long_run_has_a_small_page_made_in_little_memory(tmp_path):
    total = Books()
    with RunWriter.create(tmp_path / "run", RunSettings(flex_disconnect_timeout=45.0), 0.0) as writer:
        for window in windows():
            total.merge(window.books)
            writer.add_windows([window])
        bad = total.verdicts["dropped_late"]
        for start in range(0, WINDOWS * 33, 1000):
            verdict = "dropped_late" if start < bad else "completed"
            some = range(start, start + 1000)
            add_sessions(writer, [SessionRecord(str(i), verdict, ended_at=float(i)) for i in some])
        put_books(writer, "w", total)
        writer.finish(WINDOWS * 10.0)
    with RunReader.open(tmp_path / "run") as reader:
        summary = summarize(reader)
        tracemalloc.start()
        try:
            page = html(page_document(reader, summary))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(page.encode()) < 2_000_000
    assert peak < 60_000_000


def test_a_burst_is_shaded_and_a_column_tells_its_figures():
    made = series(windows(30, 1.0), 0.0, 30.0)
    sessions = figures.time_charts(made, [(7.0, 9.5)])
    chart = next(chart for chart in sessions if chart.heading == "Drops and other bad endings")
    assert chart.shows.endswith("Shaded: bursts of drops.")
    wide, narrow = re.findall(r"<svg .*?</svg>", charts.draw(chart.spec, chart.shows), re.S)
    tips = re.findall(r'aria-label="([^"]*requests/s[^"]*)"', wide)
    assert len(tips) == 30 and tips[0].startswith("0.0 to 1.0 s, 40 open, 400 requests/s, 1 dropped")
    assert "requests/s" not in narrow


def test_a_charts_label_cannot_break_out_of_its_attribute():
    spec = charts.lines([{"t": 0, "what": "</svg><b>", "n": 1}], charts.x("t", "t"), "n", {"</svg><b>": "red"})
    picture = charts.draw(spec, '"><script>')
    assert "<script>" not in picture and "<b>" not in picture
    assert picture.count("&#34;&gt;&lt;script&gt;") == 2


def test_numbers_in_a_picture_are_rounded_and_its_words_are_not():
    spec = charts.lines([{"t": i / 7, "what": "0.123456789", "n": i} for i in range(9)], charts.x("t", "t"), "n",
                        {"0.123456789": "red"})  # fmt: skip
    picture = charts.draw(spec, "0.987654321")
    assert 'aria-label="0.987654321"' in picture and ">0.123456789<" in picture
    assert not re.search(r' d="[^"]*\.\d{3}', picture)
