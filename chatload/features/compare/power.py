"""What a comparison can find: the smallest regression, and the number of runs that a smaller one needs.

The noise between runs is measured; then the noncentral t distribution gives the chance that a regression of a size is
called worse (`chatload.stats.two_samples.chance_to_find`). Šidák's level takes the family of metrics into account.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb, floor, log, log1p, sqrt
from typing import Any

import numpy as np

from chatload.errors import UsageError
from chatload.features.compare.compute import (
    ALPHA,
    CONFIDENCE,
    ENOUGH_RUNS,
    FAMILY,
    ComparedMetric,
    Comparison,
    DropsJudged,
    FigureKind,
    RunFigures,
    Tolerance,
    family_of,
    least_change,
    scaled,
    timeout_of,
    unscaled_change,
)
from chatload.features.compare.order import ENOUGH_PAIRS
from chatload.stats.two_samples import chance_of_equivalence, chance_to_find, level_of_each

#: The shares of cases for which a smallest regression is given.
USUAL, HIGH = 0.8, 0.9
#: More runs a side than this are not proposed.
MOST_RUNS = 200
#: Noises between runs (of a duration, a share) for which a plan without earlier runs says what can be found.
ASSUMED_NOISE = (0.02, 0.05, 0.1, 0.15, 0.3)
_LATENCY = next(metric for metric in FAMILY if metric.key == "requests.GetMessages.latency_s.p99")
#: The largest change of a duration that is examined: this factor.
_LARGEST_RATIO = 100.0
#: The largest change of a rate per chat-hour that is examined.
_LARGEST_HOURLY = 3600.0
_STEPS = 40


@dataclass(frozen=True)
class RunCount:
    """How many runs are compared. paired: pair by pair."""

    base: int
    new: int
    paired: bool = False

    @property
    def level(self) -> float:
        """The highest p value of a permutation test that is not above ALPHA: each has the same p as its mirror."""
        labellings = 2**self.base if self.paired else comb(self.base + self.new, self.new)
        return 2 * floor(ALPHA * labellings / 2) / labellings


def planned(runs: int) -> RunCount:
    """Return the comparison of `runs` runs a side in the order that `chatload compare --plan` prints."""
    return RunCount(runs, runs, runs >= ENOUGH_PAIRS)


@dataclass(frozen=True)
class RunNoise:
    """How much a metric varies from run to run, on the scale of `compute.scaled`.

    base_sd, new_sd: standard deviation of a run of each side; of pairs, that of their difference / sqrt(2). mean: of
    the BASE runs. trials: sessions, requests or chat-hours of a run, if the metric is a rate of them; else 0.
    """

    metric: ComparedMetric
    base_sd: float
    new_sd: float
    mean: float
    trials: float = 0.0

    def error(self, count: RunCount, change: float) -> tuple[float, float]:
        """Return the standard error of the mean of NEW minus the mean of BASE, and its degrees of freedom.

        change: this difference. A rate has at least the noise of a count of independent events, and an error as in
        `sampling_error` also if all runs measured the same.
        """
        variance = least = divisor = 0.0
        for sd, runs, rate in ((self.base_sd, count.base, self.mean), (self.new_sd, count.new, self.mean + change)):
            part = sd**2 / runs
            if trials := self.trials * runs:
                part = max(part, self.metric.kind.counting_error(rate, trials) ** 2)
                least += self.metric.kind.cautious_error(rate, trials) ** 2
            variance += part
            divisor += part**2 / (runs - 1)
        fewest = min(count.base, count.new)
        df = variance**2 / divisor if divisor > 0 else count.base + count.new - 2.0
        # With variances that are estimated from n values each, Welch's degrees of freedom are lower by about 1/n. They
        # are never lower than those of one side.
        df = max(df * (1 - 1 / fewest), fewest - 1.0)
        return sqrt(max(variance, least)), fewest - 1.0 if count.paired else df


@dataclass(frozen=True)
class Rules:
    """What a comparison calls worse. timeout_s: of the sessions, for margins. metrics: how many are judged and vary."""

    tolerance: Tolerance
    timeout_s: float
    metrics: int = len(FAMILY)

    def least(self, noise: RunNoise) -> float:
        """Return the least regression that matters, on the scale of the noise."""
        return float(least_change(noise.metric, self.tolerance, self.timeout_s, noise.mean))

    def chance(self, noise: RunNoise, count: RunCount, change: float) -> float:
        """Return the chance that a regression of this size is called worse."""
        error, df = noise.error(count, change)
        return chance_to_find(change, error, df, self.least(noise), level_of_each(count.level, self.metrics))

    def smallest_found(self, noise: RunNoise, count: RunCount, share: float) -> float | None:
        """Return the smallest regression that is called worse in `share` of all cases (a change in the metric's unit).

        None if not even the largest possible one is.
        """
        low, high = self.least(noise), _largest(noise.metric, noise.mean, self.timeout_s)
        if self.chance(noise, count, high) < share:
            return None
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.chance(noise, count, middle) >= share else (middle, high)
        return float(unscaled_change(noise.metric, high))

    def runs_to_find(self, noise: RunNoise, share: float) -> int | None:
        """Return the runs a side that find a regression of twice the tolerance in `share` of all cases."""
        change = 2 * self.least(noise)
        return next(
            (n for n in range(ENOUGH_RUNS, MOST_RUNS + 1) if self.chance(noise, planned(n), change) >= share), None
        )

    def runs_for_equivalence(self, noise: RunNoise, share: float) -> int | None:
        """Return the runs a side that call equal things equivalent in `share` of all cases."""
        for n in range(ENOUGH_RUNS, MOST_RUNS + 1):
            error, df = noise.error(planned(n), 0.0)
            if chance_of_equivalence(error, df, self.least(noise), 2 * CONFIDENCE - 1) >= share:
                return n
        return None


def _largest(metric: ComparedMetric, mean: float, timeout_s: float) -> float:
    if metric.kind is FigureKind.RATE:
        return max(1 - mean, 0.0)
    if metric.kind is FigureKind.HOURLY:
        return _LARGEST_HOURLY
    return 2 * timeout_s if metric.kind is FigureKind.MARGIN else log(_LARGEST_RATIO)


@dataclass(frozen=True)
class Findable:
    """What runs can find of one metric; changes are for the worse, without a sign, in the metric's unit.

    noise: one standard deviation of a run, as a change. usual, high: the smallest regression that is called worse in
    USUAL and HIGH of all cases; None if none is. runs: per side, to find a regression of twice the tolerance in USUAL
    of all cases. runs_for_equivalence: per side, to call equal things equivalent in USUAL of all cases. Both are None
    if they are more than MOST_RUNS.
    """

    metric: ComparedMetric
    noise: float
    usual: float | None
    high: float | None
    runs: int | None
    runs_for_equivalence: int | None

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        return {**data, "metric": self.metric.key, "label": self.metric.label}


def findable(rules: Rules, noises: Sequence[RunNoise], count: RunCount) -> list[Findable]:
    """Return what `count` runs can find of each metric."""
    return [
        Findable(
            noise.metric,
            float(unscaled_change(noise.metric, sqrt((noise.base_sd**2 + noise.new_sd**2) / 2))),
            rules.smallest_found(noise, count, USUAL),
            rules.smallest_found(noise, count, HIGH),
            rules.runs_to_find(noise, USUAL),
            rules.runs_for_equivalence(noise, USUAL),
        )
        for noise in noises
    ]


def findable_by(comparison: Comparison) -> list[Findable]:
    """Return what the runs of a comparison can find; empty if it judges no metric."""
    base, new = comparison.base, comparison.new
    metrics = [row.metric for row in comparison.judged]
    paired = comparison.order.is_paired
    noises = []
    for metric in metrics:
        sides = [_figures(metric, side) for side in (base, new)]
        before, after = (float(side.std(ddof=1)) for side in sides)
        if paired:
            before = after = float((sides[1] - sides[0]).std(ddof=1)) / sqrt(2)
        noises.append(RunNoise(metric, before, after, float(sides[0].mean()), _trials(metric, (*base, *new))))
    return findable(_rules(comparison.tolerance, (*base, *new), noises), noises, RunCount(len(base), len(new), paired))


def _rules(tolerance: Tolerance, runs: Sequence[RunFigures], noises: Sequence[RunNoise]) -> Rules:
    # A metric that never varies takes no part of the level.
    varying = sum(noise.base_sd > 0 or noise.new_sd > 0 for noise in noises)
    return Rules(tolerance, timeout_of(runs), varying)


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison that is to be made.

    letters: the order of the runs, as in `RunOrder.letters`. drops: which rate of them will be judged. equivalence: it
    is to be required. earlier: the number of
    runs whose noise was measured. findable: what the comparison can find of each metric, by the noise of the earlier
    runs. by_noise: what it can find of a duration, for assumed noises.
    """

    letters: str
    tolerance: Tolerance
    drops: DropsJudged
    equivalence: bool
    earlier: int
    findable: tuple[Findable, ...]
    by_noise: tuple[Findable, ...]

    @property
    def runs(self) -> int:
        """Runs per side."""
        return len(self.letters) // 2

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs_per_side": self.runs,
            "order": self.letters,
            "tolerance": asdict(self.tolerance),
            "drops": self.drops,
            "require_equivalence": self.equivalence,
            "earlier_runs": self.earlier,
            "findable": [item.to_dict() for item in self.findable],
            "by_noise": [item.to_dict() for item in self.by_noise],
        }


def make_plan(
    earlier: Sequence[RunFigures],
    runs: int | None,
    tolerance: Tolerance,
    equivalence: bool,
    random: np.random.Generator,
    drops: DropsJudged = DropsJudged.AUTO,
) -> ComparisonPlan:
    """Plan a comparison.

    Args:
        earlier: runs of one system, to measure the noise; at least ENOUGH_RUNS, or none if `runs` is given.
        runs: per side; None: as many as find a regression of twice the tolerance in USUAL of all cases.
        tolerance: the least change that matters.
        equivalence: the runs must also show in USUAL of all cases that equal things are equivalent.
        random: draws the order of the runs.
        drops: which rate of drops will be judged.

    Raises:
        UsageError: runs is None, and a metric needs more than MOST_RUNS runs.
    """
    noises = noise_of(earlier, family_of(earlier, drops)) if earlier else []
    rules = _rules(tolerance, earlier, noises)
    if runs is None:
        runs = ENOUGH_RUNS
        for noise in noises:
            needed = [rules.runs_to_find(noise, USUAL)]
            if equivalence:
                needed.append(rules.runs_for_equivalence(noise, USUAL))
            found = [n for n in needed if n is not None]
            if len(found) < len(needed):
                raise UsageError(
                    f"{noise.metric.label} needs more than {MOST_RUNS} runs a side",
                    "make longer runs, or give a larger --tolerance or --rate-tolerance, or say --runs N",
                )
            runs = max(runs, *found)
    count = planned(runs)
    assumed = [RunNoise(_LATENCY, log1p(noise), log1p(noise), 0.0) for noise in ASSUMED_NOISE]
    return ComparisonPlan(
        schedule(runs, random),
        tolerance,
        drops,
        equivalence,
        len(earlier),
        tuple(findable(rules, noises, count)),
        tuple(findable(Rules(tolerance, 0.0), assumed, count)),
    )


def noise_of(runs: Sequence[RunFigures], family: Sequence[ComparedMetric] = FAMILY) -> list[RunNoise]:
    """Return the noise of runs of one system, for the metrics of `family` that all of them measured."""
    noises = []
    for metric in family:
        if all(metric in run.figures for run in runs):
            figures = _figures(metric, runs)
            sd = float(figures.std(ddof=1))
            noises.append(RunNoise(metric, sd, sd, float(figures.mean()), _trials(metric, runs)))
    return noises


def _figures(metric: ComparedMetric, runs: Sequence[RunFigures]) -> Any:
    return scaled(metric, np.array([run.figures[metric] for run in runs]))


def _trials(metric: ComparedMetric, runs: Sequence[RunFigures]) -> float:
    return float(np.mean([run.trials.get(metric, 0) for run in runs]))


def schedule(runs: int, random: np.random.Generator) -> str:
    """Return an order of `runs` runs a side, as in `RunOrder.letters`.

    Pairs of one run of each side; as many with BASE first as with NEW first (but for one, if `runs` is odd), shuffled.
    """
    pairs = ["BN", "NB"] * (runs // 2) + [["BN", "NB"][random.integers(2)]] * (runs % 2)
    return "".join(random.permutation(pairs))
