"""Whether dropped chats ended after one and the same silence: made-up ends, exact answers."""

from __future__ import annotations

import random

import pytest

from chatload.features.report.silence import CommonSilence, find_common_silence
from chatload.run.histogram import Histogram
from chatload.run.reader import EndSilence


def histogram(*gaps: float) -> Histogram:
    made = Histogram()
    for gap in gaps:
        made.add(gap)
    return made


def find(
    ends: list[EndSilence], timeout_s: float | None = 45.0, gaps: Histogram | None = None, outlived: int = 0
) -> CommonSilence | None:
    return find_common_silence(ends, timeout_s, gaps or histogram(), lambda _: outlived)


def alike(n: int, silence: float = 6.0, width: float = 0.02, found: float = 12.0) -> list[EndSilence]:
    return [EndSilence(silence, silence + width, found) for _ in range(n)]


UNKNOWN = EndSilence(None, None, 12.0)


def test_a_strict_client_at_12_s_finds_a_timeout_of_6_s_that_was_told_as_45() -> None:
    assert find(alike(80)) == CommonSilence(80, 80, 6.0, 6.02, 45.0)


def test_a_timeout_longer_than_told_is_found_too() -> None:
    assert find(alike(80, silence=6.0, found=8.0), timeout_s=2.0) == CommonSilence(80, 80, 6.0, 6.02, 2.0)


def test_whole_second_stamps_are_enough_where_the_silence_is_long() -> None:
    random.seed(1)
    ends = [EndSilence(low, low + 1.05, 12.0) for low in (random.uniform(5.5, 6.0) for _ in range(50))]
    found = find(ends)
    assert found is not None
    assert found.sessions == 50 and found.lower_s >= 5.5 and found.upper_s <= 7.05


def test_a_fifth_of_other_ends_is_forgiven_and_more_is_not() -> None:
    assert find(alike(80) + [UNKNOWN] * 20) == CommonSilence(80, 100, 6.0, 6.02, 45.0)
    assert find(alike(79) + [UNKNOWN] * 21) is None


@pytest.mark.parametrize(
    ("why", "ends", "timeout_s"),
    [
        ("no drops", [], 45.0),
        ("too few", alike(4), 45.0),
        ("no timeout was told", alike(80), None),
        ("the timeout that was told", alike(80), 6.0),
        ("nearly the timeout that was told", alike(80), 6.5),
        ("nothing is known", [UNKNOWN] * 80, 45.0),
        ("known too roughly", alike(80, width=3.0), 45.0),
        ("at the request that found it: it may have been its doing", alike(80, silence=11.99, found=12.0), 45.0),
        ("without any silence", alike(80, silence=0.0), 45.0),
    ],
)
def test_no_claim(why: str, ends: list[EndSilence], timeout_s: float | None) -> None:
    assert find(ends, timeout_s) is None, why


def test_ends_at_any_time_have_no_silence_in_common() -> None:
    random.seed(2)
    ends = [EndSilence(at, at + 0.01, 3.0) for at in (random.uniform(0.01, 2.9) for _ in range(500))]
    assert find(ends) is None


def test_two_silences_are_not_one() -> None:
    assert find(alike(60) + alike(40, silence=9.0)) is None


def test_a_silence_that_chats_outlive_is_no_timeout() -> None:
    assert find(alike(80), outlived=5) is None
    assert find(alike(80), outlived=4) is not None
    # The last gaps of the dropped chats may be among these; beyond those, chats outlived longer gaps before.
    assert find(alike(80), gaps=histogram(*[12.1] * 84)) is not None
    assert find(alike(80), gaps=histogram(*[12.1] * 85)) is None
    assert find(alike(80), gaps=histogram(*[0.3] * 9000)) is not None
