"""Every command that takes a run, given one in which no session was accepted: exit 4, and one line that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatload import cli
from chatload.chat.record import SessionRecord
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books

NOTHING = "nothing was tested: "
WHY = NOTHING + "30 sessions started, none accepted (30 refused); most often: RequestChat: no capacity (30)"
SETTINGS = RunSettings(
    name="mine", flex_disconnect_timeout=2.0, refresh_interval=0.6, request_timeout=1.0, chat_length=10.0,
    sweep=(0.3, 0.6),
)  # fmt: skip


def make_run(folder: Path, refused: int = 30, completed: int = 0, finish: bool = True) -> Path:
    books = Books()
    with RunWriter.create(folder, SETTINGS, 1000.0) as writer:
        records = [SessionRecord("", "refused", why="RequestChat: no capacity") for _ in range(refused)]
        records += [SessionRecord(f"c{i}", "completed", started_at=1000.0, ended_at=1090.0) for i in range(completed)]
        for record in records:
            books.started += 1
            books.session_ended(record)
        add_sessions(writer, records)
        put_books(writer, "local", books)
        if finish:
            writer.finish(1100.0)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def chatload(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "--chats-per-hour", "3600", "--run", "RUN"),
        ("forecast", "RUN"),
        ("compare", "RUN", "--", "RUN"),
        ("drift", "RUN"),
        ("tune", "--run", "RUN"),
    ],
)
def test_nothing_can_be_concluded_from_it(
    run: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert chatload(*(run if word == "RUN" else word for word in command)) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"chatload: {run}: {WHY}; ") and len(said.err.splitlines()) == 1


def test_its_report_exits_4_and_is_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chatload("report", run) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"NOTHING TESTED: {WHY.removeprefix(NOTHING)}")
    assert (run / "report.html").exists()


def test_a_ledger_agrees_with_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = tmp_path / "ledger.csv"
    ledger.write_text("chat_id,end_reason\nx,agent\n")
    assert chatload("reconcile", run, "--ledger", ledger) == 4
    said = capsys.readouterr().out
    assert said.startswith("nothing was compared\n") and "agree" not in said


def test_it_is_compared_where_that_is_allowed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = make_run(tmp_path / "other", completed=30)
    assert chatload("compare", run, "--", other, "--allow-invalid") == 4
    assert "not judged" in capsys.readouterr().out


def test_drift_of_a_run_that_goes_on_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chatload("drift", make_run(tmp_path / "run", finish=False)) == 0
    assert "nothing can be said of drift" in capsys.readouterr().out


def test_a_plan_does_not_stand_on_a_run_that_was_mostly_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", refused=987, completed=3)
    assert chatload("plan", "--chats-per-hour", "3600", "--run", run) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert "only 3 of 990 sessions were accepted; most often: RequestChat: no capacity" in said.err
