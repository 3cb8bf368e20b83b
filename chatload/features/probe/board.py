"""What a probe has learned so far, and what its chats are to do next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from chatload.chat.observed_server import ServerClock
from chatload.features.probe.bounds import Bounds, Sweep, bounds, longest_survived, sweep
from chatload.features.probe.evidence import Silence, Span
from chatload.features.probe.settings import PRECISION, ProbeSettings

_INF = float("inf")
#: A contact whose interval is not wider than this (seconds), or than so many of the best, is narrow.
_NARROW_S, _NARROW_OF_BEST = 0.004, 2.0
#: Bounds of the sweep that are good: within so many of PRECISION, or of each other.
_SWEEP_PRECISION, _SWEEP_RATIO = 2.0, 2.0
#: Operations that are to keep a chat alive follow one another after this part of the timeout. While that is
#: not known: after this long at first (seconds), then each time after so many times as long.
_STEP, _FIRST_S, _RATIO = 0.4, 0.4, 1.4
#: Silences that live and silences that do not, this part of PRECISION apart, are at the edge.
_EDGE = 0.3


class Phase(StrEnum):
    """SEARCHING until two chats have been dropped; then REFINING."""

    SEARCHING = "searching"
    REFINING = "refining"


@dataclass(frozen=True, slots=True)
class Known:
    """Whether an ended chat was known when it was asked. drop: the silence that ended it, or `at`: when we did."""

    drop: Silence | None
    at: Span | None
    asked: Span
    known: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A chat kept alive by one operation alone. silent_s: how long it had no other contact at least when it was
    found alive (None where it was found ended). since_s: how long at most since the operation, when it was found
    ended."""

    silent_s: float | None = None
    since_s: float | None = None


class _Figures:
    """What follows from the silences there are; made anew with every new one."""

    def __init__(self, silences: list[Silence]) -> None:
        self._silences = silences

    @cached_property
    def bounds(self) -> Bounds:
        return bounds(self._silences)

    @cached_property
    def sweep(self) -> Sweep:
        return sweep(self._silences, self.bounds)

    @cached_property
    def longest(self) -> float:
        return longest_survived(self._silences)


class Board:
    """All evidence of one probe. phase: see Phase. hurried: the time for refining is over. version:
    goes up whenever anything changed that chats wait for. chats, retried: made so far, and RequestChats sent again."""

    def __init__(self, settings: ProbeSettings) -> None:
        self.settings = settings
        self.phase = Phase.SEARCHING
        self.hurried = False
        self.version = 0
        self.silences: list[Silence] = []
        self.known: list[Known] = []
        self.trials: dict[str, list[Trial]] = {}
        self.taken: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.server_clock = ServerClock()
        self.refusal = ""
        self.chats = self.retried = 0
        self._best_s = _INF
        self._figures = _Figures([])

    # -- evidence ----------------------------------------------------------------------------------

    def add(self, silence: Silence) -> None:
        """A silence is over."""
        if silence.survived_s > 0 or silence.ended_by is not None:
            self.silences.append(silence)
            self._figures = _Figures(self.silences)
        self.version += 1
        self._best_s = min(self._best_s, silence.found.latest - silence.found.earliest)

    def tried(self, operation: str, trial: Trial) -> None:
        """A chat kept alive by an operation was found alive or ended."""
        self.trials.setdefault(operation, []).append(trial)

    @property
    def room(self) -> int:
        """How many chats may be opened yet."""
        return self.settings.chats - self.chats - self.retried

    def narrow(self, contact: Span) -> bool:
        """Whether a contact is known as well as contacts are here."""
        return contact.latest - contact.earliest <= max(_NARROW_S, _NARROW_OF_BEST * self._best_s)

    # -- what follows ------------------------------------------------------------------------------

    @property
    def bounds(self) -> Bounds:
        """Of the timeout."""
        return self._figures.bounds

    @property
    def sweep(self) -> Sweep:
        """Of the sweep."""
        return self._figures.sweep

    @property
    def longest_survived_s(self) -> float:
        """The longest silence that two chats lived through."""
        return self._figures.longest

    @property
    def overlaps(self) -> bool:
        """Whether some lived through a silence that others did not: the sweep is coarse."""
        return self.longest_survived_s >= self.bounds.upper_s

    @property
    def lapse_s(self) -> float:
        """A silence that no chat lives through, as far as is known; infinite where that is not."""
        upper = self.sweep.upper_s
        return _INF if upper is None else self.bounds.upper_s + upper

    @property
    def first_s(self) -> float:
        """How long after its last other contact an operation is to keep a chat alive first."""
        return _STEP * self.bounds.lower_s if self._edge_known else _FIRST_S

    def next_s(self, pause_s: float) -> float:
        """... and then, after `pause_s`, next. While the timeout is not known the gaps grow with the time, so that
        they stay a part of any timeout that it outlasts; once it is, they are a part of that."""
        return pause_s + _STEP * self.bounds.lower_s if self._edge_known else pause_s * _RATIO

    @property
    def _edge_known(self) -> bool:
        return self.phase is Phase.REFINING and self.bounds.lower_s > self.bounds.upper_s / 2

    @property
    def good(self) -> bool:
        """Whether the bounds of timeout and sweep need no more chats."""
        found, sweep = self.bounds, self.sweep
        if len(found.drops) < 2 or found.contradicts or sweep.upper_s is None:
            return False
        fine = PRECISION * found.upper_s
        if found.width_s > max(fine, sweep.lower_s):
            return False
        return sweep.upper_s <= max(_SWEEP_PRECISION * fine, _SWEEP_RATIO * sweep.lower_s)

    def resets(self, operation: str) -> bool | None:
        """Whether an operation resets the clock; None where nothing shows it."""
        trials = self.trials.get(operation, ())
        if operation in self.taken:
            return None
        if any(trial.silent_s is not None and trial.silent_s > self.lapse_s for trial in trials):
            return True
        least = self.bounds.lower_s
        ended = sum(trial.since_s is not None and trial.since_s < least for trial in trials)
        # One chat may have ended for a reason of its own, and a passing fault looks like a request that failed.
        return False if ended > 1 else None

    def decided(self, operation: str) -> bool:
        """Whether no more need be tried of an operation."""
        return operation in self.taken or self.resets(operation) is not None

    # -- what next ---------------------------------------------------------------------------------

    def ask_at(self, contact: Span, rung: float | None, verifies: bool, draw: float) -> float:
        """When a silent chat is to be asked next. rung: how long it was to be silent at first. verifies: it
        is asked early to check on a single drop. draw: its own lot, 0 to 1."""
        if self.phase is Phase.SEARCHING:
            if verifies and len(self.bounds.drops) == 1:
                return contact.latest
            return contact.latest + (self.settings.longest_s if rung is None else rung)
        return (contact.earliest + contact.latest) / 2 + self._target(draw)

    def lapsed_at(self, since: Span) -> float:
        """When a chat without contact since then is surely dropped, once that is known well enough."""
        if self.phase is Phase.SEARCHING or not (self.good or self.hurried):
            return _INF
        return since.latest + 1.005 * self.lapse_s + 0.01

    def _target(self, draw: float) -> float:
        """The silence that tells most, before the time its request takes to get there: anywhere between those
        that live and those that do not, while they are far apart; then at the one edge or the other, for bounds
        need both. Where they overlap, as under a coarse sweep, anywhere around."""
        found, longest = self.bounds, self.longest_survived_s
        upper, on_the_way = found.upper_s, self._best_s / 2
        if self.overlaps:
            margin = (longest - upper) / 4 + PRECISION / 2 * upper
            return upper - margin + draw * (longest - upper + 2 * margin)
        lower = max(longest, found.lower_s)
        if upper - lower > _EDGE * PRECISION * upper + 2 * self._best_s:
            return lower + (0.1 + 0.8 * draw) * (upper - lower) - on_the_way
        return upper if draw < 0.5 else lower - 2 * on_the_way
