"""Thresholds judged: intervals checked by hand, ranges read in the less favourable way, plain reasons."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.record import SessionRecord
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.stats.bursts import find_incidence
from chatload.stats.rates import lower, upper
from chatload.thresholds.judgement import Judgement, judge, overall
from chatload.thresholds.metrics import METRICS, Facts, parse


def facts(confirmed: int = 0, blames: dict[str, int] | None = None, **verdicts: int) -> Facts:
    books = Books()
    books.verdicts = Counter(verdicts)
    books.blames = Counter(blames or {})
    books.started = sum(verdicts.values())
    return Facts(books, 45.0, confirmed)


def answered(**outcomes: int) -> Facts:
    books = Books()
    named = {"fine": "0/false", "ended": "0/true", "again": "1/false"}
    books.outcomes["GetMessages"] = Counter({named.get(name, name): n for name, n in outcomes.items()})
    books.outcomes["Disconnect"] = Counter({"0/true": 1000})
    return Facts(books, 45.0)


def judged(text: str, given: Facts, **options: Any) -> Judgement:
    return judge(parse(text), given, **options)


# Bounds by hand, one-sided 95 %: of 0 in n 1 - 0.05^(1/n); of others chi-squared / 2n, good for small rates:
# 1 hit at most 4.744, at least 0.0513; 3 hits at most 7.754, at least 0.818; 10 hits at least 5.425, at most 16.96.
@pytest.mark.parametrize(
    ("text", "given", "result", "low", "high", "needed"),
    [
        ("dropped_late.rate < 0.1%", facts(completed=1000), "inconclusive", 0, 0.00299, 2995),
        ("dropped_late.rate < 0.1%", facts(completed=2994), "inconclusive", 0, 0.00100, 2995),
        ("dropped_late.rate < 0.1%", facts(completed=2995), "pass", 0, 0.00100, None),
        ("dropped_late.rate < 0.1%", facts(completed=4740, dropped_late=1), "inconclusive", 1.08e-5, 0.0010, 6294),
        ("dropped_late.rate < 0.1%", facts(completed=4750, dropped_late=1), "pass", 1.08e-5, 0.0010, None),
        ("dropped_late.rate < 0.1%", facts(completed=990, dropped_late=10), "fail", 0.0054, 0.0169, None),
        ("dropped_late.rate < 0.3%", facts(completed=997, dropped_late=3), "inconclusive", 0.00082, 0.0077, None),
        ("completed.rate > 99%", facts(completed=299), "pass", 0.990, 1, None),
        ("completed.rate > 99%", facts(completed=298), "inconclusive", 0.98999, 1, 299),
        ("completed.rate > 99.5%", facts(completed=990, failed=10), "fail", 0.983, 0.9946, None),
        ("timeout.rate < 1%", answered(fine=299), "pass", 0, 0.0023, None),
        ("GetMessages.timeout.rate < 1%", answered(fine=299), "pass", 0, 0.00997, None),
        ("GetMessages.timeout.rate < 1%", answered(fine=298), "inconclusive", 0, 0.01, 299),
        ("unsuccessful.rate < 1%", answered(fine=500, ended=490, again=5, timeout=5), "pass", 0.0027, 0.0085, None),
        ("GetMessages.unsuccessful.rate < 0.5%", answered(fine=990, again=5, timeout=5), "fail", 0.0054, 0.0169, None),
    ],
)
def test_rates(text: str, given: Facts, result: str, low: float, high: float, needed: int | None) -> None:
    judgement = judged(text, given)
    assert (judgement.result, judgement.needed) == (result, needed)
    assert judgement.lower == pytest.approx(low, rel=0.01)
    assert judgement.upper == pytest.approx(high, rel=0.01)


def test_the_rule_in_words() -> None:
    assert judged("dropped_late.rate < 0.1%", facts(completed=1000)).why == (
        "0 of 1000 sessions; the rate is below 0.3 % with 95 % confidence, not below 0.1 %: "
        "2995 sessions without one would settle it"
    )
    # 1 - 0.05^(1/3000) is 0.09981 %: rounded up, for rounded down it would claim more
    assert judged("dropped_late.rate < 0.1%", facts(completed=3000)).why == (
        "0 of 3000 sessions; the rate is below 0.1 % with 95 % confidence (at most 0.0999 %) if no incident takes more "
        "than 1 session"
    )
    assert "would settle it" not in judged("dropped_late.rate < 1%", facts(completed=9, dropped_late=9)).why
    assert judged("dropped_late.rate < 50%", facts(completed=9, dropped_late=9)).why.endswith(
        "not even a billion sessions like these would settle it"
    )


def test_more_confidence_needs_more() -> None:
    assert judged("dropped.rate < 0.1%", facts(completed=2995)).result == "pass"
    # ln 0.01 / ln 0.999 = 4602.9
    assert judged("dropped.rate < 0.1%", facts(completed=2995), confidence=0.99).needed == 4603


@pytest.mark.parametrize("name", ["dropped_late", "dropped_early", "blame.network", "failed", "ended_by_agent"])
def test_unproven_sessions_may_be_either(name: str) -> None:
    subject = "dropped_late" if name.startswith("blame") else name
    blames = {"network": 10} if subject == "dropped_late" else {}
    # at least 10 of 10000, at most 60: bounds 0.0543 % and 0.744 %
    given = facts(blames=blames, completed=9940, dropped_unproven=50, **{subject: 10})
    assert judged(f"{name}.rate < 0.8%", given).result == "pass"
    for limit in ("0.7%", "0.5%", "0.1%", "0.06%"):
        assert judged(f"{name}.rate < {limit}", given).result == "inconclusive"
        assert judged(f"{name}.rate > {limit}", given).result == "inconclusive"
    assert judged(f"{name}.rate < 0.05%", given).result == "fail"
    assert judged(f"{name}.rate < 0.3%", given).needed is None
    assert "50 that may be" in judged(f"{name}.rate < 0.3%", given).why


def test_what_is_dropped_without_proof_is_counted_but_not_held_against() -> None:
    given = facts(completed=9940, dropped_unproven=50, dropped_late=10)
    assert judged("dropped.count <= 60", given).value == 60
    assert judged("dropped.rate < 0.8%", given).result == "pass"
    assert judged("dropped.rate < 0.4%", given).result == "inconclusive"
    assert judged("dropped.rate < 0.05%", given).result == "fail"
    assert judged("dropped.rate < 0.4%", given).value == 0.006
    assert judged("dropped_unproven.rate < 0.3%", given).result == "fail"


@pytest.mark.parametrize(
    ("name", "samples"), [("refused", 1000), ("dropped_late", 640), ("blame.plan", 640), ("cut_off", 900)]
)
def test_only_sessions_whose_fate_is_known_are_evidence(name: str, samples: int) -> None:
    given = facts(confirmed=40, refused=100, cut_off=300, completed=600)
    assert judged(f"{name}.rate < 50%", given).samples == samples


def measured(*values: float) -> Facts:
    books = Books()
    for value in values:
        books.gap.add(value)
        books.lateness.add(value)
        books.latency.setdefault("GetMessages", CensoredHistogram()).add(value)
    return Facts(books, 45.0)


@pytest.mark.parametrize("metric", ["gap", "lateness", "latency", "GetMessages.latency"])
def test_a_percentile_is_the_share_beyond_it(metric: str) -> None:
    # 299 samples below show p99, 298 do not; 2995 show p99_9
    assert judged(f"{metric}.p99 < 2s", measured(*[1.0] * 299)).result == "pass"
    few = judged(f"{metric}.p99 < 2s", measured(*[1.0] * 298))
    assert (few.result, few.needed, few.upper) == ("inconclusive", 299, None)
    assert judged(f"{metric}.p99_9 < 2s", measured(*[1.0] * 2995)).result == "pass"
    # 10 of 1000 is 1 %; at least 5.4 of 1000 are
    late = measured(*[1.0] * 990, *[3.0] * 10)
    assert judged(f"{metric}.p99 < 2s", late).result == "inconclusive"
    assert judged(f"{metric}.p99_5 < 2s", late).result == "fail"
    assert judged(f"{metric}.p98 < 2s", late).result == "pass"
    assert judged(f"{metric}.p98 > 2s", late).result == "fail"
    assert judged(f"{metric}.p99_5 > 2s", late).result == "pass"


def test_a_margin_is_what_the_gap_leaves() -> None:
    given = measured(*[20.0] * 990, *[41.0] * 10)
    for margin, gap in (("margin.p2 > 5s", "gap.p98 < 40s"), ("margin.p0_5 > 5s", "gap.p99_5 < 40s")):
        assert judged(margin, given).result == judged(gap, given).result != "inconclusive"
    assert judged("margin.p2 > 5s", given).result == "pass"
    assert judged("margin.p0_5 > 5s", given).result == "fail"
    middle = judged("margin.p50 > 5s", given)
    assert middle.value == pytest.approx(25, abs=0.2)
    assert middle.lower is not None and middle.upper is not None and middle.lower <= 25 <= middle.upper
    least = judged("margin.min > 4.5s", given)
    assert (least.result, least.value) == ("fail", 4.0)
    assert "says nothing of those not seen" in least.why


def test_the_bucket_of_the_limit_is_read_both_ways() -> None:
    # 1.004 and 1.006 s share a bucket, so a limit between tells nothing of these
    given = measured(*[1.004] * 500, *[1.006] * 500, 0.5, 1.5)
    assert judged("gap.p20 < 1.005s", given).result == "inconclusive"
    assert judged("gap.p80 < 1.005s", given).result == "inconclusive"
    assert judged("gap.p80 > 1.005s", given).result == "inconclusive"
    assert judged("gap.p80 < 1.03s", given).result == "pass"
    assert judged("gap.p20 < 0.97s", given).result == "fail"
    assert "0 to" not in judged("gap.p80 < 1.03s", given).why
    assert "1 to 1001 of 1002" in judged("gap.p80 < 1.005s", given).why


@given(st.lists(st.floats(1e-7, 1e3), min_size=1, max_size=200), st.floats(1e-7, 1e3))
def test_count_above_brackets_the_truth(values: list[float], limit: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    surely, at_most = histogram.count_above(limit)
    assert surely <= sum(v > limit for v in values) <= sum(v >= limit for v in values) <= at_most
    near = sum(0.97 * limit <= v <= 1.03 * limit or max(v, limit) < 1e-6 for v in values)
    assert at_most - surely <= near
    for rank, value in enumerate(sorted(values)):
        low, high = histogram.bracket(rank)
        assert low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
        assert high <= max(low * 1.0203, 1e-6)


@given(st.lists(st.floats(0.001, 1e3), min_size=1, max_size=400), st.sampled_from(["p50", "p90", "p5"]))
def test_a_limit_beyond_the_bounds_of_a_percentile_is_decided(values: list[float], name: str) -> None:
    given = measured(*values)
    judgement = judged(f"gap.{name} < 1s", given)
    if judgement.upper is not None:
        assert judged(f"gap.{name} < {judgement.upper * 1.03!r}s", given).result == "pass"
        assert judged(f"gap.{name} < {judgement.upper * 0.97!r}s", given).result != "pass"
    if judgement.lower is not None:
        assert judged(f"gap.{name} < {judgement.lower * 0.97!r}s", given).result == "fail"
        assert judged(f"gap.{name} < {judgement.lower * 1.03!r}s", given).result != "fail"


@pytest.mark.parametrize(("n", "q"), [(20, 0.5), (300, 0.99), (1000, 0.9)])
def test_the_bounds_of_a_percentile_are_order_statistics(n: int, q: float) -> None:
    # samples 7 % apart, so that no bucket has two: the k greatest and the rest are told apart
    values = [1.07**i for i in range(n)]
    judgement = judged(f"gap.p{round(100 * q)} < 1s", measured(*values))
    allowed = sum(upper(k, n) < 1 - q for k in range(n + 1))
    too_few = sum(lower(k, n) <= 1 - q for k in range(n + 1))
    for bound, value in ((judgement.upper, values[n - allowed]), (judgement.lower, values[n - too_few])):
        assert bound == pytest.approx(value, rel=0.021)
    assert judgement.upper is not None and judgement.upper >= values[n - allowed] * (1 - 1e-9)
    assert judgement.lower is not None and judgement.lower <= values[n - too_few] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("dropped_late.count == 0", "fail"),
        ("dropped_late.count <= 3", "inconclusive"),
        ("dropped_late.count <= 7", "pass"),
        ("dropped_late.count < 3", "fail"),
        ("dropped_late.count >= 3", "pass"),
        ("dropped_late.count > 3", "fail"),
        ("blame.network.count == 2", "inconclusive"),
        ("sessions.count == 12", "pass"),
    ],
)
def test_counts_are_compared(text: str, result: str) -> None:
    given = facts(blames={"network": 2, "plan": 1}, completed=5, dropped_late=3, dropped_unproven=4)
    judgement = judged(text, given)
    assert (judgement.result, judgement.samples) == (result, 12)
    if "late" in text:
        assert (judgement.lower, judgement.upper) == (3, 7)
        assert "4 that may be" in judgement.why


def test_extremes_are_compared() -> None:
    given = measured(1.0, 2.0)
    assert [judged(f"gap.max {op} 2s", given).result for op in ("<", "<=", ">", ">=")] == [
        "fail",
        "pass",
        "fail",
        "pass",
    ]


@given(st.sampled_from(METRICS), st.sampled_from(["<", "<=", ">", ">="]))
def test_nothing_passes_without_samples(doc: Any, op: str) -> None:
    value = {"rate": "50%", "hourly rate": "0.5", "duration": "1s", "count": "7"}[doc.kind]
    for empty in (Facts(Books()), Facts(Books(), 45.0), facts()):
        judgement = judged(f"{doc.name} {op} {value}", empty)
        assert judgement.result == "inconclusive" or (doc.name, judgement.result) == ("sessions.count", "fail")
        assert judgement.samples == 0
        json.dumps(judgement.to_dict(), allow_nan=False)


def test_sessions_that_were_never_accepted_are_no_samples() -> None:
    assert judged("dropped_late.rate < 50%", facts(refused=1000, cut_off=5)).result == "inconclusive"
    assert judged("dropped_late.rate < 1%", facts(refused=1000)).needed == 299
    assert judged("completed.rate > 99%", facts(refused=1000)).needed == 299
    assert judged("sessions.count >= 1", facts()).result == "fail"


def test_no_margin_without_a_timeout() -> None:
    given = Facts(measured(1.0).books, None)
    for text in ("margin.min > 1s", "margin.p1 > 1s"):
        judgement = judged(text, given)
        assert (judgement.result, judgement.why) == (
            "inconclusive",
            "the run had no flex-disconnect-timeout, so no margin",
        )


def test_bursts_are_named_and_counted_as_incidents() -> None:
    books = facts(completed=960, dropped_late=41).books
    bursts = find_incidence([100 + 0.01 * i for i in range(40)] + [3000.0], 0, 3600)
    given = Facts(books, 45.0, 0, bursts)
    said = "41 drops came in 2 incidents: the 1001 sessions are worth 26 independent ones"
    assert said in judged("dropped_late.rate < 1%", given).why
    assert said in judged("completed.rate > 10%", given).why
    lone = Facts(books, 45.0, 0, find_incidence([100.0, 3000.0], 0, 3600))
    assert "independent" not in judged("dropped_late.rate < 1%", lone).why
    assert "independent" not in judged("timeout.rate < 1%", Facts(answered(fine=10).books, 45.0, 0, bursts)).why


def test_a_judgement_as_json() -> None:
    data = json.loads(json.dumps(judged("dropped_late.rate < 0.1 %", facts(completed=1000)).to_dict()))
    assert data["expression"] == "dropped_late.rate < 0.1%"
    assert (data["result"], data["value"], data["limit"], data["samples"], data["needed"]) == (
        "inconclusive", 0, 0.001, 1000, 2995,
    )  # fmt: skip


def test_the_worst_result_is_the_overall_one() -> None:
    by = {
        "pass": judged("dropped.rate < 50%", facts(completed=100)),
        "inconclusive": judged("dropped.rate < 0.1%", facts(completed=100)),
        "fail": judged("completed.rate < 50%", facts(completed=100)),
    }
    assert {name: judgement.result for name, judgement in by.items()} == {name: name for name in by}
    assert overall([]) is None
    assert overall([by["pass"]]) == "pass"
    assert overall([by["pass"], by["inconclusive"]]) == "inconclusive"
    assert overall([by["inconclusive"], by["fail"], by["pass"]]) == "fail"


# -- requests without an answer, chats that were dropped, sessions that were never accepted -------


def waited(answered: int, unanswered: int, wait_s: float, latency_s: float = 0.006) -> Facts:
    latency = CensoredHistogram()
    latency.observed.extend([latency_s] * answered)
    latency.censored.extend([wait_s] * unanswered)
    books = Books()
    books.latency["GetMessages"] = latency
    return Facts(books, 45.0)


def test_requests_without_an_answer_took_longer_than_they_were_waited_for() -> None:
    # 60 of 2000 are 3 %; at least 2.4 % with 95 % confidence
    given = waited(1940, 60, 5.0)
    failed = judged("GetMessages.latency.p99 < 300ms", given)
    assert (failed.result, failed.value, failed.beyond, failed.upper) == ("fail", 5.0, True, None)
    assert failed.lower == 5.0
    assert "60 of 2000 requests at or above 300 ms (60 without an answer)" in failed.why
    assert judged("GetMessages.latency.p99 < 5s", given).result == "fail"
    # no answer within 5 s: whether one would have come within 6 s nobody knows
    assert judged("GetMessages.latency.p99 < 6s", given).result == "inconclusive"
    assert judged("GetMessages.latency.p95 < 300ms", given).result == "pass"
    assert judged("GetMessages.latency.p99 > 1s", given).result == "pass"
    assert judged("latency.p99 < 300ms", given).result == "fail"


def test_a_connection_refused_at_once_is_no_fast_answer() -> None:
    for share, result in ((0, "pass"), (60, "inconclusive"), (2000, "inconclusive")):
        assert judged("GetMessages.latency.p99 < 300ms", waited(2000 - share, share, 0.001)).result == result
    # 1990 answered: at most 10 of 2000 may be above, 0.5 %, with 95 % confidence under 0.85 %
    assert judged("GetMessages.latency.p99 < 300ms", waited(1990, 10, 0.001)).result == "pass"


@pytest.mark.parametrize(
    ("text", "wait_s", "result"),
    [
        ("GetMessages.latency.max < 300ms", 5.0, "fail"),
        ("GetMessages.latency.max <= 5s", 5.0, "fail"),
        ("GetMessages.latency.max < 10s", 5.0, "inconclusive"),
        ("GetMessages.latency.max > 4s", 5.0, "pass"),
        ("GetMessages.latency.max >= 10s", 5.0, "inconclusive"),
        ("GetMessages.latency.max < 300ms", 0.001, "inconclusive"),
    ],
)
def test_the_longest_of_what_was_not_answered_is_a_bound(text: str, wait_s: float, result: str) -> None:
    judgement = judged(text, waited(100, 1, wait_s))
    assert (judgement.result, judgement.beyond) == (result, True)
    assert "the longest of 101 requests was over" in judgement.why


def ended(timeout_s: float, *records: SessionRecord, refreshes: int = 0) -> Facts:
    books = Books()
    for record in records:
        books.started += 1
        books.session_ended(record, timeout_s)
    for _ in range(refreshes):
        books.gap.add(3.0)
    return Facts(books, timeout_s)


LATE = SessionRecord("c", "dropped_late", "network", gap_lower_s=38.0, gap_upper_s=43.0)
#: Proven by a timestamp of the server: its own lower bound is not above the timeout.
STAMPED = SessionRecord("c", "dropped_late", "network", gap_lower_s=14.5, gap_upper_s=16.0)
UNPROVEN = SessionRecord("c", "dropped_unproven", gap_lower_s=12.0, gap_upper_s=43.0)
GAVE_UP = SessionRecord("c", "gave_up", gap_lower_s=2.0, gap_upper_s=3.0)
NEVER = SessionRecord("", "gave_up")
CUT = SessionRecord("", "cut_off")
REFUSED = SessionRecord("", "refused")
DONE = SessionRecord("c", "completed")


@pytest.mark.parametrize(
    ("record", "proven", "perhaps"), [(LATE, "fail", "fail"), (STAMPED, "fail", "fail"),
                                      (UNPROVEN, "inconclusive", "inconclusive"),
                                      (GAVE_UP, "inconclusive", "inconclusive"), (DONE, "pass", "pass")]
)  # fmt: skip
def test_the_silence_that_ended_a_chat_is_a_gap_and_no_margin(record: SessionRecord, proven: str, perhaps: str) -> None:
    # 200 chats with 3 s between refreshes, 20 of them dropped in an outage of 40 s
    given = ended(15.0, *[record] * 20, *[DONE] * 180, refreshes=1000)
    for text in ("gap.max < 15s", "margin.min > 1s", "margin.min > 0s"):
        assert judged(text, given).result == proven, text
    # 20 of 1020 are 2 %
    for text in ("gap.p99 < 15s", "margin.p1 > 500ms"):
        assert judged(text, given).result == perhaps, text
    assert judged("gap.p90 < 15s", given).result == judged("margin.p10 > 500ms", given).result == "pass"


def test_a_margin_that_was_lost_is_said_to_be_less() -> None:
    least = judged("margin.min > 1s", ended(15.0, LATE, DONE, refreshes=10))
    assert (least.result, least.value, least.beyond) == ("fail", -23.0, True)
    assert "the least of 11 refreshes was under -23 s" in least.why


def test_sessions_never_accepted_dilute_nothing_and_are_judged_apart() -> None:
    # a server that died: 1751 of 1840 sessions gave up, 40 of them chats that had been accepted
    given = ended(3.0, *[DONE] * 89, *[GAVE_UP] * 40, *[NEVER] * 1711)
    for text in ("dropped_late.rate < 5%", "dropped.rate < 5%", "dropped_early.rate < 5%", "blame.network.rate < 5%"):
        judgement = judged(text, given)
        assert (judgement.result, judgement.samples) == ("inconclusive", 129), text
    assert judged("dropped.rate < 5%", given).value == 40 / 129
    assert judged("dropped.count == 0", given).result == "fail"
    assert judged("dropped_late.count == 0", given).result == "inconclusive"
    assert judged("gave_up.rate < 5%", given).value == 40 / 129
    assert judged("gave_up.count < 1751", given).result == "fail"
    unserved = judged("unserved.rate < 1%", given)
    assert (unserved.result, unserved.value, unserved.samples) == ("fail", 1711 / 1840, 1840)
    assert judged("unserved.count <= 1711", given).result == "pass"


def test_one_cut_off_before_it_was_accepted_is_perhaps_unserved() -> None:
    given = ended(3.0, *[DONE] * 90, *[CUT] * 10, *[REFUSED] * 10)
    unserved = judged("unserved.rate < 50%", given)
    assert (unserved.value, unserved.samples) == (20 / 110, 110)
    assert judged("unserved.count == 20", given).result == "inconclusive"
    assert judged("unserved.count <= 20", given).result == "pass"
    assert judged("unserved.count < 10", given).result == "fail"
    assert judged("completed.rate > 50%", given).samples == 90
    assert judged("dropped.rate < 5%", given).samples == 90


@pytest.mark.parametrize("text", ["unserved.rate < 1%", "unserved.count == 0"])
def test_without_a_session_nothing_was_served(text: str) -> None:
    assert judged(text, Facts(Books())).result == "inconclusive"


def test_a_difference_of_histograms_does_not_pass_what_it_cannot_tell() -> None:
    # Only its own bucket is known of a sample of a window; these 1000 are above the limit, and in its bucket.
    before, after = Books(), Books()
    for books, values in ((before, [10.0]), (after, [10.0] + [0.30103] * 1000)):
        books.latency["GetMessages"] = CensoredHistogram()
        books.latency["GetMessages"].observed.extend(values)
    given = Facts(after.since(before), 45.0)
    for text in ("GetMessages.latency.p95 < 0.3007s", "GetMessages.latency.max < 0.3007s"):
        assert judged(text, given).result != "pass", text
    assert judged("GetMessages.latency.p95 < 0.31s", given).result == "pass"
