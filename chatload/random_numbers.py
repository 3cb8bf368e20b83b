"""A pseudorandom number generator with a small state: each chat has its own."""

from hashlib import blake2b
from math import cos, log, pi, sqrt

_MASK = 2**64 - 1
_STEP = 0x9E3779B97F4A7C15


class SplitMix64:
    """The generator SplitMix64: 8 bytes of state; `random.Random` needs 2.5 kB. Its methods are those of `Random`.

    Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int | str) -> None:
        if isinstance(seed, str):
            seed = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big")
        self._state = (seed + (seed >> 64) * _STEP) & _MASK

    def bits(self) -> int:
        """Return 64 random bits."""
        self._state = z = (self._state + _STEP) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def random(self) -> float:
        """Return a uniform number in [0, 1)."""
        return (self.bits() >> 11) * 2.0**-53

    def uniform(self, a: float, b: float) -> float:
        """Return a uniform number between a and b."""
        return a + (b - a) * self.random()

    def expovariate(self, rate: float) -> float:
        """Return an exponentially distributed number with the mean 1 / rate."""
        return -log(1.0 - self.random()) / rate

    def gauss(self, mean: float, sigma: float) -> float:
        """Return a normally distributed number, by the Box-Muller transform."""
        radius = sqrt(-2.0 * log(1.0 - self.random()))
        return mean + sigma * radius * cos(2.0 * pi * self.random())

    def happens(self, chance: float) -> bool:
        """Return whether an event of this chance (0 to 1) happens. A chance of 0 or 1 uses no random number."""
        return chance > 0 and (chance >= 1 or self.random() < chance)
