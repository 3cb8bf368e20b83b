"""The standard gate: what passes it, what does not, and how each of its thresholds is replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.stats.bursts import find_incidence
from chatload.thresholds.gate import Gate, gate_of, make_gate, regate, standard_thresholds
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import Outcome, RunResult

Change = Callable[[Books], None]
METRICS = (
    *("unserved.rate", "dropped.rate", "failed.rate", "GetMessages.unsuccessful.rate"),
    *("GetMessages.latency.p99", "RequestChat.latency.p99", "margin.p1", "lateness.p99"),
    "incident.share",
)


def request(books: Books, operation: str, latency_s: float = 0.8, outcome: Outcome = Outcome.FINE) -> None:
    books.request_begun(operation)
    books.request_ended(operation, Exchange(0.0, 1.0, 1.0 + latency_s, Reply(outcome)))


def session(books: Books, verdict: str = "completed", chat_id: str = "c") -> None:
    books.started += 1
    books.session_ended(SessionRecord(chat_id, verdict))


def healthy(sessions: int) -> Books:
    """A server that answers in 0.8 s: slow, but in time."""
    books = Books()
    for _ in range(sessions):
        session(books)
        request(books, "RequestChat")
        for _ in range(3):
            request(books, "GetMessages")
            books.lateness.add(0.003)
            books.gap.add(3.8)
    return books


def result(books: Books, gate: Gate | None = None, accepted: int = 1) -> RunResult:
    gate = gate or make_gate((), named="standard")
    return gate.result(gate.judge(Facts(books, 45.0)), accepted)


def test_it_has_one_threshold_a_metric() -> None:
    gate = make_gate((), named="standard")
    assert tuple(threshold.metric.name for threshold in gate.thresholds) == METRICS


@pytest.mark.parametrize(("sessions", "expected"), [(300, "passed"), (3000, "passed"), (298, "inconclusive")])
def test_three_hundred_sessions_without_a_fault_pass(sessions: int, expected: str) -> None:
    assert result(healthy(sessions)) == expected


def many(count: int, what: Callable[[Books], None]) -> Change:
    def change(books: Books) -> None:
        for _ in range(count):
            what(books)

    return change


@pytest.mark.parametrize(
    ("metric", "change"),
    [
        ("unserved.rate", many(20, lambda b: session(b, "refused", ""))),
        ("unserved.rate", many(20, lambda b: session(b, "gave_up", ""))),
        ("dropped.rate", many(20, lambda b: session(b, "dropped_early"))),
        ("dropped.rate", many(20, lambda b: session(b, "dropped_late"))),
        ("failed.rate", many(20, lambda b: session(b, "failed"))),
        ("GetMessages.unsuccessful.rate", many(40, lambda b: request(b, "GetMessages", outcome=Outcome.UNSUCCESSFUL))),
        ("GetMessages.unsuccessful.rate", many(40, lambda b: request(b, "GetMessages", outcome=Outcome.MALFORMED))),
        ("GetMessages.latency.p99", many(40, lambda b: request(b, "GetMessages", 3.5))),
        ("RequestChat.latency.p99", many(20, lambda b: request(b, "RequestChat", 3.5))),
        ("margin.p1", many(40, lambda b: b.gap.add(46.0))),
        ("lateness.p99", many(40, lambda b: b.lateness.add(0.7))),
    ],
)
def test_each_threshold_fails_by_its_own_fault(metric: str, change: Change) -> None:
    books = healthy(400)
    assert result(books) == "passed"
    change(books)
    gate = make_gate((), named="standard")
    failed = [j.threshold.metric.name for j in gate.judge(Facts(books, 45.0)) if j.result == "fail"]
    assert failed == [metric]
    assert result(books) == RunResult.FAILED


def test_a_threshold_on_the_same_metric_takes_the_place_of_one() -> None:
    gate = make_gate(["unserved.rate < 20%", "GetMessages.latency.p95 < 1s"], named="standard")
    texts = [str(threshold) for threshold in gate.thresholds]
    assert [text.split()[0] for text in texts] == [*METRICS[1:], "unserved.rate", "GetMessages.latency.p95"]
    books = healthy(400)
    many(40, lambda b: session(b, "refused", ""))(books)
    assert (result(books), result(books, gate)) == (RunResult.FAILED, RunResult.PASSED)


def test_a_server_that_holds_a_refresh_is_not_called_slow() -> None:
    books = healthy(400)
    many(400, lambda b: request(b, "GetMessages", 20.0))(books)
    assert result(books) == RunResult.FAILED
    assert result(books, make_gate((), named="standard", long_poll_s=20.0)) == RunResult.PASSED
    assert "GetMessages.latency.p99 < 23s" in standard_thresholds(20.0)


def test_it_is_kept_in_the_settings_as_it_was_judged() -> None:
    gate = make_gate(["dropped.rate < 2%"], named="standard")
    assert gate_of(RunSettings(**gate.settings())) == gate


def test_a_report_can_be_judged_by_it() -> None:
    settings = RunSettings(long_poll=20.0, **make_gate(["lateness.p50 < 1s"]).settings())
    assert regate(settings, (), None, False) == make_gate(["lateness.p50 < 1s"])
    assert regate(settings, (), None, False, "standard") == make_gate((), named="standard", long_poll_s=20.0)
    asked = regate(settings, ["dropped.rate < 2%"], 99.0, True, "standard")
    assert asked == make_gate(["dropped.rate < 2%"], (), 99.0, True, named="standard", long_poll_s=20.0)


def test_there_is_no_other_gate() -> None:
    with pytest.raises(UsageError, match="--gate strict is not a gate"):
        make_gate((), named="strict")


@pytest.mark.parametrize(("accepted", "expected"), [(0, RunResult.NOTHING_TESTED), (1, RunResult.NOT_JUDGED)])
def test_without_thresholds(accepted: int, expected: RunResult) -> None:
    assert result(Books(), make_gate(()), accepted) == expected
    assert result(Books(), make_gate((), allow_inconclusive=True), accepted) == expected


def unfit(sessions: int, verdict: str, chat_id: str) -> Books:
    """A run of which half the sessions were healthy, and the others ended like this."""
    books = healthy(sessions)
    for _ in range(sessions):
        session(books, verdict, chat_id)
    return books


LATENCY = "GetMessages.latency.p99 < 3s"


@pytest.mark.parametrize(
    ("unproven", "expected"), [(0, "passed"), (1, "inconclusive"), (14, "inconclusive")]
)  # 1 of 20 is above 1 %
def test_allowed_is_what_too_few_sessions_leave_undecided(unproven: int, expected: str) -> None:
    books = healthy(20 - unproven)
    for _ in range(unproven):
        session(books, "dropped_unproven", "c")
    assert result(books, make_gate(("dropped.rate < 1%",))) == "inconclusive"
    assert result(books, make_gate(("dropped.rate < 1%",), allow_inconclusive=True)) == expected


@pytest.mark.parametrize("threshold", ["failed.count < 1", "GetMessages.latency.p50 < 9s"])
def test_not_allowed_is_what_more_samples_would_not_decide(threshold: str) -> None:
    """Drops that may be failures, and answers that never came."""
    books = healthy(20)
    session(books, "dropped_unproven", "c")
    for _ in range(books.latency["GetMessages"].count + 1):
        books.latency["GetMessages"].add_longer_than(1.0)
    gate = make_gate((threshold, "dropped.rate < 90%"), allow_inconclusive=True)
    first, *_ = gate.judge(Facts(books, 45.0))
    assert first.result == "inconclusive" and first.threshold.holds(first.value or 0.0)
    assert result(books, gate) == "inconclusive"


@pytest.mark.parametrize(
    ("verdict", "chat_id", "metric"),
    [
        ("refused", "", "unserved.rate"),
        ("gave_up", "", "unserved.rate"),
        ("failed", "c", "failed.rate"),
        ("dropped_early", "c", "dropped.rate"),
    ],
)
def test_sessions_that_no_threshold_is_about_do_not_pass_unseen(verdict: str, chat_id: str, metric: str) -> None:
    gate, books = make_gate((LATENCY,)), unfit(300, verdict, chat_id)
    *own, unseen = gate.judge(Facts(books, 45.0))
    assert [judgement.result for judgement in own] == ["pass"]
    assert (unseen.threshold.metric.name, unseen.result) == (metric, "inconclusive")
    assert f"no threshold is about {metric}" in unseen.why
    assert result(books, gate) == "inconclusive"
    assert result(books, make_gate((LATENCY,), allow_inconclusive=True)) == "inconclusive"


@pytest.mark.parametrize(
    ("verdict", "chat_id", "threshold"),
    [
        ("refused", "", "unserved.rate < 60%"),
        ("refused", "", "refused.rate < 60%"),
        ("gave_up", "", "gave_up.count < 1000"),
        ("failed", "c", "failed.rate < 60%"),
        ("dropped_early", "c", "dropped_early.rate < 60%"),
        ("dropped_early", "c", "completed.rate > 30%"),
    ],
)
def test_a_threshold_about_them_decides(verdict: str, chat_id: str, threshold: str) -> None:
    assert result(unfit(300, verdict, chat_id), make_gate((LATENCY, threshold))) == "passed"


def test_a_run_without_thresholds_stays_not_judged() -> None:
    assert result(unfit(300, "failed", "c"), make_gate(())) == "not judged"


def test_a_few_such_sessions_are_no_ground() -> None:
    books = healthy(1000)
    session(books, "failed")
    assert result(books, make_gate((LATENCY,))) == "passed"


def test_the_confidence_is_95_percent_unless_another_is_given() -> None:
    assert Gate().confidence == make_gate(()).confidence == gate_of(RunSettings()).confidence == 0.95
    assert gate_of(RunSettings(confidence=0.9)).confidence == pytest.approx(0.9)
    settings = RunSettings(**make_gate(["failed.rate < 1%"], ["failed.count < 9"], 90.0, True).settings())
    again = regate(settings, (), None, False)
    assert (again.confidence, again.allow_inconclusive) == (pytest.approx(0.9), True)
    assert [str(threshold) for threshold in again.abort_on] == ["failed.count < 9"]
    assert regate(settings, (), 80.0, False).confidence == 0.8
    assert not Gate().allow_inconclusive and not gate_of(RunSettings()).allow_inconclusive
    assert regate(RunSettings(), ("failed.rate < 1%",), None, True).allow_inconclusive
    assert not regate(RunSettings(), ("failed.rate < 1%",), None, False).allow_inconclusive


@pytest.mark.parametrize(("percent", "allowed"), [(49.9, False), (50.0, True), (99.99, True), (100.0, False)])
def test_a_confidence_is_from_50_to_under_100(percent: float, allowed: bool) -> None:
    if allowed:
        assert make_gate((), percent=percent).confidence == percent / 100
    else:
        with pytest.raises(UsageError, match="is not a percentage from 50 to under 100"):
            make_gate((), percent=percent)


def test_what_ends_a_run_early() -> None:
    gate = make_gate((), ["failed.count < 3", "refused.count < 3"], 99.0)
    books = healthy(9)
    monitor = gate.abort_monitor(45.0)
    assert monitor.why_lost(Facts(books, 45.0), 1.0) == ""
    many(3, lambda b: session(b, "refused", ""))(books)
    assert monitor.why_lost(Facts(books, 45.0), 2.0) == "refused.count < 3 is lost: refused.count is 3"
    assert make_gate(()).abort_monitor(45.0).why_lost(Facts(books, 45.0), 1.0) == ""


@pytest.mark.parametrize(
    ("percent", "failed", "lost"), [(95.0, 5, False), (95.0, 6, True), (99.9, 8, False), (99.9, 9, True)]
)
def test_a_rate_is_lost_by_the_gate_s_confidence(percent: float, failed: int, lost: bool) -> None:
    monitor = make_gate((), ["failed.rate < 1%"], percent).abort_monitor(45.0)
    books = healthy(100)
    whys = []
    for block in range(failed):
        session(books, "failed")
        whys.append(monitor.why_lost(Facts(books, 45.0), 45.0 * block))
    assert bool(whys[-1]) is lost


def test_an_undecided_threshold_passes_only_where_that_is_allowed() -> None:
    few = healthy(100)
    for allowed, expected in ((False, "inconclusive"), (True, "passed")):
        gate = make_gate(["failed.rate < 1%"], allow_inconclusive=allowed)
        assert result(few, gate) == expected
        assert result(few, gate, accepted=0) == "nothing tested"
    many(100, lambda b: session(b, "failed"))(few)
    assert result(few, make_gate(["failed.rate < 1%"], allow_inconclusive=True), accepted=0) == "failed"


@pytest.mark.parametrize(("failed", "unseen"), [(1, False), (30, True)])
def test_what_is_unseen_is_what_fails_the_standard_gate(failed: int, unseen: bool) -> None:
    books = healthy(300)
    many(failed, lambda b: session(b, "failed"))(books)
    judged = make_gate((LATENCY,)).judge(Facts(books, 45.0))
    assert [j.result for j in judged] == ["pass", *["inconclusive"] * unseen]
    for about in ("failed.count < 99", "completed.rate > 30%"):
        assert len(make_gate((LATENCY, about)).judge(Facts(books, 45.0))) == 2
    assert len(make_gate((LATENCY, "dropped.rate < 9%")).judge(Facts(books, 45.0))) == 2 + unseen


@pytest.mark.parametrize(
    ("verdict", "chat_id", "threshold", "metric"),
    [
        ("dropped_early", "c", "dropped_late.rate < 1%", "dropped.rate"),
        ("dropped_late", "c", "dropped_early.rate < 1%", "dropped.rate"),
        ("dropped_late", "c", "dropped_unproven.rate < 1%", "dropped.rate"),
        ("gave_up", "", "refused.rate < 1%", "unserved.rate"),
        # A rate of completed or given up chats is a share of the accepted ones.
        ("refused", "", "completed.rate > 30%", "unserved.rate"),
        ("gave_up", "", "gave_up.rate < 5%", "unserved.rate"),
        ("dropped_late", "c", "completed.count >= 1", "dropped.rate"),
    ],
)
def test_a_threshold_on_other_sessions_does_not_cover_them(
    verdict: str, chat_id: str, threshold: str, metric: str
) -> None:
    gate, books = make_gate((threshold,)), unfit(3000, verdict, chat_id)
    own, unseen = gate.judge(Facts(books, 45.0))
    assert (own.result, unseen.threshold.metric.name) == ("pass", metric)
    assert result(books, gate) == "inconclusive"


@pytest.mark.parametrize("dropped", [10, 15])
def test_drops_of_one_incident_do_not_pass_unseen(dropped: int) -> None:
    # One incident proves little about the rate of drops: 10 of 100 at once are worth 1 of 10.
    books = healthy(100 - dropped)
    for _ in range(dropped):
        session(books, "dropped_early")
    facts = Facts(books, 45.0, incidence=find_incidence([50 + i / 100 for i in range(dropped)], 0.0, 100.0))
    gate = make_gate(["GetMessages.latency.p50 < 30s"])
    own, unseen = gate.judge(facts)
    assert (own.result, unseen.result) == ("pass", "inconclusive")
    assert "1 incident" in unseen.why and "no threshold is about dropped.rate" in unseen.why
    assert gate.result([own, unseen], 100) == "inconclusive"
