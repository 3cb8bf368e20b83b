"""Rates with exact confidence bounds, and the size of a run that would probably decide a question about a rate.

Rates per sample. Source: C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
case of the binomial", Biometrika 26 (1934). The bounds are quantiles of Beta distributions (L. D. Brown,
T. T. Cai and A. DasGupta, "Interval Estimation for a Binomial Proportion", Statistical Science 16
(2001)). They hold for k hits in n *independent* samples, whatever the true rate.

Rates per unit of exposure, for example per hour. Source: F. Garwood, "Fiducial limits for the Poisson distribution",
Biometrika 28 (1936). The bounds are quantiles of Gamma distributions. They hold for *independent* events at a constant
rate, in an exposure that does not depend on them.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

from scipy.special import bdtr, bdtrc, betaincinv, gammaincinv

#: The default confidence of a claim.
CONFIDENCE = 0.95
#: A question that needs more samples than this counts as undecidable.
MOST_SAMPLES = 10**9
#: A smaller share is only said to be under this (percent).
_LEAST_SHOWN = 0.0001
#: The probabilities with which a run of the named sizes settles an open question.
POWERS = (0.8, 0.9)


def lower(k: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of a rate with k hits in n samples; 0 if n is 0."""
    _check(k, n, confidence)
    if k == 0:
        return 0.0
    if k == n:
        return float((1 - confidence) ** (1 / n))
    return float(betaincinv(k, n - k + 1, 1 - confidence))


def upper(k: float, n: int, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a rate with k hits in n samples; 1 if n is 0."""
    _check(k, n, confidence)
    if k == n:
        return 1.0
    if k == 0:
        # Closed, and exact where betaincinv would round: (1 - p)^n = 1 - confidence.
        return -math.expm1(math.log1p(-confidence) / n)
    return float(betaincinv(k + 1, n - k, confidence))


def interval(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided ("central") interval of a rate: each side errs with probability (1 - confidence) / 2."""
    one_sided = (1 + confidence) / 2
    return lower(k, n, one_sided), upper(k, n, one_sided)


def bound_text(share: float, up: bool) -> str:
    """Return a bound of a rate as text: three significant digits, an upper bound rounded up, a lower one down.

    All bounds are printed by this function, so the same bound is the same text everywhere. Near 100 % the three digits
    are those of the distance to 100 %.
    """
    number = 100 * share
    if 0 < number < 100:
        number = _rounded(number, min(number, 100 - number), up)
    return f"{min(number, 100):.10g} %"


def share_text(share: float) -> str:
    """Return an observed share as text, in percent with about two significant digits.

    Above 99 % these are digits of the distance to 100 %. Only 0 is "0 %", and only 1 is "100 %".
    """
    number = round(100 * share, 12) or 100 * share
    if number in (0, 100) and share in (0, 1):
        return f"{number:.0f} %"
    if 0 < number < _LEAST_SHOWN:
        return f"under {_LEAST_SHOWN:f} %".replace("00 %", " %")
    if 99 <= number < 100:
        digits = 1 - math.floor(math.log10(100 - number))
        return f"{min(number, 100 - 10.0**-digits):.{digits}f}".rstrip("0").rstrip(".") + " %"
    return f"{number:.1f} %" if number >= 1 else f"{number:.2g} %"


def _rounded(number: float, of: float, up: bool) -> float:
    """Return a number rounded up or down to the unit of the third significant digit of `of`."""
    if of <= 0:
        return number
    unit = 10.0 ** (math.floor(math.log10(of)) - 2)
    return (math.ceil if up else math.floor)(round(number / unit, 6)) * unit


# Runs of a series have the same thresholds, and often the same counts.
@lru_cache(maxsize=1000)
def sessions_needed(
    k: float,
    n: float,
    limit: float,
    confidence: float = CONFIDENCE,
    at_most: float | None = None,
    power: float = POWERS[0],
) -> int | None:
    """Return the size of a run that decides whether a rate is below or above `limit`, with a probability of `power`.

    It is assumed that the true rate is the seen one. Without a hit this is 0, and the number decides it surely if there
    is still none. Exact, from the binomial distribution of the hits in such a run.

    Args:
        k: sure hits in n samples.
        n: samples so far.
        limit: between 0 and 1.
        confidence: one-sided, between 0 and 1.
        at_most: sure and possible hits; k by default. The rate must be proven below the limit with `at_most` hits, or
            above it with k hits.
        power: between 0 and 1.

    Returns:
        None if no number decides it: the limit lies between the two shares, or more than MOST_SAMPLES are needed.
    """
    at_most = k if at_most is None else at_most
    _check(k, n, confidence)
    _check(at_most, n, confidence)
    low, high = (k / n, at_most / n) if n else (0.0, 0.0)
    if high < limit:
        # With at most `hits` in m samples, the rate is below the limit if so few come with less than 1 - confidence.
        return _smallest_run(
            lambda hits: hits + _first(lambda more: bdtr(hits, hits + more, limit) < 1 - confidence),
            lambda hits, m: bdtr(hits, m, high) >= power,
        )
    if low > limit:
        # With at least `hits` + 1 in m samples it is above: m is the last number for which this is so rare.
        return _smallest_run(
            lambda hits: hits + _first(lambda more: bdtrc(hits, hits + more, limit) >= 1 - confidence) - 1,
            lambda hits, m: m > hits and bdtrc(hits, m, low) >= power,
        )
    return None


def per_unit(events: int, exposure: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided interval of events per unit of exposure: each side errs with (1 - confidence) / 2."""
    one_sided = (1 + confidence) / 2
    return per_unit_lower(events, exposure, one_sided), per_unit_upper(events, exposure, one_sided)


def per_unit_lower(events: float, exposure: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of events per unit of exposure. Raises ValueError if there is no exposure."""
    _check_exposure(events, exposure)
    return float(gammaincinv(events, 1 - confidence)) / exposure if events else 0.0


def per_unit_upper(events: float, exposure: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of events per unit of exposure. Raises ValueError if there is no exposure."""
    _check_exposure(events, exposure)
    return float(gammaincinv(events + 1, confidence)) / exposure


def per_unit_text(rate: float, up: bool) -> str:
    """Return a bound of a rate per unit of exposure as text: three significant digits, rounded as by `bound_text`."""
    return f"{_rounded(rate, rate, up):.10g}"


def multiple_needed(settles: Callable[[float], bool], n: int) -> int | None:
    """Return the total number of samples that decides a question, if further samples are like the n so far.

    Args:
        settles: whether so many times the evidence of the n samples decides it; from some multiple on, always.
        n: samples so far, at least 1.

    Returns:
        None if no number up to MOST_SAMPLES decides it.
    """
    if not n:
        return None
    found = n + bisect_left(range(n, MOST_SAMPLES + 1), True, key=lambda m: settles(m / n))
    return found if found <= MOST_SAMPLES else None


def _check(k: float, n: float, confidence: float) -> None:
    if not 0 <= k <= n or not 0 < confidence < 1:
        raise ValueError(f"{k} of {n} with confidence {confidence}")


def _check_exposure(events: float, exposure: float) -> None:
    if events < 0 or exposure <= 0:
        raise ValueError(f"{events} events in {exposure}")


def _smallest_run(size: Callable[[int], int], is_likely: Callable[[int, int], bool]) -> int | None:
    """Return the size of the smallest run that is likely to settle it, over the hits that it may have."""

    def is_enough(hits: int) -> bool:
        m = size(hits)
        return m > MOST_SAMPLES or is_likely(hits, m)

    found = size(_first(is_enough))
    return found if found <= MOST_SAMPLES else None


def _first(holds: Callable[[int], bool]) -> int:
    """Return the first whole number from 0 on for which it holds; MOST_SAMPLES + 1 if there is none below."""
    low, high = 0, 1
    while high <= MOST_SAMPLES and not holds(high):
        low, high = high + 1, 2 * high
    return low + bisect_left(range(low, min(high, MOST_SAMPLES) + 1), True, key=holds)
