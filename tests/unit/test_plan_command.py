"""`chatload plan`: its inputs from everywhere, exit codes, and what it prints and writes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chatload import cli
from chatload.chat.record import SessionRecord
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema

GOLDEN = Path(__file__).with_name("golden")
HAND = ["--chats-per-hour", "3600", "--handling-time", "600", "--poll-interval", "3"]
PRESET = [*HAND, "--preset", "genesys-sizing", "--messages-per-chat", "12"]
WEEKDAY = Path(__file__).parents[2] / "locustfiles" / "weekday.csv"
DAY = ["--arrival-profile", WEEKDAY, "--handling-time", 600, "--poll-interval", 3, "--sessions-per-server", 100]


def plan(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.run(["plan", *(str(argument) for argument in arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def make_run(folder: Path, dropped: int = 0, finish: bool = True, refused: int = 0) -> Path:
    """200 chats of 100 s, 50 open throughout 400 s, a poll every 5 s and 4 other requests each."""
    verdicts = ["dropped_late"] * dropped + ["completed"] * (200 - dropped) + ["refused"] * refused
    books = Books()
    books.started, books.verdicts = len(verdicts), Counter(verdicts)
    books.sent = Counter(GetMessages=4000, RequestChat=200 + refused, SendMessage=400, Disconnect=max(200 - refused, 0))
    books.outcomes = {name: Counter({"0/false": n}) for name, n in books.sent.items()}
    with RunWriter.create(folder, RunSettings(name="r", flex_disconnect_timeout=20.0), 1000.0) as writer:
        add_sessions(
            writer, [SessionRecord(f"c{i}", v, started_at=1000.0, ended_at=1100.0) for i, v in enumerate(verdicts)]
        )
        windows = []
        for i in range(40):
            part = Books()
            part.sent, part.started = Counter(GetMessages=100, SendMessage=20), 5
            windows.append(Window(1000.0 + 10 * i, 1010.0 + 10 * i, 50, part))
        writer.add_windows(windows)
        put_books(writer, "w", books)
        if finish:
            writer.finish(1400.0)
    return folder


def test_golden_console(capsys: pytest.CaptureFixture[str]):
    assert plan(*PRESET) == 0
    out = capsys.readouterr().out
    assert out == golden("plan.txt", out)
    assert max(map(len, out.splitlines())) <= 80


def test_golden_markdown(tmp_path: Path):
    assert plan(*PRESET, "--growth", "20%", "--peakedness", 2, "--markdown", tmp_path / "plan.md") == 0
    text = (tmp_path / "plan.md").read_text(encoding="utf-8")
    assert text == golden("plan.md", text)


def golden(name: str, made: str) -> str:
    """The golden file; CHATLOAD_GOLDEN=1 writes it anew."""
    if os.environ.get("CHATLOAD_GOLDEN"):
        (GOLDEN / name).write_text(made, encoding="utf-8")
    return (GOLDEN / name).read_text(encoding="utf-8")


def test_json_keeps_to_its_schema_and_to_the_example(capsys: pytest.CaptureFixture[str]):
    assert plan(*PRESET, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    schema = read_schema("plan", "plan")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(made, schema)
    # Poisson(600) at 99.9 % by direct summation
    assert made["peak"]["mean_chats"] == 600 and made["peak"]["chats"] == 677
    assert made["servers"] == {"needed": 2, "spare": 1, "total": 3, "needed_if_assigned_at_random": 2}
    assert made["refresh_pool_size"] == {"total": 46, "per_server": 23}


class Page(HTMLParser):
    """The tags of a page, and whether they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        if tag == "svg":
            assert dict(attrs).get("aria-label")
        if tag not in ("meta", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_escapes(tmp_path: Path):
    source = tmp_path / "<script>alert(1)<&.toml"
    source.write_text("chats_per_hour = 3600\n")
    assert plan("--from", source, *PRESET[2:], "--html", tmp_path / "plan.html") == 0
    text = (tmp_path / "plan.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == [] and page.seen["script"] == 1 and page.seen["svg"] >= 3
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text.replace("http://www.w3.org", ""))
    assert "&lt;script&gt;" in text and "prefers-color-scheme: dark" in text


def test_a_file_gives_inputs_and_the_command_line_goes_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "plan.toml"
    source.write_text(
        'chats_per_day = 20000\npeak_hour_share = "15%"\ngrowth = 0.2\nhandling_time = 300\npoll_interval = 3\n'
        'handling_distribution = "lognormal"\nhandling_cv = 1.2\nsessions_per_server = 500\n'
    )
    assert plan("--from", source, "--handling-time", 600, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["peak"]["mean_chats"] == pytest.approx(20000 * 0.15 * 1.2 / 6)
    assert made["sources"]["handling_time_s"] == "given" and made["sources"]["growth"] == str(source)
    assert made["sources"]["spare"] == "default"


def test_a_run_gives_what_it_held_and_how_its_chats_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run")
    assert plan("--chats-per-hour", 3600, "--run", run, "--run-servers", 2, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["capacity"]["sessions_per_server"] == {"value": 25, "origin": "held by the run"}
    assert made["capacity"]["requests_per_server"]["value"] == pytest.approx(6)
    assert made["capacity"]["starts_per_server"]["value"] == pytest.approx(0.25)
    demand = made["demand"]
    assert (demand["handling_time_s"], demand["poll_interval_s"]) == (100, 5)
    assert (demand["other_requests_per_chat"], demand["flex_disconnect_timeout_s"]) == (4, 20)
    # -ln 0.05 = 2.9957 drops at most in 200 chats
    assert made["drops"]["upper"] == pytest.approx(0.01487, abs=1e-5)
    assert any("not the limit" in note for note in made["notes"])


@pytest.mark.parametrize(("dropped", "target", "code"), [(0, "2%", 0), (0, "1%", 4), (20, "1%", 1)])
def test_exit_code_of_a_target(dropped: int, target: str, code: int, tmp_path: Path):
    run = make_run(tmp_path / "run", dropped)
    assert plan("--chats-per-hour", 3600, "--run", run, "--target-drop-rate", target) == code


def test_what_a_run_refused_or_polled_otherwise_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run", refused=3)
    assert plan("--chats-per-hour", 3600, "--run", run, "--poll-interval", 3) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "3 of its 203 sessions were never accepted" in out
    assert "the run's poll interval was 5 s, the plan's is 3 s" in out


def test_a_run_that_was_never_finished_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert plan("--chats-per-hour", 3600, "--run", make_run(tmp_path / "run", finish=False)) == 3
    assert "invalid or does not balance" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--handling-time is missing"),
        (HAND, "the capacity of a server is missing"),
        (HAND[2:], "the number of chats is missing"),
        ([*PRESET, "--chats-per-day", 10], "--chats-per-hour and --chats-per-day contradict"),
        ([*PRESET, "--growth", "20"], "--growth 20: expected a share such as 15% or 0.15"),
        ([*PRESET, "--percentile", 100], "--percentile 100 is not"),
        ([*PRESET, "--poll-interval", 60], "--poll-interval 60 s is not below"),
        ([*PRESET, "--preset", "best"], "'best' is not one of"),
        ([*PRESET, "--run", "nowhere"], "nowhere: not a run"),
        ([*PRESET, "--run-servers", 2], "--run-servers needs --run"),
        ([*PRESET, "--run", "nowhere", "--drop-rate-bound", "1%"], "--drop-rate-bound contradicts --run"),
        ([*PRESET, "--drop-rate-bound", "0"], "--drop-rate-bound is not above 0"),
        ([*PRESET, "--from", "nowhere.toml"], "nowhere.toml: cannot be read"),
        ([*PRESET, "--html", "no/such/folder.html"], "cannot be written"),
        ([*PRESET, "--arrival-profile", "day.csv"], "day.csv: cannot be read"),
        ([*PRESET, "--arrival-profile", WEEKDAY], "--arrival-profile and --chats-per-hour contradict"),
        ([*PRESET, "--rate-cv", "100%"], "--rate-cv 100 % is not from 0"),
        ([*PRESET, "--agents", 599], "--agents 599: more chats come than the agents can end"),
        ([*PRESET, "--patience", 60], "--patience needs --agents"),
        ([*PRESET, "--tune", "nowhere.json"], "nowhere.json: cannot be read"),
    ],
)
def test_wrong_usage_is_2_and_one_line(arguments: list[object], said: str, capsys: pytest.CaptureFixture[str]):
    assert plan(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err and err.startswith("chatload: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chats_per_huor = 3", "chats_per_huor: no input of a plan; is chats_per_hour meant?"),
        ("html = 'x'", "html: no input of a plan"),
        ("spare = 1.5", "spare: expected a whole number"),
        ("handling_time = 'long'", "handling_time: expected a duration"),
        ("growth = 20", "growth: expected a share such as 15% or 0.15, not 20"),
        ("growth = true", "growth: a number or text is expected"),
        ("preset = 'best'", "preset: 'best' is not one of"),
        ("spare = nan", "spare: expected a whole number"),
        ("= 3", "not valid TOML"),
    ],
)
def test_a_files_mistakes_are_named(line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "plan.toml"
    source.write_text(line)
    assert plan("--from", source) == 2
    err = capsys.readouterr().err
    assert said in err and str(source) in err and err.count("\n") == 1


def read(out: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(out)
    jsonschema.validate(made, read_schema("plan", "plan"))
    return made


def test_a_profile_is_planned_for_its_busiest_instant(capsys: pytest.CaptureFixture[str]):
    # weekday.csv rises by 120 an hour each hour up to 1 080 at 11:00, and then falls by 200 an hour each hour. Chats
    # follow with a delay of up to 10 minutes, so most are open after 11:00, and fewer than 1 080 / 6 = 180.
    assert plan(*DAY, "--json") == 0
    made = read(capsys.readouterr().out)
    assert 170 < made["peak"]["mean_chats"] < 180 and 11 * 3600 < made["peak"]["at_s"] < 11.3 * 3600
    assert made["peak"]["mean_arrivals"] == 1080 and made["demand"]["arrival_profile"] == str(WEEKDAY)
    assert plan(*DAY, "--rate-cv", "5%", "--growth", "10%", "--json") == 0
    more = read(capsys.readouterr().out)
    assert more["peak"]["mean_chats"] == pytest.approx(1.1 * made["peak"]["mean_chats"])
    assert more["peak"]["chats"] > 1.1 * made["peak"]["chats"]


def test_the_console_says_when_the_peak_is_and_that_chats_wait(capsys: pytest.CaptureFixture[str]):
    assert plan(*DAY) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "most chats are open at 11:0" in out and "rows are up to 3 h apart" in out
    assert plan(*DAY, "--agents", 170, "--patience", 180) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "with 170 agents at the peak, " in out and "of the customers give up" in out
    assert "approximated by a fluid model" in out and "most chats are open at 11:" in out
    assert plan(*DAY, "--agents", 200) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the highest rate of the profile is taken as lasting" in out and "most chats are open at" not in out


def test_the_clock_is_that_of_the_file_and_a_short_peak_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # 360 an hour, and 504 from 9:00 to 9:15: at 9:15 60 x (1 + 0.4 x (1 - e^-1.5)) = 78.6 are open on average.
    day = tmp_path / "day.csv"
    day.write_text("time,chats\n08:00,360\n09:00,126\n09:15,270\n10:00,0\n")
    assert plan("--arrival-profile", day, *DAY[2:]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "most chats are open at 9:15: 78.6 on average" in out


def test_agents_that_can_just_end_all_chats(capsys: pytest.CaptureFixture[str]):
    # 60 erlangs and 62 agents: on busier days, or with 40 % more chats for a while, the queue would never end.
    few = ["--chats-per-hour", 360, "--handling-time", 600, "--poll-interval", 3, "--agents", 62]
    assert plan(*few, "--sessions-per-server", 1000) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "one more server is needed if chats per hour grow by" in out
    assert "if days vary, give --rate-cv" in out and "a standard deviation of" not in out
    assert "if it has peaks, give --arrival-profile" in out and "% more arrivals" not in out
    # With 75 agents the days decide: if chats grow, the busiest are too many for the agents before a server is full.
    assert plan(*few[:-1], 75, "--rate-cv", "5%", "--sessions-per-server", 1e6) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the agents can no longer end all chats, whatever the servers carry, if chats per hour grow by" in out


def certify(run: Path, **changes: Any) -> Path:
    """Make the run a capacity search. changes: of what it certifies."""
    drops = {"drops": 0, "drops_proven": 0, "chat_hours": 150.0, "drops_per_chat_hour_upper": 0.02}
    capacity = {"lower": 40, "upper": 50, "confidence": 0.9, "curve": [], **drops, "requests_per_s": 13.5, **changes}
    facts = {"kind": "knee", "held": 40, "why": "", "rules": {"refresh_interval_s": 4.0}, "capacity": capacity}
    (run / "capacity.json").write_text(json.dumps(facts))
    return run


def test_a_capacity_search_gives_its_interval_and_its_bound_of_drops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = certify(make_run(tmp_path / "run", dropped=20))
    arguments = ["--chats-per-hour", 360, "--handling-time", 600, "--poll-interval", 3, "--run", run]
    assert plan(*arguments, "--target-drop-rate", "1%", "--json") == 0
    made = read(capsys.readouterr().out)
    assert made["capacity"]["sessions_per_server"] == {"value": 40, "origin": "capacity search"}
    assert made["capacity"]["requests_per_server"] == {"value": 13.5, "origin": "capacity search"}
    # -ln 0.05 / 150 = 0.02 in an hour, for 10 minutes: 1 - e^(-0.02 / 6). The run's 20 drops came above its capacity.
    assert made["drops"]["upper"] == pytest.approx(0.003323, abs=1e-6)
    assert [(row["chats"], row["period"]) for row in made["drops"]["expected"]] == [(1000, ""), (360, "the peak hour")]
    assert [row["upper"] for row in made["drops"]["expected"]] == pytest.approx([3.323, 1.196], abs=0.001)
    # What else the run held, it held at loads that it may not have held: they are no capacity.
    assert set(made["capacity"]) == {"sessions_per_server", "requests_per_server"}
    assert [row["servers"] for row in made["doubt"]["chances"]] == [2, 3, 4, 5]
    assert made["doubt"]["by_capacity"] + made["doubt"]["by_chance"] == pytest.approx(1)
    assert plan(*arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "chance that the servers are enough at an instant of the peak: 3 servers with" in out
    assert "of the doubt, " in out and "40 to 50 chats with 90 % confidence" in out
    assert "no drop was measured; dropped chats to expect: at most 3.4 of 1 000 chats" in out
    assert "drops at the certified load: 0 in 150 chat-hours" in out
    # Without --poll-interval it is the search's; the length of its chats, which it cut off, is not known.
    assert plan(*arguments[:4], "--run", run, "--json") == 0
    assert read(capsys.readouterr().out)["demand"]["poll_interval_s"] == 4.0
    assert plan("--chats-per-day", 9000, "--peak-hour-share", "10%", "--run", run) == 2
    assert "--handling-time is missing" in capsys.readouterr().err


def test_drops_of_the_certificate_are_expected_of_a_days_chats(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # 3 drops, 1 of them only possible, in 150 chat-hours. Of 9 900 chats a day of 10 minutes each, 1 650 chat-hours,
    # 33 are expected, and at most 7.754 / 150 x 1 650 = 85.3 (Garwood, 95 %).
    run = certify(make_run(tmp_path / "run"), drops=3, drops_proven=2)
    day = ["--chats-per-day", 9000, "--peak-hour-share", "10%", "--growth", "10%", "--handling-time", 600, "--run", run]
    assert plan(*day, "--json") == 0
    made = read(capsys.readouterr().out)["drops"]
    per_day = made["expected"][1]
    assert (per_day["chats"], per_day["period"]) == (pytest.approx(9900), "a day")
    assert per_day["upper"] == pytest.approx(85.3, rel=0.006)
    assert per_day["expected"] == pytest.approx(22, rel=0.003), "the two that are sure"
    assert plan(*day) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "dropped chats to expect: 2.22 (at most 8.6) of 1 000 chats, 22 (at most 85) of 9 900 chats of a day" in out


def test_a_search_that_certifies_nothing_is_no_capacity(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path / "run")
    (run / "capacity.json").write_text(json.dumps({"kind": "stopped", "why": "it was stopped", "held": 80}))
    assert plan("--chats-per-hour", 360, "--handling-time", 600, "--run", run) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "certifies no capacity (it was stopped); it held 80 sessions" in said and "--sessions-per-server N" in said


def test_a_search_that_most_sessions_were_refused_in_is_used(tmp_path: Path):
    run = certify(make_run(tmp_path / "run", refused=900))
    assert plan("--chats-per-hour", 360, "--handling-time", 600, "--run", run) == 0
    (run / "capacity.json").unlink()
    assert plan("--chats-per-hour", 360, "--handling-time", 600, "--run", run) == 4


def test_what_other_intervals_need_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["--chats-per-hour", 3600, "--handling-time", 600, "--requests-per-server", 50]
    assert plan(*arguments, "--poll-interval", 3, "--json") == 0
    rows = read(capsys.readouterr().out)["refresh_intervals"]
    assert [row["interval_s"] for row in rows] == [1.5, 3, 6, 12]
    # 677 chats: 677 / 12 + 677 x 2 / 600 = 58.7 requests/s, 2 servers; at 1.5 s 453.6, 10 servers.
    assert [row["by_requests"] for row in rows] == [10, 5, 3, 2]
    sweep = tmp_path / "tune.json"
    sweep.write_text(json.dumps({"result": "recommended", "timeout_s": 30.0, "recommended": {"interval_s": 18.0}}))
    assert plan(*arguments, "--tune", tmp_path, "--json") == 0
    made = read(capsys.readouterr().out)
    assert made["demand"]["poll_interval_s"] == 18 and made["sources"]["poll_interval_s"] == "the sweep"
    assert made["demand"]["flex_disconnect_timeout_s"] == 30
    assert [row["interval_s"] for row in made["refresh_intervals"]] == [9, 18]
    assert plan(*arguments, "--tune", sweep, "--poll-interval", 3) == 0
    assert "18 s, of the sweep" in capsys.readouterr().out
    shorter = ["--poll-interval", 3, "--flex-disconnect-timeout", 15]
    assert plan(*arguments, "--tune", sweep, *shorter) == 0
    assert "of the sweep" not in capsys.readouterr().out


def test_a_profile_and_agents_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "plan.toml"
    source.write_text(
        f'arrival_profile = "{WEEKDAY}"\nrate_cv = "5%"\nagents = 190\npatience = 180\nhandling_time = 600\n'
        "poll_interval = 3\nsessions_per_server = 100\n"
    )
    assert plan("--from", source, "--json") == 0
    made = read(capsys.readouterr().out)
    assert (made["demand"]["agents"], made["demand"]["patience_s"], made["demand"]["rate_cv"]) == (190, 180, 0.05)


def test_agents_need_the_time_with_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert plan("--chats-per-hour", 360, "--run", make_run(tmp_path / "run"), "--agents", 70) == 2
    assert "--agents needs --handling-time, the time with an agent" in capsys.readouterr().err


def test_a_run_too_short_to_hold_anything_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    books, chat = Books(), SessionRecord("c", "completed")
    books.started = 1
    books.session_ended(chat)
    with RunWriter.create(tmp_path / "run", RunSettings(flex_disconnect_timeout=20.0), 1000.0) as writer:
        add_sessions(writer, [chat])
        put_books(writer, "w", books)
        writer.finish(1001.0)
    assert plan("--chats-per-hour", 3600, "--run", tmp_path / "run") == 2
    assert "no session was held for one flex-disconnect-timeout (20 s)" in capsys.readouterr().err
