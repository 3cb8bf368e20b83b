"""A random number generator in eight bytes: one of `random.Random` for every chat would be 2.5 kB each."""

from __future__ import annotations

from hashlib import blake2b

from chatload.random_numbers import SplitMix64


class SeededDraws(SplitMix64):
    """SplitMix64, seeded by a text."""

    __slots__ = ()

    def __init__(self, seed: str) -> None:
        super().__init__(int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big"))

    def happens(self, chance: float) -> bool:
        """Return whether an event of this chance (0 to 1) happens. A chance of 0 or 1 uses no random number."""
        return chance > 0 and (chance >= 1 or self.random() < chance)

    def within(self, span: tuple[float, float]) -> float:
        """Return a random number between low and high (uniform)."""
        low, high = span
        return low + (high - low) * self.random()
