"""Exact bounds: against tables, against the binomial tail summed by hand, and by their coverage."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gammaln

from chatload.stats.rates import bound_text, interval, lower, per_unit, sessions_needed, share_text, upper

SAMPLES = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def tail(k: int, n: int, p: float) -> float:
    """P(X <= k) of Binomial(n, p), summed exactly."""
    hit = Fraction(p)
    return float(sum(math.comb(n, i) * hit**i * (1 - hit) ** (n - i) for i in range(k + 1)))


@pytest.mark.parametrize(
    ("k", "n", "expected"),
    [
        # 1 - 0.05^(1/n)
        (0, 1, 0.95),
        (0, 10, 0.258866),
        (0, 59, 0.049508),
        (0, 1000, 0.0029912),
        # published one-sided 95 % tables (Conover, Practical Nonparametric Statistics, table A4; 10 % in two tails)
        (1, 10, 0.39416),
        (2, 10, 0.50690),
        (5, 10, 0.77756),
        (1, 1000, 0.0047350),
    ],
)
def test_upper_bounds_are_those_of_the_tables(k: int, n: int, expected: float) -> None:
    assert upper(k, n) == pytest.approx(expected, rel=2e-5)
    assert lower(n - k, n) == pytest.approx(1 - expected, rel=2e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (1, 7), (3, 20), (19, 20), (2, 300), (150, 300), (40, 300)])
def test_a_bound_is_where_the_binomial_tail_is_five_percent(k: int, n: int) -> None:
    assert tail(k, n, upper(k, n)) == pytest.approx(0.05, rel=1e-9)
    if k:
        assert 1 - tail(k - 1, n, lower(k, n)) == pytest.approx(0.05, rel=1e-9)
    low, high = interval(k, n)
    assert tail(k, n, high) == pytest.approx(0.025, rel=1e-9)
    assert low == 0 if k == 0 else 1 - tail(k - 1, n, low) == pytest.approx(0.025, rel=1e-9)


def test_the_ends() -> None:
    assert (lower(0, 5), upper(5, 5), lower(0, 0), upper(0, 0)) == (0, 1, 0, 1)
    assert upper(0, 208) < 0.0144
    assert upper(0, 10**9) == pytest.approx(2.995732e-9, rel=1e-6)
    for wrong in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="of 5"):
            upper(*wrong)


@pytest.mark.parametrize("n", [5, 40, 300])
@pytest.mark.parametrize("p", [0.001, 0.01, 0.1, 0.37, 0.5, 0.93])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_coverage_is_never_below_the_confidence(n: int, p: float, confidence: float) -> None:
    weight = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    assert sum(w for k, w in enumerate(weight) if p <= upper(k, n, confidence)) >= confidence - 1e-12
    assert sum(w for k, w in enumerate(weight) if p >= lower(k, n, confidence)) >= confidence - 1e-12
    both = [interval(k, n, confidence) for k in range(n + 1)]
    assert sum(w for w, (low, high) in zip(weight, both, strict=True) if low <= p <= high) >= confidence - 1e-12


@pytest.mark.parametrize(("n", "p"), [(1000, 0.001), (1000, 0.01), (200, 0.2)])
def test_coverage_by_simulation(n: int, p: float) -> None:
    draw = random.Random(4)
    runs = 2000
    uppers = [upper(k, n) for k in range(n + 1)]
    covered = sum(p <= uppers[sum(draw.random() < p for _ in range(n))] for _ in range(runs))
    # exact coverage is at least 0.95; 0.935 is three standard errors below
    assert covered / runs >= 0.935


@given(SAMPLES)
def test_bounds_grow_with_hits_and_close_in_with_samples(sample: tuple[int, int]) -> None:
    k, n = sample
    assert lower(k, n) <= k / n <= upper(k, n)
    assert upper(k, n + 1) < upper(k, n) or k == n
    assert lower(k, n + 1) < lower(k, n) or k == 0
    if k < n:
        assert upper(k + 1, n) > upper(k, n)
        assert lower(k + 1, n) > lower(k, n)
    assert upper(2 * k, 2 * n) <= upper(k, n)


@pytest.mark.parametrize(
    ("k", "n", "limit", "needed"),
    [(0, 1000, 0.001, 2995), (0, 0, 0.001, 2995), (0, 0, 0.01, 299), (0, 5, 0.05, 59), (0, 4000, 0.001, 2995)],
)
def test_needed_without_a_hit_is_the_rule_of_three_made_exact(k: int, n: int, limit: float, needed: int) -> None:
    assert sessions_needed(k, n, limit) == needed
    assert upper(0, needed) < limit <= upper(0, needed - 1)


@pytest.mark.parametrize(("k", "n", "limit"), [(1, 1000, 0.003), (3, 1000, 0.001), (5, 100, 0.02), (5, 100, 0.1)])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_a_run_of_the_needed_size_settles_it_as_often_as_said(k: int, n: int, limit: float, power: float) -> None:
    needed = sessions_needed(k, n, limit, power=power)
    assert needed is not None
    rate, below = k / n, k / n < limit
    hits = np.arange(needed + 1)
    chance = np.exp(
        gammaln(needed + 1) - gammaln(hits + 1) - gammaln(needed - hits + 1)
        + hits * math.log(rate) + (needed - hits) * math.log1p(-rate)
    )  # fmt: skip
    settles = np.array([upper(h, needed) < limit if below else lower(h, needed) > limit for h in hits])
    assert power <= chance[settles].sum() < power + 0.1


def test_what_more_samples_cannot_settle_needs_none() -> None:
    assert sessions_needed(1, 1000, 0.001) is None
    assert sessions_needed(0, 10, 0.0) is None
    assert sessions_needed(999_999, 10**9, 0.001) is None
    # the limit lies between what is proven and what may be
    assert sessions_needed(1, 1000, 0.003, at_most=5) is None
    below, above = sessions_needed(1, 1000, 0.006, at_most=5), sessions_needed(4, 1000, 0.003, at_most=9)
    assert below is not None and above is not None
    assert below == sessions_needed(5, 1000, 0.006) and above == sessions_needed(4, 1000, 0.003)


def test_poisson_bounds_are_garwoods() -> None:
    # Garwood's table, 95 %
    assert per_unit(0, 1) == (0, pytest.approx(3.6889, rel=1e-4))
    assert per_unit(1, 2) == (pytest.approx(0.0253 / 2, rel=2e-3), pytest.approx(5.5716 / 2, rel=1e-4))
    assert per_unit(10, 1) == (pytest.approx(4.7954, rel=1e-4), pytest.approx(18.3904, rel=1e-4))


@pytest.mark.parametrize(("events", "exposure"), [(-1, 1.0), (1, 0.0), (1, -1.0), (-1, 0.0)])
def test_events_that_cannot_be_counted_have_no_rate(events: int, exposure: float) -> None:
    with pytest.raises(ValueError, match=f"{events} events in {exposure}"):
        per_unit(events, exposure)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.9, 0.999])
def test_bounds_of_one_in_two_by_hand_at_any_confidence(confidence: float) -> None:
    # At the lower bound one or two of two come with the rest of the confidence: 1 - (1 - p)^2; at the upper, none or
    # one: 1 - p^2.
    assert lower(1, 2, confidence) == pytest.approx(1 - math.sqrt(confidence))
    assert upper(1, 2, confidence) == pytest.approx(math.sqrt(confidence))
    assert lower(2, 2, confidence) == pytest.approx(math.sqrt(1 - confidence))
    assert upper(0, 2, confidence) == pytest.approx(1 - math.sqrt(1 - confidence))


@pytest.mark.parametrize(
    ("share", "up", "text"),
    [
        # 0 of 239 with 95 % confidence: 1 - 0.05^(1/239) = 1.24563 %
        (upper(0, 239), True, "1.25 %"),
        (0.012345, False, "1.23 %"),
        (0.01, True, "1 %"),
        (0.01, False, "1 %"),
        (0.0999811, True, "10 %"),
        (0.99912345, False, "99.9123 %"),
        (0.99912345, True, "99.9124 %"),
        (1.0, True, "100 %"),
        (0.0, False, "0 %"),
    ],
)
def test_a_bound_is_never_rounded_towards_the_better_side(share: float, up: bool, text: str) -> None:
    assert bound_text(share, up) == text


@given(st.floats(1e-9, 1 - 1e-9))
def test_a_bound_as_text_still_holds(share: float) -> None:
    above, below = (float(bound_text(share, up).removesuffix(" %")) / 100 for up in (True, False))
    assert below <= share * (1 + 1e-9) and share * (1 - 1e-9) <= above
    assert above - below <= 0.011 * min(share, 1 - share) + 1e-12


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"), (1e-9, "under 0.0001 %"), (1e-6, "0.0001 %"), (0.00012, "0.012 %"), (0.0149, "1.5 %"),
        (0.0996, "10.0 %"), (0.98999, "99.0 %"), (0.99, "99 %"), (0.995, "99.5 %"), (0.99949, "99.949 %"),
        (0.99995, "99.995 %"), (0.999999, "99.9999 %"), (1 - 1e-9, "99.9999999 %"), (1, "100 %"),
    ],
)  # fmt: skip
def test_only_all_is_100_percent_and_only_none_is_0(share: float, text: str) -> None:
    assert share_text(share) == text


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_between_is_never_shown_as_all_or_none(share: float) -> None:
    assert share_text(share) not in ("0 %", "100 %") and "e" not in share_text(share).replace("under", "")
