"""`chatload history`: runs below a folder, exit codes, and what it prints and writes."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from chatload import cli
from chatload.chat.record import SessionRecord
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.thresholds.metrics import METRICS
from tests.integration.processes import ROOT
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema
from tests.unit.compare_cases import Service, make_books
from tests.unit.hostile import make as make_hostile

SERVICE = Service(sessions=400, requests=400)
SLOWER = replace(SERVICE, tail=1.6)
SETTINGS = {"flex_disconnect_timeout": 45.0, "users": 10, "chatload_version": "1"}
P99 = "GetMessages.latency.p99"


def make_run(folder: Path, service: Service, night: int, finish: bool = True, **settings: Any) -> Path:
    """A run that began at midnight of a day of January 2026."""
    books = make_books(service, np.random.default_rng(night))
    started_at = 1_767_225_600.0 + 86400.0 * night
    with RunWriter.create(folder, RunSettings(**(SETTINGS | settings)), started_at) as writer:
        add_sessions(writer, [SessionRecord(f"c{i}", v) for i, v in enumerate(books.verdicts.elements())])
        put_books(writer, "w", books)
        if finish:
            writer.finish(started_at + 600.0)
    return folder


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 runs, then 12 on a slower service with another version; a run of another load, a broken one and a copy."""
    root = tmp_path_factory.mktemp("nights")
    for night in range(30):
        version = {"chatload_version": "1" if night < 18 else "2"}
        make_run(root / f"2026-01-{night + 1:02}", SERVICE if night < 18 else SLOWER, night, **version)
    make_run(root / "soak" / "long", SERVICE, 3, users=99)
    make_run(root / "killed", SERVICE, 5, finish=False)
    shutil.copytree(root / "2026-01-04", root / "again")
    (root / "notes").mkdir()
    (root / "notes" / "run.sqlite").write_text("no database")
    return root


def history(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run(["history", *(str(argument) for argument in arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_change_for_the_worse_is_1_and_named(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(nights) == 1
    out = capsys.readouterr().out
    assert re.match(rf"WORSE: since 2026-01-01: {P99} \+\d\d % \(\d+ ms to \d+ ms\)\n", out)
    line = next(line for line in out.splitlines() if line.startswith(P99))
    assert line.endswith("worse") and re.search("[▁▂▃▄▅▆▇█]{14}", line)
    assert re.search(rf"^{P99} +2026-01-19 +2026-01-19 .*\+\d\d %\n +chatload_version 1, then 2$", out, re.M)


def test_what_was_left_out_is_said(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(nights)
    out = capsys.readouterr().out
    assert "- soak/long: users 99 (not 10)" in out
    assert "- killed: invalid: the run was never finished" in out
    assert "- again: a copy of 2026-01-04" in out or "- 2026-01-04: a copy of again" in out
    assert "- notes: cannot be read as a run" in out


def test_the_console_fits_80_columns(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(nights)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines), max(lines, key=len)
    assert not any("…" in line for line in lines)


def test_a_later_run_accepts_the_change(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(nights, "--since", "2026-01-20", "--metric", P99) == 0
    assert capsys.readouterr().out.startswith("NOT WORSE: nothing is worse than at 2026-01-20: 1 metric in 30 runs\n")
    assert history(nights, "--since", nights / "2026-01-10" / "run.sqlite") == 1


def test_too_few_runs_are_4_and_the_number_needed_is_said(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(nights, "--since", "2026-01-29") == 4
    found = re.match(r"INCONCLUSIVE: too few runs after 2026-01-29 .* (\d) more runs", capsys.readouterr().out, re.S)
    assert found and int(found[1]) >= 2


def test_a_last_run_that_tested_nothing_is_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for night in range(24):
        make_run(tmp_path / f"n{night}", SERVICE, night)
    assert history(tmp_path, "--metric", P99) == 0
    make_run(tmp_path / "n24", replace(SERVICE, unserved_rate=1.0, drop_rate=0.0, noise=0.0), 24)
    assert history(tmp_path, "--metric", P99) == 4
    assert "LEFT OUT: the last run, n24: nothing can be concluded from it" in capsys.readouterr().out


def test_one_metric_and_its_tolerance(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(nights, "--metric", "dropped.rate") == 0
    assert P99 not in capsys.readouterr().out
    assert history(nights, "--metric", P99, "--tolerance", "90%") == 0


def test_every_metric_can_be_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "n0", SERVICE, 0)
    assert history(tmp_path, *(word for doc in METRICS for word in ("--metric", doc.name)), "--json") == 4
    examined = json.loads(capsys.readouterr().out)["metrics"]
    assert {"sessions.count", "dropped.count", "unsuccessful.rate", "gap.max", "margin.min"} <= examined.keys()


def test_a_metric_that_no_run_measured_decides_nothing(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metric = "SendMessage.latency.p99"
    assert history(nights, "--metric", metric, "--metric", "failed.rate") == 4
    assert capsys.readouterr().out.startswith(f"INCONCLUSIVE: no run measured {metric}\n")
    # The console, the page and JSON need no metric at all.
    assert history(nights, "--metric", metric, "--json") == 4
    data = json.loads(capsys.readouterr().out)
    jsonschema.validate(data, read_schema("history", "history"))
    assert (data["metrics"], data["unmeasured"]) == ({}, [metric])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "latency.p"], "unknown metric 'latency.p'; did you mean latency.p"),
        (["--metric", "latency.p"], "chatload: --metric: unknown"),
        (["--since", "again"], "--since again: a copy of 2026-01-04; name another run"),
        (["--since", "notes"], "--since notes: cannot be read as a run (file is not a database)"),
        (["--since", "nowhere"], "--since nowhere: there is no such run below"),
        (["--since", "killed"], "--since killed: invalid: the run was never finished"),
        (["--tolerance", "five"], "--tolerance five: expected 0, or a share below 1"),
        (["--hourly-tolerance", "nan"], "--hourly-tolerance nan: expected a rate per chat-hour"),
        (["--confidence", "nan"], "--confidence nan: expected a percentage"),
        (["--html", "no/such/folder.html"], "cannot be written"),
        (["--csv", "no/such/folder.csv"], "cannot be written"),
        (["--loud"], "No such option"),
    ],
)
def test_wrong_usage_is_2_and_one_line(
    arguments: list[str], said: str, nights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert history(nights, *arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and err.startswith("chatload: ") and err.count("\n") == 1


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(tmp_path) == 4
    assert "there is no run to learn from" in capsys.readouterr().err
    assert history(tmp_path / "none") == 2
    make_run(tmp_path / "killed", SERVICE, 1, finish=False)
    assert history(tmp_path) == 4
    assert "invalid: the run was never finished" in capsys.readouterr().err


def test_json_follows_its_schema(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(nights, "--json") == 1
    data = json.loads(capsys.readouterr().out)
    jsonschema.validate(data, read_schema("history", "history"))
    row = data["metrics"][P99]
    assert (data["result"], row["result"], [change["run"] for change in row["changes"]]) == (
        "worse", "worse", ["2026-01-19"],
    )  # fmt: skip
    assert len(data["runs"]) == len(row["figures"]) == 30
    assert history(nights, "--json", "--since", "2026-01-29") == 4
    data = json.loads(capsys.readouterr().out)
    jsonschema.validate(data, read_schema("history", "history"))
    assert data["result"] == "inconclusive" and data["runs_needed"] > 0


def test_the_csv_has_a_row_for_each_run_and_a_number_in_each_cell(nights: Path, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    history(nights, "--csv", file)
    with file.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header[:2] == ["time", "run"] and P99 in header and "RequestChat.latency.p99" not in header
    assert len(rows) == 30 and rows[0][:2] == ["2026-01-01 00:00:00 +0000", "2026-01-01"]
    assert all(np.isfinite([float(cell) for cell in row[2:]]).all() for row in rows)


def test_the_page_has_a_chart_for_each_metric_that_varied_and_shows_names_as_they_are(
    nights: Path, tmp_path: Path
) -> None:
    page, runs = tmp_path / "history.html", shutil.copytree(nights, tmp_path / "runs")
    make_run(runs / "<script>alert(1)<", SLOWER, 40)
    assert history(runs, "--html", page) == 1
    html = page.read_text()
    assert f">{P99}</h2>" in html and "&lt;script&gt;alert(1)&lt;" in html and "<script>alert" not in html
    # The failed.rate was 0 in all runs: it is in the table only.
    assert html.count('role="img" aria-label="') == 2 * 7
    assert html.count("<script") == 1 and not re.search(r"<link|@import|\bsrc=|\bhref=\"[^#]", html)


def test_the_line_of_the_nightly_recipe(nights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = re.findall(r"chatload history (nightly .*) \|\|", (ROOT / "docs" / "ci.md").read_text())
    monkeypatch.chdir(tmp_path)
    shutil.copytree(nights, tmp_path / "nightly")
    assert history(*line.replace("$SINCE", "--since 2026-01-02").split()) == 1
    assert (tmp_path / "history.html").exists()


def test_a_run_of_hostile_words_is_read_as_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_hostile(tmp_path / "a\x1b[2J\u202e")
    assert history(tmp_path, "--html", tmp_path / "h.html") in (0, 4)
    out, err = capsys.readouterr()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", out + err)


def test_standard_metrics_estimate_the_correlation_of_one(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(nights, "--json", "--metric", P99)
    one = json.loads(capsys.readouterr().out)
    history(nights, "--json")
    assert one["correlation"] == pytest.approx(json.loads(capsys.readouterr().out)["correlation"], abs=0.01)


def test_more_confidence_needs_more_evidence(nights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history(nights, "--json", "--since", "2026-01-26", "--confidence", "99")
    strict = json.loads(capsys.readouterr().out)
    history(nights, "--json", "--since", "2026-01-26", "--confidence", "80")
    assert strict["confidence"] == 0.99
    assert strict["runs_needed"] > json.loads(capsys.readouterr().out)["runs_needed"]
    assert history(nights, "--confidence", "100") == 2


def test_the_page_shows_short_durations_in_ms_and_long_ones_in_s(nights: Path, tmp_path: Path) -> None:
    page = tmp_path / "history.html"
    history(nights, "--metric", P99, "--metric", "margin.p1", "--html", page)
    drawn = re.findall(r"<text[^>]*>(ms|s)</text>", page.read_text(encoding="utf-8"))
    assert set(drawn) == {"ms", "s"}
