"""The arms of a sweep judged: which interval is recommended, and what is said where none is."""

import math
from collections import Counter
from random import Random

import pytest
from scipy.stats import chi2

from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.features.tune.compute import Tally, agree, blamed, sessions_an_arm, tally, tune
from chatload.stats.rates import sessions_needed, upper

T = 10.0


def sessions(group, completed, late=0, unproven=0, suspects=0, cut=0, refused=0):
    """The records of one arm, which end evenly over an hour; suspects: of the late ones."""

    def made(verdict, n, **more):
        # Sessions with different verdicts end at different times.
        ends = [3600 * (i + len(verdict) / 40) / n for i in range(n)]
        return [
            SessionRecord(f"{group}{verdict}{i}", verdict, started_at=ends[i] - 20, ended_at=ends[i],
                          accepted_at=ends[i] - 20, alive_s=18.0,
                          requests=8, polls=4, gap_lower_s=5.0, gap_upper_s=6.0 if verdict == "completed" else 11.0,
                          group=group, **more)
            for i in range(n)
        ]  # fmt: skip

    return [
        *made("completed", completed),
        *made("dropped_late", late - suspects, blame="plan"),
        *made("dropped_late", suspects, blame="generator", generator_suspect=True),
        *made("dropped_unproven", unproven),
        *made("cut_off", cut),
        *[SessionRecord("", "refused", group=group) for _ in range(refused)],
    ]


def judged(*arms, target=0.01, **more):
    return tune(tally(record for arm in arms for record in arm), T, target, **more)


GOOD, BAD, OPEN = {"completed": 300}, {"completed": 200, "late": 100}, {"completed": 100}


@pytest.mark.parametrize(
    ("arms", "result", "recommended", "stopped_by"),
    [
        ([GOOD, GOOD, BAD], "recommended", 0.6, 0.7),
        ([GOOD, GOOD, GOOD], "recommended", 0.7, None),
        ([GOOD, OPEN, GOOD], "recommended", 0.5, 0.6),  # what comes after the first that fails is not looked at
        ([BAD, GOOD, GOOD], "none", None, 0.5),
        ([OPEN, GOOD, GOOD], "inconclusive", None, 0.5),
        ([{"completed": 300, "late": 3, "suspects": 3}, GOOD], "invalid", None, 0.5),
        ([{"completed": 5000, "late": 3, "suspects": 3}, BAD], "recommended", 0.5, 0.6),  # good in spite of them
        ([{"completed": 200, "late": 100, "suspects": 3}], "none", None, 0.5),  # bad without them
        ([{"completed": 300, "unproven": 2}], "inconclusive", None, 0.5),  # unproven drops count against
        ([{"completed": 300, "refused": 50}], "recommended", 0.5, None),  # refused: no refresh could save them
        ([{"completed": 290, "cut": 50}], "inconclusive", None, 0.5),  # cut off without a goodbye: nobody knows
    ],
)  # fmt: skip
def test_the_sequence_ends_at_the_first_arm_that_does_not_pass(arms, result, recommended, stopped_by):
    made = judged(*(sessions(f"{0.5 + 0.1 * i:g}", **arm) for i, arm in enumerate(arms)))
    assert made.result == result
    assert (made.recommended and made.recommended.fraction) == recommended
    assert (made.stopped_by and made.stopped_by.fraction) == stopped_by


def test_an_undecided_arm_says_how_many_sessions_the_sweep_needs():
    made = judged(sessions("0.5", **GOOD), sessions("0.9", 100))
    assert made.stopped_by.needed == sessions_needed(0, 100, 0.01) == 299
    assert made.needed == 2 * 299
    assert judged(sessions("0.5", **GOOD)).needed is None


def test_drops_per_chat_hour_have_exact_bounds():
    # 300 chats of 18 s are 1.5 chat-hours.
    none, some = judged(sessions("0.5", **GOOD), sessions("0.9", 290, late=3, unproven=7)).arms
    assert none.per_chat_hour == pytest.approx((1.5, 0.0, 0.0, -math.log(0.05) / 1.5))
    assert some.per_chat_hour == pytest.approx(
        (1.5, 10 / 1.5, chi2.ppf(0.05, 6) / 2 / 1.5, chi2.ppf(0.95, 22) / 2 / 1.5)
    )


def test_an_incident_widens_the_bounds_per_chat_hour():
    alone = judged(sessions("0.5", **GOOD)).arms[0]
    beside = judged(sessions("0.5", **GOOD), incident_size=5).arms[0]
    assert beside.per_chat_hour.upper == pytest.approx(5 * alone.per_chat_hour.upper)


def test_without_an_open_chat_there_is_no_rate_per_chat_hour():
    assert judged(sessions("0.5", 0, refused=3)).arms[0].per_chat_hour is None


def test_where_no_number_of_sessions_settles_it_none_is_named():
    made = judged(sessions("0.5", 990, late=5, unproven=20))
    assert made.result == "inconclusive" and made.needed is None


def test_figures_of_an_arm():
    (arm,) = judged(sessions("0.5", 300, late=1, unproven=1), target=0.05).arms
    assert (arm.interval_s, arm.sessions, arm.least, arm.most) == (5.0, 302, 1, 2)
    assert arm.upper == upper(2, 302) and arm.rate == 2 / 302
    assert arm.requests_per_s == pytest.approx(0.4) and arm.polls_per_s == pytest.approx(0.2)
    assert arm.margin_min_s == pytest.approx(-1.0) and arm.margin_p1_s == pytest.approx(4.0, abs=0.1)


def test_savings_against_the_widgets_three_seconds():
    made = judged(sessions("0.5", **GOOD), duration_s=100.0)
    assert made.saving.requests_per_s_per_chat == pytest.approx(1 / 3 - 0.2)
    assert made.saving.share_of_polls == pytest.approx(0.4)
    assert made.saving.chats_open == pytest.approx(60.0)
    assert made.saving.requests_per_s == pytest.approx(8.0)


def test_a_chat_cut_off_counts_if_its_goodbye_was_confirmed():
    cut = [SessionRecord(f"c{i}", "cut_off", goodbye_confirmed=i < 30, group="0.5") for i in range(50)]
    (arm,) = judged([*sessions("0.5", 100), *cut]).arms
    assert (arm.sessions, arm.most) == (130, 0)


def test_without_a_duration_no_load_is_told():
    made = judged(sessions("0.5", **GOOD))
    assert made.chats_open == 0.0 and made.saving.requests_per_s == 0.0


def test_nothing_is_saved_by_an_arm_of_which_nothing_was_measured():
    (arm,) = judged(sessions("0.5", 0, refused=5)).arms
    assert (arm.rate, arm.polls_per_s, arm.requests_per_s, arm.margin_min_s) == (None, None, None, None)
    assert judged(sessions("0.5", 0, refused=5)).saving is None
    at_once = [SessionRecord(f"c{i}", "completed", started_at=5.0, ended_at=5.0, group="0.5") for i in range(400)]
    assert judged(at_once).recommended.polls_per_s is None and judged(at_once).saving is None


def test_the_time_of_a_chat_is_that_between_its_start_and_its_end():
    made = [
        SessionRecord(f"{start}", "completed", started_at=start, ended_at=end, requests=4, polls=2, group="0.5")
        for start, end in ((5.0, 9.0), (9.0, 8.0))
    ]
    (arm,) = judged(made).arms
    assert (arm.open_s, arm.requests_per_s, arm.polls_per_s) == (4.0, 2.0, 1.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"completed": 100}, {"completed": 100}, True),
        ({"completed": 100}, {"completed": 60, "late": 40}, False),
        # Drops that may be the generator's may be counted, or not.
        ({"completed": 100}, {"completed": 60, "late": 40, "suspects": 40}, True),
        ({"completed": 60, "late": 40}, {"completed": 60, "late": 40, "suspects": 40}, True),
        ({"completed": 60, "late": 40}, {"completed": 60, "unproven": 40}, True),
        ({"completed": 100}, {"completed": 60, "unproven": 40}, False),
    ],
)
def test_arms_agree_where_one_drop_rate_explains_both(one, other, same):
    made = judged(sessions("0.5", **one), sessions("0.6", **other))
    assert agree(*made.arms) is agree(*reversed(made.arms)) is same


def test_drops_are_put_down_to_causes_the_most_frequent_first():
    (arm,) = judged(sessions("0.5", 9, late=5, suspects=2, unproven=4)).arms
    assert list(blamed(arm)) == [("unproven", 4), ("plan", 3), ("generator", 2)]
    assert arm.verdicts == {"completed": 9, "dropped_late": 5, "dropped_unproven": 4}
    assert arm.suspects == 2


def test_a_problem_of_the_run_takes_every_recommendation_back():
    made = judged(sessions("0.5", **GOOD), problems=("generator CPU was saturated",))
    assert made.result == "invalid" and made.recommended is None


def test_an_arm_that_no_session_reached_is_undecided_and_arms_sort_as_numbers():
    made = judged(sessions("0.9", **GOOD), sessions("1.02", **GOOD), fractions=(0.5, 0.9, 1.02))
    assert [arm.fraction for arm in made.arms] == [0.5, 0.9, 1.02]
    assert made.result == "inconclusive" and made.stopped_by.sessions == 0


def test_a_run_without_arms_is_no_sweep():
    with pytest.raises(UsageError, match="not a sweep"):
        tune(tally([SessionRecord("a", "completed")]), T, 0.01)


def test_an_arm_whose_drops_came_in_one_incident_is_one_observation():
    def with_drops(group, at):
        drops = [SessionRecord(f"d{group}{i}", "dropped_late", ended_at=at(i), group=group) for i in range(20)]
        return [*sessions(group, 3000), *drops]

    (alone,) = judged(with_drops("0.5", lambda i: 170.0 * i)).arms
    (together,) = judged(with_drops("0.5", lambda i: 1800 + i / 20)).arms
    assert (alone.word, alone.incidents, alone.worth) == ("pass", 20, 3020)
    assert (together.word, together.incidents, together.worth) == ("inconclusive", 1, 151)
    # An arm without a drop shows nothing about the size of incidents: that of another arm counts.
    both = judged(sessions("0.5", 900), with_drops("0.9", lambda i: 1800 + i / 20))
    assert both.incident_size == 20 and both.result == "inconclusive"
    assert both.stopped_by.needed == 20 * 299
    # Above the timeout the plan drops all chats, also those that began together.
    assert judged(sessions("0.5", 900), with_drops("1.02", lambda i: 1800 + i / 20)).incident_size == 1
    assert judged(sessions("0.5", 900), incident_size=20).result == "inconclusive"


def test_of_six_intervals_that_all_miss_the_target_one_is_recommended_at_most_once_in_twenty():
    random, wrong, runs = Random(5), 0, 1000
    for _ in range(runs):
        tallies = {}
        for fraction in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
            dropped = sum(random.random() < 0.02 for _ in range(400))
            verdicts = Counter({"completed": 400 - dropped, "dropped_late": dropped})
            tallies[fraction] = Tally()
            tallies[fraction].books.verdicts = verdicts
        wrong += tune(tallies, T, 0.02).recommended is not None
    assert 0 < wrong / runs < 0.06  # six looks without a sequence: up to 0.2


@pytest.mark.parametrize(("target", "expected"), [(0.01, 897), (0.001, 3 * 2995), (0.1, 87)])
def test_an_arm_gets_room_for_a_few_drops(target, expected):
    assert sessions_an_arm(target) == expected
    assert upper(3, sessions_an_arm(target)) < target
