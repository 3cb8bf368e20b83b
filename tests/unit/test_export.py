"""`chatload export`: what is in a run comes out of every format, a row at a time."""

import csv
import json
import sys
import tracemalloc
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict

import pyarrow.parquet
import pytest

from chatload import cli
from chatload.chat.effects import Exchange
from chatload.chat.record import COLUMNS, SessionRecord
from chatload.protocol.reply import Reply
from chatload.run.books import Books, RunBooks
from chatload.run.export import SHEETS, export_file
from chatload.run.settings import RunSettings
from chatload.run.windows import Usage, WindowCutter
from chatload.run.writer import RunWriter
from chatload.vocabulary import Outcome, Verdict
from tests.run_files import add_sessions, put_books

ODD = SessionRecord(
    "=cmd()\n|\"'\u2028é", "dropped_late", "plan", "-so", 1.5, 2.5, 3, gap_lower_s=0.1, goodbye_confirmed=True
)


def chatload(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.run([str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture
def run(tmp_path):
    books, cutter = Books(), WindowCutter(100.0)
    with RunWriter.create(tmp_path / "run", RunSettings(name="mine")) as writer:
        for second, verdict in enumerate(("completed", "dropped_late"), start=1):
            books.started += 2
            books.session_ended(SessionRecord(verdict=verdict))
            for outcome, latency in ((Outcome.FINE, 0.1), (Outcome.FINE, 0.5), (Outcome.UNSUCCESSFUL, 0.3)):
                books.sent["GetMessages"] += 1
                books.request_ended("GetMessages", Exchange(0, 1, 1 + latency * second, Reply(outcome)))
            books.sent["Disconnect"] += 1
            books.request_cut("Disconnect")
            books.lateness.add(0.01 * second)
            books.gap.add(3.0 * second)
            usage = {"w": Usage(second * 0.5, 1000 * second)}
            writer.add_windows([cutter.cut(100.0 + second, RunBooks(Books.from_dict(books.to_dict())), usage)])
        add_sessions(writer, [ODD, SessionRecord("b", "completed")])
        put_books(writer, "w", books)
        writer.finish()
    return tmp_path / "run"


def read(path):
    """The rows of an exported file, every value as text."""
    if path.suffix == ".parquet":
        rows = pyarrow.parquet.read_table(path).to_pylist()
    elif path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    else:
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    words = {None: "", True: "true", False: "false"}
    return [{k: words[v] if v is None or isinstance(v, bool) else str(v) for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("what", SHEETS)
def test_every_format_says_the_same(what, run, tmp_path):
    files = [tmp_path / f"x.{form}" for form in ("csv", "jsonl", "parquet")]
    for file in files:
        assert chatload("export", run, what, "--output", file) == 0
    from_csv, from_jsonl, from_parquet = (read(file) for file in files)
    assert from_jsonl == from_parquet
    for row in from_csv:
        row.update({k: v[1:] for k, v in row.items() if v.startswith("'")})
    assert from_csv == from_jsonl and len(from_csv) == 2


def test_sessions_keep_their_text_and_types(run, tmp_path):
    export_file(run, "sessions", "parquet", tmp_path / "s")
    table = pyarrow.parquet.read_table(tmp_path / "s")
    assert sorted(table.column_names) == sorted(COLUMNS)
    first = table.to_pylist()[0]
    assert first == asdict(ODD)
    export_file(run, "sessions", "csv", tmp_path / "s.csv")
    assert read(tmp_path / "s.csv")[0]["chat_id"].startswith("'=")


def test_windows_hold_what_was_added_in_each(run, tmp_path):
    assert chatload("export", run, "windows", "--format", "jsonl", "--output", tmp_path / "w") == 0
    first, second = (json.loads(line) for line in (tmp_path / "w").read_text().splitlines())
    assert (first["start"], first["end"], second["end"]) == (100.0, 101.0, 102.0)
    assert [w["open"] for w in (first, second)] == [1, 2]
    assert [w["started"] for w in (first, second)] == [2, 2]
    assert {v: second[f"verdict_{v}"] for v in Verdict if second[f"verdict_{v}"]} == {"dropped_late": 1}
    assert second["requests"] == 4
    assert Counter({o: n for o in Outcome if (n := second[f"outcome_{o}"])}) == {
        "0/false": 2, "1/false": 1, "connection": 1,
    }  # fmt: skip
    assert first["getmessages_latency_p99_s"] == pytest.approx(0.5, rel=0.02)
    assert second["getmessages_latency_p50_s"] == pytest.approx(0.6, rel=0.02)
    assert [w["lateness_p99_s"] for w in (first, second)] == pytest.approx([0.01, 0.02], rel=0.02)
    assert (first["gap_max_s"], first["gap_max_over_s"]) == (3.0, None)
    # A chat was dropped in the second: its last silence may be longer than any other gap.
    assert (second["gap_max_s"], second["gap_max_over_s"]) == (None, 6.0)
    assert (first["cpu_percent"], second["cpu_percent"], second["rss_bytes"]) == (None, pytest.approx(50.0), 2000)


def test_a_window_adds_up_operations_and_has_its_own_percentiles(tmp_path):
    books = Books()
    for i in range(1, 1001):
        for operation, slower in (("GetMessages", 1), ("SendMessage", 5)):
            books.sent[operation] += 1
            books.request_ended(operation, Exchange(0, 1, 1 + slower * i / 1000, Reply(Outcome.FINE)))
        books.lateness.add(i / 100)
    with RunWriter.create(tmp_path / "run", RunSettings()) as writer:
        writer.add_windows([WindowCutter(0.0).cut(1.0, RunBooks(books))])
    export_file(tmp_path / "run", "windows", "jsonl", tmp_path / "w")
    window = json.loads((tmp_path / "w").read_text())
    assert (window["requests"], window["outcome_0/false"]) == (2000, 2000)
    percentiles = [
        window[f"{name}_s"] for name in ("getmessages_latency_p50", "getmessages_latency_p99", "lateness_p99")
    ]
    assert percentiles == pytest.approx([0.5, 0.99, 9.9], rel=0.02)
    assert window["rss_bytes"] is None


def test_the_requests_of_an_operation_have_their_percentiles(tmp_path):
    books = Books()
    books.sent["GetMessages"] = 1000
    books.latency["GetMessages"] = type(books.gap)()
    books.latency["GetMessages"].observed.extend([0.05] * 600 + [0.1] * 389 + [0.5] * 5 + [1.0] * 5 + [10.0])
    with RunWriter.create(tmp_path / "run", RunSettings()) as writer:
        put_books(writer, "w", books)
    export_file(tmp_path / "run", "requests", "jsonl", tmp_path / "r")
    row = json.loads((tmp_path / "r").read_text())
    names = ("latency_p50_s", "latency_p99_s", "latency_p99_9_s", "latency_max_s")
    assert [row[name] for name in names] == pytest.approx([0.05, 0.5, 1.0, 10.0], rel=0.02)


def test_requests_are_one_row_an_operation(run, tmp_path):
    export_file(run, "requests", "jsonl", tmp_path / "r")
    goodbye, refresh = (json.loads(line) for line in (tmp_path / "r").read_text().splitlines())
    assert (goodbye["operation"], goodbye["sent"], goodbye["outcome_connection"]) == ("Disconnect", 2, 2)
    assert (goodbye["answered"], goodbye["latency_max_s"]) == (0, None)
    assert (refresh["sent"], refresh["outcome_0/false"], refresh["outcome_1/false"]) == (6, 4, 2)
    assert (refresh["answered"], refresh["latency_max_s"]) == (6, pytest.approx(1.0))


def test_standard_output_is_csv_and_never_parquet(run, capsys):
    assert chatload("export", run, "requests") == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("GetMessages,6,")
    assert chatload("export", run, "requests", "--format", "parquet") == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "chatload: parquet is not text; name a file with --output FILE.parquet\n")


def test_without_pyarrow_one_line_names_the_extra(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert chatload("export", run, "sessions", "--output", tmp_path / "s.parquet") == 2
    assert capsys.readouterr().err == ("chatload: Parquet needs the package pyarrow; pip install 'chatload[parquet]'\n")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_failed_export_leaves_the_old_file(run, tmp_path, monkeypatch):
    for form in ("csv", "parquet"):
        path = tmp_path / f"s.{form}"
        path.write_text("old")
        assert chatload("export", tmp_path / "nowhere", "sessions", "--output", path) == 2
        assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "s.csv", "s.parquet"]


@contextmanager
def most_memory():
    """Gives a list that holds, afterwards, the most memory that Python and Arrow held at a time (MB)."""
    most, arrow = [], pyarrow.system_memory_pool()
    pyarrow.set_memory_pool(arrow)
    tracemalloc.start()
    try:
        yield most
        most.append((tracemalloc.get_traced_memory()[1] + arrow.max_memory()) / 2**20)
    finally:
        tracemalloc.stop()


def test_120_000_sessions_go_through_parquet_in_bounded_memory(tmp_path):
    count = 120_000

    def record(i):
        gap = None if i % 3 else i / 7
        return SessionRecord(
            f"chat-{i:08}", ("completed", "dropped_late")[i % 2], "", f"why {i}", i / 3, i / 2, i, gap_lower_s=gap
        )

    with RunWriter.create(tmp_path / "run", RunSettings()) as writer:
        add_sessions(writer, map(record, range(count)))
    out = tmp_path / "s.parquet"
    with most_memory() as most:
        export_file(tmp_path / "run", "sessions", "parquet", out)
    # All rows at once hold 84 MB.
    assert most[0] < 60, most
    file = pyarrow.parquet.ParquetFile(out)
    assert file.metadata.num_rows == count
    done, names = 0, [name for name, _ in SHEETS["sessions"][0]]
    varied = [name for name in names if len({getattr(record(i), name) for i in range(6)}) > 1]
    for batch in file.iter_batches(batch_size=5000):
        expected = [record(i) for i in range(done, done + batch.num_rows)]
        assert batch.schema.names == names
        for name in varied if done else names:
            assert batch.column(name).to_pylist() == [getattr(one, name) for one in expected], (name, done)
        done += batch.num_rows
    assert done == count
