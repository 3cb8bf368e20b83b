"""`chatload compare`: how often it calls equal things different, and how often it finds what is different.

Each run has six figures, as in `FAMILY`: three rates of 2000 sessions (2 %), two durations and a margin. Every figure
has a lognormal factor for its run; factors of different metrics are independent. Where there is drift, the factors of
successive runs are a first-order autoregression.

Rare drops are simulated apart: the only noise of a run is that of independent drops, binomial by session or Poisson by
chat-hour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatload.features.compare.compute import (
    BETTER,
    DROPPED,
    DROPPED_HOURLY,
    EQUIVALENT,
    FAMILY,
    WORSE,
    ComparedMetric,
    DropsJudged,
    FigureKind,
    RunFigures,
    Tolerance,
    compare_runs,
    least_change,
)
from chatload.features.compare.power import USUAL, Rules, RunCount, RunNoise, planned, schedule
from chatload.features.compare.view import change_text
from simulations.frame import SimulatedTable, share

TIMEOUT_S = 45.0
LATENCY = FAMILY[3]
_SESSIONS, _RATE = 2000, 0.02
#: Logarithm of a regression of 50 %; and the tolerance of as much.
_HALF_AGAIN, _WIDE = float(np.log(1.5)), Tolerance(0.5, 0.1)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    letters: the order of the runs; empty: drawn by `schedule` for `runs` runs a side. noise: standard deviation of the
    logarithm of a BASE run's factor. new_noise: of a NEW run's, as a multiple. drift: correlation of successive runs.
    trend: how much the logarithm grows from run to run, as a multiple of the noise.
    """

    name: str
    letters: str = ""
    runs: int = 0
    noise: float = 0.15
    new_noise: float = 1.0
    drift: float = 0.0
    trend: float = 0.0


@dataclass
class Tally:
    """How often something was said of a case: of equal things, and of a latency that is 50 % higher or as much higher
    as is predicted to be found in 80 % of all cases."""

    false_alarms: int = 0
    half_again_found: int = 0
    predicted_found: int = 0
    false_equivalences: int = 0
    equivalences: int = 0


CASES = (
    *(Case("pairs", runs=runs, drift=drift) for runs in (4, 5, 10) for drift in (0.0, 0.5, 0.9)),
    *(Case("BBNNNBBN", "BBNNNBBN", drift=drift) for drift in (0.5, 0.9)),
    Case("pairs", runs=8, trend=0.3),
    Case("BN eight times", "BN" * 8, trend=0.3),
    *(Case("blocked, --allow-blocked", "B" * 5 + "N" * 5, drift=drift) for drift in (0.0, 0.5, 0.9)),
    *(
        Case("alternating", "BNBBBNBBNBBBNB", noise=noise, new_noise=ratio)
        for noise, ratio in ((0.15, 1.0), (0.05, 3.0), (0.15, 1 / 3))
    ),
)


def factors(case: Case, letters: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Return the logarithm of the factor of each run (columns) on each metric (rows).

    Metrics that are averaged as they are have a mean factor of 1, durations a mean logarithm of 0: what `compare` takes
    for equal.
    """
    steps = random.normal(size=(len(FAMILY), len(letters)))
    for at in range(1, len(letters)):
        steps[:, at] = case.drift * steps[:, at - 1] + np.sqrt(1 - case.drift**2) * steps[:, at]
    sd = np.where(np.array(list(letters)) == "N", case.noise * case.new_noise, case.noise)
    is_ratio = np.array([metric.kind.is_ratio for metric in FAMILY])[:, None]
    steps += case.trend * np.arange(len(letters))
    return np.asarray(steps * sd - np.where(is_ratio, 0.0, sd**2 / 2))


def figure(metric: ComparedMetric, factor: float, random: np.random.Generator) -> float:
    """Return the figure of a run."""
    if metric.kind is FigureKind.RATE:
        return float(random.binomial(_SESSIONS, min(_RATE * np.exp(factor), 1.0))) / _SESSIONS
    if metric.kind is FigureKind.MARGIN:
        return TIMEOUT_S - 25 * float(np.exp(factor))
    return float(np.exp(factor))


def sides(runs: Sequence[RunFigures], letters: str, shift: float) -> tuple[list[RunFigures], list[RunFigures]]:
    """Return BASE and NEW. shift: added to the logarithm of the latency of NEW."""
    split: tuple[list[RunFigures], list[RunFigures]] = [], []
    for run, letter in zip(runs, letters, strict=True):
        figures = dict(run.figures)
        if letter == "N":
            figures[LATENCY] *= float(np.exp(shift))
        split[letter == "N"].append(
            RunFigures(run.run, figures, TIMEOUT_S, started_at=run.started_at, trials=run.trials)
        )
    return split


def words_of(
    runs: Sequence[RunFigures], letters: str, shift: float, tolerance: Tolerance
) -> tuple[str | None, str | None]:
    """Return what is said of the family and of the latency. shift: as in `sides`."""
    comparison = compare_runs(*sides(runs, letters, shift), tolerance, allow_blocked=True)
    return comparison.word, next(row.word for row in comparison.rows if row.metric == LATENCY)


def predicted(case: Case, letters: str) -> float:
    """Return the logarithm of the smallest latency that should be found in 80 % of all cases, without drift."""
    noise = RunNoise(LATENCY, case.noise, case.noise * case.new_noise, 0.0)
    count = planned(case.runs) if case.runs else RunCount(letters.count("B"), letters.count("N"))
    found = Rules(Tolerance(), TIMEOUT_S).smallest_found(noise, count, USUAL)
    return float(np.log1p(found)) if found is not None else 0.0


def tally(case: Case, trials: int, seed: int) -> Tally:
    """Compare the runs of a case `trials` times."""
    counted = Tally()
    for trial in range(trials):
        random = np.random.default_rng((seed, trial))
        letters = case.letters or schedule(case.runs, random)
        made = factors(case, letters, random)
        rates = dict.fromkeys((metric for metric in FAMILY if metric.kind is FigureKind.RATE), _SESSIONS)
        runs = [
            RunFigures(
                f"run{at}",
                {metric: figure(metric, made[row, at], random) for row, metric in enumerate(FAMILY)},
                started_at=float(at),
                trials=rates,
            )
            for at in range(len(letters))
        ]

        counted.false_alarms += words_of(runs, letters, 0.0, Tolerance())[0] in (WORSE, BETTER)
        counted.half_again_found += words_of(runs, letters, _HALF_AGAIN, Tolerance())[1] == WORSE
        counted.predicted_found += words_of(runs, letters, predicted(case, letters), Tolerance())[1] == WORSE
        counted.false_equivalences += words_of(runs, letters, _HALF_AGAIN, _WIDE)[1] == EQUIVALENT
        counted.equivalences += words_of(runs, letters, 0.0, _WIDE)[1] == EQUIVALENT
    return counted


@dataclass(frozen=True)
class RareDrops:
    """A row of the table about drops. rate: of BASE. trials: sessions or chat-hours of a run. runs: per side. metric:
    DROPPED, or DROPPED_HOURLY."""

    rate: float
    trials: int
    runs: int
    metric: ComparedMetric = DROPPED

    @property
    def is_hourly(self) -> bool:
        return self.metric == DROPPED_HOURLY

    @property
    def found(self) -> float:
        """The smallest rise that should be found in 80 % of all cases."""
        noise = RunNoise(self.metric, 0.0, 0.0, self.rate, self.trials)
        return Rules(Tolerance(), TIMEOUT_S, metrics=1).smallest_found(noise, planned(self.runs), USUAL) or 0.0


RARE_DROPS = (
    RareDrops(0.0, 200, 5),
    RareDrops(0.001, 2000, 5),
    RareDrops(0.0, 2000, 8),
    RareDrops(0.001, 10000, 5),
    RareDrops(0.0, 20, 5, DROPPED_HOURLY),
    RareDrops(0.0, 200, 8, DROPPED_HOURLY),
    RareDrops(0.01, 200, 5, DROPPED_HOURLY),
    RareDrops(0.1, 200, 5, DROPPED_HOURLY),
    RareDrops(0.01, 2000, 5, DROPPED_HOURLY),
)


def tally_drops(case: RareDrops, trials: int, seed: int) -> Tally:
    """Compare runs that differ in nothing, in the predicted rise of drops, or in a rise by exactly the tolerance."""
    counted = Tally()
    at_limit = float(least_change(case.metric, Tolerance(), TIMEOUT_S, case.rate))
    for trial in range(trials):
        random = np.random.default_rng((seed, trial))
        letters = schedule(case.runs, random)
        counted.false_alarms += word_of_drops(case, letters, 0.0, random) in (WORSE, BETTER)
        counted.predicted_found += word_of_drops(case, letters, case.found, random) == WORSE
        counted.false_equivalences += word_of_drops(case, letters, at_limit, random) == EQUIVALENT
        counted.equivalences += word_of_drops(case, letters, 0.0, random) == EQUIVALENT
    return counted


def word_of_drops(case: RareDrops, letters: str, rise: float, random: np.random.Generator) -> str | None:
    """Return what is said of drops if the rate of NEW is higher by `rise`."""
    split: tuple[list[RunFigures], list[RunFigures]] = [], []
    for at, letter in enumerate(letters):
        rate = case.rate + (rise if letter == "N" else 0.0)
        drops = random.poisson(rate * case.trials) if case.is_hourly else random.binomial(case.trials, rate)
        figures = {case.metric: float(drops) / case.trials}
        run = RunFigures(f"run{at}", figures, TIMEOUT_S, started_at=float(at), trials={case.metric: case.trials})
        split[letter == "N"].append(run)
    judged = DropsJudged.PER_CHAT_HOUR if case.is_hourly else DropsJudged.PER_SESSION
    return next(row.word for row in compare_runs(*split, drops=judged).rows if row.metric == case.metric)


def table(
    trials: int, seed: int, cases: Sequence[Case] = CASES, drops: Sequence[RareDrops] = RARE_DROPS
) -> SimulatedTable:
    """Return the rates of all cases."""
    header = (
        "order", "runs", "noise", "drift", "false worse or better", "+50 % found",
        "found, predicted 80 %", "false equivalent", "equivalent",
    )  # fmt: skip
    rows = []
    for case in cases:
        counted = tally(case, trials, seed)
        letters = case.letters or "BN" * case.runs
        size = f"{100 * np.expm1(predicted(case, letters)):+.0f} %"
        rows.append(
            (
                case.name,
                f"{letters.count('B')} + {letters.count('N')}",
                f"{100 * case.noise:.0f} and {100 * case.noise * case.new_noise:.0f} %",
                f"trend {case.trend:g}" if case.trend else f"{case.drift:g}",
                share(counted.false_alarms, trials),
                share(counted.half_again_found, trials),
                f"{size}: {share(counted.predicted_found, trials)}",
                share(counted.false_equivalences, trials),
                share(counted.equivalences, trials),
            )
        )
    for rare in drops:
        counted = tally_drops(rare, trials, seed)
        rows.append(
            (
                f"pairs; drops of {rare.trials} {'chat-hours' if rare.is_hourly else 'sessions'} a run",
                f"{rare.runs} + {rare.runs}",
                f"Poisson at {rare.rate:g} /h" if rare.is_hourly else f"binomial at {100 * rare.rate:g} %",
                "0",
                share(counted.false_alarms, trials),
                "",
                f"{change_text(rare.metric, rare.found)}: {share(counted.predicted_found, trials)}",
                share(counted.false_equivalences, trials),
                share(counted.equivalences, trials),
            )
        )
    return SimulatedTable(header, rows, trials, seed)
