"""The figures of one run, one for each metric. Runs are compared by these, never by their requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.vocabulary import BAD_ENDINGS, NEUTRAL_ENDINGS, SUCCESSFUL, Blame, Verdict

_GAPS = ("p50", "p99")
#: Margin -> the quantile of the gap that it is computed from (timeout minus gap).
_MARGINS = {"p1": 0.99, "p50": 0.5, "min": 1.0}
_TAIL = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
#: Differences in latency below this do not matter to a user (seconds).
LATENCY_FLOOR_S = 0.0001
#: Differences in lateness below this do not matter (seconds): the smallest timeout is 1 s.
LATENESS_FLOOR_S = 0.01


class FigureKind(StrEnum):
    """How figures of a metric are compared: as a ratio, or as a difference."""

    RATE = "rate"  # a share from 0 to 1; difference
    DURATION = "duration"  # seconds; ratio
    COUNT = "count"  # a number above 0; ratio
    MARGIN = "margin"  # seconds, below 0 where a refresh came late; difference


@dataclass(frozen=True)
class ComparedMetric:
    """One thing that is compared. `key` is its path in words of summary.json; `label` is for people.

    judged: belongs to the family that gets a word; all others are shown without one.
    lower_is_better: None where neither direction is good by itself.
    least: differences below it never matter, whatever their ratio (in the metric's own unit).
    """

    key: str
    label: str
    kind: FigureKind
    lower_is_better: bool | None = True
    judged: bool = False
    least: float = 0.0


#: The metrics that are judged, fixed before any run is read. Only six, so that five runs per side are enough.
FAMILY = (
    ComparedMetric("sessions.dropped.rate", "dropped sessions", FigureKind.RATE, judged=True),
    ComparedMetric("sessions.unserved.rate", "unserved sessions", FigureKind.RATE, judged=True),
    ComparedMetric("requests.unsuccessful.rate", "unsuccessful requests", FigureKind.RATE, judged=True),
    ComparedMetric("requests.GetMessages.latency_s.p99", "GetMessages latency p99", FigureKind.DURATION,
           judged=True, least=LATENCY_FLOOR_S),
    ComparedMetric("refresh.lateness_s.p99", "refresh lateness p99", FigureKind.DURATION,
           judged=True, least=LATENESS_FLOOR_S),
    ComparedMetric("refresh.margin_s.p1", "margin p1", FigureKind.MARGIN, lower_is_better=False, judged=True),
)  # fmt: skip
#: What the family's words mean; reports print it.
FAMILY_TERMS = (
    "dropped: dropped late or early, or perhaps (dropped_unproven, or accepted and gave_up), of the sessions whose "
    "fate is known",
    "unserved: started but never accepted, of all sessions",
    "unsuccessful: requests with any outcome but 0/false and 0/true",
)
_JUDGED = {metric.key: metric for metric in FAMILY}


@dataclass(frozen=True)
class RunFigures:
    """One run as the comparison sees it.

    run: where it is, as the user named it. settings: with versions. figures: what was measured; a metric without
    samples is missing. timeout_s: the flex-disconnect-timeout. bounds: figures that are only lower bounds (for margins
    upper ones), because of requests without an answer or the last silences of chats. identity: equal for two copies of
    one run. problems: why it is invalid or does not balance.
    """

    run: str
    figures: Mapping[ComparedMetric, float]
    timeout_s: float | None = None
    settings: RunSettings = RunSettings()
    started_at: float | None = None
    sessions: int = 0
    identity: str = ""
    bounds: frozenset[ComparedMetric] = frozenset()
    problems: tuple[str, ...] = ()


def measure(books: Books, timeout_s: float | None, cut_off_confirmed: int = 0) -> dict[ComparedMetric, float]:
    """Return the figures in one run's books; percentiles are those of all its processes together.

    cut_off_confirmed: of the sessions cut off, those whose goodbye was confirmed.
    """
    figures = _figures(books, timeout_s, books.fates.known(cut_off_confirmed))
    return {metric: value for metric, value in figures if value is not None}


def bounds(books: Books) -> frozenset[ComparedMetric]:
    """Return which of the figures of `measure` are only bounds."""
    found = [
        (_latency(operation, quantile), latency.quantile(q))
        for operation, latency in books.latency.items()
        for quantile, q in _TAIL.items()
    ]
    found += [(_gap(quantile), books.gap.quantile(_TAIL[quantile])) for quantile in _GAPS]
    found += [(_margin(quantile), books.gap.quantile(q)) for quantile, q in _MARGINS.items()]
    return frozenset(metric for metric, reading in found if reading is not None and reading.over)


def _figures(books: Books, timeout_s: float | None, known: int) -> Iterator[tuple[ComparedMetric, float | None]]:
    verdicts, fates = books.verdicts, books.fates
    outcomes = [item for by in books.outcomes.values() for item in by.items()]
    requests = sum(n for _, n in outcomes)
    unsuccessful = sum(n for outcome, n in outcomes if outcome not in SUCCESSFUL)
    yield _JUDGED["sessions.dropped.rate"], _share(fates.dropped.most, known)
    yield _JUDGED["sessions.unserved.rate"], _share(fates.never_accepted.most, fates.ended)
    yield _JUDGED["requests.unsuccessful.rate"], _share(unsuccessful, requests)
    yield from _durations(books)
    yield from _margins(books, timeout_s)
    per_session = books.sent.total() / books.started if books.started else None
    yield ComparedMetric("requests.per_session", "requests per session", FigureKind.COUNT, None), per_session
    for verdict in Verdict:
        lower = None if verdict in NEUTRAL_ENDINGS else verdict in BAD_ENDINGS
        refused = verdict is Verdict.REFUSED
        share = (
            _share(verdicts[verdict], fates.ended) if refused else _share(fates.accepted_with(verdict), fates.accepted)
        )
        yield ComparedMetric(f"sessions.{verdict}.rate", verdict.value, FigureKind.RATE, lower), share
    for blame in Blame:
        share = _share(books.blames[blame], known)
        yield ComparedMetric(f"sessions.dropped_late.{blame}.rate", f"dropped_late by {blame}", FigureKind.RATE), share


def _durations(books: Books) -> Iterator[tuple[ComparedMetric, float | None]]:
    for operation in sorted(books.latency, key=lambda name: (name != "GetMessages", name)):
        for quantile, q in _TAIL.items():
            yield _latency(operation, quantile), books.latency[operation].figure(q)
    for quantile, q in _TAIL.items():
        value = books.lateness.quantile(q)
        yield _duration("refresh.lateness_s", "refresh lateness", quantile, LATENESS_FLOOR_S), value
    for quantile in _GAPS:
        yield _gap(quantile), books.gap.figure(_TAIL[quantile])


def _latency(operation: str, quantile: str) -> ComparedMetric:
    return _duration(f"requests.{operation}.latency_s", f"{operation} latency", quantile, LATENCY_FLOOR_S)


def _gap(quantile: str) -> ComparedMetric:
    return ComparedMetric(f"refresh.gap_s.{quantile}", f"gap {quantile}", FigureKind.DURATION, None)


def _duration(key: str, label: str, quantile: str, least: float) -> ComparedMetric:
    key = f"{key}.{quantile}"
    return _JUDGED.get(key) or ComparedMetric(
        key, f"{label} {quantile.replace('_', '.')}", FigureKind.DURATION, least=least
    )


def _margins(books: Books, timeout_s: float | None) -> Iterator[tuple[ComparedMetric, float | None]]:
    for quantile, q in _MARGINS.items():
        gap = books.gap.figure(q)
        yield _margin(quantile), None if gap is None or timeout_s is None else timeout_s - gap


def _margin(quantile: str) -> ComparedMetric:
    key = f"refresh.margin_s.{quantile}"
    return _JUDGED.get(key) or ComparedMetric(key, f"margin {quantile}", FigureKind.MARGIN, False)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
