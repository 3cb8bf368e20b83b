"""The Universal Scalability Law, fitted to the loads of a capacity search, and when its peak may be named.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

Source: N. J. Gunther, "Guerrilla Capacity Planning", Springer 2007, ch. 4 to 6; "A General Theory of
Computational Scalability Based on Rational Functions", arXiv:0808.1431 (2008). sigma: contention (waiting for
shared resources); kappa: coherency (cost of agreement). The throughput is greatest at N* = sqrt((1 - sigma) / kappa).

Here N is the sessions open, and X the successful requests per second of all of them. Sessions refresh on a schedule,
not as fast as they can: until the server is saturated, X is N times the rate of one session and says nothing about the
server. So only saturated loads are fitted.

The law is linear in N / X = a + b (N - 1) + d N (N - 1), with a = 1 / lambda, b = sigma / lambda, d = kappa / lambda.
It is fitted by least squares of relative errors. What disturbs the server during a load is shared by all its windows,
so each load is one observation, and the intervals have as many degrees of freedom as there are loads more than
parameters. sigma = b / a, kappa = d / a and N*^2 = (a - b) / d are ratios of linear combinations, whose exact interval
is Fieller's (E. C. Fieller, "Some problems in interval estimation", J. Royal Statistical Society B 16 (1954)). It has
no upper end if the denominator is not proven above 0. A peak is named only if its whole interval lies between the
lowest and the highest load that were fitted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

#: The least number of saturated loads for a fit: it has three parameters, and needs one more load for its error.
LEAST_LOADS = 4
#: A load is saturated if its sessions make at most this share of the requests that they are scheduled to make.
SATURATED = 0.9
_CONFIDENCE = 0.95
_GRID = 60
#: Rounds of the fit: the weights follow from the fit before.
_ROUNDS = 5

Floats = NDArray[np.float64]
#: lambda, sigma, kappa
Parameters = tuple[float, float, float]
#: Both ends; the upper one is infinite if the data prove none.
Interval = tuple[float, float]
#: Rows of a curve: load, fit, lower and upper end.
Band = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Usl:
    """A fit. Each interval has 95 % confidence. A parameter is infinite if the fit gives it no value.

    points: load, and mean requests per second measured, of the saturated loads. curve: load, fitted requests per
    second, lower and upper end of the band. peak: the load with the greatest throughput; None if it is not named,
    for the reason `why`. peak_interval: of the fit, named or not; None if the fit has no peak.
    """

    parameters: Parameters
    intervals: tuple[Interval, ...]
    points: tuple[tuple[int, float], ...]
    curve: Band
    peak: float | None
    peak_interval: Interval | None
    why: str


def throughput(load: float | Floats, parameters: Parameters) -> float | Floats:
    """Return the requests per second at a load (open sessions)."""
    scale, sigma, kappa = parameters
    return scale * load / (1 + sigma * (load - 1) + kappa * load * (load - 1))


def peak_of(parameters: Parameters) -> float:
    """Return the load with the greatest throughput; infinite if throughput never falls."""
    _, sigma, kappa = parameters
    return math.sqrt(max(0.0, 1 - sigma) / kappa) if kappa > 0 else math.inf


def saturated(samples: Mapping[int, Sequence[float]], per_session: float | None) -> dict[int, float]:
    """Return the saturated loads with their mean throughput, in order.

    Args:
        samples: load -> requests per second, in windows or steps.
        per_session: requests per second of one session as scheduled; None if sessions send as fast as they can.
    """
    means = {load: float(np.mean(rates)) for load, rates in sorted(samples.items()) if len(rates)}
    return {
        load: rate
        for load, rate in means.items()
        if rate > 0 and (per_session is None or rate <= SATURATED * load * per_session)
    }


def fit(samples: Mapping[int, Sequence[float]], per_session: float | None) -> Usl | None:
    """Fit the law to the saturated loads. Arguments as of `saturated`; None if there are fewer than LEAST_LOADS."""
    measured = saturated(samples, per_session)
    if len(measured) < LEAST_LOADS:
        return None
    loads, rates = np.array(list(measured), dtype=np.float64), np.array(list(measured.values()))
    of_loads = _terms(loads)
    values = loads / rates
    fitted = values
    for _ in range(_ROUNDS):
        weighted = of_loads / fitted[:, np.newaxis]
        solved = np.linalg.lstsq(weighted, values / fitted, rcond=None)[0]
        # A fit that is not above 0 everywhere cannot weight: it keeps the weights before.
        fitted = np.where(of_loads @ solved > 0, of_loads @ solved, fitted)
    weighted = of_loads / fitted[:, np.newaxis]
    free = loads.size - 3
    error = values / fitted - weighted @ solved
    covariance = np.linalg.pinv(weighted.T @ weighted) * float(error @ error) / free
    t = float(stdtrit(free, (1 + _CONFIDENCE) / 2))
    a, b, d = np.eye(3)
    inverse = _ratio(a, np.zeros(3), solved, covariance, t)
    intervals = (
        (1 / inverse[1] if inverse[1] > 0 else 0.0, 1 / inverse[0] if inverse[0] > 0 else math.inf),
        _ratio(b, a, solved, covariance, t),
        _ratio(d, a, solved, covariance, t),
    )
    scale = 1 / solved[0] if solved[0] > 0 else math.inf
    parameters = (scale, _above_zero(solved[1], scale), _above_zero(solved[2], scale))
    squared = _ratio(a - b, d, solved, covariance, t)
    peaks = None if solved[2] <= 0 else (math.sqrt(squared[0]), math.sqrt(squared[1]))
    why = _unnamed(loads[0], loads[-1], peaks)
    peak = math.sqrt(max(0.0, solved[0] - solved[1]) / solved[2]) if not why else None
    points = tuple(zip(measured, rates.tolist(), strict=True))
    return Usl(parameters, intervals, points, _curve(loads, solved, covariance, t), peak, peaks, why)


def _above_zero(coefficient: float, scale: float) -> float:
    """Return sigma or kappa from its coefficient, at least 0; infinite if the fit bounds neither it nor the scale."""
    return float(coefficient * scale) if coefficient > 0 else 0.0


def _terms(loads: Floats) -> Floats:
    return np.column_stack([np.ones_like(loads), loads - 1, loads * (loads - 1)])


def _ratio(above: Floats, below: Floats, solved: Floats, covariance: Floats, t: float) -> Interval:
    """Return Fieller's interval of (above . solved) / (below . solved), cut at 0; a `below` of zeros stands for 1."""
    if not below.any():
        value, half = float(above @ solved), t * math.sqrt(float(above @ covariance @ above))
        return max(0.0, value - half), max(0.0, value + half)
    x, y = float(above @ solved), float(below @ solved)
    xx, xy, yy = (float(m @ covariance @ n) * t**2 for m, n in ((above, above), (above, below), (below, below)))
    # The ratios r >= 0 with (x - r y)^2 <= t^2 var(x - r y): leading r^2 - 2 middle r + last <= 0.
    leading, middle, last = y * y - yy, x * y - xy, x * x - xx
    root = math.sqrt(max(0.0, middle**2 - leading * last))
    low = last / (middle + root) if last > 0 and middle + root > 0 else 0.0
    # If the denominator is not proven above 0, any ratio from the lower end on is possible.
    return low, max(0.0, (middle + root) / leading) if leading > 0 and y > 0 else math.inf


def _curve(loads: Floats, solved: Floats, covariance: Floats, t: float) -> Band:
    grid = np.linspace(loads[0], 1.1 * loads[-1], _GRID)
    terms = _terms(grid)
    values = terms @ solved
    half = t * np.sqrt(np.einsum("ij,jk,ik->i", terms, covariance, terms))
    ends = np.column_stack([values, values + half, values - half])
    rates = np.where(ends > 0, grid[:, np.newaxis] / np.where(ends > 0, ends, 1.0), np.inf)
    return tuple((load, *row) for load, row in zip(grid.tolist(), rates.tolist(), strict=True))


def _unnamed(first: float, last: float, peaks: Interval | None) -> str:
    """Return why no peak is named; "" if it is. first, last: the lowest and highest load fitted."""
    if peaks is None:
        return "no peak named: the measured throughput does not fall"
    if first <= peaks[0] and peaks[1] < last:
        return ""
    where = f"from {peaks[0]:.0f} to {peaks[1]:.0f} sessions"
    if not math.isfinite(peaks[1]):
        where = f"above {peaks[0]:.0f} sessions" if peaks[0] >= 1 else ""
    return (
        f"no peak named: by the fit it may lie anywhere {where}".rstrip()
        + f", and the saturated loads go from {first:.0f} to {last:.0f}"
    )
