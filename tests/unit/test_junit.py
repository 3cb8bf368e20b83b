"""junit.xml: one case a threshold, in the words that Jenkins' xunit plugin (junit-10.xsd) knows."""

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.features.report.junit import junit

GOLDEN = Path(__file__).parent / "golden" / "outputs"

#: Element: its parents, the attributes it must have, those it may have. As in junit-10.xsd.
ALLOWED = {
    "testsuites": ((), (), ("name", "time", "tests", "failures", "errors")),
    "testsuite": (
        ("testsuites",),
        ("name", "tests", "failures", "errors"),
        ("time", "skipped", "timestamp", "hostname", "id", "package", "group", "file", "log", "url"),
    ),
    "testcase": (("testsuite",), ("name",), ("time", "classname", "group")),
    "failure": (("testcase",), (), ("type", "message")),
    "error": (("testcase",), (), ("type", "message")),
    "skipped": (("testcase",), (), ("type", "message")),
    "system-out": (("testsuite",), (), ()),
}


def threshold(expression, result, value=None, lower=None, upper=None, samples=0, needed=None, why="", unit=""):
    return {
        "expression": expression, "metric": expression.partition(" ")[0], "result": result,
        "value": value, "lower": lower, "upper": upper, "samples": samples,
        "needed": needed, "needed_90": needed, "why": why, "unit": unit,
    }  # fmt: skip


def summary(*thresholds, **changes):
    made = json.loads((GOLDEN / "summary.json").read_text())
    return {**copy.deepcopy(made), **({"thresholds": list(thresholds)} if thresholds else {}), **changes}


def cases(text):
    return {case.get("name"): case for case in ElementTree.fromstring(text).iter("testcase")}


def state(case):
    return case[0].tag if len(case) else "passed"


def assert_as_jenkins_reads_it(text):
    root = ElementTree.fromstring(text)
    parents = {child: parent.tag for parent in root.iter() for child in parent}
    assert root.tag == "testsuites"
    for element in root.iter():
        above, must, may = ALLOWED[element.tag]
        assert parents.get(element) in (above or (None,)), element.tag
        assert set(must) <= set(element.keys()) <= {*must, *may}, element.tag
        assert not set(element.get("time", "0")) - set("0123456789.")
    for suite in root.iter("testsuite"):
        found = list(suite.iter("testcase"))
        assert int(suite.get("tests")) == len(found) == len(suite) - len(suite.findall("system-out"))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name)) == sum(state(case) == tag for case in found), name


def test_golden():
    assert junit(summary()) == (GOLDEN / "junit.xml").read_text()
    assert_as_jenkins_reads_it(junit(summary()))


@pytest.mark.parametrize(
    ("result", "allow", "expected"),
    [
        ("pass", False, "passed"),
        ("pass", True, "passed"),
        ("fail", False, "failure"),
        ("fail", True, "failure"),
        ("inconclusive", False, "failure"),
        ("inconclusive", True, "skipped"),
    ],
)
def test_a_threshold_is_a_case(result, allow, expected):
    one = threshold("refused.rate < 1%", result, 0.0, 0.0, 0.03, 100, 299, "too few")
    text = junit(summary(one, allow_inconclusive=allow))
    case = cases(text)["refused.rate < 1%"]
    assert state(case) == expected
    assert_as_jenkins_reads_it(text)
    if expected != "passed":
        assert case[0].get("message").endswith("too few")
        assert case[0].get("message").startswith("inconclusive: ") == (result == "inconclusive")
        assert "upper: 0.03\nsamples: 100\nneeded: 299" in case[0].text


def test_the_judged_part_is_the_output_of_the_suite():
    part = {"start": 1060.0, "end": 1300.0, "given": True}
    said = ElementTree.fromstring(junit(summary(judged=part))).findtext("testsuite/system-out")
    assert said.endswith("are judged from 1 min to 5 min of the run, as --judge says")
    assert "system-out" not in junit(summary(judged=None))


def test_a_run_given_up_early_is_a_failure():
    text = junit(summary(threshold("x", "pass"), aborted="5 % cannot hold any more"))
    assert cases(text)["run is not hopeless"][0].get("message") == "ended early: 5 % cannot hold any more"
    assert_as_jenkins_reads_it(text)


def test_whether_inconclusive_is_allowed_is_in_the_summary():
    run = summary(threshold("x", "inconclusive"))
    assert state(cases(junit(run))["x"]) == "failure"
    run["allow_inconclusive"] = True
    assert state(cases(junit(run))["x"]) == "skipped"


def test_a_run_that_proves_nothing_is_an_error():
    broken = summary(valid=False, invalid_reasons=["CPU was saturated"])
    broken["books"].update(balanced=False, imbalances=["one", "two"])
    text = junit(broken)
    assert_as_jenkins_reads_it(text)
    found = cases(text)
    assert [state(found[name]) for name in ("run is valid", "books balance")] == ["error", "error"]
    assert (found["run is valid"][0].get("message"), found["books balance"][0].get("message")) == (
        "CPU was saturated", "one",
    )  # fmt: skip
    assert "two" in found["books balance"][0].text


def test_without_thresholds_there_are_the_cases_everything_rests_on_and_that_it_is_not_judged():
    bare = summary(result="not judged", started_at=None, ended_at=None)
    bare["thresholds"] = []
    found = cases(junit(bare))
    assert {name: state(case) for name, case in found.items()} == {
        "run is valid": "passed",
        "books balance": "passed",
        "sessions were accepted": "passed",
        "no threshold was set": "skipped",
    }
    assert found["no threshold was set"][0].get("message") == "not judged: no threshold was set"
    assert_as_jenkins_reads_it(junit(bare))


def test_a_run_without_an_accepted_session_is_an_error():
    run = summary(result="nothing tested", thresholds=[])
    run["sessions"].update(
        accepted=0, not_accepted=[{"verdict": "refused", "why": "RequestChat: busy", "sessions": 40}]
    )
    case = cases(junit(run))["sessions were accepted"]
    assert state(case) == "error"
    assert case[0].get("message").startswith("nothing was tested: 40 sessions started, none accepted")
    assert case[0].get("message").endswith("; most often: RequestChat: busy (40)")
    assert_as_jenkins_reads_it(junit(run))


def test_an_interrupted_run_says_so_and_does_not_fail_for_it():
    run = summary(threshold("x", "pass"), end={"by": "interrupted", "after_s": 3.01, "planned_s": 30.0})
    case = cases(junit(run))["run took its planned time"]
    assert (state(case), case[0].get("message")) == ("skipped", "interrupted after 3 of 30 s")
    assert_as_jenkins_reads_it(junit(run))


@given(st.text(st.characters(codec=None), max_size=60), st.text(st.characters(codec=None), max_size=60))
def test_any_text_is_well_formed_and_comes_back(name, why):
    text = junit(summary(threshold(name, "fail", why=why), name=why))
    text.encode()
    assert_as_jenkins_reads_it(text)
    *_, case = ElementTree.fromstring(text).iter("testcase")
    as_xml_can = "".join(
        c
        if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c < "\ufffe") or c >= "\U00010000"
        else "\ufffd"
        for c in name
    )
    assert case.get("name") == as_xml_can


def test_a_terminals_colours_and_markup_do_not_break_it():
    hostile = "\x1b[31m<b>&\"']]>\x00\x0b\ufffe\ud800|x"
    text = junit(summary(threshold(hostile, "fail", why=hostile)))
    (case,) = [case for name, case in cases(text).items() if "x" in name and "[31m" in name]
    assert case[0].get("message") == "\ufffd[31m<b>&\"']]>\ufffd\ufffd\ufffd\ufffd|x"
