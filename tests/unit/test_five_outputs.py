"""The console, summary.json, summary.md, junit.xml, report.html and the exit code of a run all say the same result."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from chatload import cli
from chatload.chat.effects import Exchange
from chatload.chat.record import SessionRecord
from chatload.protocol.reply import Reply
from chatload.run.books import Books
from chatload.run.settings import RunSettings
from chatload.run.writer import RunWriter
from chatload.vocabulary import IncidentKind, Outcome, RunResult
from tests.run_files import add_sessions, put_books

EXIT_CODES = {
    RunResult.PASSED: 0, RunResult.NOT_JUDGED: 0, RunResult.FAILED: 1, RunResult.INVALID: 3,
    RunResult.INCONCLUSIVE: 4, RunResult.NOTHING_TESTED: 4,
}  # fmt: skip


class Case(NamedTuple):
    """A run, by its sessions, thresholds, incidents and more, and its result."""

    result: RunResult
    verdicts: Mapping[str, int] = {"completed": 400}
    thresholds: tuple[str, ...] = ("dropped.rate < 1%", "dropped.count < 50")
    incidents: tuple[IncidentKind, ...] = ()
    allow_inconclusive: bool = False
    finished: bool = True
    missing_rows: int = 0
    suspects: int = 0


FINE, FEW, REFUSED = {"completed": 400}, {"completed": 20}, {"refused": 300}
LATE = {"completed": 300, "dropped_late": 100}
LOST_FACTS = (IncidentKind.WORKER_LOST, IncidentKind.REPORT_UNREADABLE, IncidentKind.RECORDING_STOPPED)
NO_LOAD = (IncidentKind.CEILING, IncidentKind.WORKER_UNFIT, IncidentKind.DATA_USED_UP, IncidentKind.SUSPENDED)
OTHERS = tuple(kind for kind in IncidentKind if kind not in (*LOST_FACTS, *NO_LOAD, IncidentKind.ABORTED))
UNSERVED = ("unserved.rate < 1%",)

CASES = {
    "good": Case(RunResult.PASSED),
    "good, no thresholds": Case(RunResult.NOT_JUDGED, thresholds=()),
    "drops": Case(RunResult.FAILED, LATE),
    "drops, no thresholds": Case(RunResult.NOT_JUDGED, LATE, ()),
    "few": Case(RunResult.INCONCLUSIVE, FEW),
    "few, allowed": Case(RunResult.PASSED, FEW, allow_inconclusive=True),
    "few and one failed, allowed": Case(
        RunResult.FAILED, FEW, ("dropped.rate < 1%", "completed.count > 99"), allow_inconclusive=True
    ),
    "a threshold about something else": Case(RunResult.INCONCLUSIVE, LATE, ("completed.count > 99",)),
    "a threshold about something else, inconclusive allowed": Case(
        RunResult.INCONCLUSIVE, LATE, ("completed.count > 99",), allow_inconclusive=True
    ),
    "none accepted": Case(RunResult.NOTHING_TESTED, REFUSED),
    "none accepted, inconclusive allowed": Case(RunResult.NOTHING_TESTED, REFUSED, allow_inconclusive=True),
    "none accepted, no thresholds": Case(RunResult.NOTHING_TESTED, REFUSED, ()),
    "none accepted, and that is a threshold": Case(RunResult.FAILED, REFUSED, UNSERVED),
    "no session": Case(RunResult.NOTHING_TESTED, {}),
    "no session, no thresholds": Case(RunResult.NOTHING_TESTED, {}, (), (IncidentKind.NOTHING_STARTED,)),
    "aborted": Case(RunResult.FAILED, LATE, incidents=(IncidentKind.ABORTED,)),
    "aborted, no thresholds": Case(RunResult.FAILED, LATE, (), (IncidentKind.ABORTED,)),
    "aborted, and all thresholds hold": Case(RunResult.FAILED, FINE, incidents=(IncidentKind.ABORTED,)),
    "aborted, few, allowed": Case(RunResult.FAILED, FEW, (), (IncidentKind.ABORTED,), allow_inconclusive=True),
    "aborted before a session was accepted": Case(RunResult.FAILED, REFUSED, (), (IncidentKind.ABORTED,)),
    "aborted, and a worker was lost": Case(
        RunResult.INVALID, LATE, (), (IncidentKind.ABORTED, IncidentKind.WORKER_LOST)
    ),
    "the generator's own lateness": Case(RunResult.INVALID, LATE, suspects=3),
    "the generator's own lateness, no thresholds": Case(RunResult.INVALID, LATE, (), suspects=3),
    "rows are missing": Case(RunResult.INVALID, missing_rows=1),
    "rows are missing, and a threshold failed": Case(RunResult.INVALID, LATE, missing_rows=1),
    "the master was killed": Case(RunResult.INVALID, finished=False),
    "the master was killed, no thresholds": Case(RunResult.INVALID, thresholds=(), finished=False),
    "a session of an unknown verdict": Case(RunResult.INVALID, {"completed": 400, "<b>well</b>": 1}),
    **{f"{kind}": Case(RunResult.INVALID, incidents=(kind,)) for kind in (*LOST_FACTS, *NO_LOAD)},
    "the wall clock jumped": Case(RunResult.INVALID, LATE, incidents=(IncidentKind.CLOCK_JUMPED,)),
    "the wall clock jumped, no thresholds": Case(RunResult.INVALID, LATE, (), (IncidentKind.CLOCK_JUMPED,)),
    "all other incidents": Case(RunResult.PASSED, incidents=OTHERS),
    "all other incidents, no thresholds": Case(RunResult.NOT_JUDGED, thresholds=(), incidents=OTHERS),
}  # fmt: skip


def make(folder: Path, case: Case) -> Path:
    settings = RunSettings(
        name="mine", flex_disconnect_timeout=45.0, thresholds=case.thresholds,
        allow_inconclusive=case.allow_inconclusive, run_time=600.0,
    )  # fmt: skip
    books, records = Books(), []
    numbers = itertools.count()
    # Good and bad ones come in turn: drops at one time would be one incident.
    turns = [[verdict] * count for verdict, count in case.verdicts.items()]
    order = sorted((i / len(turn), verdict) for turn in turns for i, verdict in enumerate(turn))
    for _, verdict in order:
        number = next(numbers)
        start = 1000.0 + number / 4
        accepted = verdict != "refused"
        record = SessionRecord(
            f"c{number}" if accepted else "", verdict, "server" if verdict == "dropped_late" else "", "why",
            started_at=start, ended_at=start + 60.0, accepted_at=start if accepted else None,
            alive_s=60.0 if accepted else None, worker="local",
        )  # fmt: skip
        books.session_started()
        if accepted:
            books.session_accepted(start)
        books.session_ended(record, 45.0)
        for operation in ("RequestChat", "GetMessages"):
            books.request_begun(operation)
            books.request_ended(operation, Exchange(start, start, start + 0.01, Reply(Outcome.FINE)))
        records.append(record)
    books.suspects = case.suspects
    with RunWriter.create(folder, settings, 1000.0) as writer:
        add_sessions(writer, records[case.missing_rows :])
        put_books(writer, "local", books)
        for number, kind in enumerate(case.incidents):
            writer.incident(kind, f"what {kind} was", 1001.0 + number)
        if case.finished:
            writer.finish(2000.0)
    return folder


@pytest.mark.parametrize("name", CASES)
def test_all_outputs_say_the_same(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Charts say nothing of the result, and drawing them takes most of the time.
    monkeypatch.setattr("vl_convert.vegalite_to_svg", lambda _: "<svg ></svg>")
    case = CASES[name]
    run = make(tmp_path / "run", case)
    with pytest.raises(SystemExit) as left:
        cli.run(["report", str(run)])
    console = capsys.readouterr().out
    assert left.value.code == EXIT_CODES[case.result], console
    assert console.startswith(f"{case.result.upper()}: ")
    assert json.loads((run / "summary.json").read_text())["result"] == case.result
    assert (run / "summary.md").read_text().startswith(f"### chatload: {case.result}\n")
    page = (run / "report.html").read_text()
    badges = set(re.findall(r'class="badge[^"]*">([^<]*)<', page))
    assert badges == {case.result}, badges
    suites = ET.parse(run / "junit.xml").getroot()
    broken = int(suites.get("failures", 0)) + int(suites.get("errors", 0))
    assert (broken == 0) == (case.result in (RunResult.PASSED, RunResult.NOT_JUDGED)), ET.tostring(suites)
    if case.result is not RunResult.PASSED:
        said = console + (run / "summary.md").read_text() + re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
        assert not re.search(r"\bpassed\b", said)
