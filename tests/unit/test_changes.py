"""Change points by exact rank tests: worked examples, exact error rates, and properties."""

from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload.stats.changes import LEAST, MOST, can_be_found, find_changes, neighbour_correlation, rank_tail


def found(values, level=0.05):
    series = np.array(values, dtype=float)
    return find_changes(series, series, level)


def test_four_then_four_by_hand():
    # 4 of 8 values can be chosen in 70 ways, and in 1 of them all are greater than the others. Two sides, and three
    # places for a change (after 3, 4 or 5 values): p = 2 x 3 / 70.
    values = [1, 3, 2, 4, 8, 6, 7, 5]
    assert found(values, 6 / 70) == (4,)
    assert found(values, 6 / 70 - 1e-9) == ()
    # One pair in the wrong order: U = 15 or 16 in 2 of the 70 ways.
    assert found([1, 5, 2, 3, 8, 6, 7, 4], 12 / 70) == (4,)
    assert found([1, 5, 2, 3, 8, 6, 7, 4], 12 / 70 - 1e-9) == ()


def test_a_series_of_less_than_two_stretches_has_no_change():
    assert found([]) == found([1.0]) == found([1, 1, 9, 9, 9], 1.0) == ()


@pytest.mark.parametrize("n, m", [(7, 3), (8, 4), (9, 2)])
def test_the_distribution_is_that_of_all_orders(n, m):
    chosen = list(combinations(range(n), m))
    all_u = [sum(a > b for a in some for b in range(n) if b not in some) for some in chosen]
    for u in range(m * (n - m) + 1):
        exact = sum(other >= u for other in all_u) / len(chosen)
        assert rank_tail(n, np.array([m, n - m]), np.array([u, u])) == pytest.approx([exact, exact], rel=1e-12)


def test_a_critical_value_of_the_published_tables():
    # Two-sided 5 % for 8 and 10 values: 17 (Milton, JASA 59, 1964): P(U <= 17) is at most 2.5 %, P(U <= 18) is more.
    below, above = rank_tail(18, np.array([8, 8]), np.array([80 - 17, 80 - 18]))
    assert below <= 0.025 < above


@pytest.mark.parametrize("level", [0.1, 0.3, 0.6])
def test_of_all_orders_of_six_values_no_more_than_the_level_have_a_change(level):
    orders = list(permutations(range(6)))
    share = sum(bool(found(order, level)) for order in orders) / len(orders)
    assert 0 < share <= level or (share == 0 and level < 2 / comb(6, 3))


def test_large_tables_agree_with_whole_numbers():
    # 20 of 60: the numbers of orders by the recursion of Mann and Whitney (1947), in whole numbers.
    ways = {}
    for a in range(21):
        for b in range(41):
            ways[a, b] = [1] if not a or not b else [0] * (a * b + 1)
            if a and b:
                for u, n in enumerate(ways[a - 1, b]):
                    ways[a, b][u + b] += n
                for u, n in enumerate(ways[a, b - 1]):
                    ways[a, b][u] += n
    for u in (400, 560, 640, 700, 760, 799, 800):
        exact = sum(ways[20, 40][u:]) / comb(60, 20)
        assert rank_tail(60, np.array([20]), np.array([u])) == pytest.approx([exact], rel=1e-9)


def test_a_change_there_and_back_is_found_as_two():
    noise = np.random.default_rng(3).normal(size=40)
    noise[15:22] += 6
    assert found(noise) == (15, 22)


def test_three_levels_have_two_changes():
    noise = np.random.default_rng(4).normal(size=45)
    noise[15:] += 5
    noise[30:] += 5
    assert found(noise) == (15, 30)


def test_one_far_value_is_no_change():
    noise = np.random.default_rng(5).normal(size=40)
    noise[20] += 1e6
    assert found(noise) == ()


def test_equal_values_are_no_change_and_a_step_among_them_is():
    assert found([0.0] * 30) == ()
    assert found([0.0, 1.0] * 15) == ()
    assert found([0.0] * 12 + [1.0] * 12) == (12,)
    # Rates that are mostly 0 before and seldom 0 after.
    assert found([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 0, 2, 3, 4, 2, 2, 3, 2]) == (12,)


def test_bounds_that_overlap_are_no_change():
    # Before: over 3. After: 4, which may be more or less than those.
    low, high = np.array([3.0] * 10 + [4.0] * 10), np.array([np.inf] * 10 + [4.0] * 10)
    assert find_changes(low, high, 0.05) == ()
    # Before: 2. After: over 3, which is certainly more.
    low, high = np.array([2.0] * 10 + [3.0] * 10), np.array([2.0] * 10 + [np.inf] * 10)
    assert find_changes(low, high, 0.05) == (10,)


@given(st.lists(st.integers(0, 6), max_size=24), st.floats(0.01, 0.5))
@settings(max_examples=60, deadline=None)
def test_scale_direction_and_ends(values, level):
    cuts = found(values, level)
    assert found([np.exp(v) for v in values], level) == cuts
    assert found([-v for v in values], level) == cuts
    assert all(b - a >= LEAST for a, b in zip((0, *cuts), (*cuts, len(values)), strict=True)) or not cuts


@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_what_can_be_found_is_found(level):
    for n in (6, 7, 8, 9, 10, 12, 15, 30):
        for after in range(0, n, 2):
            clear = [found([0] * (n - k) + [1] * k, level) for k in range(LEAST, after + 1)]
            assert any(clear) == can_be_found(n, after, level), (n, after)


def test_a_longer_series_is_refused():
    with pytest.raises(ValueError, match="401 values"):
        found([0.0] * (MOST + 1))


def test_correlation_of_neighbours_by_hand():
    # Ranks less their mean: -2, 0, 2, 1, -1. Products of neighbours: 0, 0, 2, -1; sum 1; squares: 10.
    # (1 / 10 + 1 / 5) / (1 - 3 / 5)
    assert neighbour_correlation(np.array([1.0, 3.0, 9.0, 5.0, 2.0]), ()) == pytest.approx(0.75)
    assert neighbour_correlation(np.array([4.0, 4.0, 4.0]), ()) is None
    assert neighbour_correlation(np.array([]), ()) is None


@pytest.mark.parametrize("true", [0.0, 0.3, 0.6])
def test_the_correlation_is_right_on_average_also_across_a_change(true):
    random = np.random.default_rng(6)
    estimates = []
    for _ in range(300):
        values = random.normal(size=40)
        for i in range(1, 40):
            values[i] = true * values[i - 1] + (1 - true**2) ** 0.5 * values[i]
        values[20:] += 10
        estimates.append(neighbour_correlation(values, [20]))
    assert np.mean(estimates) == pytest.approx(true, abs=0.06)


def test_correlation_weakens_the_evidence():
    values = np.array([0.0] * 15 + [1.0] * 8)
    assert find_changes(values, values, 0.05, 0.1) == (15,)
    assert find_changes(values, values, 0.05, 0.6) == ()
    assert can_be_found(23, 8, 0.05, 0.1) and not can_be_found(23, 8, 0.05, 0.6)


def test_a_part_has_its_share_of_the_level():
    # The last 9 of 29 values differ from the first 20. Among the 9, p = 2 x 4 places / 126 / 0.8 = 0.079.
    part = [10, 11, 12, 13, 20, 21, 22, 23, 24]
    assert found(part, 0.08) == (4,)
    assert found([0] * 20 + part, 0.08) == (20,)
    assert found([0] * 20 + part, 0.08 * 29 / 9) == (20, 24)
