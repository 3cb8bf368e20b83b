"""The probability of a failure before an age: the published estimate, and exact bounds where there are exact ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.stats.rates import lower, upper
from chatload.stats.survival import Survival


def survival(*samples: tuple[float, bool]) -> Survival:
    ages, failed = zip(*samples, strict=True) if samples else ((), ())
    return Survival(np.array(ages, dtype=np.float64), np.array(failed, dtype=np.bool_))


# Weeks in remission of 21 patients with 6-MP; + is still in remission. E. J. Freireich et al., Blood 21 (1963); the
# estimates: D. Collett, "Modelling Survival Data in Medical Research", and many other textbooks.
FREIREICH = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
REMISSION = survival(*((float(week.rstrip("+")), not week.endswith("+")) for week in FREIREICH.split()))


@pytest.mark.parametrize(
    ("after_week", "remaining", "at_risk"),
    [(5, 1.0, 21), (6, 0.8571, 17), (7, 0.8067, 16), (10, 0.7529, 13), (13, 0.6902, 11), (16, 0.6275, 10),
     (22, 0.5378, 6), (23, 0.4482, 5)],
)  # fmt: skip
def test_the_estimate_is_that_of_the_textbook(after_week: int, remaining: float, at_risk: int) -> None:
    found = REMISSION.failed_before(after_week + 0.5)
    assert found.estimate == pytest.approx(1 - remaining, abs=5e-5)
    assert found.at_risk == at_risk
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize(("failures", "n"), [(0, 1), (0, 300), (1, 5), (3, 1000), (7, 8), (50, 1_000_000)])
def test_without_censoring_the_bounds_are_those_of_clopper_and_pearson(failures: int, n: int) -> None:
    ages = np.concatenate([np.arange(1.0, failures + 1), np.full(n - failures, 1e6)])
    found = Survival(ages, ages < 1e6).failed_before(1e6)
    assert (found.at_risk, found.failures, found.estimate) == (n - failures, failures, pytest.approx(failures / n))
    assert found.low == pytest.approx(lower(failures, n), rel=1e-6)
    assert found.high == pytest.approx(upper(failures, n), rel=1e-6)


def test_failures_at_the_same_age_are_bounded_like_failures_one_after_another() -> None:
    found = survival(*[(10.0, True)] * 3, *[(480.0, False)] * 97).failed_before(480)
    assert (found.low, found.high) == (pytest.approx(lower(3, 100), rel=1e-6), pytest.approx(upper(3, 100), rel=1e-6))


def test_without_a_failure_only_samples_that_reached_the_age_count() -> None:
    # By hand: 1 - 0.05^(1/10) = 0.2589. 990 more samples were watched for nearly as long.
    found = survival(*[(480.0, False)] * 10, *[(479.0, False)] * 990).failed_before(480)
    assert found == (10, 0, 0.0, 0.0, pytest.approx(1 - 0.05**0.1))


def test_what_nobody_reached_is_not_known() -> None:
    assert survival((100.0, False), (200.0, False)).failed_before(480) == (0, 0, None, 0.0, 1.0)
    assert survival().failed_before(480) == (0, 0, None, 0.0, 1.0)
    found = survival((100.0, True), (200.0, True)).failed_before(480)
    assert (found.failures, found.estimate, found.high) == (2, None, 1.0)


def test_a_failure_at_the_age_itself_is_not_before_it() -> None:
    samples = survival((480.0, True), (480.0, False))
    assert samples.failed_before(480).failures == 0
    assert samples.failed_before(480.001).failures == 1


def test_the_approximation_of_the_product_is_near_the_product() -> None:
    found, draw = REMISSION.failed_before(30, 0.95), np.random.default_rng(1)
    # Y and d at the ages 6, 7, 10, 13, 16, 22 and 23. Four patients were watched for longer than 30 weeks.
    at_risk = ((21, 3), (17, 1), (15, 1), (12, 1), (11, 1), (7, 1), (6, 1))
    factors = [draw.beta(y - d + 1, d, 400_000) for y, d in at_risk]
    upper_share = np.prod(factors, axis=0)
    lower_share = upper_share * draw.beta(found.at_risk, 1, 400_000)
    assert found.at_risk == 4
    assert found.low == pytest.approx(1 - np.quantile(upper_share, 0.95), abs=0.005)
    assert found.high == pytest.approx(1 - np.quantile(lower_share, 0.05), abs=0.005)


@pytest.mark.parametrize(
    ("samples", "failing", "length"), [(20, 0.3, 2.0), (40, 0.1, 1.3), (50, 0.5, 1.5), (1000, 0.003, 1.05)]
)
def test_small_samples_and_heavy_censoring_are_seldom_bounded_wrongly(
    samples: int, failing: float, length: float
) -> None:
    """Samples begin evenly over `length` times the age asked for, and are watched until its end."""
    draw, too_high, too_low = np.random.default_rng(5), 0, 0
    for _ in range(1000):
        fails_at = draw.exponential(-1 / np.log1p(-failing), samples)
        watched = np.minimum(1.0, length * draw.random(samples))
        found = Survival(np.minimum(fails_at, watched), fails_at < watched).failed_before(1.0)
        too_high += found.low > failing
        too_low += found.high < failing
    # 77: the 0.9999 quantile of Binomial(1000, 0.05).
    assert too_high <= 77
    assert too_low <= 77


@given(st.lists(st.tuples(st.integers(1, 20).map(float), st.booleans()), max_size=30), st.integers(0, 22))
def test_the_bounds_surround_the_estimate_and_more_of_the_same_narrows_them(
    samples: list[tuple[float, bool]], age: int
) -> None:
    made = survival(*samples)
    found, twice = made.failed_before(age), made.failed_before(age, multiple=2)
    assert 0 <= found.low <= found.high <= 1
    if found.estimate is not None:
        assert found.low <= found.estimate <= found.high
    assert twice.high <= found.high + 1e-9
    if samples:
        doubled = survival(*samples, *samples).failed_before(age)
        assert (twice.low, twice.high) == (pytest.approx(doubled.low), pytest.approx(doubled.high))
