"""What windows say about thresholds: dependence, the part that is judged, and `in every`."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from click.testing import CliRunner

from chatload.cli import main
from chatload.errors import UsageError
from chatload.features.report import sentences
from chatload.features.report.view import write_outputs
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.steady import JudgedPart
from chatload.run.windows import Window
from chatload.run.writer import RunWriter
from chatload.thresholds.gate import make_gate
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, parse, parse_abort
from chatload.thresholds.over_time import read_windows
from tests.run_files import put_books

FAST, SLOW = 0.05, 1.0
P99 = "GetMessages.latency.p99 < 300ms"


def window(start, fast, slow=0, length=1.0, operation="GetMessages", timeouts=0):
    books = Books()
    for histogram in (books.latency[operation].observed, books.response_time[operation].observed):
        histogram.extend([FAST] * fast + [SLOW] * slow)
    books.gap.observed.extend([3.0] * fast + [40.0] * slow)
    books.lateness.extend([0.001] * fast + [SLOW] * slow)
    books.outcomes[operation] = Counter({"0/false": fast + slow - timeouts, "timeout": timeouts})
    return Window(start, start + length, 100, books)


def judged(text, windows, part=None):
    books = Books()
    for each in windows:
        books.merge(each.books)
    threshold, facts = parse(text), Facts(books, 45.0)
    span = (windows[0].start, windows[-1].end) if windows else (0.0, 0.0)
    return judge(threshold, facts, over_time=read_windows([threshold], lambda: iter(windows), part, facts, span))


def run(slow_at, seconds=600, per_s=100):
    """A run of seconds with the same requests; slow_at: how many of a second are slow."""
    return [window(float(i), per_s - slow_at(i), slow_at(i)) for i in range(seconds)]


# -- dependence ------------------------------------------------------------------------------------


def test_slow_requests_that_come_one_by_one_are_many_samples():
    found = judged(P99, run(lambda i: int(i % 4 == 0)))  # 0.25 %
    assert found.result == "pass" and found.worth > 40_000
    assert "150 of 60000 requests at or above 300 ms; their share is below 1 %" in found.why


def test_slow_requests_of_one_incident_are_one_sample():
    # As many in all, in two seconds of the run: nobody knows how often that happens.
    found = judged(P99, run(lambda i: 75 if i in (300, 301) else 0))
    assert found.result == "inconclusive" and found.worth < 400 and found.needed > 60_000
    assert f"150 of 60000 requests at or above 300 ms, worth {found.worth} independent ones; their share" in found.why
    # Twice as many as allowed, in one incident: no proof either.
    assert judged(P99, run(lambda i: 100 if 300 <= i < 312 else 0)).result == "inconclusive"
    assert judged(P99, run(lambda i: 2)).result == "fail"


def test_a_rate_of_requests_is_judged_by_how_they_depend():
    def of(timeouts, seconds=600):
        windows = [window(float(i), 100, timeouts=timeouts(i)) for i in range(seconds)]
        return judged("GetMessages.timeout.rate < 1%", windows)

    # 150 of 60 000 timed out: one by one, and in two seconds.
    apart, together = of(lambda i: int(i % 4 == 0)), of(lambda i: 75 if i in (300, 301) else 0)
    assert apart.result == "pass" and apart.worth > 40_000
    assert together.result == "inconclusive" and together.worth < 400 and together.needed > 60_000
    assert f"150 of 60000 requests, worth {together.worth} independent ones; the rate is" in together.why
    assert together.lower < apart.lower < 0.0025 < apart.upper < together.upper
    # In half of the run none was answered: that is proof enough.
    assert of(lambda i: 100 * (i >= 300)).result == "fail"
    short = of(lambda i: 0, 29)
    assert short.result == "pass" and short.worth is None
    assert short.why.endswith("assumes independent requests: the time judged is too short to show how they depend")


def test_no_slow_request_is_judged_by_how_the_slowest_depend():
    def level(i):
        return 100 if 300 <= i < 306 else 0  # the slowest percent is one incident

    assert judged("GetMessages.latency.p99 < 2s", run(level)).result == "inconclusive"
    assert judged("GetMessages.latency.p99 < 2s", run(lambda i: 1)).result == "pass"


def test_a_run_that_is_too_short_says_what_is_assumed():
    found = judged(P99, run(lambda i: 0, 29))
    assert (found.result, found.worth) == ("pass", None)
    assert "assumes independent requests: the time judged is too short" in found.why
    assert "assumes" not in judged(P99, run(lambda i: 0, 30)).why


@pytest.mark.parametrize("text", ["lateness.p99 < 300ms", "gap.p99 < 5s", "margin.p1 > 40s"])
def test_every_percentile_has_its_dependence(text):
    spread, at_once = (judged(text, run(slow)) for slow in (lambda i: i % 2, lambda i: 100 if i in (3, 4, 5) else 0))
    assert (spread.result, at_once.result) == ("pass", "inconclusive")


# -- the part that is judged -----------------------------------------------------------------------

STEADY, GIVEN = JudgedPart(100.0, 600.0, False), JudgedPart(100.0, 600.0, True)


def test_a_slow_time_at_full_load_fails_though_the_ramp_was_fast():
    # 0.8 % of the whole run, 2.4 % of the steady part
    windows = [window(float(i), 1000 if i < 400 else 98, 0 if i < 400 else 2 + i % 2) for i in range(600)]
    assert judged(P99, windows).result == "pass"
    assert judged(P99, windows, JudgedPart(400.0, 600.0, False)).result == "fail"


def test_a_slow_start_is_no_pass_unless_the_user_leaves_it_out():
    windows = run(lambda i: 10 if i < 100 else 0)
    assert judged(P99, windows).result == "inconclusive"  # one slow time is no proof
    found = judged(P99, windows, STEADY)
    assert found.result == "inconclusive" and "--judge FROM-TO leaves the start out" in found.why
    assert judged(P99, windows, GIVEN).result == "pass"


@pytest.mark.parametrize(
    "text",
    ["GetMessages.unsuccessful.rate < 1%", "lateness.p99 < 300ms", "margin.p1 > 40s", "latency.max < 300ms"],
)
def test_what_must_never_happen_is_judged_on_the_whole_run(text):
    windows = [window(float(i), 100, 10 * (i < 100), timeouts=10 * (i < 100)) for i in range(600)]
    assert judged(text, windows, GIVEN).result == judged(text, windows).result != "pass"


def test_the_opening_of_chats_is_judged_on_the_whole_run():
    windows = [window(float(i), 10, operation="RequestChat") for i in range(100)] + run(lambda i: 0)[100:]
    found = judged("RequestChat.latency.p99 < 300ms", windows, STEADY)
    assert (found.result, found.samples) == ("pass", 1000)


def test_a_part_without_requests_is_not_judged():
    found = judged(P99, run(lambda i: 0), JudgedPart(700.0, 800.0, True))
    assert found.result == "inconclusive" and "in the part of the run that is judged" in found.why


# -- in every --------------------------------------------------------------------------------------

EVERY = "GetMessages.latency.p95 < 300ms in every 1m"


def test_one_bad_minute_fails_what_the_whole_run_leaves_open():
    windows = run(lambda i: 10 if 120 <= i < 180 else 0)  # 10 % of one minute, 1 % of the run
    assert judged("GetMessages.latency.p95 < 300ms", windows).result == "inconclusive"
    found = judged(EVERY, windows)
    assert found.result == "fail" and found.value == pytest.approx(SLOW, rel=0.01)
    assert "the worst of 10 windows of 1m began 120 s into the run: 600 of 6000 requests at or above" in found.why
    assert "(10.0 %)" in found.why


def test_what_holds_in_every_minute_passes():
    assert judged(EVERY, run(lambda i: 4)).result == "pass"
    assert judged(EVERY, run(lambda i: 5)).result == "inconclusive"  # exactly at the limit
    assert judged("GetMessages.latency.p50 > 10ms in every 1m", run(lambda i: 4)).result == "pass"
    assert judged("GetMessages.latency.p50 > 2s in every 1m", run(lambda i: 4)).result == "fail"


def test_the_rest_of_the_run_belongs_to_the_last_minute():
    found = judged(EVERY, run(lambda i: 100 if i >= 600 else 0, 602))
    assert "10 windows of 1m began 540 s into the run: 200 of 6200" in found.why
    assert "11 windows" in judged(EVERY, run(lambda i: 0, 658)).why


def test_a_minute_with_too_few_requests_is_no_pass():
    windows = [window(float(i), 100 if i < 540 else 0) for i in range(600)]
    found = judged(EVERY, windows)
    assert found.result == "inconclusive"
    assert found.why.endswith("1 of 10 windows of 1m have fewer than 20 GetMessages requests")
    assert judged(EVERY, []).result == "inconclusive"


@pytest.mark.parametrize(("seconds", "expected"), [(3, "inconclusive"), (56, "inconclusive"), (57, "pass")])
def test_a_run_that_is_shorter_than_a_minute_says_nothing_of_minutes(seconds, expected):
    found = judged(EVERY, run(lambda i: 0, seconds))
    assert found.result == expected
    assert expected == "pass" or found.why == "the run has no whole window of 1m with a GetMessages request"


def test_a_last_minute_that_overlaps_the_one_before_is_judged_too():
    # 8 % of the last minute of 90 s are slow, and 5.3 % of the whole run; a window of 90 s would dilute a shorter one.
    found = judged(EVERY, run(lambda i: 8 if i >= 30 else 0, 90))
    assert found.result == "fail" and "the worst of 2 windows of 1m began 30 s into the run: 480 of 6000" in found.why
    assert judged(EVERY, run(lambda i: 12 if i >= 65 else 0, 90)).result == "inconclusive"  # 5 % of 60 s, 3.3 % of 90
    assert judged(EVERY, run(lambda i: 12 if 5 <= i < 30 else 0, 90)).result == "inconclusive"


def test_a_bad_minute_in_the_ramp_is_no_pass():
    slow_start = run(lambda i: 50 if i < 60 else 0)
    found = judged(EVERY, slow_start, JudgedPart(60.0, 600.0, False))
    assert found.result == "inconclusive" and "in the whole run it does not hold" in found.why
    assert judged(EVERY, run(lambda i: 0), JudgedPart(60.0, 600.0, False)).result == "pass"
    # A user who names the part has decided so.
    assert judged(EVERY, slow_start, JudgedPart(60.0, 600.0, True)).result == "pass"


def test_a_minute_without_windows_is_not_a_minute_that_holds():
    whole = run(lambda i: 0)
    assert judged(EVERY, whole).result == "pass"
    found = judged(EVERY, [each for each in whole if not 120 <= each.start < 180])
    assert found.result == "inconclusive"
    assert "1 of 10 windows of 1m have fewer than 20 GetMessages requests" in found.why


def test_rates_of_requests_may_be_judged_by_the_minute():
    windows = [window(float(i), 100, timeouts=5 * (60 <= i < 120)) for i in range(600)]
    # One bad minute is one observation.
    assert judged("GetMessages.timeout.rate < 1%", windows).result == "inconclusive"
    found = judged("GetMessages.timeout.rate < 1% in every 1m", windows)
    assert (found.result, found.value) == ("fail", 0.05)


def test_minutes_are_those_of_the_part_that_is_judged():
    windows = run(lambda i: 100 if i < 100 else 0)
    assert judged(EVERY, windows).result == "fail"
    found = judged(EVERY, windows, GIVEN)
    assert found.result == "pass" and "9 windows of 1m began 100 s into the run" in found.why


def test_without_windows_it_is_not_decided():
    threshold = parse(EVERY)
    assert judge(threshold, Facts(run(lambda i: 0, 1)[0].books)).result == "inconclusive"


# -- the grammar -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written", "every_s"),
    [
        ("GetMessages.latency.p95<300ms in every 1m", "GetMessages.latency.p95 < 300 ms in every 1m", 60),
        ("latency.p99 < 1s  in  every 90 s", "latency.p99 < 1 s in every 90s", 90),
        ("timeout.rate < 1% in every 1h", "timeout.rate < 1% in every 1h", 3600),
        ("margin.p1 > 5s in every 10min", "margin.p1 > 5 s in every 10m", 600),
        ("latency.p99 < 1s in every 0.5h", "latency.p99 < 1 s in every 30m", 1800),
    ],
)
def test_in_every_is_written_and_read_back(text, written, every_s):
    threshold = parse(text)
    assert (str(threshold), threshold.every_s) == (written, every_s)
    assert parse(written) == threshold != parse(text.partition(" in ")[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency.p95 < 1s in every 5s", "'5s' is shorter than the windows of a run; expected 10s or more"),
        ("latency.p95 < 1s in every minute", "'minute' is not a length of time; expected for example 30s, 1m or 1h"),
        ("latency.p95 < 1s in every 60", "'60' is not a length of time"),
        ("dropped.rate < 1% in every 1m", "is for requests and their durations, not for sessions"),
        ("timeout.count < 5 in every 1m", "leave `in every` out"),
        ("latency.max < 5s in every 1m", "latency.max is the same in every part and in the whole run"),
        ("in every 1m", "no METRIC OP VALUE"),
    ],
)
def test_what_in_every_cannot_mean_is_refused(text, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_run_is_not_aborted_by_a_minute():
    with pytest.raises(UsageError, match="judged at the end of the run; leave it to --threshold"):
        parse_abort(EVERY)


# -- a whole run -----------------------------------------------------------------------------------


def ramped(folder):
    """A run of ten minutes that is slow (3 % of its requests) in the minute of its ramp, and then never."""
    books, settings = Books(), RunSettings(name="mine", flex_disconnect_timeout=45.0, run_time=600.0)
    with RunWriter.create(folder, settings, 0.0) as writer:
        for i in range(620):
            made = window(float(i), 97 if i < 60 else 100, 3 if i < 60 else 0)
            # Goodbyes begin after 600 s.
            writer.add_windows([replace(made, open=round(100 * min(1.0, i / 60)) if i < 600 else 5)])
            books.merge(made.books)
        books.outcomes.clear()
        put_books(writer, "w1", books)
        writer.finish(620.0)


def test_a_report_says_what_was_judged_and_what_it_is_worth(tmp_path):
    ramped(tmp_path / "run")
    made = write_outputs(tmp_path / "run", make_gate([P99]))
    threshold = made["thresholds"][0]
    assert made["judged"] == {"start": pytest.approx(60, abs=6), "end": 600.0, "given": False}
    assert (threshold["result"], threshold["samples"], threshold["worth"]) == ("pass", 54_000, 54_000)
    said = r"percentiles .* are judged from .+ to 10 min of the run, its steady part \(--judge all: the whole run\)"
    assert re.fullmatch(said, sentences.judged_part(made))
    whole = write_outputs(tmp_path / "run", make_gate([P99], part="all"))
    assert whole["judged"] is None and sentences.judged_part(whole) == ""
    # One slow minute, 0.3 % of all requests: how often such minutes come is not known.
    assert (whole["thresholds"][0]["result"], whole["thresholds"][0]["samples"]) == ("inconclusive", 62_000)
    assert whole["thresholds"][0]["worth"] < 10_000


def test_the_part_is_an_option_of_the_report(tmp_path):
    ramped(tmp_path / "run")
    given = ("report", str(tmp_path / "run"), "--threshold", "GetMessages.latency.p98 < 300ms", "--judge")
    parts = {}
    for part in ("all", "0-1m", "2m-10m"):
        CliRunner().invoke(main, [*given, part])
        parts[part] = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [made["thresholds"][0]["result"] for made in parts.values()] == ["inconclusive", "fail", "pass"]
    assert parts["2m-10m"]["judged"] == {"start": 120.0, "end": 600.0, "given": True}
    refused = CliRunner().invoke(main, [*given, "5m"])
    assert refused.exit_code == 2 or isinstance(refused.exception, UsageError)
