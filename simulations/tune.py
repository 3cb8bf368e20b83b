"""Recommendations of `chatload tune` when drops come in clusters: how often an interval is wrongly chosen.

A sweep of intervals whose drop rates are multiples of the target. A recommendation is false if the rate of the
recommended interval is not below the target. Its bound per chat-hour is too low if it is below the true rate.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from chatload.features.tune.compute import Tally, sessions_an_arm, tune
from chatload.vocabulary import Verdict
from simulations.frame import SimulatedTable, share

TARGET = 0.01
_LENGTH_S = 3600.0
#: Chats last so long. Drops are few, so the time they take away is not simulated.
_CHAT_S = 480.0
#: The sweeps: drop rates of the intervals, from the shortest to the longest, as multiples of the target.
SWEEPS: dict[str, Sequence[float]] = {
    "0.2, 1, 2, 5": (0.2, 1.0, 2.0, 5.0),
    "1, 1, 1, 1": (1.0, 1.0, 1.0, 1.0),
    "0.1, 0.2, 0.5": (0.1, 0.2, 0.5),
}


class Recommended(NamedTuple):
    """A recommended interval. rate: its drop rate. bound: of drops per chat-hour. Both as multiples of the target."""

    rate: float
    bound: float


def recommended(rates: Sequence[float], size: int, assumed: int, draw: np.random.Generator) -> Recommended | None:
    """Return what is recommended; None if no interval is."""
    sessions = sessions_an_arm(TARGET, incident_size=assumed)
    tallies = {}
    for i, rate in enumerate(rates):
        incidents = draw.poisson(rate * TARGET * sessions / size)
        begun = np.repeat(draw.uniform(0, _LENGTH_S - 1, incidents), size)
        drops = (begun + draw.uniform(0, 1, len(begun)))[:sessions]
        counted = Tally(dropped_at=drops.tolist(), first=0.0, last=_LENGTH_S)
        counted.books.verdicts[Verdict.DROPPED_LATE] += len(drops)
        counted.books.verdicts[Verdict.COMPLETED] += sessions - len(drops)
        counted.books.exposure_s = sessions * _CHAT_S
        tallies[0.5 + 0.1 * i] = counted
    found = tune(tallies, 45.0, TARGET, incident_size=assumed)
    best = found.recommended
    if best is None or best.per_chat_hour is None:
        return None
    bound = best.per_chat_hour.upper * _CHAT_S / 3600 / TARGET
    return Recommended(rates[round((best.fraction - 0.5) / 0.1)], bound)


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each sweep, cluster size and assumed incident size."""
    rows = []
    for name, rates in SWEEPS.items():
        for size in (1, 5, 20):
            for assumed in dict.fromkeys((1, size)):
                draw = np.random.default_rng(seed)
                chosen = [recommended(rates, size, assumed, draw) for _ in range(trials)]
                made = [best for best in chosen if best is not None]
                false = sum(best.rate >= 1 for best in made)
                too_low = sum(best.bound < best.rate for best in made)
                rows.append(
                    (
                        name, str(size), str(assumed), str(sessions_an_arm(TARGET, incident_size=assumed)),
                        share(false, trials) if max(rates) >= 1 else "none possible", share(too_low, trials),
                        share(len(made), trials),
                    )
                )  # fmt: skip
    header = (
        "rates of the intervals (x target)", "drops of an incident", "`--incident-size`", "sessions of an interval",
        "false recommendation", "bound per chat-hour too low", "any recommendation",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
