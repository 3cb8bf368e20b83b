"""How often `chatload history` finds a change where there is none, and how soon it finds one."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from chatload.features.history.compute import ALPHA
from chatload.stats.changes import find_changes
from simulations.frame import SimulatedTable, share

#: The number of metrics that a history examines by default, and the nights of one trial.
METRICS, NIGHTS = 8, 50
#: A step, in standard deviations of the noise.
STEP = 3.0
_AFTER = (5, 10)
#: The index of the first run after a change may be wrong by this much.
_NEAR = 2

Figures = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Figures]


def normal(random: np.random.Generator, n: int) -> Figures:
    return random.normal(size=(METRICS, n))


def heavy(random: np.random.Generator, n: int) -> Figures:
    """Logarithms of durations; one run in ten is five times as slow in all metrics."""
    return random.normal(size=(METRICS, n)) + np.where(random.random(n) < 0.1, np.log(5) / 0.1, 0.0)


def counts(random: np.random.Generator, n: int) -> Figures:
    """Drops of runs that have one on average: many figures are equal."""
    return random.poisson(1.0, (METRICS, n)).astype(float)


def alike(phi: float) -> Noise:
    """Return noise with a standard deviation of 1, in which neighbouring runs correlate by phi: AR(1)."""

    def made(random: np.random.Generator, n: int) -> Figures:
        noise: Figures = lfilter([1], [1, -phi], random.normal(size=(METRICS, n + 100)))[:, 100:]
        return noise * (1 - phi**2) ** 0.5

    return made


NOISES: Sequence[tuple[str, Noise, int]] = (
    ("independent", normal, 10),
    ("independent", normal, 20),
    ("independent", normal, 40),
    ("one run in ten far off", heavy, 20),
    ("counts with a mean of 1", counts, 20),
    ("neighbours correlate by 0.3", alike(0.3), 20),
    ("neighbours correlate by 0.5", alike(0.5), 20),
    ("neighbours correlate by 0.7", alike(0.7), 20),
)


def any_change(figures: Figures) -> bool:
    """Return whether a history of these figures (metrics x runs) has a change in any metric."""
    return any(find_changes(row, row, ALPHA / len(figures)) for row in figures)


def is_found(figures: Figures, at: int) -> bool:
    """Return whether the first metric has a change near this run."""
    row = figures[0]
    return any(abs(cut - at) <= _NEAR for cut in find_changes(row, row, ALPHA / len(figures)))


def table(trials: int, seed: int) -> SimulatedTable:
    """Measure false changes of one history and of a year's part of nightly ones, and the power for one step.

    A row has so many runs before the step. Without a step, a trial is a history of 10 runs more, and the histories of
    each of the next NIGHTS nights.
    """
    header = (
        "noise", "runs before", "false change, one history", f"false change in any of {NIGHTS} nights",
        *(f"step of {STEP:g} found after {after} runs" for after in _AFTER),
    )  # fmt: skip
    rows = []
    for name, noise, before in NOISES:
        random = np.random.default_rng([seed, len(rows)])
        once = nightly = 0
        found = dict.fromkeys(_AFTER, 0)
        for _ in range(trials):
            figures = noise(random, before + max(NIGHTS, *_AFTER))
            once += any_change(figures[:, : before + _AFTER[-1]])
            nightly += any(any_change(figures[:, : before + night]) for night in range(1, NIGHTS + 1))
            figures[0, before:] += STEP * random.choice([-1, 1])
            for after in _AFTER:
                found[after] += is_found(figures[:, : before + after], before)
        rows.append((name, str(before), *(share(hits, trials) for hits in (once, nightly, *found.values()))))
    return SimulatedTable(header, rows, trials, seed)
