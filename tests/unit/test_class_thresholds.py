"""Thresholds on one user class: how they are written, and that no chat of another class counts for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from chatload.errors import UsageError
from chatload.features.combine.compute import combine_runs
from chatload.features.report.view import threshold_value, thresholds_document
from chatload.plausibility import doubtful_limit
from chatload.render.markdown import markdown
from chatload.run.books import Books, RunBooks
from chatload.run.settings import ClassSettings, RunSettings
from chatload.thresholds.gate import Gate, gate_of, make_gate, regate
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, Threshold, parse


def chats(**verdicts: int) -> Books:
    return Books(verdicts=Counter(verdicts), started=sum(verdicts.values()))


def mix(**by_class: Books) -> Facts:
    total = Books()
    for books in by_class.values():
        total.merge(books)
    return Facts.so_far(RunBooks(total, by_class), 45.0)


#: The drops of Web alone are 5 % of the run.
FACTS = mix(Vip=chats(completed=1000), Web=chats(completed=900, dropped_late=100))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Vip: dropped.rate < 1%", "Vip: dropped.rate < 1%"),
        ("  Vip :dropped.rate<1%", "Vip: dropped.rate < 1%"),
        ("Vip: GetMessages.latency.p99 < 2s in every 1m", "Vip: GetMessages.latency.p99 < 2 s in every 1m"),
        ("Größte_2: dropped.by_age(8m) < 5%", "Größte_2: dropped.by_age(8m) < 5%"),
    ],
)
def test_a_user_class_stands_before_the_metric(text: str, written: str) -> None:
    threshold = parse(text)
    assert str(threshold) == written and parse(written) == threshold
    assert threshold.user_class == written.partition(":")[0] and threshold != parse(written.partition(": ")[2])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (": dropped.rate < 1%", "no user class before the colon; write it like Vip: dropped_late.rate < 0.1%"),
        ("Vip: < 1%", "no METRIC OP VALUE"),
        (
            "GetMessages.latency.p99: < 1s",
            "'GetMessages.latency.p99' is not the name of a user class; write it like Vip: ",
        ),
        ("Vip: Web: dropped.rate < 1%", "no METRIC OP VALUE"),
        ("Vip dropped.rate < 1%", "no METRIC OP VALUE"),
        ("Vip: dropped.rat < 1%", "unknown metric 'dropped.rat'; did you mean dropped.rate?"),
    ],
)
def test_what_is_no_threshold_on_a_class_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse(text)
    assert says in str(refusal.value)


def test_only_the_chats_of_the_class_are_judged() -> None:
    results = {text: judge(parse(text), FACTS).result for text in ("Vip: dropped.rate < 1%", "Web: dropped.rate < 1%")}
    assert list(results.values()) == ["pass", "fail"]
    assert judge(parse("Web: sessions.count == 1000"), FACTS).result == "pass"
    assert judge(parse("dropped.rate < 6.5%"), FACTS).result == "pass"


def test_a_class_without_chats_is_not_judged_by_the_others() -> None:
    judgement = judge(parse("Gold: dropped.rate < 1%"), FACTS)
    assert (judgement.result, judgement.why, judgement.samples) == ("inconclusive", "no session to judge by", 0)


@pytest.mark.parametrize("option", ["thresholds", "abort_on"])
def test_an_unknown_class_is_refused_with_the_known_ones(option: str) -> None:
    gate = make_gate(**{"thresholds": (), option: ["Vpi: dropped.rate < 1%"]})
    with pytest.raises(UsageError) as refusal:
        gate.require_classes(["Web", "Vip"])
    assert str(refusal.value) == ("threshold 'Vpi: dropped.rate < 1%': no such user class; expected one of Vip, Web")
    with pytest.raises(UsageError, match="the run has only one user class; leave `Vpi:` out"):
        gate.require_classes(["Vpi"])
    make_gate(["Vip: failed.rate < 1%", "failed.rate < 1%"]).require_classes(["Web", "Vip"])


def test_a_report_refuses_what_its_run_did_not_have() -> None:
    run = RunSettings(classes=(ClassSettings("Vip"), ClassSettings("Web")))
    assert regate(run, ("Web: dropped.rate < 1%",), None, False).thresholds == (parse("Web: dropped.rate < 1%"),)
    for settings, says in ((run, "expected one of Vip, Web"), (RunSettings(), "only one user class")):
        with pytest.raises(UsageError, match=says):
            regate(settings, ("Gold: dropped.rate < 1%",), None, False)


def test_the_settings_of_a_run_keep_them() -> None:
    gate = make_gate(["Vip: dropped.rate < 1%"], ["Web: failed.rate < 5%"])
    assert gate_of(RunSettings(**gate.settings())) == gate


def test_one_on_a_class_does_not_replace_that_of_the_standard_gate() -> None:
    gate = make_gate(["Vip: dropped.rate < 5%", "failed.rate < 5%"], named="standard")
    subjects = [threshold.about for threshold in gate.thresholds]
    assert "dropped.rate" in subjects and "Vip: dropped.rate" in subjects and subjects.count("failed.rate") == 1


@pytest.mark.parametrize(
    ("thresholds", "covered"),
    [
        (["Vip: dropped.rate < 20%"], False),
        (["Web: dropped.rate < 20%"], True),  # no chat of Vip was dropped
        (["Vip: dropped.rate < 20%", "Web: dropped_late.rate < 20%"], True),
        (["dropped.rate < 20%"], True),
    ],
)
def test_drops_of_a_class_that_no_threshold_is_about_are_mentioned(thresholds: list[str], covered: bool) -> None:
    gate = make_gate(thresholds)
    judgements = gate.judge(FACTS)
    assert (len(judgements) == len(thresholds)) == covered
    assert (gate.result(judgements, 2000) == "passed") == covered


def test_a_run_is_ended_by_the_class_that_lost_its_threshold() -> None:
    def why(*texts: str) -> str:
        return Gate(abort_on=tuple(map(parse, texts))).abort_monitor(45.0).why_lost(FACTS, 1.0)

    assert why("Web: dropped.count < 100") == "Web: dropped.count < 100 is lost: Web: dropped.count is 100"
    assert why("Vip: dropped.count < 100") == ""
    assert why("Gold: dropped.rate < 1%") == ""


def test_a_bound_and_a_remedy_are_said_of_the_class() -> None:
    judgement = {"expression": "Vip: margin.p1 > 5 s", "unit": "s", "value": -1.0, "beyond": True}
    assert threshold_value(judgement, "value") == "under -1 s"
    cut_off = Facts(chats(completed=250, cut_off=250), 45.0, 250)
    said = judge(parse("Vip: dropped.rate < 1%"), replace(Facts(Books(), 45.0), by_class={"Vip": cut_off})).why
    assert said.endswith("or judge Vip: dropped.per_chat_hour, or judge Vip: dropped.by_age(AGE)")


def test_repeated_runs_are_judged_by_the_chats_of_the_class() -> None:
    gate = make_gate(["Vip: dropped.rate < 1%", "Web: dropped.rate < 1%"])
    vip, web = combine_runs(gate, [FACTS, FACTS])
    assert (vip.events, vip.exposure, vip.result) == (0, 2000, "pass")
    assert (web.events, web.exposure, web.result) == (200, 2000, "inconclusive")


def test_a_limit_that_every_rate_meets_is_doubted_with_its_class() -> None:
    threshold: Threshold = parse("Vip: dropped.rate < 1")
    said = doubtful_limit(str(threshold), threshold.metric.kind, threshold.op, threshold.limit)
    assert said.endswith("did you mean 'Vip: dropped.rate < 1%'?")


def test_the_list_of_metrics_says_how_a_class_is_named() -> None:
    assert "Vip: dropped.rate < 1%" in markdown(thresholds_document())
