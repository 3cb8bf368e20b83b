"""What came of a run: said when everything else in its process is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from locust import log as locust_log

from chatload import exit_codes
from chatload.errors import ChatloadError
from chatload.features.report.summary import exit_code, summarize
from chatload.features.report.view import summary_document
from chatload.plain_text import drop_output
from chatload.render.terminal import render
from chatload.run.reader import RunReader
from chatload.swarm.run import Run


def report(run: Run, code: int) -> int:
    """quit: write and print what came of it; returns the exit code, given Locust's own `code`."""
    if run.is_worker:
        return code
    for write in run.last_outputs:
        try:
            write()
        except ChatloadError as error:
            run.spoilt(error)
    if run.run_dir is None:
        return code if run.error is None else exit_codes.INVALID
    try:
        with RunReader.open(run.run_dir) as reader:
            summary = summarize(reader)
    except ChatloadError as error:
        run.spoilt(error)
        return exit_codes.INVALID
    try:
        own = _say(run, run.run_dir, summary)
    except OSError:
        # Nobody reads it any more (| head, a closed terminal): it is in the run's files, and the exit code is due.
        drop_output()
        own = _say(run, run.run_dir, summary)
    if run.error is not None:
        return exit_codes.INVALID
    return exit_code(summary) or own or code


def _say(run: Run, run_dir: Path, summary: dict[str, Any]) -> int:
    print(flush=True)
    render(summary_document(summary), sys.stdout)
    own = _report_steering(run, run_dir)
    print(f"\nrun: {run_dir}", flush=True)
    return own


def _report_steering(run: Run, run_dir: Path) -> int:
    if run.steering is None:
        return exit_codes.PASSED
    try:
        return run.steering.report(run_dir, sys.stdout)
    except ChatloadError as error:
        run.spoilt(error)
        return exit_codes.INVALID


def locusts_code() -> int:
    """What Locust should exit with, failed requests being facts here and not failures."""
    return exit_codes.WRONG_USAGE if locust_log.unhandled_greenlet_exception else exit_codes.PASSED
