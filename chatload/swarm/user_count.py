"""Counting Locust's users without looking at each of them.

Locust 2.47 counts its users by class by walking all of them, twice for every second's spawns and in every report of a
worker: with 20 000 users that stands still for 20 to 30 ms each time.
"""

from __future__ import annotations

from collections import Counter

from locust.runners import Runner


def _user_classes_count(runner: Runner) -> dict[str, int]:
    """As Runner.user_classes_count: how many users of each class there are."""
    names = [user_class.__name__ for user_class in runner.user_classes]
    if len(names) == 1:
        return {names[0]: len(runner.user_greenlets)}
    found = Counter(type(greenlet.args[0]).__name__ for greenlet in runner.user_greenlets if greenlet.args)
    return {name: found[name] for name in names}


def count_quickly() -> None:
    """From now on, in this process."""
    Runner.user_classes_count = property(_user_classes_count)
