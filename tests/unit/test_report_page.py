"""report.html as text: what is in it, in which order, and that nothing of a run's can inject into it."""

import re
import shutil
import sqlite3
from html.parser import HTMLParser

import pytest

from chatload.chat.record import Contact, SessionRecord, Timeline
from chatload.features.report.page import page_document, repeat_command, write_report
from chatload.features.report.summary import summarize
from chatload.features.report.worst_sessions import DRAWN, choose
from chatload.render import words
from chatload.render.html import html
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from chatload.thresholds.gate import make_gate
from tests.run_files import add_sessions, add_timelines, put_books
from tests.virtual.million import make

SECTIONS = ["thresholds", "verdicts", "requests", "time", "drops", "refresh", "generator", "settings"]
HOSTILE = "<script>alert(1)</script>\"'&</svg>{{ 7*7 }}"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("virtual") / "run"
    make(folder, 4000)
    return folder


def page_of(run_dir, *thresholds):
    with RunReader.open(run_dir) as reader:
        summary = summarize(reader, make_gate(thresholds))
        return html(page_document(reader, summary)), summary


@pytest.fixture(scope="module")
def plain(run_dir):
    """The page and the summary of a run without thresholds."""
    return page_of(run_dir)


class Texts(HTMLParser):
    """Tags, and the text outside of style and script."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._hidden = [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._hidden and data.strip():
            self.texts.append(" ".join(data.split()))


def test_sections_come_in_their_order_and_the_answer_first(run_dir):
    page, summary = page_of(run_dir, "dropped_late.rate < 0.1%", "lateness.p99 < 1s")
    parsed = Texts(page)
    assert [a["id"] for tag, a in parsed.tags if tag == "h2"] == SECTIONS
    texts = parsed.texts[parsed.texts.index("Settings") :]  # without the links to the sections
    order = [
        "1 of 2 thresholds failed: dropped_late.rate < 0.1%",
        "Sessions",
        "Generator lateness p99",
        "open sessions",
        "Thresholds",
    ]
    assert sorted(order, key=texts.index) == order
    assert summary["thresholds"][0]["why"] in parsed.texts
    assert "failed" in parsed.texts


def test_figures_are_those_of_the_summary(plain):
    page, summary = plain
    texts = Texts(page).texts
    for verdict, count in summary["sessions"]["by_verdict"].items():
        at = texts.index(verdict, texts.index("meaning"))
        assert texts[at + 1] == words.number(count), verdict
    for blame, count in summary["sessions"]["dropped_late_by_blame"].items():
        if count:
            assert texts[texts.index(blame, texts.index("blame")) + 1] == words.number(count)
    outcomes = summary["requests"]["by_operation"]
    row = texts.index("1 / false")
    counts = [counted["by_outcome"]["1/false"] for counted in outcomes.values()]
    assert texts[row + 1 : row + 4 + len(counts)] == [
        *("no", "unsuccessful; retry"), *map(words.number, (sum(counts), *counts)),
    ]  # fmt: skip


def test_latencies_are_those_of_the_summary(plain):
    page, summary = plain
    texts = Texts(page).texts
    start = texts.index("p99.9")
    by_operation = summary["requests"]["by_operation"].items()
    rows = {
        f"{name} {what}": row[key]
        for name, row in by_operation
        for what, key in (("latency", "latency_s"), ("response time", "response_time_s"))
    }
    for name, tail in {**rows, "refresh lateness (ours)": summary["refresh"]["lateness_s"]}.items():
        unanswered, p50, _, _, p99, p999, most = texts[texts.index(name, start) + 2 :][:7]
        assert [p50, p99, p999, most] == [words.of_tail(tail, key) for key in ("p50", "p99", "p99_9", "max")], name
        assert unanswered == words.number(tail.get("unanswered", 0))


def test_a_run_of_which_nothing_was_asked_is_not_said_to_have_passed(run_dir, plain):
    texts = Texts(plain[0]).texts
    assert "not judged" in texts and "passed" not in " ".join(texts)
    texts = Texts(page_of(run_dir, "dropped_late.rate < 100%")[0]).texts
    assert "passed" in texts and "not judged" not in texts


def test_it_is_one_file_of_bounded_size_without_addresses(plain):
    page, _ = plain
    assert len(page.encode()) < 2_000_000
    parsed = Texts(page)
    assert not [a for tag, a in parsed.tags if tag in ("link", "img", "iframe", "object")]
    assert all("src" not in a for _, a in parsed.tags)
    assert not re.search(r"@import|url\(", page)


def test_nothing_in_a_run_can_inject(tmp_path):
    contacts = [Contact(HOSTILE, 0.0, 0.0, 0.1, "0/false"), Contact(HOSTILE, 1.0, 1.0, 4.0, HOSTILE)]
    timeline = Timeline(HOSTILE, "dropped_late", HOSTILE, HOSTILE, 2.0, 1.0, 0.0, 0.1, {"server": 2.0}, contacts)
    settings = RunSettings(
        name=HOSTILE, host=HOSTILE, service=HOSTILE, flex_disconnect_timeout=2.0, script=HOSTILE, script_text=HOSTILE
    )
    with RunWriter.create(tmp_path / "run", settings) as writer:
        add_timelines(writer, [timeline])
        books = Books()
        books.sent[HOSTILE], books.latency[HOSTILE] = 1, CensoredHistogram()
        books.latency[HOSTILE].add(0.25)
        writer.add_windows([Window(0.0, 1.0, 1, books)])
        writer.incident(HOSTILE, HOSTILE)
        writer.incident("aborted", HOSTILE)
    page, _ = page_of(tmp_path / "run")
    parsed = Texts(page)
    charts = [attributes for tag, attributes in parsed.tags if tag == "figure" and attributes.get("class") == "time"]
    assert len(charts) >= 3 and [tag for tag, _ in parsed.tags].count("script") == len(charts) + 1
    assert "<script>alert" not in page
    assert "{{ 7*7 }}" in page and "49" not in parsed.texts
    assert [tag for tag, _ in parsed.tags].count("svg") == page.count("<svg ")


def test_an_empty_run_an_unfinished_one_and_one_without_windows_have_a_page(tmp_path, run_dir):
    with RunWriter.create(tmp_path / "empty", RunSettings()):
        pass
    page, summary = page_of(tmp_path / "empty")
    assert summary["result"] == "invalid" and "never finished" in page
    old = tmp_path / "old"
    shutil.copytree(run_dir, old)
    with sqlite3.connect(old / "run.sqlite") as database:
        database.executescript("DELETE FROM windows; DELETE FROM timelines")
    page, _ = page_of(old)
    assert "no windows over time" in page and "request by request" not in page


def test_a_run_killed_between_a_window_and_the_books_of_it_has_a_page(tmp_path):
    books = Books()
    for operation in ("RequestChat", "GetMessages"):
        books.latency[operation] = CensoredHistogram()
        books.latency[operation].add(0.25)
    with RunWriter.create(tmp_path, RunSettings(flex_disconnect_timeout=5.0), 1000.0) as writer:
        writer.add_windows([Window(1000.0, 1001.0, 3, books)])
    page, _ = page_of(tmp_path)
    assert "GetMessages latency" in page and "never finished" in page


def test_a_report_is_written_whole_beside_the_run(run_dir):
    with RunReader.open(run_dir) as reader:
        path = write_report(reader, summarize(reader))
    assert path == run_dir / "report.html"
    assert path.read_text().rstrip().endswith("</html>")


def line(severity, verdict="dropped_late", blame="network", outcome="timeout"):
    contacts = [
        *(Contact("GetMessages", float(t), float(t), t + 0.01, "0/false") for t in range(-5, 1)),
        Contact("GetMessages", 1.0, 1.0, 1.5, outcome),
        Contact("GetMessages", 3.25, 3.25, 3.3, "0/true"),
        Contact("GetMessages", 3.4, 3.4, 3.5, "0/true"),
    ]
    return Timeline("c", verdict, blame, "why", 2.0, severity, 0.0, 0.01, {"server": 1.5, "retries": 0.001}, contacts)


def test_the_worst_are_drawn_and_every_blame_is_there():
    many = [line(100.0 - i) for i in range(30)] + [line(1.0, blame="plan"), line(0.5, "dropped_early", "")]
    chosen = choose(many)
    assert len(chosen) == DRAWN
    assert {(one.verdict, one.blame) for one in chosen} == {
        ("dropped_late", "network"), ("dropped_late", "plan"), ("dropped_early", ""),
    }  # fmt: skip
    assert [one.severity_s for one in chosen[:3]] == [100.0, 99.0, 98.0]
    assert choose([line(1.0, "failed", "")]) == []


def test_the_command_repeats_the_run():
    run = RunSettings(
        name="chat", host="http://h:1", users=5, spawn_rate=1.0, run_time=600.0, flex_disconnect_timeout=15.0,
        thresholds=("a.rate < 1%",), confidence=0.99, abort_on=("b.rate < 2%",), allow_inconclusive=True,
    )  # fmt: skip
    assert repeat_command(run).replace(" \\\n  ", " ") == (
        "locust -f locustfiles/chat.py --headless --host http://h:1 -u 5 -r 1 -t 600s "
        "--flex-disconnect-timeout 15 --persona strict --refresh-policy fixed --service default --dialect gms-v2 "
        "--transport lean --threshold 'a.rate < 1%' --abort-on 'b.rate < 2%' --confidence 99 "
        "--incident-size 1 --allow-inconclusive --judge steady --keep-windows 86400"
    )


@pytest.mark.parametrize(
    ("confirmed", "value", "detail"),
    [(True, "0 %", "0 of 10"), (False, "not known", "all accepted sessions were cut off")],
)
def test_a_run_whose_end_cut_off_every_chat_has_a_page(tmp_path, confirmed, value, detail):
    books = Books()
    books.started, books.verdicts["cut_off"] = 10, 10
    ended = [SessionRecord(f"c{i}", "cut_off", ended_at=5.0, goodbye_confirmed=confirmed) for i in range(10)]
    with RunWriter.create(tmp_path, RunSettings(flex_disconnect_timeout=5.0), 0.0) as writer:
        add_sessions(writer, ended)
        put_books(writer, "w", books)
        writer.finish(5.0)
    page, summary = page_of(tmp_path)
    assert summary["rates"]["completed"]["rate"] is None
    texts = Texts(page).texts
    label = texts.index("Dropped")
    assert texts[label + 1] == value and texts[label + 2].startswith(detail)
    # No chat was observed to its end, so nothing good can be said of them.
    assert 'class="good"><span class="label">Dropped' not in page
