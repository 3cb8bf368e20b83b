"""The secureKeys of one chat: the current one, and those it replaced."""

from __future__ import annotations

from enum import Enum

from chatload.simulator.model.config import SimulatorConfig
from chatload.simulator.model.draws import Draws

#: Replaced keys that are told from keys which never were good.
_REMEMBERED = 16


class KeyState(Enum):
    """What a key that was shown is worth. STALE: it was good once, and its grace is over."""

    GOOD = 1
    STALE = 2
    WRONG = 3


class KeyRing:
    """One chat's secureKeys where they change from time to time. The current one changes only in `give`, which an
    answer calls."""

    __slots__ = ("_answers", "_current", "_old", "_since")

    def __init__(self, current: str, now: float) -> None:
        self._current = current
        self._since = now
        self._answers = 0
        self._old: list[tuple[str, float]] = []

    def check(self, shown: str | None, now: float) -> KeyState:
        """What the key a request shows is worth."""
        if shown == self._current:
            return KeyState.GOOD
        for key, good_until in self._old:
            if shown == key:
                return KeyState.GOOD if now <= good_until else KeyState.STALE
        return KeyState.WRONG

    def give(self, config: SimulatorConfig, now: float, draws: Draws) -> str:
        """The key to put into an answer, a new one where it is time for one."""
        rotates, after = config.key_rotates_answers, config.key_rotates_s
        if (rotates and self._answers >= rotates) or (after and now - self._since >= after):
            old = self._old = self._old[1 - _REMEMBERED :]
            old.append((self._current, now + config.old_key_grace_s))
            self._current, self._since, self._answers = new_key(draws), now, 0
        self._answers += 1
        return self._current


def rotate(config: SimulatorConfig) -> bool:
    """Whether keys change at all."""
    return bool(config.key_rotates_answers or config.key_rotates_s)


def new_key(draws: Draws) -> str:
    """A key like none before."""
    return f"{draws.bits():016x}"
