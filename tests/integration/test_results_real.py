"""The result of a whole run of real headless Locust processes: the exit code, and the same words in every file."""

import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from contextlib import suppress
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from chatload.errors import UsageError
from chatload.run.reader import RunReader
from tests.integration.live import web_ui
from tests.integration.processes import (
    ENV,
    assert_balanced,
    fails_by_stalls_alone,
    locust,
    locust_command,
    report_here,
    simulator,
    summary_of,
)  # fmt: skip
from tests.integration.rawserver import RawServer
from tests.integration.test_stopping import ports, wait_for

pytestmark = pytest.mark.slow

TIMEOUT = ("--flex-disconnect-timeout", "2")
RUN = ("-u", "10", "-r", "10", "-t", "4s", "--chat-length", "1", *TIMEOUT)
LONG = ("-u", "10", "-r", "10", "-t", "60s", "--chat-length", "1", *TIMEOUT)


def fault(kind, operation="RequestChat", chance=1.0):
    return f'[[fault]]\nkind = "{kind}"\nchance = {chance}\noperations = ["{operation}"]\n'


class Shown(HTMLParser):
    """The text of a page outside of style and script, in one line."""

    def __init__(self, page):
        super().__init__()
        self._texts, self._hidden = [], 0
        self.feed(page)
        self.text = " ".join(" ".join(self._texts).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attributes):
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._hidden:
            self._texts.append(data)


def words_of(text):
    """The text in one line, without Markdown's escapes."""
    return " ".join(re.sub(r"\\(.)", r"\1", text).split())


def told(run, folder):
    """What a run told, place by place; `chatload report` must tell the same and exit alike."""
    again = report_here(folder)
    assert again.returncode == run.returncode, (run.stdout, again.stdout, again.stderr)
    suite = ET.parse(folder / "junit.xml").getroot()
    summary = summary_of(folder)
    assert_balanced(summary)
    return SimpleNamespace(
        summary=summary,
        console=words_of(run.stdout),
        again=words_of(again.stdout),
        markdown=words_of((folder / "summary.md").read_text()),
        page=Shown((folder / "report.html").read_text()).text,
        suite=suite,
        cases={case.get("name"): case for case in suite.iter("testcase")},
    )


def assert_result(told, result):
    assert told.summary["result"] == result
    assert told.markdown.startswith(f"### chatload: {result} ")
    for console in (told.console, told.again):
        assert f"{result.upper()}: " in console, console
    assert f" {result} " in told.page[:200], told.page[:200]
    if result != "passed":
        everything = " ".join((told.console, told.again, told.markdown, told.page)).lower()
        assert "passed" not in everything


def assert_said(told, sentence):
    """The sentence is in every place that people read."""
    for place in ("console", "again", "markdown", "page"):
        text = getattr(told, place)
        assert sentence.lower() in text.lower(), (place, text[:1500])


def assert_nothing_tested(told, *parts):
    assert_result(told, "nothing tested")
    assert_said(told, "nothing tested")
    for part in parts:
        assert_said(told, part)
        assert part in told.cases["sessions were accepted"][0].get("message")
    assert told.cases["sessions were accepted"][0].tag == "error"
    assert told.suite.get("errors") == "1"
    for text in (told.console, told.markdown, told.page):
        assert "no refresh came too late" not in text and "was dropped" not in text
    assert told.summary["sessions"]["accepted"] == 0


@pytest.mark.parametrize(
    ("kind", "more", "parts"),
    [
        ("status_2", (), ("none accepted (", " refused", "; most often: RequestChat: statusCode 2")),
        ("http_500", ("--gate", "standard", "--allow-inconclusive"), None),
    ],
)
def test_a_server_that_accepts_no_chat_is_not_tested(tmp_path, kind, more, parts):
    with simulator(*TIMEOUT, faults=fault(kind), tmp_path=tmp_path) as host:
        run = locust(host, tmp_path / "run", *RUN, *more)
    said = told(run, tmp_path / "run")
    if parts is None:  # the gate asks for served sessions, and a threshold that failed stays failed
        assert run.returncode == 1, run.stdout + run.stderr
        assert_result(said, "failed")
        assert_said(said, "nothing was tested: ")
        assert said.cases["sessions were accepted"][0].tag == "error"
        assert [t["metric"] for t in said.summary["thresholds"] if t["result"] == "fail"] == ["unserved.rate"]
        return
    assert run.returncode == 4, run.stdout + run.stderr
    assert_nothing_tested(said, *parts)


def test_a_server_that_dies_before_the_first_chat_is_not_tested(tmp_path):
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"statusCode": 2}'

    def once(peer, number):
        """Only whoever looks whether it is there is answered."""
        if b"preflight" in peer.read():
            peer.send(answer)

    with RawServer(once) as server:
        run = locust(server.url, tmp_path / "run", *RUN)
    assert run.returncode == 4, run.stdout + run.stderr
    said = told(run, tmp_path / "run")
    assert_nothing_tested(said, "none accepted (", " gave_up", "; most often: RequestChat: ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-u", "10", "--tags", "nosuch"), "--tags and --exclude-tags leave no task"),
        (("-u", "0"), "-u 0 asks for no users"),
    ],
)
def test_a_run_that_starts_no_session_tests_nothing(tmp_path, options, why):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *options, "-r", "10", "-t", "3s", *TIMEOUT)
    assert run.returncode == 4, run.stdout + run.stderr
    assert_nothing_tested(told(run, tmp_path / "run"), f"no session was started ({why})")


def test_a_run_without_thresholds_is_not_judged_and_has_its_page_when_it_ends(tmp_path, monkeypatch):
    monkeypatch.setitem(ENV, "CHATLOAD_NO_REPORT", "false")
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *RUN)
    assert run.returncode == 0, run.stdout + run.stderr
    page = tmp_path / "run" / "report.html"
    assert run.stdout.rstrip().endswith(f"\nrun: {page.parent}\nreport: {page}")
    assert page.read_text().rstrip().endswith("</html>")
    said = told(run, tmp_path / "run")
    assert_result(said, "not judged")
    assert_said(said, "no threshold was set")
    assert said.cases["no threshold was set"][0].tag == "skipped"
    assert (said.suite.get("failures"), said.suite.get("errors")) == ("0", "0")
    assert said.summary["end"]["by"] == "plan"


@pytest.mark.parametrize(
    ("number", "more", "result", "code"),
    [
        (signal.SIGINT, ("--threshold", "sessions.count > 5"), "passed", 0),
        (signal.SIGTERM, ("--threshold", "sessions.count > 1000000"), "failed", 1),
        (signal.SIGTERM, ("--processes", "2", *ports()), "not judged", 0),
    ],
)
def test_an_interrupted_run_says_so_and_is_judged(tmp_path, number, more, result, code):
    folder = tmp_path / "run"
    with simulator(*TIMEOUT) as host:
        command = locust_command(host, folder, *LONG, *more)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV, start_new_session=True
        ) as process:
            try:
                wait_for(lambda: sessions_in(folder) > 5)
                process.send_signal(number)
                out, err = process.communicate(timeout=30)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
    assert process.returncode == code, out + err
    said = told(SimpleNamespace(returncode=code, stdout=out), folder)
    assert_result(said, result)
    end = said.summary["end"]
    assert (end["by"], end["planned_s"]) == ("interrupted", 60)
    assert 0 < end["after_s"] < 60
    sentence = r"interrupted after [\d.]+ s of 1 min"
    for place in (said.console, said.again, said.markdown, said.page):
        assert re.search(sentence, place, re.IGNORECASE), place[:1500]
    case = said.cases["run took its planned time"][0]
    assert case.tag == "skipped" and re.fullmatch(sentence, case.get("message"))


def sessions_in(folder):
    """Sessions in a run's file, which may not be there yet, or not whole."""
    with suppress(UsageError), RunReader.open(folder) as reader:
        return reader.count_sessions()
    return 0


def test_a_run_of_so_many_chats_ends_as_planned(tmp_path):
    with simulator(*TIMEOUT) as host:
        run = locust(host, tmp_path / "run", *LONG, "--chats", "20")
    assert run.returncode == 0, run.stdout + run.stderr
    said = told(run, tmp_path / "run")
    assert said.summary["end"]["by"] == "plan"
    assert "interrupted" not in said.console + said.markdown + said.page
    assert "run took its planned time" not in said.cases


def test_a_run_stopped_in_the_web_ui_says_so(tmp_path):
    folder = tmp_path / "run"
    with simulator(*TIMEOUT) as host, web_ui(host, "--run-dir", folder, "--chat-length", "1", *TIMEOUT) as ui:
        ui.start(10, run_time="60s")
        wait_for(lambda: sessions_in(folder) > 5)
        ui.json("/stop", any="thing")
        wait_for(lambda: (folder / "junit.xml").exists())
    again = report_here(folder)
    said = told(again, folder)
    assert again.returncode == 0
    assert_result(said, "not judged")
    assert said.summary["end"]["by"] == "stopped"
    assert re.search(r"stopped in the web UI after [\d.]+ s of 1 min", said.console)


def test_a_timeout_other_than_told_is_found_and_the_headline_is_about_all_drops(tmp_path):
    """The server's timeout is 2 s, told as 45; a refresh every 4 s."""
    options = ("-u", "30", "-r", "30", "-t", "12s", "--chat-length", "60", "--refresh-interval", "4")
    with simulator(*TIMEOUT) as host:
        run = locust(
            host, tmp_path / "run", *options, "--flex-disconnect-timeout", "45",
            *("--threshold", "dropped_late.rate < 99%"),
        )  # fmt: skip
    said = told(run, tmp_path / "run")
    silence = said.summary["sessions"]["common_silence"]
    assert silence["sessions"] >= 0.8 * silence["dropped"] >= 20
    assert 1.9 < silence["lower_s"] < silence["upper_s"] < 2.2
    assert_said(said, "dropped by the server (")
    assert_said(said, "about 2 s after the last answered request. The timeout of 45 s is probably wrong: run")
    assert_said(said, "`chatload probe`")
    assert "no refresh came too late" not in said.console + said.markdown + said.page


def test_the_standard_gate_passes_a_server_that_works_and_no_other(tmp_path):
    run = ("-u", "40", "-r", "40", "--chats", "330", "-t", "60s", "--chat-length", "1", *TIMEOUT, "--gate", "standard")
    with simulator(*TIMEOUT) as host:
        good = locust(host, tmp_path / "good", *run)
    said = told(good, tmp_path / "good")
    stalled = fails_by_stalls_alone(said.summary)
    assert good.returncode == 0 or stalled, good.stdout + good.stderr
    assert_result(said, said.summary["result"] if stalled else "passed")
    assert len(said.summary["thresholds"]) == 9
    with simulator(*TIMEOUT, faults=fault("status_1", chance=0.5), tmp_path=tmp_path) as host:
        bad = locust(host, tmp_path / "bad", *run)
    assert bad.returncode == 1, bad.stdout + bad.stderr
    failed = [t["metric"] for t in summary_of(tmp_path / "bad")["thresholds"] if t["result"] == "fail"]
    assert [metric for metric in failed if metric != "lateness.p99"] == ["unserved.rate"]
    again = report_here(tmp_path / "bad", "--gate", "standard", "--threshold", "unserved.rate < 90%")
    assert again.returncode == 0 or fails_by_stalls_alone(summary_of(tmp_path / "bad")), again.stdout
