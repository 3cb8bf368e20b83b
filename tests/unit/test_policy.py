"""Refresh policies, instant by instant."""

from __future__ import annotations

import pytest

from chatload.chat.policy import RefreshClock, RefreshPolicy, make_policy
from chatload.errors import UsageError
from chatload.random_numbers import SplitMix64


def clock(anchor: float = 100.0, contact: float = 100.0, last_tick: int = -1) -> RefreshClock:
    return RefreshClock(anchor, contact, last_tick)


@pytest.mark.parametrize(
    ("last_tick", "now", "due"),
    [
        (-1, 100.0, 100.0),
        (-1, 107.0, 100.0),  # the first is not skipped, however late
        (0, 100.5, 103.0),
        (0, 103.0, 103.0),
        (0, 103.1, 106.0),
        (0, 105.9, 106.0),
        (0, 106.0, 106.0),
        (0, 106.1, 109.0),
        (4, 100.0, 115.0),
        (4, 115.0, 115.0),
        (4, 121.0, 121.0),
        (4, 121.5, 124.0),
    ],
)
def test_fixed_is_due_at_the_next_tick_of_a_clock_that_counts_from_the_start(
    last_tick: int, now: float, due: float
) -> None:
    assert make_policy("fixed", 45.0, 3.0).next_refresh(clock(last_tick=last_tick), now) == due


@pytest.mark.parametrize(
    ("due", "before", "after"),
    [
        (100.0, -1, 0),
        (103.0, 0, 1),
        (102.9999999, 0, 1),  # computed back from floating point
        (104.5, 0, 1),
        (102.9, 0, 0),  # a retry between two ticks
        (103.0, 5, 5),
        (121.0, 1, 7),
    ],
)
def test_a_tick_is_used_up_once_and_a_retry_uses_none(due: float, before: int, after: int) -> None:
    used = clock(last_tick=before)
    make_policy("fixed", 45.0, 3.0).ticked(used, due)
    assert used.last_tick == after


@pytest.mark.parametrize(
    ("round_trips", "due"),
    [
        ([], 10.0 + 18.0),  # a tenth of 20 s is left at least
        ([0.1], 10.0 + 18.0),  # 4 x 0.1 + 3 x 0.25 are less than that
        ([0.4], 10.0 + 17.65),
        ([0.4, 0.1, 0.2], 10.0 + 17.65),  # the slowest counts
        ([5.0], 10.0 + 2.0),  # never earlier than a tenth of the timeout
        ([4.3], 10.0 + 2.05),
    ],
)
def test_deadline_leaves_room_for_four_tries_of_the_slowest_round_trip(round_trips: list[float], due: float) -> None:
    seen = clock(contact=10.0)
    for seconds in round_trips:
        seen.saw(seconds)
    policy = make_policy("deadline", 20.0)
    assert policy.next_refresh(seen, 10.0) == pytest.approx(due)
    assert policy.interval_s == 10.0


def test_the_last_sixteen_round_trips_are_remembered() -> None:
    seen = clock()
    assert seen.tail() == 0.0
    seen.saw(9.0)
    for _ in range(15):
        seen.saw(0.5)
    assert seen.tail() == 9.0
    seen.saw(0.25)
    assert (seen.tail(), list(seen.round_trips)) == (0.5, [0.5] * 15 + [0.25])


@pytest.mark.parametrize(
    ("failures", "after"),
    [(1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0), (5, 3.0), (6, 3.0), (17, 3.0), (5000, 3.0)],
)
def test_a_retry_waits_twice_as_long_each_time_up_to_an_interval(failures: int, after: float) -> None:
    # The deadline, 45 s after the contact, is far away.
    assert make_policy("fixed", 45.0, 3.0).next_retry(clock(contact=100.0), 101.0, failures) == 101.0 + after


def test_a_retry_waits_its_first_time_whatever_the_interval() -> None:
    assert RefreshPolicy("fixed", 45.0, 0.125).next_retry(clock(), 101.0, 5) == 101.25


@pytest.mark.parametrize(
    ("now", "round_trip", "at"),
    [
        (115.0, 0.0, 117.0),
        (117.5, 0.0, 119.0),  # a twentieth of the timeout of 20 s before the deadline at 120
        (117.5, 0.4, 118.6),  # and a round trip
        (117.0, 0.0, 119.0),
        (119.0, 0.0, 121.0),  # too late for it: back off as ever
        (119.5, 0.0, 121.5),
        (130.0, 0.0, 132.0),
    ],
)
def test_a_retry_leaves_in_time_for_the_deadline_while_there_is_one(now: float, round_trip: float, at: float) -> None:
    seen = clock(contact=100.0)
    seen.saw(round_trip)
    assert make_policy("fixed", 20.0, 3.0).next_retry(seen, now, 4) == pytest.approx(at)


@pytest.mark.parametrize(
    ("kind", "timeout_s", "arguments", "interval_s"),
    [
        ("fixed", 45.0, {}, 3.0),
        ("fixed", 9.0, {}, 3.0),
        ("fixed", 6.0, {}, 2.0),
        ("fixed", 1.0, {}, 1 / 3),
        ("fixed", 1_728_000.0, {}, 3.0),
        ("fixed", 45.0, {"interval_s": 44.9}, 44.9),
        ("fixed", 45.0, {"interval_s": 45.0, "allow_late": True}, 45.0),
        ("fraction", 40.0, {}, 20.0),
        ("fraction", 40.0, {"fraction": 0.9}, 36.0),
        ("fraction", 40.0, {"fraction": 1.5, "allow_late": True}, 60.0),
        ("deadline", 45.0, {}, 22.5),
    ],
)
def test_an_interval_is_the_one_asked_for_or_the_default(
    kind: str, timeout_s: float, arguments: dict[str, float], interval_s: float
) -> None:
    policy = make_policy(kind, timeout_s, **arguments)  # type: ignore[arg-type]
    assert (policy.kind, policy.timeout_s, policy.interval_s, policy.retries) == (kind, timeout_s, interval_s, 3)


@pytest.mark.parametrize(("timeout_s", "backoff_s"), [(1.0, 0.05), (4.0, 0.2), (5.0, 0.25), (45.0, 0.25)])
def test_the_first_retry_comes_sooner_under_a_short_timeout(timeout_s: float, backoff_s: float) -> None:
    assert make_policy("fixed", timeout_s).backoff_s == backoff_s


@pytest.mark.parametrize(
    ("kind", "timeout_s", "arguments", "says"),
    [
        ("fixed", 0.99, {}, "--flex-disconnect-timeout 0.99 is outside 1..1728000 s"),
        ("fixed", 1_728_000.1, {}, "outside 1..1728000 s"),
        ("fixed", 45.0, {"interval_s": 45.0}, "--refresh-interval 45 refreshes every 45 s, not within"),
        ("fixed", 45.0, {"interval_s": float("inf"), "allow_late": True}, "--refresh-interval inf must be above 0"),
        ("fixed", 45.0, {"interval_s": -1.0}, "--refresh-interval -1 must be above 0"),
        ("fraction", 45.0, {"fraction": 0.0}, "--refresh-fraction 0 must be above 0"),
        ("fraction", 45.0, {"fraction": 1.0}, "--refresh-fraction 1 refreshes every 45 s"),
        ("never", 45.0, {}, "--refresh-policy never is not known"),
    ],
)
def test_an_interval_that_cannot_be_meant(kind: str, timeout_s: float, arguments: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        make_policy(kind, timeout_s, **arguments)  # type: ignore[arg-type]
    assert says in str(refused.value)


@pytest.mark.parametrize(("interval", "late"), [(44.9, False), (45.0, True), (45.1, True), (90.0, True)])
def test_an_interval_that_is_not_within_the_timeout_must_be_meant(interval: float, late: bool) -> None:
    assert make_policy("fixed", 45.0, interval, allow_late=True).interval_s == interval
    if late:
        with pytest.raises(UsageError, match="not within --flex-disconnect-timeout 45 s"):
            make_policy("fixed", 45.0, interval)
    else:
        assert make_policy("fixed", 45.0, interval).interval_s == interval


@pytest.mark.parametrize(
    ("timeout", "allowed"), [(0.99, False), (1.0, True), (1_728_000.0, True), (1_728_001.0, False)]
)
def test_the_timeout_is_one_that_the_server_can_have(timeout: float, allowed: bool) -> None:
    if allowed:
        policy = make_policy("fixed", timeout)
        assert (policy.interval_s, policy.backoff_s, policy.retries) == (
            min(3.0, timeout / 3), min(0.25, timeout / 20), 3
        )  # fmt: skip
    else:
        with pytest.raises(UsageError, match=r"is outside 1\.\.1728000 s"):
            make_policy("fixed", timeout)


def test_the_intervals_of_the_policies() -> None:
    assert make_policy("fraction", 40.0).interval_s == 20.0
    assert make_policy("fraction", 40.0, fraction=0.25).interval_s == 10.0
    assert make_policy("deadline", 40.0).interval_s == 20.0
    for kind, more in (("fixed", {"interval_s": 0.0}), ("fraction", {"fraction": float("inf")})):
        with pytest.raises(UsageError, match="must be above 0"):
            make_policy(kind, 40.0, allow_late=True, **more)


@pytest.mark.parametrize(
    ("failures", "round_trip", "now", "due"),
    [
        (1, 0.0, 102.0, 102.25), (2, 0.0, 102.0, 102.5), (3, 0.0, 102.0, 103.0), (5, 0.0, 102.0, 106.0),
        (6, 0.0, 102.0, 107.0), (99, 0.0, 102.0, 107.0),
        # Never past the last instant at which it may still come in time: 120 - 1 - the slowest round trip.
        (5, 0.5, 115.5, 118.5), (5, 0.5, 114.0, 118.0), (5, 0.5, 118.5, 122.5), (5, 0.5, 119.0, 123.0),
        (5, 2.0, 115.5, 117.0),
    ],
)  # fmt: skip
def test_retries_back_off_up_to_the_interval(failures: int, round_trip: float, now: float, due: float) -> None:
    used = clock()
    used.saw(round_trip)
    assert make_policy("fixed", 20.0, 5.0).next_retry(used, now, failures) == due


# -- jitter ----------------------------------------------------------------------------------------


def _schedule(kind: str, jitter: float, seed: int = 1, refreshes: int = 400) -> list[tuple[float, float]]:
    """The anchor and the instant of each refresh but the first, of a chat that is always answered after 0.1 s."""
    policy = make_policy(kind, 45.0, **({"interval_s": 3.0} if kind == "fixed" else {}))
    used = RefreshClock(100.0, 100.0, jitter=jitter, random=SplitMix64(seed) if jitter else None)
    found, now = [], 100.0
    for _ in range(refreshes):
        due = policy.next_refresh(used, now)
        found.append((used.anchor if kind == "fixed" and jitter else used.contact_sent, due))
        policy.ticked(used, due)
        used.contact_sent, now = due, due + 0.1
    return found[1:]


@pytest.mark.parametrize(("kind", "interval_s"), [("fixed", 3.0), ("fraction", 22.5), ("deadline", 40.5)])
@pytest.mark.parametrize("jitter", [0.1, 0.5, 0.99])
def test_with_jitter_a_refresh_leaves_within_that_share_before_it_was_planned_and_never_later(
    kind: str, interval_s: float, jitter: float
) -> None:
    after = [due - anchor for anchor, due in _schedule(kind, jitter)]
    assert all((1 - jitter) * interval_s - 1e-9 <= each <= interval_s + 1e-9 for each in after)
    # One draw for each refresh, over the whole share.
    assert len(set(after)) == len(after)
    assert min(after) < (1 - 0.9 * jitter) * interval_s and max(after) > (1 - 0.1 * jitter) * interval_s
    assert sum(after) / len(after) == pytest.approx((1 - jitter / 2) * interval_s, rel=0.05)


@pytest.mark.parametrize("kind", ["fixed", "fraction", "deadline"])
def test_the_jitter_of_a_chat_is_its_own_and_the_same_in_each_run(kind: str) -> None:
    assert _schedule(kind, 0.3, seed=1) == _schedule(kind, 0.3, seed=1) != _schedule(kind, 0.3, seed=2)


def test_chats_that_began_together_do_not_stay_in_step() -> None:
    # The refresh after a hundred: without jitter at one instant, with it spread over more than an interval.
    last = [_schedule("fixed", 0.3, seed, 100)[-1][1] for seed in range(200)]
    assert max(last) - min(last) > 3.0


@pytest.mark.parametrize(("kind", "interval_s"), [("fixed", 3.0), ("fraction", 22.5), ("deadline", 40.5)])
def test_without_jitter_a_refresh_is_due_after_its_interval_exactly(kind: str, interval_s: float) -> None:
    assert [due for _, due in _schedule(kind, 0.0)] == [
        100.0 + n * interval_s for n in range(1 if kind == "fixed" else 2, 400 if kind == "fixed" else 401)
    ]


def test_a_retry_between_two_jittered_ticks_uses_none_and_a_slow_request_skips_some() -> None:
    policy, used = make_policy("fixed", 45.0, 3.0), RefreshClock(100.0, 100.0, jitter=0.5, random=SplitMix64(3))
    policy.ticked(used, 100.0)
    due = policy.next_refresh(used, 100.1)
    policy.ticked(used, due - 0.5)
    assert policy.next_refresh(used, due - 0.4) == due
    step = due - 100.0
    assert policy.next_refresh(used, due + 0.1) == pytest.approx(100.0 + 2 * step)
    policy.ticked(used, policy.next_refresh(used, due + 0.1))
    assert (used.anchor, used.last_tick) == (pytest.approx(100.0 + 2 * step), 0)
    assert 1.5 <= policy.next_refresh(used, used.anchor + 0.1) - used.anchor <= 3.0
