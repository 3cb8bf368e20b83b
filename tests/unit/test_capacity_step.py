"""One step of a capacity search: when it has settled, what ends it, and whose fault that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from chatload.features.capacity.step import Look, Step, StepRecord, StepRules, facts_of, lateness_limit
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.thresholds.judgement import judge, observed
from chatload.thresholds.metrics import Threshold, parse

RULES = StepRules(start=10, interval_s=1.0, timeout_s=4.0, hold_s=2.0, bound_s=15.0)
NO_REFUSALS = (parse("refused.count == 0"),)
FEW_DROPS = (*NO_REFUSALS, parse("dropped.per_chat_hour < 0.2"))


class Chats:
    """The books of a run with ten chats, a look a second, and one step that looks at them."""

    def __init__(self, thresholds: Sequence[Threshold] = NO_REFUSALS, rules: StepRules = RULES) -> None:
        self.now, self.cpu_s, self.open = 0.0, 0.0, 10
        self.books = Books()
        self.books.states["held"] = self.open
        self.step = Step(rules, thresholds, 10, "double", self._look())

    def _look(self) -> Look:
        return Look(self.now, self.books.copy(), {"local": self.cpu_s})

    def second(self, latency_s: float | None = 0.01, lateness_s: float = 0.0, cpu_s: float = 0.1) -> StepRecord | None:
        """A second goes by in which every chat is refreshed, or none at all."""
        self.now += 1.0
        self.cpu_s += cpu_s
        if latency_s is not None:
            self.books.latency.setdefault("GetMessages", CensoredHistogram()).observed.extend([latency_s] * self.open)
            self.books.lateness.extend([lateness_s] * self.open)
            self.books.outcomes.setdefault("GetMessages", Counter())["0/false"] += self.open
        return self.step.look(self._look())

    def over(self, latencies: Sequence[float | None] = (), **figures: float) -> StepRecord:
        """The record, after seconds of these latencies and then of 10 ms."""
        for latency_s in [*latencies, *[0.01] * 60]:
            record = self.second(latency_s, **figures)
            if record is not None:
                return record
        raise AssertionError("the step does not end")


@pytest.mark.parametrize(
    ("latencies", "settled_after"),
    [
        ([0.100, 0.100], 2),
        ([0.100, 0.115], 2),  # within a fifth
        ([0.115, 0.100], 2),
        ([0.100, 0.130, 0.130], 3),
        ([0.004, 0.008], 2),  # within 5 ms, though it doubled
        ([0.010, 0.016, 0.016], 3),
        ([None, 0.050, 0.050], 3),  # nothing was answered in the first second
        ([0.050, None, 0.050, 0.050], 4),
        ([None, None, 0.050, 0.050], 4),
    ],
)
def test_a_load_has_settled_when_two_seconds_on_end_are_alike(
    latencies: list[float | None], settled_after: int
) -> None:
    chats = Chats()
    chats.second()  # the load is reached
    record = chats.over(latencies)
    assert (record.reached, record.settled, record.calm) == (1.0, 1.0 + settled_after, True)
    assert record.outcome == "held"


def test_what_does_not_settle_is_judged_after_the_longest_time_allowed() -> None:
    chats = Chats()
    chats.second()
    record = chats.over([0.1, 0.2] * 8)
    assert (record.settled, record.calm, record.outcome) == (16.0, False, "held")


def test_the_figures_of_a_step_are_those_since_it_had_settled() -> None:
    chats = Chats()
    chats.books.verdicts.update({"refused": 5, "dropped_late": 7})  # before the step's look: no doing of its
    chats.step = Step(replace(RULES, thresholds=NO_REFUSALS), (), 10, "double", chats._look())
    chats.second()
    for _ in range(2):
        chats.second(0.5, lateness_s=0.9, cpu_s=0.9)
    chats.second(0.02, lateness_s=0.001, cpu_s=0.3)
    chats.books.verdicts.update({"refused": 1, "dropped_early": 2, "dropped_unproven": 3})
    chats.books.latency["GetMessages"].observed.extend([0.4])
    record = chats.second(0.02, lateness_s=0.001, cpu_s=0.3)
    assert record is not None
    assert record.outcome == "held" and record.trouble is None
    figures = record.figures
    # 21 refreshes since second 3: 20 ms but for one of 400 ms, which is beyond 95 % of them.
    assert figures["latency_p50_s"] == pytest.approx(0.02, rel=0.02)
    assert figures["latency_p95_s"] == pytest.approx(0.02, rel=0.02)
    assert figures["lateness_p99_s"] == pytest.approx(0.001, rel=0.02)
    assert figures["cpu"] == pytest.approx(0.3)
    assert (figures["refused"], figures["dropped"], figures["stalled_s"]) == (1, 5, 0.0)


def _settled(chats: Chats, seconds: int = 3) -> None:
    """The load is reached and has settled."""
    for _ in range(seconds):
        assert chats.second() is None


@pytest.mark.parametrize("p95_ms", [10, 300])
def test_the_latency_of_a_step_is_told_in_both_percentiles(p95_ms: int) -> None:
    chats = Chats()
    _settled(chats)
    for _ in range(5):
        # One of ten chats has a latency of its own.
        chats.books.latency["GetMessages"].observed.extend([p95_ms / 1000] * 10)
        record = chats.second(0.005)
        if record is not None:
            break
    assert record is not None
    assert record.figures["latency_p50_s"] == pytest.approx(0.005, rel=0.03)
    assert record.figures["latency_p95_s"] == pytest.approx(p95_ms / 1000, rel=0.03)


@pytest.mark.parametrize(
    ("by", "says"),
    [
        ({"lateness_s": 0.3}, "s late (p99; at most 0.2 s are allowed)"),
        ({"cpu_s": 0.95}, "its busiest process used 95% of a core"),
        ({"lateness_s": 0.19}, ""),
        ({"cpu_s": 0.85}, ""),
    ],
)
def test_drops_are_no_word_on_a_server_while_the_generator_was_late(by: dict[str, float], says: str) -> None:
    # Judged by no latency: late is more than a twentieth of the timeout of 4 s.
    chats = Chats((parse("dropped.count == 0"),))
    for _ in range(6):
        chats.second(**by)
    chats.books.verdicts["dropped_late"] += 1
    record = chats.second(**by)
    assert record is not None and record.trouble is not None
    assert record.outcome == ("spoilt" if says else "not held")
    assert (record.trouble.cause, record.trouble.metric) == (
        ("generator", "") if says else ("knee", "dropped.count == 0")
    )
    assert says in record.trouble.why


@pytest.mark.parametrize(
    ("what", "amount", "is_spoilt"),
    [("stalled_s", 0.4, True), ("stalled_s", 0.2, False), ("suspects", 1, True), ("suspects", 0, False)],
)
def test_a_generator_that_stood_still_or_may_have_caused_a_drop_spoils_a_step(
    what: str, amount: float, is_spoilt: bool
) -> None:
    chats = Chats((parse("dropped.count == 0"),))
    for _ in range(6):
        chats.second()
    setattr(chats.books, what, amount)  # of 7 s, a twentieth are 0.35 s
    chats.books.verdicts["dropped_late"] += 1
    record = chats.second()
    assert record is not None and record.outcome == ("spoilt" if is_spoilt else "not held")


def test_a_refusal_ends_a_step_at_once_whatever_the_generator_does() -> None:
    chats = Chats()
    chats.second()
    chats.books.verdicts["refused"] += 1
    record = chats.second(cpu_s=1.0, lateness_s=1.0)
    assert record is not None and record.trouble is not None
    assert (record.outcome, record.trouble.cause, record.trouble.at_s) == ("not held", "limit", 2.0)
    assert (record.ended, record.settled, record.open_most) == (2.0, None, 10)


def test_a_load_that_cannot_be_begun_is_the_generators_and_one_that_is_not_answered_the_servers() -> None:
    for answered, (outcome, cause) in ((6, ("spoilt", "generator")), (5, ("not held", "knee"))):
        chats = Chats()
        chats.open = chats.books.states["held"] = 6
        chats.books.outcomes["RequestChat"] = Counter({"0/false": answered, "timeout": 6 - answered})
        chats.step = Step(RULES, NO_REFUSALS, 10, "double", Look(0.0, Books()))
        record = chats.over()
        assert record.trouble is not None and (record.outcome, record.trouble.cause) == (outcome, cause)
        # It may take as long as settling, and two refresh intervals.
        assert (record.reached, record.ended) == (None, 17.0)
        assert "6 of 10 sessions" in record.trouble.why
        assert cause == "generator" or "within 17 s" in record.trouble.why


@pytest.mark.parametrize(
    ("hold_s", "timeout_s", "purpose", "lasts_s"),
    [(2.0, 4.0, "double", 2), (7.0, 4.0, "double", 7), (2.0, 4.0, "confirm", 13), (14.0, 4.0, "confirm", 14)],
)
def test_a_step_is_held_as_long_as_it_says_and_a_confirmation_until_a_drop_would_show(
    hold_s: float, timeout_s: float, purpose: str, lasts_s: int
) -> None:
    rules = StepRules(start=10, interval_s=1.0, timeout_s=timeout_s, hold_s=hold_s, bound_s=15.0)
    chats = Chats(NO_REFUSALS, rules)
    chats.step = Step(rules, NO_REFUSALS, 10, purpose, chats._look())
    record = chats.over()
    assert record.settled is not None and record.ended - record.settled == lasts_s
    assert record.rates == [10.0] * (2 + lasts_s)


def test_what_is_undecided_is_held_twice_and_four_times_as_long_and_no_longer() -> None:
    chats = Chats((parse("GetMessages.latency.p99 < 1s"),))
    record = chats.over()
    assert (record.outcome, record.settled, record.ended) == ("undecided", 3.0, 11.0)
    assert record.trouble is not None and record.trouble.metric == "GetMessages.latency.p99 < 1 s"


def test_a_trouble_is_dated_from_its_last_beginning() -> None:
    rules = StepRules(start=10, interval_s=1.0, timeout_s=4.0, hold_s=6.0, bound_s=15.0)
    chats = Chats((parse("GetMessages.latency.p95 < 100ms"),), rules)
    record = chats.over([0.01, 0.3, 0.01, 0.01, 0.01, *[0.3] * 50])
    assert record.trouble is not None and record.outcome == "not held"
    # Slow in second 2, and again from second 6 on; judged at the hold's end.
    assert (record.trouble.cause, record.trouble.at_s, record.ended) == ("knee", 6.0, 10.0)


def test_of_many_thresholds_the_one_that_is_undecided_is_named() -> None:
    undecided = "GetMessages.latency.p99 < 1 s"
    chats = Chats((parse("refused.count == 0"), parse("GetMessages.latency.p50 < 1s"), parse(undecided)))
    record = chats.over()
    assert record.outcome == "undecided" and record.trouble is not None and record.trouble.metric == undecided


def test_of_a_hundred_chats_one_may_be_between_two() -> None:
    for opening, reached in ((1, 1.0), (2, None)):
        chats = Chats()
        chats.open = 99
        chats.books.states.update({"held": 99 - 10, "opening": opening})
        chats.step = Step(RULES, NO_REFUSALS, 100, "double", chats._look())
        chats.second()
        assert chats.step._record.reached == reached


@pytest.mark.parametrize(("operation", "cause"), [("RequestChat", "limit"), ("SendMessage", "knee")])
def test_slow_answers_to_new_chats_are_the_servers_limit(operation: str, cause: str) -> None:
    chats = Chats((parse(f"{operation}.latency.p95 < 100ms"),))
    chats.books.latency[operation] = CensoredHistogram()
    for _ in range(30):
        chats.books.latency[operation].observed.extend([0.3] * 20)
        record = chats.second()
        if record is not None:
            break
    assert record is not None and record.trouble is not None
    assert (record.outcome, record.trouble.cause) == ("not held", cause)


def test_what_was_slow_before_it_had_settled_is_not_held_against_a_load() -> None:
    rules = StepRules(start=10, interval_s=1.0, timeout_s=4.0, hold_s=20.0, bound_s=15.0)
    thresholds = (parse("GetMessages.latency.p90 < 100ms"),)
    chats = Chats(thresholds, rules)
    record = chats.over([0.01, *[0.5, 0.9] * 7, 0.01, 0.01])
    assert (record.outcome, record.settled) == ("held", 16.0)
    # And what was fast before is no help.
    chats = Chats(thresholds, rules)
    assert chats.over([*[0.01, 0.05] * 8, *[0.3] * 40]).outcome == "not held"


@pytest.mark.parametrize(
    ("thresholds", "lateness"),
    [
        ((), 2.0),  # a twentieth of the timeout of 40 s
        (("dropped.count == 0", "lateness.p99 < 10ms"), 2.0),
        (("GetMessages.latency.p95 < 100ms",), 0.05),
        (("GetMessages.latency.p95 < 1s", "RequestChat.latency.p50 < 300ms"), 0.15),
        (("GetMessages.latency.p95 < 20s",), 2.0),
        (("GetMessages.latency.p95 < 10ms",), 0.02),  # never less than 20 ms
    ],
)
def test_the_generators_lateness_is_allowed_half_of_the_latency_judged_by(
    thresholds: tuple[str, ...], lateness: float
) -> None:
    parsed = [parse(text) for text in thresholds]
    assert lateness_limit(parsed, StepRules(timeout_s=40.0)) == pytest.approx(lateness)


def test_the_busiest_of_several_processes_is_the_one_that_counts() -> None:
    chats = Chats((parse("dropped.count == 0"),))
    begun = Look(0.0, chats.books.copy(), {"a": 1.0, "b": 2.0})
    chats.step = Step(RULES, (parse("dropped.count == 0"),), 10, "double", begun)
    chats.books.verdicts["dropped_late"] += 1
    record = chats.step.look(Look(10.0, chats.books.copy(), {"a": 3.0, "b": 11.5, "new": 10.0}))
    assert record is not None and record.outcome == "spoilt" and record.figures["cpu"] == pytest.approx(0.95)


def test_what_a_load_was_judged_by_is_kept() -> None:
    thresholds = ("refused.count == 0", "GetMessages.latency.p50 < 1s")
    record = Chats([parse(text) for text in thresholds]).over()
    assert [(str(j.threshold), j.result) for j in record.judgements] == [
        ("refused.count == 0", "pass"), ("GetMessages.latency.p50 < 1 s", "pass"),
    ]  # fmt: skip


@pytest.mark.parametrize(("every_s", "windows"), [(0.25, 3), (0.5, 3), (1.0, 3)])
def test_a_window_is_as_long_as_it_is_to_be_however_often_one_looks(every_s: float, windows: int) -> None:
    chats = Chats()
    chats.second()
    step_s = 0.0
    while step_s < windows:
        step_s += every_s
        chats.now += every_s
        chats.books.latency["GetMessages"].observed.extend([0.01 if step_s % 2 else 0.1] * 10)
        chats.books.outcomes["GetMessages"]["0/false"] += 10
        chats.step.look(chats._look())
    assert len(chats.step._record.rates) == windows


def test_drops_are_judged_by_the_chat_hours_of_the_step() -> None:
    """1 drop in 10 chats for 7 s is more than 2.6 per chat-hour with 95 % confidence, in 1000 chats 0.026."""
    for sessions, outcome in ((10, "not held"), (1000, "held")):
        chats = Chats()
        chats.open = sessions
        chats.books.states["held"] = sessions
        chats.step = Step(RULES, FEW_DROPS, sessions, "trial", chats._look())
        for _ in range(4):
            chats.second()
        chats.books.verdicts["dropped_late"] += 1
        record = chats.over()
        assert record.outcome == outcome
        assert record.exposure.drops == 1
        assert record.exposure.chat_hours == pytest.approx(sessions * record.ended / 3600)
        judged = record.judgements[1]
        assert judged.value == pytest.approx(1 / record.exposure.chat_hours)
        assert judged.result == ("fail" if sessions == 10 else "inconclusive"), "not refuted is not shown"
    assert chats.open == 1000 and record.trouble is None


def test_many_drops_end_a_step_before_its_time() -> None:
    chats = Chats(FEW_DROPS)
    chats.second()
    chats.books.verdicts["dropped_late"] += 5
    record = chats.second()
    assert record is not None and record.trouble is not None
    assert (record.outcome, record.trouble.metric, record.trouble.at_s) == (
        "not held",
        "dropped.per_chat_hour < 0.2",
        2.0,
    )
    assert record.trouble.why.startswith("5 drops in 0.00556 chat-hours: more than ")


@pytest.mark.parametrize(
    ("threshold", "verdict", "outcome", "why"),
    [
        ("dropped.per_chat_hour < 1000", "dropped_late", "held", ""),
        ("dropped.per_chat_hour < 100", "dropped_late", "not held", "5 drops in 0.0194 chat-hours: more than 101 "),
        ("dropped.per_chat_hour < 100", "dropped_unproven", "not held", "5 drops in 0.0194 chat-hours"),
        ("failed.per_chat_hour <= 100", "failed", "not held", "5 sessions failed in 0.0194 chat-hours"),
        ("failed.per_chat_hour <= 100", "dropped_late", "held", ""),
    ],
)
def test_a_rate_per_chat_hour_of_the_user_is_judged_like_the_standard_one(
    threshold: str, verdict: str, outcome: str, why: str
) -> None:
    """10 chats for 7 s are 0.0194 chat-hours; the bound of 5 events (95 %) is 1.97 / 0.0194 = 101 per chat-hour."""
    thresholds = (*NO_REFUSALS, parse(threshold))
    chats = Chats(thresholds, replace(RULES, thresholds=thresholds, hold_s=4.0))
    for _ in range(6):
        chats.second()
    chats.books.verdicts[verdict] += 5
    record = chats.over()
    assert (record.outcome, round(record.exposure.chat_hours, 4)) == (outcome, 0.0194)
    assert record.exposure.surely == (5 if verdict == "dropped_late" else 0)
    assert (record.trouble.why if record.trouble else "").startswith(why)
    assert (record.trouble.metric if record.trouble else threshold) == threshold


def test_drops_are_not_judged_where_no_threshold_is_about_them() -> None:
    chats = Chats()
    chats.second()
    chats.books.verdicts["dropped_late"] += 5
    assert chats.over().outcome == "held"


def test_drops_are_bounded_by_the_time_from_one_timeout_after_the_load_was_reached() -> None:
    chats = Chats(rules=replace(RULES, hold_s=8.0))
    record = chats.over()
    # Reached in second 1, the timeout is 4 s, and it ends in second 11: 6 s of 10 sessions.
    assert (record.reached, record.ended) == (1.0, 11.0)
    assert record.proven.chat_hours == pytest.approx(60 / 3600)


@pytest.mark.parametrize(("slow", "outcome"), [(5, "held"), (7, "not held")])
def test_a_load_is_held_by_the_measured_value_where_confidence_would_leave_it_open(slow: int, outcome: str) -> None:
    """Of 100 requests or more, 5 % may be slow: with 95 % confidence that is open from 2 to 9 of 100."""
    chats = Chats((parse("GetMessages.latency.p95 < 100ms"),), replace(RULES, hold_s=12.0))
    _settled(chats)
    chats.second()
    for _ in range(slow):
        chats.books.latency["GetMessages"].observed.add(0.3)
    record = chats.over()
    assert (record.outcome, record.judgements[0].result) == (outcome, "inconclusive")
    if record.trouble is not None:
        assert record.trouble.why.startswith("it measured ")


@pytest.mark.parametrize(
    "threshold",
    [
        "refused.count == 0", "sessions.count > 5", "dropped.rate < 1%", "GetMessages.unsuccessful.rate < 5%",
        "GetMessages.latency.p95 < 100ms", "latency.max < 1s", "lateness.p99 < 1s", "margin.p1 > 1s",
        "SendMessage.latency.p50 < 1s",
    ],
)  # fmt: skip
@pytest.mark.parametrize("empty", [False, True])
def test_what_is_observed_is_the_value_of_the_judgement(threshold: str, empty: bool) -> None:
    chats = Chats()
    if not empty:
        for latency_s in (0.01, 0.2, 0.03):
            chats.second(latency_s, lateness_s=latency_s / 100)
        chats.books.started = 12
        chats.books.verdicts["refused"] = 2
        chats.books.gap.observed.extend([1.0, 2.0, 3.5])
    facts = facts_of(chats._look(), Look(0.0, Books()), 4.0)
    wanted = parse(threshold)
    assert observed(wanted.metric, facts) == judge(wanted, facts).value
