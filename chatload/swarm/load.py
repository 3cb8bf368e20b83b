"""The load of a run: when it is complete, and what ends the run before.

Locust decides how many users there are (--users, --run-time, a load shape). A load controller decides the rest.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from chatload import exit_codes
from chatload.run.books import Books, RunBooks
from chatload.run.settings import RunSettings
from chatload.swarm.plan import RunPlan
from chatload.target import TargetRules
from chatload.thresholds.abort import AbortMonitor
from chatload.thresholds.metrics import Facts as GateFacts
from chatload.vocabulary import IncidentKind

#: An open workload is complete when no chat was open for this long after its last arrival (seconds).
_QUIET_S = 2.0
#: Requests of this many seconds may be sent at once (at the ceiling's rate): all users start their chats within the
#: first seconds, and workers report once a second.
BURST_S = 5.0


class CeilingMonitor:
    """Compares the counters with the ceilings of the run.

    The rate of requests is measured by a leaky bucket: each request fills it, it leaks at the ceiling's rate, and it
    holds BURST_S seconds of requests. Requests are never delayed: a delayed refresh would look like a late one.
    """

    def __init__(self, rules: TargetRules, now: float) -> None:
        self._rules = rules
        self._sent, self._level, self._at = 0, 0.0, now

    def exceeded(self, books: Books, now: float) -> str:
        """Return which ceiling the counters of all processes exceed at `now` (monotonic), empty if none."""
        still_open = books.started - books.verdicts.total()
        most = self._rules.max_sessions
        if most is not None and still_open > most:
            return f"{still_open} sessions open, above the ceiling of {most}"
        rate = self._rules.max_requests_per_s
        sent, elapsed = books.sent.total() + books.fetched.total(), now - self._at
        more = sent - self._sent
        self._sent, self._at = sent, now
        if rate is None:
            return ""
        self._level = max(0.0, self._level + more - rate * elapsed)
        if self._level > rate * BURST_S:
            return f"{more / max(elapsed, 1e-3):.4g} requests/s, above the ceiling of {rate:g}"
        return ""


class LoadController:
    """Controls the load of the runs of a master or single process, one after another.

    A closed workload is complete when `--chats` have ended; so is an interval sweep, whose intervals are in the plan's
    session settings. An open workload is complete after the last chat of its arrival profile. A load shape has a
    controller of its own, derived from this one.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """clock: Unix seconds, for the allowed hours."""
        self._clock = clock
        self._plan: RunPlan | None = None
        self._ceilings: CeilingMonitor | None = None
        self._abort: AbortMonitor | None = None
        self._began_at = 0.0
        self._ended = 0
        self._quiet_since: float | None = None

    def check(self, plan: RunPlan) -> None:
        """Check a plan before its run. Raises UsageError."""

    def begin(self, plan: RunPlan) -> RunPlan:
        """Begin a run; return the plan to use. Raises UsageError."""
        limited = plan.rules.max_sessions is not None or plan.rules.max_requests_per_s is not None
        self._ceilings = CeilingMonitor(plan.rules, time.monotonic()) if limited else None
        self._abort = plan.gate.abort_monitor(plan.settings.timeout_s) if plan.gate.abort_on else None
        self._began_at = time.monotonic()
        self._plan, self._ended, self._quiet_since = plan, 0, None
        return plan

    def settings(self, run: RunSettings) -> RunSettings:
        """Return the settings of the run, given those of its plan."""
        return run

    def sessions_ended(self, count: int) -> bool:
        """`count` more sessions ended; return whether all chats have."""
        self._ended += count
        return self._plan is not None and 0 < self._plan.run.chats <= self._ended

    def stop_reason(self, books: Callable[[], RunBooks], now: float) -> tuple[str, str] | None:
        """Return why the run has to end, None if it goes on. Called every second.

        The reason is an incident, its kind and text; both are empty if the load is complete. books: returns the
        counters of all processes; called only if they are needed. now: monotonic.
        """
        plan = self._plan
        if plan is None:
            return None
        if self._ceilings is not None and (why := self._ceilings.exceeded(books().total, now)):
            return IncidentKind.CEILING, why
        if why := plan.rules.closed(self._clock()):
            return IncidentKind.HOURS, why
        if self._abort is not None:
            facts = GateFacts.so_far(books(), plan.settings.timeout_s)
            if why := self._abort.why_lost(facts, now - self._began_at):
                return IncidentKind.ABORTED, why
        if plan.workload is None or not plan.workload.over():
            return None
        counters = books().total
        if counters.started != counters.verdicts.total():
            self._quiet_since = None
            return None
        # Reports about the last arrivals may still be on their way.
        if self._quiet_since is None:
            self._quiet_since = now
        return ("", "") if now - self._quiet_since > _QUIET_S else None

    def write(self, run_dir: Path) -> None:
        """Write its results into the folder of the ended run. Raises UsageError."""

    def report(self, run_dir: Path, stream: IO[str]) -> int:
        """Print its results after the run's summary; return the exit code. Raises UsageError."""
        return exit_codes.PASSED
