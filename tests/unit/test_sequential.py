"""--abort-on: a run that loses its threshold is ended early; one that meets it seldom is, however often one looks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from chatload.run.books import Books
from chatload.thresholds.abort import AbortMonitor
from chatload.thresholds.metrics import Facts, parse_abort

TIMEOUT_S = 45.0


def facts(started: int | None = None, **verdicts: int) -> Facts:
    books = Books()
    books.verdicts = Counter(verdicts)
    books.started = sum(verdicts.values()) if started is None else started
    return Facts(books, TIMEOUT_S)


def why(text: str, given: Facts, blocks: int = 10, alpha: float = 0.05) -> str:
    """Why a run is ended whose samples came evenly over `blocks` blocks of time; "" if it goes on."""
    monitor = AbortMonitor([parse_abort(text)], alpha, TIMEOUT_S)
    for block in range(1, blocks + 1):
        books = Books()
        books.started = given.books.started * block // blocks
        for verdict, n in given.books.verdicts.items():
            books.verdicts[verdict] = n * block // blocks
        monitor.why_lost(Facts(books, given.timeout_s), TIMEOUT_S * block)
    return monitor.why_lost(given, TIMEOUT_S * (blocks + 1))


def gives_up(text: str, given: Facts, blocks: int = 10) -> bool:
    return bool(why(text, given, blocks))


def is_lost(text: str, given: Facts) -> bool:
    """Whether a run is ended at its first look."""
    return bool(AbortMonitor([parse_abort(text)], 0.05, given.timeout_s).why_lost(given, 1.0))


def test_drops_that_come_over_time_end_a_run_and_those_of_one_moment_do_not() -> None:
    # 10 of 100 against 1 %: ten incidents, or one
    assert gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_late=10))
    assert not gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_late=10), blocks=1)
    assert not gives_up("dropped_late.rate < 1%", facts(completed=97, dropped_late=3))


def test_the_evidence_of_ten_incidents_by_hand() -> None:
    # The factor c = 4, with the weight 1 / 7.52: 10 ln 5 + 400 ln 0.99 - ln 7.52 = 10.06; e^10.06 is 23 000.
    given = facts(completed=90, dropped_late=10)
    assert why("dropped_late.rate < 1%", given, alpha=1 / 23_000)
    assert not why("dropped_late.rate < 1%", given, alpha=1e-7)


@pytest.mark.parametrize(("size", "spread_s"), [(1, 0.0), (5, 2.0), (20, 2.0)])
def test_a_run_at_its_limit_is_seldom_ended_and_a_bad_one_mostly_is(size: int, spread_s: float) -> None:
    draw, runs, sessions, length_s = np.random.default_rng(11), 150, 2000, 3600.0
    limit, looks = 0.01, np.arange(30.0, 3600.0, 30.0)

    def ended(rate: float) -> bool:
        monitor = AbortMonitor([parse_abort("dropped_late.rate < 1%")], 0.05, TIMEOUT_S)
        begun = np.repeat(draw.uniform(0, length_s, draw.poisson(rate * sessions / size)), size)
        drops = np.sort(begun + draw.uniform(0, spread_s, len(begun)))
        return any(
            monitor.why_lost(facts(int(sessions * at / length_s), dropped_late=int(np.searchsorted(drops, at))), at)
            for at in looks
        )

    # At most 5 %: 0.05 + 4 standard errors
    assert sum(ended(limit) for _ in range(runs)) / runs < 0.05 + 4 * (0.05 * 0.95 / runs) ** 0.5
    assert sum(ended(5 * limit) for _ in range(40)) >= {1: 40, 5: 34, 20: 10}[size]


def test_sessions_still_alive_count_for_the_threshold() -> None:
    ended = {"completed": 2, "dropped_late": 18}
    assert gives_up("dropped_late.rate < 10%", facts(**ended))
    assert not gives_up("dropped_late.rate < 10%", facts(started=200, **ended))
    assert gives_up("completed.rate > 90%", facts(completed=2, failed=18))
    assert not gives_up("completed.rate > 90%", facts(started=200, completed=2, failed=18))
    # the refused never began
    assert gives_up("dropped_late.rate < 10%", facts(refused=1000, **ended))
    assert not gives_up("refused.rate < 95%", facts(refused=50, started=1000))
    assert gives_up("refused.rate < 1%", facts(refused=50, started=1000))


def test_only_what_is_proven_counts() -> None:
    assert gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_late=10))
    assert not gives_up("dropped_late.rate < 1%", facts(completed=90, dropped_unproven=10))
    assert not gives_up("completed.rate > 99%", facts(completed=90, dropped_unproven=10))
    assert gives_up("dropped_unproven.rate < 1%", facts(completed=90, dropped_unproven=10))


def test_a_percentile_is_lost_over_time() -> None:
    monitor = AbortMonitor([parse_abort("gap.p99 < 40s"), parse_abort("margin.p25 > 5s")], 0.05, TIMEOUT_S)
    books = Books()
    for block in range(1, 6):
        for gap in [20.0] * 80 + [41.0] * 20:
            books.gap.add(gap)
        said = monitor.why_lost(Facts(books, TIMEOUT_S), TIMEOUT_S * block)
    assert said.startswith("gap.p99 < 40 s is lost: 100 of 500 refreshes speak against it")


def test_counts_and_extremes_are_lost_at_once() -> None:
    books = Books()
    for gap in [20.0] * 80 + [41.0] * 20:
        books.gap.add(gap)
    given = Facts(books, TIMEOUT_S)
    assert is_lost("gap.max < 41s", given) and not is_lost("gap.max <= 41s", given)
    assert is_lost("margin.min > 4s", given) and not is_lost("margin.min >= 4s", given)
    dropped = facts(completed=5, dropped_late=3)
    assert is_lost("dropped_late.count == 0", dropped) and is_lost("dropped_late.count < 3", dropped)
    assert not is_lost("dropped_late.count == 5", dropped) and not is_lost("dropped_late.count <= 3", dropped)


@pytest.mark.parametrize(
    "text", ["dropped_late.rate < 1%", "completed.rate > 0%", "latency.p99 < 1s", "gap.max < 1s", "margin.p1 > 1s"]
)
def test_nothing_is_lost_before_it_began(text: str) -> None:
    assert not is_lost(text, Facts(Books()))
    assert not is_lost(text, Facts(Books(), TIMEOUT_S))


def test_the_sentence_says_what_is_lost_and_how_sure() -> None:
    said = why("dropped_late.rate < 1%", facts(completed=90, dropped_late=10))
    assert said == (
        "dropped_late.rate < 1% is lost: 10 of 100 sessions begun speak against it; "
        "if it holds, so many come over time in at most 5 % of runs"
    )


def test_the_refused_are_counted_among_the_begun_where_they_are_what_is_asked_about() -> None:
    given = facts(started=1000, refused=50, dropped_late=200, completed=100)
    assert "50 of 1000 sessions begun" in why("refused.rate < 1%", given)
    assert "200 of 950 sessions begun" in why("dropped_late.rate < 1%", given)
