"""How the failures of a run are spread over its time: calm, and incidents in which far more failed than usual.

The windows of the run file hold how many requests failed per second (per ten seconds from the sixth minute on). An
incident begins and ends inside a window. Its beginning follows from the successes that its first window still had,
compared with the windows before it. Its end is found by replaying the run (see `chatload.features.forecast.fit`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import betainc

from chatload.features.forecast.conditions import RequestOdds, Stretch
from chatload.run.histogram import Histogram
from chatload.run.windows import Window
from chatload.vocabulary import Outcome

_KINDS = {
    Outcome.UNSUCCESSFUL: "status_1", Outcome.VIOLATION: "status_1_violation", Outcome.HTTP_ERROR: "http_error",
    Outcome.MALFORMED: "malformed", Outcome.UNKNOWN_STATUS: "unknown_status", Outcome.TIMEOUT: "timeout",
    Outcome.CONNECTION: "connection",
}  # fmt: skip
#: A window is part of an incident if calm would cause as many failures with less than this chance.
_CHANCE = 1e-6
_LEAST = 3
#: A window whose share of failures is at least this part of the worst window's lies wholly inside its incident.
_CORE = 0.8
#: Round trips are kept by stretches of this length (seconds), for operations with this many samples in one.
_BLOCK_S, _ENOUGH = 10.0, 50
_ROUNDS = 10


@dataclass(slots=True)
class WindowCounts:
    """One window, in seconds since the run began: failures by operation and kind, timeouts by when they were sent."""

    start: float
    end: float
    finished: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Counter[str]] = field(default_factory=dict)
    latency: dict[str, Histogram] = field(default_factory=dict)
    seen: int = 0

    @property
    def failures(self) -> float:
        """Requests that failed."""
        return sum(by.total() for by in self.failed.values())

    @property
    def requests(self) -> float:
        """Requests that came to an end."""
        return float(self.finished.total())

    @property
    def share(self) -> float:
        """Which part of the requests failed."""
        return self.failures / self.requests if self.requests else 0.0


@dataclass(slots=True)
class FailureIncident:
    """One incident, from and to (seconds since the run began), with what its requests met.

    earliest, latest: between them it ended. failed: by operation and kind, in all; succeeded_per_s: at its
    height, by operation. watch: where its failures were counted; target: how many. reaches: see Stretch.
    """

    start: float
    end: float
    earliest: float
    latest: float
    round_trips: dict[str, Histogram]
    failed: dict[str, Counter[str]]
    succeeded_per_s: dict[str, float]
    watch: tuple[float, float]
    target: float
    reaches: float = 0.0

    def odds(self) -> dict[str, RequestOdds]:
        """Return what requests met in the incident if it ended at `end`."""
        length = self.end - self.start
        found = {}
        for operation, round_trips in self.round_trips.items():
            failed = self.failed.get(operation, Counter())
            whole = failed.total() + self.succeeded_per_s.get(operation, 0.0) * length
            chances = tuple(sorted((kind, n / whole) for kind, n in failed.items() if n > 0))
            found[operation] = RequestOdds(round_trips, chances)
        return found


def read_cells(windows: Iterable[Window], began: float, request_timeout_s: float, unsent: float) -> list[WindowCounts]:
    """Return the windows of a run. unsent: the part of the failed connections that were never made."""
    cells, late = [], []
    for window in windows:
        if window.end <= window.start:
            continue
        # Round trips are those of answered requests; one without an answer is a failure, counted by its outcome.
        round_trips = {operation: latency.observed for operation, latency in window.books.latency.items()}
        cell = WindowCounts(window.start - began, window.end - began, latency=round_trips)
        for operation, outcomes in window.books.outcomes.items():
            for name, count in outcomes.items():
                kind = _kind(operation, name)
                if kind == "timeout" and count:
                    late.append((cell.start - request_timeout_s, cell.end - request_timeout_s, operation, count))
                else:
                    _count(cell, operation, kind, count, unsent)
        cell.seen = count_failures(window.books.outcomes)
        cells.append(cell)
    for start, end, operation, count in late:
        # Counted when it was given up; sent one request timeout before.
        for cell in cells:
            part = (min(end, cell.end) - max(start, cell.start)) / (end - start)
            if part > 0:
                _count(cell, operation, "timeout", count * part, 0.0)
    return cells


def count_failures(outcomes: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many requests failed; outcomes: by operation, how many had which outcome."""
    return sum(count for operation, by in outcomes.items() for name, count in by.items() if _kind(operation, name))


def _kind(operation: str, outcome: str) -> str:
    if outcome == Outcome.UNRECOVERABLE and operation == "RequestChat":
        return "lost"
    return _KINDS.get(Outcome(outcome), "")


def _count(cell: WindowCounts, operation: str, kind: str, count: float, unsent: float) -> None:
    if not count:
        return
    cell.finished[operation] += count  # type: ignore[assignment]
    if kind:
        failed = cell.failed.setdefault(operation, Counter())
        refused = unsent * count if kind == "connection" else 0.0
        failed[kind] += count - refused  # type: ignore[assignment]
        if refused:
            failed["refused"] += refused  # type: ignore[assignment]


def find_incidents(cells: Sequence[WindowCounts], timeout_s: float) -> tuple[list[FailureIncident], list[bool]]:
    """The incidents, in order of time, and of every cell whether it is part of one."""
    flags = _flag(cells)
    calm = [cell for cell, flag in zip(cells, flags, strict=True) if not flag]
    incidents, first = [], 0
    while first < len(cells):
        if not flags[first]:
            first += 1
            continue
        last = first
        while last + 1 < len(cells) and (flags[last + 1] or (last + 2 < len(cells) and flags[last + 2])):
            last += 1
            flags[last] = True
        incidents.append(_incident(cells, first, last, calm, timeout_s))
        first = last + 1
    return incidents, flags


def _flag(cells: Sequence[WindowCounts]) -> list[bool]:
    """Return which windows have more failures than the others explain."""
    flags = [False] * len(cells)
    for _ in range(_ROUNDS):
        calm = [cell for cell, flag in zip(cells, flags, strict=True) if not flag]
        requests = sum(cell.requests for cell in calm)
        # One more than there were: otherwise the first failure of a clean run would be an incident.
        usual = (sum(cell.failures for cell in calm) + 1) / (requests + 1) if calm else 1.0
        found = [_unusual(cell, usual) for cell in cells]
        if found == flags:
            break
        flags = found
    return flags


def _unusual(cell: WindowCounts, usual: float) -> bool:
    failures, requests = cell.failures, cell.requests
    if failures < _LEAST or failures <= usual * requests:
        return False
    return float(betainc(failures, requests - failures + 1, min(usual, 1.0))) < _CHANCE


def _incident(
    cells: Sequence[WindowCounts], first: int, last: int, calm: Sequence[WindowCounts], timeout_s: float
) -> FailureIncident:
    own = cells[first : last + 1]
    worst = max((cell for cell in own if cell.requests >= _LEAST), key=lambda cell: cell.share)
    core = [cell for cell in own if cell.share >= _CORE * worst.share]
    inside = worst.share >= 0.9 or len(own) > 2 or worst.end - worst.start < 2.0
    start = own[0].start
    if own[0] not in core or not inside:
        start += min(_good_s(cells, first, own[0]), 0.95 * (own[0].end - own[0].start))
    ends = own[-1]
    earliest = start + 0.05
    if inside:
        earliest = max(core[-1].start, earliest)
    # What was sent in it may fail one timeout later.
    watched = [cell for cell in cells[first:] if cell.end <= ends.end + timeout_s]
    return FailureIncident(
        start,
        max(ends.end, earliest) if ends in core and inside else (earliest + max(ends.end, earliest)) / 2,
        earliest,
        max(ends.end, earliest),
        {operation: odds.round_trips for operation, odds in odds_of(core, calm).items()},
        _failed(own),
        {} if not inside else _succeeded_per_s(core),
        (own[0].start, watched[-1].end),
        sum(cell.seen for cell in watched),
    )


def _failed(cells: Iterable[WindowCounts]) -> dict[str, Counter[str]]:
    failed: dict[str, Counter[str]] = {"": Counter()}
    for cell in cells:
        for operation, by in cell.failed.items():
            failed.setdefault(operation, Counter()).update(by)
            failed[""].update(by)
    return failed


def _succeeded_per_s(cells: Sequence[WindowCounts]) -> dict[str, float]:
    length = sum(cell.end - cell.start for cell in cells)
    operations = {operation for cell in cells for operation in cell.finished}
    found = {operation: sum(_successes(cell, {operation}) for cell in cells) / length for operation in operations}
    return {**found, "": sum(found.values())}


def _good_s(cells: Sequence[WindowCounts], number: int, cell: WindowCounts) -> float:
    """Return how much of a window was calm (seconds), by the successes of the operations that fail in it."""
    failing = {operation for operation, by in cell.failed.items() if by.total() >= 1}
    before = [other for other in cells[max(0, number - 5) : number] if other.share < 0.5 * cell.share][-3:]
    successes = sum(_successes(other, failing) for other in before)
    length = sum(other.end - other.start for other in before)
    return _successes(cell, failing) * length / successes if successes else 0.0


def _successes(cell: WindowCounts, operations: set[str]) -> float:
    return sum(cell.finished[op] - cell.failed.get(op, Counter()).total() for op in operations)


def odds_of(cells: Iterable[WindowCounts], others: Iterable[WindowCounts] = ()) -> dict[str, RequestOdds]:
    """Return what requests met in some windows, by operation; "" is all of them.

    others: windows whose round trips are used for operations without any here.
    """
    finished: Counter[str] = Counter()
    failed: dict[str, Counter[str]] = {}
    latency: dict[str, Histogram] = {"": Histogram()}
    for cell in cells:
        finished.update(cell.finished)
        for operation, by in cell.failed.items():
            failed.setdefault(operation, Counter()).update(by)
            failed.setdefault("", Counter()).update(by)
        _merge(latency, cell.latency)
    finished[""] = finished.total()
    usual: dict[str, Histogram] = {"": Histogram()}
    for cell in others:
        _merge(usual, cell.latency)
    return {
        operation: RequestOdds(_some(latency, usual, operation), _chances(failed.get(operation), n))
        for operation, n in finished.items()
    }


def _chances(failed: Mapping[str, float] | None, requests: float) -> tuple[tuple[str, float], ...]:
    if not failed or not requests:
        return ()
    whole = max(requests, sum(failed.values()))
    return tuple(sorted((kind, count / whole) for kind, count in failed.items() if count > 0))


def _some(latency: Mapping[str, Histogram], usual: Mapping[str, Histogram], operation: str) -> Histogram:
    """Return the round trips of an operation, of calmer times, or of all operations: the first that exist."""
    for source in (latency.get(operation), usual.get(operation), latency.get(""), usual.get("")):
        if source is not None and source.count:
            return source
    return Histogram()


def _merge(into: dict[str, Histogram], latency: Mapping[str, Histogram]) -> None:
    for operation, histogram in latency.items():
        into.setdefault(operation, Histogram()).merge(histogram)
        into[""].merge(histogram)


def stretches_of(
    cells: Sequence[WindowCounts], flags: Sequence[bool], incidents: Sequence[FailureIncident]
) -> tuple[Stretch, ...]:
    """Return the time of the run as stretches: calm ones with their own round trips, and incidents."""
    calm = [cell for cell, flag in zip(cells, flags, strict=True) if not flag]
    usual = odds_of(calm or cells)
    found = []
    block: list[WindowCounts] = []
    for cell in calm:
        if block and (cell.start - block[0].start >= _BLOCK_S or cell.start > block[-1].end + 0.5):
            found.append(_calm(block, usual))
            block = []
        block.append(cell)
    if block:
        found.append(_calm(block, usual))
    for number, incident in enumerate(incidents):
        found = [stretch for stretch in found if not incident.start <= stretch.start < incident.end]
        found.append(Stretch(incident.start, incident.odds(), number, incident.reaches))
        before = [stretch for stretch in found if stretch.start <= incident.start and stretch.incident < 0]
        after = max(before, key=lambda stretch: stretch.start, default=None)
        if not any(s.start == incident.end for s in found):
            found.append(Stretch(incident.end, usual if after is None else after.odds))
    found.sort(key=lambda stretch: stretch.start)
    if not found or found[0].start > 0:
        found.insert(0, Stretch(0.0, usual))
    return tuple(found)


def _calm(block: Sequence[WindowCounts], usual: Mapping[str, RequestOdds]) -> Stretch:
    latency: dict[str, Histogram] = {"": Histogram()}
    for cell in block:
        _merge(latency, cell.latency)
    odds = {}
    for operation, known in usual.items():
        own = latency.get(operation)
        odds[operation] = RequestOdds(
            own if own is not None and own.count >= _ENOUGH else known.round_trips, known.failures
        )
    return Stretch(max(block[0].start, 0.0), odds)
