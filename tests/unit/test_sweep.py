"""Which arm of a sweep a session belongs to."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.chat.personas import new_chat
from chatload.chat.policy import make_policy
from chatload.chat.settings import DEFAULT_SWEEP, SessionSettings, fractions_in, swept
from chatload.errors import UsageError
from chatload.run.books import Books

SETTINGS = SessionSettings(make_policy("fixed", 40.0), 5.0)


def groups(settings, numbers):
    return [settings.arm_of(number).group for number in numbers]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (None, ()),
        ("0.9", (0.9,)),
        (" 1.02, .5 ,0.9,", (0.5, 0.9, 1.02)),
        (DEFAULT_SWEEP, (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.02)),
    ],
)
def test_fractions_are_read_and_sorted(text, expected):
    assert fractions_in(text) == expected


@pytest.mark.parametrize("text", ["a", "0.5;0.9", "0", "-0.5,0.9", "nan", "inf", "0.5,0.50", "0.9000001,0.9"])
def test_what_cannot_be_swept_is_refused(text):
    with pytest.raises(UsageError, match="--sweep"):
        fractions_in(text)


@given(st.integers(1, 9), st.integers(0, 2**20), st.integers(0, 3), st.integers(0, 50))
def test_every_block_has_every_arm_once(arms, seed, worker, block):
    settings = swept(SETTINGS, tuple(0.1 * n for n in range(1, arms + 1)))
    first = (seed << 48) + (worker << 32) + block * arms
    assert Counter(groups(settings, range(first, first + arms))) == Counter(arm.group for arm in settings.arms)


def test_the_order_is_the_seeds_and_another_in_every_block_and_process():
    settings = swept(SETTINGS, fractions_in(DEFAULT_SWEEP))
    starts = [7 << 48, (7 << 48) + 7, (7 << 48) + (1 << 32), 8 << 48]
    orders = [tuple(groups(settings, range(start, start + 70))) for start in starts]
    assert len({order[:7] for order in orders}) > 1 and len(set(orders)) == 4
    assert tuple(groups(settings, range(7 << 48, (7 << 48) + 70))) == orders[0]


def test_no_user_of_seven_always_gets_the_same_arm():
    settings = swept(SETTINGS, fractions_in(DEFAULT_SWEEP))
    assert len(set(groups(settings, range(0, 700, 7)))) == 7


def test_an_arm_is_refreshed_at_its_part_of_the_timeout_also_beyond_it():
    settings = swept(SETTINGS, (0.5, 1.25))
    assert [arm.policy.interval_s for arm in settings.arms] == [20.0, 50.0]
    assert {arm.policy.kind for arm in settings.arms} == {"fraction"}


def test_a_session_knows_its_arm_and_one_without_a_sweep_has_none():
    settings = swept(SETTINGS, (0.5, 0.9))
    made = [new_chat(settings, Books(), number, 0.0) for number in range(10)]
    assert {session.record.group for session in made} == {"0.5", "0.9"}
    assert all(session.settings.policy.interval_s == 40 * float(session.record.group) for session in made)
    assert new_chat(SETTINGS, Books(), 1, 0.0).record.group == ""


def test_the_widget_cannot_be_swept():
    with pytest.raises(UsageError, match="own clock"):
        swept(SessionSettings(make_policy("fixed", 40.0), 5.0, persona="widget"), (0.5,))
