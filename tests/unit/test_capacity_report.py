"""What a capacity search says: its JSON, its sentences, its page, its exit code."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from chatload import cli
from chatload import target as ceilings
from chatload.chat.policy import make_policy
from chatload.chat.settings import SessionSettings
from chatload.errors import FileError, UsageError
from chatload.features.capacity import view as capacity
from chatload.features.capacity.certificate import hold_to_show
from chatload.features.capacity.search import rules_of
from chatload.render.document import SideBySide
from chatload.render.html import html
from chatload.render.output import write_json
from chatload.render.terminal import render
from chatload.run.books import Books
from chatload.run.settings import RunSettings, option_of
from chatload.run.writer import RunWriter
from chatload.swarm.checks import planned_rate
from chatload.thresholds.gate import make_gate
from chatload.thresholds.metrics import parse
from tests.run_files import put_books
from tests.schemas import read_schema
from tests.unit.capacity_server import RULES, Server, World

WORLDS = {
    "limit": (
        Server(limit=137),
        RULES,
        0,
        "The server's limit is 137 sessions: so many were held, and at 138 it refused chats, twice",
    ),
    "knee": (Server(knee=300), RULES, 0, "The server's capacity is 2"),
    "generator": (
        Server(),
        replace(RULES, ceiling=60),
        4,
        "The generator was the limit: it was not allowed to open more than",
    ),
    "undecided": (
        Server(),
        replace(RULES, interval_s=30.0, ceiling=10),
        4,
        "The generator was the limit: it was not allowed to open more than 10 sessions; no load was held, and",
    ),
}


def found(name: str) -> dict[str, Any]:
    server, rules, _, _ = WORLDS[name]
    world = World(server, rules)
    world.run()
    return capacity.search_facts(world.search, [(0.0, 10, 0), (1.0, 10, 10)])


@pytest.mark.parametrize("name", WORLDS)
def test_every_ending_is_told_in_one_sentence_and_keeps_to_the_schema(name: str, tmp_path: Path) -> None:
    facts = found(name)
    jsonschema.validate(facts, read_schema("capacity", "capacity"))
    json.dumps(facts, allow_nan=False)
    _, _, code, answer = WORLDS[name]
    assert capacity.answer(facts).startswith(answer)
    assert facts["claim"] == (code == 0)
    text = io.StringIO()
    write_json(facts, tmp_path / capacity.CAPACITY_FILE)
    assert capacity.report_capacity(tmp_path, text) == code
    assert answer[:60] in text.getvalue().replace("\n  ", " ")
    assert all(len(line) <= 100 for line in text.getvalue().splitlines())


def test_a_limit_of_drops_that_the_hold_was_too_short_to_show_says_which_hold_shows_it() -> None:
    facts = found("limit")
    # Held for 13 s by 137 sessions, of which 9 s count: 0.34 chat-hours of the 2.9957 / 0.2 = 15 that are needed.
    needed = 4 + 3600 * 2.9957 / 0.2 / 137
    said = " ".join(capacity.sentences(facts))
    assert "dropped.per_chat_hour < 0.2 is not shown for 137 sessions, only not refuted" in said
    assert f"--confirm-hold {math.ceil(needed)}s is long enough to show it if no chat is dropped" in said
    facts["capacity"]["drops_per_chat_hour_upper"] = 0.19
    assert "not refuted" not in " ".join(capacity.sentences(facts))


def test_the_search_with_the_named_hold_shows_the_limit_of_drops() -> None:
    rules = replace(RULES, confirm_s=hold_to_show(0.2, 137, RULES.timeout_s, RULES.confidence) + 2)
    world = World(Server(limit=137), rules)
    bound = world.run().capacity.drops_per_chat_hour_upper
    assert bound == pytest.approx(0.2, rel=0.02) and bound < 0.2


def test_instants_count_from_the_runs_beginning() -> None:
    facts = found("limit")
    assert facts["steps"][0]["begun_s"] == 0
    assert 0 < facts["trouble"]["at_s"] <= facts["steps"][-1]["ended_s"]
    begun = [step["begun_s"] for step in facts["steps"]]
    assert begun == sorted(begun)


def test_the_page_has_the_answer_and_the_words_of_an_unnamed_peak() -> None:
    facts = found("limit")
    words = "too few saturated loads were measured for a fit"
    text = io.StringIO()
    render(capacity.capacity_document(facts), text)
    page = html(capacity.capacity_document(facts))
    assert facts["usl"] is None
    assert words in page and words in text.getvalue().replace("\n  ", " ")
    assert WORLDS["limit"][3].replace("'", "&#39;") in page
    assert page.count("<script>") == 1 and "http://" not in page.replace("http://www.w3.org", "")


def test_a_chart_is_drawn_where_it_shows_something() -> None:
    def headings(name: str) -> set[str]:
        document = capacity.capacity_document(found(name))
        assert document.overview is not None and "sessions wanted" in document.overview.shows
        pairs = [block for section in document.sections for block in section.blocks if isinstance(block, SideBySide)]
        return {chart.heading for pair in pairs for chart in pair.charts}

    always = {"Latency against load"}
    # A limit is exact, so there is no curve of chances; on the way to a knee nothing was refused or dropped.
    assert headings("limit") == {*always, "Refused and dropped against load"}
    assert headings("knee") - {"Throughput against load"} == {*always, "Chance to hold against load"}


def test_what_was_written_is_read_back_and_a_spoilt_file_is_one_line(tmp_path: Path) -> None:
    facts = found("generator")
    assert capacity.read_capacity(tmp_path) is None
    write_json(facts, tmp_path / capacity.CAPACITY_FILE)
    assert capacity.read_capacity(tmp_path) == json.loads(json.dumps(facts))
    (tmp_path / "capacity.json").write_text("{")
    with pytest.raises(FileError, match=r"capacity\.json.*cannot be read"):
        capacity.read_capacity(tmp_path)


def test_chatload_report_tells_it_anew_and_exits_by_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunWriter.create(tmp_path, RunSettings(name="capacity", flex_disconnect_timeout=4)) as writer:
        put_books(writer, "w", Books())
        writer.finish()
    write_json(found("generator"), tmp_path / capacity.CAPACITY_FILE)
    with pytest.raises(SystemExit) as left:
        cli.run(["report", str(tmp_path)])
    assert left.value.code == 4
    assert "The generator was the limit" in capsys.readouterr().out
    assert (tmp_path / "capacity.html").exists()


PLAN = SimpleNamespace(
    settings=SessionSettings(make_policy("fixed", 45.0, 4.0), 10.0),
    mix=[(1.0, SessionSettings(make_policy("fixed", 45.0, 4.0), 10.0))],
    rules=ceilings.TargetRules(),
    gate=make_gate(["refused.rate < 1%"], percent=90.0),
)


def planned(**options: str) -> SimpleNamespace:
    """The plan with these of the search's options."""
    given = {"start_sessions": "10", "resolution": "5", **options}
    run = RunSettings(**{name: option_of(name).value(value) for name, value in given.items()})
    return SimpleNamespace(**{**vars(PLAN), "run": run})


def test_the_rules_come_from_the_options_and_the_runs_plan() -> None:
    rules = rules_of(planned())  # type: ignore[arg-type]
    assert (rules.start, rules.ceiling, rules.hold_s, rules.bound_s) == (10, 1000, 12.0, 72.0)
    assert (rules.interval_s, rules.timeout_s, rules.confirming_s, rules.confidence) == (4.0, 45.0, 139.0, 0.9)
    assert rules.interval_confidence == pytest.approx(0.8)
    assert [str(threshold) for threshold in rules.thresholds] == ["refused.rate < 1%"]
    given = rules_of(planned(step_hold="2500ms", resolution="10%", confirm_hold="2m"))  # type: ignore[arg-type]
    assert (given.hold_s, given.bound_s, given.resolution, given.confirming_s) == (2.5, 15.0, 0.1, 120.0)
    # A drop shows only after one timeout.
    assert rules_of(planned(confirm_hold="10s")).confirming_s == 49.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("start_sessions", "1001", "--start-sessions 1001 is above the ceiling of 1000 sessions"),
        ("step_hold", "soon", "--step-hold soon: expected a duration"),
        ("step_bound", "-1", "--step-bound -1: expected a duration"),
        ("start_sessions", "0", "--start-sessions 0: expected a whole number from 1 on"),
        ("start_sessions", "1.5", "--start-sessions 1.5: expected a whole number from 1 on"),
        ("resolution", "60", "--resolution 60 is above 50 %"),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rules_of(planned(**{option: value}))  # type: ignore[arg-type]


def test_a_confidence_that_makes_no_interval_is_refused() -> None:
    plan = SimpleNamespace(**{**vars(planned()), "gate": make_gate([], percent=50.0)})
    with pytest.raises(UsageError, match="--confidence 50 makes no interval of the capacity"):
        rules_of(plan)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ("GetMessages.latency.p95 < 300ms in every 1m", "each step is judged as a whole"),
        ("Vip: refused.count == 0", "each step is judged by all chats together"),
        ("incidents.per_hour < 1", "incidents are found when the run has ended"),
        ("incident.share < 10%", "incidents are found when the run has ended"),
        ("dropped.by_age(8m) < 1%", "the ages of chats are read when the run has ended"),
        ("cut_off.count == 0", "the search itself cuts chats off when it reduces the load"),
        ("dropped.per_chat_hour > 1", "a step is too short to prove that a rate per chat-hour is above a limit"),
    ],
)
def test_a_threshold_that_no_step_can_judge_is_refused(threshold: str, message: str) -> None:
    plan = SimpleNamespace(**{**vars(planned()), "gate": make_gate([threshold])})
    with pytest.raises(UsageError) as refused:
        rules_of(plan)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"a capacity search cannot judge {parse(threshold)}: {message}")
    assert "in every" not in threshold or "write it without `in every`: GetMessages.latency.p95 < 300 ms" in str(
        refused.value
    )


@pytest.mark.parametrize(("sessions", "rate", "ceiling"), [(50, None, 50), (2000, None, 2000), (500, 30.0, 65)])
def test_the_search_stays_below_the_runs_ceilings(sessions: int, rate: float | None, ceiling: int) -> None:
    # A chat polls each 4 s, and has two requests and its messages beside, in a minute.
    plan = SimpleNamespace(
        **{**vars(planned()), "rules": ceilings.TargetRules(max_sessions=sessions, max_requests_per_s=rate)}
    )
    made = rules_of(plan)  # type: ignore[arg-type]
    assert made.ceiling == ceiling
    assert rate is None or planned_rate(made.ceiling, PLAN.settings) <= rate < planned_rate(ceiling + 1, PLAN.settings)
