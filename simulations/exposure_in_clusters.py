"""Drops per chat-hour and by age that come in clusters: how often a threshold is judged wrongly.

The runs are those of `simulations.dependence`. Chats last CHAT_S; the chats that an incident drops have any age.
"""

from dataclasses import replace

import numpy as np

from chatload.run.lifetimes import Lifetimes
from chatload.thresholds.judgement import judge
from chatload.thresholds.metrics import Facts, Threshold, parse
from chatload.vocabulary import ThresholdResult
from simulations.dependence import LIMIT, SESSIONS, a_run
from simulations.frame import SimulatedTable, share

CHAT_S = 480.0
#: A dropped chat is open for half of a chat's length on average.
HOURLY = parse(f"dropped.per_chat_hour < {LIMIT / (1 - LIMIT / 2) / (CHAT_S / 3600):.9g}")
BY_AGE = parse(f"dropped.by_age({CHAT_S:g}s) < {LIMIT}")
SIZES = (1, 5, 20, 100)
_RATES = (1.0, 2.0, 0.5)


def facts_by_age(rate: float, size: int, sessions: int, draw: np.random.Generator) -> Facts:
    """Return the facts of a simulated run, with the ages of its chats. The arguments are those of `a_run`."""
    facts = a_run(rate, size, 1.0, sessions, draw)
    dropped = facts.incidence.events if facts.incidence is not None else 0
    ages = np.full(sessions, CHAT_S)
    ages[:dropped] = draw.uniform(0, CHAT_S, dropped)
    surely = np.arange(sessions) < dropped
    facts.books.exposure_s = float(ages.sum())
    return replace(facts, lifetimes=Lifetimes(ages, ages, surely, np.zeros(sessions, dtype=bool)))


def results(
    threshold: Threshold, rate: float, size: int, assumed: int, sessions: int, trials: int, seed: int
) -> list[ThresholdResult]:
    """Return the results of `trials` simulated runs. assumed: the incident size of the gate."""
    draw = np.random.default_rng(seed)
    runs = (facts_by_age(rate, size, sessions, draw) for _ in range(trials))
    return [judge(threshold, facts, incident_size=assumed).result for facts in runs]


def table(trials: int, seed: int) -> SimulatedTable:
    """Return the table: a row for each metric, size of incidents, and number of sessions."""
    rows = []
    for threshold, name in ((HOURLY, "dropped.per_chat_hour"), (BY_AGE, "dropped.by_age(8m)")):
        for size in SIZES:
            for sessions in (SESSIONS, 20 * SESSIONS):
                at, twice, half = (
                    results(threshold, rate * LIMIT, size, size, sessions, trials, seed) for rate in _RATES
                )
                counts = (
                    at.count(ThresholdResult.PASS), at.count(ThresholdResult.FAIL),
                    twice.count(ThresholdResult.FAIL), half.count(ThresholdResult.PASS),
                )  # fmt: skip
                rows.append((f"`{name}`", str(size), str(sessions), *(share(count, trials) for count in counts)))
    header = (
        "metric", "drops of an incident", "sessions", "false pass", "false fail", "fail at twice the limit",
        "pass at half the limit",
    )  # fmt: skip
    return SimulatedTable(header, rows, trials, seed)
