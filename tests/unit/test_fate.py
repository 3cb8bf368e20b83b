"""Accepted, unserved, dropped, known: each verdict, with and without a chat id."""

from collections import Counter

import pytest

from chatload.chat.record import SessionRecord
from chatload.run.books import Fates, is_unserved, may_be_dropped
from chatload.vocabulary import Verdict


@pytest.mark.parametrize(
    ("verdict", "unserved_without_id", "unserved_with_id", "dropped"),
    [
        ("completed", False, False, False),
        ("ended_by_agent", False, False, False),
        ("closed_idle", False, False, False),
        ("dropped_late", False, False, True),
        ("dropped_early", False, False, True),
        ("dropped_unproven", False, False, True),
        ("refused", True, True, False),
        ("failed", True, False, False),
        ("gave_up", True, False, True),
        ("cut_off", True, False, False),
    ],
)
def test_each_verdict(verdict: str, unserved_without_id: bool, unserved_with_id: bool, dropped: bool) -> None:
    assert is_unserved(SessionRecord("", verdict)) is unserved_without_id
    assert is_unserved(SessionRecord("c", verdict)) is unserved_with_id
    assert may_be_dropped(SessionRecord("c", verdict)) is dropped
    assert may_be_dropped(SessionRecord("", verdict)) is (dropped and verdict != "gave_up")


def test_every_verdict_is_in_the_table() -> None:
    assert len(Verdict) == 10


def test_counts() -> None:
    fates = Fates(
        Counter(
            completed=8, ended_by_agent=2, closed_idle=1, dropped_late=3, dropped_early=1, dropped_unproven=2,
            refused=4, failed=5, gave_up=7, cut_off=9,
        ),
        Counter(refused=4, failed=1, gave_up=2, cut_off=3),
    )  # fmt: skip
    assert (fates.ended, fates.accepted) == (42, 32)
    assert fates.never_accepted == (7, 10)
    assert fates.dropped == (4, 11)
    assert fates.known(2) == 28
    assert fates.accepted_with("refused", "failed", "cut_off") == 10
    nothing = Fates(Counter(), Counter())
    assert (nothing.ended, nothing.accepted, nothing.dropped, nothing.known(0)) == (0, 0, (0, 0), 0)
