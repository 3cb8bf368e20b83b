"""Recommendations of `chatload tune` when drops come in clusters: how often an interval is wrongly chosen.

A sweep of intervals whose drop rates are multiples of the target. A recommendation is false if the rate of the
recommended interval is not below the target.
"""

from collections.abc import Sequence

import numpy as np

from chatload.features.tune.compute import Tally, sessions_an_arm, tune
from chatload.vocabulary import Verdict
from simulations.frame import SimulatedTable, share

TARGET = 0.01
_LENGTH_S = 3600.0
#: The sweeps: drop rates of the intervals, from the shortest to the longest, as multiples of the target.
SWEEPS: dict[str, Sequence[float]] = {
    "0.2, 1, 2, 5": (0.2, 1.0, 2.0, 5.0),
    "1, 1, 1, 1": (1.0, 1.0, 1.0, 1.0),
    "0.1, 0.2, 0.5": (0.1, 0.2, 0.5),
}


def recommended(rates: Sequence[float], size: int, assumed: int, draw: np.random.Generator) -> float | None:
    """Return the rate of the recommended interval as a multiple of the target; None if none is recommended."""
    sessions = sessions_an_arm(TARGET, incident_size=assumed)
    tallies = {}
    for i, rate in enumerate(rates):
        incidents = draw.poisson(rate * TARGET * sessions / size)
        begun = np.repeat(draw.uniform(0, _LENGTH_S - 1, incidents), size)
        drops = (begun + draw.uniform(0, 1, len(begun)))[:sessions]
        counted = Tally(dropped_at=drops.tolist(), first=0.0, last=_LENGTH_S)
        counted.books.verdicts[Verdict.DROPPED_LATE] += len(drops)
        counted.books.verdicts[Verdict.COMPLETED] += sessions - len(drops)
        tallies[0.5 + 0.1 * i] = counted
    found = tune(tallies, 45.0, TARGET, incident_size=assumed)
    best = found.recommended
    return None if best is None else rates[round((best.fraction - 0.5) / 0.1)]


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each sweep, cluster size and assumed incident size."""
    rows = []
    for name, rates in SWEEPS.items():
        for size in (1, 5, 20):
            for assumed in dict.fromkeys((1, size)):
                draw = np.random.default_rng(seed)
                chosen = [recommended(rates, size, assumed, draw) for _ in range(trials)]
                false = sum(rate is not None and rate >= 1 for rate in chosen)
                any_chosen = sum(rate is not None for rate in chosen)
                rows.append(
                    (
                        name, str(size), str(assumed), str(sessions_an_arm(TARGET, incident_size=assumed)),
                        share(false, trials) if max(rates) >= 1 else "none possible", share(any_chosen, trials),
                    )
                )  # fmt: skip
    header = (
        "rates of the intervals (x target)", "drops of an incident", "`--incident-size`", "sessions of an interval",
        "false recommendation", "any recommendation",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
