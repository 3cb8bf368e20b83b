"""Slopes and jumps: found where they are, hardly ever where they are not."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f, rankdata, t

from chatload.stats.trend import find_trend

TIMES = np.arange(20.0)
#: A level at which no change is found.
NEVER = 1e-300
RANDOM = np.random.default_rng(7)


def noise(n=20):
    return RANDOM.standard_normal(n)


def resembling(correlation, n=20, each=100):
    """Block medians of a series whose neighbours resemble each other."""
    values = np.empty(n * each)
    values[0] = RANDOM.standard_normal() / np.sqrt(1 - correlation**2)
    for i, e in enumerate(RANDOM.standard_normal(n * each - 1), 1):
        values[i] = correlation * values[i - 1] + e
    return np.median(values.reshape(n, each), axis=1)


def test_the_slope_is_the_median_of_the_slopes_of_all_pairs():
    # Slopes of the pairs: 1, 1, 1, 4, 2.5, 2, 1, 1, 1, 1 ... by hand for 0 1 2 3 4 and one outlier.
    values = np.array([0.0, 1, 2, 3, 40, 5, 6, 7])
    trend = find_trend(np.arange(8.0), values, 0.95, NEVER)
    assert trend.slope == pytest.approx(1.0)
    assert trend.low <= 1.0 <= trend.high


#: What a line leaves, and what an odd block leaves after an even one: neighbours that differ, as independent ones may.
ZIGZAG = np.array([0.31, -0.27, 0.11, -0.43, 0.23, -0.17, 0.41, -0.37, 0.13, -0.29, 0.19, -0.47])


def slopes_of_pairs(values):
    return sorted((values[j] - values[i]) / (j - i) for j in range(len(values)) for i in range(j))


@pytest.mark.parametrize("n", [8, 9, 10, 11, 12])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999, 0.99999])
def test_the_interval_is_sens_and_open_where_so_few_blocks_cannot_tell(n, confidence):
    # R. O. Gilbert, "Statistical Methods for Environmental Pollution Monitoring" (1987), 16.4.2: of N sorted slopes
    # the M1-th and the (M2 + 1)-th, M = (N -+ C) / 2, C = Z sqrt(VAR(S)); where that is outside 1..N there is none.
    values = 2.0 * np.arange(n) + ZIGZAG[:n]
    slopes = slopes_of_pairs(values)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first, last = math.floor((len(slopes) - reach) / 2), math.ceil((len(slopes) + reach) / 2) + 1
    trend = find_trend(np.arange(float(n)), values, confidence, NEVER)
    assert trend.jumps == ()
    assert trend.low == pytest.approx(slopes[first - 1] if first >= 1 else -math.inf)
    assert trend.high == pytest.approx(slopes[last - 1] if last <= len(slopes) else math.inf)
    assert trend.slope == pytest.approx(np.median(slopes))


def widening(values, slope):
    """By how much neighbours that resemble each other multiply the variance of Kendall's S: Hamed and Rao (1998), (10),
    of what a line and a bend leave, each block at most five times as far off as half of them, and each correlation
    taken 3 / n higher for the three parameters fitted; lags up to a quarter, until one is not above 0."""
    n = len(values)
    left = values - slope * np.arange(n)
    left = left - np.median(left)
    far = 5 * np.median(np.abs(left))
    left = np.minimum(np.maximum(left, -far), far)
    left = left - np.polyval(np.polyfit(np.arange(n), left, 2), np.arange(n))
    ranks = rankdata(left) - (n + 1) / 2
    added = 0.0
    for lag in range(1, n // 4 + 1):
        correlation = np.sum(ranks[lag:] * ranks[:-lag]) / np.sum(ranks**2) + 3 / n
        if correlation <= 0:
            break
        added += (n - lag) * (n - lag - 1) * (n - lag - 2) * correlation
    return 1 + 2 * added / (n * (n - 1) * (n - 2))


def test_the_interval_is_widened_as_much_as_neighbours_resemble_each_other():
    widenings = []
    for n, seed in itertools.product((10, 11, 12, 14, 16, 40), range(12)):
        random = np.random.default_rng(seed)
        noise = np.convolve(random.standard_normal(n + 11), np.ones(1 + seed), "valid")[:n]
        values = 0.4 * np.arange(n) + noise + np.where(np.arange(n) == n // 2, 50.0, 0.0)
        slopes = slopes_of_pairs(values)
        widenings.append(widening(values, np.median(slopes)))
        reach = NormalDist().inv_cdf(0.95) * math.sqrt(widenings[-1] * n * (n - 1) * (2 * n + 5) / 18)
        trend = find_trend(np.arange(float(n)), values, 0.9, NEVER)
        assert trend.jumps == ()
        assert trend.low == pytest.approx(slopes[math.floor((len(slopes) - reach) / 2) - 1])
        assert trend.high == pytest.approx(slopes[math.ceil((len(slopes) + reach) / 2)])
    assert min(widenings) < 2 and max(widenings) > 4, "little resemblance, and much of it"


def test_values_that_are_alike_make_the_interval_narrower():
    # M. G. Kendall, "Rank Correlation Methods" (1975): of t that are alike t (t - 1) (2 t + 5) is taken away.
    for seed in range(8):
        n = 30
        values = np.floor(np.random.default_rng(seed).standard_normal(n) * 1.5) + 0.0
        slopes = slopes_of_pairs(values)
        tied = [t * (t - 1) * (2 * t + 5) for t in np.unique(values, return_counts=True)[1]]
        variance = (n * (n - 1) * (2 * n + 5) - sum(tied)) / 18 * widening(values, np.median(slopes))
        reach = NormalDist().inv_cdf(0.95) * math.sqrt(variance)
        trend = find_trend(np.arange(float(n)), values, 0.9, NEVER)
        assert trend.jumps == ()
        assert trend.low == pytest.approx(slopes[math.floor((len(slopes) - reach) / 2) - 1])
        assert trend.high == pytest.approx(slopes[math.ceil((len(slopes) + reach) / 2)])


@pytest.mark.parametrize("slope", [0.4, -0.4])
def test_a_slope_is_sure_whose_interval_holds_no_zero_however_small(slope):
    assert find_trend(TIMES, slope * TIMES + np.resize(ZIGZAG, 20), 0.95, 1e-9).drifts
    assert not find_trend(TIMES, 0.001 * slope * TIMES + np.resize(ZIGZAG, 20), 0.95, 1e-9).drifts


@pytest.mark.parametrize("n", [8, 9, 12])
def test_few_blocks_at_a_high_confidence_tell_no_more_than_they_can(n):
    values = np.random.default_rng(n).standard_normal(n)
    trend = find_trend(np.arange(float(n)), values, 0.99999, 0.005)
    assert (trend.low, trend.high) == (-math.inf, math.inf) and not trend.drifts


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 5), st.floats(-100, 100), st.floats(0.5, 20))
def test_it_moves_with_the_series(slope, level, scale):
    base = find_trend(TIMES, np.sin(TIMES * 1.7), 0.95, 0.001)
    moved = find_trend(TIMES, scale * np.sin(TIMES * 1.7) + slope * TIMES + level, 0.95, 0.001)
    assert not base.jumps and not moved.jumps
    for name in ("slope", "low", "high"):
        assert getattr(moved, name) == pytest.approx(scale * getattr(base, name) + slope, abs=1e-6)


def test_the_interval_covers_the_true_slope_as_often_as_it_says():
    trends = [find_trend(TIMES, noise() + 0.3 * TIMES, 0.95, 0.001) for _ in range(150)]
    covered = sum(trend.low <= 0.3 <= trend.high for trend in trends)
    assert covered >= 134  # 95 % of 150 are 142.5; below 134 with a chance of 0.2 %


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_without_a_drift_hardly_any_is_found(correlation):
    trends = [find_trend(TIMES, resembling(correlation), 0.95, 0.02) for _ in range(120)]
    # 2 % of 120 are 2.4; above 9 with a chance of 1 in 5 000.
    assert sum(trend.drifts or bool(trend.jumps) for trend in trends) <= 9


def test_a_jump_is_found_at_its_place_and_is_no_slope():
    values = 0.5 * noise() + np.where(TIMES >= 12, 5.0, 0.0)
    trend = find_trend(TIMES, values, 0.99, 0.005)
    (jump,) = trend.jumps
    assert jump.index == 12 and jump.size == pytest.approx(5.0, abs=1.0)
    assert not trend.drifts


@pytest.mark.parametrize("level", [2e-3, 2e-4, 3e-5, 1e-7])
def test_a_clear_jump_is_found_at_the_small_levels_of_a_run_that_goes_on_and_of_many_processes(level):
    found = [find_trend(TIMES, noise() + np.where(TIMES >= 9, 20.0, 0.0), 0.95, level) for _ in range(5)]
    assert [[jump.index for jump in trend.jumps] for trend in found] == [[9]] * 5


@pytest.mark.parametrize("index", [4, 7, 16])
def test_a_jump_near_an_end_is_found_as_well(index):
    values = np.random.default_rng(index).standard_normal(20) + np.where(index <= TIMES, 12.0, 0.0)
    (jump,) = find_trend(TIMES, values, 0.998, 0.002).jumps
    assert jump.index == index


@pytest.mark.parametrize("index, is_told", [(2, False), (3, False), (4, True), (16, True), (17, False), (18, False)])
def test_a_jump_is_told_only_if_four_blocks_are_on_either_side_of_it(index, is_told):
    series = [
        np.random.default_rng(seed).standard_normal(20) + np.where(index <= TIMES, 30.0, 0.0) for seed in range(6)
    ]
    found = [jump.index for values in series for jump in find_trend(TIMES, values, 0.99, 0.05).jumps]
    assert (found.count(index) >= 4) is is_told
    assert all(4 <= at <= 16 for at in found)


def test_a_jump_there_and_back_is_two_and_no_slope():
    values = np.random.default_rng(3).standard_normal(20) + np.where((TIMES >= 6) & (TIMES < 13), 10.0, 0.0)
    trend = find_trend(TIMES, values, 0.998, 0.002)
    there, back = trend.jumps
    assert (there.index, back.index) == (6, 13) and not trend.drifts
    assert there.size == pytest.approx(10.0, abs=1.5) and back.size == pytest.approx(-10.0, abs=1.5)


@pytest.mark.parametrize("index", [7, 15])
def test_one_block_that_is_off_by_anything_hides_no_leak(index):
    values = np.random.default_rng(4).standard_normal(20) + 0.5 * TIMES
    for outage in (0.0, 1e3, 1e9):
        trend = find_trend(TIMES, values + np.where(index == TIMES, outage, 0.0), 0.998, 0.002)
        assert trend.low > 0 and trend.slope == pytest.approx(0.5, abs=0.1), outage


def test_a_leak_that_a_restart_resets_is_still_a_leak():
    values = 0.3 * noise() + 1.0 * (TIMES % 11)
    trend = find_trend(TIMES, values, 0.99, 0.005)
    (jump,) = trend.jumps
    assert jump.index == 11 and jump.size == pytest.approx(-11.0, abs=1.5)
    assert trend.low > 0 and trend.slope == pytest.approx(1.0, abs=0.2)


def test_a_line_without_any_noise_is_a_slope_and_nothing_else():
    # A heap that grows by the same step in every block.
    trend = find_trend(TIMES, 312 + 4 * TIMES, 0.999, 0.002)
    assert (trend.low, trend.slope, trend.high, trend.jumps) == (4.0, 4.0, 4.0, ())


def test_a_constant_series_has_neither():
    trend = find_trend(TIMES, np.full(20, 3.0), 0.99, 0.005)
    assert (trend.slope, trend.jumps, trend.level) == (0.0, (), 3.0) and not trend.drifts


def test_the_level_is_the_lines_at_the_first_block():
    trend = find_trend(TIMES + 5, 10 + 2 * TIMES + 0.01 * noise(), 0.99, 0.005)
    assert trend.level == pytest.approx(10, abs=0.1)


def test_too_few_blocks_are_refused():
    with pytest.raises(ValueError, match="too few"):
        find_trend(TIMES[:5], TIMES[:5], 0.95, 0.01)


@pytest.mark.parametrize("bend", [0.2, -0.2, 1.0])
def test_a_bend_is_no_jump(bend):
    trend = find_trend(TIMES, bend * (TIMES - 8.0) ** 2 + np.resize(ZIGZAG, 20), 0.95, 0.05)
    assert trend.jumps == ()


#: Noise without far values, and the correlation of blocks that the test allows for: the integral of exp(-3 |s - t|)
#: over s in one block and t in another, by the midpoint rule.
WAVES = np.sin(TIMES * 2.1) + 0.7 * np.cos(TIMES * 1.3)


def correlation_of_blocks(n):
    middles = (np.arange(400) + 0.5) / 400
    kept = [float(np.mean(np.exp(-3 * np.abs(np.subtract.outer(middles + k, middles))))) for k in range(n)]
    return np.array([[kept[abs(i - j)] / kept[0] for j in range(n)] for i in range(n)])


def p_of_shape(values, shape):
    """The F test of a shape beside a level, by generalised least squares: sums of squares are x' C^-1 x."""
    inverse = np.linalg.inv(correlation_of_blocks(len(values)))

    def left(columns):
        x = np.column_stack(columns)
        rest = values - x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ values)
        return rest @ inverse @ rest

    level, free = np.ones(len(values)), len(values) - 2
    return f.sf((left([level]) - left([level, shape])) / (left([level, shape]) / free), 1, free)


@pytest.mark.parametrize(("shape", "places"), [(TIMES, 1), (1.0 * (TIMES >= 9), 13)])
def test_a_shape_is_found_from_its_share_of_the_level_on(shape, places):
    # A quarter of the level is for slopes, a quarter for the 13 places of a step. Levels this small are not simulated.
    values = WAVES + shape * (1.1 if places == 1 else 12)
    share = p_of_shape(values, shape) * 4 * places
    assert 1e-16 < share < 1e-4
    below, above = (find_trend(TIMES, values, 0.95, share * part) for part in (0.99, 1.01))
    assert not below.drifts and not below.jumps
    assert (above.drifts, [jump.index for jump in above.jumps]) == ((True, []) if places == 1 else (False, [9]))


def test_a_change_that_may_be_a_slope_or_a_step_is_said_to_be_either():
    # A step that takes six blocks.
    ramp = 4.0 * np.clip((TIMES - 6) / 6, 0, 1)
    trend = find_trend(TIMES, ramp + 0.8 * WAVES, 0.95, 0.01)
    assert trend.either and trend.drifts and len(trend.jumps) == 1
    # The slope is that of the whole series, the jump that of the series without a slope.
    assert trend.slope == pytest.approx(np.median(slopes_of_pairs(ramp + 0.8 * WAVES)))
    (jump,) = trend.jumps
    before, after = np.split(ramp + 0.8 * WAVES, [jump.index])
    assert jump.size == pytest.approx(after.mean() - before.mean(), abs=0.3)


def test_the_size_of_a_jump_has_the_interval_of_generalised_least_squares():
    values = WAVES + 12.0 * (TIMES >= 9)
    (jump,) = find_trend(TIMES, values, 0.9, 0.003).jumps
    # By hand: b = (x' C^-1 x)^-1 x' C^-1 y, its variance (x' C^-1 x)^-1 r' C^-1 r / (n - 2).
    inverse, x = np.linalg.inv(correlation_of_blocks(20)), np.column_stack([np.ones(20), TIMES >= 9]).astype(float)
    spread = np.linalg.inv(x.T @ inverse @ x)
    fit = spread @ x.T @ inverse @ values
    left = values - x @ fit
    reach = t.ppf(0.95, 18) * math.sqrt(spread[1, 1] * (left @ inverse @ left) / 18)
    assert (jump.index, jump.size) == (9, pytest.approx(fit[1], abs=1e-4))
    assert (jump.low, jump.high) == pytest.approx((fit[1] - reach, fit[1] + reach), abs=1e-4)


def test_the_interval_of_a_jump_covers_its_true_size():
    covered = 0
    for seed in range(150):
        values = np.random.default_rng(seed).standard_normal(20) + np.where(TIMES >= 8, 6.0, 0.0)
        covered += any(jump.low <= 6.0 <= jump.high for jump in find_trend(TIMES, values, 0.95, 0.003).jumps)
    assert covered >= 132  # 95 % of 150 are 142.5; below 132 with a probability below 1e-3 at 94 %


def test_a_clear_slope_and_a_clear_step_are_not_in_doubt():
    assert not find_trend(TIMES, 0.5 * TIMES + 0.5 * WAVES, 0.95, 0.01).either
    assert not find_trend(TIMES, 5.0 * (TIMES >= 8) + 0.5 * WAVES, 0.95, 0.01).either


def test_rare_counts_are_no_change():
    # Of three drops in 20 blocks the places are by chance, even if they are the last three.
    counts = [np.bincount(np.random.default_rng(seed).integers(0, 20, 4), minlength=20) for seed in range(200)]
    found = [find_trend(TIMES, values.astype(float), 0.95, 0.003) for values in counts]
    # 0.3 % of 200 are 0.6; above 6 with a probability of 4e-6.
    assert sum(trend.drifts or bool(trend.jumps) for trend in found) <= 6


def test_a_step_that_leaves_no_slope_is_a_step():
    # Half of all pairs of blocks have the same value, so the slope is exactly 0.
    trend = find_trend(TIMES, 1.0 * (TIMES >= 17), 0.95, 0.003)
    assert not trend.either and not trend.drifts and trend.slope == 0 and len(trend.jumps) == 1
