"""The line that says how far a long command is: when it is shown, what it says, and that it counts what is read."""

import io
import os
import pty
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chatload import cli
from chatload.features.forecast.fit import FIT_READS
from chatload.features.plan.inputs import MEASURE_READS, measure_run
from chatload.features.report.page import PAGE_READS, page_document
from chatload.features.report.summary import summarize, summary_reads
from chatload.progress import CommandProgress, clock_text
from chatload.render.html import count_charts, html
from chatload.run.reader import Reads, RunReader

SAMPLE = Path("reports/sample")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def shown(stream, *steps):
    """Return the progress of a stage of 100 customers after steps of (seconds, customers)."""
    clock = Clock()
    with CommandProgress(stream, clock) as progress:
        progress.stage("replaying", 100, "customers")
        for seconds, customers in steps:
            clock.now += seconds
            progress.advance(customers)


def test_a_log_gets_a_line_every_ten_seconds_with_the_share_and_the_time_left():
    log = io.StringIO()
    shown(log, *[(1, 1)] * 25)
    assert log.getvalue().splitlines() == [
        "replaying: 10%, 10 of 100 customers, 1:30 left",
        "replaying: 20%, 20 of 100 customers, 1:20 left",
    ]


@pytest.mark.parametrize(("steps", "said"), [([(1.9, 50)], False), ([(1.9, 50), (0.2, 1)], True)])
def test_a_terminal_shows_nothing_for_two_seconds_and_a_line_that_is_removed(steps, said):
    ours, theirs = pty.openpty()
    with closing(os.fdopen(theirs, "w")) as terminal:
        shown(terminal, *steps)
        terminal.write("end")
        terminal.flush()
        got = b""
        while not got.endswith(b"end"):
            got += os.read(ours, 4096)
    os.close(ours)
    text = got.decode()
    assert ("replaying: 51%, 51 of 100 customers, 0:02 left" in text) == said
    if said:
        # The last thing before "end" is that its line is erased.
        assert text.rpartition("\x1b[2K")[2].strip() == "end"
    else:
        assert text == "end"


def test_no_time_left_is_claimed_of_a_stage_that_hardly_began_or_has_no_known_work():
    log, clock = io.StringIO(), Clock()
    progress = CommandProgress(log, clock)
    progress.stage("reading", 100)
    clock.now += 11
    progress.advance(1)
    progress.stage("reading the ledger", unit="rows")
    clock.now += 11
    progress.advance(2000)
    assert log.getvalue().splitlines() == ["reading: 1%", "reading the ledger, 2000 rows"]


def test_one_of_several_runs_counts_as_one_whatever_it_reports():
    log, clock = io.StringIO(), Clock()
    progress = CommandProgress(log, clock)
    progress.stage("reading the runs", 2, "runs")
    with progress.part(10) as advance:
        clock.now += 10
        advance(5)
        advance(500)  # more than was declared
    with progress.part(10) as advance:
        clock.now += 10
        advance(5)
    assert log.getvalue().splitlines() == [
        "reading the runs: 25%, 0 of 2 runs, 0:30 left",
        "reading the runs: 75%, 1 of 2 runs, 0:07 left",
    ]


@pytest.mark.parametrize("closed", [None, "file", "pipe"])
def test_nothing_is_shown_and_nothing_fails_if_stderr_is_closed(closed, monkeypatch):
    stream = io.StringIO()
    if closed == "file":
        stream.close()
    elif closed == "pipe":
        monkeypatch.setattr(stream, "write", lambda _: (_ for _ in ()).throw(BrokenPipeError()), raising=False)
    monkeypatch.setattr("sys.stderr", None if closed is None else stream)
    shown(None, (11, 5), (11, 5))


def test_a_stage_that_waits_for_a_host_is_shown_although_it_reports_nothing():
    clock, written = Clock(), threading.Event()

    class Log(io.StringIO):
        def write(self, text):
            written.set()
            return super().write(text)

    log = Log()
    with CommandProgress(log, clock) as progress, progress.waiting("examining the host"):
        clock.now += 11
        assert written.wait(30)
    assert log.getvalue() == "examining the host\n"


def test_clock_text():
    assert [clock_text(seconds) for seconds in (0.4, 65, 3600)] == ["0:00", "1:05", "1:00:00"]


@pytest.fixture(scope="module")
def sample():
    with RunReader.open(SAMPLE) as reader:
        yield reader


def test_every_chart_of_a_page_is_counted_before_it_is_drawn(sample):
    document, drawn = page_document(sample, summarize(sample)), []
    html(document, lambda: drawn.append(1))
    assert len(drawn) == count_charts(document) > 5


def read_by(reader, compute):
    """Return the work that a computation reports of a run."""
    done = []
    reader.on_read = done.append
    compute(reader)
    reader.on_read = None
    return sum(done)


def test_what_commands_declare_is_what_they_read(sample):
    # Lifetimes are of accepted sessions only: a run may report a little less than was declared, never more.
    summary = {}
    for reads, compute in (
        (summary_reads(sample), lambda reader: summary.update(summarize(reader))),
        (PAGE_READS, lambda reader: page_document(reader, summary)),
        (MEASURE_READS, lambda reader: measure_run(reader, "sample")),
        (FIT_READS, lambda reader: [list(reader.windows()), list(reader.sessions())]),
    ):
        declared, done = sample.work(reads), read_by(sample, compute)
        assert 0.97 * declared <= done <= declared, (reads, declared, done)


def test_the_work_of_a_run_counts_its_windows_and_sessions(sample):
    windows, sessions = len(list(sample.windows())), sample.count_sessions()
    assert sample.work(Reads(sessions=2)) == 2 * sessions
    assert sample.work(Reads(windows=3)) > 3 * windows
    assert read_by(sample, lambda reader: list(reader.sessions())) == sessions


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "RUN"],
        ["drift", "RUN", "--html", "DIR/x.html"],
        ["export", "RUN", "sessions", "--output", "DIR/x.csv"],
        ["compare", "RUN", "--", "RUN", "--html", "DIR/x.html"],
        ["combine", "RUN", "--gate", "standard", "--markdown", "DIR/x.md"],
        ["plan", "--chats-per-hour", "100", "--run", "RUN", "--sessions-per-server", "9", "--html", "DIR/x.html"],
        ["forecast", "RUN", "--output", "DIR/x"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_ctrl_c_while_a_run_is_read_says_one_line_and_writes_nothing(arguments, tmp_path, monkeypatch, capsys):
    shutil.copy(SAMPLE / "run.sqlite", tmp_path)

    def interrupt(self, rows, *_):
        for _ in rows:
            raise KeyboardInterrupt
        yield

    monkeypatch.setattr(RunReader, "_counted", interrupt)
    given = [part.replace("RUN", str(tmp_path)).replace("DIR", str(tmp_path)) for part in arguments]
    with pytest.raises(SystemExit) as ended:
        cli.run(given)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.strip()) == (130, "", "chatload: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["run.sqlite"]
