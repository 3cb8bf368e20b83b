"""Python's cyclic garbage collector, kept out of a process that has to be on time.

A collection walks every object there is: with 10 000 chats it stands still for 0.1 to 0.5 s. Chats leave no cycles, so
counting references frees all they use; the collector is off during a run, and what a locustfile's own code leaves
behind is collected when there is much of it, without walking the population that is there for good.
"""

from __future__ import annotations

import gc

#: So many containers more than there were, without more chats, are taken for garbage.
MOST_GARBAGE = 100_000


def settle() -> None:
    """What there is by now is there to stay: it is not looked at again, so that a run begins without a pause."""
    gc.collect()
    gc.freeze()


class Collector:
    """What the collector may do during one run of a process that holds chats."""

    def __init__(self) -> None:
        self._off = False
        self._most_open = self._before = 0

    def begin(self) -> None:
        """The run begins: what there is now is there to stay."""
        self._off, self._most_open, self._before = True, 0, 0
        gc.collect()
        gc.freeze()
        gc.disable()

    def watch(self, open_chats: int) -> None:
        """Called every second: so many chats are open."""
        count = gc.get_count()[0]
        if not self._off:
            return
        if open_chats > self._most_open:
            self._most_open, self._before = open_chats, count
            gc.freeze()
        elif count - self._before > MOST_GARBAGE:
            gc.collect()
            self._before = 0

    def end(self) -> None:
        """The run is over; everything as it was."""
        self._off = False
        gc.unfreeze()
        gc.enable()
