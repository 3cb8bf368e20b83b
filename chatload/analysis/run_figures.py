"""What one run comes to: one figure a metric. Runs are compared by these, never by their requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chatload.protocol.status import Outcome
from chatload.session.books import Books
from chatload.session.record import Blame, Verdict

_DROPPED = (Verdict.DROPPED_LATE, Verdict.DROPPED_UNPROVEN)
_UNSERVED = (Verdict.REFUSED, Verdict.FAILED, Verdict.GAVE_UP, Verdict.DROPPED_EARLY)
_SUCCESSFUL = (Outcome.FINE.value, Outcome.ENDED.value)
_TAIL = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
#: A latency that differs by less than this matters to nobody who waits for it (seconds).
LATENCY_FLOOR_S = 0.0001
#: A lateness that differs by less than this is far below any timeout, of which the least is 1 s (seconds).
LATENESS_FLOOR_S = 0.01


class Kind(StrEnum):
    """How figures of a metric are compared: as a ratio, or as a difference."""

    RATE = "rate"  # a share from 0 to 1; difference
    DURATION = "duration"  # seconds; ratio
    COUNT = "count"  # a number above 0; ratio
    MARGIN = "margin"  # seconds, below 0 where a refresh came late; difference


@dataclass(frozen=True)
class Metric:
    """One thing that is compared. `key` is its path in words of summary.json; `label` is for people.

    judged: belongs to the family that gets a word; all others are shown without one.
    lower_is_better: None where neither direction is good by itself.
    least: differences below it never matter, whatever their ratio (in the metric's own unit).
    """

    key: str
    label: str
    kind: Kind
    lower_is_better: bool | None = True
    judged: bool = False
    least: float = 0.0


#: The family that is judged, stated before any run is seen. Six, so that five runs a side can tell.
FAMILY = (
    Metric("sessions.dropped.rate", "dropped sessions", Kind.RATE, judged=True),
    Metric("sessions.unserved.rate", "unserved sessions", Kind.RATE, judged=True),
    Metric("requests.unsuccessful.rate", "unsuccessful requests", Kind.RATE, judged=True),
    Metric("requests.GetMessages.latency_s.p99", "GetMessages latency p99", Kind.DURATION,
           judged=True, least=LATENCY_FLOOR_S),
    Metric("refresh.lateness_s.p99", "refresh lateness p99", Kind.DURATION, judged=True, least=LATENESS_FLOOR_S),
    Metric("refresh.margin_s.p1", "margin p1", Kind.MARGIN, lower_is_better=False, judged=True),
)  # fmt: skip
#: What the family's words mean; reports print it.
FAMILY_TERMS = (
    "dropped: dropped_late or dropped_unproven, of the accepted sessions",
    "unserved: refused, failed, gave_up or dropped_early, of all sessions",
    "unsuccessful: requests with any outcome but 0/false and 0/true",
)
_JUDGED = {metric.key: metric for metric in FAMILY}
_GOOD = frozenset({Verdict.COMPLETED, Verdict.ENDED_BY_AGENT})
_NEUTRAL = frozenset({Verdict.CUT_OFF, Verdict.CLOSED_IDLE})


@dataclass(frozen=True)
class RunFigures:
    """One run as the comparison sees it.

    run: where it is, as the user named it. settings: with versions among them. figures: what was
    measured; a metric that had no samples is not in it. timeout_s: the flex-disconnect-timeout.
    identity: equal for two copies of one run. problems: why it is invalid or does not balance.
    """

    run: str
    figures: Mapping[Metric, float]
    timeout_s: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    sessions: int = 0
    identity: str = ""
    problems: tuple[str, ...] = ()


def measure(books: Books, timeout_s: float | None) -> dict[Metric, float]:
    """The figures in one run's books; percentiles are those of all its processes together."""
    return {metric: value for metric, value in _figures(books, timeout_s) if value is not None}


def _figures(books: Books, timeout_s: float | None) -> Iterator[tuple[Metric, float | None]]:
    verdicts = books.verdicts
    ended = verdicts.total()
    accepted = ended - verdicts[Verdict.REFUSED]
    outcomes = [item for by in books.outcomes.values() for item in by.items()]
    requests = sum(n for _, n in outcomes)
    unsuccessful = sum(n for outcome, n in outcomes if outcome not in _SUCCESSFUL)
    yield _JUDGED["sessions.dropped.rate"], _share(sum(verdicts[v] for v in _DROPPED), accepted)
    yield _JUDGED["sessions.unserved.rate"], _share(sum(verdicts[v] for v in _UNSERVED), ended)
    yield _JUDGED["requests.unsuccessful.rate"], _share(unsuccessful, requests)
    yield from _durations(books)
    yield from _margins(books, timeout_s)
    per_session = books.sent.total() / books.started if books.started else None
    yield Metric("requests.per_session", "requests per session", Kind.COUNT, None), per_session
    for verdict in Verdict:
        lower = None if verdict in _NEUTRAL else verdict not in _GOOD
        yield Metric(f"sessions.{verdict}.rate", verdict.value, Kind.RATE, lower), _share(verdicts[verdict], ended)
    for blame in Blame:
        share = _share(books.blames[blame], accepted)
        yield Metric(f"sessions.dropped_late.{blame}.rate", f"dropped_late by {blame}", Kind.RATE), share


def _durations(books: Books) -> Iterator[tuple[Metric, float | None]]:
    for operation in sorted(books.latency, key=lambda name: (name != "GetMessages", name)):
        for quantile, q in _TAIL.items():
            value = books.latency[operation].quantile(q)
            yield _duration(f"requests.{operation}.latency_s", f"{operation} latency", quantile, LATENCY_FLOOR_S), value
    for quantile, q in _TAIL.items():
        value = books.lateness.quantile(q)
        yield _duration("refresh.lateness_s", "refresh lateness", quantile, LATENESS_FLOOR_S), value
    for quantile in ("p50", "p99"):
        key, label = f"refresh.gap_s.{quantile}", f"gap {quantile}"
        yield Metric(key, label, Kind.DURATION, None), books.gap.quantile(_TAIL[quantile])


def _duration(key: str, label: str, quantile: str, least: float) -> Metric:
    key = f"{key}.{quantile}"
    return _JUDGED.get(key) or Metric(key, f"{label} {quantile.replace('_', '.')}", Kind.DURATION, least=least)


def _margins(books: Books, timeout_s: float | None) -> Iterator[tuple[Metric, float | None]]:
    widest = {"p1": books.gap.quantile(0.99), "p50": books.gap.quantile(0.5), "min": books.gap.maximum}
    for quantile, gap in widest.items():
        key = f"refresh.margin_s.{quantile}"
        metric = _JUDGED.get(key) or Metric(key, f"margin {quantile}", Kind.MARGIN, False)
        yield metric, None if gap is None or timeout_s is None else timeout_s - gap


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
