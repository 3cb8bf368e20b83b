"""The queueing of a plan: worked by hand, summed directly, and simulated."""

from __future__ import annotations

import heapq
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from chatload.features.plan import queueing
from chatload.features.plan.inputs import Demand
from chatload.run.arrivals import Piece, RateProfile


def summed(mean: float, tail: float) -> int:
    """The Poisson quantile term by term, in exact order, as a spreadsheet would."""
    n, term = 0, math.exp(-mean)
    total = term
    while 1 - total > tail:
        n += 1
        term *= mean / n
        total += term
    return n


def test_360_chats_an_hour_of_10_minutes_are_60_at_once():
    assert Demand(handling_time_s=600, poll_interval_s=3, chats_per_hour=360).mean_chats == 60


@pytest.mark.parametrize("mean", [0.2, 1, 4.5, 20, 60, 100, 333.3, 600])
@pytest.mark.parametrize("tail", [0.5, 0.1, 0.05, 0.01, 0.001])
def test_percentile_is_the_directly_summed_one(mean: float, tail: float):
    assert queueing.whole_level(mean, tail) == summed(mean, tail)


def test_poisson_of_mean_3_by_hand():
    # e^-3 (1 + 3 + 4.5 + 4.5 + 3.375 + 2.025 + 1.0125) = 0.9665; without the last term 0.9161
    assert queueing.whole_level(3, 0.05) == 6
    assert queueing.above(5, 3) == pytest.approx(1 - 0.9161, abs=1e-4)
    assert queueing.above(6, 3) == pytest.approx(1 - 0.9665, abs=1e-4)


def test_peakedness_against_the_normal_distribution_by_hand():
    # mean 400, peakedness 4: sd 40; 99.9 % is 3.0902 sd: 400 + 123.6 = 523.6, plus the skewness term
    # Z (z^2 - 1) / 6 = 4 x 1.425 = 5.7: 529.3
    assert queueing.level(400, 0.001, 4) == pytest.approx(529.3, abs=4)
    assert queueing.whole_level(400, 0.001, 1) < 470


def negative_binomial(mean: float, z: float, tail: float) -> int:
    """Its quantile, term by term: p(n + 1) / p(n) = (r + n) / (n + 1) x (1 - 1/Z), r = mean / (Z - 1)."""
    r = mean / (z - 1)
    n, term = 0, z**-r
    total = term
    while 1 - total > tail:
        term *= (r + n) / (n + 1) * (1 - 1 / z)
        total += term
        n += 1
    return n


@pytest.mark.parametrize(("mean", "z"), [(60, 1.5), (60, 3), (200, 2), (200, 4)])
def test_peakedness_agrees_with_a_negative_binomial_of_equal_mean_and_variance(mean: float, z: float):
    for tail in (0.2, 0.1):
        assert queueing.whole_level(mean, tail, z) == pytest.approx(negative_binomial(mean, z, tail), abs=2)
    # Farther out the shapes part, as the docs say: the negative binomial is (2Z - 1) / Z times as skew.
    assert 0 <= negative_binomial(mean, z, 0.001) / queueing.whole_level(mean, 0.001, z) - 1 <= 0.06


def simulated(lengths: np.ndarray, arrivals: np.ndarray, start: float) -> np.ndarray:
    """How many are open at each arrival (PASTA) from `start` on."""
    ends: list[float] = []
    seen = []
    for at, length in zip(arrivals, lengths, strict=True):
        while ends and ends[0] <= at:
            heapq.heappop(ends)
        if at >= start:
            seen.append(len(ends))
        heapq.heappush(ends, at + length)
    return np.array(seen)


@pytest.mark.parametrize("shape", ["exponential", "lognormal", "fixed"])
def test_the_number_open_is_poisson_whatever_the_lengths(shape: str):
    random = np.random.default_rng(7)
    n = 300_000
    arrivals = np.cumsum(random.exponential(1.0, n))
    lengths = {
        "exponential": random.exponential(20, n),
        "lognormal": 20 * np.exp(random.normal(-math.log(2) / 2, math.sqrt(math.log(2)), n)),
        "fixed": np.full(n, 20.0),
    }[shape]
    seen = simulated(lengths, arrivals, 1000)
    assert np.mean(seen) == pytest.approx(20, rel=0.02)
    # 90 % and 99 %: 26 and 31
    assert np.mean(seen > queueing.whole_level(20, 0.1)) <= 0.1 < np.mean(seen > queueing.whole_level(20, 0.1) - 2)
    assert np.mean(seen > queueing.whole_level(20, 0.01)) == pytest.approx(queueing.above(31, 20), rel=0.35)


@pytest.mark.parametrize(("shape", "cv"), [("exponential", None), ("fixed", None), ("lognormal", 1.5)])
def test_dispersion_of_arrivals_against_pairs_of_lengths(shape: str, cv: float | None):
    random = np.random.default_rng(3)
    sigma = math.sqrt(math.log(1 + (cv or 1) ** 2))
    draw = {
        "exponential": lambda: random.exponential(1, 400_000),
        "fixed": lambda: np.ones(10),
        "lognormal": lambda: np.exp(random.normal(-(sigma**2) / 2, sigma, 400_000)),
    }[shape]
    overlap = np.mean(np.minimum(draw(), draw()))
    assert queueing.dispersion(3, shape, cv) == pytest.approx(1 + 2 / overlap, rel=0.01)


def test_built_up_by_hand():
    assert queueing.built_up(3600, 7200, "fixed") == 0.5
    assert queueing.built_up(3600, 1800, "fixed") == 1
    assert queueing.built_up(3600, 3600, "exponential") == pytest.approx(1 - math.exp(-1))


def test_built_up_lognormal_is_the_mean_of_the_shorter_of_length_and_time():
    random = np.random.default_rng(5)
    sigma = math.sqrt(math.log(1 + 0.8**2))
    lengths = np.exp(random.normal(math.log(3000) - sigma**2 / 2, sigma, 400_000))
    expected = np.mean(np.minimum(lengths, 3600)) / 3000
    assert queueing.built_up(3600, 3000, "lognormal", 0.8) == pytest.approx(expected, rel=0.005)


@given(
    mean=st.floats(0.01, 1e6), more=st.floats(1, 3), tail=st.floats(1e-6, 0.5), less=st.floats(0.01, 1),
)  # fmt: skip
def test_the_quantile_is_the_least_that_is_enough_and_monotone(mean: float, more: float, tail: float, less: float):
    n = queueing.whole_level(mean, tail)
    assert queueing.above(n, mean) <= tail * (1 + 1e-6)
    assert n == 0 or queueing.above(n - 1, mean) > tail * (1 - 1e-6)
    assert queueing.whole_level(mean * more, tail) >= n
    assert queueing.whole_level(mean, tail * less) >= n


@given(mean=st.floats(10, 1e5), z=st.floats(1, 10), more=st.floats(1, 3), tail=st.floats(1e-6, 0.1))
def test_more_peakedness_never_needs_less(mean: float, z: float, more: float, tail: float):
    z = min(z, mean / 3)
    assert queueing.whole_level(mean, tail, z * more) >= queueing.whole_level(mean, tail, z)


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0, 3.0])
def test_how_much_is_built_up_is_the_mean_of_the_lengths_up_to_then(cv: float, share: float) -> None:
    """E[min(S, t)] / E[S], by the quantiles of a lognormal length of mean 300 s."""
    sigma = math.sqrt(math.log1p(cv**2))
    quantiles = ndtri((np.arange(200_000) + 0.5) / 200_000)
    lengths = 300.0 * np.exp(sigma * quantiles - sigma**2 / 2)
    expected = float(np.mean(np.minimum(lengths, 300.0 * share)) / 300.0)
    assert queueing.built_up(300.0 * share, 300.0, "lognormal", cv) == pytest.approx(expected, rel=0.01)


def test_how_much_is_built_up_of_other_lengths() -> None:
    assert [queueing.built_up(t, 300.0, "fixed") for t in (0.0, 150.0, 300.0, 900.0)] == [0.0, 0.5, 1.0, 1.0]
    assert queueing.built_up(300.0, 300.0, "exponential") == pytest.approx(1 - math.exp(-1))


# -- a rate that changes over the day -------------------------------------------------------------


def day(*rows: tuple[float, float]) -> RateProfile:
    """Rows of hours and chats per hour, which is constant until the next row."""
    return RateProfile([Piece(3600 * t, 3600 * end, n / 3600, n / 3600) for (t, n), (end, _) in pairwise(rows)])


def means(profile: RateProfile, hours: list[float], shape: str, cv: float | None = None) -> list[float]:
    return list(queueing.mean_open(profile, 3600 * np.array(hours), 600.0, shape, cv))


def test_a_quarter_of_an_hour_of_chats_by_hand():
    # 360 an hour for 15 minutes, chats of 10 minutes. Fixed: all that arrived in the last 10 minutes are open: 60 from
    # 1:10 to 1:15, then fewer by 6 each minute. Exponential: 60 (1 - e^-1.5) at 1:15, and then e^-1 of it left at 1:25.
    profile = day((0, 0), (1, 360), (1.25, 0), (3, 0))
    hours = [1, 1 + 5 / 60, 1 + 10 / 60, 1.25, 1 + 20 / 60, 1 + 25 / 60]
    assert means(profile, hours, "fixed") == pytest.approx([0, 30, 60, 60, 30, 0], abs=1e-9)
    most = 60 * (1 - math.exp(-1.5))
    assert means(profile, [1.25, 1 + 25 / 60], "exponential") == pytest.approx([most, most / math.e])
    at = queueing.busiest_instant(profile, 600.0, "exponential")
    assert (at.at_s, at.mean) == pytest.approx((4500, 46.612), abs=1e-3)


def test_a_rate_that_grows_evenly_is_followed_with_a_delay_by_hand():
    # From 0 to 720 an hour in 2 h. The mean follows the rate by E[S^2] / (2 E[S]): 5 min for chats of always 10 min,
    # 10 min for exponential ones (Eick, Massey, Whitt 1993): (720 - 30) / 6 = 115, and (720 - 60) / 6 = 110.
    ramp = RateProfile([Piece(0, 7200, 0, 0.2), Piece(7200, 7201, 0.2, 0.2)])
    assert means(ramp, [2], "fixed") == pytest.approx([115])
    assert means(ramp, [2], "exponential") == pytest.approx([110], abs=1e-3)


def test_the_first_rate_is_assumed_to_have_lasted():
    assert means(day((0, 360), (8, 360)), [0, 4, 7.9], "exponential") == pytest.approx([60, 60, 60])
    assert queueing.busiest_instant(day((0, 360), (1, 0), (2, 0)), 600.0, "fixed").mean == pytest.approx(60)


@pytest.mark.parametrize(("shape", "cv"), [("exponential", None), ("fixed", None), ("lognormal", 1.5)])
def test_the_mean_of_a_day_is_the_integral_of_rate_and_survival(shape: str, cv: float | None):
    """m(t) = integral of rate(t - u) P(S > u) du, by a sum over 0.5 s; P(S > u) is the slope of `built_up`."""
    pieces = [Piece(0, 1800, 0.05, 0.3), Piece(1800, 2700, 0.45, 0.45), Piece(2700, 7200, 0.2, 0.1)]
    profile = RateProfile(pieces)
    ages = np.arange(0, 200_000, 0.5)
    survival = -np.diff(queueing.built_up(ages, 600.0, shape, cv), prepend=0) * -600
    for t in (900.0, 2000.0, 2700.0, 5000.0, 8000.0):
        then = t - ages + 0.25
        rate = np.where(then < 0, 0.05, np.interp(then, [0, 1800], [0.05, 0.3]))
        rate = np.where((then >= 1800) & (then < 2700), 0.45, rate)
        rate = np.where(then >= 2700, np.interp(then, [2700, 7200], [0.2, 0.1]), rate)
        rate = np.where(then >= 7200, 0, rate)
        expected = float(np.sum(rate * survival))
        found = queueing.mean_open(profile, np.array([t]), 600.0, shape, cv)[0]
        assert found == pytest.approx(expected, rel=2e-3)


@given(
    rates=st.lists(st.floats(0, 1), min_size=1, max_size=6).filter(lambda rates: max(rates) > 0.01),
    shape=st.sampled_from(["exponential", "fixed", "lognormal"]),
)
def test_the_busiest_instant_is_not_above_the_highest_rate_and_not_below_any_instant(rates: list[float], shape: str):
    profile = RateProfile([Piece(900.0 * i, 900.0 * (i + 1), rate, rate) for i, rate in enumerate(rates)])
    found = queueing.busiest_instant(profile, 600.0, shape, 0.8)
    assert found.mean <= 600 * max(rates) * (1 + 1e-9)
    everywhere = queueing.mean_open(profile, np.linspace(0, 900.0 * len(rates), 777), 600.0, shape, 0.8)
    assert found.mean >= everywhere.max() * (1 - 1e-4)


def test_the_busiest_instant_is_found_to_a_few_seconds():
    # The rate falls as it rose. The mean is largest where rate(t) = m(t) / 600 (its slope is 0 there).
    profile = RateProfile([Piece(0, 36_000, 0, 1), Piece(36_000, 72_000, 1, 0)])
    found = queueing.busiest_instant(profile, 600.0, "exponential")
    # After the top the rate is 1 - t / 36 000, and m / 600 is 1 - (t - 600 + 1200 e^(-t/600)) / 36 000: t = 600 ln 2.
    assert found.at_s == pytest.approx(36_000 + 600 * math.log(2), abs=4)
    assert found.mean == pytest.approx(600 * (1 - 600 * math.log(2) / 36_000), rel=1e-6)


# -- a rate that differs from day to day ----------------------------------------------------------


def test_a_rate_that_is_as_uncertain_as_an_exponential_variable_makes_a_geometric_number_by_hand():
    # mean 3, cv 1: P(N > k) = (3/4)^(k + 1); 0.75^10 = 0.0563, 0.75^11 = 0.0422
    assert queueing.above(9, 3, rate_cv=1.0) == pytest.approx(0.75**10)
    assert queueing.whole_level(3, 0.05, rate_cv=1.0) == 10


def test_a_rate_with_a_deviation_of_5_percent_by_hand():
    # 600 on average: variance 600 + (0.05 x 600)^2 = 1500, standard deviation 38.7. 99.9 % is 3.09 of them: 719.7,
    # plus the skewness term (z^2 - 1) / 6 x (skewness 0.103 x 38.7 = 4.0) = 1.4 x 4.0: 725.4. Poisson has 677.
    assert queueing.level(600, 0.001, rate_cv=0.05) == pytest.approx(725.4, abs=1)
    assert queueing.whole_level(600, 0.001, rate_cv=0.05) == negative_binomial(600, 1 + 600 * 0.05**2, 0.001)
    assert queueing.whole_level(600, 0.001) == 677


@given(mean=st.floats(1, 1e4), cv=st.floats(0.001, 0.5), more=st.floats(1, 2), tail=st.floats(1e-5, 0.1))
def test_a_less_certain_rate_never_needs_less(mean: float, cv: float, more: float, tail: float):
    known, uncertain, more_so = (queueing.level(mean, tail, rate_cv=each) for each in (0.0, cv, cv * more))
    assert known * (1 - 1e-6) - 0.5 <= uncertain and uncertain * (1 - 1e-6) - 0.5 <= more_so


def test_an_almost_certain_rate_is_poisson():
    for level in (60, 70, 85):
        assert queueing.above(level, 60, rate_cv=1e-4) == pytest.approx(queueing.above(level, 60), rel=1e-3)
