"""How many chats are open at once, as a distribution.

Constant rate, every chat has an agent (M/G/infinity). Mean: J. D. C. Little, "A proof for the queuing formula:
L = lambda W", Operations Research 9 (1961). The number open is then Poisson with that mean, for *every distribution of
the length* (insensitivity): J. Riordan, "Telephone traffic time averages", Bell System Technical Journal 30 (1951);
L. Takács, "Introduction to the Theory of Queues" (1962).

Rate that changes over the day (M_t/G/infinity). The number open at t is Poisson with mean m(t) = integral of
rate(t - u) P(S > u) du: S. G. Eick, W. A. Massey and W. Whitt, "The physics of the M_t/G/infinity queue", Operations
Research 41 (1993). It is exact for a rate that is linear between its rows.

Rate that differs from day to day. The day's rate is the expected one times a gamma variable of mean 1. A Poisson
number with such a mean is negative binomial: M. Greenwood and G. U. Yule, Journal of the Royal Statistical Society 83
(1920); for arrivals of call centres G. Jongbloed and G. Koole, "Managing uncertainty in call centres using Poisson
mixtures", Applied Stochastic Models in Business and Industry 17 (2001).

Bunches of arrivals. The variance-to-mean ratio of the number open is the peakedness Z of R. I. Wilkinson, "Theories
for toll traffic engineering in the U.S.A.", Bell System Technical Journal 35 (1956). Hayward's approximation scales
Poisson by it: N with mean a and peakedness Z is approximated by Z times a Poisson number with mean a / Z: A. A.
Fredericks, "Congestion in blocking systems: a simple approximation technique", Bell System Technical Journal 59
(1980). Mean and variance do not determine the distribution: the 99.9 % quantile of a negative binomial with the same
mean and variance (bunches of very different sizes) is up to 6 % higher.

`agents` has the queue for a limited number of agents.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainc, ndtr

from chatload.run.arrivals import RateProfile

Floats = NDArray[np.float64]
#: A level this near to a whole number counts as that number (share of it): the error of the search for a level.
_ROUNDING = 1e-9
_HALVINGS = 200
#: Instants at which the mean is computed: over the whole profile besides its rows, and then around the largest.
_COARSE, _FINE = 97, 201


# -- the number open at a constant mean ------------------------------------------------------------


def above(level: float, mean: float, peakedness: float = 1.0, rate_cv: float = 0.0) -> float:
    """Return the share of time in which more than `level` chats are open.

    Between whole numbers it is interpolated by a continuous function that is exact at whole numbers.

    Args:
        level: chats, from 0.
        mean: the mean number open, above 0.
        peakedness: variance-to-mean ratio within a day, from 1. Exact if it is 1, Hayward's approximation above.
        rate_cv: standard deviation / mean of the day's rate. The share is then that of all days together.
    """
    scaled = mean / peakedness
    if not rate_cv:
        return float(gammainc(level / peakedness + 1, scaled))
    shape = rate_cv**-2
    return float(betainc(level / peakedness + 1, shape, scaled / (shape + scaled)))


def level(mean: float, tail: float, peakedness: float = 1.0, rate_cv: float = 0.0) -> float:
    """Return the least level (not rounded) that is exceeded for at most the share `tail` of the time. As in `above`."""
    return exceeded_at(lambda x: above(x, mean, peakedness, rate_cv), tail, 2 * mean)


def whole_level(mean: float, tail: float, peakedness: float = 1.0, rate_cv: float = 0.0) -> int:
    """Return the least whole number of chats that is exceeded for at most the share `tail` of the time."""
    return rounded_up(level(mean, tail, peakedness, rate_cv))


def exceeded_at(share_above: Callable[[float], float], tail: float, guess: float) -> float:
    """Return the least level, from 0, that is exceeded with at most the share `tail`.

    share_above: the share of time above a level; it falls to 0. guess: a level near it, which saves time.
    """

    # Imported here: it takes 0.2 s of CPU, and the command's help does not need it.
    from scipy.optimize import brentq

    if share_above(0.0) <= tail:
        return 0.0
    high = max(guess, 1.0)
    while share_above(high) > tail:
        high *= 2
    return float(brentq(lambda level: share_above(level) - tail, 0.0, high, xtol=_ROUNDING / 100 * high, rtol=1e-12))


def rounded_up(level: float) -> int:
    """Return a level as a whole number of chats that is not below it, apart from the error of the search for it."""
    return math.ceil(level - _ROUNDING * max(level, 1.0))


def dispersion(peakedness: float, distribution: str, cv: float | None = None) -> float:
    """Return the variance-to-mean ratio of arrivals for which the number of open chats has this peakedness.

    Z = 1 + (dispersion - 1) E[min(S, S')] / E[S] for two independent lengths S and S', if bunches are short
    compared with the lengths: A. E. Eckberg, "Generalized peakedness of teletraffic processes", 10th
    International Teletraffic Congress (1983). The ratio is 1/2 for exponential lengths, 1 for fixed ones.
    """
    known = {"fixed": 1.0, "exponential": 0.5}
    overlap = known.get(distribution) or float(2 * ndtr(-_sigma(cv) / math.sqrt(2)))
    return 1 + (peakedness - 1) / overlap


# -- a rate that changes -----------------------------------------------------------------------------


class BusiestInstant(NamedTuple):
    """When the mean number of open chats is largest (seconds since the profile began), and this mean."""

    at_s: float
    mean: float


def built_up(seconds: Any, handling_time_s: float, distribution: str, cv: float | None = None) -> Any:
    """Return which share of the steady-state mean is reached `seconds` after chats began to arrive at a constant rate.

    It is the stationary-excess distribution of the chat's length (Eick, Massey, Whitt 1993).

    Args:
        seconds: from 0; a number or an array.
        handling_time_s: the mean length.
        distribution: exponential, fixed, or lognormal with coefficient of variation `cv`.
    """
    ratio = np.asarray(seconds, dtype=float) / handling_time_s
    if distribution == "fixed":
        share = np.minimum(ratio, 1.0)
    elif distribution == "exponential":
        share = -np.expm1(-ratio)
    else:
        sigma, z = _lognormal(ratio, cv)
        share = ndtr(z - sigma) + ratio * ndtr(-z)
    return share if share.ndim else float(share)


def built_up_by_slope(seconds: Floats, handling_time_s: float, distribution: str, cv: float | None = None) -> Floats:
    """Return the integral of `built_up` from 0 to `seconds`, in seconds.

    It is the number of open chats, in steady-state means, after a rate that began at 0 has grown by 1 per second.
    """
    ratio = seconds / handling_time_s
    if distribution == "fixed":
        integral = np.where(ratio < 1, ratio**2 / 2, ratio - 0.5)
    elif distribution == "exponential":
        integral = ratio + np.expm1(-ratio)
    else:
        # E[integral of min(S, v) dv, v from 0 to t] with S of mean 1, by partial moments of a lognormal variable.
        sigma, z = _lognormal(ratio, cv)
        squares = math.exp(sigma**2) * ndtr(z - 2 * sigma)
        integral = ratio * ndtr(z - sigma) - squares / 2 + ratio**2 / 2 * ndtr(-z)
    found: Floats = integral * handling_time_s
    return found


def mean_open(
    profile: RateProfile, at_s: Floats, handling_time_s: float, distribution: str, cv: float | None = None
) -> Floats:
    """Return the mean number of open chats at instants of a profile (seconds since it began).

    The rate of the profile's first instant is assumed to have lasted before it: the plan is then not too low if the
    profile begins with a busy hour. Each change of the rate or of its slope adds its own, linear, share of the mean.
    """
    lengths = (handling_time_s, distribution, cv)
    mean = np.full(at_s.shape, profile.pieces[0].first, dtype=float)
    rate, slope = profile.pieces[0].first, 0.0
    changes = [(piece.start, piece.first, piece.slope, piece.last) for piece in profile.pieces]
    for start, first, new_slope, last in [*changes, (profile.length_s, 0.0, 0.0, 0.0)]:
        jump, bend = first - rate, new_slope - slope
        since = np.maximum(at_s - start, 0.0)
        if jump:
            mean += jump * built_up(since, *lengths)
        if bend:
            mean += bend * built_up_by_slope(since, *lengths)
        rate, slope = last, new_slope
    found: Floats = mean * handling_time_s
    return found


@lru_cache(maxsize=1024)
def busiest_instant(
    profile: RateProfile, handling_time_s: float, distribution: str, cv: float | None = None
) -> BusiestInstant:
    """Return when most chats are open on average, and how many."""
    rows = np.array([piece.start for piece in profile.pieces] + [profile.length_s])
    grid = np.unique(np.concatenate([rows, (rows[1:] + rows[:-1]) / 2, np.linspace(0, profile.length_s, _COARSE)]))
    for _ in range(2):
        means = mean_open(profile, grid, handling_time_s, distribution, cv)
        best = int(np.argmax(means))
        found = BusiestInstant(float(grid[best]), float(means[best]))
        grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], _FINE)
    return found


def _lognormal(ratio: Floats, cv: float | None) -> tuple[float, Floats]:
    """Return sigma, and how many sigmas ln(ratio) is above its mean, for a lognormal variable of mean 1."""
    sigma = _sigma(cv)
    with np.errstate(divide="ignore"):
        z: Floats = (np.log(ratio) + sigma**2 / 2) / sigma
    return sigma, z


def _sigma(cv: float | None) -> float:
    """Return the standard deviation of the logarithm of a lognormal variable; cv: its coefficient of variation."""
    return math.sqrt(math.log1p((cv or 0.0) ** 2))


def least(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return the least x above `low` at which a condition holds, by bisection, rounded up.

    The condition must hold for all greater x too. `high` is doubled until it holds there.
    """
    while not holds(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
