"""Silences of chats, and the bounds of the timeout and of the sweep that follow from them.

A request is known only as the interval from when it left to when its answer came. An end is known from the server's
timestamps, or from the request that found the chat ended.

The server is assumed to examine all of its chats, continuously or at intervals (the sweep), and to end at each
examination those that have been silent for longer than the timeout T. Nothing is assumed of when it examines.

- A chat that an examination ended was silent for at least T: T is at most its `dropped_s`.
- There was an examination within each chat's [contact + T, end]. A chat that survived an examination had been silent
  for less than T then, so there was none within its (contact + T, last sign of life). A T is too low if, for the end
  of some chat, the survivors leave no instant at which its examination can have been.

Both use the reading of the intervals that is least favourable to the claim, and each bound rests on two chats: one
chat that ended for another reason does not make it false."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from chatload.chat.contacts import LINGER_S
from chatload.chat.effects import Exchange

_INF = float("inf")
#: Rounding errors are smaller than this (seconds).
EXACT_S = 1e-6
_BISECTIONS = 30
#: The timeout of chats opened later seems to be shorter if so many of them ended, and meanwhile so many silences of the
#: others were survived. Only silences near the bounds count, from and up to these parts of them.
_LATER_ENDS, _EARLIER_SURVIVALS, _LONG, _AT_EDGE = 8, 5, 0.9, 1.01


class TimeSpan(NamedTuple):
    """Something happened once, not before `earliest` and not after `latest` (instants, seconds)."""

    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class ObservedSilence:
    """A chat's silence since one contact, and what became of it.

    chat: its number. since: when the server saw that contact. survived_to: the chat surely lived up to
    this instant, no request ending the silence before. ended_by: it had surely ended by then, for silence;
    None where it lived on. found: when it was asked: left, answered.
    """

    chat: int
    since: TimeSpan
    survived_to: float
    ended_by: float | None
    found: TimeSpan

    @property
    def survived_s(self) -> float:
        """It surely lived through this much silence; not above 0 where nothing is known of it."""
        return self.survived_to - self.since.latest

    @property
    def dropped_s(self) -> float:
        """It surely did not live through more than this; infinite where it lived."""
        return _INF if self.ended_by is None else self.ended_by - self.since.earliest

    def end(self, timeout_s: float) -> TimeSpan:
        """Return when the chat ended, if no timeout is shorter than this (seconds)."""
        assert self.ended_by is not None
        return TimeSpan(max(self.survived_to, self.since.earliest + timeout_s), self.ended_by)


class SilenceWatch:
    """The contacts of one chat, turned into silences. contact: the last sure one; since: the last there may
    have been, for a request without an answer may have come after it."""

    def __init__(self, chat: int, opening: Exchange) -> None:
        self._chat, self.opening = chat, opening
        self.since = self.contact = _span(opening)
        self._doubt_from: float | None = None
        self._lost_until = -_INF

    def unclear(self, exchange: Exchange) -> None:
        """A request that may have been a contact, and tells nothing of the chat."""
        if exchange.sent_at is None:
            return
        if self._doubt_from is None:
            self._doubt_from = exchange.sent_at
        if not exchange.answered or exchange.gateway:
            self._lost_until = max(self._lost_until, exchange.sent_at + LINGER_S)

    def alive(self, exchange: Exchange) -> ObservedSilence:
        """A request was a contact, and found the chat alive: one silence is over, another begins."""
        found = _span(exchange)
        silence = ObservedSilence(self._chat, self.since, self._undoubted_to(found), None, found)
        self.contact = found
        self.since = TimeSpan(found.earliest, max(found.latest, self._lost_until))
        self._doubt_from = None
        return silence

    def ended(self, exchange: Exchange, left: TimeSpan | None) -> ObservedSilence:
        """A request found the chat ended by silence. left: when the server says that it ended, on our clock.

        That is believed only of an instant before any request that may have ended the silence, or the chat:
        some servers notice, and stamp, an end only when they are asked.
        """
        found = _span(exchange)
        survived_to, ended_by = self.since.earliest, found.latest
        if left is not None and self.since.earliest <= left.latest < self._undoubted_to(found):
            survived_to, ended_by = max(left.earliest, survived_to), min(left.latest, ended_by)
        return ObservedSilence(self._chat, self.since, survived_to, ended_by, found)

    def _undoubted_to(self, found: TimeSpan) -> float:
        """Return when the first request left that may have ended the silence."""
        return found.earliest if self._doubt_from is None else self._doubt_from


def _span(exchange: Exchange) -> TimeSpan:
    return TimeSpan(exchange.begun_at if exchange.sent_at is None else exchange.sent_at, exchange.received_at)


@dataclass(frozen=True, slots=True)
class TimeoutBounds:
    """The timeout lies within [lower_s, upper_s].

    drops: the silences that ended a chat and agree with that. odd: those that do not, because chats that had been
    silent for longer survived. contradicts: no timeout agrees with the other silences; the bounds then span them.
    """

    lower_s: float
    upper_s: float
    drops: tuple[ObservedSilence, ...]
    odd: tuple[ObservedSilence, ...]
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class SweepBounds:
    """The interval between the server's examinations lies within [lower_s, upper_s].

    upper_s: None if nothing bounds it. likely_s: the likeliest value between the bounds.
    """

    lower_s: float
    upper_s: float | None
    likely_s: float | None = None


def bounds(silences: Sequence[ObservedSilence]) -> TimeoutBounds:
    """Return the bounds of the timeout.

    Without a drop upper_s is infinite and lower_s is 0: nothing shows that the server examined any chat.
    """
    dropped = [silence for silence in silences if silence.ended_by is not None]
    lived = [silence for silence in silences if silence.survived_s > 0]
    lived.sort(key=lambda silence: silence.since.latest)
    odd = [drop for drop in dropped if _too_low(drop, drop.dropped_s, lived)]
    drops = sorted((drop for drop in dropped if drop not in odd), key=lambda drop: drop.dropped_s)
    if not drops:
        return TimeoutBounds(0.0, _INF, (), tuple(odd))
    upper = drops[min(1, len(drops) - 1)].dropped_s
    lower = _second_highest(drops, lived)
    contradicts = lower > upper + EXACT_S
    if contradicts:
        lower, upper = upper, lower
    return TimeoutBounds(max(0.0, lower - EXACT_S), upper + EXACT_S, tuple(drops), tuple(odd), contradicts)


def spanned(silences: Sequence[ObservedSilence], timeout: TimeoutBounds) -> TimeoutBounds:
    """Return the bounds; if chats that were opened later seem to have a shorter timeout, bounds that span both values.

    A server may apply a change to new chats only. Then each of them is dropped after a silence that chats opened before
    survive at the same time, again and again. Under one timeout, about half of the chats that are asked at its edges
    survive. A coarse sweep may end a group of chats at once, so the later chats must have ended at least one timeout
    apart, and the bounds must be close to each other: otherwise they do not deny a shorter timeout.
    """
    if timeout.lower_s < _LONG * timeout.upper_s:
        return timeout
    long_s = _LONG * timeout.lower_s
    lived = [silence for silence in silences if silence.survived_s >= long_s > 0]
    last = max((silence.chat for silence in lived), default=-1)
    later = [silence for silence in silences if silence.chat > last]
    ended = [one for one in later if one.ended_by is not None and one.dropped_s <= _AT_EDGE * timeout.upper_s]
    begun = min((silence.since.earliest for silence in ended), default=_INF)
    meanwhile = sum(silence.since.earliest >= begun for silence in lived)
    apart_s = max((silence.found.latest for silence in ended), default=-_INF) - begun
    if len(ended) < _LATER_ENDS or meanwhile < _EARLIER_SURVIVALS or apart_s < 2 * timeout.lower_s:
        return timeout
    lower = max((silence.survived_s for silence in later if silence.ended_by is None), default=0.0)
    upper = bounds([silence for silence in silences if silence.chat <= last]).upper_s
    upper = upper if upper < _INF else longest_survived(silences)
    return replace(timeout, lower_s=max(0.0, lower), upper_s=max(timeout.upper_s, upper), contradicts=True)


def longest_survived(silences: Sequence[ObservedSilence]) -> float:
    """Return the longest silence that two chats survived (seconds)."""
    best: dict[int, float] = {}
    for silence in silences:
        best[silence.chat] = max(best.get(silence.chat, 0.0), silence.survived_s)
    return max(0.0, *sorted(best.values())[-2:-1], 0.0)


def sweep(silences: Sequence[ObservedSilence], timeout: TimeoutBounds) -> SweepBounds:
    """Return the bounds of the interval between the server's examinations.

    Lower bound: a chat that survived more than T did so between two examinations. Upper bound: two ends at provably
    different instants were caused by two examinations. Two examinations less than twice the lower bound apart were
    consecutive, and at least that far apart.
    """
    lower = max(0.0, longest_survived(silences) - timeout.upper_s)
    pairs = _pairs(timeout)
    if not pairs:
        return SweepBounds(lower, None)
    nearest = _second(sorted(pairs, key=lambda pair: pair.most))
    upper, likely = nearest.most, lower
    neighbours = sorted((pair for pair in pairs if pair.most < 2 * lower), key=lambda pair: -pair.least)
    if neighbours:
        lower = max(lower, _second(neighbours).least)
        likely = (max(nearest.least, neighbours[0].least) + upper) / 2
    elif lower > EXACT_S:
        likely = (lower + upper) / 2
    lower = min(lower, upper)
    return SweepBounds(lower, upper, min(max(likely, lower), upper))


class _Pair(NamedTuple):
    """Two ends at provably different instants, and their least and most distance (seconds)."""

    least: float
    most: float
    chats: frozenset[int]


def _pairs(timeout: TimeoutBounds) -> list[_Pair]:
    ends = [(drop.chat, drop.end(timeout.lower_s)) for drop in timeout.drops]
    return [
        _Pair(late.earliest - early.latest, late.latest - early.earliest, frozenset((first, second)))
        for first, early in ends
        for second, late in ends
        if late.earliest > early.latest + EXACT_S
    ]


def _second(pairs: Sequence[_Pair]) -> _Pair:
    """Return the first pair that shares no chat with the very first: each bound rests on more than one chat."""
    return next((pair for pair in pairs if not pair.chats & pairs[0].chats), pairs[0])


def _second_highest(drops: Sequence[ObservedSilence], lived: Sequence[ObservedSilence]) -> float:
    """Return the second highest lower bound of the drops; of a single drop, its own."""
    best = [0.0, 0.0]
    for drop in drops:
        if _too_low(drop, best[0] + EXACT_S, lived):
            best = sorted((*best, _least(drop, best[0], lived)))[-2:]
    return best[0] if len(drops) > 1 else best[1]


def _least(drop: ObservedSilence, low: float, lived: Sequence[ObservedSilence]) -> float:
    """Return the lowest timeout for which an examination can have ended this chat; `low` is too low."""
    high = drop.dropped_s
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _too_low(drop, middle, lived):
            low = middle
        else:
            high = middle
    return low


def _too_low(drop: ObservedSilence, timeout_s: float, lived: Sequence[ObservedSilence]) -> bool:
    """Return whether, with this timeout, other chats survived every examination that can have ended this one.

    lived: in order of their contacts. Monotone: below a timeout that is too low, every timeout is too low.
    """
    reach, ended_by = drop.end(timeout_s)
    for silence in lived:
        if silence.since.latest + timeout_s > reach - EXACT_S:
            return False
        if silence is not drop and silence.survived_to > reach:
            reach = silence.survived_to
            if reach > ended_by:
                return True
    return False
