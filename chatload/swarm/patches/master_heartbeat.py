"""Workers are independent of the wall clock.

Faults: a worker ends when its master's last heartbeat is 60 s old by the wall clock, so that every worker ends in the
middle of its chats when the clock is set forward. And a worker discards a spawn message with an earlier timestamp than
the previous one: after the master's clock is set back, the ramp stops. Locust 2.47.0, runners.py,
`heartbeat_timeout_checker` and message "spawn". Introduced by https://github.com/locustio/locust/pull/2474; no upstream
issue found for either.

A worker checks by the monotonic clock (`WorkerRole`).
"""

from typing import Any

from locust import runners


def install() -> None:
    """Disable Locust's own check in this process."""
    runners.MASTER_HEARTBEAT_TIMEOUT = float("inf")


def accept_any_spawn_timestamp(runner: Any) -> None:
    """Let a worker accept the next spawn message whatever its timestamp is: messages arrive in order anyway."""
    runner.last_received_spawn_timestamp = 0.0
