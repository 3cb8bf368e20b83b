"""Percentile thresholds on requests that depend on each other: how often their judgement is wrong.

The logarithm of a request's latency is level + noise, both normal. All requests of a second have the same level, which
follows a stationary AR(1) process and has 90 % of the variance. Independent requests have noise only. The windows are
those of a run file: 1 s, and 10 s after the first five minutes.
"""

from math import exp, log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from chatload.run.books import Books
from chatload.run.windows import COARSE_S, FINE_FOR_S
from chatload.thresholds.judgement import Judgement, judge
from chatload.thresholds.metrics import Facts, parse
from chatload.thresholds.over_time import OverTime, WindowCounts
from chatload.vocabulary import ThresholdResult
from simulations.frame import SimulatedTable, share

_MEDIAN_S, _LIMIT_S = 0.1, 0.3
_OF_LEVEL = 0.9
#: Requests of each run.
REQUESTS = 100_000
#: Percentiles, correlation times (seconds; 0: independent requests) and lengths of the runs (seconds).
QUANTILES, TAUS_S, LENGTHS_S = (0.95, 0.99), (0, 1, 20, 60), (1000, 10_000)


class Kind(NamedTuple):
    """A kind of run. q: the percentile, 0 to 1. tau_s: correlation time. length_s: of the run.

    times: of what the threshold allows, the true share of requests at or above its limit.
    """

    q: float
    tau_s: int
    length_s: int
    times: float = 1.0


class Shares(NamedTuple):
    """Of some runs, how many pass and fail; worth: the median effective sample size; how many pass and fail if requests
    count as independent."""

    passed: int
    failed: int
    worth: float
    naive_passed: int
    naive_failed: int


def simulate(kind: Kind, seed: tuple[int, ...]) -> tuple[Judgement, Judgement]:
    """Return the judgement of a simulated run, and the one in which its requests count as independent."""
    random = np.random.default_rng(seed)
    each = REQUESTS // kind.length_s
    # With this standard deviation of the logarithm, the wanted share is at or above the limit.
    spread = log(_LIMIT_S / _MEDIAN_S) / float(-ndtri((1 - kind.q) * kind.times))
    of_level = _OF_LEVEL if kind.tau_s else 0.0
    level = _level(kind, random) * sqrt(of_level)
    noise = random.standard_normal((kind.length_s, each)) * sqrt(1 - of_level)
    latencies = _MEDIAN_S * np.exp(spread * (level[:, None] + noise))
    threshold, books = parse(f"GetMessages.latency.p{round(100 * kind.q)} < {_LIMIT_S:g}s"), Books()
    books.latency["GetMessages"].observed.extend(latencies.ravel())
    counts = [(latencies >= at).sum(axis=1) for at in (_LIMIT_S, float(np.quantile(latencies, kind.q)))]
    starts = np.append(np.arange(FINE_FOR_S), np.arange(FINE_FOR_S, kind.length_s, COARSE_S)).astype(int)
    lengths = np.diff(np.append(starts, kind.length_s))
    by_window = [np.add.reduceat(count, starts).astype(np.float64) for count in counts]
    windows = WindowCounts(starts + lengths / 2, *by_window, samples=lengths * float(each))
    over_time = OverTime(counts={threshold: windows})
    return judge(threshold, Facts(books), over_time=over_time), judge(threshold, Facts(books))


def _level(kind: Kind, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the level of each second: standard normal, correlated by exp(-lag / tau_s)."""
    steps: NDArray[np.float64] = random.standard_normal(kind.length_s)
    if kind.tau_s:
        stays = exp(-1 / kind.tau_s)
        steps[1:] *= sqrt(1 - stays**2)
        steps = lfilter([1.0], [1.0, -stays], steps)
    return steps


def shares(kind: Kind, trials: int, seed: int) -> Shares:
    """Return how runs of a kind are judged."""
    judged, naive = zip(*(simulate(kind, (seed, trial)) for trial in range(trials)), strict=True)
    worth = float(np.median([judgement.worth for judgement in judged]))
    counts = [
        sum(one.result == result for one in judgements)
        for judgements in (judged, naive)
        for result in (ThresholdResult.PASS, ThresholdResult.FAIL)
    ]
    return Shares(counts[0], counts[1], worth, *counts[2:])


def table(trials: int, seed: int) -> SimulatedTable:
    """Return false passes and false fails of runs at the limit, and how often others are decided rightly."""
    rows = []
    for q in QUANTILES:
        for length_s in LENGTHS_S:
            for tau_s in TAUS_S:
                kind = Kind(q, tau_s, length_s)
                at = shares(kind, trials, seed)
                twice, half = (shares(kind._replace(times=times), trials, seed) for times in (2.0, 0.5))
                rows.append(
                    (
                        *(f"p{100 * q:g}", f"{length_s} s", f"AR(1), {tau_s} s" if tau_s else "independent"),
                        *(f"{at.worth:.0f}", share(at.passed, trials), share(at.failed, trials)),
                        *(share(twice.failed, trials), share(half.passed, trials)),
                        f"{100 * at.naive_passed / trials:.0f} %, {100 * at.naive_failed / trials:.0f} %",
                    )
                )
    header = (
        *("threshold", "run", "requests", "worth", "false pass", "false fail", "fails at 2 x", "passes at 1/2 x"),
        "false pass, fail if taken as independent",
    )
    return SimulatedTable(header, rows, trials, seed)
