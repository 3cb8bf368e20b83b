"""Fits of the Universal Scalability Law to throughput whose peak is known: how often the peak's interval covers it.

The noise is normal and shared by all windows of a load.
"""

from collections.abc import Callable

import numpy as np

from chatload.stats.usl import fit, peak_of, throughput
from simulations.frame import SimulatedTable, share

#: lambda, sigma, kappa: a peak at 99 sessions.
LAW = (1.0, 0.02, 0.0001)
LOADS = (10, 20, 40, 60, 80, 120, 160, 240, 320)
PEAK = peak_of(LAW)
#: Requests per second of a session that refreshes every 3 s.
_BY_CLOCK = 1 / 3


def _by_law(load: int) -> float:
    return float(throughput(load, LAW))


def _clocked(load: int) -> float:
    return load * _BY_CLOCK


def _levels_off(load: int) -> float:
    return min(load, 100) * _BY_CLOCK


def measured(law: Callable[[int], float], cv: float, seed: int) -> dict[int, list[float]]:
    """Return by load the throughput in eight windows, which share their noise. cv: of the noise."""
    random = np.random.default_rng(seed)
    shared = {load: law(load) * max(0.05, 1 + cv * random.normal()) for load in LOADS}
    return {load: [rate * (1 + 0.01 * random.normal()) for _ in range(8)] for load, rate in shared.items()}


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table of docs/statistics.md."""
    rows = []
    for cv in (0.02, 0.05, 0.1):
        fits = [fit(measured(_by_law, cv, seed + n), None) for n in range(trials)]
        peaks = [usl.peak_interval for usl in fits if usl is not None and usl.peak_interval is not None]
        covers = sum(low <= PEAK <= high for low, high in peaks)
        named = [usl.peak_interval for usl in fits if usl is not None and usl.peak is not None and usl.peak_interval]
        right = sum(low <= PEAK <= high for low, high in named)
        rows.append(
            (
                f"peak at {PEAK:.0f} sessions, noise cv {cv:g}",
                share(covers, len(peaks)),
                share(len(named), trials),
                share(right, len(named)) if named else "",
            )
        )
    for name, law in (("clocked, never saturated", _clocked), ("clocked, levels off at 100 sessions", _levels_off)):
        fits = [fit(measured(law, 0.05, seed + n), _BY_CLOCK) for n in range(trials)]
        named_peaks = sum(usl is not None and usl.peak is not None for usl in fits)
        rows.append((f"{name}, noise cv 0.05: no peak", "", share(named_peaks, trials), ""))
    header = ("throughput", "the interval covers the peak", "a peak is named", "the named interval covers the peak")
    return SimulatedTable(header, rows, trials, seed)
