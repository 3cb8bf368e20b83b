"""Histories of runs: which runs belong together, levels, and what counts as a change for the worse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chatload.features.history.compute import (
    Figure,
    LeastChange,
    LeftOut,
    PastRun,
    SinceResult,
    lower_is_better,
    make_history,
)
from chatload.run.settings import RunSettings
from chatload.stats.changes import can_be_found
from chatload.thresholds.gate import standard_thresholds
from chatload.thresholds.metrics import metric_named

P99 = metric_named("GetMessages.latency.p99")
DROPPED = metric_named("dropped.rate")
HOURLY = metric_named("dropped.per_chat_hour")
MARGIN = metric_named("margin.p1")
SETTINGS = RunSettings(users=10, flex_disconnect_timeout=45.0)


def nights(metric, values, **more):
    """Runs n0, n1, ... with these figures of a metric, one a night."""
    return [
        PastRun(f"n{i}", 86400.0 * i, SETTINGS, 100, {metric.name: v if isinstance(v, Figure) else Figure(v)}, **more)
        for i, v in enumerate(values)
    ]


def steps(*levels, length=10, spread=0.01, seed=1):
    """A stretch of figures around each level."""
    random = np.random.default_rng(seed)
    return [level * (1 + spread * float(z)) for level in levels for z in random.normal(size=length)]


def only(history):
    (row,) = history.metrics
    return row


def test_a_step_up_in_latency_is_worse_and_a_step_down_better():
    up = make_history(nights(P99, steps(0.05, 0.08)), [P99])
    assert (only(up).result, [change.first for change in only(up).changes]) == (SinceResult.WORSE, [10])
    assert only(up).then == pytest.approx(0.05, rel=0.02) and only(up).now == pytest.approx(0.08, rel=0.02)
    assert up.worse and up.is_decided and up.needed == 0
    down = make_history(nights(P99, steps(0.08, 0.05)), [P99])
    assert only(down).result is SinceResult.BETTER and not down.worse


def test_less_margin_is_worse():
    assert only(make_history(nights(MARGIN, steps(40.0, 30.0)), [MARGIN])).result is SinceResult.WORSE
    assert only(make_history(nights(MARGIN, steps(30.0, 40.0)), [MARGIN])).result is SinceResult.BETTER


def test_a_repaired_change_is_shown_and_not_worse():
    row = only(make_history(nights(P99, steps(0.05, 0.08, 0.05)), [P99]))
    assert [change.first for change in row.changes] == [10, 20] and row.result is SinceResult.STEADY


def test_a_change_counts_only_since_the_run_that_is_named():
    runs = nights(P99, steps(0.05, 0.08, length=12))
    assert only(make_history(runs, [P99], since="n11")).result is SinceResult.WORSE
    # n12 is the first run at the new level: who names it accepts the change.
    accepted = make_history(runs, [P99], since="n12")
    assert only(accepted).result is SinceResult.STEADY and accepted.is_decided
    # Better than at n0, but worse than at n12.
    runs = nights(P99, steps(0.09, 0.05, 0.07, length=12))
    assert only(make_history(runs, [P99])).result is SinceResult.BETTER
    assert only(make_history(runs, [P99], since="n12")).result is SinceResult.WORSE


@pytest.mark.parametrize(
    ("metric", "before", "after", "least", "matters"),
    [
        (P99, 0.050, 0.0524, LeastChange(), False),  # 4.8 % of the lower level
        (P99, 0.050, 0.0526, LeastChange(), True),  # 5.2 %
        (P99, 0.0526, 0.050, LeastChange(), True),  # of the lower level, so that both directions are alike
        (P99, 0.0005, 0.00055, LeastChange(), False),  # 10 %, but only 0.05 ms
        (P99, 0.050, 0.0526, LeastChange(0.1), False),
        (DROPPED, 0.0, 0.0009, LeastChange(), False),  # 0.09 percentage points
        (DROPPED, 0.0, 0.0011, LeastChange(), True),
        (DROPPED, 0.10, 0.1055, LeastChange(), False),  # 0.55 points; 0.1 + 5 % of 10 % is 0.6
        (DROPPED, 0.0, 0.0009, LeastChange(rate=0.0005), True),
        (HOURLY, 0.0, 0.009, LeastChange(), False),
        (HOURLY, 0.2, 0.221, LeastChange(), True),  # 0.01 + 5 % of 0.2 is 0.02
        (MARGIN, 40.0, 38.0, LeastChange(), False),  # 5 % of 45 s is 2.25 s
        (MARGIN, 40.0, 37.5, LeastChange(), True),
        (metric_named("lateness.p99"), 0.001, 0.009, LeastChange(), False),
        (metric_named("lateness.p99"), 0.001, 0.012, LeastChange(), True),
    ],
)
def test_small_changes_do_not_matter(metric, before, after, least, matters):
    row = only(make_history(nights(metric, [before] * 12 + [after] * 12), [metric], least=least))
    assert bool(row.changes) == matters == (row.result is not SinceResult.STEADY)


def test_a_small_change_beside_a_large_one_goes_and_the_large_one_stays():
    row = only(make_history(nights(P99, [0.050] * 12 + [0.052] * 12 + [0.080] * 12), [P99]))
    assert [(c.first, c.before, c.after) for c in row.changes] == [(24, pytest.approx(0.051), 0.080)]


def test_runs_of_other_load_and_unusable_runs_are_left_out_with_the_reason():
    runs = nights(P99, steps(0.05, 0.05))
    runs[3] = replace(runs[3], settings=replace(SETTINGS, users=20))
    runs[5] = replace(runs[5], unusable="invalid: generator CPU was saturated")
    made = make_history(runs, [P99], left_out=[LeftOut("broken", "not a run")])
    assert made.left_out == (
        ("broken", "not a run"),
        ("n3", "users 20 (not 10)"),
        ("n5", "invalid: generator CPU was saturated"),
    )
    assert [run.run for run in made.runs] == [f"n{i}" for i in range(20) if i not in (3, 5)]
    # The load of the named run decides.
    other = make_history(runs, [P99], since="n3")
    assert [run.run for run in other.runs] == ["n3"] and not other.is_decided


def test_settings_that_do_not_change_the_load_do_not_matter():
    runs = [
        replace(run, settings=replace(SETTINGS, chatload_version=run.run)) for run in nights(P99, steps(0.05, 0.05))
    ]
    assert len(make_history(runs, [P99]).runs) == 20


def test_too_few_runs_decide_nothing_and_the_number_needed_is_named():
    runs = nights(P99, steps(0.05, 0.08, length=3))
    made = make_history(runs, [P99])
    assert only(made).result is SinceResult.TOO_FEW and not made.is_decided
    # With one metric, 2 x 3 / 70 of 8 runs is too much; 2 x 4 / 126 of 9 runs as well: see test_changes.py.
    assert made.needed > 0
    more = make_history(nights(P99, [0.05] * 3 + [0.08] * (3 + made.needed)), [P99])
    assert more.needed == 0 and only(more).result is SinceResult.WORSE


def test_only_runs_after_the_named_one_can_show_a_change():
    runs = nights(P99, steps(0.05, 0.05, 0.05))
    assert make_history(runs, [P99]).is_decided
    made = make_history(runs, [P99], since="n28")
    assert only(made).result is SinceResult.TOO_FEW and made.needed >= 2


def test_many_metrics_need_more_runs():
    others = [metric_named(f"{name}.rate") for name in ("dropped", "unserved", "failed", "refused")]
    runs = [
        replace(run, figures={**run.figures, **{metric.name: Figure(0.0) for metric in others}})
        for run in nights(P99, [0.05] * 6 + [0.08] * 6)
    ]
    assert make_history(runs, [P99]).worse
    # 2 x 7 places / 924 / 0.8 = 0.019: below 5 %, but not below 5 % / 5.
    all_five = make_history(runs, [P99, *others])
    assert all_five.metrics[0].result is SinceResult.TOO_FEW and all_five.needed > 0


def test_the_last_run_must_say_something():
    runs = nights(P99, steps(0.05, 0.05))
    runs[-1] = replace(runs[-1], unusable="nothing tested: no session was accepted")
    made = make_history(runs, [P99])
    assert made.untested == ("n19",) and not made.is_decided
    # A run of another load that came last says nothing about this load.
    runs[-1] = replace(runs[-1], settings=replace(SETTINGS, users=20))
    assert make_history(runs, [P99], since="n0").untested == ()


def test_a_metric_that_few_runs_measured_is_judged_by_these():
    runs = nights(P99, steps(0.05, 0.08))
    runs[2] = replace(runs[2], figures={})
    row = only(make_history(runs, [P99]))
    assert row.figures[2] is None and [change.first for change in row.changes] == [10]
    assert make_history(runs, [P99, MARGIN]).metrics[0].metric is P99  # nobody measured a margin


def test_bounds_claim_nothing_that_they_do_not_show():
    over = [Figure(3.0, beyond=True)] * 10
    assert only(make_history(nights(P99, [*over, *[4.0] * 10]), [P99])).changes == ()
    assert only(make_history(nights(P99, [*[1.0] * 10, *over]), [P99])).result is SinceResult.WORSE
    under = [Figure(-2.0, beyond=True)] * 10
    assert only(make_history(nights(MARGIN, [*[10.0] * 10, *under]), [MARGIN])).result is SinceResult.WORSE


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("dropped.rate", True), ("unserved.count", True), ("GetMessages.latency.p95", True), ("lateness.max", True),
        ("gap.p99", True), ("blame.server.rate", True), ("GetMessages.unsuccessful.rate", True), ("2.rate", True),
        ("margin.min", False), ("completed.rate", False), ("0/false.rate", False),
        ("sessions.count", None), ("cut_off.rate", None), ("closed_idle.count", None),
    ],
)  # fmt: skip
def test_the_good_direction_of_a_metric(name, lower):
    assert lower_is_better(metric_named(name)) is lower


def test_what_is_neither_good_nor_bad_changes():
    metric = metric_named("sessions.count")
    assert only(make_history(nights(metric, [100.0] * 10 + [200.0] * 10), [metric])).result is SinceResult.CHANGED


def test_the_runs_needed_are_those_of_the_page():
    text = (Path(__file__).parents[2] / "docs" / "history.md").read_text()
    rows = re.findall(r"^\| (\d) \(.*\) \| (\d\d) % \| (.*) \|$", text, re.M)
    assert len(rows) == 3
    for metrics, confidence, cells in rows:
        level = (1 - int(confidence) / 100) / int(metrics)
        for before, after in zip((10, 20, 40, 100), map(int, cells.split(" | ")), strict=True):
            assert can_be_found(before + after, after, level)
            assert not can_be_found(before + after - 1, after - 1, level)
    fewest = re.search(r"at least (\d+) are needed", (Path(__file__).parents[2] / "docs" / "ci.md").read_text())
    n = int(fewest[1])
    metrics = len(standard_thresholds())
    assert {int(row[0]) for row in rows} == {1, metrics}
    assert can_be_found(n, n, 0.01 / metrics) and not can_be_found(n - 1, n - 1, 0.01 / metrics)
