"""A hopeless run is given up; one that meets its threshold seldom is, however often one looks."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction

import pytest

from chatload.run.books import Books
from chatload.thresholds.judgement import hopeless, log_evidence
from chatload.thresholds.metrics import Facts, parse_abort

SESSIONS = 2000


def facts(started: int | None = None, **verdicts: int) -> Facts:
    books = Books()
    books.verdicts = Counter(verdicts)
    books.started = sum(verdicts.values()) if started is None else started
    return Facts(books, 45.0)


def gives_up(text: str, given: Facts) -> bool:
    return hopeless(parse_abort(text), given) is not None


@pytest.mark.parametrize(("k", "n", "limit"), [(0, 0, 0.1), (0, 5, 0.3), (3, 10, 0.2), (7, 7, 0.5), (1, 40, 0.01)])
def test_the_evidence_is_the_integral(k: int, n: int, limit: float) -> None:
    low = Fraction(limit)
    # (1-p)^(n-k) expanded, so that the integral is a sum of powers
    total = sum((-1) ** j * math.comb(n - k, j) * (1 - low ** (k + j + 1)) / (k + j + 1) for j in range(n - k + 1))
    expected = total / (1 - low) / (low**k * (1 - low) ** (n - k))
    assert math.exp(log_evidence(k, n, limit)) == pytest.approx(float(expected), rel=1e-9)


def test_much_evidence_neither_way_breaks_it() -> None:
    assert log_evidence(0, 10**6, 0.5) < 0
    assert log_evidence(10**6, 10**6, 0.001) == pytest.approx(10**6 * math.log(1000), rel=0.01)


def first_given_up(rate: float, limit: float, draw: random.Random, bounds: list[int]) -> int | None:
    """After how many sessions, looked at after each, a run is given up."""
    hits = 0
    for n in range(1, SESSIONS + 1):
        hits += draw.random() < rate
        if hits >= bounds[n]:
            return n
    return None


def lost_from(limit: float) -> list[int]:
    """With how many hits a run is given up, after n sessions; `hopeless` itself says so."""
    bounds, k = [1], 0
    text = f"dropped_late.rate < {limit!r}"
    for n in range(1, SESSIONS + 1):
        while k <= n and not gives_up(text, facts(dropped_late=k, completed=n - k)):
            k += 1
        bounds.append(k)
    return bounds


@pytest.mark.parametrize("limit", [0.002, 0.01, 0.1])
def test_a_run_at_its_limit_is_seldom_given_up_and_a_bad_one_mostly_is(limit: float) -> None:
    draw = random.Random(11)
    bounds = lost_from(limit)
    runs = 1000
    wrongly = sum(first_given_up(limit, limit, draw, bounds) is not None for _ in range(runs))
    assert wrongly / runs <= 0.05
    if limit >= 0.01:
        fivefold = [first_given_up(5 * limit, limit, draw, bounds) for _ in range(100)]
        assert sum(n is not None for n in fivefold) >= 99


def test_the_look_at_any_time_costs_something_but_not_much() -> None:
    # 5 of 100 against 1 % would fail at a planned end, not yet here; 8 do
    assert not gives_up("dropped_late.rate < 1%", facts(completed=96, dropped_late=4))
    assert gives_up("dropped_late.rate < 1%", facts(completed=92, dropped_late=8))


def test_sessions_still_alive_count_for_the_threshold() -> None:
    ended = {"completed": 2, "dropped_late": 8}
    assert gives_up("dropped_late.rate < 10%", facts(**ended))
    assert not gives_up("dropped_late.rate < 10%", facts(started=100, **ended))
    assert gives_up("completed.rate > 90%", facts(completed=2, failed=8))
    assert not gives_up("completed.rate > 90%", facts(started=100, completed=2, failed=8))
    # the refused never began
    assert gives_up("dropped_late.rate < 10%", facts(refused=1000, **ended))
    assert not gives_up("refused.rate < 95%", facts(refused=50, started=1000))
    assert gives_up("refused.rate < 1%", facts(refused=50, started=1000))


def test_only_what_is_proven_counts() -> None:
    assert gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_late=10))
    assert not gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_unproven=10))
    assert not gives_up("completed.rate > 99%", facts(completed=90, dropped_unproven=10))
    assert gives_up("dropped_unproven.rate < 1%", facts(completed=90, dropped_unproven=10))


def test_percentiles_counts_and_extremes() -> None:
    books = Books()
    for gap in [20.0] * 80 + [41.0] * 20:
        books.gap.add(gap)
    given = Facts(books, 45.0)
    assert gives_up("gap.p99 < 40s", given) and gives_up("margin.p1 > 5s", given)
    assert not gives_up("gap.p75 < 40s", given) and not gives_up("margin.p25 > 5s", given)
    assert gives_up("gap.p50 > 30s", given) and not gives_up("gap.p10 > 10s", given)
    assert gives_up("gap.max < 41s", given) and not gives_up("gap.max <= 41s", given)
    assert gives_up("margin.min > 4s", given) and not gives_up("margin.min >= 4s", given)
    dropped = facts(completed=5, dropped_late=3)
    assert gives_up("dropped_late.count == 0", dropped) and gives_up("dropped_late.count < 3", dropped)
    assert not gives_up("dropped_late.count == 5", dropped) and not gives_up("dropped_late.count <= 3", dropped)


@pytest.mark.parametrize(
    "text", ["dropped_late.rate < 1%", "completed.rate > 0%", "latency.p99 < 1s", "gap.max < 1s", "margin.p1 > 1s"]
)
def test_nothing_is_hopeless_before_it_began(text: str) -> None:
    assert not gives_up(text, Facts(Books()))
    assert not gives_up(text, Facts(Books(), 45.0))


def test_the_sentence_says_what_is_lost_and_how_sure() -> None:
    said = hopeless(parse_abort("dropped_late.rate < 1%"), facts(completed=90, dropped_late=10))
    assert said == (
        "dropped_late.rate < 1% is lost: 10 of 100 sessions begun speak against it; "
        "if it holds, this many do so in at most 5 % of runs"
    )


def test_the_refused_are_counted_among_the_begun_where_they_are_what_is_asked_about() -> None:
    given = facts(started=1000, refused=50, dropped_late=200, completed=100)
    refused = hopeless(parse_abort("refused.rate < 1%"), given)
    dropped = hopeless(parse_abort("dropped_late.rate < 1%"), given)
    assert refused is not None and "50 of 1000 sessions begun" in refused
    assert dropped is not None and "200 of 950 sessions begun" in dropped
