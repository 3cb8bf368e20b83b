"""The books of a run: counts and histograms that can be merged and must balance, and the fates of sessions by them.

accepted: the server gave the session a chat id.
unserved: the session started, and ended without a chat id.
dropped, surely: dropped late or early, of the accepted sessions.
dropped, possibly: also those whose end has more than one reading, and those that gave up: their last requests failed,
    and what became of the chat is not known.
exposure: the time for which accepted sessions were surely open, and so at risk of being dropped.
known: the accepted sessions, except those that were cut off by the end of the run without a confirmed goodbye. Their
    fate is not known: they are censored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, TypeAdapter

from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.wire import Detail
from chatload.run.histogram import MOST_NUMBER, CensoredHistogram, Count, Histogram, StoredCensored, StoredHistogram
from chatload.vocabulary import DROPPED_PERHAPS, DROPPED_SURELY, PERHAPS_UNSERVED, Outcome, Verdict

#: A chat of an open workload has a late start if it begins more than this after its time (seconds).
LATE_START_S = 0.1
#: Longer texts in a run file are cut to this length (characters): no page, table or terminal can show them.
MOST_TEXT = 4096

_POLL, _FINE = "GetMessages", Outcome.FINE.value
#: How many numbers of usual refreshes are buffered. Nearly all requests are usual refreshes; counting this many takes
#: about a millisecond.
_BUFFERED = 4 * 4000


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
        surely = self.accepted_with(*DROPPED_SURELY)
        return Range(surely, surely + self.accepted_with(*DROPPED_PERHAPS))

    def known(self, cut_off_confirmed: int) -> int:
        """Return the number of accepted sessions whose fate is known, given how many goodbyes of a cut-off were
        confirmed."""
        return self.accepted - self.accepted_with(Verdict.CUT_OFF) + cut_off_confirmed


def is_unserved(record: SessionRecord) -> bool:
    """Return whether a session that ended was never accepted."""
    return record.verdict == Verdict.REFUSED or (not record.chat_id and record.verdict in PERHAPS_UNSERVED)


def may_be_dropped(record: SessionRecord) -> bool:
    """Return whether a session that ended was dropped, or may have been."""
    perhaps = record.verdict in DROPPED_PERHAPS and not is_unserved(record)
    return perhaps or record.verdict in DROPPED_SURELY


_Name = Annotated[str, Field(strict=True, max_length=MOST_TEXT)]
_Counts = Annotated[Counter[str], BeforeValidator(TypeAdapter(dict[_Name, Count]).validate_python)]
_State = Annotated[int, Field(strict=True, ge=-MOST_NUMBER, le=MOST_NUMBER)]
_States = Annotated[Counter[str], BeforeValidator(TypeAdapter(dict[_Name, _State]).validate_python)]
_Seconds = Annotated[float, Field(strict=True, ge=0, le=MOST_NUMBER)]
_SignedSeconds = Annotated[float, Field(strict=True, ge=-MOST_NUMBER, le=MOST_NUMBER)]
_CountsByOperation = defaultdict[_Name, Annotated[_Counts, Field(default_factory=Counter)]]
_CensoredByOperation = defaultdict[_Name, StoredCensored]


class QuickCounter(Counter[str]):
    """A Counter that sets a count at half the cost; each request sets two.

    Counter overrides __delitem__ in Python. CPython has one slot for setting and deleting an item, so both become slow.
    """

    __delitem__ = dict.__delitem__  # type: ignore[assignment]  # no missing name is ever deleted


@dataclass(eq=False)
class Books:
    """What happened in one process, or in several together. It is the engine's `ChatObserver`.

    Each field is a sum that `merge` adds up and `since` subtracts, except states and longest_stall_s.

    started: sessions begun.
    sent: requests begun, by operation. outcomes: requests ended, by operation and outcome.
    verdicts, blames: of sessions that ended. unserved: verdicts of those that were never accepted.
    suspects: sessions whose lateness the generator itself could have caused.
    rotations: secure keys that the server replaced.
    fetched, fetch_outcomes, fetch_latency: requests of hooks, by the name that the hook gives them, apart from the
        chat's own: begun; ended, by "HTTP STATUS", "timeout", "connection" or "malformed"; and their latency (seconds).
    code_errors: exceptions in the code of user classes, and wrong values of hooks, by function and kind, such as
        "Customer.before_chat: KeyError". other_requests, other_failed: requests of users that hold no chats, such as
        an HttpUser, and those of them that failed.
    offline: how often a `widget` told its customer that the chat server is offline.
    resent: requests sent once more by the rule of WireRequest.repeatable.
    exhausted: requests that never left: this machine had no local port or file descriptor for them.
    exposure_s: the time for which accepted sessions were open (seconds). Of a session that ended it is only the time
        for which it was surely open (SessionRecord.alive_s). This may be less than was counted before its end, so the
        exposure of a window may be negative.
    states: open sessions by state (opening, held, retrying, leaving), now.
    latency: by operation, of every request that ended (seconds); without an answer it is longer than we waited.
    response_time: by operation, from the instant for which a request was scheduled to its answer (seconds); also of
        each poll that was due while an earlier one was waited for and was never sent, until that one's answer.
    lateness: of every refresh (seconds).
    gap: the upper bound of the gap that each refresh closed, and the last silence of each chat that was dropped or may
        have been (seconds).
    arrivals: in an open workload, chats that were due. start_lateness: of those that began, how long after their time
        (seconds). late_starts: those of them that began later than LATE_START_S. not_started: those that never began.
    stalls, stalled_s, longest_stall_s: how often and how long (seconds) the process was stalled.
    cpu_saturated: how often its CPU was saturated.
    """

    started: Count = 0
    sent: _Counts = field(default_factory=QuickCounter)
    outcomes: _CountsByOperation = field(default_factory=lambda: defaultdict(QuickCounter))
    verdicts: _Counts = field(default_factory=Counter)
    unserved: _Counts = field(default_factory=Counter)
    blames: _Counts = field(default_factory=Counter)
    suspects: Count = 0
    rotations: Count = 0
    offline: Count = 0
    fetched: _Counts = field(default_factory=Counter)
    fetch_outcomes: _CountsByOperation = field(default_factory=lambda: defaultdict(Counter))
    fetch_latency: _CensoredByOperation = field(default_factory=lambda: defaultdict(CensoredHistogram))
    code_errors: _Counts = field(default_factory=Counter)
    other_requests: Count = 0
    other_failed: Count = 0
    resent: Count = 0
    exhausted: Count = 0
    exposure_s: _SignedSeconds = 0.0
    states: _States = field(default_factory=Counter)
    latency: _CensoredByOperation = field(default_factory=lambda: defaultdict(CensoredHistogram))
    response_time: _CensoredByOperation = field(default_factory=lambda: defaultdict(CensoredHistogram))
    lateness: StoredHistogram = field(default_factory=Histogram)
    gap: StoredCensored = field(default_factory=CensoredHistogram)
    arrivals: Count = 0
    late_starts: Count = 0
    not_started: Count = 0
    start_lateness: StoredHistogram = field(default_factory=Histogram)
    stalls: Count = 0
    stalled_s: _Seconds = 0.0
    longest_stall_s: _Seconds = 0.0
    cpu_saturated: Count = 0

    def __post_init__(self) -> None:
        self._refreshes: list[float] = []
        self._answered_polls: Counter[str] | None = None
        #: Open accepted sessions; the sum of the instants from which on their exposure is not counted yet; and the
        #: instant (driver's clock) up to which it was counted last.
        self._exposed, self._exposed_since, self._exposed_until = 0, 0.0, -inf

    # -- what the engine reports (see ChatObserver) ----------------------------------------------

    def session_started(self) -> None:
        self.started += 1

    def session_accepted(self, at: float) -> None:
        self._exposed += 1
        self._exposed_since += max(at, self._exposed_until)

    def count_exposure(self, now: float) -> None:
        """Count the exposure of the open sessions up to `now` (driver's clock)."""
        self.exposure_s += self._exposed * now - self._exposed_since
        self._exposed_since, self._exposed_until = self._exposed * now, now

    def session_ended(self, record: SessionRecord, timeout_s: float = 0.0) -> None:
        if record.accepted_at is not None and record.alive_s is not None:
            counted = max(record.accepted_at, self._exposed_until)
            self._exposed -= 1
            self._exposed_since -= counted
            self.exposure_s += record.alive_s - (counted - record.accepted_at)
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
            self.gap.add_longer_than(max(lower, timeout_s))
        elif record.verdict == Verdict.DROPPED_EARLY and upper is not None:
            self.gap.add(upper)
        elif record.verdict == Verdict.DROPPED_UNPROVEN:
            if upper is not None and upper <= timeout_s:
                self.gap.add(upper)  # it was in time, whatever ended the chat
            else:
                self.gap.add_longer_than(lower)
        elif record.verdict == Verdict.GAVE_UP:
            # The record has the bounds of an earlier gap; nothing is known about the last one.
            self.gap.add_longer_than(0.0)

    def state_changed(self, before: str, after: str) -> None:
        if before:
            self.states[before] -= 1
        if after:
            self.states[after] += 1

    def request_begun(self, operation: str) -> None:
        self.sent[operation] += 1

    def refresh_answered(self, latency_s: float, lateness_s: float, gap_s: float, response_s: float) -> None:
        if self._answered_polls is None:
            self._answered_polls = self.outcomes[_POLL]
            polls = (self.latency[_POLL].observed, self.response_time[_POLL].observed)
            for histogram in (*polls, self.lateness, self.gap.observed):
                histogram.feed = self._count_refreshes
        self._answered_polls[_FINE] += 1
        refreshes = self._refreshes
        refreshes += (latency_s, lateness_s, gap_s, response_s)
        if len(refreshes) >= _BUFFERED:
            self._count_refreshes()

    def _count_refreshes(self) -> None:
        """Count the buffered refreshes in their histograms, which call this before each read."""
        if self._refreshes:
            latencies, latenesses, gaps, response_times = np.array(self._refreshes).reshape(-1, 4).T
            self._refreshes = []
            self.latency[_POLL].observed.extend(latencies)
            self.lateness.extend(latenesses)
            self.gap.observed.extend(gaps)
            self.response_time[_POLL].observed.extend(response_times)

    def polls_skipped(self, response_s: float, interval_s: float, answered: bool) -> None:
        # Without them, a server that stands still would have few slow polls: the slower it is, the fewer are sent.
        # Source: G. Tene, "How NOT to Measure Latency", 2013 (coordinated omission), and the correction by an expected
        # interval in his HdrHistogram. That one leaves the last skipped instant out, because its clients send then.
        waited = np.arange(response_s - interval_s, 0.0, -interval_s)
        response_time = self.response_time[_POLL]
        (response_time.observed if answered else response_time.censored).extend(waited)

    def request_ended(
        self,
        operation: str,
        exchange: Exchange,
        lateness_s: float | None = None,
        gap_s: float | None = None,
        due: float | None = None,
    ) -> None:
        self.outcomes[operation][exchange.reply.outcome._value_] += 1
        self.resent += exchange.resent
        latency, response_time = self.latency[operation], self.response_time[operation]
        response_s = exchange.received_at - (exchange.begun_at if due is None else due)
        if exchange.sent_at is not None and exchange.answered:
            latency.add(exchange.received_at - exchange.sent_at)
            response_time.add(response_s)
        else:
            begun = exchange.begun_at if exchange.sent_at is None else exchange.sent_at
            self.exhausted += exchange.sent_at is None and exchange.reply.detail == Detail.EXHAUSTED
            latency.add_longer_than(exchange.received_at - begun)
            response_time.add_longer_than(response_s)
        if lateness_s is not None:
            self.lateness.add(lateness_s)
        if gap_s is not None:
            self.gap.add(gap_s)

    def request_cut(self, operation: str, waited_s: float = 0.0) -> None:
        self.outcomes[operation][Outcome.CONNECTION.value] += 1
        # When its first byte left is not known here: its latency is longer than 0.
        self.latency[operation].add_longer_than(0.0)
        self.response_time[operation].add_longer_than(waited_s)

    def key_replaced(self) -> None:
        self.rotations += 1

    def went_offline(self) -> None:
        self.offline += 1

    # -- what hooks do ---------------------------------------------------------------------------

    def fetch_ended(self, name: str, outcome: str, latency_s: float, answered: bool) -> None:
        """Count a request of a hook that has ended; latency_s: until its answer, or until it was given up."""
        self.fetch_outcomes[name][outcome] += 1
        if answered:
            self.fetch_latency[name].add(latency_s)
        else:
            self.fetch_latency[name].add_longer_than(latency_s)

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
        self.stalls += 1
        self.stalled_s += seconds
        self.longest_stall_s = max(self.longest_stall_s, seconds)

    @property
    def fates(self) -> Fates:
        """What became of the sessions: the one definition of accepted, unserved, dropped and known."""
        return Fates(self.verdicts, self.unserved)

    def imbalances(self) -> list[str]:
        """Return one sentence for each imbalance; [] if the books balance.

        They balance if sessions started = sum over verdicts; for each operation requests sent = sum over outcomes; and
        arrivals = those that began + those that never began.
        """
        found = []
        ended, begun = self.verdicts.total(), self.start_lateness.count
        if self.started != ended:
            found.append(f"{self.started} sessions started, {ended} ended")
        if self.arrivals != begun + self.not_started:
            found.append(f"{self.arrivals} arrivals, {begun} started and {self.not_started} not")
        for operation in sorted(self.sent.keys() | self.outcomes.keys()):
            sent, outcomes = self.sent[operation], self.outcomes.get(operation, Counter()).total()
            if sent != outcomes:
                found.append(f"{operation}: {sent} requests sent, {outcomes} outcomes")
        for name in sorted(self.fetched.keys() | self.fetch_outcomes.keys()):
            sent, outcomes = self.fetched[name], self.fetch_outcomes.get(name, Counter()).total()
            if sent != outcomes:
                found.append(f"{name}: {sent} requests of a hook sent, {outcomes} outcomes")
        return found

    def balanced(self) -> bool:
        return not self.imbalances()

    def merge(self, other: Books) -> None:
        longest = max(self.longest_stall_s, other.longest_stall_s)
        for name in _FIELDS:
            setattr(self, name, _sum(getattr(self, name), getattr(other, name)))
        self.longest_stall_s = longest

    def copy(self) -> Books:
        made = Books()
        made.merge(self)
        return made

    def since(self, earlier: Books) -> Books:
        """Return what was added since `earlier`, a former state of these books.

        States are those of now. The extremes of its histograms are bounds (see `Histogram.since`), and the longest
        stall is known only if it has grown.
        """
        made = Books(**{name: _difference(getattr(self, name), getattr(earlier, name)) for name in _FIELDS})
        made.states = Counter(self.states)
        made.longest_stall_s = self.longest_stall_s if self.longest_stall_s > earlier.longest_stall_s else 0.0
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON and msgpack; `from_dict` reads them."""
        plain = {name: _plain(getattr(self, name)) for name in _FIELDS}
        return {**plain, "states": {state: count for state, count in self.states.items() if count}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Books:
        """Return the books that `to_dict` wrote. Raises ValueError if a field is missing or has no such value."""
        made = _ADAPTER.validate_python(data)
        if missing := [name for name in _FIELDS if name not in data]:
            raise ValueError(f"{missing[0]} is missing")
        return made


class RunBooks(NamedTuple):
    """The books of a run so far: of all user classes together, and of each of them if there are several."""

    total: Books
    by_class: Mapping[str, Books] = {}


_FIELDS = tuple(f.name for f in fields(Books))
_ADAPTER = TypeAdapter(Books)


def _sum(one: Any, other: Any) -> Any:
    """Return the sum of two parts of books; `one` is changed."""
    if isinstance(one, dict):
        for name, value in other.items():
            one[name] = _sum(one[name] if name in one else type(value)(), value)
    elif isinstance(one, Histogram | CensoredHistogram):
        one.merge(other)
    else:
        one += other
    return one


def _difference(now: Any, earlier: Any) -> Any:
    if isinstance(now, dict) and not isinstance(now, Counter):
        made = now.copy()
        made.update({name: _difference(value, earlier.get(name, type(value)())) for name, value in now.items()})
        return made
    return now.since(earlier) if isinstance(now, Histogram | CensoredHistogram) else now - earlier


def _plain(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _plain(value) for name, value in part.items()}
    return part.to_dict() if isinstance(part, Histogram | CensoredHistogram) else part
