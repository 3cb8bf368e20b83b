"""`chatload compare`: runs on two sides, exit codes, and what it prints and writes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatload import cli
from chatload.chat.record import SessionRecord
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books
from tests.unit.compare_cases import Service, make_books

SERVICE = Service(sessions=200, requests=2000)
WORSE = Service(sessions=200, requests=2000, tail=1.6)
SETTINGS = {"name": "mine", "flex_disconnect_timeout": 45.0, "users": 10, "chatload_version": "1"}


def make_run(
    folder: Path, service: Service, seed: int, finish: bool = True, at: float = 1000.0, **settings: Any
) -> Path:
    books = make_books(service, np.random.default_rng(seed))
    with RunWriter.create(folder, RunSettings(**(SETTINGS | settings)), at) as writer:
        add_sessions(writer, [SessionRecord(f"c{i}", v) for i, v in enumerate(books.verdicts.elements())])
        put_books(writer, "w", books)
        if finish:
            writer.finish(2000.0)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base, same and slow: five runs each, made alternately on two equal services and one with a longer tail. late: as
    slow, after all others."""
    root = tmp_path_factory.mktemp("runs")
    for i in range(5):
        make_run(root / f"base{i}", SERVICE, 100 + i, at=1000.0 + 10 * i)
        make_run(root / f"same{i}", SERVICE, 200 + i, at=1003.0 + 10 * i)
        make_run(root / f"slow{i}", WORSE, 300 + i, at=1005.0 + 10 * i, chatload_version="2")
        make_run(root / f"late{i}", WORSE, 300 + i, at=1500.0 + 10 * i)
    make_run(root / "other", SERVICE, 30, flex_disconnect_timeout=30.0)
    make_run(root / "widget", SERVICE, 32, persona="widget")
    make_run(root / "strict", SERVICE, 33, persona="strict")
    make_run(root / "shared", SERVICE, 34, connections=4)
    make_run(root / "broken", SERVICE, 31, finish=False)
    return root


@pytest.fixture(autouse=True)
def _in_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)


def compare(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run(["compare", *(str(argument) for argument in arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def five(name: str) -> list[str]:
    return [f"{name}{i}" for i in range(5)]


def test_undecided_is_0_and_says_what_is_still_possible(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*five("base"), "--", *five("same")) == 0
    out = capsys.readouterr().out
    said = " ".join(out.split("\n\n")[0].split())
    assert said.startswith("UNDECIDED: a change for the worse is neither shown nor excluded. Still possible: dropped ")
    assert re.search(r"Still possible: .*dropped sessions \+\d\.\d\d pt", said)
    assert "Settings that differ" not in out
    assert out.index("What these runs can find") < out.index("Judged")


def test_equivalence_is_required_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    wide = ("--tolerance", "60%", "--rate-tolerance", "10%", "--require-equivalence")
    assert compare(*five("base"), "--", *five("same"), "--require-equivalence") == 4
    assert compare(*five("base"), "--", *five("same"), *wide) == 0
    assert (
        "\nEQUIVALENT: 6 metrics within the tolerance at 95 % confidence, 5 runs against 5\n" in capsys.readouterr().out
    )
    assert compare(*five("base"), "--", *five("slow"), "--require-equivalence") == 1
    assert compare(*five("slow"), "--", *five("base"), "--require-equivalence") == 4
    assert compare("base0", "--", "same0", "--require-equivalence") == 4


def test_runs_in_blocks_are_not_comparable(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*five("base"), "--", *five("late")) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("NOT COMPARABLE: in the order of time the runs are BBBBBNNNNN (B = base, N = new), so a ")
    assert "chatload compare --plan prints a schedule" in said and "What these runs can find" not in said
    assert compare(*five("base"), "--", *five("late"), "--allow-blocked") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("WORSE: ") and "BLOCKED ORDER: in the order of time the runs are BBBBBNNNNN" in said
    assert compare(*five("base"), "--", *five("late"), "--json") == 4
    data = json.loads(capsys.readouterr().out)
    assert (data["word"], data["order"]["is_balanced"], data["findable"]) == ("not comparable", False, [])


def test_a_plan_prints_the_order_of_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--plan", "--runs", 5) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 runs per side, in pairs of one base and one new run, each pair in random order\n")
    folders = re.findall(r"^ *(\d+)  (base|new) +--run-dir compare/(base|new)-(\d)$", out, re.M)
    assert [int(number) for number, *_ in folders] == list(range(1, 11))
    assert all({folders[at][1], folders[at + 1][1]} == {"base", "new"} for at in range(0, 10, 2))
    command = "chatload compare compare/base-* -- compare/new-* \\\n  --tolerance 5% --rate-tolerance 0.1%"
    assert f"\n{command}\n" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_a_plan_by_earlier_runs_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    wide = ("--tolerance", "20%", "--rate-tolerance", "2%")
    assert compare("--plan", *five("base"), *wide, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["runs_per_side"] == max(row["runs"] for row in data["findable"])
    assert data["order"].count("B") == data["order"].count("N") == data["runs_per_side"]
    assert data["earlier_runs"] == 5
    assert compare(*five("base"), "--plan", *wide) == 0
    out = capsys.readouterr().out
    assert "What these runs can find, by the noise of 5 earlier runs" in out
    assert "--require-equivalence" not in out
    assert compare("--plan", "--runs", 5, "--require-equivalence") == 0
    assert "--rate-tolerance 0.1% --require-equivalence\n" in capsys.readouterr().out
    assert re.search(r"^dropped sessions +[\d.]+ pt +\+[\d.]+ pt +\+[\d.]+ pt +\d+ +\d+$", out, re.M)


def test_worse_is_1_and_better_the_other_way_round_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*five("base"), "--", *five("slow")) == 1
    out = capsys.readouterr().out
    assert out.startswith("WORSE: GetMessages latency p99 +")
    assert re.search(r"\n\nSettings that differ\n.*\n─+\nchatload_version +1 +2 +no\n", out)
    assert compare(*five("slow"), "--", *five("base")) == 0
    assert "BETTER: GetMessages latency p99 −" in capsys.readouterr().out


def test_what_is_within_the_tolerance_is_0() -> None:
    assert compare(*five("base"), "--", *five("slow"), "--tolerance", "90%") == 0
    assert compare("--tolerance", "0.9", *five("base"), "--", *five("slow")) == 0


@pytest.mark.parametrize("count", [1, 3])
def test_few_runs_claim_nothing(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*five("base")[:count], "--", *five("slow")) == 4
    out = capsys.readouterr().out
    said = f"not judged. A verdict (better, worse) needs at least 4 runs per side: make {4 - count} more base "
    assert said in " ".join(out.split()) and "worse:" not in out and "interval" not in out
    assert re.search(r"GetMessages latency p99 .*\+\d", out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base0", "base1"], "put exactly one -- between"),
        (["base0", "--", "same0", "--", "same1"], "put exactly one -- between"),
        ([], "put exactly one -- between"),
        (["base0", "--"], "there is no run after --"),
        (["--", "base0"], "there is no run before --"),
        (["base0", "--json", "--"], "there is no run after --"),
        (["base0", "--markdown", "--", "same0"], "put exactly one -- between"),
        (["base0", "--", "nowhere"], "nowhere: not a run (there is no such file)"),
        (["base0", "--", "same0", "--tolerance", "five"], "--tolerance five: expected 0, or a share below 1"),
        (["base0", "--", "same0", "--tolerance", "-1%"], "--tolerance -1%: expected"),
        (["base0", "--", "same0", "--tolerance", "5"], "--tolerance 5: expected"),
        (["base0", "--", "same0", "--loud"], "No such option"),
        (["base0", "--", "same0", "--runs", "5"], "--runs needs --plan"),
        (["--plan"], "--plan needs --runs N, or at least 4 earlier runs of one system"),
        (["--plan", "base0", "base0", "base1", "base2"], "to measure their noise; 3 given; give more, or none and"),
        (["--plan", "base0", "--", "same0"], "--plan takes earlier runs of one system, without --"),
        (["--plan", "--runs", "3"], "--runs 3: expected a whole number from 4 to 200"),
        (["--plan", "base0", "base1", "base2", "other"], "the runs made different load (flex_disconnect_timeout"),
        (
            ["--plan", *(f"base{i}" for i in range(5)), "--rate-tolerance", "0.01%"],
            "needs more than 200 runs a side; make longer runs, or give",
        ),
        (["base0", "--", "same0", "--markdown", "no/such/folder.md"], "cannot be written"),
        (["base0", "--", "other"], "flex_disconnect_timeout: base 45; new 30"),
        (["strict", "--", "widget"], "the runs made different load (persona: base strict; new widget)"),
        (["base0", "--", "shared"], "the runs made different load (connections: base not set; new 4)"),
        (["base0", "other", "--", "same0"], "flex_disconnect_timeout: base 45, 30; new 45"),
    ],
)
def test_wrong_usage_is_2_and_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err and err.startswith("chatload: ") and err.count("\n") == 1


def test_different_load_is_compared_when_asked_for_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("base0", "--", "other", "--allow-different") == 4
    assert re.search(r"\nflex_disconnect_timeout +45 +30 +yes\n", capsys.readouterr().out)


def test_an_unsound_run_is_3_unless_allowed_and_then_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("base0", "--", "broken") == 3
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "broken" in err and "--allow-invalid" in err
    assert compare("base0", "--", "broken", "--allow-invalid") == 4
    assert "\nINVALID: run broken: the run was never finished" in capsys.readouterr().out


def test_a_copied_folder_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree("base0", tmp_path / "copy")
    assert compare("base0", copy, "base1", "base2", "--", *five("slow")) == 4
    assert "counts once" in capsys.readouterr().out


def test_options_may_stand_anywhere_and_dashes_hold_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--json", "base0", "base1", "--", "same0") == 4
    first = capsys.readouterr().out
    assert compare("base0", "base1", "--", "same0", "--json") == 4
    assert capsys.readouterr().out == first
    data = json.loads(first)
    assert [run["run"] for run in data["base"]] == ["base0", "base1"]
    assert [run["run"] for run in data["new"]] == ["same0"]
    assert data["word"] is None
    assert len(data["metrics"]["requests.GetMessages.latency_s.p99"]["base"]) == 2


def test_json_has_the_words_and_what_they_rest_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*five("base"), "--", *five("slow"), "--json") == 1
    data = json.loads(capsys.readouterr().out)
    row = data["metrics"]["requests.GetMessages.latency_s.p99"]
    assert (data["word"], row["word"], row["change_is"]) == ("worse", "worse", "ratio_minus_1")
    assert row["p"] == pytest.approx(2 / 252)
    assert row["matters_from"] == pytest.approx(0.05)
    assert [item["metric"] for item in data["findable"]] == [
        key for key, row in data["metrics"].items() if row["judged"]
    ]
    assert 0.05 < row["interval"][0] < row["change"] < row["interval"][1]


def test_the_console_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    compare(*five("base"), "--", *five("slow"))
    out = capsys.readouterr().out
    assert all(len(line) <= 80 and line == line.rstrip() for line in out.splitlines())
    assert "…" not in out and "\x1b" not in out
    assert re.search(r"^dropped sessions .* undecided$", out, re.M)


def test_markdown(tmp_path: Path) -> None:
    golden = Path(__file__).with_name("golden") / "compare.md"
    written = tmp_path / "compare.md"
    assert compare(*five("base"), "--", *five("slow"), "--markdown", written) == 1
    assert written.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")


def test_markdown_and_html_show_names_as_they_are(tmp_path: Path) -> None:
    name = "a_<b>|`x` @team #12"
    make_run(tmp_path / name, SERVICE, 40, host="<script>alert(1)</script>")
    markdown, page = tmp_path / "c.md", tmp_path / "c.html"
    assert compare("base0", "--", tmp_path / name, "--markdown", markdown, "--html", page) == 4
    assert r"a\_&lt;b&gt;\|\`x\` @&#8203;team #&#8203;12" in markdown.read_text()
    html = page.read_text()
    assert "a_&lt;b&gt;|`x` @team #12" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "<script>alert" not in html


def test_the_page_is_whole_by_itself(tmp_path: Path) -> None:
    page = tmp_path / "c.html"
    assert compare(*five("base"), "--", *five("slow"), "--html", page) == 1
    html = page.read_text()
    assert "<h1>GetMessages latency p99 +" in html
    assert html.count('role="img" aria-label="') == 2 * 6
    assert "prefers-color-scheme: dark" in html and "var(--good)" in html
    assert html.count("<script") == 1 and not re.search(r"<link|@import|\bsrc=|\bhref=\"[^#]", html)
    assert set(re.findall(r"https?://[^\"' <]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert list(tmp_path.iterdir()) == [page]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--help") == 0
    out = capsys.readouterr().out
    assert "compare [OPTIONS] BASE... -- NEW..." in out and "reports/v1-* -- reports/v2-*" in out
    assert "compare --plan reports/v1-*" in out


def test_the_option_drops_decides_which_rate_is_judged(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def judged(*options: str) -> set[str]:
        compare(*five("base"), "--", *five("same"), "--json", *options)
        metrics = json.loads(capsys.readouterr().out)["metrics"]
        return {row["label"] for row in metrics.values() if row["judged"]}

    assert "dropped sessions" in judged() & judged("--drops", "per-session")
    asked = judged("--drops", "per-chat-hour")
    assert "drops per chat-hour" in asked and "dropped sessions" not in asked
    assert compare("base0", "--", "same0", "--drops", "all") == 2
    assert "is not one of 'auto', 'per-session', 'per-chat-hour'" in capsys.readouterr().err


def test_a_plan_repeats_what_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare("--plan", "--runs", 4, "--drops", "per-chat-hour", "--hourly-tolerance", 0.05) == 0
    assert "--hourly-tolerance 0.05 --drops per-chat-hour" in capsys.readouterr().out
