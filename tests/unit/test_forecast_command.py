"""`chatload forecast`: what it prints and writes, its exit codes, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sqlite3

import jsonschema
import pytest

from chatload import cli
from chatload.features.forecast import fit as fitting
from chatload.simulator.model.faults import Fault
from tests.schemas import read_schema
from tests.virtual.forecast_runs import record

QUICK = ("--processes", "1", "--customers", "20", "--for", "30s")


def forecast(*arguments):
    with pytest.raises(SystemExit) as left:
        cli.run(["forecast", *map(str, arguments)])
    return left.value.code


@pytest.fixture(autouse=True)
def sooner(monkeypatch):
    monkeypatch.setattr(fitting, "FITTING_REQUESTS", 1_500)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecast") / "run"
    record(folder, ("fixed", 5.0, 2.0), users=10, run_s=40.0, faults=[Fault("status_1", chance=0.02)], chat_s=10.0)
    return folder


def test_it_says_what_it_forecasts_and_how_good_the_fit_is(run, capsys):
    code = forecast(run, "--sessions", "1000,2000", "--refresh-interval", "1,4", *QUICK)
    out = capsys.readouterr().out
    assert code == 0, out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert out.startswith("2 000 sessions, every 1 s: 0 % dropped")
    assert out.index("25 replays reproduce the run") < out.index("within 3 %") < out.index("What is assumed")
    assert "round trips stay as they were measured with 10 sessions" in out
    assert "cannot know" in out


def test_json_and_files_keep_to_the_schema(run, tmp_path, capsys):
    assert forecast(run, "--sessions", "500", "--deadline", "--json", "--output", tmp_path / "out", *QUICK) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.validate(printed, read_schema("forecast", "forecast"))
    assert json.loads((tmp_path / "out" / "forecast.json").read_text()) == printed
    (prediction,) = printed["predictions"]
    assert (prediction["sessions"], prediction["customers"], prediction["policy"]) == (500, 20, "deadline")
    markdown = (tmp_path / "out" / "forecast.md").read_text()
    assert "| 500 | deadline |" in markdown and "do not depend on each other" in markdown


def test_a_fit_that_does_not_reproduce_the_run_forecasts_nothing(run, tmp_path, capsys):
    # Customers who say nothing are not those of the run.
    script = tmp_path / "script.toml"
    script.write_text("shows_typing = false\nmessages = 0\n")
    code = forecast(run, "--script", script, "--sessions", "1000", *QUICK)
    out = capsys.readouterr().out
    assert code == 4, out
    assert "replays do not reproduce the run" in " ".join(out.split()) and "NOT GOOD" in out
    assert "no forecast: the fit does not reproduce the run" in out and "1 000" not in out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--sessions", "many"), "--sessions many: expected whole numbers from 1"),
        (("--sessions", "0.5"), "expected whole numbers"),
        (("--refresh-interval", "0"), "--refresh-interval 0: expected a duration"),
        (("--for", "soon"), "such as 1h"),
        (("--customers", "some"), "expected a whole number from 1 on, or all"),
        (("--latency-growth", "0"), "outside 0.1 to 100"),
        (("--script", "nowhere.toml"), "--script FILE"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, arguments, said, capsys):
    assert forecast(run, *arguments, "--processes", "1") == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("setting, said", [("long_poll", "--long-poll 10"), ("connections", "--connections 10")])
def test_a_run_that_is_not_modelled_is_refused(run, setting, said, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with sqlite3.connect(copy / "run.sqlite") as database:
        database.execute("UPDATE run SET value = json_set(value, ?, 10) WHERE key = 'settings'", (f"$.{setting}",))
    assert forecast(copy, "--processes", "1") == 2
    err = capsys.readouterr().err
    assert f"a run with {said} cannot be forecast: it is not modelled; give one without" in err


def test_a_run_that_cannot_speak_is_refused(run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    with sqlite3.connect(copy / "run.sqlite") as database:
        database.execute("DELETE FROM run WHERE key = 'ended_at'")
    assert forecast(copy, "--processes", "1") == 3
    assert "it cannot be used for a forecast" in capsys.readouterr().err
