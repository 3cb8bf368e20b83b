"""What steers a run beside its plan: a capacity search, and whatever else puts on a load of its own."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Protocol

from chatload.run.settings import RunSettings
from chatload.swarm.plan import Plan


class Steering(Protocol):
    """What steers the load of a run, and has something of its own to say in the end."""

    def check(self, plan: Plan) -> None:
        """Refuse a run with this plan that cannot be meant; raises UsageError."""

    def begin(self, plan: Plan) -> Plan:
        """A run begins by this plan; what it should go by instead. Raises UsageError."""

    def settings(self, run: RunSettings) -> RunSettings:
        """The settings of a run that this steers, given those of its plan."""

    def write(self, run_dir: Path) -> None:
        """The run is over: write what was found into its folder. Raises UsageError."""

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """All is over: print what was found; gives the exit code. Raises UsageError."""
