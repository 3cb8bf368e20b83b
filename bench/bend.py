"""Where a tool's curves bend as chats become more, and why.

CPU is a straight line of the refreshes, as near as makes no matter: something that the process takes whatever it holds,
and so much for each refresh. So the cost of a refresh is high where few share the former, bends where both are equal,
and is flat beyond. Lateness bends where the core is full, or where something stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.results import number

#: A line needs so many rungs, and noisy ones are left out where so many are quiet.
ENOUGH = 3
#: A p99.9 above this is late (ms); a core used beyond this is full; memory that grows by less than this is straight.
LATE_MS, FULL, STRAIGHT = 10.0, 0.85, 1.1


class Rung(NamedTuple):
    """One number of chats. refreshes_per_s, cpu: of a core; late_ms: p99.9 of the gap error; kb: memory of a chat."""

    chats: int
    refreshes_per_s: float
    cpu: float
    late_ms: float | None
    kb: float | None
    quiet: bool


class Line(NamedTuple):
    """CPU of a core = fixed + per_refresh_s * refreshes a second; per chat there are `rate` of them."""

    fixed: float
    per_refresh_s: float
    rate: float

    @property
    def bend(self) -> float:
        """Chats at which the fixed part is as much as all refreshes."""
        return self.fixed / self.per_refresh_s / self.rate

    @property
    def full(self) -> float:
        """Chats at which a core would be full."""
        return (1 - self.fixed) / self.per_refresh_s / self.rate


def line(rungs: Sequence[Rung]) -> Line | None:
    """The line through rungs that are enough; None where there is none that means anything."""
    if len({rung.refreshes_per_s for rung in rungs}) < ENOUGH:
        return None
    per_refresh_s, fixed = np.polyfit([rung.refreshes_per_s for rung in rungs], [rung.cpu for rung in rungs], 1)
    rate = sum(rung.refreshes_per_s for rung in rungs) / sum(rung.chats for rung in rungs)
    return Line(float(fixed), float(per_refresh_s), rate) if per_refresh_s > 0 and fixed > 0 else None


def sentence(label: str, rungs: Sequence[Rung]) -> str:
    """What is to be said of one tool's curves; "" of nothing."""
    calm = [rung for rung in rungs if rung.quiet]
    noisy = "" if len(calm) == len(rungs) else f" (Of {len(rungs)} rungs {len(rungs) - len(calm)} were noisy.)"
    rungs = calm if len(calm) >= ENOUGH else rungs
    if not rungs:
        return ""
    said = [part for part in (_cost(rungs), _lateness(rungs), _memory(rungs)) if part]
    return f"{label}: {'; '.join(said)}.{noisy}"


def _cost(rungs: Sequence[Rung]) -> str:
    found = line(rungs)
    if found is None:
        return "no line through its CPU"
    if max(rung.cpu for rung in rungs) > FULL:
        end = f"its core is full at {number(max(rungs, key=lambda rung: rung.cpu).chats)}"
    else:
        end = f"by that line a core is full at {_about(found.full)}"
    return (
        f"about {100 * found.fixed:.1f} % of a core whatever it holds and {number(1e6 * found.per_refresh_s, 2)} µs a "
        f"refresh, so that the cost of one bends at {_about(found.bend)} chats, where both are equal; {end}"
    )


def _lateness(rungs: Sequence[Rung]) -> str:
    known = sorted((rung for rung in rungs if rung.late_ms is not None), key=lambda rung: rung.chats)
    if not known:
        return ""
    late = None
    for rung in known[::-1]:
        if rung.late_ms is None or rung.late_ms <= LATE_MS:
            break
        late = rung
    if late is None:
        return f"p99.9 is at most {LATE_MS:g} ms with {number(known[-1].chats)}"
    used = f"with {100 * late.cpu:.0f} % of its core used"
    why = f"{used}: it is full" if late.cpu > FULL else f"{used}: pauses, not want of CPU"
    return f"p99.9 is above {LATE_MS:g} ms from {number(late.chats)} on, {why}"


def _memory(rungs: Sequence[Rung]) -> str:
    known = [rung.kb for rung in rungs if rung.kb is not None]
    if not known:
        return ""
    least, most = min(known), max(known)
    straight = most <= STRAIGHT * least
    return f"memory of a chat {'does not bend' if straight else 'bends'} ({number(least)} to {number(most)} kB)"


def _about(chats: float) -> str:
    """Two digits, for it is off a fitted line."""
    return number(float(f"{chats:.2g}"))
