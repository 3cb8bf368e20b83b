"""junit.xml: a run as test cases, as Jenkins, GitLab and GitHub's actions read them.

There is a case for each threshold (or a skipped case where there is none), and three cases for the run itself: it is
valid, its books balance, sessions were accepted. A failed case is added if --abort-on ended the run, and a skipped case
if a person ended it before its planned time. Elements and attributes are those of Jenkins' xunit plugin (its
junit-10.xsd). The standard library is enough for five elements. junitparser does not remove the characters that XML
cannot contain either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from chatload.features.report import sentences
from chatload.run.writer import replacing

JUNIT_FILE = "junit.xml"

#: What XML 1.0 has no way to write, not even as a reference (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One test case. state: "" (passed), failure, error or skipped. why: a sentence where it did not pass."""

    group: str
    name: str
    state: str = ""
    why: str = ""
    details: str = ""


def junit(summary: Mapping[str, Any], allow_inconclusive: bool | None = None) -> str:
    """Return the summary as JUnit XML.

    allow_inconclusive: whether an inconclusive threshold is skipped instead of failed; by default as in the summary.
    """
    if allow_inconclusive is None:
        allow_inconclusive = bool(summary.get("allow_inconclusive"))
    cases = [*_soundness(summary), *_thresholds(summary["thresholds"], allow_inconclusive)]
    counts = {
        "tests": len(cases),
        "failures": sum(case.state == "failure" for case in cases),
        "errors": sum(case.state == "error" for case in cases),
    }
    totals = {name: str(n) for name, n in counts.items()} | {"time": _took(summary)}
    root = ET.Element("testsuites", {"name": "chatload", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": _xml(f"chatload {summary['name']}"), **totals})
    suite.set("skipped", str(sum(case.state == "skipped" for case in cases)))
    if summary["started_at"] is not None:
        suite.set("timestamp", datetime.fromtimestamp(summary["started_at"], UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    for case in cases:
        _add(suite, case)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def write_junit(run_dir: str | Path, summary: Mapping[str, Any]) -> Path:
    """Write junit.xml of a run into its folder; whole or not at all. Raises UsageError."""
    path = Path(run_dir) / JUNIT_FILE
    with replacing(path) as stream:
        stream.write(junit(summary))
    return path


def _soundness(summary: Mapping[str, Any]) -> Iterable[Case]:
    reasons, imbalances = summary["invalid_reasons"], summary["books"]["imbalances"]
    yield _sound("run is valid", summary["valid"], reasons)
    yield _sound("books balance", summary["books"]["balanced"], imbalances)
    accepted = summary["sessions"]["accepted"] > 0
    yield _sound("sessions were accepted", accepted, [] if accepted else [sentences.answer(summary)])
    if early := sentences.ended_early(summary):
        yield Case("chatload.run", "run took its planned time", "skipped", early)
    if summary["aborted"]:
        yield Case("chatload.run", "run is not hopeless", "failure", f"ended early: {summary['aborted']}")


def _sound(name: str, holds: bool, reasons: list[str]) -> Case:
    if holds:
        return Case("chatload.run", name)
    return Case("chatload.run", name, "error", reasons[0] if reasons else f"not so: {name}", "\n".join(reasons[1:]))


def _thresholds(thresholds: Sequence[Mapping[str, Any]], allow_inconclusive: bool) -> Iterable[Case]:
    if not thresholds:
        yield Case("chatload.thresholds", "no threshold was set", "skipped", "not judged: no threshold was set")
    for threshold in thresholds:
        result, why = threshold["result"], threshold.get("why") or ""
        state = "" if result == "pass" else "failure"
        if result == "inconclusive" and allow_inconclusive:
            state = "skipped"
        why = f"inconclusive: {why}" if result == "inconclusive" else why
        yield Case("chatload.thresholds", threshold["expression"], state, why, _facts(threshold))


def _facts(threshold: Mapping[str, Any]) -> str:
    """The numbers of a judgement: shares are fractions of 1, durations seconds."""
    names = ("value", "lower", "upper", "samples", "needed")
    return "\n".join(f"{name}: {threshold[name]}" for name in names if threshold.get(name) is not None)


def _add(suite: ET.Element, case: Case) -> None:
    element = ET.SubElement(suite, "testcase", {"classname": case.group, "name": _xml(case.name), "time": "0"})
    if case.state:
        why = ET.SubElement(element, case.state, {"message": _xml(case.why)})
        why.text = _xml("\n".join(part for part in (case.why, case.details) if part))
        if case.state != "skipped":
            why.set("type", case.state)


def _took(summary: Mapping[str, Any]) -> str:
    started, ended = summary["started_at"], summary["ended_at"]
    return "0" if started is None or ended is None else f"{max(ended - started, 0):.3f}"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
