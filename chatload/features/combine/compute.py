"""Repeated runs judged together, so that a run may be extended or repeated until it is decided.

A test that is repeated until it passes passes too often: with a second, a third, a tenth run, its error of 5 % grows.
The evidence of `chatload.stats.clusters` does not have this fault. It is a nonnegative supermartingale, starting at 1,
so it *ever* reaches 1 / alpha with a probability of at most alpha, whatever rule decides about the next run. The
evidence of several runs is that of one long run: their groups of events, and the sum of the expected numbers.

Other thresholds are judged in each run by itself. They pass (fail) if they pass (fail) in every run: the chance that
this is wrong is at most that of the first run alone, however many runs there are. Otherwise they are inconclusive.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatload import __version__
from chatload.stats.clusters import log_evidence_above, log_evidence_below
from chatload.thresholds import dependence
from chatload.thresholds.gate import Gate
from chatload.thresholds.judgement import overall_of
from chatload.thresholds.metrics import INCIDENTS, Facts, Threshold
from chatload.vocabulary import ThresholdResult

#: `schema_version` of the JSON.
SCHEMA_VERSION = 1


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

    @property
    def unit(self) -> Literal["session", "hour"]:
        """The unit of `exposure` and `more`."""
        return "hour" if self.threshold.metric.kind == "hourly rate" else "session"


@dataclass(frozen=True)
class ThresholdByRun:
    """A threshold whose evidence does not add up over runs. results: of each run by itself."""

    threshold: Threshold
    results: Sequence[ThresholdResult]

    @property
    def result(self) -> ThresholdResult:
        """What every run says; inconclusive if they differ."""
        found = set(self.results)
        return found.pop() if len(found) == 1 else ThresholdResult.INCONCLUSIVE


@dataclass(frozen=True)
class CombinedRuns:
    """Runs judged together.

    runs: their names. by_run: thresholds that are judged in each run by itself, and those of `Gate.judge` that no
    threshold covers. aborted: why runs were ended early as hopeless.
    """

    runs: Sequence[str]
    gate: Gate
    combined: Sequence[CombinedThreshold]
    by_run: Sequence[ThresholdByRun]
    aborted: Sequence[str] = ()

    @property
    def result(self) -> ThresholdResult:
        """The worst result of all thresholds; fail if a run was ended early as hopeless."""
        if self.aborted:
            return ThresholdResult.FAIL
        worst = overall_of([*(item.result for item in self.combined), *(item.result for item in self.by_run)])
        return ThresholdResult.INCONCLUSIVE if worst is None else worst

    def to_dict(self) -> dict[str, Any]:
        """Return the published JSON (combine.schema.json)."""
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "result": self.result.value,
            "confidence": self.gate.confidence,
            "incident_size": self.gate.incident_size,
            "runs": list(self.runs),
            "aborted": list(self.aborted),
            "combined": [
                {
                    "threshold": str(item.threshold),
                    "result": item.result.value,
                    "events": item.events,
                    "exposure": item.exposure,
                    "unit": item.unit,
                    "groups": item.groups,
                    "log_for": item.log_for if math.isfinite(item.log_for) else None,
                    "log_against": item.log_against if math.isfinite(item.log_against) else None,
                    "more": item.more,
                }
                for item in self.combined
            ],
            "by_run": [
                {"threshold": str(item.threshold), "result": item.result.value, "results": list(item.results)}
                for item in self.by_run
            ],
        }


def judge_by_run(gate: Gate, runs: Sequence[Mapping[Threshold, ThresholdResult]]) -> list[ThresholdByRun]:
    """Return the thresholds that are judged in each run by itself.

    runs: results of each run. One that is not of the gate says what no threshold covers: other runs pass it.
    """
    own = [threshold for threshold in gate.thresholds if not can_be_combined(threshold)]
    more = dict.fromkeys(threshold for run in runs for threshold in run if threshold not in gate.thresholds)
    return [
        ThresholdByRun(threshold, [run.get(threshold, ThresholdResult.PASS) for run in runs])
        for threshold in (*own, *more)
    ]


def can_be_combined(threshold: Threshold) -> bool:
    """Return whether evidence about this threshold adds up over runs: rates of sessions, and incidents per hour.

    A probability by age is a rate of the sessions that reach the age, which `Metric.share` does not count.
    """
    metric = threshold.metric
    if metric.age_s is not None:
        return False
    if metric.kind == "hourly rate":
        return metric.subject == INCIDENTS
    return metric.kind == "rate" and dependence.comes_in_clusters(metric)


def combine_runs(gate: Gate, runs: Sequence[Facts]) -> list[CombinedThreshold]:
    """Return the judgement of each threshold of the gate that can be combined, by all runs together."""
    return [_combined(threshold, gate, runs) for threshold in gate.thresholds if can_be_combined(threshold)]


def _combined(threshold: Threshold, gate: Gate, runs: Sequence[Facts]) -> CombinedThreshold:
    metric, limit, wants_low = threshold.metric, threshold.limit, threshold.wants_low
    runs = [facts.of(threshold.user_class) for facts in runs]
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
