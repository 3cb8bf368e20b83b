"""How many chats are open at once if chats arrive independently of each other (open workload).

The model is M/G/infinity: Poisson arrivals, no chat waits, any distribution of the chat length.
Mean: J. D. C. Little, "A proof for the queuing formula: L = lambda W", Operations Research 9 (1961).
The number open is then Poisson with that mean, for *every distribution of the length* (insensitivity):
J. Riordan, "Telephone traffic time averages", Bell System Technical Journal 30 (1951); L. Takács,
"Introduction to the Theory of Queues" (1962).

If arrivals come in bunches, the number open varies more than Poisson. Its variance-to-mean ratio is
the peakedness Z of R. I. Wilkinson, "Theories for toll traffic engineering in the U.S.A.", Bell System
Technical Journal 35 (1956). Hayward's approximation scales Poisson by it: N with mean a and peakedness Z
is approximated by Z times a Poisson number with mean a / Z: A. A. Fredericks, "Congestion in blocking systems: a
simple approximation technique", Bell System Technical Journal 59 (1980).
Mean and variance do not determine the distribution: the 99.9 % quantile of a negative binomial with the same mean and
variance (bunches of very different sizes) is up to 6 % higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import gammainc, ndtr

#: A level this near to a whole number counts as that number: the rounding error of the bisection.
_ROUNDING = 1e-9
_HALVINGS = 200


def mean_chats(chats_per_hour: float, handling_time_s: float) -> float:
    """Return the mean number of chats open at once (Little's law). handling_time_s: mean chat length (seconds)."""
    return chats_per_hour * handling_time_s / 3600


def above(level: float, mean: float, peakedness: float = 1.0) -> float:
    """Return the share of time in which more than `level` chats are open; exact Poisson if peakedness is 1.

    Between whole numbers it is interpolated by a continuous function that equals Poisson at whole numbers.
    """
    return float(gammainc(level / peakedness + 1, mean / peakedness))


def level(mean: float, tail: float, peakedness: float = 1.0) -> float:
    """Return the least level (not rounded) that is exceeded for at most the share `tail` of the time."""

    def enough(x: float) -> bool:
        return above(x, mean, peakedness) <= tail

    return 0.0 if enough(0.0) else least(enough, 0.0, max(2 * mean, 1.0))


def peak(mean: float, tail: float, peakedness: float = 1.0) -> int:
    """Return the least whole number of chats that is exceeded for at most the share `tail` of the time."""
    return math.ceil(level(mean, tail, peakedness) - _ROUNDING * max(mean, 1.0))


def built_up(seconds: float, handling_time_s: float, distribution: str, cv: float | None = None) -> float:
    """Return which share of the steady-state mean is reached `seconds` after chats began to arrive at a constant rate.

    It is the stationary-excess distribution of the chat's length: S. G. Eick, W. A. Massey and W. Whitt,
    "The physics of the M_t/G/infinity queue", Operations Research 41 (1993). distribution: exponential,
    fixed, or lognormal with coefficient of variation `cv`.
    """
    t, m = seconds, handling_time_s
    if distribution == "fixed":
        return min(t / m, 1.0)
    if distribution == "exponential":
        return -math.expm1(-t / m)
    sigma = _sigma(cv)
    z = (math.log(t / m) + sigma**2 / 2) / sigma
    return float(ndtr(z - sigma) + t / m * ndtr(-z))


def dispersion(peakedness: float, distribution: str, cv: float | None = None) -> float:
    """Return the variance-to-mean ratio of arrivals for which the number of open chats has this peakedness.

    Z = 1 + (dispersion - 1) E[min(S, S')] / E[S] for two independent lengths S and S', if bunches are short
    compared with the lengths: A. E. Eckberg, "Generalized peakedness of teletraffic processes", 10th
    International Teletraffic Congress (1983). The ratio is 1/2 for exponential lengths, 1 for fixed ones.
    """
    if distribution == "fixed":
        overlap = 1.0
    elif distribution == "exponential":
        overlap = 0.5
    else:
        overlap = float(2 * ndtr(-_sigma(cv) / math.sqrt(2)))
    return 1 + (peakedness - 1) / overlap


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
