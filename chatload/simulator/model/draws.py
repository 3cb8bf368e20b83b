"""A random number generator in eight bytes: one of `random.Random` for every chat would be 2.5 kB each."""

from __future__ import annotations

from hashlib import blake2b

_MASK = 0xFFFF_FFFF_FFFF_FFFF


class SeededDraws:
    """SplitMix64 (Steele, Lea, Flood 2014), seeded by a text."""

    __slots__ = ("_state",)

    def __init__(self, seed: str) -> None:
        self._state = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E37_79B9_7F4A_7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
        return z ^ (z >> 31)

    def happens(self, chance: float) -> bool:
        """Whether something of this chance happens; a chance of 0 or 1 costs no draw."""
        return chance > 0 and (chance >= 1 or (self.bits() >> 11) * 2.0**-53 < chance)

    def within(self, span: tuple[float, float]) -> float:
        """A number between low and high."""
        low, high = span
        return low + (high - low) * ((self.bits() >> 11) * 2.0**-53)
