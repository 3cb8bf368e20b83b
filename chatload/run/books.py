"""The books of a run: counts and histograms that can be merged and must balance, and the fates of sessions by them.

accepted: the server gave the session a chat id.
unserved: the session started, and ended without a chat id.
dropped, surely: dropped late or early, of the accepted sessions.
dropped, possibly: also those whose end has more than one reading, and those that gave up: their last requests failed,
    and what became of the chat is not known.
known: the accepted sessions, except those that were cut off by the end of the run without a confirmed goodbye. Their
    fate is not known: they are censored.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import add, sub
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.wire import Detail
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.vocabulary import DROPPED_PERHAPS, DROPPED_SURELY, PERHAPS_UNSERVED, Outcome, Verdict

#: A chat of an open workload has a late start if it begins more than this after its time (seconds).
LATE_START_S = 0.1

_POLL, _FINE = "GetMessages", Outcome.FINE.value
#: How many numbers of usual refreshes are buffered: counting them takes about a millisecond.
_BUFFERED = 3 * 4000
_Part = TypeVar("_Part")


class Range(NamedTuple):
    """Bounds of a count that is not known exactly."""

    least: int
    most: int


class Fates(NamedTuple):
    """What became of sessions. verdicts: of all; unserved: of those that were never accepted."""

    verdicts: Counter[str]
    unserved: Counter[str]

    def accepted_with(self, *verdicts: str) -> int:
        """Return the number of accepted sessions with one of these verdicts."""
        return sum(self.verdicts[v] - self.unserved[v] for v in verdicts if v != Verdict.REFUSED)

    @property
    def ended(self) -> int:
        """Sessions with a verdict."""
        return self.verdicts.total()

    @property
    def accepted(self) -> int:
        """Sessions with a verdict that had a chat id."""
        return self.accepted_with(*self.verdicts)

    @property
    def never_accepted(self) -> Range:
        """Unserved sessions. At least: without those cut off by the end of the run, which might have been accepted."""
        most = self.ended - self.accepted
        return Range(most - self.unserved[Verdict.CUT_OFF], most)

    @property
    def dropped(self) -> Range:
        """Dropped sessions."""
        surely = self.accepted_with(*DROPPED_SURELY)
        return Range(surely, surely + self.accepted_with(*DROPPED_PERHAPS))

    def known(self, cut_off_confirmed: int) -> int:
        """Return the number of accepted sessions whose fate is known.

        cut_off_confirmed: how many of those cut off had their goodbye confirmed.
        """
        return self.accepted - self.accepted_with(Verdict.CUT_OFF) + cut_off_confirmed


def is_unserved(record: SessionRecord) -> bool:
    """Return whether a session that ended was never accepted."""
    return record.verdict == Verdict.REFUSED or (not record.chat_id and record.verdict in PERHAPS_UNSERVED)


def may_be_dropped(record: SessionRecord) -> bool:
    """Return whether a session that ended was dropped, or may have been."""
    if record.verdict in DROPPED_SURELY:
        return True
    return record.verdict in DROPPED_PERHAPS and not is_unserved(record)


class _Kind(NamedTuple):
    """A type of field of the books: its empty value, and how values are added, subtracted, written and read."""

    empty: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    since: Callable[[Any, Any], Any]
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]

    def by_operation(self) -> _Kind:
        """Return the kind of a dict with one such value per operation."""

        def added(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
            for name, value in other.items():
                mine[name] = self.add(mine[name] if name in mine else self.empty(), value)
            return mine

        def since(now: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
            return {
                name: self.since(value, earlier[name] if name in earlier else self.empty())
                for name, value in now.items()
            }

        return _Kind(
            dict,
            added,
            since,
            lambda values: {name: self.to_plain(value) for name, value in values.items()},
            lambda plain: {name: self.from_plain(value) for name, value in plain.items()},
        )


def _as_it_is(value: Any) -> Any:
    return value


def _updated(mine: Counter[str], other: Counter[str]) -> Counter[str]:
    mine.update(other)
    return mine


def _merged(mine: Any, other: Any) -> Any:
    mine.merge(other)
    return mine


_COUNT = _Kind(int, add, sub, _as_it_is, _as_it_is)
_SECONDS = _Kind(float, add, sub, _as_it_is, _as_it_is)
#: A maximum. The maximum since an earlier state is known only if it has grown.
_LONGEST = _Kind(float, max, lambda now, earlier: now if now > earlier else 0.0, _as_it_is, _as_it_is)
_COUNTS = _Kind(Counter, _updated, sub, dict, Counter)
#: Counts of a present state, not of events.
_PRESENT = _Kind(Counter, _updated, lambda now, _: Counter(now), lambda c: {k: n for k, n in c.items() if n}, Counter)
_HISTOGRAM = _Kind(Histogram, _merged, Histogram.since, Histogram.to_dict, Histogram.from_dict)
_CENSORED = _Kind(
    CensoredHistogram, _merged, CensoredHistogram.since, CensoredHistogram.to_dict, CensoredHistogram.from_dict
)


def _counted(kind: _Kind) -> Any:
    """Return a field of the books; its kind says how it is merged, subtracted, written and read."""
    return field(default_factory=kind.empty, init=False, metadata={"kind": kind})


class _Buffered(Generic[_Part]):
    """A field that buffered refreshes belong to: reading or writing it flushes the buffer first."""

    def __set_name__(self, owner: type[Books], name: str) -> None:
        self._name = "_" + name

    def __get__(self, books: Books, owner: type[Books]) -> _Part:
        books.flush()
        part: _Part = getattr(books, self._name)
        return part

    def __set__(self, books: Books, part: _Part) -> None:
        books.flush()
        setattr(books, self._name, part)


@dataclass(eq=False)
class Books:
    """What happened in one process, or in several together. It is the engine's `ChatObserver`.

    Nearly all requests are usual refreshes. These are buffered, and counted thousands at a time.

    started: sessions begun.
    sent: requests begun, by operation. outcomes: requests ended, by operation and outcome.
    verdicts, blames: of sessions that ended. unserved: verdicts of those that were never accepted.
    suspects: sessions whose lateness the generator itself could have caused.
    rotations: secure keys that the server replaced.
    offline: how often a `widget` told its customer that the chat server is offline.
    resent: requests sent once more by the rule of WireRequest.repeatable.
    exhausted: requests that never left: this machine had no local port or file descriptor for them.
    states: open sessions by state (opening, held, retrying, leaving), now.
    latency: by operation, of every request that ended (seconds); without an answer it is longer than we waited.
    lateness: of every refresh (seconds).
    gap: the upper bound of the gap that each refresh closed, and the last silence of each chat that was dropped or may
        have been (seconds).
    arrivals: in an open workload, chats that were due. start_lateness: of those that began, how long after their time
        (seconds). late_starts: those of them that began later than LATE_START_S. not_started: those that never began.
    stalls, stalled_s, longest_stall_s: how often and how long (seconds) the process was stalled.
    cpu_saturated: how often its CPU was saturated.
    """

    started: int = _counted(_COUNT)
    _sent: Counter[str] = _counted(_COUNTS)
    _outcomes: dict[str, Counter[str]] = _counted(_COUNTS.by_operation())
    verdicts: Counter[str] = _counted(_COUNTS)
    unserved: Counter[str] = _counted(_COUNTS)
    blames: Counter[str] = _counted(_COUNTS)
    suspects: int = _counted(_COUNT)
    rotations: int = _counted(_COUNT)
    offline: int = _counted(_COUNT)
    resent: int = _counted(_COUNT)
    exhausted: int = _counted(_COUNT)
    states: Counter[str] = _counted(_PRESENT)
    _latency: dict[str, CensoredHistogram] = _counted(_CENSORED.by_operation())
    _lateness: Histogram = _counted(_HISTOGRAM)
    _gap: CensoredHistogram = _counted(_CENSORED)
    arrivals: int = _counted(_COUNT)
    late_starts: int = _counted(_COUNT)
    not_started: int = _counted(_COUNT)
    start_lateness: Histogram = _counted(_HISTOGRAM)
    stalls: int = _counted(_COUNT)
    stalled_s: float = _counted(_SECONDS)
    longest_stall_s: float = _counted(_LONGEST)
    cpu_saturated: int = _counted(_COUNT)
    #: GetMessages begun that are not in `sent` yet; and latency, lateness and gap of each buffered refresh.
    polls_begun: int = field(default=0, init=False)
    _buffer: list[float] = field(default_factory=list, init=False)

    sent = _Buffered[Counter[str]]()
    outcomes = _Buffered[dict[str, Counter[str]]]()
    latency = _Buffered[dict[str, CensoredHistogram]]()
    lateness = _Buffered[Histogram]()
    gap = _Buffered[CensoredHistogram]()

    # -- what the engine reports (see ChatObserver) ----------------------------------------------

    def session_started(self) -> None:
        self.started += 1

    def session_ended(self, record: SessionRecord, timeout_s: float = 0.0) -> None:
        self.verdicts[record.verdict] += 1
        if is_unserved(record):
            self.unserved[record.verdict] += 1
        else:
            self._count_last_silence(record, timeout_s)
        if record.blame:
            self.blames[record.blame] += 1
        self.suspects += record.generator_suspect

    def _count_last_silence(self, record: SessionRecord, timeout_s: float) -> None:
        lower, upper = record.gap_lower_s or 0.0, record.gap_upper_s
        if record.verdict == Verdict.DROPPED_LATE:
            self._gap.add_longer_than(max(lower, timeout_s))
        elif record.verdict == Verdict.DROPPED_EARLY and upper is not None:
            self._gap.add(upper)
        elif record.verdict == Verdict.DROPPED_UNPROVEN:
            if upper is not None and upper <= timeout_s:
                self._gap.add(upper)  # it was in time, whatever ended the chat
            else:
                self._gap.add_longer_than(lower)
        elif record.verdict == Verdict.GAVE_UP:
            # The record has the bounds of an earlier gap; nothing is known about the last one.
            self._gap.add_longer_than(0.0)

    def state_changed(self, before: str, after: str) -> None:
        if before:
            self.states[before] -= 1
        if after:
            self.states[after] += 1

    def request_begun(self, operation: str) -> None:
        self._sent[operation] += 1

    def refresh_answered(self, latency_s: float, lateness_s: float, gap_s: float) -> None:
        buffer = self._buffer
        buffer += (latency_s, lateness_s, gap_s)
        if len(buffer) >= _BUFFERED:
            self.flush()

    def request_ended(self, operation: str, exchange: Exchange) -> None:
        by_outcome = self._outcomes.get(operation)
        if by_outcome is None:
            by_outcome = self._outcomes[operation] = Counter()
        by_outcome[exchange.reply.outcome._value_] += 1
        self.resent += exchange.resent
        latency = self._latency_of(operation)
        if exchange.sent_at is None:
            self.exhausted += exchange.reply.detail == Detail.EXHAUSTED
            latency.add_longer_than(exchange.received_at - exchange.begun_at)
        elif exchange.answered:
            latency.add(exchange.received_at - exchange.sent_at)
        else:
            latency.add_longer_than(exchange.received_at - exchange.sent_at)

    def refresh_late(self, lateness_s: float) -> None:
        self._lateness.add(lateness_s)

    def gap_closed(self, gap_s: float) -> None:
        self._gap.add(gap_s)

    def request_cut(self, operation: str) -> None:
        self._outcomes.setdefault(operation, Counter())[Outcome.CONNECTION.value] += 1
        # When its first byte left is not known here: its latency is longer than 0.
        self._latency_of(operation).add_longer_than(0.0)

    def key_replaced(self) -> None:
        self.rotations += 1

    def went_offline(self) -> None:
        self.offline += 1

    # -- what the process reports ----------------------------------------------------------------

    def arrived(self, late_s: float | None) -> None:
        """Count an arrival that began `late_s` after its time; None: it never began."""
        self.arrivals += 1
        if late_s is None:
            self.not_started += 1
        else:
            self.start_lateness.add(late_s)
            self.late_starts += late_s > LATE_START_S

    def stall(self, seconds: float) -> None:
        """Count one stall of this process."""
        self.stalls += 1
        self.stalled_s += seconds
        self.longest_stall_s = max(self.longest_stall_s, seconds)

    def flush(self) -> None:
        """Count the buffered refreshes."""
        if self.polls_begun:
            self._sent[_POLL] += self.polls_begun
            self.polls_begun = 0
        if not self._buffer:
            return
        latencies, latenesses, gaps = np.frombuffer(array("d", self._buffer)).reshape(-1, 3).T
        self._buffer = []
        self._outcomes.setdefault(_POLL, Counter())[_FINE] += len(gaps)
        self._latency_of(_POLL).observed.extend(latencies)
        self._lateness.extend(latenesses)
        self._gap.observed.extend(gaps)

    def _latency_of(self, operation: str) -> CensoredHistogram:
        latency = self._latency.get(operation)
        if latency is None:
            latency = self._latency[operation] = CensoredHistogram()
        return latency

    # -- results ---------------------------------------------------------------------------------

    @property
    def fates(self) -> Fates:
        """What became of the sessions: the one definition of accepted, unserved, dropped and known."""
        return Fates(self.verdicts, self.unserved)

    def imbalances(self) -> list[str]:
        """Return every way in which these books disagree with themselves, one sentence each; [] if they balance.

        They balance if: sessions started = sum over verdicts; requests sent = sum over outcomes, for each operation;
        arrivals = those begun + those not begun.
        """
        found = []
        ended, begun = self.verdicts.total(), self.start_lateness.count
        if self.started != ended:
            found.append(f"{self.started} sessions started, {ended} ended")
        if self.arrivals != begun + self.not_started:
            found.append(f"{self.arrivals} arrivals, {begun} started and {self.not_started} not")
        for operation in sorted(self.sent.keys() | self._outcomes.keys()):
            sent, outcomes = self._sent[operation], self._outcomes.get(operation, Counter()).total()
            if sent != outcomes:
                found.append(f"{operation}: {sent} requests sent, {outcomes} outcomes")
        return found

    def balanced(self) -> bool:
        """Return whether the books balance (see `imbalances`)."""
        return not self.imbalances()

    # -- all fields ------------------------------------------------------------------------------

    def merge(self, other: Books) -> None:
        """Add the books of another process."""
        self.flush()
        other.flush()
        for name, kind in _KINDS.items():
            setattr(self, name, kind.add(getattr(self, name), getattr(other, name)))

    def copy(self) -> Books:
        """Return these books as they are now."""
        made = Books()
        made.merge(self)
        return made

    def since(self, earlier: Books) -> Books:
        """Return what was added since `earlier`, a former state of these books.

        States are those of now. The extremes of its histograms are bounds (see `Histogram.since`), and the longest
        stall is known only if it has grown.
        """
        self.flush()
        earlier.flush()
        return _made({name: kind.since(getattr(self, name), getattr(earlier, name)) for name, kind in _KINDS.items()})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and msgpack; `from_dict` reads them."""
        self.flush()
        return {name.lstrip("_"): kind.to_plain(getattr(self, name)) for name, kind in _KINDS.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Books:
        """Return the books that `to_dict` wrote; raises KeyError if a field is missing."""
        return _made({name: kind.from_plain(data[name.lstrip("_")]) for name, kind in _KINDS.items()})


#: Every field of the books and its kind: the one table behind merge, since, to_dict and from_dict.
_KINDS: Mapping[str, _Kind] = {f.name: f.metadata["kind"] for f in fields(Books) if f.metadata}


def _made(values: Mapping[str, Any]) -> Books:
    made = Books()
    for name, value in values.items():
        setattr(made, name, value)
    return made
