"""The evidence of a probe: what its chats have shown, and when each chat sends next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from chatload.chat.observed_server import ServerClock
from chatload.features.probe.bounds import (
    ObservedSilence,
    SweepBounds,
    TimeoutBounds,
    TimeSpan,
    bounds,
    longest_survived,
    sweep,
)
from chatload.features.probe.settings import PRECISION, ProbeSettings

_INF = float("inf")
#: A contact is narrow if its interval is at most this wide (seconds), or this many times the narrowest.
_NARROW_S, _NARROW_OF_BEST = 0.004, 2.0
#: Bounds of the sweep are good within this many PRECISIONs, or this many times each other.
_SWEEP_PRECISION, _SWEEP_RATIO = 2.0, 2.0
#: Operations that may keep a chat alive are sent at intervals of this part of the timeout. While the timeout is
#: not known, the first interval is this long (seconds), and each next one longer by this factor.
_STEP, _FIRST_S, _RATIO = 0.4, 0.4, 1.4
#: The bounds are tested at their edges once survived and fatal silences differ by less than this part of PRECISION.
_EDGE = 0.3


class ProbePhase(StrEnum):
    """SEARCHING until two chats have been dropped; then REFINING."""

    SEARCHING = "searching"
    REFINING = "refining"


@dataclass(frozen=True, slots=True)
class KnownCheck:
    """Whether the server still knew an ended chat when asked.

    drop: the silence that ended it; else at: when our Disconnect ended it.
    """

    drop: ObservedSilence | None
    at: TimeSpan | None
    asked: TimeSpan
    known: bool


@dataclass(frozen=True, slots=True)
class KeepAliveTrial:
    """A chat that was kept alive by one operation only.

    silent_s: least time without another contact when it was found alive; None if it was found ended. since_s: most
    time since the operation when it was found ended.
    """

    silent_s: float | None = None
    since_s: float | None = None


class _DerivedBounds:
    """Bounds computed from the silences so far; replaced when a silence is added."""

    def __init__(self, silences: list[ObservedSilence]) -> None:
        self._silences = silences

    @cached_property
    def bounds(self) -> TimeoutBounds:
        return bounds(self._silences)

    @cached_property
    def sweep(self) -> SweepBounds:
        return sweep(self._silences, self.bounds)

    @cached_property
    def longest(self) -> float:
        return longest_survived(self._silences)


class ProbeEvidence:
    """All evidence of one probe.

    phase: see ProbePhase. hurried: the time for refining is over. version: increased whenever something changed that
    chats wait for. chats: opened so far. retried: RequestChats sent again.
    """

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings
        self.phase = ProbePhase.SEARCHING
        self.hurried = False
        self.version = 0
        self.silences: list[ObservedSilence] = []
        self.known: list[KnownCheck] = []
        self.trials: dict[str, list[KeepAliveTrial]] = {}
        self.taken: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.server_clock = ServerClock()
        self.refusal = ""
        self.chats = self.retried = 0
        self._best_s = _INF
        self._figures = _DerivedBounds([])

    # -- evidence ----------------------------------------------------------------------------------

    def add(self, silence: ObservedSilence) -> None:
        """Add a silence that is over."""
        if silence.survived_s > 0 or silence.ended_by is not None:
            self.silences.append(silence)
            self._figures = _DerivedBounds(self.silences)
        self.version += 1
        self._best_s = min(self._best_s, silence.found.latest - silence.found.earliest)

    def tried(self, operation: str, trial: KeepAliveTrial) -> None:
        """Add a trial: a chat kept alive by one operation was found alive or ended."""
        self.trials.setdefault(operation, []).append(trial)

    @property
    def room(self) -> int:
        """How many more chats may be opened."""
        return self.settings.chats - self.chats - self.retried

    def narrow(self, contact: TimeSpan) -> bool:
        """Whether the interval of a contact is about as narrow as intervals get on this connection."""
        return contact.latest - contact.earliest <= max(_NARROW_S, _NARROW_OF_BEST * self._best_s)

    # -- what follows ------------------------------------------------------------------------------

    @property
    def bounds(self) -> TimeoutBounds:
        """Bounds of the timeout."""
        return self._figures.bounds

    @property
    def sweep(self) -> SweepBounds:
        """Bounds of the sweep interval."""
        return self._figures.sweep

    @property
    def longest_survived_s(self) -> float:
        """The longest silence that two chats survived (seconds)."""
        return self._figures.longest

    @property
    def overlaps(self) -> bool:
        """Whether some chats survived a silence that ended others: the sweep is coarse."""
        return self.longest_survived_s >= self.bounds.upper_s

    @property
    def lapse_s(self) -> float:
        """A silence that no chat survives (seconds); infinite while not known."""
        upper = self.sweep.upper_s
        return _INF if upper is None else self.bounds.upper_s + upper

    @property
    def first_s(self) -> float:
        """Time from the last other contact to the first operation that may keep the chat alive (seconds)."""
        return _STEP * self.bounds.lower_s if self._edge_known else _FIRST_S

    def next_s(self, pause_s: float) -> float:
        """Time from the last other contact to the next operation, after `pause_s` (seconds).

        While the timeout is not known, the intervals grow, so that each is a part of any timeout exceeded so far.
        """
        return pause_s + _STEP * self.bounds.lower_s if self._edge_known else pause_s * _RATIO

    @property
    def _edge_known(self) -> bool:
        return self.phase is ProbePhase.REFINING and self.bounds.lower_s > self.bounds.upper_s / 2

    @property
    def good(self) -> bool:
        """Whether the bounds of timeout and sweep are precise enough."""
        found, sweep = self.bounds, self.sweep
        if len(found.drops) < 2 or found.contradicts or sweep.upper_s is None:
            return False
        fine = PRECISION * found.upper_s
        if found.width_s > max(fine, sweep.lower_s):
            return False
        return sweep.upper_s <= max(_SWEEP_PRECISION * fine, _SWEEP_RATIO * sweep.lower_s)

    def resets(self, operation: str) -> bool | None:
        """Whether an operation resets the clock; None if nothing shows it."""
        trials = self.trials.get(operation, ())
        if operation in self.taken:
            return None
        if any(trial.silent_s is not None and trial.silent_s > self.lapse_s for trial in trials):
            return True
        least = self.bounds.lower_s
        ended = sum(trial.since_s is not None and trial.since_s < least for trial in trials)
        # One chat may have ended for another reason, and a transient fault looks like a failed request.
        return False if ended > 1 else None

    def decided(self, operation: str) -> bool:
        """Whether no more trials of an operation are needed."""
        return operation in self.taken or self.resets(operation) is not None

    # -- what next ---------------------------------------------------------------------------------

    def ask_at(self, contact: TimeSpan, rung: float | None, verifies: bool, draw: float) -> float:
        """Return the instant at which a silent chat is asked next.

        rung: length of its first silence. verifies: it is asked early, to confirm a single drop. draw: the chat's
        random number, 0 to 1.
        """
        if self.phase is ProbePhase.SEARCHING:
            if verifies and len(self.bounds.drops) == 1:
                return contact.latest
            return contact.latest + (self.settings.longest_s if rung is None else rung)
        return (contact.earliest + contact.latest) / 2 + self._target(draw)

    def lapsed_at(self, since: TimeSpan) -> float:
        """Return when a chat without contact since then is surely dropped; infinite while not known well enough."""
        if self.phase is ProbePhase.SEARCHING or not (self.good or self.hurried):
            return _INF
        return since.latest + 1.005 * self.lapse_s + 0.01

    def _target(self, draw: float) -> float:
        """Return the length of silence that tells most, less the time its request takes to the server (seconds).

        While survived and fatal silences are far apart: anywhere between them. Then at one edge or the other, because
        bounds need both. If they overlap, as under a coarse sweep: anywhere around the overlap.
        """
        found, longest = self.bounds, self.longest_survived_s
        upper, on_the_way = found.upper_s, self._best_s / 2
        if self.overlaps:
            margin = (longest - upper) / 4 + PRECISION / 2 * upper
            return upper - margin + draw * (longest - upper + 2 * margin)
        lower = max(longest, found.lower_s)
        if upper - lower > _EDGE * PRECISION * upper + 2 * self._best_s:
            return lower + (0.1 + 0.8 * draw) * (upper - lower) - on_the_way
        return upper if draw < 0.5 else lower - 2 * on_the_way
