"""What ends a run before its time: a ceiling was exceeded, an --abort-on threshold is lost, the load is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chatload.run.books import Books
from chatload.swarm.load import LoadController
from chatload.swarm.plan import RunPlan
from chatload.target import TargetRules
from chatload.thresholds.metrics import Facts as GateFacts
from chatload.vocabulary import IncidentKind

#: Requests of this many seconds may be sent at once (at the ceiling's rate): all users start their chats within the
#: first seconds, and workers report once a second.
BURST_S = 5.0


class StopReason(NamedTuple):
    """Why a run ends. kind, why: of the incident; empty if the load is complete."""

    kind: str = ""
    why: str = ""


class CeilingMonitor:
    """Compares the counters with the ceilings of the run.

    The rate of requests is measured by a leaky bucket: each request fills it, it leaks at the ceiling's rate, and it
    holds BURST_S seconds of requests. Requests are never delayed: a delayed refresh would look like a late one.
    """

    def __init__(self, rules: TargetRules, now: float) -> None:
        self._rules = rules
        self._sent, self._level, self._at = 0, 0.0, now

    def exceeded(self, books: Books, now: float) -> str:
        """Return which ceiling was exceeded, empty if none.

        Args:
            books: counters of all processes.
            now: seconds, monotonic.
        """
        still_open = books.started - books.verdicts.total()
        most = self._rules.max_sessions
        if most is not None and still_open > most:
            return f"{still_open} sessions open, above the ceiling of {most}"
        rate = self._rules.max_requests_per_s
        sent, elapsed = books.sent.total(), now - self._at
        more = sent - self._sent
        self._sent, self._at = sent, now
        if rate is None:
            return ""
        self._level = max(0.0, self._level + more - rate * elapsed)
        if self._level > rate * BURST_S:
            return f"{more / max(elapsed, 1e-3):.4g} requests/s, above the ceiling of {rate:g}"
        return ""


class StopConditions:
    """Checks the conditions of one run."""

    def __init__(self, plan: RunPlan, load: LoadController, now: float) -> None:
        rules = plan.rules
        limited = rules.max_sessions is not None or rules.max_requests_per_s is not None
        self._plan, self._load = plan, load
        self._ceilings = CeilingMonitor(rules, now) if limited else None

    def check(self, books: Callable[[], Books], now: float) -> StopReason | None:
        """Return why the run has to end, None if it goes on. Called every second.

        Args:
            books: returns the counters of all processes; called only if they are needed.
            now: seconds, monotonic.
        """
        why = "" if self._ceilings is None else self._ceilings.exceeded(books(), now)
        if why:
            return StopReason(IncidentKind.CEILING, why)
        plan = self._plan
        if plan.gate.abort_on:
            why = plan.gate.abort(GateFacts(books(), plan.settings.timeout_s)) or ""
            if why:
                return StopReason(IncidentKind.ABORTED, why)
        return StopReason() if self._load.is_complete(books, now) else None
