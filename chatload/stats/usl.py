"""The Universal Scalability Law, fitted to the loads of a capacity search, and when its peak may be named.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

Source: N. J. Gunther, "Guerrilla Capacity Planning", Springer 2007, ch. 4 to 6; "A General Theory of
Computational Scalability Based on Rational Functions", arXiv:0808.1431 (2008). sigma: contention (waiting for
shared resources); kappa: coherency (cost of agreement). The throughput is greatest at N* = sqrt((1 - sigma) / kappa).

Here N is the sessions open, and X the successful requests per second of all of them. Sessions refresh on a schedule,
not as fast as they can: until the server is saturated, X is N times the rate of one session and says nothing about the
server. So only the loads above saturation determine sigma and kappa; without such loads a fit may have any error. A
peak is named only if the run measured loads above it, at which the throughput certainly fell.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

#: The least number of loads for a fit: it has three parameters.
LEAST_LOADS = 4
RESAMPLES = 200
_TAIL = 0.025
_GRID = 60

Floats = NDArray[np.float64]
#: lambda, sigma, kappa
Parameters = tuple[float, float, float]


@dataclass(frozen=True)
class Usl:
    """A fit. Each interval has the middle 95 % of the bootstrap samples.

    points: load, and mean requests per second measured. curve: load, fitted requests per second, lower and upper end of
    the band. peak: the load with the greatest throughput; None if it is not named, for the reason `why`. peak_interval:
    None too in that case.
    """

    parameters: Parameters
    intervals: tuple[tuple[float, float], ...]
    points: tuple[tuple[int, float], ...]
    curve: tuple[tuple[float, float, float, float], ...]
    peak: float | None
    peak_interval: tuple[float, float] | None
    why: str


def throughput(load: float | Floats, parameters: Parameters) -> float | Floats:
    """Return the requests per second at a load (open sessions)."""
    scale, sigma, kappa = parameters
    return scale * load / (1 + sigma * (load - 1) + kappa * load * (load - 1))


def peak_of(parameters: Parameters) -> float:
    """Return the load with the greatest throughput; infinite if throughput never falls."""
    _, sigma, kappa = parameters
    return math.sqrt((1 - sigma) / kappa) if kappa > 0 else math.inf


def fit(samples: Mapping[int, Sequence[float]], seed: int = 0) -> Usl | None:
    """Fit the law by least squares of relative errors, with sigma and kappa not below 0.

    The bootstrap draws the windows of each load again, with replacement. samples: load -> the throughput in each of its
    windows (requests per second). Returns None if fewer than LEAST_LOADS loads were measured.
    """
    measured = {load: [rate for rate in rates if rate > 0] for load, rates in sorted(samples.items())}
    measured = {load: rates for load, rates in measured.items() if rates}
    if len(measured) < LEAST_LOADS:
        return None
    random = Random(seed)
    loads = np.array(list(measured), dtype=float)
    means = np.array([np.mean(rates) for rates in measured.values()])
    best = _solve(loads, means)
    drawn = [
        np.array([np.mean(random.choices(rates, k=len(rates))) for rates in measured.values()])
        for _ in range(RESAMPLES)
    ]
    fits = [_solve(loads, again, best) for again in drawn]
    intervals = tuple(_middle([found[i] for found in fits]) for i in range(3))
    grid = np.linspace(1.0, 1.1 * loads[-1], _GRID)
    band = np.quantile([throughput(grid, found) for found in fits], [_TAIL, 1 - _TAIL], axis=0)
    curve = np.column_stack([grid, throughput(grid, best), *band]).tolist()
    peak, peaks = peak_of(best), _middle([peak_of(found) for found in fits])
    why = _unnamed(loads, drawn, peak, peaks)
    points = tuple(zip(measured, means.tolist(), strict=True))
    return Usl(best, intervals, points, tuple(map(tuple, curve)), None if why else peak, None if why else peaks, why)


def _solve(loads: Floats, rates: Floats, start: Parameters | None = None) -> Parameters:
    # The solver needs parameters near 1: they are, in units of the greatest load.
    most, scale = loads[-1], float(np.max(rates / loads))
    units = np.array([scale, 1 / most, 1 / most**2])

    def errors(parameters: Floats) -> Floats:
        found = tuple(parameters * units)
        return np.asarray(throughput(loads, found) / rates - 1, dtype=float)

    first = np.array([1.0, 0.1, 0.1]) if start is None else np.maximum(np.array(start) / units, 1e-6)
    bounds = ([1e-3, 0.0, 0.0], [1e3, most, np.inf])
    solved = least_squares(errors, np.minimum(first, [1e3, most, np.inf]), bounds=bounds)
    scale, sigma, kappa = (solved.x * units).tolist()
    return scale, sigma, kappa


def _middle(values: Sequence[float]) -> tuple[float, float]:
    # Not interpolated: values may be infinite.
    ordered = sorted(values)
    last = len(ordered) - 1
    return ordered[math.floor(_TAIL * last)], ordered[math.ceil((1 - _TAIL) * last)]


def _unnamed(loads: Floats, drawn: Sequence[Floats], peak: float, peaks: tuple[float, float]) -> str:
    """Return why no peak is named; "" if it is."""
    fell = sum(bool(rates[-1] < np.max(rates[:-1])) for rates in drawn) / len(drawn)
    if fell < 1 - _TAIL:
        return "no peak named: the run did not measure past it"
    if peaks[1] < loads[-1] and peak < loads[-1]:
        return ""
    low, high = (f"{end:.0f}" if math.isfinite(end) else "any load" for end in peaks)
    return (
        f"no peak named: throughput had fallen at {loads[-1]:.0f} sessions, but the fit has it anywhere from {low} to "
        f"{high}, not only where the run measured past it"
    )
