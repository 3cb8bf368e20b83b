"""Percentiles and rates of requests that depend on each other: how often their judgement is wrong.

Three processes. *independent*: the logarithm of a latency is normal. *AR(1)*: the requests of a second share a level,
which follows a stationary AR(1) process and has 90 % of the variance of the logarithm. *incidents*: they begin at
random, have exponential lengths, and all requests in them are slow; the others are independent and fast. The windows
are those of a run file: 1 s, and 10 s after the first five minutes. For a rate, slow requests are requests
without an answer.
"""

from math import exp, log, log1p, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from chatload.run.books import Books
from chatload.run.windows import COARSE_S, FINE_FOR_S
from chatload.thresholds.judgement import Judgement, judge
from chatload.thresholds.metrics import Facts, parse
from chatload.thresholds.over_time import OverTime, SampleWindows
from chatload.vocabulary import Outcome, ThresholdResult
from simulations.frame import SimulatedTable, share

_MEDIAN_S, _LIMIT_S = 0.1, 0.3
_OF_LEVEL = 0.9
#: Requests of each run.
REQUESTS = 100_000
#: Percentiles, and lengths of the runs (seconds).
QUANTILES, LENGTHS_S = (0.95, 0.99), (1000, 10_000)
#: Steps of a second in which an incident may begin or end.
_STEPS = 10


class Process(NamedTuple):
    """How requests depend on each other. time_s: correlation time, or mean length of an incident (seconds)."""

    name: str
    time_s: int = 0

    def __str__(self) -> str:
        return f"{self.name}, {self.time_s} s" if self.time_s else self.name


INDEPENDENT = Process("independent")
PROCESSES = (
    INDEPENDENT,
    *(Process("AR(1)", tau_s) for tau_s in (1, 20, 60)),
    *(Process("incidents", s) for s in (2, 20)),
)
#: The processes of the rows about a rate.
OF_RATES = (INDEPENDENT, Process("AR(1)", 20), Process("incidents", 2), Process("incidents", 20))


class Kind(NamedTuple):
    """A kind of run. q: the percentile, 0 to 1. length_s: of the run. of_rate: the threshold is about the rate of
    timeouts, 1 - q, in place of the percentile of the latency.

    times: of what the threshold allows, the true share of requests at or above its limit.
    """

    q: float
    process: Process
    length_s: int
    times: float = 1.0
    of_rate: bool = False

    @property
    def threshold(self) -> str:
        if self.of_rate:
            return f"GetMessages.timeout.rate < {round(100 * (1 - self.q), 9):g}%"
        return f"GetMessages.latency.p{round(100 * self.q)} < {_LIMIT_S:g}s"

    @property
    def slow(self) -> float:
        """The true share of requests at or above the limit."""
        return (1 - self.q) * self.times


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
    latencies = _latencies(kind, np.random.default_rng(seed))
    threshold, books = parse(kind.threshold), Books()
    hits = (latencies >= _LIMIT_S).sum(axis=1)
    above = np.zeros_like(hits)
    if kind.of_rate:
        timeouts = int(hits.sum())
        books.outcomes["GetMessages"].update({Outcome.TIMEOUT: timeouts, Outcome.FINE: latencies.size - timeouts})
    else:
        books.latency["GetMessages"].observed.extend(latencies.ravel())
        above = (latencies >= float(np.quantile(latencies, kind.q))).sum(axis=1)
    starts = np.append(np.arange(FINE_FOR_S), np.arange(FINE_FOR_S, kind.length_s, COARSE_S)).astype(int)
    lengths = np.diff(np.append(starts, kind.length_s))
    by_window = [np.add.reduceat(count, starts).astype(np.float64) for count in (hits, above)]
    windows = SampleWindows(starts + lengths / 2, *by_window, samples=lengths * float(latencies.shape[1]))
    over_time = OverTime(counts={threshold: windows})
    return judge(threshold, Facts(books), over_time=over_time), judge(threshold, Facts(books))


def _latencies(kind: Kind, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the latencies (seconds) of each second, as rows."""
    noise = random.standard_normal((kind.length_s, REQUESTS // kind.length_s))
    if kind.process.name == "incidents":
        in_incident = random.random(noise.shape) < _slow_time(kind, random)[:, None]
        return np.where(in_incident, 2 * _LIMIT_S, _MEDIAN_S * np.exp(0.2 * noise))
    # With this standard deviation of the logarithm, the wanted share is at or above the limit.
    spread = log(_LIMIT_S / _MEDIAN_S) / float(-ndtri(kind.slow))
    of_level = _OF_LEVEL if kind.process.time_s else 0.0
    level = _level(kind, random)[:, None] * sqrt(of_level) + noise * sqrt(1 - of_level)
    return np.asarray(_MEDIAN_S * np.exp(spread * level))


def _level(kind: Kind, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the level of each second: standard normal, correlated by exp(-lag / time_s)."""
    steps: NDArray[np.float64] = random.standard_normal(kind.length_s)
    if kind.process.time_s:
        stays = exp(-1 / kind.process.time_s)
        steps[1:] *= sqrt(1 - stays**2)
        steps = lfilter([1.0], [1.0, -stays], steps)
    return steps


def _slow_time(kind: Kind, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the part of each second that is in an incident."""
    mean_s, before_s = kind.process.time_s, 10 * kind.process.time_s
    # The number of incidents at an instant is Poisson, with the mean rate * mean_s (M/G/infinity).
    rate = -log1p(-kind.slow) / mean_s
    count = random.poisson(rate * (kind.length_s + before_s))
    begins = random.uniform(-before_s, kind.length_s, count)
    ends = begins + random.exponential(mean_s, count)
    slow = np.zeros(kind.length_s * _STEPS, dtype=np.bool_)
    for begin, end in zip(np.rint(begins * _STEPS).astype(int), np.rint(ends * _STEPS).astype(int), strict=True):
        slow[max(begin, 0) : max(end, 0)] = True
    return slow.reshape(-1, _STEPS).mean(axis=1)


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
    kinds = [Kind(q, process, length_s) for q in QUANTILES for length_s in LENGTHS_S for process in PROCESSES]
    kinds += [Kind(0.99, process, length_s, of_rate=True) for length_s in LENGTHS_S for process in OF_RATES]
    for kind in kinds:
        at = shares(kind, trials, seed)
        twice, half = (shares(kind._replace(times=times), trials, seed) for times in (2.0, 0.5))
        rows.append(
            (
                "timeouts < 1 %" if kind.of_rate else f"p{100 * kind.q:g}",
                *(f"{kind.length_s} s", str(kind.process)),
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
