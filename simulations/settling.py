"""How often a run of the size that "would settle it" does settle an undecided threshold.

A first run of SESSIONS independent sessions leaves `dropped.rate < 0.5%` undecided. A second run has the size that the
first one named. It is counted how often this second run alone is decided. The named probability is that at the seen
rate; the true rate differs from it.
"""

import numpy as np

from chatload.stats.rates import POWERS, lower, sessions_needed, upper
from simulations.frame import SimulatedTable, share

LIMIT = 0.005
SESSIONS = 2000
#: True rates as multiples of the limit.
_RATES = (0.3, 0.5, 0.7, 1.5, 2.0)


def settled(k: int, n: int) -> bool:
    """Return whether k drops in n sessions decide the threshold."""
    return upper(k, n) < LIMIT or lower(k, n) > LIMIT


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each true rate."""
    rows = []
    for rate in _RATES:
        draw = np.random.default_rng(seed)
        asked = {power: [0, 0, 0] for power in POWERS}
        none = 0
        for _ in range(trials):
            k = int(draw.binomial(SESSIONS, rate * LIMIT))
            if settled(k, SESSIONS):
                continue
            for power, counts in asked.items():
                needed = sessions_needed(k, SESSIONS, LIMIT, power=power)
                if needed is None:
                    none += power == POWERS[0]
                    continue
                counts[0] += 1
                counts[1] += settled(int(draw.binomial(needed, rate * LIMIT)), needed)
                counts[2] += settled(int(draw.binomial(needed, k / SESSIONS)), needed)
        few, many = asked.values()
        undecided = few[0] + none
        rows.append(
            (
                f"{rate:g}",
                share(undecided, trials),
                *(share(counts[i], max(1, counts[0])) for counts in (few, many) for i in (2, 1)),
            )
        )
    header = (
        "true rate (x limit)", "first run undecided", "80 %: settles at the seen rate", "80 %: at the true rate",
        "90 %: settles at the seen rate", "90 %: at the true rate",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
