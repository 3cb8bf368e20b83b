"""Chat-hours: how they are counted, and how events per chat-hour and drops by age are judged."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.run.books import Books
from chatload.run.lifetimes import Lifetimes, chat_hours_text
from chatload.stats.bursts import find_incidence
from chatload.thresholds.abort import AbortMonitor
from chatload.thresholds.judgement import Judgement, judge
from chatload.thresholds.metrics import Facts, metric_named, parse, parse_abort
from tests.unit.placed_chat import CONNECTION, ENDED, LOST, Answer, T, hold, opened, says

# -- counting ----------------------------------------------------------------------------------------


def ended(accepted_at: float, alive_s: float, verdict: str = "completed") -> SessionRecord:
    return SessionRecord("c", verdict, accepted_at=accepted_at, alive_s=alive_s)


def test_the_exposure_of_open_sessions_is_counted_up_to_now() -> None:
    books = Books()
    books.session_accepted(10.0)
    books.session_accepted(20.0)
    assert books.exposure_s == 0.0
    books.count_exposure(30.0)
    assert books.exposure_s == 30.0
    books.count_exposure(40.0)
    assert books.exposure_s == 50.0
    books.session_accepted(45.0)
    # It was surely open until 35 only: 5 s of what was counted are taken back.
    books.session_ended(ended(10.0, 25.0))
    assert books.exposure_s == 45.0
    books.count_exposure(50.0)
    assert books.exposure_s == 25.0 + 30.0 + 5.0
    books.session_ended(ended(20.0, 35.0))
    books.session_ended(ended(45.0, 5.0))
    books.count_exposure(1000.0)
    assert books.exposure_s == 25.0 + 35.0 + 5.0


def test_what_was_not_counted_before_its_end_is_counted_then() -> None:
    books = Books()
    books.session_accepted(10.0)
    books.session_ended(ended(10.0, 480.0))
    books.session_ended(SessionRecord("", "refused"))
    assert books.exposure_s == 480.0


def test_the_exposure_of_windows_adds_up_to_that_of_the_run() -> None:
    books, earlier, windows = Books(), Books(), []
    books.session_accepted(1.0)
    for now in (2.0, 3.0, 4.0):
        if now == 4.0:
            books.session_ended(ended(1.0, 0.5, "cut_off"))
        books.count_exposure(now)
        windows.append(books.since(earlier))
        earlier = books.copy()
    assert [window.exposure_s for window in windows] == [1.0, 1.0, -1.5]
    assert sum(window.exposure_s for window in windows) == books.exposure_s == 0.5
    assert Books.from_dict(windows[-1].to_dict()).exposure_s == -1.5


@pytest.mark.parametrize("answered", [5, 6, 7])
def test_a_completed_chat_was_open_until_its_first_goodbye_left(answered: int) -> None:
    # Five refreshes, Disconnect, and then the question whether the chat has ended: one of them is told so.
    record = hold(opened(took=0.5), *[Answer()] * answered, says(ENDED)).record
    assert (record.verdict, record.accepted_at) == ("completed", T + 0.5)
    assert record.alive_s == pytest.approx(10.0)


def test_a_dropped_chat_was_surely_open_until_its_last_answered_request() -> None:
    # Refreshes 0, 2, 4 and 20 s after the acceptance; the timeout is 6 s, and the last one finds the chat gone.
    record = hold(opened(took=0.5), *[Answer()] * 3, says(LOST, late=14.0)).record
    assert (record.verdict, record.alive_s) == ("dropped_late", pytest.approx(4.0))
    assert record.ended_at - record.accepted_at == pytest.approx(20.01)


def test_a_chat_that_is_cut_off_was_surely_open_until_its_last_answered_request() -> None:
    record = hold(opened(took=0.5), cut_at=5.0).record
    assert (record.verdict, record.alive_s) == ("cut_off", pytest.approx(4.0, abs=0.05))


def test_requests_without_an_answer_prove_no_exposure() -> None:
    record = hold(opened(took=0.5), Answer(), Answer(), *[says(CONNECTION)] * 50).record
    assert record.alive_s == pytest.approx(2.0, abs=0.05)


# -- rates per chat-hour -----------------------------------------------------------------------------


def facts(hours: float, lifetimes: Lifetimes | None = None, confirmed: int = 0, **verdicts: int) -> Facts:
    books = Books(started=sum(verdicts.values()), verdicts=Counter(verdicts), exposure_s=3600.0 * hours)
    return Facts(books, 45.0, confirmed, lifetimes=lifetimes)


def judged(text: str, given: Facts, **options: Any) -> Judgement:
    return judge(parse(text), given, **options)


# Bounds by hand, one-sided 95 %, half of a quantile of chi-squared over the hours: 0 events at most 2.9957; 1 at least
# 0.05129, at most 4.7439; 3 at least 0.8177, at most 7.7537; 10 at least 5.4254, at most 16.962.
@pytest.mark.parametrize(
    ("text", "given", "result", "low", "high", "needed"),
    [
        ("dropped.per_chat_hour < 0.2", facts(10, completed=75), "inconclusive", 0, 0.29957, 113),
        ("dropped.per_chat_hour < 0.2", facts(14.9, completed=75), "inconclusive", 0, 0.20106, 76),
        ("dropped.per_chat_hour < 0.2", facts(15, completed=75), "pass", 0, 0.19972, None),
        ("dropped.per_chat_hour < 0.2", facts(30, completed=74, dropped_late=1), "pass", 0.0017097, 0.15813, None),
        ("dropped.per_chat_hour < 0.2", facts(4, completed=72, dropped_late=3), "fail", 0.20442, 1.9384, None),
        ("dropped.per_chat_hour < 0.2", facts(5, completed=72, dropped_late=3), "inconclusive", 0.16354, 1.5507, 97),
        ("dropped.per_chat_hour > 0.2", facts(4, completed=72, dropped_late=3), "pass", 0.20442, 1.9384, None),
        ("dropped_late.per_chat_hour < 0.2", facts(4, completed=72, dropped_early=3), "inconclusive", 0, 0.74893, 281),
        # A drop that is not proven counts against each claim.
        ("dropped.per_chat_hour < 0.2", facts(15, completed=75, dropped_unproven=1), "inconclusive", 0, 0.31626, None),
        ("dropped.per_chat_hour < 0.2", facts(4, completed=72, gave_up=3), "inconclusive", 0, 1.9384, None),
        ("failed.per_chat_hour < 5", facts(2, failed=10), "inconclusive", 2.7127, 8.481, None),
        ("blame.plan.per_chat_hour < 1", facts(2, completed=9, gave_up=1), "inconclusive", 0, 2.372, 58),
    ],
)
def test_hourly_rates_by_hand(
    text: str, given: Facts, result: str, low: float, high: float, needed: int | None
) -> None:
    found = judged(text, given)
    assert found.result == result
    assert (found.lower, found.upper) == (pytest.approx(low, rel=1e-4), pytest.approx(high, rel=1e-4))
    assert found.to_dict()["unit"] == "/h"
    if needed is not None or found.result != "inconclusive":
        assert found.needed == needed


def test_an_hourly_judgement_says_what_it_rests_on() -> None:
    assert judged("dropped.per_chat_hour < 0.02", facts(266, completed=2000)).why == (
        "0 in 266 chat-hours; the rate per chat-hour is below 0.02 with 95 % confidence (at most 0.0113) "
        "if no incident takes more than 1 session"
    )
    assert judged("dropped.per_chat_hour < 0.2", facts(10, completed=75)).why == (
        "0 in 10 chat-hours; the rate per chat-hour is below 0.3 with 95 % confidence, and 0.2 lies below that: "
        "15.1 chat-hours like these would settle it"
    )
    assert judged("dropped.per_chat_hour < 0.2", facts(5, completed=72, dropped_late=2, gave_up=1)).why == (
        "2 to 3 in 5 chat-hours; the rate per chat-hour is above 0.071 and below 1.56, each with 95 % confidence, and "
        "0.2 lies between: 20.3 chat-hours like these would settle it"
    )


def test_drops_that_came_in_one_incident_are_one_observation() -> None:
    at_once = find_incidence([100.0 + 0.01 * i for i in range(40)], 0.0, 3600.0)
    ages = lived((40, 240.0, 240.0, "dropped_late"), (2960, 480.0, 480.0, "completed"))
    alone = facts(400.0, ages, completed=2960, dropped_late=40)
    together = replace(alone, incidence=at_once)
    # Independent drops are between 0.0754 and 0.131 per chat-hour, and 0.99 and 1.74 % before 8 minutes.
    for passing, failing in (
        ("dropped.per_chat_hour < 0.2", "dropped.per_chat_hour < 0.05"),
        ("dropped.by_age(8m) < 2%", "dropped.by_age(8m) < 0.9%"),
    ):
        assert [judged(text, alone).result for text in (passing, failing)] == ["pass", "fail"]
        for text in (passing, failing):
            found = judged(text, together)
            assert (found.result, found.worth) == ("inconclusive", 75)
            assert found.why.endswith("; 40 drops came in 1 incident: the 3000 sessions are worth 75 independent ones")
    # By hand: 4.744 incidents of 40 drops in 400 h. A share without censoring has the bounds of the session rate.
    assert judged("dropped.per_chat_hour < 0.5", together).upper == pytest.approx(4.744 * 40 / 400, rel=1e-3)
    bounds = judge(parse("dropped.rate < 1%"), together)
    by_age = judged("dropped.by_age(8m) < 1%", together)
    assert (by_age.lower, by_age.upper) == (pytest.approx(bounds.lower), pytest.approx(bounds.upper))


@pytest.mark.parametrize(("text", "size"), [("dropped.per_chat_hour < 0.2", 26), ("dropped.by_age(8m) < 1%", 10)])
def test_the_incident_size_is_demanded_of_rates_by_exposure_too(text: str, size: int) -> None:
    # By hand: 2.9957 * 26 / 400 = 0.195; 3 * 10 / 3000 = 1 %.
    given = facts(400.0, lived((3000, 480.0, 480.0, "completed")), completed=3000)
    found = judge(parse(text), given, incident_size=2)
    assert (found.result, found.incident_size) == ("pass", size)
    assert found.why.endswith(f"if no incident takes more than {size} sessions")
    assert judge(parse(text), given, incident_size=size).result == "pass"
    assert judge(parse(text), given, incident_size=size + 1).result == "inconclusive"


def test_no_exposure_shows_nothing() -> None:
    found = judged("dropped.per_chat_hour < 0.2", facts(0.0, refused=9))
    assert (found.result, found.value, found.why) == ("inconclusive", None, "no chat was open for any time")


def test_a_rate_per_chat_hour_of_chats_that_were_cut_off_says_so() -> None:
    short = facts(10, confirmed=60, completed=40, cut_off=60)
    assert judged("failed.per_chat_hour < 9", short).why.endswith(
        "; this assumes that a chat is in equal danger at each age, and 60.0 % of the chats were still open at the end"
    )
    assert "still open" not in judged("dropped.per_chat_hour < 9", facts(10, confirmed=4, completed=36, cut_off=4)).why


# -- rates per session of chats that the end of the run cut off ----------------------------------------


def cut(n: int, **verdicts: int) -> Facts:
    """Facts of a run whose end cut off n chats."""
    return facts(10, confirmed=n, cut_off=n, **verdicts)


# The bounds by hand: 1 - 0.05 ** (1 / n) for none of n, and those of R's binom.test. The upper bound is of the chats
# that were seen to their end, the lower bound of all.
@pytest.mark.parametrize(
    ("text", "given", "result", "low", "high", "needed"),
    [
        ("dropped.rate < 1%", facts(10, completed=500), "pass", 0, 0.0059736, None),
        ("dropped.rate < 1%", cut(500), "inconclusive", 0, 1, None),
        ("dropped.rate < 1%", cut(202, completed=298), "inconclusive", 0, 0.0100024, 501),
        ("dropped.rate < 1%", cut(201, completed=299), "pass", 0, 0.0099691, None),
        ("dropped.rate < 1%", cut(97, completed=3), "inconclusive", 0, 1, 396),
        ("failed.rate < 1%", cut(500, completed=100), "inconclusive", 0, 1, 1000),
        # 15 of 165 are surely above 1 %, whatever becomes of the others.
        ("dropped.rate < 1%", cut(150, dropped_late=15), "fail", 0.0568742, 1, None),
        ("dropped.rate < 1%", cut(1500, completed=300, dropped_late=10), "inconclusive", 0.0030004, 1, None),
        # More were cut off than not, though 0 of 300 alone would pass.
        ("dropped.rate < 1%", cut(301, completed=300), "inconclusive", 0, 1, 602),
        ("dropped.rate < 1%", cut(300, completed=300), "pass", 0, 0.0099360, None),
        # Of chats that end well, both bounds are those of the other chats.
        ("completed.rate > 95%", cut(60, completed=100), "pass", 0.9704870, 1, None),
        ("completed.rate > 95%", cut(60, completed=30), "inconclusive", 0, 1, 120),
        ("completed.rate > 95%", cut(60, completed=100, failed=20), "fail", 0.7671025, 0.9251378, None),
        ("completed.rate > 95%", cut(60), "inconclusive", 0, 1, None),
        # It is known of these.
        ("cut_off.rate < 1%", cut(60, completed=200), "fail", 0.1883270, 0.2778640, None),
        ("refused.rate < 1%", cut(500), "pass", 0, 0.0059736, None),
    ],
)
def test_chats_that_were_cut_off_prove_nothing(
    text: str, given: Facts, result: str, low: float, high: float, needed: int | None
) -> None:
    found = judged(text, given)
    assert (found.result, found.needed) == (result, needed)
    assert (found.lower, found.upper) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert found.value is None or found.lower <= found.value <= found.upper


def test_the_reason_names_the_chats_that_were_cut_off_and_the_remedy() -> None:
    assert judged("dropped.rate < 1%", cut(500)).why == (
        "0 of 500 sessions; nothing is known of the rate: only a longer run would settle it; the end of the run cut "
        "off 500 of the 500 sessions, and what would have become of them is not known: run for many times the length "
        "of a chat, or judge dropped.per_chat_hour, or judge dropped.by_age(AGE)"
    )
    assert judged("dropped.rate < 1%", cut(150, completed=250)).why.endswith(
        "449 sessions without one would settle it; the end of the run cut off 150 of the 400 sessions, and what would "
        "have become of them is not known: run 1.2 times as long, or judge dropped.per_chat_hour, or judge "
        "dropped.by_age(AGE)"
    )
    assert judged("completed.rate > 95%", cut(60, completed=30)).why.endswith(" not known: run 1.4 times as long")
    assert judged("dropped.rate < 1%", cut(150, completed=305)).why.endswith(
        "; the end of the run cut off 150 of the 455 sessions; assumed: these were in no more danger than the others"
    )
    for text, given in (
        ("dropped.rate < 1%", facts(10, completed=500)),
        ("dropped.rate < 1%", cut(150, dropped_late=15)),
        ("refused.rate < 9%", cut(500)),
        # It would be undecided without them too.
        ("dropped.rate < 1%", cut(6, completed=200)),
    ):
        assert "cut off" not in judged(text, given).why


def test_incidents_may_be_no_larger_than_what_the_chats_that_were_seen_whole_allow() -> None:
    assert judged("dropped.rate < 1%", cut(600, completed=600)).incident_size == 2
    assert judged("dropped.rate < 1%", facts(10, completed=1200)).incident_size == 4


def test_an_undecided_run_is_decided_by_the_length_that_is_named() -> None:
    # 150 chats are open at each end: the named number of sessions has 150 of them that are cut off.
    needed = judged("dropped.rate < 1%", cut(150, completed=250)).needed
    assert needed is not None
    assert judged("dropped.rate < 1%", cut(150, completed=needed - 150)).result == "pass"
    assert judged("dropped.rate < 1%", cut(150, completed=needed - 151)).result == "inconclusive"


def test_exposures_are_written_with_three_digits() -> None:
    assert [chat_hours_text(hours) for hours in (0.01234, 1.0, 26.64, 266.4, 12345.6)] == [
        "0.0123 chat-hours", "1 chat-hour", "26.6 chat-hours", "266 chat-hours", "12 346 chat-hours",
    ]  # fmt: skip


# -- by age ------------------------------------------------------------------------------------------


def lived(*groups: tuple[int, float, float, str]) -> Lifetimes:
    """Sessions: how many, alive_s, ended_s, verdict."""
    return Lifetimes.of((alive_s, ended_s, verdict) for n, alive_s, ended_s, verdict in groups for _ in range(n))


def by_age(text: str, *groups: tuple[int, float, float, str]) -> Judgement:
    return judged(text, facts(1.0, lived(*groups), completed=1))


def test_drops_by_age_by_hand() -> None:
    # Without censoring before the age it is a share: 0 of 2995, as for a rate.
    assert by_age("dropped.by_age(8m) < 0.1%", (2995, 480.0, 480.1, "completed")).result == "pass"
    open_ = by_age("dropped.by_age(480) < 0.1%", (2994, 480.0, 480.1, "completed"))
    assert (open_.result, open_.needed, open_.samples) == ("inconclusive", 2995, 2994)
    late = by_age("dropped.by_age(8m) < 0.1%", (990, 480.0, 480.1, "completed"), (10, 200.0, 260.0, "dropped_late"))
    assert (late.result, late.value) == ("fail", pytest.approx(0.01))
    assert (late.lower, late.upper) == (pytest.approx(0.0054, abs=5e-5), pytest.approx(0.0169, abs=5e-5))
    assert late.to_dict()["unit"] == "%"


def test_differences_of_instants_lose_nothing_at_the_age() -> None:
    at = 1_800_000_000.1234
    alive = (at + 480.0) - at - 1e-9
    assert alive < 480.0
    assert by_age("dropped.by_age(8m) < 0.1%", (2995, alive, 480.1, "completed")).result == "pass"


def test_a_drop_counts_where_it_is_less_favourable() -> None:
    # Its last contact was before the age and its end was learned after it: it may have come before or after.
    found = by_age("dropped.by_age(8m) < 1%", (10, 470.0, 490.0, "dropped_late"), (90, 600.0, 600.0, "completed"))
    assert (found.result, found.lower) == ("inconclusive", 0.0)
    assert found.why.startswith("0 to 10 of 100 accepted chats dropped before 480 s, 90 observed up to this age")
    unproven = by_age("dropped.by_age(8m) < 1%", (10, 70.0, 90.0, "gave_up"), (90, 600.0, 600.0, "completed"))
    assert (unproven.result, unproven.lower, unproven.value) == ("inconclusive", 0.0, pytest.approx(0.1))


def test_an_age_that_no_chat_reached_is_not_judged() -> None:
    found = by_age("dropped.by_age(8m) < 1%", (5000, 300.0, 300.0, "completed"))
    assert (found.result, found.upper, found.needed, found.value) == ("inconclusive", 1.0, None, None)
    assert found.why.endswith("no chat was observed to this age (the oldest to 300 s): a longer run is needed")
    assert judged("dropped.by_age(8m) < 1%", facts(1.0, completed=1)).why == "the ages of the chats are not known here"
    assert by_age("dropped.by_age(8m) < 1%").result == "inconclusive"


# -- the grammar -------------------------------------------------------------------------------------


def test_the_age_is_a_duration() -> None:
    ages = [metric_named(f"dropped.by_age({text})").age_s for text in ("8m", "480", "480s", "7.5m", "250ms")]
    assert ages == [480.0, 480.0, 480.0, 450.0, 0.25]
    for text in ("dropped.by_age(8m) < 0.1%", "dropped.per_chat_hour <= 0.2", "blame.plan.per_chat_hour < 2"):
        assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "dropped.by_age(long) < 1%",
            "dropped.by_age(long): 'long' is not an age; expected a duration above 0, such as",
        ),
        ("dropped.by_age(0) < 1%", "'0' is not an age"),
        ("dropped.by_age(8m) < 2", "a rate is never above 100 %"),
        ("dropped.by_age(8m) < 0", "write dropped.count == 0, or a rate above 0"),
        ("failed.by_age(8m) < 1%", "unknown metric"),
        (
            "dropped.per_chat_hour < 1%",
            "unit '%' does not fit dropped.per_chat_hour, which is an hourly rate; ",
        ),
        ("dropped.per_chat_hour < 0", "an hourly rate is never below 0, so no run passes; write dropped.count == 0"),
        ("dropped.per_chat_hour <= 0", "no number of chat-hours can show that; write dropped.count == 0"),
        ("dropped.per_chat_hour >= 0", "that is always so"),
        ("dropped.per_chat_hour == 1", "'==' does not fit"),
        ("refused.per_chat_hour < 1", "unknown metric"),
        ("GetMessages.dropped.per_chat_hour < 1", "unknown metric"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as told:
        parse(text)
    assert said in str(told.value) and "\n" not in str(told.value)


def test_what_is_not_known_during_a_run_cannot_end_it() -> None:
    for text in ("dropped.by_age(8m) < 1%", "dropped.per_chat_hour > 1"):
        with pytest.raises(UsageError, match="leave it to --threshold"):
            parse_abort(text)


# -- ending a run that is lost -----------------------------------------------------------------------


def test_a_run_is_given_up_by_its_exposure_and_not_by_its_sessions() -> None:
    threshold = parse_abort("dropped.per_chat_hour < 0.2")

    def why(hours: float, verdict: str = "dropped_late") -> str:
        """A drop in each of ten blocks of 45 s."""
        monitor = AbortMonitor([threshold], 0.05, 45.0)
        told = ""
        for n in range(1, 11):
            so_far = facts(hours * n / 10, completed=n, **{verdict: n})
            told = told or monitor.why_lost(so_far, 45.0 * n)
        return told

    lost = why(4.0)
    assert lost.startswith("dropped.per_chat_hour < 0.2 is lost: ") and " chat-hours speak against it" in lost
    assert why(100.0) == "" == why(4.0, "dropped_unproven")
    assert AbortMonitor([threshold], 0.05, 45.0).why_lost(facts(0.0), 1.0) == ""
