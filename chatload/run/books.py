"""The run's books: counts and histograms that add, merge, and must balance."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.wire import Detail
from chatload.run.censored import CensoredHistogram
from chatload.run.fate import Fates, is_unserved
from chatload.run.histogram import Histogram
from chatload.vocabulary import Outcome, Verdict

#: A chat of an open workload that begins more than this (seconds) after its time has a late start.
LATE_START_S = 0.1
_POLL, _FINE = "GetMessages", Outcome.FINE.value
#: So many numbers of usual refreshes are kept back at most: to count them takes about a millisecond.
_AT_ONCE = 3 * 4000
_Part = TypeVar("_Part")


class _Counted(Generic[_Part]):
    """A part of the books that usual refreshes add to: those kept back are counted before anybody looks at it."""

    def __set_name__(self, owner: type[Books], name: str) -> None:
        self._name = "_" + name

    def __get__(self, books: Books, owner: type[Books]) -> _Part:
        books.settle()
        part: _Part = getattr(books, self._name)
        return part

    def __set__(self, books: Books, part: _Part) -> None:
        books.settle()
        setattr(books, self._name, part)


class Books:
    """An accumulator of one process's facts: add / merge / to_dict. Values in `to_dict` are plain.

    started: sessions begun. sent: requests begun, per operation. outcomes: per operation and
    outcome. verdicts, blames: sessions ended; unserved: verdicts of those that were never accepted.
    suspects: sessions whose lateness the generator itself could have caused.
    rotations: secure keys that the server replaced. offline: how often a
    `widget` told its customer that the chat server went offline. resent: requests sent once more by the rule
    of WireRequest.repeatable. exhausted: requests that never left, this machine having no local port or
    file descriptor for them. latency: seconds per operation, of every request that is over; one without an answer is
    known to be longer than we waited. lateness: of every refresh, seconds. gap: seconds, of every refresh its
    upper bound, and of a chat that was dropped, or may have been, the silence that it was dropped in.
    arrivals: in an open workload, chats that were to begin; start_lateness: of those that did, how long after
    their time, seconds; late_starts: of these, more than LATE_START_S; not_started: those that never did.
    stalled_s: time the process stood still. states: open sessions per state (opening, held, retrying,
    leaving): as of now, not a sum over time. polls_begun: GetMessages begun that are not counted in `sent` yet.

    Nearly every request is a usual refresh, so those are kept back and counted thousands at a time (`refreshed`).
    """

    sent = _Counted[Counter[str]]()
    outcomes = _Counted[dict[str, Counter[str]]]()
    latency = _Counted[dict[str, CensoredHistogram]]()
    lateness = _Counted[Histogram]()
    gap = _Counted[CensoredHistogram]()

    def __init__(self) -> None:
        self.polls_begun = 0
        self._kept: list[float] = []
        self.started = 0
        self._sent: Counter[str] = Counter()
        self._outcomes: dict[str, Counter[str]] = {}
        self.verdicts: Counter[str] = Counter()
        self.unserved: Counter[str] = Counter()
        self.blames: Counter[str] = Counter()
        self.suspects = 0
        self.rotations = 0
        self.offline = 0
        self.resent = 0
        self.exhausted = 0
        self.states: Counter[str] = Counter()
        self._latency: dict[str, CensoredHistogram] = {}
        self._lateness = Histogram()
        self._gap = CensoredHistogram()
        self.arrivals = 0
        self.late_starts = 0
        self.not_started = 0
        self.start_lateness = Histogram()
        self.stalls = 0
        self.stalled_s = 0.0
        self.longest_stall_s = 0.0
        self.cpu_saturated = 0

    def begun(self, operation: str) -> None:
        """Count a request that is begun; of a GetMessages it does to add to `polls_begun`."""
        self._sent[operation] += 1

    def refreshed(self, latency_s: float, lateness_s: float, gap_s: float) -> None:
        """Count one GetMessages answered 0/false; seconds, the gap's upper bound."""
        kept = self._kept
        kept += (latency_s, lateness_s, gap_s)
        if len(kept) >= _AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Count what was kept back."""
        if self.polls_begun:
            self._sent[_POLL] += self.polls_begun
            self.polls_begun = 0
        if not self._kept:
            return
        latencies, latenesses, gaps = np.frombuffer(array("d", self._kept)).reshape(-1, 3).T
        self._kept = []
        self._outcomes.setdefault(_POLL, Counter())[_FINE] += len(gaps)
        self._latency_of(_POLL).observed.extend(latencies)
        self._lateness.extend(latenesses)
        self._gap.observed.extend(gaps)

    def request(self, operation: str, exchange: Exchange) -> None:
        """Count the outcome of any other request."""
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

    def _latency_of(self, operation: str) -> CensoredHistogram:
        latency = self._latency.get(operation)
        if latency is None:
            latency = self._latency[operation] = CensoredHistogram()
        return latency

    def late(self, lateness_s: float) -> None:
        """Count how late such a refresh left, seconds."""
        self._lateness.add(lateness_s)

    def closed(self, gap_s: float) -> None:
        """Count a gap that such a request closed: its upper bound, seconds."""
        self._gap.add(gap_s)

    def cut(self, operation: str) -> None:
        """Count a request whose answer was not waited for: its connection was closed by us.

        Its latency is unknown. When its first byte left is not known here, so its lower bound is 0.
        """
        self._outcomes.setdefault(operation, Counter())[Outcome.CONNECTION.value] += 1
        self._latency_of(operation).add_longer_than(0.0)

    def session(self, record: SessionRecord, timeout_s: float = 0.0) -> None:
        """Count the verdict of one session, and the silence in which it was dropped. timeout_s: the
        flex-disconnect-timeout, which a silence that is proven late was longer than."""
        self.verdicts[record.verdict] += 1
        if is_unserved(record):
            self.unserved[record.verdict] += 1
        else:
            self._last_silence(record, timeout_s)
        if record.blame:
            self.blames[record.blame] += 1
        self.suspects += record.generator_suspect

    def _last_silence(self, record: SessionRecord, timeout_s: float) -> None:
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
            # Its bounds are those of an earlier gap; of the last one nothing is known.
            self._gap.add_longer_than(0.0)

    @property
    def fates(self) -> Fates:
        """What became of the sessions: the one definition of accepted, unserved, dropped and known."""
        return Fates(self.verdicts, self.unserved)

    def arrived(self, late_s: float | None) -> None:
        """Count an arrival that began `late_s` after its time, or with None never did."""
        self.arrivals += 1
        if late_s is None:
            self.not_started += 1
        else:
            self.start_lateness.add(late_s)
            self.late_starts += late_s > LATE_START_S

    def moved(self, before: str, after: str) -> None:
        """A session went from one state to another; "" is none."""
        if before:
            self.states[before] -= 1
        if after:
            self.states[after] += 1

    def stall(self, seconds: float) -> None:
        """Count one stretch in which this process stood still."""
        self.stalls += 1
        self.stalled_s += seconds
        self.longest_stall_s = max(self.longest_stall_s, seconds)

    def balanced(self) -> bool:
        """Whether started = sum of verdicts, sent = sum of outcomes, per operation, and arrivals = begun + not."""
        outcomes = {op: by.total() for op, by in self.outcomes.items() if by.total()}
        sent = {op: n for op, n in self.sent.items() if n}
        arrived = self.arrivals == self.start_lateness.count + self.not_started
        return self.started == self.verdicts.total() and sent == outcomes and arrived

    def merge(self, other: Books) -> None:
        """Add another process's books to these."""
        self.started += other.started
        self._sent.update(other.sent)
        for operation, by_outcome in other.outcomes.items():
            self._outcomes.setdefault(operation, Counter()).update(by_outcome)
        self.verdicts.update(other.verdicts)
        self.unserved.update(other.unserved)
        self.blames.update(other.blames)
        self.suspects += other.suspects
        self.rotations += other.rotations
        self.offline += other.offline
        self.resent += other.resent
        self.exhausted += other.exhausted
        self.states.update(other.states)
        for operation, latency in other.latency.items():
            self._latency_of(operation).merge(latency)
        self._lateness.merge(other.lateness)
        self._gap.merge(other.gap)
        self.arrivals += other.arrivals
        self.late_starts += other.late_starts
        self.not_started += other.not_started
        self.start_lateness.merge(other.start_lateness)
        self.stalls += other.stalls
        self.stalled_s += other.stalled_s
        self.longest_stall_s = max(self.longest_stall_s, other.longest_stall_s)
        self.cpu_saturated += other.cpu_saturated

    def copy(self) -> Books:
        """These books as they are now."""
        made = Books()
        made.merge(self)
        return made

    def since(self, earlier: Books) -> Books:
        """What was added since `earlier`, a former state of these books; states are those of now. Extremes
        of its histograms are bounds of them (see `Histogram.since`), and a longest stall is known only if it grew."""
        made = Books()
        made.started = self.started - earlier.started
        made.sent = self.sent - earlier.sent
        made.outcomes = {op: by - earlier.outcomes.get(op, Counter()) for op, by in self.outcomes.items()}
        made.verdicts, made.blames = self.verdicts - earlier.verdicts, self.blames - earlier.blames
        made.unserved = self.unserved - earlier.unserved
        made.suspects = self.suspects - earlier.suspects
        made.rotations = self.rotations - earlier.rotations
        made.offline = self.offline - earlier.offline
        made.resent = self.resent - earlier.resent
        made.exhausted = self.exhausted - earlier.exhausted
        made.states = Counter(self.states)
        made.latency = {op: h.since(earlier.latency.get(op)) for op, h in self.latency.items()}
        made.lateness, made.gap = self.lateness.since(earlier.lateness), self.gap.since(earlier.gap)
        made.arrivals = self.arrivals - earlier.arrivals
        made.late_starts = self.late_starts - earlier.late_starts
        made.not_started = self.not_started - earlier.not_started
        made.start_lateness = self.start_lateness.since(earlier.start_lateness)
        made.stalls = self.stalls - earlier.stalls
        made.stalled_s = self.stalled_s - earlier.stalled_s
        if self.longest_stall_s > earlier.longest_stall_s:
            made.longest_stall_s = self.longest_stall_s
        made.cpu_saturated = self.cpu_saturated - earlier.cpu_saturated
        return made

    def to_dict(self) -> dict[str, Any]:
        """A JSON- and msgpack-safe form; `from_dict` reads it back."""
        return {
            "started": self.started,
            "sent": dict(self.sent),
            "outcomes": {operation: dict(by) for operation, by in self.outcomes.items()},
            "verdicts": dict(self.verdicts),
            "unserved": dict(self.unserved),
            "blames": dict(self.blames),
            "suspects": self.suspects,
            "rotations": self.rotations,
            "offline": self.offline,
            "resent": self.resent,
            "exhausted": self.exhausted,
            "states": {state: n for state, n in self.states.items() if n},
            "latency": {operation: h.observed.to_dict() for operation, h in self.latency.items()},
            "unanswered": {op: h.censored.to_dict() for op, h in self.latency.items() if h.censored.count},
            "lateness": self.lateness.to_dict(),
            "gap": self.gap.observed.to_dict(),
            "open_gap": self.gap.censored.to_dict(),
            "arrivals": self.arrivals,
            "late_starts": self.late_starts,
            "not_started": self.not_started,
            "start_lateness": self.start_lateness.to_dict(),
            "stalls": self.stalls,
            "stalled_s": self.stalled_s,
            "longest_stall_s": self.longest_stall_s,
            "cpu_saturated": self.cpu_saturated,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Books:
        """The books that `to_dict` wrote."""
        made = cls()
        made.started = data["started"]
        made.sent = Counter(data["sent"])
        made.outcomes = {operation: Counter(by) for operation, by in data["outcomes"].items()}
        made.verdicts, made.blames = Counter(data["verdicts"]), Counter(data["blames"])
        # Not in run files made before it was kept, as "unanswered" and "open_gap" are not.
        made.unserved = Counter(data.get("unserved", {}))
        made.suspects = data["suspects"]
        made.rotations, made.offline = data.get("rotations", 0), data.get("offline", 0)
        made.resent, made.exhausted = data.get("resent", 0), data.get("exhausted", 0)
        made.states = Counter(data.get("states", {}))
        unanswered = {op: Histogram.from_dict(h) for op, h in data.get("unanswered", {}).items()}
        made.latency = {
            op: CensoredHistogram(Histogram.from_dict(h), unanswered.get(op)) for op, h in data["latency"].items()
        }
        made.lateness = Histogram.from_dict(data["lateness"])
        silences = Histogram.from_dict(data["open_gap"]) if "open_gap" in data else None
        made.gap = CensoredHistogram(Histogram.from_dict(data["gap"]), silences)
        made.arrivals, made.late_starts = data.get("arrivals", 0), data.get("late_starts", 0)
        made.not_started = data.get("not_started", 0)
        made.start_lateness = Histogram.from_dict(data.get("start_lateness", Histogram().to_dict()))
        made.stalls, made.stalled_s = data["stalls"], data["stalled_s"]
        made.longest_stall_s = data["longest_stall_s"]
        made.cpu_saturated = data["cpu_saturated"]
        return made
