"""Python's cyclic garbage collector is off during a run.

Fault: a full collection visits every object. With 10 000 chats the process stalls for 0.1 to 0.5 s while users are
created. CPython 3.11 to 3.13, with any Locust. Locust has no issue about it.

Chats create no reference cycles, so reference counting frees all their memory. Cycles of a locustfile's own code are
collected once there are many, without a visit to the objects that are there for the whole run.
"""

import gc

#: This many more container objects than before, without more chats, are taken for garbage.
MAX_GARBAGE = 100_000


def freeze_existing() -> None:
    """Exclude all existing objects from later collections, so that a run begins without a pause."""
    gc.collect()
    gc.freeze()


class GarbageCollection:
    """Controls the collector during one run of a process that holds chats."""

    _most_open = _before = 0

    def begin(self) -> None:
        self._most_open = self._before = 0
        freeze_existing()
        gc.disable()

    def check(self, open_chats: int) -> None:
        """Collect if there is much garbage. Called every second with the number of open chats."""
        if gc.isenabled():
            return
        count = gc.get_count()[0]
        if open_chats > self._most_open:
            self._most_open, self._before = open_chats, count
            gc.freeze()
        elif count - self._before > MAX_GARBAGE:
            gc.collect()
            self._before = 0

    def end(self) -> None:
        gc.unfreeze()
        gc.enable()
