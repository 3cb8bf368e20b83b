"""How long the accepted sessions of a run lived, and which of them were dropped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from chatload.vocabulary import DROPPED_PERHAPS, DROPPED_SURELY

#: Ages are rounded to milliseconds: they are differences of instants, which for chats of 480 s differ by nanoseconds.
_PER_SECOND = 1000


@dataclass(frozen=True)
class Lifetimes:
    """One element for each accepted session that ended. Ages: seconds since it was accepted.

    alive_s: the age up to which it was surely open. ended_s: the age at which its end was learned.
    surely, perhaps: whether it was dropped, as `Fates.dropped` counts it (perhaps: without those that surely were).
    """

    alive_s: NDArray[np.float64]
    ended_s: NDArray[np.float64]
    surely: NDArray[np.bool_]
    perhaps: NDArray[np.bool_]

    @classmethod
    def of(cls, sessions: Iterable[tuple[float, float, str]]) -> Self:
        """Return the lifetimes of sessions: alive_s, ended_s, verdict."""
        made = np.fromiter(
            (
                (alive_s, max(alive_s, ended_s), verdict in DROPPED_SURELY, verdict in DROPPED_PERHAPS)
                for alive_s, ended_s, verdict in sessions
            ),
            dtype=[("alive_s", "f8"), ("ended_s", "f8"), ("surely", "?"), ("perhaps", "?")],
        )
        alive, ended = (np.rint(made[name] * _PER_SECOND) / _PER_SECOND for name in ("alive_s", "ended_s"))
        return cls(alive, ended, made["surely"], made["perhaps"])

    def worst(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return ages and drops by the reading with the most drops, each as early as possible."""
        return self.alive_s, self.surely | self.perhaps

    def best(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return ages and drops by the reading with the fewest drops, each as late as possible."""
        return np.where(self.surely, self.ended_s, self.alive_s), self.surely


def chat_hours_text(hours: float) -> str:
    """Return an exposure as text, such as "266 chat-hours"."""
    digits = f"{hours:,.0f}".replace(",", " ") if hours >= 100 else f"{hours:.3g}"
    return f"{digits} chat-hour{'' if digits == '1' else 's'}"
