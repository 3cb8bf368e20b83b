"""What ends a run by itself: a ceiling it came above, a threshold it has lost, a profile of arrivals that is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chatload.run.books import Books
from chatload.swarm.ceiling import Ceiling
from chatload.swarm.facts import FLUSH_S
from chatload.swarm.plan import Plan
from chatload.thresholds.metrics import Facts as GateFacts
from chatload.vocabulary import IncidentKind

#: A run whose arrivals are over ends when for so long no chat was open (seconds).
_QUIET_S = 2.0


class Ending(NamedTuple):
    """Why a run is to end. kind, why: of the incident, empty where it came to its end as planned."""

    kind: str = ""
    why: str = ""


class Endings:
    """Watches the books of a run. Instants: any monotonic clock, seconds."""

    def __init__(self, plan: Plan, now: float) -> None:
        rules = plan.rules
        limited = rules.max_sessions is not None or rules.max_requests_per_s is not None
        self._plan, self._quiet = plan, 0
        self._ceiling = Ceiling(rules, now) if limited else None

    def look(self, books: Callable[[], Books], now: float) -> Ending | None:
        """Asked every FLUSH_S. books: gives those of all processes; worked out only where they decide."""
        why = "" if self._ceiling is None else self._ceiling.exceeded(books(), now)
        if why:
            return Ending(IncidentKind.CEILING, why)
        plan = self._plan
        if plan.gate.abort_on:
            why = plan.gate.abort(GateFacts(books(), plan.settings.timeout_s)) or ""
            if why:
                return Ending(IncidentKind.ABORTED, why)
        return Ending() if self._over(books) else None

    def _over(self, books: Callable[[], Books]) -> bool:
        """A profile of arrivals has an end; the run's is that of its last chat."""
        if self._plan.workload is None or not self._plan.workload.over():
            return False
        now = books()
        # Facts of what arrived last may still be on their way.
        self._quiet = self._quiet + 1 if now.started == now.verdicts.total() else 0
        return self._quiet * FLUSH_S > _QUIET_S
