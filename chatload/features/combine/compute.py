"""Repeated runs judged together, so that a run may be extended or repeated until it is decided.

A test that is repeated until it passes passes too often: with a second, a third, a tenth run, its error of 5 % grows.
The evidence of `chatload.stats.clusters` does not have this fault. It is a nonnegative supermartingale, starting at 1,
so it *ever* reaches 1 / alpha with a probability of at most alpha, whatever rule decides about the next run. The
evidence of
several runs is that of one long run: their groups of events, and the sum of the expected numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatload.stats.clusters import log_evidence_above, log_evidence_below
from chatload.thresholds import dependence
from chatload.thresholds.gate import Gate
from chatload.thresholds.metrics import INCIDENTS, Facts, Threshold
from chatload.vocabulary import ThresholdResult


@dataclass(frozen=True)
class CombinedThreshold:
    """A threshold judged by several runs.

    events: sessions that speak against it (of one that wants a high rate: that do not have the property), or incidents.
    exposure: sessions, or hours for a rate of time. groups: in how many groups the events came. log_for, log_against:
    the natural logarithm of the evidence. more: about how much more exposure would decide it, at this rate; None if it
    is decided, or the evidence does not grow.
    """

    threshold: Threshold
    result: ThresholdResult
    events: int
    exposure: float
    groups: int
    log_for: float
    log_against: float
    more: float | None


def can_be_combined(threshold: Threshold) -> bool:
    """Return whether evidence about this threshold adds up over runs: rates of sessions, and incidents per hour."""
    metric = threshold.metric
    if metric.kind == "hourly rate":
        return metric.subject == INCIDENTS
    return metric.kind == "rate" and dependence.comes_in_clusters(metric)


def combine_runs(gate: Gate, runs: Sequence[Facts]) -> list[CombinedThreshold]:
    """Return the judgement of each threshold of the gate that can be combined, by all runs together."""
    return [_combined(threshold, gate, runs) for threshold in gate.thresholds if can_be_combined(threshold)]


def _combined(threshold: Threshold, gate: Gate, runs: Sequence[Facts]) -> CombinedThreshold:
    metric, limit, wants_low = threshold.metric, threshold.limit, threshold.wants_low
    if metric.subject == INCIDENTS:
        incidents = [facts.incidence for facts in runs if facts.incidence is not None]
        exposure = sum(incidence.length_s for incidence in incidents) / 3600
        possible = sure = [1.0] * sum(incidence.incidents for incidence in incidents)
        size = 1
        observed = exposure
    else:
        shares = [metric.share(facts) for facts in runs]
        # Sessions that the end of a run cut off do not show that the rate is low (`dependence.bounds`).
        exposure = sum(0 if share.is_mostly_open else share.whole for share in shares)
        observed = sum(share.n for share in shares)
        possible, sure = (
            [group for facts in runs for group in dependence.groups(metric, facts, surely)] for surely in (False, True)
        )
        size = gate.incident_size
        if dependence.is_wanted(metric):
            limit, wants_low = 1 - limit, not wants_low
    below = log_evidence_below(possible, limit * exposure, size) if exposure else 0.0
    above = log_evidence_above(sure, limit * observed) if observed else 0.0
    log_for, log_against = (below, above) if wants_low else (above, below)
    enough = -math.log(1 - gate.confidence)
    result = ThresholdResult.INCONCLUSIVE
    if max(log_for, log_against) >= enough:
        result = ThresholdResult.PASS if log_for >= log_against else ThresholdResult.FAIL
    best, more = max(log_for, log_against), None
    if result == ThresholdResult.INCONCLUSIVE and best > 0:
        more = exposure * (enough / best - 1)
    return CombinedThreshold(
        threshold, result, round(sum(possible)), exposure, len(possible), log_for, log_against, more
    )
