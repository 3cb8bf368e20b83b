"""Runs that are repeated until they are decided: how often the result is wrong, by `chatload combine` and without.

Each run has SESSIONS sessions. A run is repeated until its threshold passes or fails, at most RUNS times. Without
`combine`, one of two habits: the last run alone is judged (repeating), or all runs as if they were one planned run
(extending). The abort monitor watches one run of the same total length, second by second.
"""

import numpy as np

from chatload.features.combine.compute import combine_runs
from chatload.run.books import Books
from chatload.stats.bursts import find_incidence
from chatload.thresholds.abort import AbortMonitor
from chatload.thresholds.gate import make_gate
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, parse, parse_abort
from chatload.vocabulary import ThresholdResult, Verdict
from simulations.dependence import a_run
from simulations.frame import SimulatedTable, share

LIMIT = 0.01
SESSIONS = 500
RUNS = 20
TIMEOUT_S = 45.0
_TEXT = f"dropped.rate < {LIMIT}"
_RUN_S = 3600.0


def decided(way: str, rate: float, size: int, assumed: int, draw: np.random.Generator) -> ThresholdResult:
    """Return the result that a way of repeating reaches. way: repeating, extending or combine."""
    gate = make_gate([_TEXT], incident_size=assumed)
    runs: list[Facts] = []
    result = ThresholdResult.INCONCLUSIVE
    for _ in range(RUNS):
        runs.append(a_run(rate, size, 1.0, SESSIONS, draw))
        if way == "combine":
            (combined,) = combine_runs(gate, runs)
            result = combined.result
        else:
            result = judge(parse(_TEXT), runs[-1] if way == "repeating" else _as_one(runs), 0.95, assumed).result
        if result != ThresholdResult.INCONCLUSIVE:
            break
    return result


def _as_one(runs: list[Facts]) -> Facts:
    """Return the facts of runs as if they were one long run."""
    books = Books()
    instants: list[float] = []
    for i, facts in enumerate(runs):
        books.merge(facts.books)
        assert facts.incidence is not None
        alone = facts.incidence.incidents - len(facts.incidence.bursts)
        spread = [burst.start for burst in facts.incidence.bursts for _ in range(burst.count)]
        # The instants of lone drops are not kept: they are spread evenly.
        spread += [_RUN_S * (j + 0.5) / alone for j in range(alone)]
        instants += [i * _RUN_S + at for at in spread]
    return Facts(books, TIMEOUT_S, 0, find_incidence(instants, 0.0, len(runs) * _RUN_S))


def aborted(rate: float, size: int, spread_s: float, draw: np.random.Generator) -> bool:
    """Return whether `--abort-on` ends a run of 2000 sessions whose drops come in clusters; it looks every 5 s."""
    sessions, every_s = 2000, 5.0
    monitor = AbortMonitor([parse_abort(_TEXT)], 0.05, TIMEOUT_S)
    incidents = draw.poisson(rate * sessions / size)
    begun = np.repeat(draw.uniform(0, _RUN_S - spread_s, incidents), size)
    drops = np.sort(begun + draw.uniform(0, spread_s, len(begun)))
    looks = np.arange(every_s, _RUN_S + every_s, every_s)
    dropped = np.searchsorted(drops, looks, side="right")
    # Without a drop, only more sessions have begun since the last look, which is evidence for the threshold: such a
    # look cannot end the run. It is left out unless a block begins.
    changed = np.diff(dropped, prepend=-1) + np.diff(looks // TIMEOUT_S, prepend=-1) > 0
    for at, known in zip(looks[changed], dropped[changed], strict=True):
        books = Books()
        books.verdicts[Verdict.DROPPED_LATE] += int(known)
        books.started = max(int(known), round(sessions * at / _RUN_S))
        if monitor.why_lost(Facts(books, TIMEOUT_S), float(at)):
            return True
    return False


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each way of repeating and each cluster size."""
    rows = []
    for size in (1, 5, 20):
        for way in ("repeating", "extending", "combine"):
            draw = np.random.default_rng(seed)
            at = [decided(way, LIMIT, size, size, draw) for _ in range(trials)]
            twice = [decided(way, 2 * LIMIT, size, size, draw) for _ in range(trials)]
            half = [decided(way, LIMIT / 2, size, size, draw) for _ in range(trials)]
            rows.append(
                (
                    way,
                    str(size),
                    share(at.count(ThresholdResult.PASS), trials),
                    share(at.count(ThresholdResult.FAIL), trials),
                    share(twice.count(ThresholdResult.FAIL), trials),
                    share(half.count(ThresholdResult.PASS), trials),
                )
            )
        for spread_s in (1.0, 20.0) if size > 1 else (0.0,):
            draw = np.random.default_rng(seed)
            ended, five = (sum(aborted(rate * LIMIT, size, spread_s, draw) for _ in range(trials)) for rate in (1, 5))
            way = "`--abort-on`" + (f", drops within {spread_s:g} s" if size > 1 else "")
            rows.append((way, str(size), "", share(ended, trials), f"{share(five, trials)} at five times", ""))
    header = (
        "way", "drops of an incident", "false pass", "false fail", "fail at twice the limit", "pass at half the limit"
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
