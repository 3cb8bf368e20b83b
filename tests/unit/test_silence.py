"""Whether dropped chats ended after one and the same silence: made-up ends, exact answers."""

from __future__ import annotations

import random
from dataclasses import asdict

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


@pytest.mark.parametrize(
    ("ends", "claimed"),
    [
        (alike(5), True),
        ([EndSilence(5.0, 6.0, 12.0)] * 5, True),
        ([EndSilence(5.0, 6.01, 12.0)] * 5, False),
        (alike(5, found=6.02), False),
        (alike(5, found=6.03), True),
        ([EndSilence(-1.0, -1.0, 12.0)] * 5, False),
        ([EndSilence(6.02, 6.0, 12.0)] * 5, False),
        ([EndSilence(None, 6.0, 12.0)] * 5, False),
        ([EndSilence(6.0, None, 12.0)] * 5, False),
        ([EndSilence(6.0, 6.02, None)] * 5, False),
        (alike(3, 5.0) + alike(2, 6.0), True),
        (alike(3, 5.0) + alike(2, 6.01), False),
        (alike(1, 3.0) + alike(8, 6.0), True),
        (alike(8, 6.0) + alike(1, 9.0), True),
        (alike(2, 6.0) + alike(2, 9.0), False),
    ],
)
def test_what_is_known_well_enough_and_alike(ends: list[EndSilence], claimed: bool) -> None:
    assert (find(ends) is not None) is claimed


def test_the_most_alike_are_claimed() -> None:
    assert find(alike(1, 3.0) + alike(8, 6.0) + alike(1, 9.0)) == CommonSilence(8, 10, 6.0, 6.02, 45.0)
    assert find([*alike(4), EndSilence(6.5, 7.5, 12.0)]) == CommonSilence(5, 5, 6.0, 7.5, 45.0)


@pytest.mark.parametrize(("told_s", "claimed"), [(4.99, True), (5.0, False), (7.22, False), (7.23, True)])
def test_a_fifth_around_it_is_the_timeout_that_was_told(told_s: float, claimed: bool) -> None:
    assert (find(alike(80), told_s) is not None) is claimed


def test_what_is_a_tenth_longer_outlived_it() -> None:
    asked: list[float] = []
    find_common_silence(alike(80), 45.0, histogram(), lambda seconds: asked.append(seconds) or 0)  # type: ignore[func-returns-value]
    assert asked == [pytest.approx(6.02 * 1.1)]


@pytest.mark.parametrize(
    ("ends", "gap", "last"),
    [
        (alike(80), 12.1, 80),
        (alike(80, found=6.5), 6.7, 0),
        (alike(80) + [EndSilence(6.0, 6.02, None)] * 20, 12.1, 100),
        (alike(80) + [EndSilence(6.0, 6.02, 6.5)] * 20, 12.1, 100 - 20),
    ],
)
def test_the_last_gaps_of_dropped_chats_outlived_nothing(ends: list[EndSilence], gap: float, last: int) -> None:
    for chance, claimed in ((0, True), (4, True), (6, False)):
        assert (find(ends, gaps=histogram(*[gap] * (last + chance))) is not None) is claimed
    assert find(ends, gaps=histogram(gap), outlived=4) is not None or last == 0


def test_as_json() -> None:
    assert asdict(CommonSilence(4, 5, 6.0, 6.5, 45.0)) == {
        "sessions": 4, "dropped": 5, "lower_s": 6.0, "upper_s": 6.5, "timeout_s": 45.0,
    }  # fmt: skip


def test_a_silence_as_long_as_one_that_outlived_it_counts() -> None:
    longer = 6.02 * (1 + 0.2 / 2)
    assert find(alike(80, found=longer), gaps=histogram(*[longer * 1.05] * 5)) is None
