"""The line that says how a headless run is going: what it says, how long it is, and how often a log gets one."""

import io
import logging
import re

import pytest

from chatload.progress import fit
from chatload.run.books import Books
from chatload.swarm.progress import ProgressLine, time_left
from chatload.swarm.snapshot import RunSnapshot
from chatload.thresholds.metrics import Facts
from tests.unit.test_live import busy


@pytest.mark.parametrize(
    ("elapsed", "run_time", "ended", "chats", "left"),
    [
        (10, None, 5, 0, None),
        (10, 60, 5, 0, 50),
        (70, 60, 5, 0, 0),
        (10, None, 0, 20, None),
        (10, None, 5, 20, 30),
        (10, None, 25, 20, 0),
        (10, 25, 5, 20, 15),  # the time comes first
        (10, 60, 5, 20, 30),  # the chats do
        (10, 60, 0, 20, 50),
    ],
)
def test_time_left(elapsed, run_time, ended, chats, left):
    assert time_left(elapsed, run_time, ended, chats) == left


@pytest.mark.parametrize(
    ("width", "line"), [(80, "one; two; three"), (15, "one; two; three"), (14, "one; two"), (7, "one"), (2, "on")]
)
def test_what_does_not_fit_is_left_out_from_the_end(width, line):
    assert fit(["one", "two", "three"], width) == line


def snapshot(elapsed, books=None):
    books = busy() if books is None else books
    return RunSnapshot("running", Facts(books, 45.0, books.verdicts["cut_off"]), elapsed, 1, "mine")


def logged(elapsed, chats=0, run_time=None, books=None):
    stream = io.StringIO()
    line = ProgressLine(stream, chats, run_time)
    *times, last = elapsed
    for now in times:
        if line.due(now):
            line.show(snapshot(now, books))
    line.show(snapshot(last, books))
    line.close()
    return stream.getvalue()


def test_a_line_says_states_drops_with_their_interval_and_margin():
    assert logged([65], run_time=600) == ("1:05, 8:55 left: 2 held, 1 retrying; 12 ended; 3 dropped (3.04-60.7 %)\n")
    assert logged([5], chats=40) == "0:05, 0:12 left: 2 held, 1 retrying; 12 of 40 ended; 3 dropped (3.04-60.7 %)\n"


def test_a_run_of_which_nothing_is_known_yet():
    assert logged([0.2], books=Books()) == "0:00: 0 held; 0 ended; 0 dropped\n"


def test_a_log_gets_a_line_every_five_seconds_and_the_last():
    lines = logged(range(1, 14)).splitlines()
    assert [line.split(":")[1] for line in lines] == ["01", "06", "11", "13"]


def test_lines_of_a_log_fit_80_columns_and_hold_no_control_characters():
    books = busy()
    for state in ("opening", "held", "retrying", "leaving"):
        books.states[state] = 123456
    text = logged([3599, 36000], chats=10**6, run_time=10**5, books=books)
    assert all(len(line) <= 80 and line.isprintable() for line in text.splitlines())


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self):
        return True

    def lines(self):
        """What a person sees in the end: a line is what was written since it was last erased."""
        lines = [line.rpartition("\x1b[2K")[2] for line in self.getvalue().split("\n")]
        return [re.sub(r"\r|\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]


def test_what_is_logged_comes_above_the_bar_and_not_on_its_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    handler, log = logging.StreamHandler(stream), logging.getLogger("chatload.somebody")
    log.addHandler(handler)
    try:
        line = ProgressLine(stream, 0, 600)
        line.show(snapshot(65))
        log.warning("a worker fell silent")
        line.show(snapshot(66))
        line.close()
        log.warning("after the bar")
    finally:
        log.removeHandler(handler)
    seen = stream.lines()
    assert seen[0] == "a worker fell silent"
    assert "1:06, 8:54 left" in seen[1] and "1:05" not in "".join(seen)
    assert seen[2:] == ["after the bar", ""]
    assert handler.stream is stream


@pytest.mark.parametrize("elapsed, full", [(598.0, False), (599.6, True)])
def test_the_bar_is_full_when_the_text_says_that_no_time_is_left(elapsed, full, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    line = ProgressLine(stream, 0, 600)
    line.show(snapshot(elapsed))
    line.close()
    assert stream.lines()[0].startswith("━" * 10 + " ") is full
    assert ("0:00 left" in stream.lines()[0]) is full


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_line_that_nobody_reads_any_more_is_no_reason_to_stop(kind, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = kind()
    line = ProgressLine(stream, 0, 600)
    line.show(snapshot(5))
    monkeypatch.setattr(stream, "write", gone)
    line.show(snapshot(10))
    assert not line.due(20)
    line.close()


def gone(_):
    raise BrokenPipeError
