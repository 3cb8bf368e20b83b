"""The load of a run: how many chats, when they begin, and when the load is complete.

Locust decides how many users there are (--users, --run-time, a load shape). A load controller decides the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from chatload import exit_codes
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.swarm.plan import RunPlan
from chatload.swarm.workload import OpenWorkload

#: An open workload is complete when no chat was open for this long after its last arrival (seconds).
_QUIET_S = 2.0


class LoadController(Protocol):
    """Controls the load of one run. The master has one, or the only process of a run."""

    def check(self, plan: RunPlan) -> None:
        """Check a plan before its run. Raises UsageError."""

    def begin(self, plan: RunPlan) -> RunPlan:
        """Begin a run; return the plan to use. Raises UsageError."""

    def settings(self, run: RunSettings) -> RunSettings:
        """Return the settings of the run, given those of its plan."""

    def sessions_ended(self, count: int) -> bool:
        """`count` more sessions ended; return whether the load is complete."""

    def is_complete(self, books: Callable[[], Books], now: float) -> bool:
        """Return whether the load is complete. Called every second.

        Args:
            books: returns the counters of all processes.
            now: seconds, monotonic.
        """

    def write(self, run_dir: Path) -> None:
        """Write its results into the folder of the ended run. Raises UsageError."""

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """Print its results after the run's summary; return the exit code. Raises UsageError."""


class ClosedLoad:
    """Each user holds one chat after another, until `--chats` have ended.

    An interval sweep is a closed load too: the intervals are in the plan's session settings.
    """

    def __init__(self, chats: int = 0) -> None:
        """chats: number of chats to hold, 0 if that does not end the run."""
        self._chats, self._ended = chats, 0

    def check(self, plan: RunPlan) -> None:
        """Accept any plan."""

    def begin(self, plan: RunPlan) -> RunPlan:
        """Begin a run by this plan."""
        self._chats, self._ended = plan.chats, 0
        return plan

    def settings(self, run: RunSettings) -> RunSettings:
        """Return the settings of the plan."""
        return run

    def sessions_ended(self, count: int) -> bool:
        """Count ended sessions; return whether all chats have ended."""
        self._ended += count
        return bool(self._chats) and self._ended >= self._chats

    def is_complete(self, books: Callable[[], Books], now: float) -> bool:
        """Return False: `sessions_ended` tells it earlier."""
        return False

    def write(self, run_dir: Path) -> None:
        """Write nothing."""

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """Print nothing."""
        return exit_codes.PASSED


class OpenLoad(ClosedLoad):
    """Chats arrive at a rate. The run ends after the last chat of an arrival profile."""

    def __init__(self, workload: OpenWorkload, chats: int = 0) -> None:
        super().__init__(chats)
        self._workload = workload
        self._quiet_since: float | None = None

    def is_complete(self, books: Callable[[], Books], now: float) -> bool:
        """Return whether the last chat of the profile has ended."""
        if not self._workload.over():
            return False
        counters = books()
        if counters.started != counters.verdicts.total():
            self._quiet_since = None
            return False
        # Reports about the last arrivals may still be on their way.
        if self._quiet_since is None:
            self._quiet_since = now
        return now - self._quiet_since > _QUIET_S


def load_of(plan: RunPlan) -> LoadController:
    """Return the load controller of a run that no load shape controls."""
    return ClosedLoad(plan.chats) if plan.workload is None else OpenLoad(plan.workload, plan.chats)
