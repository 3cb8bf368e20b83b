"""How a run came to its end, and after how much of its planned time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from chatload.run.reader import Incident

#: Kinds of incidents that end a run.
ABORTED = "aborted"
CEILING = "ceiling"
INTERRUPTED = "interrupted"
STOPPED_IN_WEB_UI = "stopped"
#: The kind of incident that says why a run started no session.
NOTHING_STARTED = "nothing_started"


class EndedBy(StrEnum):
    """What ended a run."""

    PLAN = "plan"  # its time was over, its chats had ended, or its load shape was over
    INTERRUPTED = "interrupted"  # by Ctrl-C, SIGTERM or SIGHUP
    STOPPED = "stopped"  # by a user in the web UI
    ABORTED = "aborted"  # by --abort-on
    CEILING = "ceiling"  # at a ceiling on the load
    UNFINISHED = "unfinished"  # it goes on, or its process was killed


@dataclass(frozen=True)
class RunEnd:
    """by: what ended the run. after_s: seconds from its start to the instant at which its end began (the goodbyes of
    its chats come after that); None where it is not known. planned_s: the time it was to take, None where none was
    set."""

    by: EndedBy
    after_s: float | None
    planned_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form."""
        return asdict(self)


_KINDS = {
    ABORTED: EndedBy.ABORTED,
    CEILING: EndedBy.CEILING,
    INTERRUPTED: EndedBy.INTERRUPTED,
    STOPPED_IN_WEB_UI: EndedBy.STOPPED,
}


def run_end(
    incidents: Iterable[Incident], started_at: float | None, ended_at: float | None, planned_s: float | None
) -> RunEnd:
    """How the run ended: by the first incident that ends runs, else as planned."""
    first = next((incident for incident in incidents if incident.kind in _KINDS), None)
    if first is not None:
        return RunEnd(_KINDS[first.kind], _since(started_at, first.at), planned_s)
    by = EndedBy.PLAN if ended_at is not None else EndedBy.UNFINISHED
    return RunEnd(by, _since(started_at, ended_at), planned_s)


def _since(started_at: float | None, at: float | None) -> float | None:
    return None if started_at is None or at is None else round(max(0.0, at - started_at), 3)
