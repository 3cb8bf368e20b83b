"""The part of a run on which the speed of the server is judged: the time of its full load.

Rule. The load is the number of open sessions over time. MSER-5 (K. P. White, "An effective truncation heuristic for
bias reduction in simulation output", Simulation 69, 1997; K. P. White, M. J. Cobb and S. C. Spratt, "A comparison of
five steady-state truncation heuristics for simulation", Winter Simulation Conference 2000) leaves out the start for
which the rest has the least standard error. With x the means of batches of five values it minimises, over d,

    sum over i > d of (x_i - mean of x_(d+1) to x_n)^2 / (n - d)^2

in the first half of the n batches. If the least is at the edge of that half, the load never became steady, and nothing
is left out. The start counts as a ramp only if its load is below RAMP of the rest's.

The rule looks at the load only, which chatload makes itself. If it looked at latency, a slow start of the server would
be left out because it is slow. The part ends when the run begins to end, not when the load falls: a server that drops
all chats is not left out either.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chatload.run.settings import ALL, STEADY

#: A start whose load is below this share of the load that follows is a ramp.
RAMP = 0.9
#: A shorter steady part (seconds) is not judged apart.
LEAST_S = 30.0
#: The number of batches of the load, and of values in each.
_BATCHES, _BATCH = 200, 5


class JudgedPart(NamedTuple):
    """A part of a run. start, end: Unix seconds. given: a user gave it; otherwise it is the steady part."""

    start: float
    end: float
    given: bool

    def contains(self, instant: float) -> bool:
        """Return whether an instant (Unix seconds) is in it."""
        return self.start <= instant < self.end


def judged_part(
    judge: str, loads: Iterable[tuple[float, float, int]], started_at: float | None, ended_at: float | None
) -> JudgedPart | None:
    """Return the part of a run that --judge names; None for the whole run.

    Args:
        judge: the value of the option (`chatload.run.settings.JUDGE`).
        loads: start, end (Unix seconds) and open sessions of each window, in order of time.
        started_at: when the run began (Unix seconds). ended_at: when its end began; None: not known.
    """
    if judge == ALL or started_at is None:
        return None
    if judge != STEADY:
        first, last = map(float, judge.split("-"))
        return JudgedPart(started_at + first, started_at + last, True)
    rows = [row for row in loads if ended_at is None or row[0] < ended_at]
    if not rows:
        return None
    ended_at = rows[-1][1] if ended_at is None else ended_at
    if ended_at - started_at < LEAST_S:
        return None
    _, ends, still = np.array(rows, dtype=np.float64).T
    count = _BATCHES * _BATCH
    instants = started_at + (np.arange(count) + 0.5) / count * (ended_at - started_at)
    load = still[np.minimum(np.searchsorted(ends, instants), len(rows) - 1)].reshape(_BATCHES, _BATCH).mean(axis=1)
    ramp = find_ramp(load)
    start = started_at + ramp / _BATCHES * (ended_at - started_at)
    if not ramp or load[:ramp].mean() >= RAMP * load[ramp:].mean() or ended_at - start < LEAST_S:
        return None
    return JudgedPart(start, ended_at, False)


def find_ramp(batches: NDArray[np.float64]) -> int:
    """Return how many batches at the start MSER-5 leaves out; 0 if the series is not steady in its second half."""
    n = len(batches)
    # Sums from the end: of all values from d on, and of their squares about the last value, which keeps them small.
    shifted = (batches - batches[-1])[::-1]
    sums, squares = np.cumsum(shifted)[::-1], np.cumsum(shifted**2)[::-1]
    left = np.arange(n, 0, -1)
    errors = np.maximum(squares - sums**2 / left, 0.0) / left**2
    ramp = int(np.argmin(errors[: n // 2 + 1]))
    return 0 if ramp == n // 2 else ramp
