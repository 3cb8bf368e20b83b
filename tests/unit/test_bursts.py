"""Bursts of drops are found where there are some, and seldom where there are none."""

from __future__ import annotations

import random

import numpy as np
import pytest

from chatload.stats.bursts import Burst, _contracted, _merged, find_bursts, find_incidence

HOUR = 3600.0


@pytest.mark.parametrize(("n", "runs"), [(2, 1000), (5, 1000), (20, 1000), (200, 500), (3000, 200)])
def test_uniform_drops_seldom_make_a_burst(n: int, runs: int) -> None:
    draw = random.Random(n)
    found = sum(bool(find_bursts([draw.uniform(0, HOUR) for _ in range(n)], 0, HOUR)) for _ in range(runs))
    assert found / runs <= 0.05


def test_a_burst_among_isolated_drops_is_found() -> None:
    draw = random.Random(7)
    runs, found, alone = 300, 0, 0
    for _ in range(runs):
        at = draw.uniform(0, HOUR - 2)
        drops = [draw.uniform(0, HOUR) for _ in range(10)] + [draw.uniform(at, at + 2) for _ in range(20)]
        draw.shuffle(drops)
        bursts = find_bursts(drops, 0, HOUR)
        found += any(b.start <= at + 1 <= b.end and 20 <= b.count <= 22 for b in bursts)
        alone += len(bursts) == 1
    assert found >= 0.99 * runs
    assert alone >= 0.95 * runs


def test_where_all_drops_are_one_burst_it_is_found() -> None:
    draw = random.Random(1)
    drops = [draw.uniform(100, 102) for _ in range(40)]
    assert find_bursts(drops, 0, HOUR) == [Burst(min(drops), max(drops), 40)]
    assert find_bursts([5.0] * 40, 0, HOUR) == [Burst(5.0, 5.0, 40)]
    incidence = find_incidence(drops, 0, HOUR)
    assert (incidence.events, incidence.incidents) == (40, 1)


def test_a_great_burst_does_not_hide_a_small_one() -> None:
    draw = random.Random(2)
    great = [draw.uniform(1000, 1010) for _ in range(10_000)]
    small = [draw.uniform(2000, 2002) for _ in range(20)]
    isolated = [50.0, 700.0, 1500.0, 2600.0, 3300.0]
    bursts = find_bursts(great + small + isolated, 0, HOUR)
    assert [burst.count for burst in bursts] == [10_000, 20]
    assert find_incidence(great + small + isolated, 0, HOUR).incidents == 7


def test_two_outages_are_two_incidents_and_a_fading_one_is_one() -> None:
    draw = random.Random(3)
    twice = [draw.uniform(at, at + 2) for at in (600, 1200) for _ in range(40)]
    assert [b.count for b in find_bursts(twice, 0, HOUR)] == [40, 40]
    fading = [900 + draw.expovariate(0.2) for _ in range(5000)] + [100.0, 2000.0, 3000.0]
    assert [b.count for b in find_bursts(fading, 0, HOUR)] == [5000]


def test_a_service_that_fails_again_and_again_for_minutes_and_never_else_is_one_incident() -> None:
    # Kulldorff's ratio of all 60 in 226 s of an hour is 166, of one group of 6 in a second 34.
    draw = random.Random(4)
    drops = [draw.uniform(at, at + 1) for at in range(1000, 1250, 25) for _ in range(6)]
    assert [burst.count for burst in find_bursts(drops, 0, HOUR)] == [60]


def test_a_small_outage_soon_after_a_greater_one_is_an_incident_of_its_own() -> None:
    for seed in range(12):
        draw = random.Random(seed)
        drops = [draw.uniform(0, HOUR) for _ in range(30)]
        drops += [draw.uniform(1000, 1005) for _ in range(20)] + [draw.uniform(1025, 1030) for _ in range(5)]
        near = [burst for burst in find_bursts(drops, 0, HOUR) if 950 <= burst.start <= 1080]
        assert len(near) == 2, (seed, near)
        assert near[0].end <= 1015 <= near[1].start
        assert near[0].count >= 20 and near[1].count >= 5


def test_two_drops_at_once_in_an_hour_are_a_burst_and_two_apart_are_none() -> None:
    assert find_bursts([100.0, 100.0], 0, HOUR) == [Burst(100.0, 100.0, 2)]
    assert find_bursts([100.0, 200.0], 0, HOUR) == []


def test_none_where_there_is_nothing_to_find() -> None:
    assert find_bursts([], 0, HOUR) == []
    assert find_bursts([1.0], 0, HOUR) == []
    assert find_bursts([1.0, 1.0], 1, 1) == []
    incidence = find_incidence([100.0, 2000.0], 0, HOUR)
    assert incidence.to_dict() == {
        "drops": 2,
        "incidents": 2,
        "bursts": [],
        # Garwood's 95 % interval of 2 events
        "incidents_per_hour": [pytest.approx(0.24221, rel=1e-4), pytest.approx(7.2247, rel=1e-4)],
    }


def test_the_epoch_makes_no_difference() -> None:
    drops = [draw + 0.01 * i for draw in (30.0, 40.0) for i in range(12)] + [900.0, 2500.0]
    near = find_bursts(drops, 0, HOUR)
    far = find_bursts([1.8e9 + at for at in reversed(drops)], 1.8e9, 1.8e9 + HOUR)
    assert [b.count for b in near] == [b.count for b in far] != []


def test_a_million_drops_of_a_hundred_outages() -> None:
    draw = random.Random(5)
    drops = [36 * draw.randrange(100) + draw.random() for _ in range(1_000_000)]
    incidence = find_incidence(drops, 0, HOUR)
    assert (len(incidence.bursts), incidence.incidents) == (100, 100)


def test_the_time_of_bursts_is_cut_out() -> None:
    times = 1000.0 + np.array([0.0, 10.0, 11.0, 12.0, 20.0, 30.0, 30.5, 40.0])
    low, high = _merged(times[[5, 1]], times[[6, 3]])
    assert [list(low), list(high)] == [[1010.0, 1030.0], [1012.0, 1030.5]]
    assert list(_contracted(times, low, high) - 1000.0) == [0.0, 10.0, 11.0, 12.0, 18.0, 28.0, 28.5, 37.5]
    nested = _merged(times[[2, 1, 6]], times[[3, 4, 7]])
    assert [list(part) for part in nested] == [[1010.0, 1030.5], [1020.0, 1040.0]]
    assert list(_contracted(times, np.empty(0), np.empty(0))) == list(times)


@pytest.mark.parametrize(("at", "joins"), [(705.0, True), (707.0, True), (709.0, False), (712.0, False), (295.0, True)])
def test_what_is_nearer_than_another_incident_seldom_is_joins_a_burst(at: float, joins: bool) -> None:
    # 101 drops in 400 s; of the other 600 s there are two more incidents, so that one comes every 150 s: 5 % of such
    # incidents come within 7.7 s of the one before.
    drops = [300.0 + 4.0 * i for i in range(101)] + [at, 900.0]
    (burst,) = find_bursts(drops, 0.0, 1000.0)
    assert burst.count == 101 + joins
