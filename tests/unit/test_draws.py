"""The random numbers of a chat: those of the published generator, and what is made of them."""

from __future__ import annotations

import math

import pytest

from chatload.random_numbers import SplitMix64

SEED = 1234567


def test_each_draw_is_made_of_uniform_ones() -> None:
    first, second = (lambda draws: (draws.random(), draws.random()))(SplitMix64(SEED))
    assert SplitMix64(SEED).uniform(2.0, 7.5) == 2.0 + 5.5 * first
    assert SplitMix64(SEED).expovariate(0.25) == -math.log(1.0 - first) / 0.25
    # G. E. P. Box and M. E. Muller, "A note on the generation of random normal deviates" (1958).
    normal = math.sqrt(-2 * math.log(1 - first)) * math.cos(2 * math.pi * second)
    assert SplitMix64(SEED).gauss(10.0, 3.0) == pytest.approx(10.0 + 3.0 * normal)


def test_seeds_beyond_64_bits_are_told_apart() -> None:
    seeds = [0, 1, 2, 1 << 63, 1 << 64, (1 << 64) + 1, 2 << 64, 3 << 64, 1 << 80]
    assert len({SplitMix64(seed).random() for seed in seeds}) == len(seeds)
