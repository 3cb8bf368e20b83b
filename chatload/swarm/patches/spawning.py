"""Users are created without blocking, not above the session ceiling, and wait if they have no task.

Faults, all of Locust 2.47.0:
- All users of one second are created in a loop that never yields to other greenlets: chats are refreshed late
  (runners.py, `spawn_users`). No upstream issue found.
- No event is fired before the number of users of a run changes, so that a limit cannot be enforced (runners.py,
  `start`). No upstream issue found.
- A user without tasks (--tags, --exclude-tags) logs an error for each of its endless attempts to find one
  (user/task.py, `get_next_task`). https://github.com/locustio/locust/issues/2849 (closed as stale)
"""

import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent import GreenletExit
from gevent.event import Event

from chatload.swarm import log

#: A loop yields to other greenlets after this time (seconds).
YIELD_EVERY_S = 0.002
_yielded_at = 0.0


def yield_if_due() -> None:
    """Yield to other greenlets during long loops, if YIELD_EVERY_S have passed since the last yield."""
    global _yielded_at
    if time.monotonic() - _yielded_at > YIELD_EVERY_S:
        gevent.sleep(0)
        _yielded_at = time.monotonic()


def limit_users(runner: Any, limit: Callable[[], int | None], note: Callable[[str], None]) -> None:
    """Replace `runner.start`, which also changes the number of users of an active run, by one with a limit.

    limit: returns the greatest number of users, None if there is no limit. note: called with a sentence if more users
    were requested.
    """
    start = runner.start

    def start_limited(user_count: int, spawn_rate: float, *more: Any, **named: Any) -> None:
        most = limit()
        if most is not None and user_count > most:
            what = f"{user_count} users requested; the ceiling on sessions is {most}"
            log.warning("chatload: %s", what)
            note(what)
            user_count = most
        start(user_count, spawn_rate, *more, **named)

    runner.start = start_limited


def wait_without_tasks(user: Any, leave: Event) -> None:
    """Called by a user's `on_start`: if it has no tasks, wait until the run ends, then end the user."""
    if not user.tasks:
        leave.wait()
        raise GreenletExit
