"""The outcome of a run, printed when everything else in the process has ended, and the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from locust import log as locust_log

from chatload import exit_codes
from chatload.errors import ChatloadError, drop_output
from chatload.features.report.summary import exit_code, summarize
from chatload.features.report.view import summary_document
from chatload.render.terminal import render
from chatload.run.reader import RunReader
from chatload.swarm.coordinator import RunCoordinator
from chatload.swarm.run import Run


def report(run: Run, code: int) -> int:
    """Write the last outputs and print the summary (`quit`).

    Args:
        run: nothing is printed for that of a worker.
        code: Locust's exit code.

    Returns:
        The exit code of the process.
    """
    coordinator = run.role.coordinator
    if coordinator is None:
        return code
    for write in coordinator.last_outputs:
        try:
            write()
        except ChatloadError as error:
            coordinator.fail(error)
    if coordinator.run_dir is None:
        return code if coordinator.error is None else exit_codes.INVALID
    try:
        with RunReader.open(coordinator.run_dir) as reader:
            summary = summarize(reader)
    except ChatloadError as error:
        coordinator.fail(error)
        return exit_codes.INVALID
    try:
        own = _print(coordinator, coordinator.run_dir, summary)
    except OSError:
        # The reader of the output is gone (| head, a closed terminal). The run's files have it all.
        drop_output()
        own = _print(coordinator, coordinator.run_dir, summary)
    if coordinator.error is not None:
        return exit_codes.INVALID
    return exit_code(summary) or own or code


def _print(coordinator: RunCoordinator, run_dir: Path, summary: dict[str, Any]) -> int:
    """Print the summary and what the load controller found; return the latter's exit code."""
    print(flush=True)
    render(summary_document(summary), sys.stdout)
    own = exit_codes.PASSED
    if coordinator.load is not None:
        try:
            own = coordinator.load.report(run_dir, sys.stdout)
        except ChatloadError as error:
            coordinator.fail(error)
            own = exit_codes.INVALID
    print(f"\nrun: {run_dir}", flush=True)
    return own


def exit_code_for_locust() -> int:
    """Return Locust's exit code. Failed requests are facts of a run here, not errors of it."""
    return exit_codes.WRONG_USAGE if locust_log.unhandled_greenlet_exception else exit_codes.PASSED
