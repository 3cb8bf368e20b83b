"""How often `chatload history` finds a change where there is none, and how soon it finds one."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from chatload.features.history.compute import MetricSeries, make_search
from chatload.stats.rates import CONFIDENCE
from chatload.thresholds.metrics import metric_named
from simulations.frame import SimulatedTable, share

#: The number of metrics that a history examines by default, and the nights of one trial.
METRICS, NIGHTS = 8, 50
#: A step, in standard deviations of the noise.
STEP = 3.0
_AFTER = (5, 10)
#: The index of the first run after a change may be wrong by this much.
_NEAR = 2

_METRIC = metric_named("latency.p99")
Figures = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Figures]


def normal(random: np.random.Generator, n: int) -> Figures:
    return random.normal(size=(METRICS, n))


def far_off(random: np.random.Generator, n: int) -> Figures:
    """One run in ten is far off in all metrics, as if the machine had been busy."""
    return random.normal(size=(METRICS, n)) + np.where(random.random(n) < 0.1, 16.0, 0.0)


def counts(random: np.random.Generator, n: int) -> Figures:
    """Drops of runs that have one on average: many figures are equal."""
    return random.poisson(1.0, (METRICS, n)).astype(float)


def alike(phi: float) -> Noise:
    """Return noise with a standard deviation of 1, in which neighbouring runs correlate by phi: AR(1)."""

    def made(random: np.random.Generator, n: int) -> Figures:
        noise: Figures = lfilter([1], [1, -phi], random.normal(size=(METRICS, n + 100)))[:, 100:]
        return noise * (1 - phi**2) ** 0.5

    return made


class Case(NamedTuple):
    """examined: number of metrics that are searched, of METRICS. before: number of runs before the step."""

    examined: int
    name: str
    noise: Noise
    before: int


CASES = (
    Case(METRICS, "independent", normal, 10),
    Case(METRICS, "independent", normal, 20),
    Case(METRICS, "independent", normal, 40),
    Case(METRICS, "one run in ten far off", far_off, 20),
    Case(METRICS, "counts with a mean of 1", counts, 20),
    Case(METRICS, "neighbours correlate by 0.3", alike(0.3), 20),
    Case(METRICS, "neighbours correlate by 0.5", alike(0.5), 20),
    Case(METRICS, "neighbours correlate by 0.7", alike(0.7), 20),
    Case(4, "neighbours correlate by 0.7", alike(0.7), 20),
    Case(1, "independent", normal, 20),
    Case(1, "neighbours correlate by 0.3", alike(0.3), 20),
    Case(1, "neighbours correlate by 0.5", alike(0.5), 20),
    Case(1, "neighbours correlate by 0.7", alike(0.7), 20),
)


def changes(figures: Figures, examined: int, confidence: float = CONFIDENCE) -> Iterator[tuple[int, ...]]:
    """Yield the changes of the first `examined` metrics (rows) in a history of runs (columns)."""
    at = tuple(range(figures.shape[1]))
    series = [MetricSeries(_METRIC, (), at, row, row, row) for row in figures]
    search = make_search(series[:examined], series[examined:], 1 - confidence)
    return map(search.changes, series[:examined])


def table(trials: int, seed: int) -> SimulatedTable:
    """Measure how often a history without a change shows one, and how often a step in one metric is found."""
    header = (
        "metrics",
        "noise between runs",
        "runs before",
        "false change",
        *(f"step found after {n} runs" for n in _AFTER),
    )
    rows = []
    for case in CASES:
        random = np.random.default_rng([seed, len(rows)])
        false = 0
        found = dict.fromkeys(_AFTER, 0)
        for _ in range(trials):
            figures = case.noise(random, case.before + _AFTER[-1])
            false += any(changes(figures, case.examined))
            figures[0, case.before :] += STEP * random.choice([-1, 1])
            for after in _AFTER:
                cuts = next(iter(changes(figures[:, : case.before + after], case.examined)))
                found[after] += any(abs(cut - case.before) <= _NEAR for cut in cuts)
        shares = (share(hits, trials) for hits in (false, *found.values()))
        rows.append((str(case.examined), case.name, str(case.before), *shares))
    return SimulatedTable(header, rows, trials, seed)


def nightly(trials: int, seed: int, confidence: float) -> float:
    """Return how often any history of NIGHTS nights in a row, after 20 runs, shows a change though there is none.

    A trial takes half a second, so the table does not have it.
    """
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(trials):
        figures = normal(random, 20 + NIGHTS)
        hits += any(any(changes(figures[:, : 20 + night], METRICS, confidence)) for night in range(1, NIGHTS + 1))
    return hits / trials
