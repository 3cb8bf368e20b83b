"""Random numbers for one chat: seeded, and small, for there are many chats."""

from __future__ import annotations

from math import cos, log, pi, sqrt

_MASK = 2**64 - 1


class Draws:
    """SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): eight bytes of
    state, where the standard library's Random has 2.5 kB. Methods as of Random."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = (seed + (seed >> 64) * 0x9E3779B97F4A7C15) & _MASK

    def random(self) -> float:
        """Uniform in [0, 1)."""
        self._state = z = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) * 2.0**-53

    def uniform(self, a: float, b: float) -> float:
        """Uniform between a and b."""
        return a + (b - a) * self.random()

    def expovariate(self, rate: float) -> float:
        """Exponential with mean 1 / rate."""
        return -log(1.0 - self.random()) / rate

    def gauss(self, mean: float, sigma: float) -> float:
        """Normal, by Box and Muller's transform."""
        radius = sqrt(-2.0 * log(1.0 - self.random()))
        return mean + sigma * radius * cos(2.0 * pi * self.random())
