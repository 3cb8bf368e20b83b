"""The process that draws the page of an ended run: what is said if it cannot."""

import logging

from chatload.swarm.report_process import ReportProcess
from tests.virtual.million import make


def test_the_page_of_a_run_is_written_by_another_process(tmp_path, caplog):
    make(tmp_path / "run", 50)
    with caplog.at_level(logging.INFO, "chatload"):
        report = ReportProcess(tmp_path / "run")
        assert report.wait() and report.wait()
    assert report.page == tmp_path / "run" / "report.html" and "</html>" in report.page.read_text()
    assert f"report: {report.page}" in caplog.text


def test_a_page_that_cannot_be_written_is_a_warning_with_its_reason(tmp_path, caplog):
    make(tmp_path / "run", 50)
    (tmp_path / "run" / "report.html").mkdir()
    report = ReportProcess(tmp_path / "run")
    assert not report.wait()
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "report.html was not written (" in said and f"`chatload report {tmp_path / 'run'}` writes it" in said
