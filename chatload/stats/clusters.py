"""Bounds and evidence for a rate whose events come in clusters: an outage that drops forty chats is one observation.

Bounds. The events of n trials come in clusters of m_1, m_2, ... events. With y = sum m and v = sum m^2, the design
effect is D = v / y: n trials are worth n / D independent ones (L. Kish, "Survey Sampling", 1965). The bounds are those
of Clopper and Pearson with y / D events in n / D trials (E. L. Korn and B. I. Graubard, "Confidence intervals for
proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24 (1998)).
The upper bound counts one more cluster of the largest possible size w: y + w in place of y, v + w^2 in place of v (M.
P. Fay and E. J. Feuer, "Confidence intervals for directly standardized rates: a method based on the gamma
distribution", Statistics in Medicine 16 (1997)). This is the correction for few clusters. If no event was seen, the
bound is the rule of three times w: nothing in the data shows how large a cluster may be, so w is an assumption. With
clusters of one event, both bounds are those of Clopper and Pearson.

Design effect by blocks. Of B blocks of time with n_b trials (or the part of n that is expected there, by exposure) and
x_b events, the variance of the ratio x / n, divided by that of independent trials:

    D = B / (B - 1) * sum (x_b - p n_b)^2 / (n p (1 - p)),  p = x / n

(the ultimate-cluster estimator: W. G. Cochran, "Sampling Techniques", 3rd ed. 1977, 6.3). It needs no knowledge of
clusters.

Evidence. For a rate of at most L, and events in groups of m_1, m_2, ... that split no cluster,

    M = exp(-c A) * product (1 + c m_j)

with c > 0 and A the number of events expected at the rate L is a supermartingale that starts at 1: the stochastic
exponential of a point process (C. Doléans-Dade, "Quelques applications de la formule de changement de variables pour
les semimartingales", Z. Wahrscheinlichkeitstheorie 16 (1970)). So it *ever* reaches 1 / alpha with a probability of at
most alpha (J. Ville, "Étude critique de la notion de collectif", 1939), whatever the sizes of the clusters. A mean over
several c is one too (H. Robbins, Annals of Mathematical Statistics 41 (1970)). For a rate of at least L, and no cluster
above 1 / c,

    M = exp(c A) * product (1 - c m_j)

is one. To take several clusters as one group makes both smaller, so it is safe.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from chatload.stats import rates
from chatload.stats.rates import CONFIDENCE

#: The factors c of the evidence, and their weights: most for clusters of one to about twenty events.
_STAKES = 4.0 ** np.arange(-9, 3)
_WEIGHTS = 1 / (1.0 + np.abs(np.arange(-9, 3)))
_LOG_WEIGHTS = np.log(_WEIGHTS / _WEIGHTS.sum())
#: The factors of the evidence that a rate is low, times the largest cluster: at most 1.
_SHARES = np.array([0.1, 0.25, 0.5, 0.75, 1.0])


@dataclass(frozen=True, slots=True)
class Design:
    """How far trials are from independent. effect: the design effect D, 1 or more. largest: the size of the largest
    possible cluster, 1 or more."""

    effect: float = 1.0
    largest: float = 1.0

    def effect_below(self, k: float) -> float:
        """Return the design effect of a lower bound with k events: at most all are one cluster."""
        return min(self.effect, max(k, 1.0))

    def effect_above(self, k: float) -> float:
        """Return the design effect of an upper bound: of k events, and one more cluster of the largest size."""
        return (k * self.effect_below(k) + self.largest * self.largest) / (k + self.largest)


def design_effect(sizes: Iterable[float]) -> float:
    """Return the design effect of clusters with these sizes; 1 without any."""
    squares = total = 0.0
    for size in sizes:
        squares, total = squares + size * size, total + size
    return max(1.0, squares / total) if total else 1.0


def design_effect_of_blocks(blocks: Sequence[tuple[float, int]]) -> float:
    """Return the design effect of a rate by blocks of time, 1 or more. blocks: trials and events of each.

    Blocks without trials are left out. With fewer than two blocks, or if none or all trials are events, it is 1.
    """
    known = np.array([block for block in blocks if block[0]], dtype=np.float64).reshape(-1, 2)
    trials, events = known[:, 0], known[:, 1]
    n, x = float(trials.sum()), float(events.sum())
    if len(known) < 2 or not 0 < x < n:
        return 1.0
    p = x / n
    spread = float(np.sum((events - p * trials) ** 2)) * len(known) / (len(known) - 1)
    return max(1.0, spread / (n * p * (1 - p)))


#: Independent trials: each event is a cluster of its own.
INDEPENDENT = Design()


def lower(k: int, n: int, design: Design, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of a rate with k events in n trials, in clusters; 0 if n is 0."""
    if design.effect == 1 or k == 0:
        return rates.lower(k, n, confidence)
    effect = design.effect_below(k)
    return float(betaincinv(k / effect, (n - k) / effect + 1, 1 - confidence))


def upper(k: int, n: int, design: Design, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a rate with k events in n trials, in clusters; 1 if n is 0."""
    if design == INDEPENDENT:
        return rates.upper(k, n, confidence)
    largest, effect = design.largest, design.effect_above(k)
    if k + largest > n:
        return 1.0
    return float(betaincinv((k + largest) / effect, (n - k - largest) / effect + 1, confidence))


def per_unit_lower(k: float, exposure: float, design: Design, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of events per unit of exposure, in clusters. Raises ValueError without exposure.

    The limit of `lower` for many trials: the Gamma distributions of Garwood (`chatload.stats.rates`) in place of Beta
    distributions.
    """
    effect = design.effect_below(k)
    return rates.per_unit_lower(k / effect, exposure / effect, confidence)


def per_unit_upper(k: float, exposure: float, design: Design, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of events per unit of exposure, in clusters. Raises ValueError without exposure.

    The limit of `upper` for many trials.
    """
    effect = design.effect_above(k)
    # `rates.per_unit_upper` adds one event itself.
    return rates.per_unit_upper((k + design.largest) / effect - 1, exposure / effect, confidence)


def largest_cluster(upper_bound: Callable[[Design], float], limit: float, design: Design, n: int) -> int:
    """Return the largest size of clusters, up to n, for which an upper bound is below `limit`; 0 if there is none.

    upper_bound: returns the bound for a design. It does not fall if the largest cluster is larger.
    """
    low, high = 0, n + 1
    while high - low > 1:
        middle = (low + high) // 2
        fits = upper_bound(Design(design.effect, middle)) < limit
        low, high = (middle, high) if fits else (low, middle)
    return low


class RateEvidence:
    """Collects the evidence that a rate is above a limit, group by group: it may be asked at any time.

    Constant in memory: it keeps one logarithm for each factor c.
    """

    def __init__(self) -> None:
        self._closed: NDArray[np.float64] = np.zeros(len(_STAKES))

    def add(self, size: float) -> None:
        """Add a group of events. It is complete: no later event belongs to its cluster."""
        self._closed += np.log1p(_STAKES * size)

    def log(self, expected: float, current: float = 0.0) -> float:
        """Return the natural logarithm of the evidence. expected: A. current: size of the group not yet complete."""
        logs = self._closed + np.log1p(_STAKES * current) - _STAKES * expected
        return _log_of_sum(logs + _LOG_WEIGHTS)


def log_evidence_above(sizes: Iterable[float], expected: float) -> float:
    """Return the natural logarithm of the evidence that a rate is above a limit.

    Args:
        sizes: number of events in each group.
        expected: number of events expected at the limit.
    """
    evidence = RateEvidence()
    for size in sizes:
        evidence.add(size)
    return evidence.log(expected)


def log_evidence_below(sizes: Sequence[float], expected: float, largest: float = 1.0) -> float:
    """Return the natural logarithm of the evidence that a rate is below a limit; -inf if a group is too large for it.

    Args:
        sizes: number of events in each group.
        expected: number of events expected at the limit.
        largest: the size of the largest possible cluster, 1 or more. An assumption.
    """
    stakes = _SHARES / largest
    factors = 1 - np.outer(np.asarray(sizes, dtype=np.float64), stakes)
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(factors, 0.0)).sum(axis=0) + stakes * expected
    return _log_of_sum(logs) - math.log(len(_SHARES))


def _log_of_sum(logs: NDArray[np.float64]) -> float:
    """Return the natural logarithm of the sum of numbers, given their logarithms."""
    most = float(logs.max())
    return most + math.log(float(np.exp(logs - most).sum())) if most > -math.inf else most
