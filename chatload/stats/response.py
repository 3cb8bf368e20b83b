"""A threshold that can only be tried: the chance of a binary outcome against a dose, and which dose to try next.

Each trial at a dose x succeeds or fails. The chance of success falls with the dose:

    P(success | x) = g + (1 - g - lapse) / (1 + (x / threshold) ** (1 / spread))

threshold: the dose at which as many undisturbed trials succeed as fail. spread: how steep the curve is; the logistic
scale of ln x. lapse: the share of trials that fail whatever the dose, for example because of a short disturbance. g:
the share that succeed whatever the dose, fixed at GUESS. Without `lapse` in the model, a single failure at a low dose
would move the threshold far down (F. A. Wichmann and N. J. Hill, "The psychometric function: I. Fitting, sampling, and
goodness of fit", Perception & Psychophysics 63 (2001)).

The three are estimated together, by Bayes' rule on a grid: flat priors of ln threshold and spread, LAPSES for lapse.
The next dose is the one after whose trial the least uncertainty of the threshold is expected: the expected entropy of
its distribution, with spread and lapse integrated out, is least (L. L. Kontsevich and C. W. Tyler, "Bayesian adaptive
estimation of psychometric slope and threshold", Vision Research 39 (1999); N. Prins, "The psi-marginal adaptive
method", Journal of Vision 13 (2013)).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, xlogy

#: The share of trials that succeed whatever the dose.
GUESS = 0.01
#: Spreads of the grid. Their ratios are equal, so a flat prior weighs each by itself.
_SPREADS = np.geomspace(0.006, 0.2, 8)
#: Lapses of the grid, and their prior: most series have few.
LAPSES = {0.002: 0.25, 0.03: 0.2, 0.08: 0.2, 0.15: 0.15, 0.25: 0.12, 0.4: 0.08}
#: Distance of the grid's thresholds, as a ratio.
_STEP = 0.01
#: Number of doses that are compared for the next trial, and the quantiles of the threshold that they extend over.
_CANDIDATES, _OUTERMOST = 31, 0.005
_UNLIKELY = 1e-6

Floats = NDArray[np.float64]


class ResponseCurve:
    """The posterior of threshold, spread and lapse after some trials.

    least, most: the threshold lies between these doses, both above 0.
    """

    def __init__(self, least: float, most: float) -> None:
        if not 0 < least < most:
            raise ValueError(f"no threshold lies between {least} and {most}")
        points = math.ceil(math.log(most / least) / _STEP) + 1
        self._thresholds = np.linspace(math.log(least), math.log(most), points)
        prior = np.array(list(LAPSES.values()))
        shape = (points, _SPREADS.size, prior.size)
        weights = np.outer(_SPREADS / _SPREADS.sum(), prior / prior.sum())
        self._log_posterior: Floats = np.broadcast_to(np.log(weights), shape).copy()
        self._reach = 1 - GUESS - np.array(list(LAPSES))
        self._posterior = _normalised(self._log_posterior)

    def add(self, dose: float, success: bool) -> None:
        """Add a trial."""
        chance = GUESS + self._reach * self._rising(dose)[:, :, np.newaxis]
        self._log_posterior += np.log(chance if success else 1 - chance)
        self._posterior = _normalised(self._log_posterior)

    def _rising(self, dose: float, likely: slice = slice(None)) -> Floats:
        """Return the logistic part of the chance at a dose, by threshold (a part of them) and spread."""
        above = self._thresholds[likely, np.newaxis] - math.log(dose)
        return np.asarray(expit(above / _SPREADS), dtype=np.float64)

    def quantiles(self, *shares: float) -> list[float]:
        """Return quantiles of the threshold (doses)."""
        below = np.cumsum(self._posterior.sum(axis=(1, 2)))
        found: list[float] = np.exp(np.interp(shares, below, self._thresholds)).tolist()
        return found

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the doses between which the threshold lies with this probability, and equally likely on each side."""
        low, high = self.quantiles((1 - confidence) / 2, (1 + confidence) / 2)
        return low, high

    def chances(self, doses: Sequence[float]) -> list[float]:
        """Return the mean chance of success at each dose, lapses included."""
        of_spread = self._posterior @ self._reach
        return [GUESS + float(np.sum(of_spread * self._rising(dose))) for dose in doses]

    @property
    def lapse(self) -> float:
        """The mean share of trials that fail whatever the dose."""
        return float(self._posterior.sum(axis=(0, 1)) @ np.array(list(LAPSES)))

    def next_dose(self, least: int, most: int) -> int:
        """Return the whole dose from `least` to `most` at which a trial says most about the threshold."""
        whole = self._posterior.sum(axis=(1, 2))
        # Thresholds outside this part have no weight to speak of.
        first, last = np.flatnonzero(whole > _UNLIKELY * whole.max())[[0, -1]]
        likely = slice(first, last + 1)
        whole, of_spread = whole[likely], self._posterior[likely] @ self._reach
        low, high = self.quantiles(_OUTERMOST, 1 - _OUTERMOST)
        wide = np.geomspace(low / 1.1, high * 1.1, _CANDIDATES)
        doses: list[int] = sorted({min(max(round(dose), least), most) for dose in wide.tolist()})

        def expected(dose: int) -> float:
            success = GUESS * whole + np.sum(of_spread * self._rising(dose, likely), axis=1)
            return _entropy(success) + _entropy(whole - success)

        return min(doses, key=expected)


def _normalised(log_weights: Floats) -> Floats:
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _entropy(weights: Floats) -> float:
    """Return the entropy of weights that sum to p, after normalising them, times p."""
    total = float(weights.sum())
    return float(xlogy(total, total) - xlogy(weights, weights).sum()) if total > 0 else 0.0


def trials_needed(width: float, spread: float, confidence: float) -> float:
    """Return the number of trials at the threshold that make the interval so wide.

    The median of a normal tolerance with standard deviation `spread`, estimated by n binary trials at it, has a
    variance of pi spread^2 / (2 n): the information of a probit at 50 % (D. J. Finney, "Probit Analysis", 3rd ed.,
    Cambridge 1971, ch. 3).

    Args:
        width: of the two-sided interval, as a share of the threshold.
        spread: standard deviation of the thresholds of single trials, as a share.
        confidence: of the interval, between 0 and 1.
    """
    z = float(ndtri((1 + confidence) / 2))
    return math.pi / 2 * (2 * z * spread / width) ** 2
