"""What a run shows of its servers' capacity, figure by figure, worked by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.features.plan.inputs import (
    Constraint,
    Drops,
    Held,
    Measured,
    Origin,
    ServerFigure,
    measure_run,
    most_held,
)
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books


def window(start: float, end: float, still: int, sent: int = 0, started: int = 0) -> Window:
    books = Books()
    books.sent, books.started = Counter(GetMessages=sent), started
    return Window(start, end, still, books)


def session(verdict: str, started_at: float, ended_at: float) -> SessionRecord:
    record = SessionRecord(f"{verdict} {ended_at}", verdict)
    record.started_at, record.ended_at = started_at, ended_at
    return record


def measured(
    folder: Path,
    sessions: list[SessionRecord],
    servers: int = 1,
    timeout_s: float | None = 4.0,
    ended_at: float | None = 1020.0,
) -> Measured:
    """A run of 20 s in which five chats were open, of so many sessions; ended_at: None where it was never finished."""
    books = Books()
    books.started = len(sessions)
    books.sent = Counter(RequestChat=len(sessions), GetMessages=50, SendMessage=6)
    settings = RunSettings(flex_disconnect_timeout=timeout_s)
    with RunWriter.create(folder / "run", settings, 1000.0) as writer:
        writer.add_windows([window(1000.0 + 2 * i, 1002.0 + 2 * i, 5, 10, 2) for i in range(10)])
        add_sessions(writer, sessions)
        put_books(writer, "local", books)
        if ended_at is not None:
            writer.finish(ended_at)
    with RunReader.open(folder / "run") as reader:
        return measure_run(reader, "run", servers)


ENDED = [
    session("completed", 1000.0, 1010.0),
    session("ended_by_agent", 1002.0, 1010.0),
    session("dropped_late", 1001.0, 1008.0),
    session("dropped_early", 1001.0, 1006.0),
    session("dropped_unproven", 1000.0, 1020.0),
    session("cut_off", 1015.0, 1020.0),
    session("refused", 1015.0, 1016.0),
]


def test_every_figure_of_a_run(tmp_path: Path) -> None:
    found = measured(tmp_path, ENDED, servers=2)
    # Open for 10 + 8 + 7 + 5 + 20 + 5 = 55 s; the refused were not, and five came to their end.
    assert found.drops == Drops(2, 3, 55.0)
    assert found.demand == {
        "handling_time_s": 55 / 5,
        "poll_interval_s": 55 / 50,
        "other_requests_per_chat": (7 + 6) / 6,
        "flex_disconnect_timeout_s": 4.0,
    }
    assert (found.sessions, found.refused, found.bursts) == (7, 1, 0)
    assert (found.held_for_s, found.servers, found.run) == (4.0, 2, "run")
    assert found.held == Held(5, 5.0, 1.0)
    carried = {Constraint.SESSIONS: 2.5, Constraint.REQUESTS: 2.5, Constraint.STARTS: 0.5}
    assert found.capacity() == {name: ServerFigure(value, Origin.HELD) for name, value in carried.items()}


def test_a_chat_may_be_open_for_less_than_a_second_and_never_for_less_than_none(tmp_path: Path) -> None:
    short = [session("completed", 1000.0, 1000.25), session("completed", 1002.0, 1001.0)]
    assert measured(tmp_path, short).drops.chat_seconds == 0.25


def test_drops_that_came_together_are_a_burst(tmp_path: Path) -> None:
    together = [session("dropped_late", 1000.0, 1010.0 + 0.001 * i) for i in range(20)]
    apart = [session("dropped_late", 1000.0, at) for at in (1003.0, 1006.0, 1013.0, 1018.0)]
    assert measured(tmp_path / "finished", [*together, *apart]).bursts == 1
    assert measured(tmp_path / "not", [*together, *apart], ended_at=None).bursts == 1
    evenly = [session("dropped_late", 1000.0, 1001.0 + 0.8 * i) for i in range(24)]
    assert measured(tmp_path / "even", evenly, ended_at=None).bursts == 0
    # Of a run that lasts 1 020 s two drops within 100 ms are no chance; of one of a second they may be.
    two = [session("dropped_late", 1000.0, at) for at in (1000.5, 1000.6)]
    assert measured(tmp_path / "long", two, ended_at=2020.0).bursts == 1
    assert measured(tmp_path / "short", two, ended_at=1001.0).bursts == 0


def test_a_run_without_drops_has_no_bursts_and_one_without_a_timeout_is_taken_by_the_default(tmp_path: Path) -> None:
    found = measured(tmp_path / "with", ENDED[:2])
    assert (found.bursts, found.drops) == (0, Drops(0, 0, 18.0))
    with pytest.raises(UsageError, match=r"no session was held for one flex-disconnect-timeout \(45 s\)"):
        measured(tmp_path / "without", ENDED[:2], timeout_s=None)


def test_a_run_must_be_of_at_least_one_server(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--run-servers 0 is not a whole number from 1"):
        measured(tmp_path, ENDED, servers=0)


def test_nothing_is_said_of_a_capacity_that_was_not_needed() -> None:
    held = Held(5, 0.0, 1.0)
    found = Measured("run", held, 4.0, 1, Drops(), 5, 0, 0, {})
    assert {name: figure.value for name, figure in found.capacity().items()} == {
        Constraint.SESSIONS: 5.0,
        Constraint.STARTS: 1.0,
    }


def test_held_is_the_most_over_any_stretch_each_figure_by_itself() -> None:
    windows = [
        window(0, 2, 5, sent=2, started=1),
        window(2, 3, 7, sent=30, started=0),
        window(3, 5, 7, sent=2, started=4),
        window(5, 6, 6, sent=1, started=0),
    ]
    # Of 3 s and more: 0..3, 2..5, 3..6.
    assert most_held(windows, 3.0) == Held(7, 32 / 3, 4 / 3)
    assert most_held(windows, 6.0) == Held(5, 35 / 6, 5 / 6)
    assert most_held(windows, 6.5) is None
    assert most_held([], 1.0) is None
