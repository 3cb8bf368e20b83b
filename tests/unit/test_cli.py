"""The `chatload` command: exit codes, one-line errors, CSV."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chatload import __version__, cli
from chatload.chat.record import COLUMNS, SessionRecord
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books


def make_run(folder: Path, records: list[SessionRecord], finish: bool = True) -> Path:
    books = Books()
    with RunWriter.create(folder, RunSettings(name="mine", flex_disconnect_timeout=45)) as writer:
        for record in records:
            books.started += 1
            books.session_ended(record)
        add_sessions(writer, records)
        put_books(writer, "w", books)
        if finish:
            writer.finish()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", [SessionRecord("a", "completed"), SessionRecord("b", "ended_by_agent")])


def chatload(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def write_ledger(path: Path, **endings: str) -> Path:
    path.write_text("".join(json.dumps({"chat_id": c, "end_reason": e}) + "\n" for c, e in endings.items()))
    return path


def test_report_writes_the_summary_and_exits_by_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chatload("report", run) == 0
    assert "books balance: 2 sessions started = 2 ended" in capsys.readouterr().out
    assert json.loads((run / "summary.json").read_text())["sessions"]["started"] == 2
    unfinished = make_run(tmp_path / "unfinished", [SessionRecord("a", "completed")], finish=False)
    assert chatload("report", unfinished) == 3
    assert capsys.readouterr().out.startswith("INVALID: the books do not balance")


def test_a_report_that_cannot_be_written_is_still_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "summary.json").mkdir()
    assert chatload("report", run) == 2
    out, err = capsys.readouterr()
    assert "Verdicts" in out
    assert len(err.splitlines()) == 1 and "summary.json: cannot be written" in err


def test_reconcile_exits_by_what_contradicts(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_ledger(tmp_path / "good", a="disconnected", b="agent")
    assert chatload("reconcile", run, "--ledger", good) == 0
    assert capsys.readouterr().out.startswith("run and ledger agree")
    bad = write_ledger(tmp_path / "bad", a="expired", b="agent")
    assert chatload("reconcile", run, "--ledger", bad) == 3
    out = capsys.readouterr().out
    assert out.startswith("CONTRADICTED: 1 contradiction ") and "chat a is completed" in out
    assert chatload("reconcile", run, "--ledger", bad, "--json") == 3
    assert json.loads(capsys.readouterr().out)["contradictions"][0]["chat_id"] == "a"


def test_reconcile_shows_the_first_twenty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", [SessionRecord(f"c{i}", "completed") for i in range(25)])
    assert chatload("reconcile", run, "--ledger", write_ledger(tmp_path / "none")) == 3
    out = capsys.readouterr().out
    assert out.count("\n- chat ") == 20 and "and 5 more" in out


def test_reconcile_with_a_csv_in_other_words(run: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "l.csv"
    ledger.write_text("ID,Why\na,by client = ok\nb,agent\n")
    words = [
        "--column",
        "chat_id=ID",
        "--column",
        "end_reason=Why",
        "--reason",
        "by client = ok=disconnected",
    ]
    assert chatload("reconcile", run, "--ledger", ledger, *words) == 0


def test_export_is_csv_in_the_promised_order(tmp_path: Path) -> None:
    records = [
        SessionRecord("=cmd()", "dropped_late", "plan", "-why, \"so\"", 1.5, 2.5, 3,
                      gap_lower_s=45.5, generator_suspect=True),
        SessionRecord("-5", "completed", why="@x"),
    ]  # fmt: skip
    run = make_run(tmp_path / "run", records)
    result = CliRunner().invoke(cli.main, ["export", str(run), "sessions"])
    assert result.exit_code == 0
    header, first, second = csv.reader(result.stdout.splitlines())
    assert header[:8] == [
        "chat_id", "verdict", "blame", "started_at", "ended_at", "contacts", "gap_lower_s", "gap_upper_s",
    ]  # fmt: skip
    assert sorted(header) == sorted(COLUMNS)
    assert first[:8] == ["'=cmd()", "dropped_late", "plan", "1.5", "2.5", "3", "45.5", ""]
    row = dict(zip(header, first, strict=True))
    assert (row["why"], row["generator_suspect"], row["goodbye_confirmed"]) == (
        '\'-why, "so"',
        "true",
        "false",
    )
    assert (second[0], dict(zip(header, second, strict=True))["why"]) == ("-5", "'@x")
    assert chatload("export", run, "sessions", "--output", tmp_path / "s.csv") == 0
    assert (tmp_path / "s.csv").read_text() == result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "nowhere"],
        ["export", "nowhere", "sessions"],
        ["export", "RUN", "chairs"],
        ["export", "RUN", "sessions", "--output", "no/such/folder/x"],
        ["reconcile", "RUN"],
        ["reconcile", "RUN", "--ledger", "nowhere"],
        ["reconcile", "RUN", "--ledger", "http://127.0.0.1:1"],
        ["reconcile", "RUN", "--ledger", "x", "--column", "chat_id"],
        ["reconcile", "RUN", "--ledger", "x", "--column", "colour=x"],
        ["report", "RUN", "--loud"],
        ["repport"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    arguments: list[str], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chatload(*(run if word == "RUN" else word for word in arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chatload: ") and err.count("\n") == 1


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert chatload("--version") == 0
    assert capsys.readouterr().out == f"chatload, version {__version__}\n"
    assert chatload("--help") == 0
    assert "reconcile" in capsys.readouterr().out
    assert chatload() == 2


@pytest.mark.parametrize("name", ["", *cli.main.list_commands(click.Context(cli.main))])
def test_every_help_fits_80_columns(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert chatload(*name.split(), "--help") == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_what_a_command_does_is_not_cut_short_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert chatload("--help") == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize("name", ["options", "thresholds"])
def test_what_is_listed_fits_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert chatload(name) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("error", "says"), [(KeyboardInterrupt(), "interrupted"), (click.Abort(), "nothing was started or written")]
)
def test_ctrl_c_is_one_line(
    error: BaseException, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise error

    monkeypatch.setitem(cli.main.commands, "wait", click.Command("wait", callback=interrupted))
    assert chatload("wait") == 130
    assert capsys.readouterr().err.strip() == f"chatload: {says}"


def test_a_missing_module_leaves_its_command_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cli._LAZY, "ghost", "chatload.ghost:ghost")
    assert chatload("--help") == 0
    assert "ghost" not in capsys.readouterr().out
    assert chatload("ghost") == 2


def test_a_reader_that_goes_away_ends_an_export_quietly(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [SessionRecord(f"c{i}", "completed") for i in range(20000)])
    with subprocess.Popen(
        [sys.executable, "-m", "chatload.cli", "export", str(run), "sessions"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()},
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"chat_id,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize("arguments", [("export", "RUN", "sessions"), ("report", "RUN"), ("drift", "RUN"), ("--help",)])
def test_an_output_on_a_full_disk_is_one_line_and_no_verdict(run: Path, arguments: tuple[str, ...]) -> None:
    words = [str(run) if word == "RUN" else word for word in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "chatload", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "chatload: the output cannot be written (No space left on device)\n"


def test_the_command_starts_without_locust() -> None:
    heavy = "('locust', 'gevent', 'rich')"
    code = f"import sys, chatload.cli; print([m for m in sys.modules if m.split('.')[0] in {heavy}])"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_open_shows_the_page_in_the_browser_or_says_that_there_is_none(run, capsys, monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr("click.launch", lambda address: shown.append(address) or len(shown) - 1)
    assert chatload("report", run, "--open") == 0
    assert shown == [str((run / "report.html").absolute())] and capsys.readouterr().err == ""
    assert chatload("report", run, "--open") == 0
    assert capsys.readouterr().err == "no browser could be started: open this file in one\n"


@pytest.mark.parametrize("arguments", [["--help"], ["thresholds"], ["compare", "--help"]], ids=lambda a: a[0])
def test_a_reader_that_has_gone_ends_a_command_quietly(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "chatload", *arguments]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")
