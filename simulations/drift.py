"""How often `chatload drift` claims a change that is not there, and how often it finds one that is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from chatload.features.report.drift import BLOCKS, CELLS, CONFIDENCE, LEAST_S, error_budget, metrics
from chatload.stats.trend import Trend, find_trend
from simulations.frame import SimulatedTable, share

_Array = NDArray[np.float64]

#: Values of the noise in a cell; time constants of the noise, in blocks; and the number of looks at a run before its
#: end, the first after LEAST_S, each later one at twice the time.
_FINE, NOISES, LOOKS = 20, (0.0, 1 / 10, 1 / 3, 1.0), 6
_HEADER = ("case", "independent", "1/10 of a block", "1/3 of a block", "1 block: not covered")
#: The number of metrics of a run with one process.
FAMILY = len(metrics(45.0, ["local"]))
TIMES = np.arange(float(BLOCKS))


def noise(random: np.random.Generator, tau: float, shape: tuple[int, int]) -> _Array:
    """Return series (rows) of an Ornstein-Uhlenbeck process with variance 1. tau: its time constant in values."""
    drawn = random.standard_normal(shape)
    if not tau:
        return drawn
    kept = float(np.exp(-1 / tau))
    drawn[:, 1:] *= np.sqrt(1 - kept**2)
    made: _Array = lfilter([1.0], [1.0, -kept], drawn, axis=1)
    return made


def blocks(cells: _Array) -> _Array:
    """Return block values of series of cell values: the median of each CELLS of them."""
    made: _Array = np.median(cells.reshape(len(cells), -1, CELLS), axis=2)
    return made


def block_noise(random: np.random.Generator, tau: float, trials: int) -> _Array:
    """Return block values of noise without change, with standard deviation 1. tau: in blocks."""
    fine = noise(random, tau * CELLS * _FINE, (trials, BLOCKS * CELLS * _FINE))
    made = blocks(fine.reshape(trials, BLOCKS * CELLS, _FINE).mean(axis=2))
    return made / made.std()


def looks(random: np.random.Generator, tau: float) -> Iterator[_Array]:
    """Yield the block values of all metrics at each look at a run without change, the last of them at its end. tau: in
    blocks of the first look."""
    fine = noise(random, tau * CELLS, (FAMILY, BLOCKS * CELLS * 2 ** (LOOKS - 1)))
    for look in range(LOOKS):
        seen = fine[:, : BLOCKS * CELLS * 2**look]
        yield blocks(seen.reshape(FAMILY, BLOCKS * CELLS, -1).mean(axis=2))


def changes(trend: Trend) -> bool:
    return trend.drifts or bool(trend.jumps)


@dataclass(frozen=True)
class Change:
    """A change that is put into noise. name: of the row. added: to the blocks. slope: whether a slope is the change;
    jumps: the first blocks after its jumps."""

    name: str
    added: _Array
    slope: bool = False
    jumps: tuple[int, ...] = ()

    def is_right(self, trend: Trend) -> bool:
        """Return whether the kind was found and is certain, and each jump is at most a block from its place."""
        found = [jump.index for jump in trend.jumps]
        near = len(found) == len(self.jumps) and all(abs(a - b) <= 1 for a, b in zip(found, self.jumps, strict=True))
        return near and trend.drifts == self.slope and not trend.either

    def is_wrong(self, trend: Trend) -> bool:
        """Return whether another kind was found, without doubt."""
        return not trend.either and (trend.drifts, len(trend.jumps)) not in ((self.slope, len(self.jumps)), (False, 0))


def _step(size: float, first: int, where: str) -> Change:
    return Change(f"step of {size:g} deviations {where}", size * (first <= TIMES), jumps=(first,))


def _slope(total: float) -> Change:
    return Change(f"slope of {total:g} deviations over the run", total * TIMES / (BLOCKS - 1), slope=True)


CHANGES = [
    *(_step(size, first, where) for size in (2, 3, 4) for first, where in ((5, "early"), (10, "middle"), (15, "late"))),
    *map(_slope, (3, 4, 6, 8)),
    Change("step of 4 deviations there, and back after 7 blocks", 4.0 * ((TIMES >= 6) & (TIMES < 13)), jumps=(6, 13)),
    Change("slope of 12 deviations, reset by a step", 12 * TIMES / 19 - 8 * (TIMES >= 11), slope=True, jumps=(11,)),
]


def false_alarms(trials: int, seed: int, tau: float, ended_only: bool) -> int:
    """Return of how many runs without change anything is claimed, at their end or at any look. tau: in blocks of the
    look."""
    end = error_budget(LEAST_S * 2 ** (LOOKS - 1), True) / FAMILY
    before = [error_budget(LEAST_S * 2**look, False) / FAMILY for look in range(LOOKS)]
    random, wrong = np.random.default_rng(seed), 0
    for _ in range(trials):
        if ended_only:
            seen = [(end, block_noise(random, tau, FAMILY))]
        else:
            every = list(looks(random, tau))
            seen = [*zip(before, every, strict=True), (end, every[-1])]
        wrong += any(changes(find_trend(TIMES, row, CONFIDENCE, level)) for level, rows in seen for row in rows)
    return wrong


def _found(change: Change, trials: int, seed: int) -> Iterator[str]:
    """Yield for each noise how often a change is found, how often its kind and place are right, and its kind wrong."""
    level = error_budget(LEAST_S, True) / FAMILY
    for tau in NOISES:
        random = np.random.default_rng(seed)
        series = change.added + block_noise(random, tau, trials)
        trends = [find_trend(TIMES, row, CONFIDENCE, level) for row in series]
        found, right, wrong = (sum(map(is_so, trends)) for is_so in (changes, change.is_right, change.is_wrong))
        yield f"{share(found, trials)}, right {100 * right / trials:.0f} %, wrong {100 * wrong / trials:.0f} %"


def table(trials: int, seed: int) -> SimulatedTable:
    quiet = [
        (said, *(share(false_alarms(trials, seed, tau, ended_only), trials) for tau in NOISES))
        for said, ended_only in (
            (f"no change: any claim of {FAMILY} metrics at the end (at most 3.5 %)", True),
            ("no change: any claim at the end or at six looks before (at most 5 %)", False),
        )
    ]
    rows = [*quiet, *((change.name, *_found(change, trials, seed)) for change in CHANGES)]
    return SimulatedTable(_HEADER, rows, trials, seed)
