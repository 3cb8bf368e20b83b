"""The probability that something fails before an age, from samples of which most were watched for a shorter time only.

A sample is *censored* if it had not failed at the end of its watch. Censoring must not depend on failures to come.

Estimate: E. L. Kaplan and P. Meier, "Nonparametric Estimation from Incomplete Observations", Journal of the American
Statistical Association 53 (1958).

Bounds: the beta product confidence procedure. M. P. Fay, E. H. Brittain and M. A. Proschan, "Pointwise confidence
intervals for a survival distribution with small samples or heavy censoring", Biostatistics 14 (2013). With Y_i samples
at risk at the i-th age at which samples failed, d_i of them, and Y samples still watched at the age asked for, the
bounds of the surviving share are quantiles of

    upper bound: product over i of Beta(Y_i - d_i + 1, d_i)          lower bound: the same, times Beta(Y, 1)

with independent factors. A product is approximated by the Beta distribution that has its mean and its variance (the
source's method of moments). Without censoring the product *is* a Beta distribution, and the bounds are those of Clopper
and Pearson. Without a failure the lower bound is (1 - confidence)^(1/Y): only samples that reached the age count.

If failures come in clusters, the numbers of samples and failures are divided by the design effect, and the last factor
has one more cluster of the largest size in place of one more failure: Beta(Y - x + 1, x) with x failures
(`chatload.stats.clusters`).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from chatload.stats.clusters import INDEPENDENT, Design
from chatload.stats.rates import CONFIDENCE


class FailedBefore(NamedTuple):
    """What is known of the samples that failed before an age.

    at_risk: samples watched up to this age without a failure before it. failures: samples that failed before it.
    estimate: the probability of it (Kaplan-Meier); None if no sample reached the age.
    low, high: one-sided bounds of the probability.
    """

    at_risk: int
    failures: int
    estimate: float | None
    low: float
    high: float


class Survival:
    """Ages (seconds) at which samples failed or at which their watch ended.

    ages: of each sample. failed: whether it failed then. A sample whose watch ended at the age of a failure was at risk
    of it.
    """

    def __init__(self, ages: NDArray[np.float64], failed: NDArray[np.bool_]) -> None:
        self._ages = np.sort(ages)
        self._times, deaths = np.unique(ages[failed], return_counts=True)
        at_risk = len(ages) - np.searchsorted(self._ages, self._times, "left")
        self._at_risk, self._deaths = at_risk.astype(np.float64), deaths.astype(np.float64)

    def __len__(self) -> int:
        return len(self._ages)

    @property
    def oldest(self) -> float:
        """The greatest age; 0 if there are no samples."""
        return float(self._ages[-1]) if len(self._ages) else 0.0

    def reached(self, age: float) -> int:
        """Return how many samples were watched up to this age without a failure before it."""
        return len(self._ages) - int(np.searchsorted(self._ages, age, "left"))

    def failed_before(
        self, age: float, confidence: float = CONFIDENCE, multiple: float = 1.0, design: Design = INDEPENDENT
    ) -> FailedBefore:
        """Return the probability of a failure before this age, with its bounds.

        multiple: compute the bounds for so many times the samples, which has no effect on the estimate. design: how far
        failures are from independent.
        """
        events, still = int(np.searchsorted(self._times, age, "left")), self.reached(age)
        y, d = self._at_risk[:events], self._deaths[:events]
        with np.errstate(divide="ignore"):
            log_share = float(np.log1p(-d / y).sum())
        failures = int(d.sum())
        below, above = design.effect_below(multiple * failures), design.effect_above(multiple * failures)
        low = _quantile(*_product(y, d, multiple / below), 1 - confidence)
        high, n, more = 1.0, multiple * still / above, design.largest / above
        if n + 1 > more and still:
            mean, spread = _product(y, d, multiple / above)
            mean, spread = mean + math.log1p(-more / (n + 1)), spread + math.log1p(more / ((n - more + 1) * (n + 2)))
            high = _quantile(mean, spread, confidence)
        return FailedBefore(still, failures, 0.0 - math.expm1(log_share) if still else None, low, high)


def _product(y: NDArray[np.float64], d: NDArray[np.float64], multiple: float) -> tuple[float, float]:
    """Return the product of Beta(m (y - d) + 1, m d) as `_quantile` takes it: sums of terms of one sign."""
    y, d = multiple * y, multiple * d
    a = y - d + 1
    return float(np.log1p(-d / (y + 1)).sum()), float(np.log1p(d / (a * (y + 2))).sum())


def _quantile(log_mean: float, log_spread: float, probability: float) -> float:
    """Return the quantile of 1 - X. X: the Beta variable with this mean, and with this mean of its square, relative to
    the square of its mean (both as logarithms)."""
    if not log_spread:
        return 0.0
    mean, failing = math.exp(log_mean), -math.expm1(log_mean)
    size = failing / (mean * math.expm1(log_spread)) - 1
    return float(betaincinv(failing * size, mean * size, probability))
