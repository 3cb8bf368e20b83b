"""What the sessions of a measured run met, as plain values that can be sent to a process, and how it is read.

The windows of the run file hold how many requests failed per second (per ten seconds from the sixth minute on). A run
is calm, except for incidents, in which far more requests failed than usual. An incident begins and ends inside a
window. Its beginning follows from the successes that its first window still had, compared with the windows before it.
Its end is found by replaying the run (see `chatload.features.forecast.fit`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from scipy.special import betainc

from chatload.run.histogram import Histogram
from chatload.run.windows import Window
from chatload.vocabulary import Outcome

#: Kinds of failures: the simulator's fault that gives an outcome; and REFUSED, if no connection was made, so that
#: nothing was sent.
TIMED_OUT, BROKEN, REFUSED = "lost", "drop_connection", "refused"
_KINDS = {
    Outcome.UNSUCCESSFUL: "status_1", Outcome.VIOLATION: "status_1_violation", Outcome.HTTP_ERROR: "http_500",
    Outcome.MALFORMED: "malformed", Outcome.UNKNOWN_STATUS: "unknown_status", Outcome.TIMEOUT: TIMED_OUT,
    Outcome.CONNECTION: BROKEN,
}  # fmt: skip
#: A window is part of an incident if calm would cause as many failures with less than this chance.
_CHANCE = 1e-6
_LEAST = 3
#: A window whose share of failures is at least this part of the worst window's lies wholly inside its incident.
_CORE = 0.8
#: Round trips are kept by stretches of this length (seconds), for operations with this many samples in one.
_BLOCK_S, _ENOUGH = 10.0, 50
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class RequestOdds:
    """What may become of a request of an operation. round_trips: seconds. failures: (kind, chance), in order."""

    round_trips: Histogram
    failures: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run, from `start` (seconds since its beginning) to the next one's.

    odds: by operation; "" is for the operations that have none of their own. incident: whether it is one. reaches:
    chance that the server took a failed request all the same; one that timed out, when it was given up.
    """

    start: float
    odds: dict[str, RequestOdds]
    incident: bool = False
    reaches: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the sessions of one run met. Times in seconds.

    stretches: in order of time, the first from 0 on; length_s: of all of them together; a longer forecast repeats
    them. dropped_answer: what a dropped chat answers, "0/true" or "2". connection_s: how long connections took to
    break. sessions: the most that were open.

    join_s, answer_s: when agents join and answer, means; each time is uniform from 0.4 to 1.6 of its mean; None: they
    do not. leaving: (age of the chat, chance per second from that age on that the agent ends it). closing: the same for
    inactivity control. early, lost: chance per second that the server ends the chat by itself and answers 0/true, or
    statusCode 2.
    """

    stretches: tuple[Stretch, ...]
    length_s: float
    dropped_answer: str = "0/true"
    connection_s: tuple[float, ...] = ()
    sessions: int = 0
    join_s: float | None = 1.0
    answer_s: float | None = 1.0
    leaving: tuple[tuple[float, float], ...] = ()
    closing: tuple[tuple[float, float], ...] = ()
    early: float = 0.0
    lost: float = 0.0

    @property
    def ends(self) -> tuple[float, ...]:
        """The end of each stretch."""
        return (*(stretch.start for stretch in self.stretches[1:]), self.length_s)

    @property
    def incidents(self) -> list[tuple[float, float, float]]:
        """Start, end and `reaches` of each incident, in order of time. Its place in the list is its number."""
        return [
            (stretch.start, end, stretch.reaches)
            for stretch, end in zip(self.stretches, self.ends, strict=True)
            if stretch.incident
        ]


@dataclass(slots=True)
class WindowCounts:
    """The requests of one window (seconds since the run began) or of several.

    finished: by operation. failed: by operation and kind, timeouts by when they were sent. latency: round trips by
    operation. seen: failures by when they were noticed.
    """

    start: float = 0.0
    end: float = 0.0
    finished: Counter[str] = field(default_factory=Counter)
    failed: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    latency: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
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

    def successes(self, operations: Iterable[str]) -> float:
        """Return how many requests of these operations succeeded."""
        return sum(self.finished[op] - self.failed[op].total() for op in operations)

    def count(self, operation: str, kind: str, count: float, unsent: float) -> None:
        """Add requests. kind: "" if they did not fail. unsent: part of them for which no connection was made."""
        if not count:
            return
        self.finished[operation] += count  # type: ignore[assignment]
        if kind:
            failed = self.failed[operation]
            failed[kind] += count - unsent * count  # type: ignore[assignment]
            if unsent:
                failed[REFUSED] += unsent * count  # type: ignore[assignment]


@dataclass(slots=True)
class FailureIncident:
    """One incident, from and to (seconds since the run began), with what its requests met.

    earliest, latest: between them it ended. failed: by operation and kind, in all; succeeded_per_s: at its
    height, by operation. watch: where its failures were counted; target: how many. reaches: see Stretch; between
    reach_bounds.
    """

    start: float
    end: float
    earliest: float
    latest: float
    round_trips: dict[str, Histogram]
    failed: Mapping[str, Counter[str]]
    succeeded_per_s: dict[str, float]
    watch: tuple[float, float]
    target: float
    reaches: float = 0.0
    reach_bounds: tuple[float, float] = (0.0, 1.0)

    def odds(self) -> dict[str, RequestOdds]:
        """Return what requests met in the incident if it ended at `end`."""
        length = self.end - self.start
        found = {}
        for operation, round_trips in self.round_trips.items():
            failed = self.failed[operation]
            whole = failed.total() + self.succeeded_per_s.get(operation, 0.0) * length
            found[operation] = RequestOdds(round_trips, _chances(failed, whole))
        return found


def read_cells(windows: Iterable[Window], began: float, request_timeout_s: float, unsent: float) -> list[WindowCounts]:
    """Return the windows of a run. unsent: the part of the failed connections that were never made."""
    cells, late = [], []
    for window in windows:
        if window.end <= window.start:
            continue
        cell = WindowCounts(window.start - began, window.end - began, seen=count_failures(window.books.outcomes))
        # Round trips are those of answered requests; one without an answer is a failure, counted by its outcome.
        cell.latency.update((operation, latency.observed) for operation, latency in window.books.latency.items())
        for operation, outcomes in window.books.outcomes.items():
            for name, count in outcomes.items():
                kind = _kind(operation, name)
                if kind == TIMED_OUT and count:
                    late.append((cell.start - request_timeout_s, cell.end - request_timeout_s, operation, count))
                else:
                    cell.count(operation, kind, count, unsent if kind == BROKEN else 0.0)
        cells.append(cell)
    for start, end, operation, count in late:
        # Counted when it was given up; sent one request timeout before.
        for cell in cells:
            part = (min(end, cell.end) - max(start, cell.start)) / (end - start)
            if part > 0:
                cell.count(operation, TIMED_OUT, count * part, 0.0)
    return cells


def count_failures(outcomes: Mapping[str, Mapping[str, int]]) -> int:
    """Return how many requests failed; outcomes: by operation, how many had which outcome."""
    return sum(count for operation, by in outcomes.items() for name, count in by.items() if _kind(operation, name))


def _kind(operation: str, outcome: str) -> str:
    if outcome == Outcome.UNRECOVERABLE and operation == "RequestChat":
        return "status_2"
    return _KINDS.get(Outcome(outcome), "")


def find_incidents(cells: Sequence[WindowCounts], timeout_s: float) -> tuple[list[FailureIncident], list[WindowCounts]]:
    """Return the incidents, in order of time, and the windows outside them."""
    flags = _flag(cells)
    calm = [cell for cell, flag in zip(cells, flags, strict=True) if not flag]
    # One calm window between two others is part of their incident.
    for number in range(1, len(flags) - 1):
        flags[number] = flags[number] or (flags[number - 1] and flags[number + 1])
    incidents = []
    for flag, group in groupby(range(len(cells)), key=flags.__getitem__):
        if flag:
            numbers = list(group)
            incidents.append(_incident(cells, numbers[0], numbers[-1], calm, timeout_s))
    return incidents, [cell for cell, flag in zip(cells, flags, strict=True) if not flag]


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
        start += min(_good_s(cells, first), 0.95 * (own[0].end - own[0].start))
    earliest = max(core[-1].start, start + 0.05) if inside else start + 0.05
    latest = max(own[-1].end, earliest)
    # What was sent in it may fail one timeout later.
    watched = [cell for cell in cells[first:] if cell.end <= own[-1].end + timeout_s]
    length_s = sum(cell.end - cell.start for cell in core)
    height = _total(core)
    return FailureIncident(
        start,
        latest if own[-1] in core and inside else (earliest + latest) / 2,
        earliest,
        latest,
        round_trips={operation: odds.round_trips for operation, odds in odds_of(core, calm).items()},
        failed=_total(own).failed,
        succeeded_per_s={op: height.successes([op]) / length_s for op in height.finished} if inside else {},
        watch=(own[0].start, watched[-1].end),
        target=sum(cell.seen for cell in watched),
    )


def _good_s(cells: Sequence[WindowCounts], number: int) -> float:
    """Return how much of a window was calm (seconds), by the successes of the operations that fail in it."""
    cell = cells[number]
    failing = {operation for operation, by in cell.failed.items() if by.total() >= 1}
    before = [other for other in cells[max(0, number - 5) : number] if other.share < 0.5 * cell.share][-3:]
    successes = sum(other.successes(failing) for other in before)
    length = sum(other.end - other.start for other in before)
    return cell.successes(failing) * length / successes if successes else 0.0


def _total(cells: Iterable[WindowCounts]) -> WindowCounts:
    """Return the sum of some windows; the operation "" is all of them."""
    total = WindowCounts()
    for cell in cells:
        total.finished.update(cell.finished)
        for operation, by in cell.failed.items():
            total.failed[operation].update(by)
            total.failed[""].update(by)
        for operation, histogram in cell.latency.items():
            total.latency[operation].merge(histogram)
            total.latency[""].merge(histogram)
    total.finished[""] = total.finished.total()
    return total


def odds_of(cells: Iterable[WindowCounts], others: Iterable[WindowCounts] = ()) -> dict[str, RequestOdds]:
    """Return what requests met in some windows, by operation; "" is all of them.

    others: windows whose round trips are used for operations without any here.
    """
    own, usual = _total(cells), _total(others)
    odds = {}
    for operation, requests in own.finished.items():
        sources = (own.latency[operation], usual.latency[operation], own.latency[""], usual.latency[""])
        round_trips = next((source for source in sources if source.count), Histogram())
        failed = own.failed[operation]
        odds[operation] = RequestOdds(round_trips, _chances(failed, max(requests, failed.total())))
    return odds


def _chances(failed: Mapping[str, float], requests: float) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((kind, count / requests) for kind, count in failed.items() if count > 0))


def stretches_of(
    calm: Sequence[WindowCounts], usual: Mapping[str, RequestOdds], incidents: Sequence[FailureIncident]
) -> tuple[Stretch, ...]:
    """Return the time of the run as stretches: calm ones with their own round trips, and incidents."""
    blocks: list[list[WindowCounts]] = []
    for cell in calm:
        if not blocks or cell.start - blocks[-1][0].start >= _BLOCK_S or cell.start > blocks[-1][-1].end + 0.5:
            blocks.append([])
        blocks[-1].append(cell)
    found = [_calm(block, usual) for block in blocks]
    for incident in incidents:
        found = [stretch for stretch in found if not incident.start <= stretch.start < incident.end]
        found.append(Stretch(incident.start, incident.odds(), True, incident.reaches))
        before = [stretch for stretch in found if stretch.start <= incident.start and not stretch.incident]
        after = max(before, key=lambda stretch: stretch.start, default=None)
        if not any(stretch.start == incident.end for stretch in found):
            found.append(Stretch(incident.end, dict(usual) if after is None else after.odds))
    found.sort(key=lambda stretch: stretch.start)
    if not found or found[0].start > 0:
        found.insert(0, Stretch(0.0, dict(usual)))
    return tuple(found)


def _calm(block: Sequence[WindowCounts], usual: Mapping[str, RequestOdds]) -> Stretch:
    latency = _total(block).latency
    odds = {}
    for operation, known in usual.items():
        own = latency[operation]
        odds[operation] = RequestOdds(own if own.count >= _ENOUGH else known.round_trips, known.failures)
    return Stretch(max(block[0].start, 0.0), odds)
