"""Sessions that are not independent: what a threshold on their rate says, incidents, and repeated runs together."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from chatload.chat.record import SessionRecord
from chatload.cli import main
from chatload.errors import UsageError
from chatload.features.combine.compute import CombinedRuns, combine_runs, judge_by_run
from chatload.features.report.summary import summarize
from chatload.features.report.view import summary_document
from chatload.render.markdown import markdown
from chatload.run.books import Books
from chatload.run.reader import RunReader
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.stats.bursts import find_incidence
from chatload.stats.clusters import Design
from chatload.thresholds.dependence import design_of, open_then, time_blocks
from chatload.thresholds.gate import make_gate
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, TimeBlock, metric_named, parse, parse_abort
from chatload.vocabulary import ThresholdResult
from tests.run_files import add_sessions, put_books
from tests.schemas import read_schema

HOUR = 3600.0
PASS, INCONCLUSIVE = ThresholdResult.PASS, ThresholdResult.INCONCLUSIVE


def books(**verdicts: int) -> Books:
    made = Books()
    made.verdicts = Counter(verdicts)
    made.started = sum(verdicts.values())
    return made


def run(completed: int, *bursts: int, alone: int = 0, worst_open: int | None = None) -> Facts:
    """A run of an hour with bursts of drops, and drops that came alone."""
    instants = [300.0 + 700 * i + 0.01 * j for i, size in enumerate(bursts) for j in range(size)]
    instants += [20.0 + 3500 * (i + 0.37) / alone for i in range(alone)]
    made = books(completed=completed, dropped_late=len(instants))
    return Facts(made, 45.0, 0, find_incidence(instants, 0.0, HOUR), (), worst_open)


def said(text: str, facts: Facts, **more: Any) -> tuple[str, str]:
    judgement = judge(parse(text), facts, **more)
    return judgement.result, judgement.why


def test_a_pass_names_the_size_of_incidents_for_which_it_holds() -> None:
    # 3 * 3 / 2000 = 0.45 %
    assert said("dropped.rate < 0.5%", run(2000)) == (
        "pass",
        "0 of 2000 sessions; the rate is below 0.5 % with 95 % confidence (at most 0.15 %) if no incident takes more "
        "than 3 sessions",
    )
    assert judge(parse("dropped.rate < 0.5%"), run(2000)).incident_size == 3
    assert judge(parse("completed.rate > 99.5%"), run(2000)).incident_size == 3


def test_an_incident_size_that_is_demanded_needs_so_many_times_the_sessions() -> None:
    few = judge(parse("dropped.rate < 0.5%"), run(2000), incident_size=20)
    # 0.05^(1/n) = 0.995 at n = 598
    assert (few.result, few.needed, few.needed_90) == ("inconclusive", 20 * 598, 20 * 598)
    assert judge(parse("dropped.rate < 0.5%"), run(12_000), incident_size=20).result == "pass"


def test_twelve_drops_in_two_incidents_are_two_observations() -> None:
    facts = run(1988, 6, 6)
    result, why = said("dropped.rate < 1%", facts)
    # As 2 of 333: at most 1.9 %. Independent, 12 of 2000 would be at most 0.97 %.
    assert result == "inconclusive"
    assert (
        "12 of 2000 sessions; 12 drops came in 2 incidents: the 2000 sessions are worth 333 independent ones; " in why
    )
    assert judge(parse("dropped.rate < 1%"), facts).worth == 333
    assert said("dropped.rate < 1%", run(1988, alone=12))[0] == "pass"


def test_one_more_incident_may_be_as_large_as_the_largest_one_seen() -> None:
    metric = metric_named("dropped.rate")
    # (30^2 + 10 * 1^2) / 40
    assert design_of(metric, run(2000, 30, alone=10)) == Design(22.75, 30)
    assert design_of(metric, run(2000, 30, alone=10), incident_size=50) == Design(22.75, 50)
    assert design_of(metric_named("failed.rate"), run(2000, 30), incident_size=5) == Design(1, 5)
    assert design_of(metric_named("timeout.rate"), run(2000, 30), incident_size=5) == Design(1, 1)


def test_one_outage_does_not_prove_a_high_rate() -> None:
    assert said("dropped.rate < 1%", run(960, 40))[0] == "inconclusive"
    assert said("dropped.rate < 1%", run(960, alone=40))[0] == "fail"
    assert said("dropped.rate < 1%", run(0, 40))[0] == "fail"  # 5 % at least, if this is one of one


def test_an_uneven_course_is_found_by_blocks_of_time_for_any_rate_of_sessions() -> None:
    def blocks(*ended: Books, begun: Books = books()) -> tuple[TimeBlock, ...]:
        return tuple(TimeBlock(begun, each, 60.0) for each in ended)

    burst = blocks(books(completed=80, failed=20), *[books(completed=100)] * 19)
    facts = Facts(books(completed=1980, failed=20), 45.0, blocks=burst)
    result, why = said("failed.rate < 1.6%", facts)
    assert result == "inconclusive" and "they came unevenly over time: the 2000 sessions are worth 99" in why
    even = Facts(facts.books, 45.0, blocks=blocks(*[books(completed=99, failed=1)] * 20))
    assert said("failed.rate < 1.6%", even)[0] == "pass"
    assert judge(parse("failed.rate < 1.6%"), even).worth == 2000
    # Chats that fail end before those that complete: where they are open as long, this is no dependence.
    early = blocks(*[books(failed=1)] * 19, books(completed=1980, failed=1))
    assert judge(parse("failed.rate < 1.6%"), Facts(facts.books, 45.0, blocks=early)).worth == 2000
    # Where ten times as many chats are open, ten times as many fail.
    few, many = (TimeBlock(books(), books(completed=494, failed=n), 60.0 * n) for n in (1, 10))
    rising = Facts(books(completed=9890, failed=110), 45.0, blocks=(*[few] * 10, *[many] * 10))
    assert judge(parse("failed.rate < 1.6%"), rising).worth == 10_000
    # Chats that are refused count where they began.
    refused = tuple(TimeBlock(books(completed=90, refused=10 * (i == 3)), books(completed=90), 60.0) for i in range(20))
    together = Facts(books(completed=1800, refused=10), 45.0, blocks=refused)
    assert (judge(parse("unserved.rate < 1%"), together).worth or 0) < 250


def test_the_time_that_sessions_were_open_in_a_block() -> None:
    loads = [(0.0, 10.0, 4), (10.0, 20.0, 8)]
    blocks = time_blocks([Books()] * 4, [Books()] * 4, loads, 0.0, 20.0)
    assert [block.open_s for block in blocks] == [20.0, 20.0, 40.0, 40.0]
    across = time_blocks([Books()] * 2, [Books()] * 2, [(4.0, 12.0, 1)], 0.0, 20.0)
    assert [block.open_s for block in across] == [6.0, 2.0]


def test_what_would_settle_it_is_probable() -> None:
    judgement = judge(parse("dropped.rate < 0.5%"), run(1998, alone=2))
    assert judgement.result == "pass" or judgement.needed is not None
    open_one = judge(parse("dropped.rate < 0.5%"), run(1000, alone=2))
    assert open_one.needed is not None and open_one.needed_90 is not None
    assert open_one.needed < open_one.needed_90
    assert (
        f"a run of {open_one.needed} sessions at this rate would settle it with a probability of 80 %" in open_one.why
    )


@pytest.mark.parametrize(
    ("text", "facts", "result"),
    [
        # Garwood: 0 in an hour is below 3.0, 2 are between 0.36 and 6.3
        ("incidents.per_hour < 3", run(2000), "pass"),
        ("incidents.per_hour < 2.9", run(2000), "inconclusive"),
        ("incidents.per_hour < 6.3", run(2000, 30, 40), "pass"),
        ("incidents.per_hour < 6.2", run(2000, 30, 40), "inconclusive"),
        ("incidents.per_hour < 0.3", run(2000, 30, 40), "fail"),
        ("incidents.per_hour > 0.3", run(2000, 30, 40), "pass"),
        ("incident.share < 10%", run(2000), "pass"),
        ("incident.share < 10%", run(2000, 30, 40), "pass"),  # 40 of 2070 sessions
        ("incident.share < 10%", run(2000, 30, 40, worst_open=200), "fail"),
        ("incident.share <= 20%", run(2000, 30, 40, worst_open=200), "pass"),
        ("incident.share < 10%", run(5, alone=1), "pass"),  # one drop is no burst
        ("incident.share < 10%", Facts(books(completed=3, dropped_late=2), 45.0), "inconclusive"),
        ("incident.share < 10%", Facts(books(completed=3), 45.0), "pass"),
        ("incidents.per_hour < 3", Facts(books(completed=3), 45.0), "inconclusive"),
        ("incidents.per_hour < 3", run(0), "inconclusive"),
    ],
)
def test_incidents_are_judged_by_how_many_and_how_large(text: str, facts: Facts, result: str) -> None:
    assert said(text, facts)[0] == result


def test_incidents_say_what_was_seen() -> None:
    assert said("incident.share < 10%", run(2000, 30, 40, worst_open=200))[1] == (
        "the largest burst dropped 40 of 200 open chats; it says nothing of those not seen"
    )
    assert said("incidents.per_hour < 2.9", run(2000))[1] == (
        "0 incidents in 1 h; 0 to 3 an hour, each with 95 % confidence: a run of 1.03 h like this would probably "
        "settle it"
    )


@pytest.mark.parametrize("text", ["incidents.per_hour < 0", "incidents.per_hour <= 0", "incidents.per_hour < 1%"])
def test_an_hourly_rate_is_a_number_above_zero(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize("text", ["incidents.per_hour < 1", "incident.share < 10%"])
def test_incidents_are_no_reason_to_abort(text: str) -> None:
    assert str(parse(str(parse(text)))) == str(parse(text))
    with pytest.raises(UsageError, match="when the run has ended"):
        parse_abort(text)


def test_the_chats_open_at_a_burst() -> None:
    loads = [(0.0, 1.0, 5), (1.0, 2.0, 80), (2.0, 3.0, 100), (3.0, 4.0, 60), (4.0, 5.0, 300)]
    assert open_then(loads, 3.2, 4.5) == 100
    assert open_then(loads, 2.0, 2.5) == 80
    assert open_then(loads, 0.2, 0.5) is None
    assert open_then([], 0.2, 0.5) is None


def records(completed: int, dropped: int, start: float = 0.0) -> list[SessionRecord]:
    """Chats that end evenly over 100 s, and `dropped` that are dropped within a second."""
    even = [SessionRecord(f"c{start}{i}", "completed", ended_at=start + 100 * i / completed) for i in range(completed)]
    return even + [SessionRecord(f"d{start}{i}", "dropped_late", ended_at=start + 40 + i / 40) for i in range(dropped)]


def write_run(
    folder: Path, made: list[SessionRecord], settings: RunSettings = RunSettings(), ended_at: float = 100.0
) -> None:
    counted = Books()
    for record in made:
        counted.started += 1
        counted.session_ended(record, 45.0)
    with RunWriter.create(folder, settings, 0.0) as writer:
        add_sessions(writer, made)
        put_books(writer, "w", counted)
        writer.finish(ended_at)


def test_a_report_says_what_the_sessions_are_worth(tmp_path: Path) -> None:
    write_run(tmp_path, records(360, 40))
    with RunReader.open(tmp_path) as reader:
        blocks = reader.fates_by_block("ended_at", 0.0, 100.0, 20)
        summary = summarize(reader, make_gate([], named="standard"))
    assert sum(block.verdicts["completed"] for block in blocks) == 360
    assert [block.verdicts["dropped_late"] for block in blocks if block.verdicts["dropped_late"]] == [40]
    assert summary["bursts"]["incidents"] == 1 and summary["bursts"]["design_effect"] == 40
    assert summary["bursts"]["sessions_worth"] <= 10
    # 40 of 400 at once prove 0.5 %, not 8 %
    assert 0.004 < summary["rates"]["dropped"]["low"] < 0.006
    assert "The 400 sessions are worth 10 independent ones" in markdown(summary_document(summary))
    share = next(t for t in summary["thresholds"] if t["metric"] == "incident.share")
    assert (share["result"], share["value"]) == ("fail", 0.1)


# -- repeated runs --------------------------------------------------------------------------------


def test_runs_add_up_and_the_result_does_not_depend_on_their_order() -> None:
    gate = make_gate(["dropped.rate < 1%", "incidents.per_hour < 3"])
    one, two = run(300), run(298, alone=2)
    (alone, _), (both, hours), (again, _) = (combine_runs(gate, runs) for runs in ([one], [one, two], [two, one]))
    assert alone.result == "inconclusive"  # 300 without a drop pass a planned test, not one that may be repeated
    assert both.exposure == 600 and both.events == 2 and both.log_for == pytest.approx(again.log_for)
    assert hours.exposure == 2.0 and hours.events == 2
    (enough, _) = combine_runs(gate, [one, one])
    assert enough.result == "pass" and enough.more is None
    (bad, _) = combine_runs(gate, [run(90, alone=10)] * 2)
    assert bad.result == "fail"


def test_a_wanted_share_is_judged_by_the_sessions_that_do_not_have_it() -> None:
    (completed,) = combine_runs(make_gate(["completed.rate > 99%"]), [run(600)])
    (dropped,) = combine_runs(make_gate(["dropped.rate < 1%"]), [run(600)])
    assert (completed.result, completed.log_for) == ("pass", pytest.approx(dropped.log_for))
    (worse,) = combine_runs(make_gate(["completed.rate > 99%"]), [Facts(run(90, alone=10).books, 45.0)])
    assert worse.log_against > 0 > worse.log_for


def test_an_incident_larger_than_assumed_is_no_evidence_for_a_low_rate() -> None:
    gate = make_gate(["dropped.rate < 1%"], incident_size=5)
    (small,), (large,) = combine_runs(gate, [run(9000, 5)]), combine_runs(gate, [run(9000, 90)])
    assert small.result == "pass" and large.result == "inconclusive"
    # 418 sessions without a drop are enough for incidents of one session, 20 times as many for 20.
    few, many = (combine_runs(make_gate(["dropped.rate < 1%"], incident_size=20), [run(n)])[0] for n in (8300, 8400))
    assert (few.result, many.result) == ("inconclusive", "pass")


def combined(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["combine", *arguments], standalone_mode=False)


def test_the_command_judges_runs_together(tmp_path: Path) -> None:
    settings = RunSettings(thresholds=("dropped.rate < 1%", "lateness.p99 < 1s"))
    for name, ended_at in (("one", 100.0), ("two", 101.0)):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, records(300, 0), settings, ended_at)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    alone, both = (combined(*runs) for runs in ([one], [one, two]))
    first, second = (json.loads(combined(*given, "--json").output) for given in ([one], [one, two]))
    assert [made["combined"][0]["result"] for made in (first, second)] == ["inconclusive", "pass"]
    assert "2 runs judged together" in both.output
    copied = shutil.copytree(one, tmp_path / "copied")
    for again in (one, f"{one}/run.sqlite", str(copied)):
        twice = combined(one, again)
        assert isinstance(twice.exception, UsageError) and f"the same run as {one}" in str(twice.exception)
    # No refresh was measured, so the other threshold is open in each run.
    assert (alone.return_value, both.return_value) == (4, 4)
    decided = combined(one, two, "--threshold", "dropped.rate < 1%")
    assert decided.return_value == 0 and "PASS: 2 runs judged together" in decided.output
    counts = combined(one, "--threshold", "dropped.count == 0")
    assert isinstance(counts.exception, UsageError)


def test_other_thresholds_pass_or_fail_with_every_run(tmp_path: Path) -> None:
    settings = RunSettings(thresholds=("dropped.rate < 1%", "sessions.count >= 300", "dropped.count == 0"))
    for name, count, ended_at in (("one", 600, 100.0), ("two", 200, 101.0)):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, records(count, 0), settings, ended_at)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    both = combined(one, two, "--json")
    made = json.loads(both.output)
    jsonschema.validate(made, read_schema("combine", "combine"))
    assert both.return_value == 4 and made["result"] == "inconclusive" and made["runs"] == [one, two]
    assert [(item["threshold"], item["result"], item["exposure"]) for item in made["combined"]] == [
        ("dropped.rate < 1%", "pass", 800)
    ]
    assert [(item["threshold"], item["results"], item["result"]) for item in made["by_run"]] == [
        ("sessions.count >= 300", ["pass", "fail"], "inconclusive"),
        ("dropped.count == 0", ["pass", "pass"], "pass"),
    ]
    shown = " ".join(combined(one, two).output.split())
    assert "Judged in each run by itself" in shown and "They pass if they pass in every run" in shown
    failing = combined(two, "--json")
    # What no threshold is about may not be hidden, nor a run that was given up.
    given = [Facts(books(completed=600), 45.0)]
    gate, own, other = make_gate(["dropped.rate < 1%"]), parse("dropped.rate < 1%"), parse("unserved.rate < 1%")
    by_run = judge_by_run(gate, [{own: PASS}, {own: PASS, other: INCONCLUSIVE}])
    assert [(item.threshold, item.result) for item in by_run] == [(other, INCONCLUSIVE)]
    judged = combine_runs(gate, given)
    results = [CombinedRuns(["a"], gate, judged, *more).result for more in (([],), (by_run,), ([], ["a: is lost"]))]
    assert results == ["pass", "inconclusive", "fail"]
    assert failing.return_value == 1 and json.loads(failing.output)["by_run"][0]["result"] == "fail"


def test_drops_by_age_do_not_add_up_as_if_they_were_a_rate_per_session() -> None:
    # No chat of these runs has an age, so nothing is known about drops before 8 minutes.
    gate = make_gate(["dropped.by_age(8m) < 1%"])
    assert combine_runs(gate, [run(600), run(600)]) == []
    (by_run,) = judge_by_run(gate, [{gate.thresholds[0]: INCONCLUSIVE}] * 2)
    assert by_run.result == INCONCLUSIVE


def test_chats_that_were_cut_off_are_no_evidence_for_a_low_rate_of_repeated_runs() -> None:
    gate = make_gate(["dropped.rate < 1%"])
    whole, cut = (Facts(books(completed=300, cut_off=n), 45.0, n) for n in (0, 300))
    mostly = Facts(books(completed=300, cut_off=301), 45.0, 301)
    (one,), (other,), (none,) = (combine_runs(gate, [facts]) for facts in (whole, cut, mostly))
    assert one.log_for == pytest.approx(other.log_for) and one.log_for > 0
    assert (none.exposure, none.log_for) == (0, 0)
    # They are counted where that speaks for the server.
    bad, cut_bad = (Facts(books(completed=90, dropped_late=10, cut_off=n), 45.0, n) for n in (0, 90))
    assert combine_runs(gate, [bad])[0].log_against > combine_runs(gate, [cut_bad])[0].log_against > 0
