"""How a run came to its end, and after how much of its planned time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from chatload.run.reader import Incident
from chatload.vocabulary import ENDING_INCIDENTS, EndedBy


@dataclass(frozen=True)
class RunEnd:
    """How a run ended.

    by: what ended it. after_s: seconds from its start to the instant at which its end began (the goodbyes of its chats
    come after that); None: not known. planned_s: the planned run time (seconds); None: none was set.
    """

    by: EndedBy
    after_s: float | None
    planned_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self)


def run_end(
    incidents: Iterable[Incident], started_at: float | None, ended_at: float | None, planned_s: float | None
) -> RunEnd:
    """Return how the run ended: by its first incident that ends a run, otherwise as planned."""
    first = next((incident for incident in incidents if incident.kind in ENDING_INCIDENTS), None)
    if first is not None:
        return RunEnd(EndedBy(first.kind), _since(started_at, first.at), planned_s)
    by = EndedBy.PLAN if ended_at is not None else EndedBy.UNFINISHED
    return RunEnd(by, _since(started_at, ended_at), planned_s)


def _since(started_at: float | None, at: float | None) -> float | None:
    return None if started_at is None or at is None else round(max(0.0, at - started_at), 3)
