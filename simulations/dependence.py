"""Drop rates of sessions whose drops come in clusters: how often a threshold is judged wrongly.

A run of SESSIONS sessions over an hour. Incidents come at random times (Poisson), and each drops `size` sessions within
`spread` seconds. The threshold is `dropped.rate < 0.5%`. It is judged by the whole way of a report: bursts found in the
instants of the drops, blocks of time, the gate's judgement.
"""

import numpy as np

from chatload.run.books import Books
from chatload.stats.bursts import find_incidence
from chatload.thresholds.dependence import BLOCKS
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, TimeBlock, parse
from chatload.vocabulary import ThresholdResult, Verdict
from simulations.frame import SimulatedTable, share

LIMIT = 0.005
SESSIONS = 2000
_LENGTH_S = 3600.0
_THRESHOLD = parse(f"dropped.rate < {LIMIT}")
#: Mean size of the clusters; within how many seconds the drops of one come; whether the sizes vary (geometric).
CLUSTERS = (
    (1, 0.0, False), (5, 1.0, False), (20, 1.0, False), (100, 1.0, False), (20, 45.0, False), (20, 1.0, True),
)  # fmt: skip
#: Multiples of the limit: at the limit, twice and half of it.
_RATES = (1.0, 2.0, 0.5)


def a_run(
    rate: float, size: int, spread_s: float, sessions: int, draw: np.random.Generator, varied: bool = False
) -> Facts:
    """Return the facts of a simulated run.

    rate: of drops per session. size: drops of an incident, which come within `spread_s` seconds. varied: size is the
    mean of a geometric distribution.
    """
    incidents = draw.poisson(rate * sessions / size)
    sizes = draw.geometric(1 / size, incidents) if varied else np.full(incidents, size)
    begun = np.repeat(draw.uniform(0, _LENGTH_S - spread_s, incidents), sizes)
    instants = np.sort(begun + draw.uniform(0, spread_s, len(begun)))[:sessions]
    ended = draw.uniform(0, _LENGTH_S, sessions - len(instants))
    books = _books(len(instants), len(ended))
    edges = np.linspace(0, _LENGTH_S, BLOCKS + 1)
    by_block = zip(np.histogram(instants, edges)[0], np.histogram(ended, edges)[0], strict=True)
    none = Books()
    blocks = tuple(TimeBlock(none, _books(int(dropped), int(completed)), 1.0) for dropped, completed in by_block)
    return Facts(books, 45.0, 0, find_incidence(instants.tolist(), 0.0, _LENGTH_S), blocks)


def _books(dropped: int, completed: int) -> Books:
    books = Books()
    books.verdicts[Verdict.DROPPED_LATE] += dropped
    books.verdicts[Verdict.COMPLETED] += completed
    books.started = dropped + completed
    return books


def results(
    rate: float,
    size: int,
    spread_s: float,
    assumed: int,
    sessions: int,
    trials: int,
    seed: int,
    varied: bool = False,
) -> list[ThresholdResult]:
    """Return the results of `trials` simulated runs. assumed: the incident size of the gate."""
    draw = np.random.default_rng(seed)
    runs = (a_run(rate, size, spread_s, sessions, draw, varied) for _ in range(trials))
    return [judge(_THRESHOLD, facts, incident_size=assumed).result for facts in runs]


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each cluster size, incident size that was assumed, and number of sessions."""
    rows = []
    for size, spread_s, varied in CLUSTERS:
        for assumed in dict.fromkeys((1, 3 * size if varied else size)):
            for sessions in (SESSIONS, 20 * SESSIONS):
                at, twice, half = (
                    results(rate * LIMIT, size, spread_s, assumed, sessions, trials, seed, varied) for rate in _RATES
                )
                rows.append(
                    (
                        f"{size}{' on average' * varied}" + (f" within {spread_s:g} s" if size > 1 else ""),
                        str(assumed),
                        f"{sessions}",
                        share(at.count(ThresholdResult.PASS), trials),
                        share(at.count(ThresholdResult.FAIL), trials),
                        share(twice.count(ThresholdResult.PASS), trials),
                        share(twice.count(ThresholdResult.FAIL), trials),
                        share(half.count(ThresholdResult.PASS), trials),
                    )
                )
    header = (
        "drops of an incident", "`--incident-size`", "sessions", "false pass", "false fail",
        "pass at twice the limit", "fail at twice the limit", "pass at half the limit",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
