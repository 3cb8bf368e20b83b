"""What a comparison can find, how many runs it needs, and in which order they are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chatload.errors import UsageError
from chatload.features.compare.compute import ENOUGH_RUNS, FAMILY, RunFigures, Tolerance, compare_runs
from chatload.features.compare.order import ENOUGH_PAIRS, RunOrder, order_of
from chatload.features.compare.power import (
    HIGH,
    MOST_RUNS,
    USUAL,
    Rules,
    RunCount,
    RunNoise,
    findable_by,
    make_plan,
    planned,
    schedule,
)

DROPPED, UNSERVED, UNSUCCESSFUL, LATENCY, LATENESS, MARGIN = FAMILY


def runs_of(latencies: list[float], drops: float = 0.0, sessions: int = 1000, shift: float = 0.0) -> list[RunFigures]:
    figures = {DROPPED: drops, UNSERVED: 0.0, UNSUCCESSFUL: 0.0, LATENESS: 0.002, MARGIN: 20.0}
    return [
        RunFigures(
            f"r{shift}-{i}", {**figures, LATENCY: latency}, 45.0, started_at=i + shift, trials={DROPPED: sessions},
            identity=f"{shift}-{i}",
        )
        for i, latency in enumerate(latencies)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("base", "new", "letters"),
    [
        ([1.0, 3.0], [2.0, 4.0], "BNBN"),
        ([1.0, 2.0], [3.0, 4.0], "BBNN"),
        ([4.0, 1.0], [2.0, 3.0], "BNNB"),
        ([1.0, None], [3.0, 4.0], ""),
    ],
)
def test_the_order_is_that_of_the_start_times(base: list[float | None], new: list[float | None], letters: str) -> None:
    order = order_of(base, new)
    assert (order.letters, order.is_known) == (letters, bool(letters))
    assert (order.inflation is None) == (not letters)


def test_an_order_of_one_run_has_no_inflation() -> None:
    assert order_of([1.0], [2.0, 3.0]) == RunOrder("BNN", None)


def test_only_alternating_orders_are_balanced() -> None:
    for text, balanced in (("BNBNBNBN", True), ("BNNBBNNB", True), ("BBBBNNNN", False), ("BBBNNNBN", False)):
        starts = [[float(i) for i, letter in enumerate(text) if letter == side] for side in "BN"]
        assert order_of(starts[0], starts[1]).is_balanced == balanced, text


@pytest.mark.parametrize(
    ("letters", "paired"),
    [
        ("BNNB" * 4, True),
        ("BN" * 5 + "NB" * 3, True),
        ("BN" * 6 + "NB" * 2, False),
        ("BN" * 8, False),
        ("BNNB" * 3 + "BN", False),
        ("BBNN" * 4, False),
        ("BNNB" * 4 + "B", False),
    ],
)
def test_pairs(letters: str, paired: bool) -> None:
    assert RunOrder(letters, 0.5).is_paired == paired


def test_every_schedule_is_in_pairs_and_balanced() -> None:
    random = np.random.default_rng(1)
    drawn = set()
    for runs in (ENOUGH_RUNS, 5, ENOUGH_PAIRS, 21):
        for _ in range(50):
            letters = schedule(runs, random)
            drawn.add(letters)
            assert letters.count("B") == letters.count("N") == runs
            pairs = [letters[at : at + 2] for at in range(0, 2 * runs, 2)]
            assert abs(pairs.count("BN") - pairs.count("NB")) == runs % 2
            starts = [[float(i) for i, letter in enumerate(letters) if letter == side] for side in "BN"]
            order = order_of(starts[0], starts[1])
            assert order.is_balanced, letters
            assert order.is_paired == (runs >= ENOUGH_PAIRS) == planned(runs).paired
    assert len(drawn) > 80


def test_the_smallest_regression_by_hand() -> None:
    """One metric, 10 pairs, noise 10 % of a logarithm: 80 % power at 5 % needs 0.996 deviations of a difference.

    (R: power.t.test(n = 10, power = 0.8, type = "paired") has delta = 0.9964 at sd = 1. A difference of two runs has
    sqrt(2) times the noise of a run. The level is 5 % but for the 2^10 ways to exchange: 50 / 1024 = 4.88 %.)
    """
    rules = Rules(Tolerance(0.05), 45.0, metrics=1)
    noise, count = RunNoise(LATENCY, 0.1, 0.1, 0.0), RunCount(10, 10, paired=True)
    assert count.level == 50 / 1024
    found = rules.smallest_found(noise, count, USUAL)
    assert found == pytest.approx(np.expm1(0.9964 * 2**0.5 * 0.1), rel=0.01)
    assert rules.chance(noise, count, float(np.log1p(found))) == pytest.approx(USUAL, abs=1e-6)


def test_few_runs_have_few_p_values() -> None:
    """4 + 4 runs can be divided in 70 ways; a division and its mirror have the same p: 2 / 70, then 4 / 70."""
    assert RunCount(4, 4).level == 2 / 70
    assert RunCount(5, 5).level == 12 / 252
    assert RunCount(8, 8, paired=True).level == 12 / 256


def test_more_runs_or_less_noise_find_less_and_a_family_finds_more_slowly() -> None:
    def found(runs: int = 5, sd: float = 0.15, metrics: int = 6, share: float = USUAL) -> float:
        result = Rules(Tolerance(), 45.0, metrics).smallest_found(
            RunNoise(LATENCY, sd, sd, 0.0), RunCount(runs, runs), share
        )
        assert result is not None
        return result

    assert found(runs=7) < found() < found(runs=4)
    assert found(sd=0.1) < found() < found(sd=0.2)
    assert found(metrics=1) < found() < found(share=HIGH)
    # Without noise the tolerance is what is found.
    assert found(sd=0.0) == pytest.approx(0.05)


def test_a_rate_of_zero_still_has_the_noise_of_its_sessions() -> None:
    rules = Rules(Tolerance(), 45.0, metrics=1)
    few, many = (
        rules.smallest_found(RunNoise(DROPPED, 0.0, 0.0, 0.0, trials), RunCount(5, 5), USUAL) for trials in (200, 20000)
    )
    assert few is not None and many is not None
    assert few > 5 * many > 5 * 0.001
    # 0 of 4 x 107 on both sides is not enough for equivalence, as `compare` itself finds.
    needed = rules.runs_for_equivalence(RunNoise(DROPPED, 0.0, 0.0, 0.0, 107), USUAL)
    assert needed is not None and needed * 107 > 2500
    # Ten sessions cannot show a drop rate of a few percent: the least is a large part of them.
    assert (rules.smallest_found(RunNoise(DROPPED, 0.0, 0.0, 0.0, 10), RunCount(5, 5), USUAL) or 1) > 0.1


def test_what_can_never_be_found_is_none() -> None:
    rules = Rules(Tolerance(), 45.0)
    assert rules.smallest_found(RunNoise(LATENCY, 5.0, 5.0, 0.0), RunCount(4, 4), USUAL) is None
    assert rules.runs_to_find(RunNoise(LATENCY, 5.0, 5.0, 0.0), USUAL) is None
    assert rules.runs_for_equivalence(RunNoise(LATENCY, 5.0, 5.0, 0.0), USUAL) is None


def test_the_runs_needed_are_the_fewest_that_suffice() -> None:
    rules, noise = Rules(Tolerance(0.1), 45.0), RunNoise(LATENCY, 0.1, 0.1, 0.0)
    runs = rules.runs_to_find(noise, USUAL)
    assert runs is not None and ENOUGH_RUNS < runs < MOST_RUNS
    change = 2 * rules.least(noise)
    assert rules.chance(noise, planned(runs), change) >= USUAL > rules.chance(noise, planned(runs - 1), change)
    equal = rules.runs_for_equivalence(noise, USUAL)
    assert equal is not None and equal > ENOUGH_RUNS


def test_a_comparison_says_what_its_runs_can_find() -> None:
    base, new = runs_of([0.1, 0.11, 0.12, 0.1, 0.11]), runs_of([0.1, 0.12, 0.11, 0.11, 0.1], shift=0.5)
    found = {item.metric: item for item in findable_by(compare_runs(base, new))}
    assert set(found) == set(FAMILY)
    latency = found[LATENCY]
    assert latency.usual is not None and latency.high is not None
    assert 0.05 < latency.usual < latency.high
    logs = np.log([[run.figures[LATENCY] for run in side] for side in (base, new)])
    assert latency.noise == pytest.approx(np.expm1(np.sqrt(logs.var(axis=1, ddof=1).mean())))
    assert found[LATENESS].usual == pytest.approx(5.0)  # 10 ms more than 2 ms
    assert found[LATENESS].runs == ENOUGH_RUNS
    assert findable_by(compare_runs(base[:3], new[:3])) == []


def test_pairs_find_less_if_their_runs_are_alike() -> None:
    level = [0.1 * 1.3**i for i in range(8)]
    base, new = runs_of(level), runs_of([a * b for a, b in zip(level, [1.0, 1.02] * 4, strict=True)], shift=0.1)
    new = [replace(run, started_at=(run.started_at or 0.0) - 0.2 * (i % 2)) for i, run in enumerate(new)]
    paired = next(item for item in findable_by(compare_runs(base, new)) if item.metric == LATENCY)
    assert paired.noise < 0.02
    crossed = [replace(run, started_at=old.started_at) for run, old in zip(new, new[::-1], strict=True)]
    apart = next(item for item in findable_by(compare_runs(base, crossed)) if item.metric == LATENCY)
    assert apart.noise > 0.5


def test_a_plan_takes_the_noisiest_metric() -> None:
    random = np.random.default_rng(2)
    earlier = runs_of([0.1, 0.11, 0.12, 0.1, 0.11], drops=0.01, sessions=20000)
    plan = make_plan(earlier, None, Tolerance(), False, random)
    needed = {item.metric: item.runs for item in plan.findable}
    assert plan.runs == max(n for n in needed.values() if n is not None) == needed[LATENCY]
    assert len(plan.letters) == 2 * plan.runs
    assert (plan.earlier, len(plan.findable), len(plan.by_noise)) == (5, 6, 5)
    assert make_plan(earlier, 6, Tolerance(), False, random).runs == 6
    assert make_plan([], 6, Tolerance(), False, random).findable == ()


def test_a_plan_that_needs_too_many_runs_says_what_to_do() -> None:
    earlier = runs_of([0.1, 0.2, 0.4, 0.1, 0.3])
    with pytest.raises(UsageError, match=r"GetMessages latency p99 needs more than 200 runs a side; make longer runs"):
        make_plan(earlier, None, Tolerance(), False, np.random.default_rng(3))
