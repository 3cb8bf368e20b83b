"""Comparing runs: what is told from noise, what is not, and that the tests are exact."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from chatload.features.compare.compute import (
    BETTER,
    DROPPED_HOURLY,
    ENOUGH_RUNS,
    EQUIVALENT,
    FAMILY,
    NOT_COMPARABLE,
    UNDECIDED,
    WORSE,
    ComparedMetric,
    Comparison,
    ComparisonRow,
    DropsJudged,
    FigureKind,
    RunFigures,
    Tolerance,
    compare_runs,
    measure,
)
from chatload.features.compare.power import findable_by
from chatload.features.compare.view import comparison_document, value
from chatload.render.terminal import render
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.settings import RunSettings, settings_differences
from tests.unit.compare_cases import TIMEOUT_S, Service, alternating, make_runs

SERVICE = Service()
DROPPED, UNSERVED, UNSUCCESSFUL, LATENCY, LATENESS, MARGIN = FAMILY
CALM = {DROPPED: 0.01, UNSERVED: 0.0, UNSUCCESSFUL: 0.0, LATENCY: 0.1, LATENESS: 0.002, MARGIN: 20.0}


def compare_made(base: Service, new: Service, seed: tuple[int, int], runs: int = 5) -> Comparison:
    random = np.random.default_rng(seed)
    sides = (make_runs(service, runs, random, side) for service, side in ((base, "b"), (new, "n")))
    judged = [[replace(run, figures={m: run.figures[m] for m in FAMILY}) for run in side] for side in sides]
    return compare_runs(*judged)


def side(name: str, metric: ComparedMetric, values: list[float]) -> list[RunFigures]:
    return [
        RunFigures(f"{name}{i}", CALM | {metric: value}, TIMEOUT_S, started_at=alternating(name, i, len(values)))
        for i, value in enumerate(values)
    ]


def row_of(comparison: Comparison, metric: ComparedMetric) -> ComparisonRow:
    return next(row for row in comparison.rows if row.metric == metric)


@pytest.mark.parametrize("runs", [4, 5])
def test_equal_things_are_rarely_called_anything(runs: int) -> None:
    words = [compare_made(SERVICE, SERVICE, (1, case), runs).word for case in range(100)]
    assert words.count(WORSE) + words.count(BETTER) <= 5


@pytest.fixture(scope="module")
def tails() -> list[ComparisonRow]:
    """What 100 comparisons say of a tail that is 20 % worse."""
    service = Service(tail=1.2)
    return [row_of(compare_made(SERVICE, service, (2, case)), LATENCY) for case in range(100)]


def test_a_tail_20_percent_worse_is_found(tails: list[ComparisonRow]) -> None:
    assert sum(row.word == WORSE for row in tails) >= 80


def test_each_end_of_the_interval_holds_in_95_of_100_cases(tails: list[ComparisonRow]) -> None:
    assert 85 <= sum(low <= 0.2 for low, _ in (row.interval for row in tails)) <= 99
    assert 85 <= sum(high >= 0.2 for _, high in (row.interval for row in tails)) <= 99


def test_a_doubled_drop_rate_is_found() -> None:
    cases = [compare_made(SERVICE, Service(drop_rate=0.02), (3, case)) for case in range(100)]
    assert sum(row_of(case, DROPPED).word == WORSE for case in cases) >= 80


@pytest.mark.parametrize(
    ("metric", "base", "new", "word"),
    [
        (LATENCY, [0.1, 0.101, 0.102, 0.103, 0.104], [0.12, 0.121, 0.122, 0.123, 0.124], WORSE),
        (LATENCY, [0.12, 0.121, 0.122, 0.123, 0.124], [0.1, 0.101, 0.102, 0.103, 0.104], BETTER),
        # Told from noise beyond doubt, and within the tolerance: 3 %.
        (LATENCY, [0.1, 0.1001, 0.1002, 0.1003, 0.1004], [0.103, 0.1031, 0.1032, 0.1033, 0.1034], EQUIVALENT),
        # Beyond the tolerance, and within the noise.
        (LATENCY, [0.05, 0.07, 0.1, 0.12, 0.15], [0.06, 0.09, 0.12, 0.14, 0.17], UNDECIDED),
        # A third more, of too little to matter.
        (LATENESS, [0.003, 0.0031, 0.0032, 0.0033, 0.0034], [0.004, 0.0041, 0.0042, 0.0043, 0.0044], EQUIVALENT),
        (LATENESS, [0.03, 0.031, 0.032, 0.033, 0.034], [0.05, 0.051, 0.052, 0.053, 0.054], WORSE),
        (MARGIN, [20.0, 20.1, 20.2, 20.3, 20.4], [15.0, 15.1, 15.2, 15.3, 15.4], WORSE),
        (MARGIN, [-1.0, -1.1, -1.2, -1.3, -1.4], [5.0, 5.1, 5.2, 5.3, 5.4], BETTER),
        # 2.25 s is 5 % of the timeout.
        (MARGIN, [20.0, 20.1, 20.2, 20.3, 20.4], [18.0, 18.1, 18.2, 18.3, 18.4], EQUIVALENT),
        # The estimate is within the tolerance, and its interval is not.
        (MARGIN, [20.0, 20.1, 20.2, 20.3, 20.4], [16.9, 18.8, 18.2, 19.4, 17.6], UNDECIDED),
        (DROPPED, [0.0] * 5, [0.01] * 5, WORSE),
        (DROPPED, [0.0] * 5, [0.0009] * 5, EQUIVALENT),
        (DROPPED, [0.0] * 5, [0.0] * 5, EQUIVALENT),
        (UNSERVED, [0.2, 0.21, 0.22, 0.23, 0.24], [0.1, 0.11, 0.12, 0.13, 0.14], BETTER),
    ],
)
def test_words(metric: ComparedMetric, base: list[float], new: list[float], word: str) -> None:
    comparison = compare_runs(side("b", metric, base), side("n", metric, new))
    assert row_of(comparison, metric).word == word
    assert comparison.word == word
    four = compare_runs(side("b", metric, base[:4]), side("n", metric, new[:4]))
    assert four.word == word


def test_one_odd_run_makes_no_difference_evident() -> None:
    base, new = [0.1, 0.1001, 0.1002, 0.1003, 0.1004], [0.1005, 0.1006, 0.1007, 0.1008, 1.0]
    row = row_of(compare_runs(side("b", LATENCY, base), side("n", LATENCY, new)), LATENCY)
    # No other division of the runs has a larger statistic: the permutation test alone would say worse.
    assert row.p == pytest.approx(ttest_ind(np.log(base), np.log(new), equal_var=False).pvalue)
    assert row.interval[0] < 0 < row.interval[1]
    assert row.word == UNDECIDED


def test_the_tolerance_is_the_user_s() -> None:
    base, new = (side(name, LATENCY, [at + 0.001 * i for i in range(5)]) for name, at in (("b", 0.1), ("n", 0.12)))
    assert compare_runs(base, new, Tolerance(relative=0.1)).word == WORSE
    assert compare_runs(base, new, Tolerance(relative=0.3)).word == EQUIVALENT
    low, high = (side(name, DROPPED, [at] * 5) for name, at in (("b", 0.0), ("n", 0.0009)))
    assert compare_runs(low, high, Tolerance(rate=0.0005)).word == WORSE


def test_the_family_makes_each_of_its_members_harder_to_call() -> None:
    random = np.random.default_rng(6)
    alone = side("b", LATENCY, [0.1, 0.11, 0.12, 0.13, 0.14]), side("n", LATENCY, [0.13, 0.15, 0.16, 0.17, 0.18])
    noisy = [
        [replace(run, figures={**run.figures, LATENESS: float(random.uniform(0.1, 0.9))}) for run in runs]
        for runs in alone
    ]
    by_itself, in_company = (row_of(compare_runs(*runs), LATENCY) for runs in (alone, noisy))
    assert by_itself.p < in_company.p


@pytest.mark.parametrize(("base_runs", "new_runs"), [(1, 1), (3, 3), (9, 3), (3, 9)])
def test_too_few_runs_get_no_word(base_runs: int, new_runs: int) -> None:
    comparison = compare_runs(side("b", LATENCY, [0.1] * base_runs), side("n", LATENCY, [0.3] * new_runs))
    row = row_of(comparison, LATENCY)
    assert (comparison.word, row.word, row.p, row.interval) == (None,) * 4
    assert row.change == pytest.approx(2.0)


def test_copies_of_a_run_are_no_evidence() -> None:
    one, other = side("b", LATENCY, [0.1])[0], side("n", LATENCY, [0.2])[0]
    comparison = compare_runs([one] * ENOUGH_RUNS, [other] * ENOUGH_RUNS)
    assert comparison.word is None
    assert (len(comparison.base), len(comparison.new)) == (1, 1)
    assert "b0 is the same run as b0 and counts once: a copy is no evidence" in comparison.notes


def test_a_run_on_both_sides_forbids_a_word() -> None:
    base, new = side("b", LATENCY, [0.1] * 5), side("n", LATENCY, [0.2] * 5)
    comparison = compare_runs(base, [*new, base[0]])
    assert comparison.word is None
    assert comparison.notes == ("b0 is on both sides, so nothing is judged",)


def test_a_metric_that_was_not_measured_in_every_run_is_not_judged() -> None:
    base, new = side("b", LATENCY, [0.1] * 5), side("n", LATENCY, [0.2] * 5)
    new[2] = replace(new[2], figures={m: v for m, v in CALM.items() if m != LATENCY})
    comparison = compare_runs(base, new)
    assert row_of(comparison, LATENCY).word is None
    assert row_of(comparison, LATENCY).new[2] is None
    assert "GetMessages latency p99: not measured in every run, so not judged" in comparison.notes
    assert [row.metric for row in comparison.unmeasured] == [LATENCY]
    # All other metrics are equivalent, and this one may be worse.
    assert comparison.word == UNDECIDED
    answer = comparison_document(comparison, []).answer.text
    assert str(answer).endswith("Still possible: GetMessages latency p99 by an unknown amount")
    for runs in (base, new):
        runs[:] = [replace(run, figures={m: v for m, v in run.figures.items() if m != LATENCY}) for run in runs]
    assert compare_runs(base, new).word == EQUIVALENT


def test_figures_of_books() -> None:
    books = Books()
    books.started = 20
    books.verdicts.update(
        completed=10, dropped_late=1, dropped_unproven=1, dropped_early=1, refused=4, failed=2, gave_up=1
    )
    books.sent.update(GetMessages=60, Disconnect=20)
    books.outcomes = {"GetMessages": {"0/false": 50, "1/false": 8, "timeout": 2}, "Disconnect": {"0/true": 20}}  # type: ignore[dict-item]
    for gap in (20.0, 50.0):
        books.gap.add(gap)
    figures = measure(books, 45.0)
    by_key = {metric.key: value for metric, value in figures.items()}
    # late, early, unproven and the accepted one that gave up, of all but the refused
    assert figures[DROPPED] == 4 / 16
    assert figures[UNSERVED] == 4 / 20
    assert figures[UNSUCCESSFUL] == 10 / 80
    assert figures[MARGIN] == pytest.approx(-5, abs=0.5)  # p1 of two
    assert by_key["refresh.margin_s.min"] == -5.0
    assert by_key["requests.per_session"] == 4.0
    assert by_key["sessions.completed.rate"] == 10 / 16
    assert by_key["sessions.refused.rate"] == 4 / 20
    assert LATENCY not in figures and LATENESS not in figures
    assert MARGIN not in measure(books, None)
    assert measure(Books(), 45.0) == {}


def test_every_tail_of_every_operation_is_shown() -> None:
    books = Books()
    for operation in ("SendMessage", "GetMessages"):
        books.latency[operation] = CensoredHistogram(books.lateness)
    books.lateness.add(0.1)
    keys = [metric.key for metric in measure(books, 45.0)]
    for operation in ("GetMessages", "SendMessage"):
        for quantile in ("p50", "p99", "p99_9"):
            assert f"requests.{operation}.latency_s.{quantile}" in keys
    assert "refresh.lateness_s.p99_9" in keys


def test_settings_that_differ() -> None:
    base = [RunSettings(users=5, name="a", started_at=1, chat_seed=1, host="x")] * 2
    new = [
        RunSettings(users=5, name="b", started_at=2, chat_seed=2, host="y"),
        RunSettings(users=1234568, host="x", flex_disconnect_timeout=30.0),
    ]
    found = settings_differences(base, new)
    assert [str(difference) for difference in found] == [
        "flex_disconnect_timeout: base not set; new not set, 30",
        "users: base 5; new 5, 1234568",
        "host: base x; new y, x",
    ]
    assert [difference.defines_load for difference in found] == [True, True, False]
    side = [RunSettings(users=5), RunSettings(users=6)]
    assert [str(difference) for difference in settings_differences(side, side)] == ["users: base 5, 6; new 5, 6"]


def test_what_only_one_side_has_is_shown_with_its_value() -> None:
    """A run without SendMessage against one with it: there is nothing to compare, but a value to show."""
    metric = ComparedMetric("requests.SendMessage.latency_s.p99", "SendMessage latency p99", FigureKind.DURATION)
    (row,) = [
        row
        for row in compare_runs([RunFigures("a", {})], [RunFigures("b", {metric: 0.2})]).rows
        if row.metric == metric
    ]
    assert (row.base_mean, row.new_mean, row.change) == (None, pytest.approx(0.2), None)
    assert [value(row, mean) for mean in (row.base_mean, row.new_mean)] == ["none", "200 ms"]


@pytest.mark.parametrize(
    ("metric", "low", "within", "beyond"),
    [
        # A duration: 5 % of the lower one; and of the least size that matters.
        (LATENCY, 0.1, 0.10499, 0.10501),
        (LATENCY, 0.001, 0.00109, 0.00111),
        (LATENESS, 0.1, 0.1099, 0.1101),
        # A rate: 0.1 percentage points and 5 % of the lower one.
        (DROPPED, 0.01, 0.01149, 0.01151),
        (DROPPED, 0.0, 0.00099, 0.00101),
        (UNSUCCESSFUL, 0.2, 0.21099, 0.21101),
        # A margin: 5 % of the timeout.
        (MARGIN, 20.0, 22.249, 22.251),
        (MARGIN, -1.0, 1.249, 1.251),
    ],
)
def test_the_least_effect_that_matters(metric: ComparedMetric, low: float, within: float, beyond: float) -> None:
    for high, evident in ((within, False), (beyond, True)):
        one, other = side("b", metric, [low] * 5), side("n", metric, [high] * 5)
        up, down = (BETTER, WORSE) if metric == MARGIN else (WORSE, BETTER)
        assert compare_runs(one, other).word == (up if evident else EQUIVALENT)
        assert compare_runs(other, one).word == (down if evident else EQUIVALENT)


def test_a_row_in_numbers() -> None:
    base, new = [0.1, 0.12, 0.13, 0.14], [0.16, 0.18, 0.19, 0.25, 0.26]
    comparison = compare_runs(side("b", LATENCY, base), side("n", LATENCY, new))
    row = row_of(comparison, LATENCY)
    before, after = np.log(base), np.log(new)
    assert (row.base_mean, row.new_mean) == pytest.approx((np.exp(before.mean()), np.exp(after.mean())))
    assert row.change == pytest.approx(np.exp(after.mean() - before.mean()) - 1)
    assert (row.p, row.word, row.matters_from) == (pytest.approx(1 / 126), WORSE, pytest.approx(0.05))
    parts = before.var(ddof=1) / 4, after.var(ddof=1) / 5
    df = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 4)
    low, high = np.expm1(after.mean() - before.mean() + np.array([-1, 1]) * student.ppf(0.95, df) * np.sqrt(sum(parts)))
    assert row.interval == pytest.approx((low, high))


def test_a_difference_of_rates_in_numbers() -> None:
    base, new = [0.01, 0.012, 0.013, 0.014], [0.02, 0.022, 0.024, 0.026]
    row = row_of(compare_runs(side("b", DROPPED, base), side("n", DROPPED, new)), DROPPED)
    assert (row.base_mean, row.new_mean, row.change) == pytest.approx((0.01225, 0.023, 0.01075))
    assert row.p == pytest.approx(2 / 70)
    assert row.matters_from == pytest.approx(0.001 + 0.05 * 0.01225)
    parts = np.var(base, ddof=1) / 4, np.var(new, ddof=1) / 4
    half = student.ppf(0.95, sum(parts) ** 2 / (sum(part**2 for part in parts) / 3)) * np.sqrt(sum(parts))
    assert row.interval == pytest.approx((0.01075 - half, 0.01075 + half))


def welch_t(values: list[float], chosen: tuple[int, ...]) -> float:
    new = [values[i] for i in chosen]
    base = [value for i, value in enumerate(values) if i not in chosen]
    return float(abs(ttest_ind(new, base, equal_var=False).statistic))


def test_the_family_s_p_is_that_of_every_way_to_deal_the_runs() -> None:
    """The statistic of the module's head, of one metric that varies, deal by deal."""
    base, new = [0.010, 0.013, 0.016, 0.021], [0.018, 0.022, 0.027, 0.030, 0.019]
    values = [*base, *new]
    statistics = {}
    for chosen in combinations(range(9), 5):
        means = np.mean([values[i] for i in chosen]), np.mean([v for i, v in enumerate(values) if i not in chosen])
        effect = abs(means[0] - means[1]) / (0.001 + 0.05 * min(means))
        statistics[chosen] = welch_t(values, chosen) if effect >= 1 else 0.0
    seen = statistics[4, 5, 6, 7, 8]
    expected = np.mean([statistic >= seen * (1 - 1e-9) for statistic in statistics.values()])
    row = row_of(compare_runs(side("b", DROPPED, base), side("n", DROPPED, new)), DROPPED)
    assert row.p == pytest.approx(expected)
    assert 0.01 < expected < 0.5


def test_bounds_are_shown_and_no_bound_is_called_better() -> None:
    base, new = side("b", LATENCY, [0.2] * 4), side("n", LATENCY, [0.1] * 4)
    assert row_of(compare_runs(base, new), LATENCY).word == BETTER
    one_bound = [replace(new[0], bounds=frozenset({LATENCY})), *new[1:]]
    row = row_of(compare_runs(base, one_bound), LATENCY)
    assert (row.word, row.base_is_bound, row.new_is_bound) == (UNDECIDED, False, True)
    row = row_of(compare_runs(one_bound, base), LATENCY)
    assert (row.word, row.base_is_bound, row.new_is_bound) == (WORSE, True, False)
    bounded = [replace(run, bounds=frozenset({LATENCY})) for run in side("n", LATENCY, [0.2] * 4)]
    assert row_of(compare_runs(base, side("n", LATENCY, [0.2] * 4)), LATENCY).word == EQUIVALENT
    assert row_of(compare_runs(base, bounded), LATENCY).word == UNDECIDED


def test_a_comparison_in_words_and_as_json() -> None:
    other = ComparedMetric("requests.per_session", "requests per session", FigureKind.COUNT, None)
    base = [replace(run, figures=run.figures | {other: 4.0}, sessions=7) for run in side("b", LATENCY, [0.1] * 4)]
    new = [replace(run, figures=run.figures | {other: 8.0}) for run in side("n", LATENCY, [0.2] * 4)]
    comparison = compare_runs(base, new)
    assert [row.metric for row in comparison.rows if row.word in (WORSE, BETTER)] == [LATENCY]
    assert row_of(comparison, LATENCY).word == WORSE
    assert [row.metric for row in comparison.judged] == list(FAMILY)
    assert len(comparison.rows) == len(FAMILY) + 1
    assert compare_runs(new, base).word == BETTER
    data = comparison.to_dict()
    assert (data["word"], data["alpha"], data["confidence"]) == ("worse", 0.05, 0.95)
    assert data["base"][0] == {"run": "b0", "started_at": 0.125, "sessions": 7, "problems": []}
    assert data["order"]["letters"] == "BNBNBNBN" and data["order"]["is_balanced"] and not data["order"]["is_paired"]
    assert [run["run"] for run in data["new"]] == ["n0", "n1", "n2", "n3"]
    assert data["tolerance"] == {"relative": 0.05, "rate": 0.001, "hourly": 0.01}
    count = data["metrics"]["requests.per_session"]
    assert (count["label"], count["kind"], count["judged"], count["change_is"]) == (
        "requests per session", "count", False, "ratio_minus_1",
    )  # fmt: skip
    assert (count["base_mean"], count["change"], count["word"]) == (pytest.approx(4.0), pytest.approx(1.0), None)
    changes = {key: row["change_is"] for key, row in data["metrics"].items()}
    assert changes[LATENCY.key] == "ratio_minus_1" and changes[MARGIN.key] == changes[DROPPED.key] == "difference"
    assert "metric" not in count


def test_copies_are_told_by_their_identity() -> None:
    base, new = side("b", LATENCY, [0.1] * 4), side("n", LATENCY, [0.2] * 4)
    same = [replace(run, identity="i") for run in base[:2]]
    comparison = compare_runs([*same, *base[2:]], new)
    assert [run.run for run in comparison.base] == ["b0", "b2", "b3"]
    assert comparison.notes == ("b1 is the same run as b0 and counts once: a copy is no evidence",)
    assert comparison.word is None
    crossed = compare_runs([replace(base[0], identity="i"), *base[1:]], [replace(new[0], identity="i"), *new[1:]])
    assert (crossed.word, crossed.notes) == (None, ("n0 is on both sides, so nothing is judged",))


def test_the_timeout_of_a_margin_is_the_mean_of_those_told() -> None:
    base, new = side("b", MARGIN, [20.0] * 4), side("n", MARGIN, [22.0] * 4)
    assert compare_runs(base, new).word == EQUIVALENT
    short = [[replace(run, timeout_s=timeout_s) for run in runs] for runs, timeout_s in ((base, 30.0), (new, None))]
    assert compare_runs(*short).word == BETTER
    mixed = [[replace(run, timeout_s=timeout_s) for run in runs] for runs, timeout_s in ((base, 30.0), (new, 60.0))]
    assert compare_runs(*mixed).word == EQUIVALENT


def blocked(runs: list[RunFigures], at: float) -> list[RunFigures]:
    return [replace(run, started_at=at + i) for i, run in enumerate(runs)]


def test_runs_in_blocks_are_not_comparable_unless_allowed() -> None:
    base, new = blocked(side("b", LATENCY, [0.1] * 5), 0.0), blocked(side("n", LATENCY, [0.2] * 5), 10.0)
    comparison = compare_runs(base, new)
    assert (comparison.word, comparison.blocked, comparison.judged) == (NOT_COMPARABLE, True, [])
    assert comparison.order.letters == "BBBBBNNNNN"
    assert row_of(comparison, LATENCY).interval is not None
    assert compare_runs(base, new, allow_blocked=True).word == WORSE


def test_runs_without_a_start_time_are_not_comparable_unless_allowed() -> None:
    base, new = side("b", LATENCY, [0.1] * 5), side("n", LATENCY, [0.2] * 5)
    unknown = [replace(new[0], started_at=None), *new[1:]]
    assert compare_runs(base, unknown).word == NOT_COMPARABLE
    assert compare_runs(base, unknown, allow_blocked=True).word == WORSE


def test_too_few_runs_are_not_judged_whatever_their_order_is() -> None:
    base, new = blocked(side("b", LATENCY, [0.1] * 3), 0.0), blocked(side("n", LATENCY, [0.2] * 3), 10.0)
    assert (compare_runs(base, new).word, compare_runs(base, new).blocked) == (None, False)


def test_pairs_of_runs_share_their_drift() -> None:
    """The level doubles with every pair, and NEW is 20 % slower within each: only pairs show it."""
    level = [0.1 * 2.0**i for i in range(8)]
    ratio = [1.2, 1.21, 1.19, 1.2, 1.22, 1.18, 1.2, 1.21]
    base = side("b", LATENCY, level)
    always_first = side("n", LATENCY, [a * b for a, b in zip(level, ratio, strict=True)])
    # In every other pair NEW is first.
    new = [
        replace(run, started_at=(run.started_at or 0.0) - 0.002 * (i % 2)) for i, run in enumerate(always_first)
    ]  # fmt: skip
    row = row_of(compare_runs(base, new), LATENCY)
    assert (row.word, row.p) == (WORSE, pytest.approx(2 / 2**8))
    logs = np.log(ratio)
    half = student.ppf(0.95, 7) * logs.std(ddof=1) / np.sqrt(8)
    assert row.interval == pytest.approx(tuple(np.expm1([logs.mean() - half, logs.mean() + half])))
    shuffled = [*reversed(new)]
    mixed = [replace(run, started_at=old.started_at) for run, old in zip(shuffled, new, strict=True)]
    assert row_of(compare_runs(base, mixed), LATENCY).word == UNDECIDED
    assert row_of(compare_runs(base[:7], new[:7]), LATENCY).word == UNDECIDED
    assert row_of(compare_runs(base, always_first), LATENCY).word == UNDECIDED


def test_runs_are_taken_in_the_order_of_time() -> None:
    base, new = side("b", LATENCY, [0.1 + 0.01 * i for i in range(8)]), side("n", LATENCY, [0.15] * 8)
    comparison = compare_runs([*reversed(base)], new)
    assert [run.run for run in comparison.base] == [f"b{i}" for i in range(8)]
    assert comparison == compare_runs(base, new)


def test_no_drop_in_a_few_sessions_does_not_show_equivalence() -> None:
    """0 of 5 x 200 on both sides: one more per 1000 sessions is not excluded. 0 of 5 x 2000 excludes it."""
    for sessions, word in ((200, UNDECIDED), (2000, EQUIVALENT)):
        base, new = (
            [replace(run, trials={DROPPED: sessions}) for run in side(name, DROPPED, [0.0] * 5)] for name in ("b", "n")
        )
        row = row_of(compare_runs(base, new), DROPPED)
        assert row.word == word
        # By hand: one hit and one miss added on each side; Student's t with 8 degrees of freedom.
        rate = 1 / (5 * sessions + 2)
        half = 1.8595 * np.sqrt(2 * rate * (1 - rate) / (5 * sessions + 2))
        assert row.interval == pytest.approx((-half, half), rel=1e-4)
        assert row.excludes_worse == (word == EQUIVALENT)


def test_one_word_for_the_whole_comparison() -> None:
    noisy = [0.05, 0.07, 0.1, 0.12, 0.15]
    base = [replace(run, figures=run.figures | {LATENESS: 0.1}) for run in side("b", LATENCY, noisy)]
    better = [replace(run, figures=run.figures | {LATENESS: 0.05}) for run in side("n", LATENCY, noisy)]
    comparison = compare_runs(base, better)
    assert (row_of(comparison, LATENCY).word, row_of(comparison, LATENESS).word) == (UNDECIDED, BETTER)
    assert comparison.word == BETTER
    assert compare_runs(better, [replace(run, started_at=run.started_at + 0.01) for run in base]).word == WORSE


def censored_sides(drops: tuple[float, float], hours: float, censored: bool = True) -> list[list[RunFigures]]:
    """Four runs a side in pairs, with these drops per chat-hour and no drop among the sessions whose fate is known."""
    return [
        [
            replace(
                run,
                figures={DROPPED: 0.0, DROPPED_HOURLY: hourly * (1 + 0.01 * at)},
                trials={DROPPED: 1000, DROPPED_HOURLY: hours},
                is_censored=censored and at == 0,
            )
            for at, run in enumerate(side(name, LATENCY, [0.1] * 4))
        ]
        for name, hourly in zip("bn", drops, strict=True)
    ]


def test_drops_are_judged_per_chat_hour_where_a_run_is_censored() -> None:
    comparison = compare_runs(*censored_sides((0.5, 2.0), 1000.0))
    assert [row.metric for row in comparison.judged] == [DROPPED_HOURLY]
    assert (comparison.word, row_of(comparison, DROPPED).word) == (WORSE, None)
    assert any(
        note == "drops are compared per chat-hour, because the end of 2 of 8 runs cut off more than 10 % of the chats"
        for note in comparison.notes
    )
    assert comparison.to_dict()["metrics"][DROPPED_HOURLY.key]["judged"]


def test_the_user_says_which_rate_of_drops_is_judged() -> None:
    sides = censored_sides((0.5, 2.0), 1000.0)
    by_session = compare_runs(*sides, drops=DropsJudged.PER_SESSION)
    assert [row.metric for row in by_session.judged] == [DROPPED]
    assert "such a rate is lower than that of whole chats" in " ".join(by_session.notes)
    whole = censored_sides((0.5, 2.0), 1000.0, censored=False)
    assert [row.metric for row in compare_runs(*whole).judged] == [DROPPED]
    by_hour = compare_runs(*whole, drops=DropsJudged.PER_CHAT_HOUR)
    assert ([row.metric for row in by_hour.judged], by_hour.word) == ([DROPPED_HOURLY], WORSE)


@pytest.mark.parametrize(("hours", "word"), [(20.0, UNDECIDED), (2000.0, EQUIVALENT)])
def test_no_drop_in_few_chat_hours_proves_no_equality(hours: float, word: str) -> None:
    # 0 drops: the standard error is that of one drop, 1 / (4 * hours), on each side. The tolerance is 0.01 per hour.
    comparison = compare_runs(*censored_sides((0.0, 0.0), hours))
    assert row_of(comparison, DROPPED_HOURLY).word == word
    estimate = row_of(comparison, DROPPED_HOURLY).estimate
    assert estimate is not None and estimate.error == pytest.approx(2**0.5 / (4 * hours))


def test_drops_per_chat_hour_in_words() -> None:
    comparison = compare_runs(*censored_sides((0.5, 2.0), 1000.0))
    out = StringIO()
    render(comparison_document(comparison, findable_by(comparison)), out, 80)
    text = out.getvalue()
    assert text.startswith("WORSE: drops per chat-hour +1.52 /h")
    assert re.search(r"^drops per chat-hour +0\.51 +2 +\+1\.52 /h", text, re.M)
    assert "For drops per chat-hour the tolerance is 0.01 plus 5 % of the lower rate." in " ".join(text.split())
