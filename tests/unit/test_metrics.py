"""What each metric counts, of how many: one run, all its shares."""

from __future__ import annotations

from collections import Counter

import pytest

from chatload.errors import UsageError
from chatload.run.books import Books
from chatload.thresholds.metrics import METRICS, Facts, metric_named


def run() -> Facts:
    """30 sessions: 24 were accepted, of which 3 were cut off; the goodbyes of 2 of these were confirmed."""
    books = Books()
    books.started = 33
    books.verdicts = Counter(
        completed=8, ended_by_agent=2, closed_idle=1, dropped_late=3, dropped_early=1, dropped_unproven=2, refused=4,
        failed=2, gave_up=3, cut_off=4,
    )  # fmt: skip
    books.unserved = Counter(refused=4, gave_up=1, cut_off=1)
    books.blames = Counter(plan=2, network=1)
    books.outcomes = {
        "GetMessages": Counter({"0/false": 60, "0/true": 3, "1/false": 8, "timeout": 2}),
        "Disconnect": Counter({"0/true": 20, "2": 1, "timeout": 1}),
    }
    return Facts(books, 45.0, 2)


@pytest.mark.parametrize(
    ("subject", "rate", "count"),
    [
        # at least, by name, at most, of, and of these cut off by the end of the run
        ("completed", (8, 8, 10, 23, 2), (8, 8, 10, 23)),
        ("ended_by_agent", (2, 2, 4, 23, 2), (2, 2, 4, 23)),
        ("closed_idle", (1, 1, 3, 23, 2), (1, 1, 3, 23)),
        ("dropped_late", (3, 3, 7, 23, 2), (3, 3, 7, 23)),
        ("dropped_early", (1, 1, 5, 23, 2), (1, 1, 5, 23)),
        ("dropped_unproven", (2, 2, 2, 23, 2), (2, 2, 2, 23)),
        ("refused", (4, 4, 4, 30, 0), (4, 4, 4, 30)),
        ("failed", (2, 2, 4, 23, 2), (2, 2, 4, 23)),
        ("gave_up", (2, 2, 4, 23, 2), (3, 3, 5, 24)),
        ("cut_off", (3, 3, 5, 24, 0), (4, 4, 6, 25)),
        ("dropped", (4, 8, 8, 23, 2), (4, 8, 8, 23)),
        ("unserved", (5, 6, 6, 30, 0), (5, 6, 6, 30)),
        ("blame.plan", (2, 2, 6, 23, 2), (2, 2, 6, 23)),
        ("blame.network", (1, 1, 5, 23, 2), (1, 1, 5, 23)),
        ("blame.server", (0, 0, 4, 23, 2), (0, 0, 4, 23)),
        ("0/true", (23, 23, 23, 95, 0), (23, 23, 23, 95)),
        ("timeout", (3, 3, 3, 95, 0), (3, 3, 3, 95)),
        ("unsuccessful", (12, 12, 12, 95, 0), (12, 12, 12, 95)),
        ("GetMessages.0/true", (3, 3, 3, 73, 0), (3, 3, 3, 73)),
        ("GetMessages.unsuccessful", (10, 10, 10, 73, 0), (10, 10, 10, 73)),
        ("Disconnect.2", (1, 1, 1, 22, 0), (1, 1, 1, 22)),
        ("SendMessage.timeout", (0, 0, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_shares_and_counts(subject: str, rate: tuple[int, ...], count: tuple[int, ...]) -> None:
    assert metric_named(f"{subject}.rate").share(run()) == rate
    assert metric_named(f"{subject}.count").share(run())[:4] == count


def test_sessions_are_those_started() -> None:
    assert metric_named("sessions.count").share(run()) == (33, 33, 33, 33, 0)


@pytest.mark.parametrize(
    ("name", "q", "noun", "of_sessions"),
    [
        ("GetMessages.latency.p50", 0.5, "request", False),
        ("latency.p5", 0.05, "request", False),
        ("latency.p99_9", 0.999, "request", False),
        ("latency.p99_99", 0.9999, "request", False),
        ("gap.max", None, "refresh", False),
        ("margin.p1", 0.01, "refresh", False),
        ("margin.min", None, "refresh", False),
        ("lateness.p99", 0.99, "refresh", False),
        ("sessions.count", None, "session", True),
        ("blame.plan.rate", None, "session", True),
        ("dropped.count", None, "session", True),
        ("unsuccessful.rate", None, "request", False),
    ],
)
def test_names(name: str, q: float | None, noun: str, of_sessions: bool) -> None:
    metric = metric_named(name)
    assert (metric.name, metric.q, metric.noun, metric.of_sessions) == (name, q, noun, of_sessions)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("latency.p0", None), ("latency.p100", None), ("latency.min", "latency.max"), ("margin.max", "margin.min"),
        ("GetMessages.gap.p50", None), ("GetMessages.sessions.count", None), ("GetMessages.dropped.rate", None),
        ("droped.rate", "dropped.rate"), ("dropped.p50", None), ("sessions.rate", None), ("latency.rate", None),
        ("getmessages.latency.p99", "GetMessages.latency.p99"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_told_the_nearest(name: str, nearest: str | None) -> None:
    with pytest.raises(UsageError, match=f"unknown metric '{name}'") as told:
        metric_named(name)
    if nearest is not None:
        assert told.value.hint == f"did you mean {nearest}?"


def test_every_metric_has_a_line_of_help_and_its_name() -> None:
    for doc in METRICS:
        assert metric_named(doc.name).kind == doc.kind
    names = [doc.name for doc in METRICS]
    assert len(set(names)) == len(names)
    assert {"latency.max", "margin.min", "gap.max", "lateness.max", "latency.p90", "margin.p1"} <= set(names)


def test_the_samples_of_a_duration() -> None:
    books = Books()
    for operation, seconds in (("GetMessages", 1.0), ("GetMessages", 2.0), ("SendMessage", 4.0)):
        books.latency[operation].add(seconds)
    books.latency["SendMessage"].add_longer_than(8.0)
    books.lateness.add(0.5)
    books.gap.add(3.0)
    books.gap.add_longer_than(50.0)
    expected = {
        "latency.max": (4, 1, 15_000_000), "GetMessages.latency.max": (2, 0, 3_000_000),
        "Disconnect.latency.max": (0, 0, 0), "lateness.max": (1, 0, 500_000), "gap.max": (2, 1, 53_000_000),
        "margin.min": (2, 1, 53_000_000),
    }  # fmt: skip
    for name, figures in expected.items():
        samples = metric_named(name).samples(books)
        assert (samples.count, samples.censored.count, samples.total_us) == figures
