"""How a run came to its end, by its incidents and its times."""

from __future__ import annotations

import pytest

from chatload.run.reader import EndedBy, Incident, RunEnd, run_end

LOST = Incident(103.0, "worker_lost", "w")


@pytest.mark.parametrize(
    ("incidents", "started_at", "ended_at", "end"),
    [
        ([], 100.0, 160.0, RunEnd(EndedBy.PLAN, 60.0, 90.0)),
        ([LOST], 100.0, 160.0, RunEnd(EndedBy.PLAN, 60.0, 90.0)),
        ([], 100.0, None, RunEnd(EndedBy.UNFINISHED, None, 90.0)),
        ([], None, 160.0, RunEnd(EndedBy.PLAN, None, 90.0)),
        ([LOST, Incident(105.5, "interrupted", "")], 100.0, 160.0, RunEnd(EndedBy.INTERRUPTED, 5.5, 90.0)),
        ([Incident(105.5, "interrupted", "")], 100.0, None, RunEnd(EndedBy.INTERRUPTED, 5.5, 90.0)),
        ([Incident(105.5, "stopped", "")], 100.0, 160.0, RunEnd(EndedBy.STOPPED, 5.5, 90.0)),
        ([Incident(105.5, "ceiling", "")], None, 160.0, RunEnd(EndedBy.CEILING, None, 90.0)),
        (
            [Incident(105.5, "aborted", ""), Incident(107.0, "interrupted", "")], 100.0, 160.0,
            RunEnd(EndedBy.ABORTED, 5.5, 90.0),
        ),
        ([Incident(99.0, "aborted", "")], 100.0, 160.0, RunEnd(EndedBy.ABORTED, 0.0, 90.0)),
        ([], 100.0, 160.12345, RunEnd(EndedBy.PLAN, 60.123, 90.0)),
    ],
)  # fmt: skip
def test_the_first_incident_that_ends_runs_tells(incidents, started_at, ended_at, end) -> None:  # type: ignore[no-untyped-def]
    assert run_end(incidents, started_at, ended_at, 90.0) == end


def test_as_json() -> None:
    assert run_end([], 100.0, 160.0, None)._asdict() == {"by": "plan", "after_s": 60.0, "planned_s": None}
