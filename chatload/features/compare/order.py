"""The order in which the runs of a comparison were made, and what it allows.

The conditions of runs drift: caches fill, other jobs begin, a network is slower by day. Runs that follow each other are
then alike. If all BASE runs were made before all NEW runs, such a drift looks like a difference between the sides, and
no test of these runs can tell the two apart. If BASE and NEW alternate, both sides meet the same conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chatload.stats.two_samples import Paired, SampleDesign, Separate, order_inflation

#: In an order whose `order_inflation` is higher, equal things are called different too often.
MOST_INFLATION = 1.1
#: Runs are compared pair by pair from this number of pairs on. Fewer pairs have too few degrees of freedom.
ENOUGH_PAIRS = 8
#: By how much the numbers of pairs with BASE first and with NEW first may differ.
MOST_UNEVEN = 2


@dataclass(frozen=True)
class RunOrder:
    """The order of runs. letters: B for a BASE run and N for a NEW one; empty if it is not known. inflation: see
    `order_inflation`; None if the order is not known, or a side has only one run."""

    letters: str
    inflation: float | None

    @property
    def is_known(self) -> bool:
        return bool(self.letters)

    @property
    def is_balanced(self) -> bool:
        """A drift of the conditions makes no difference between the sides."""
        return self.inflation is not None and self.inflation <= MOST_INFLATION

    @property
    def is_paired(self) -> bool:
        """The first two runs are one of each side, the next two as well, and so on; and there are enough pairs.

        BASE is first about as often as NEW. Otherwise a steady trend would be in the difference of every pair.
        """
        pairs = [self.letters[at : at + 2] for at in range(0, len(self.letters), 2)]
        base_first, new_first = pairs.count("BN"), pairs.count("NB")
        is_even = abs(base_first - new_first) <= MOST_UNEVEN
        return len(pairs) == base_first + new_first >= ENOUGH_PAIRS and is_even

    def design(self, base: int, new: int) -> SampleDesign:
        """Return the design of a comparison of this many runs, each side in the order of time."""
        return Paired(base) if self.is_paired else Separate(base, new)


def order_of(base: Sequence[float | None], new: Sequence[float | None]) -> RunOrder:
    """Return the order of runs by their start times (Unix seconds; None: not known)."""
    starts = [(start, letter) for side, letter in ((base, "B"), (new, "N")) for start in side]
    if any(start is None for start, _ in starts):
        return RunOrder("", None)
    letters = "".join(letter for _, letter in sorted(starts, key=lambda start: start[0] or 0.0))
    inflation = order_inflation([letter == "N" for letter in letters]) if min(len(base), len(new)) > 1 else None
    return RunOrder(letters, inflation)
