"""The figures of one run, in numbers: what each is, and how it is compared."""

from __future__ import annotations

from collections import Counter

import pytest

from chatload.features.compare.compute import FAMILY, LATENCY_FLOOR_S, LATENESS_FLOOR_S, FigureKind, bounds, measure
from chatload.run.books import Books


def filled() -> Books:
    books = Books()
    books.started = 30
    books.verdicts = Counter(
        completed=8, ended_by_agent=2, closed_idle=1, dropped_late=3, dropped_early=1, dropped_unproven=2, refused=4,
        failed=2, gave_up=3, cut_off=4,
    )  # fmt: skip
    books.unserved = Counter(refused=4, gave_up=1, cut_off=1)
    books.blames = Counter(plan=2, network=1)
    books.sent = Counter(GetMessages=70, Disconnect=20)
    books.outcomes = {
        "GetMessages": Counter({"0/false": 60, "1/false": 8, "timeout": 2}), "Disconnect": Counter({"0/true": 20})
    }  # fmt: skip
    return books


def test_rates_and_counts() -> None:
    # 30 sessions: 24 accepted, of which 3 were cut off; the goodbyes of 2 of them were confirmed.
    figures = {metric.key: value for metric, value in measure(filled(), 45.0, 2).items()}
    assert figures == {
        "sessions.dropped.rate": 8 / 23,
        "sessions.unserved.rate": 6 / 30,
        "requests.unsuccessful.rate": 10 / 90,
        "requests.per_session": 3.0,
        "sessions.completed.rate": 8 / 24,
        "sessions.ended_by_agent.rate": 2 / 24,
        "sessions.closed_idle.rate": 1 / 24,
        "sessions.dropped_late.rate": 3 / 24,
        "sessions.dropped_early.rate": 1 / 24,
        "sessions.dropped_unproven.rate": 2 / 24,
        "sessions.refused.rate": 4 / 30,
        "sessions.failed.rate": 2 / 24,
        "sessions.gave_up.rate": 2 / 24,
        "sessions.cut_off.rate": 3 / 24,
        "sessions.dropped_late.plan.rate": 2 / 23,
        "sessions.dropped_late.generator.rate": 0.0,
        "sessions.dropped_late.server.rate": 0.0,
        "sessions.dropped_late.retries.rate": 0.0,
        "sessions.dropped_late.network.rate": 1 / 23,
    }


def test_what_is_good_and_what_is_not() -> None:
    lower = {metric.key.split(".")[1]: metric.lower_is_better for metric in measure(filled(), 45.0, 2)}
    assert {verdict: lower[verdict] for verdict in filled().verdicts} == {
        "completed": False, "ended_by_agent": False, "closed_idle": None, "dropped_late": True, "dropped_early": True,
        "dropped_unproven": True, "refused": True, "failed": True, "gave_up": True, "cut_off": None,
    }  # fmt: skip


def with_durations() -> Books:
    books = Books()
    for operation in ("SendMessage", "GetMessages", "Disconnect"):
        latency = books.latency[operation]
        for number in range(1, 101):
            latency.add(0.001 * number)
    for _ in range(3):
        books.latency["GetMessages"].add_longer_than(5.0)
    for number in range(1, 1001):
        books.lateness.add(0.0001 * number)
        books.gap.add(0.01 * number)
    return books


def test_durations_and_margins() -> None:
    figures = measure(with_durations(), 45.0)
    shown = [(m.key, m.kind, m.label, m.lower_is_better, m.least, m in FAMILY) for m in figures]
    tails = [("p50", "p50"), ("p99", "p99"), ("p99_9", "p99.9")]
    assert shown == [
        *(
            (f"requests.{operation}.latency_s.{key}", FigureKind.DURATION, f"{operation} latency {label}", True,
             LATENCY_FLOOR_S, (operation, key) == ("GetMessages", "p99"))
            for operation in ("GetMessages", "Disconnect", "SendMessage") for key, label in tails
        ),
        *(
            (f"refresh.lateness_s.{key}", FigureKind.DURATION, f"refresh lateness {label}", True, LATENESS_FLOOR_S,
             key == "p99")
            for key, label in tails
        ),
        ("refresh.gap_s.p50", FigureKind.DURATION, "gap p50", None, 0.0, False),
        ("refresh.gap_s.p99", FigureKind.DURATION, "gap p99", None, 0.0, False),
        ("refresh.margin_s.p1", FigureKind.MARGIN, "margin p1", False, 0.0, True),
        ("refresh.margin_s.p50", FigureKind.MARGIN, "margin p50", False, 0.0, False),
        ("refresh.margin_s.min", FigureKind.MARGIN, "margin min", False, 0.0, False),
    ]  # fmt: skip
    by_key = {metric.key: value for metric, value in figures.items()}
    assert by_key["requests.SendMessage.latency_s.p50"] == pytest.approx(0.05, rel=0.02)
    assert by_key["requests.SendMessage.latency_s.p99"] == pytest.approx(0.099, rel=0.02)
    assert by_key["requests.GetMessages.latency_s.p99"] == pytest.approx(5.0, rel=0.02)
    assert by_key["refresh.lateness_s.p50"] == pytest.approx(0.05, rel=0.02)
    assert by_key["refresh.lateness_s.p99_9"] == pytest.approx(0.0999, rel=0.02)
    assert by_key["refresh.gap_s.p99"] == pytest.approx(9.9, rel=0.02)
    assert by_key["refresh.margin_s.p1"] == pytest.approx(45 - 9.9, rel=0.02)
    assert by_key["refresh.margin_s.p50"] == pytest.approx(40.0, rel=0.02)
    assert by_key["refresh.margin_s.min"] == 35.0
    assert (LATENCY_FLOOR_S, LATENESS_FLOOR_S) == (0.0001, 0.01)


def test_which_figures_are_only_bounds() -> None:
    books = with_durations()
    assert {metric.key for metric in bounds(books)} == {
        "requests.GetMessages.latency_s.p99", "requests.GetMessages.latency_s.p99_9"
    }  # fmt: skip
    for _ in range(20):
        books.gap.add_longer_than(6.0)
    assert {metric.key for metric in bounds(books)} - {metric.key for metric in bounds(with_durations())} == {
        "refresh.gap_s.p99", "refresh.margin_s.p1", "refresh.margin_s.min"
    }  # fmt: skip
    assert bounds(Books()) == frozenset()
