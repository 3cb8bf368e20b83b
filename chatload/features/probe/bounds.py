"""Bounds of the timeout and of the sweep that follow from silences, whatever is not known of them.

The server is taken to look, now and then or all the time, at all of its chats, and at each look to end
those that have been silent for longer than the timeout T. Nothing is taken of when it looks.

- A chat that a look ended was silent for at least T: T is not above what `dropped_s` says of it.
- There was a look within each chat's [contact + T, end]. A chat that lived on past a look had been silent
  for less than T then, so there was no look within its (contact + T, last sign of life). A T for which some
  chat's end leaves no instant for its look, because others lived on through all of them, is too low.

Both are taken by the reading of the intervals that is least favourable to the claim, and each bound rests
on two chats: one that ended for a reason of its own does not make it false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chatload.features.probe.evidence import Silence

_INF = float("inf")
#: Floating point is not trusted further than this (seconds).
EXACT_S = 1e-6
_BISECTIONS = 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """The timeout lies within [lower_s, upper_s].

    drops: the silences that ended a chat and agree with that. odd: those that do not, because chats
    that had been silent for longer lived on. contradicts: what is left leaves no timeout at all; then the
    bounds span what it says.
    """

    lower_s: float
    upper_s: float
    drops: tuple[Silence, ...]
    odd: tuple[Silence, ...]
    contradicts: bool = False

    @property
    def width_s(self) -> float:
        """How much they leave open."""
        return self.upper_s - self.lower_s


@dataclass(frozen=True, slots=True)
class Sweep:
    """How far apart the server's looks are: within [lower_s, upper_s]; upper_s is None where nothing bounds it.

    likely_s: the likeliest figure between them.
    """

    lower_s: float
    upper_s: float | None
    likely_s: float | None = None


def bounds(silences: Sequence[Silence]) -> Bounds:
    """What the silences say of the timeout. Without a drop upper_s is infinite; lower_s is 0 then, for
    without one nothing shows that the server looked at all."""
    dropped = [silence for silence in silences if silence.ended_by is not None]
    lived = [silence for silence in silences if silence.survived_s > 0]
    lived.sort(key=lambda silence: silence.since.latest)
    odd = [drop for drop in dropped if _too_low(drop, drop.dropped_s, lived)]
    drops = sorted((drop for drop in dropped if drop not in odd), key=lambda drop: drop.dropped_s)
    if not drops:
        return Bounds(0.0, _INF, (), tuple(odd))
    upper = drops[min(1, len(drops) - 1)].dropped_s
    lower = _second_highest(drops, lived)
    contradicts = lower > upper + EXACT_S
    if contradicts:
        lower, upper = upper, lower
    return Bounds(max(0.0, lower - EXACT_S), upper + EXACT_S, tuple(drops), tuple(odd), contradicts)


def longest_survived(silences: Sequence[Silence]) -> float:
    """A silence that two chats lived through (seconds)."""
    best: dict[int, float] = {}
    for silence in silences:
        best[silence.chat] = max(best.get(silence.chat, 0.0), silence.survived_s)
    return max(0.0, *sorted(best.values())[-2:-1], 0.0)


def sweep(silences: Sequence[Silence], timeout: Bounds) -> Sweep:
    """How far apart its looks are.

    At least: a chat that lived on through more than T did so between two looks. At most: two ends at
    provably different instants were the doing of two looks. Those whose distance is less than twice the
    least were neighbours, and at least so far apart.
    """
    lower = max(0.0, longest_survived(silences) - timeout.upper_s)
    pairs = _pairs(timeout)
    if not pairs:
        return Sweep(lower, None)
    nearest = _second(sorted(pairs, key=lambda pair: pair.most))
    upper, likely = nearest.most, lower
    neighbours = sorted((pair for pair in pairs if pair.most < 2 * lower), key=lambda pair: -pair.least)
    if neighbours:
        lower = max(lower, _second(neighbours).least)
        likely = (max(nearest.least, neighbours[0].least) + upper) / 2
    elif lower > EXACT_S:
        likely = (lower + upper) / 2
    lower = min(lower, upper)
    return Sweep(lower, upper, min(max(likely, lower), upper))


class _Pair(NamedTuple):
    """Two ends that are provably different, and how far apart they are."""

    least: float
    most: float
    chats: frozenset[int]


def _pairs(timeout: Bounds) -> list[_Pair]:
    ends = [(*_end(drop, timeout.lower_s), drop.chat) for drop in timeout.drops]
    return [
        _Pair(late[0] - early[1], late[1] - early[0], frozenset((early[2], late[2])))
        for early in ends
        for late in ends
        if late[0] > early[1] + EXACT_S
    ]


def _second(pairs: Sequence[_Pair]) -> _Pair:
    """The first that has no chat in common with the very first, so that each bound rests on more than one."""
    return next((pair for pair in pairs if not pair.chats & pairs[0].chats), pairs[0])


def _end(drop: Silence, least_s: float) -> tuple[float, float]:
    assert drop.ended_by is not None
    return max(drop.survived_to, drop.since.earliest + least_s), drop.ended_by


def _second_highest(drops: Sequence[Silence], lived: Sequence[Silence]) -> float:
    """The second highest of the drops' own lower bounds; the only one's where there is but one."""
    best = [0.0, 0.0]
    for drop in drops:
        if _too_low(drop, best[0] + EXACT_S, lived):
            best = sorted((*best, _least(drop, best[0], lived)))[-2:]
    return best[0] if len(drops) > 1 else best[1]


def _least(drop: Silence, low: float, lived: Sequence[Silence]) -> float:
    """The lowest timeout for which a look can have ended this chat: too low at `low`."""
    high = drop.dropped_s
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _too_low(drop, middle, lived):
            low = middle
        else:
            high = middle
    return low


def _too_low(drop: Silence, timeout_s: float, lived: Sequence[Silence]) -> bool:
    """Whether, were this the timeout, other chats lived on through every look that can have ended this one.

    lived: in order of their contacts. Monotone: what is too low makes everything lower too low.
    """
    assert drop.ended_by is not None
    reach = max(drop.since.earliest + timeout_s, drop.survived_to)
    for silence in lived:
        if silence.since.latest + timeout_s > reach - EXACT_S:
            return False
        if silence is not drop and silence.survived_to > reach:
            reach = silence.survived_to
            if reach > drop.ended_by:
                return True
    return False
