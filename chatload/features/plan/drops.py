"""Whether the measured drops show that a target drop rate is met, at the capacity that a plan uses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from chatload.features.plan.inputs import Demand
from chatload.stats.rates import CONFIDENCE, per_unit

SHOWN, MISSED, INCONCLUSIVE, NOT_MEASURED, NO_TARGET = "shown", "missed", "inconclusive", "not measured", "no target"


@dataclass(frozen=True)
class Drops:
    """Measured drops, and the time in which they happened.

    drops: proven. possible: proven and unproven. chat_seconds: time that chats were open, summed over all chats.
    bound: instead of these, an upper bound of the share of chats dropped, if only that is known.
    """

    drops: int = 0
    possible: int = 0
    chat_seconds: float = 0.0
    bound: float | None = None


@dataclass(frozen=True)
class DropClaim:
    """What can be said of the share of chats that are dropped. result: one of this module's words.

    lower, rate, upper: that share at the plan's chat length, each bound with CONFIDENCE. chats_needed: number of chats
    that would show the target if none is dropped.
    """

    result: str
    target: float | None = None
    lower: float | None = None
    rate: float | None = None
    upper: float | None = None
    chats_needed: int | None = None


def judge_drops(drops: Drops | None, demand: Demand) -> DropClaim:
    """Return the claim that can be made.

    Drops are assumed to have a constant rate h per second that a chat is open, so a run with shorter chats is valid for
    longer ones. With chat lengths S of mean m the share dropped is 1 - E[exp(-h S)], which is at most 1 - exp(-h m) for
    every distribution (Jensen).
    """
    target = demand.target_drop_rate
    if drops is None or (drops.bound is None and drops.chat_seconds <= 0):
        return DropClaim(NO_TARGET if target is None else NOT_MEASURED, target)
    if drops.bound is not None:
        return DropClaim(_word(target, 0.0, drops.bound), target, upper=drops.bound)
    length, exposure = demand.handling_time_s, drops.chat_seconds
    both_sides = 2 * CONFIDENCE - 1
    lower = _share(per_unit(drops.drops, exposure, both_sides)[0], length)
    upper = _share(per_unit(drops.possible, exposure, both_sides)[1], length)
    word = _word(target, lower, upper)
    needed = None
    if word == INCONCLUSIVE and target is not None and not drops.possible:
        needed = math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-target))
    return DropClaim(word, target, lower, _share(drops.drops / exposure, length), upper, needed)


def _share(rate_per_s: float, length_s: float) -> float:
    return -math.expm1(-rate_per_s * length_s)


def _word(target: float | None, lower: float, upper: float) -> str:
    if target is None:
        return NO_TARGET
    if upper < target:
        return SHOWN
    return MISSED if lower > target else INCONCLUSIVE
