"""The charts' figures: bars that add up, columns that are few whatever the run's length."""

import re
import tracemalloc

import pytest

from chatload.chat.record import SessionRecord
from chatload.features.report import figures
from chatload.features.report.over_time import COLUMNS, latency_charts, over_time, overview_chart
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
        assert f" {beyond or 'None'} of 7 gaps wa" in chart.shows or f" {beyond} of 7 gaps were" in chart.shows


def test_gaps_of_which_none_has_an_end_are_not_drawn():
    made = Books()
    made.gap.add_longer_than(1.5)
    assert list(figures.refresh_charts(made, 2.0)) == []


def test_one_gap_far_beyond_the_timeout_does_not_make_thousands_of_bars():
    bars = figures._even_bins(histogram(*(0.1 * i for i in range(1, 20)), 5000.0), 2.0)
    assert [(bar["count"], bar["tip"]) for bar in bars][-1] == (1, "1: above 6 s")
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


def summary_of(length, bursts=(), incidents=()):
    return {"started_at": 0.0, "ended_at": length, "bursts": {"bursts": list(bursts)}, "incidents": list(incidents)}


@pytest.mark.parametrize("count", [WINDOWS, 3250])
def test_thousands_of_windows_become_few_columns_that_add_up(count):
    made = over_time(windows(count), summary_of(count * 10.0))
    assert 0.7 * COLUMNS < len(made.columns) <= COLUMNS
    assert len({round(column.end - column.start, 6) for column in made.columns[:-1]}) == 1
    assert sum(column.ended for column in made.columns) == count * 33
    assert sum(column.dropped for column in made.columns) == len(range(0, count, 7))
    assert all(column.sent["GetMessages"] / column.length == pytest.approx(40.0) for column in made.columns)
    assert made.length_s == pytest.approx(count * 10.0)


def test_columns_are_alike_though_the_first_windows_are_finer():
    fine = list(windows(300, 1.003))
    coarse = [Window(w.start + 300.9, w.end + 300.9, w.open, w.books) for w in windows(30, 10.02)]
    made = over_time([*fine, *coarse], summary_of(601.5))
    assert {round(column.end - column.start) for column in made.columns} == {10} and len(made.columns) == 60


def test_percentiles_over_time_are_those_of_the_requests_of_each_column():
    made = Books()
    for name, durations in (("GetMessages", [0.01] * 98 + [0.5, 0.5]), ("RequestChat", [0.2])):
        made.sent[name] = len(durations)
        latency = made.latency[name] = CensoredHistogram()
        for seconds in durations:
            latency.add(seconds)
    late = Books()
    late.latency["GetMessages"] = CensoredHistogram()
    late.latency["GetMessages"].add_longer_than(4.0)
    run = over_time([Window(0.0, 1.0, 1, made), Window(1.0, 2.0, 1, late)], summary_of(2.0))
    get_messages, request_chat = latency_charts(run)
    assert (get_messages.heading, request_chat.heading) == ("GetMessages latency", "RequestChat latency")
    lines = {series.name: series for series in get_messages.panels[0].series}
    assert [lines[name].values[0] for name in ("p50", "p95", "p99")] == pytest.approx([0.01, 0.01, 0.5], rel=0.02)
    # Without an answer, it is only known that it took longer.
    assert lines["p50"].values[1] == pytest.approx(4.0, rel=0.02) and lines["p50"].beyond == {1}
    assert "at least this long" in get_messages.shows and "at least" not in request_chat.shows
    assert request_chat.panels[0].series[0].values == [pytest.approx(0.2, rel=0.02), None]


def test_a_long_run_has_a_small_page_made_in_little_memory(tmp_path):
    total = Books()
    with RunWriter.create(tmp_path / "run", RunSettings(flex_disconnect_timeout=45.0), 0.0) as writer:
        made = list(windows())
        for window in made:
            total.merge(window.books)
        writer.add_windows(made)  # in one transaction: each one waits for the disk
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


def test_bursts_and_incidents_are_marked_and_close_ones_of_a_kind_are_one_line():
    bursts = [{"start": 7.0, "end": 9.5, "count": 1200}]
    incidents = [{"at": at, "kind": kind} for at, kind in ((3.0, "behind"), (3.1, "behind"), (20.0, "worker_lost"))]
    run = over_time(windows(30, 1.0), summary_of(30.0, bursts, incidents))
    assert [(part.start, part.end, part.what) for part in run.marked] == [
        (7.0, 9.5, "burst of 1 200 drops"),
        (3.0, 3.0, "2 incidents: behind"),
        (20.0, 20.0, "incident: worker_lost"),
    ]
    chart = overview_chart(run)
    assert chart.shows.endswith("Red: bursts of drops. Dashed lines: incidents of the run.")
    opened, dropped = chart.panels
    assert opened.series[0].values == [40 + i % 5 for i in range(30)]
    assert [i for i, n in enumerate(dropped.series[0].values) if n] == list(range(0, 30, 7))


def test_chats_that_a_restart_lost_are_in_the_overview():
    lost = Books()
    lost.verdicts["failed"] = 40
    chart = overview_chart(over_time([Window(0.0, 1.0, 40, Books()), Window(1.0, 2.0, 0, lost)], summary_of(2.0)))
    _, below = chart.panels
    assert [(series.name, series.values) for series in below.series] == [("failed", [0, 40])]
    assert chart.shows.endswith("; below, sessions lost in each 1 s: failed.")


def coloured_line(rows, name):
    channels = {"x": charts.x("t", "t"), "y": charts.y("n", "n"), "color": charts.colour("what", {name: "red"})}
    return charts.layer([{**row, "what": name} for row in rows], {"type": "line"}, **channels)


def test_a_charts_label_cannot_break_out_of_its_attribute():
    picture = charts.draw(coloured_line([{"t": 0, "n": 1}], "</svg><b>"), '"><script>')
    assert "<script>" not in picture and "<b>" not in picture
    assert picture.count("&#34;&gt;&lt;script&gt;") == 2


def test_numbers_in_a_picture_are_rounded_and_its_words_are_not():
    picture = charts.draw(coloured_line([{"t": i / 7, "n": i} for i in range(9)], "0.123456789"), "0.987654321")
    assert 'aria-label="0.987654321"' in picture and ">0.123456789<" in picture
    assert not re.search(r' d="[^"]*\.\d{3}', picture)
