"""What users may write as a threshold, and what they are told when they may not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.errors import UsageError
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.thresholds.metrics import METRICS, metric_named, parse, parse_abort
from chatload.vocabulary import Blame, Outcome, Verdict

NAMES = [doc.name for doc in METRICS]
KINDS = {doc.name: doc.kind for doc in METRICS}
UNITS = {"rate": ["%", ""], "hourly rate": [""], "duration": ["us", "ms", "s", "min"], "count": [""]}


@pytest.mark.parametrize(
    ("text", "name", "op", "limit"),
    [
        ("dropped_late.rate < 0.1%", "dropped_late.rate", "<", 0.001),
        ("  dropped.rate<=.5 % ", "dropped.rate", "<=", 0.005),
        ("completed.rate>0.99", "completed.rate", ">", 0.99),
        ("blame.server.count == 0", "blame.server.count", "==", 0),
        ("1/false.rate < 1e-3", "1/false.rate", "<", 0.001),
        ("GetMessages.2.rate < 1%", "GetMessages.2.rate", "<", 0.01),
        ("GetMessages.unsuccessful.count >= 3", "GetMessages.unsuccessful.count", ">=", 3),
        ("latency.p99_9 < 250ms", "latency.p99_9", "<", 0.25),
        ("SendMessage.latency.p75 < 250 us", "SendMessage.latency.p75", "<", 0.00025),
        ("gap.max < 5 min", "gap.max", "<", 300),
        ("margin.p1 > 5s", "margin.p1", ">", 5),
        ("sessions.count >= 1000", "sessions.count", ">=", 1000),
        ("dropped.per_chat_hour<.2", "dropped.per_chat_hour", "<", 0.2),
        ("dropped.by_age(8m) < 0.1%", "dropped.by_age(8m)", "<", 0.001),
    ],
)
def test_what_is_written_is_what_is_meant(text: str, name: str, op: str, limit: float) -> None:
    threshold = parse(text)
    assert (threshold.metric.name, threshold.op, threshold.limit) == (name, op, limit)


@pytest.mark.parametrize(
    ("name", "q"), [("p50", 0.5), ("p5", 0.05), ("p99", 0.99), ("p99_9", 0.999), ("p99_95", 0.9995), ("p1_5", 0.015)]
)
def test_any_percentile_will_do(name: str, q: float) -> None:
    assert metric_named(f"GetMessages.latency.{name}").q == q


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write it like dropped_late.rate < 0.1%"),
        ("dropped_late.rate", "no METRIC OP VALUE"),
        ("< 5", "no METRIC OP VALUE"),
        ("dropped.per_hour < 1", "did you mean dropped.per_chat_hour?"),
        ("dropped.by_age < 1%", "did you mean dropped.by_age(8m)?"),
        ("dropped_lat.rate < 1%", "did you mean dropped_late.rate?"),
        ("droppd.count < 1", "did you mean dropped.count?"),
        ("getmessages.timeout.rate < 1%", "did you mean GetMessages.timeout.rate?"),
        ("GetMessages.completed.rate < 1%", "unknown metric"),
        ("GetMessages.gap.p99 < 1s", "unknown metric"),
        ("latency.p99.9 < 1s", "did you mean latency.p99_9?"),
        ("latency.p100 < 1s", "unknown metric 'latency.p100'"),
        ("latency.p0 < 1s", "unknown metric 'latency.p0'"),
        ("margin.max < 1s", "did you mean margin.min?"),
        ("latency.p99 < 250", "has no unit; expected us, ms, s, m or h"),
        ("latency.p99 < 250 sec", "unknown unit 'sec'; did you mean s?"),
        ("latency.p99 < 5%", "unit '%' does not fit latency.p99, which is a duration"),
        ("timeout.rate < 5s", "unit 's' does not fit timeout.rate, which is a rate"),
        ("timeout.count < 5%", "unit '%' does not fit timeout.count"),
        ("timeout.rate < 150%", "a rate is never above 100 %"),
        ("timeout.rate < 1.5", "a rate is never above 100 %"),
        ("timeout.rate < -1%", "never negative"),
        ("latency.p99 < -0.0s", "never negative"),
        ("timeout.rate < nan", "'nan' is not a number"),
        ("timeout.rate < 1e999%", "is not a number"),
        ("timeout.rate <", "no value"),
        ("timeout.rate < 1% 2%", "unknown unit '% 2%'"),
        ("timeout.rate = 1%", "unknown operator '='; expected one of < <= > >="),
        ("timeout.rate => 1%", "unknown operator '=>'"),
        ("timeout.rate == 1%", "'==' does not fit timeout.rate, which is a rate"),
        ("latency.max == 1s", "'==' does not fit"),
        ("timeout.rate < 0%", "no run passes; write timeout.count == 0"),
        ("timeout.rate <= 0%", "no number of samples can show that"),
        ("completed.rate >= 100%", "no number of samples can show that"),
        ("completed.rate >= 0%", "always so"),
        ("timeout.count < 1.5", "a whole number"),
        ("timeout.count < 0", "write == 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_would_do(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_verdict_blame_and_outcome_has_its_metrics() -> None:
    subjects = [*Verdict, "dropped", *(f"blame.{blame}" for blame in Blame), *Outcome, "unsuccessful"]
    assert {f"{subject}.{what}" for subject in subjects for what in ("rate", "count")} < set(NAMES)
    assert len(NAMES) == len(set(NAMES))
    for doc in METRICS:
        assert metric_named(doc.name).kind == doc.kind
        assert doc.meaning and "\n" not in doc.meaning
    for operation in OPERATION_FIELDS:
        assert metric_named(f"{operation}.{Outcome.TIMEOUT}.rate").operation == operation


@st.composite
def thresholds(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(NAMES))
    kind = KINDS[name]
    user_class = draw(st.sampled_from(["", "Vip: ", "Größte_2 :"]))
    op = draw(st.sampled_from(["<", "<=", ">", ">="] + (["=="] if kind == "count" else [])))
    unit = draw(st.sampled_from(UNITS[kind]))
    if kind == "count":
        return f"{user_class}{name}{op}{draw(st.integers(1, 10**9))}"
    most = 1e6 if kind == "duration" else 99.0 if unit else 0.99
    return f"{user_class}{name} {op} {draw(st.floats(1e-9, most))!r} {unit}"


@given(thresholds())
def test_what_is_shown_reads_back_the_same(text: str) -> None:
    threshold = parse(text)
    again = parse(str(threshold))
    assert again == threshold
    assert (again.limit, str(again)) == (threshold.limit, str(threshold))


@pytest.mark.parametrize(
    "text",
    [
        "cut_off.rate < 1%",
        "cut_off.count < 1",
        "completed.count > 5",
        "sessions.count >= 5",
        "latency.max > 1s",
        "margin.min < 1s",
    ],
)
def test_what_cannot_be_lost_before_the_end_cannot_abort(text: str) -> None:
    parse(text)
    with pytest.raises(UsageError, match="leave it to --threshold"):
        parse_abort(text)


@pytest.mark.parametrize(
    "text",
    [
        "dropped_late.rate < 1%",
        "completed.rate > 90%",
        "dropped_late.count == 0",
        "latency.p99 < 1s",
        "gap.max < 40s",
        "margin.min > 1s",
        "margin.p1 > 1s",
    ],
)
def test_what_can_be_lost_early_can_abort(text: str) -> None:
    assert parse_abort(text) == parse(text)


def test_a_threshold_has_300_characters_at_most() -> None:
    text = "dropped_late.rate < 0.1%"
    assert str(parse(text + " " * (300 - len(text)))) == text
    with pytest.raises(UsageError, match="too long"):
        parse(text + " " * (301 - len(text)))
