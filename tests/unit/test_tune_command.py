"""`chatload tune --run`: exit codes, outputs, and what is refused."""

import json

import jsonschema
import pytest

from chatload.chat.record import SessionRecord
from chatload.cli import _code
from chatload.features.tune.command import limit_of
from chatload.features.tune.load import command
from chatload.run.books import Books
from tests.schemas import read_schema
from tests.unit.test_tuning import sessions
from tests.virtual.sweeps import sweep, write_run

FRACTIONS = (0.5, 0.9)
GOOD, BAD, OPEN = {"completed": 300}, {"completed": 200, "late": 100}, {"completed": 100}
SUSPECT = {"completed": 300, "late": 3, "suspects": 3}


def make(folder, *arms, **more):
    records = [record for part, arm in zip(FRACTIONS, arms, strict=False) for record in sessions(f"{part:g}", **arm)]
    return write_run(folder, records, FRACTIONS[: len(arms)], timeout_s=10.0, **more)


def saturated():
    books = Books()
    books.cpu_saturated = 1
    return books


@pytest.mark.parametrize(
    ("arms", "more", "code", "said"),
    [
        ((GOOD, BAD), {}, 0, "below the target of 1.0 %; at most 2 drops per chat-hour"),
        ((BAD, BAD), {}, 1, "of the sessions were dropped, at 95 % confidence; at least 56 drops per chat-hour"),
        ((GOOD, GOOD), {"books": saturated}, 3, "generator CPU was saturated"),
        ((GOOD, GOOD), {"finish": False}, 3, "never finished"),
        ((SUSPECT, GOOD), {}, 3, "the generator's own lateness may have caused 3 drops"),
        ((OPEN, GOOD), {}, 4, "299 sessions in that arm would settle it, a sweep of 598"),
    ],
)
def test_exit_codes_and_answers(tmp_path, capsys, arms, more, code, said):
    more = {name: value() if callable(value) else value for name, value in more.items()}
    run = make(tmp_path / "run", *arms, **more)
    assert _code(["tune", "--run", str(run)]) == code
    printed = capsys.readouterr().out
    assert said in " ".join(printed.split())
    assert max(map(len, printed.splitlines()[:-1])) <= 80 and "…" not in printed
    data = json.loads((run / "tune.json").read_text())
    jsonschema.validate(data, read_schema("tune", "tune"))
    assert (data["recommended"] is not None) == (code == 0)


def test_json_is_all_that_is_printed_and_the_same_as_the_file(tmp_path, capsys):
    run = make(tmp_path / "run", GOOD, BAD)
    assert _code(["tune", "--run", str(run), "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((run / "tune.json").read_text())
    assert json.loads(printed)["recommended"] == {"fraction": 0.5, "interval_s": 5.0}


@pytest.mark.parametrize(
    ("target", "limit"), [("1%", 0.01), ("0.01", 0.01), ("dropped.rate < 2%", 0.02), ("dropped.rate<0.9%", 0.009)]
)
def test_the_target_as_a_share_or_a_threshold(target, limit):
    assert limit_of(target) == pytest.approx(limit)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--run", "nowhere"),
        ("--run", "RUN", "--users", "5"),
        ("--run", "PLAIN"),
        ("--run", "RUN", "--target", "0"),
        ("--run", "RUN", "--target", "completed.rate > 1%"),
        ("--run", "RUN", "--target", "Vip: dropped.rate < 1%"),
        ("--run", "RUN", "--confidence", "100"),
        ("--host", "http://127.0.0.1:9", "--sweep", "0.5,x"),
        ("--host", "http://127.0.0.1:9", "--sessions", "0"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_2(tmp_path, capsys, arguments):
    make(tmp_path / "RUN", GOOD)
    write_run(tmp_path / "PLAIN", [SessionRecord("a", "completed")], ())
    given = [str(tmp_path / part) if part in ("RUN", "PLAIN") else part for part in arguments]
    assert _code(["tune", *given]) == 2
    err = capsys.readouterr().err
    assert err.startswith("chatload: ") and err.count("\n") == 1


def test_the_page_is_whole_and_escapes(tmp_path):
    run = make(tmp_path / "<b>run", GOOD, BAD)
    assert _code(["tune", "--run", str(run)]) == 0
    page = (run / "tune.html").read_text()
    assert page.rstrip().endswith("</html>") and page.count("<script") == 1 and "<b>run" not in page
    assert page.count('class="marks wide"') == page.count('class="marks narrow"') == 2
    assert "0.5" in (run / "tune.md").read_text()


def test_the_models_curve_stands_beside_the_runs(tmp_path, capsys):
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\nkind = "status_1"\nchance = 0.02\n')
    run = write_run(tmp_path / "run", sweep((0.5, 1.02), 100, 1), (0.5, 1.02))
    _code(["tune", "--run", str(run), "--faults", str(faults)])
    assert "in virtual time" in capsys.readouterr().out
    data = json.loads((run / "tune.json").read_text())
    jsonschema.validate(data, read_schema("tune", "tune"))
    assert [arm["sessions"] for arm in data["model"]] == [50, 50]
    assert "model, " in (run / "tune.html").read_text()


def test_the_command_line_of_the_sweep():
    made = command({"users": 5, "run_dir": "x y", "sweep": "0.5,0.9"}, ("--processes", "2"))
    assert made[1:5] == ["-m", "chatload", "run", "interval_sweep"]
    assert made[made.index("--sweep") + 1] == "0.5,0.9" and made[made.index("--run-dir") + 1] == "x y"
    assert made[-2:] == ["--processes", "2"]


def test_a_sweep_says_its_length_and_what_would_shorten_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("chatload.features.tune.command.hold", lambda options, more: None)
    run = ["--host", "http://127.0.0.1:9", "-u", "200", "--chat-length", "8m", "--run-dir", str(tmp_path / "run")]
    assert _code(["tune", *run]) == 2
    told = capsys.readouterr().err
    assert (
        "sweep: 7 intervals x 897 sessions, 200 customers at once: about 4 h 50 min. Shorter: more customers (-u), "
        in told
    )
    assert _code(["tune", *run, "-t", "30m"]) == 2
    assert "about 4 h 50 min, 30 min at most (-t)" in capsys.readouterr().err
