"""junit.xml: a run as test cases, as Jenkins, GitLab and GitHub's actions read them.

There is a case for each threshold (or a skipped case where there is none), and three cases for the run itself: it is
valid, its books balance, sessions were accepted. A failed case is added if --abort-on ended the run, and a skipped case
if a person ended it before its planned time. The output of the suite says on which part of the run percentiles are
judged, if it is not the whole. Elements and attributes are those of Jenkins' xunit plugin (its junit-10.xsd). The
standard library is enough for six elements. junitparser does not remove the characters that XML cannot contain either.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from chatload.features.report import sentences
from chatload.vocabulary import RunResult

_RUN = "chatload.run"

#: What XML 1.0 has no way to write, not even as a reference (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(NamedTuple):
    """One test case. state: "" (passed), failure, error or skipped. why: a sentence where it did not pass."""

    group: str
    name: str
    state: str = ""
    why: str = ""
    details: str = ""


def junit(summary: Mapping[str, Any]) -> str:
    cases = [*_run_cases(summary), *_threshold_cases(summary)]
    states = Counter(case.state for case in cases)
    started, ended = summary["started_at"], summary["ended_at"]
    took = "0" if started is None or ended is None else f"{max(ended - started, 0):.3f}"
    counts = {"tests": len(cases), "failures": states["failure"], "errors": states["error"]}
    totals = {name: str(n) for name, n in counts.items()} | {"time": took}
    root = ET.Element("testsuites", {"name": "chatload", **totals})
    suite = ET.SubElement(root, "testsuite", {"name": _xml(f"chatload {summary['name']}"), **totals})
    suite.set("skipped", str(states["skipped"]))
    if started is not None:
        suite.set("timestamp", datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    for case in cases:
        element = ET.SubElement(suite, "testcase", {"classname": case.group, "name": _xml(case.name), "time": "0"})
        if case.state:
            why = ET.SubElement(element, case.state, {"message": _xml(case.why)})
            why.text = _xml("\n".join(part for part in (case.why, case.details) if part))
            if case.state != "skipped":
                why.set("type", case.state)
    if part := sentences.judged_part(summary):
        ET.SubElement(suite, "system-out").text = _xml(part)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _run_cases(summary: Mapping[str, Any]) -> Iterable[Case]:
    accepted = summary["sessions"]["accepted"] > 0
    for name, holds, reasons in (
        ("run is valid", summary["valid"], summary["invalid_reasons"]),
        ("books balance", summary["books"]["balanced"], summary["books"]["imbalances"]),
        ("sessions were accepted", accepted, [] if accepted else [sentences.answer(summary)]),
    ):
        first, *others = reasons or [f"not so: {name}"]
        yield Case(_RUN, name) if holds else Case(_RUN, name, "error", first, "\n".join(others))
    if early := sentences.ended_early(summary):
        yield Case(_RUN, "run took its planned time", "skipped", early)
    if summary["aborted"]:
        yield Case(_RUN, "run is not hopeless", "failure", f"ended early: {summary['aborted']}")


def _threshold_cases(summary: Mapping[str, Any]) -> Iterable[Case]:
    group = "chatload.thresholds"
    if not summary["thresholds"]:
        yield Case(group, "no threshold was set", "skipped", "not judged: no threshold was set")
    for threshold in summary["thresholds"]:
        result, why = threshold["result"], threshold.get("why") or ""
        state = "" if result == "pass" else "failure"
        if result == "inconclusive":
            why = f"inconclusive: {why}"
            # Allowed, and the run inconclusive all the same: something was found that no threshold of the run covers.
            allowed = summary.get("allow_inconclusive") and summary["result"] != RunResult.INCONCLUSIVE
            state = "skipped" if allowed else "failure"
        # Shares are fractions of 1, durations seconds.
        names = ("value", "lower", "upper", "samples", "needed")
        details = "\n".join(f"{name}: {threshold[name]}" for name in names if threshold.get(name) is not None)
        yield Case(group, threshold["expression"], state, why, details)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
