"""One row of the table, run by a real `locust` process and judged twice."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.badruns.rows import FOUR, LOAD, SCRIPT, Row, World
from tests.integration.processes import CHAT, fails_by_stalls_alone, locust, report_here, summary_of

#: What the runs themselves are judged by.
GATE = ("--gate", "standard")


@dataclass(frozen=True)
class Said:
    """What a command came to.

    said: all its output, in single spaces, for a console breaks lines anywhere. stalled: it did not pass only because
    this machine stood still.
    """

    code: int
    said: str
    stalled: bool


def run_row(world: World, row: Row) -> Said:
    """Start the row's server, and run locust on it."""
    folder = folder_of(world, row)
    folder.mkdir()
    script, locustfile = folder / "script.toml", folder / "locustfile.py"
    script.write_text(row.script or SCRIPT)
    locustfile.write_text(row.locustfile or CHAT.read_text())
    options = [option.format(authority=world.certificates.authority) for option in row.options]
    with row.serve(world, folder) as host:
        run = locust(
            host, folder / "run", *LOAD, "--script", script, *GATE, *options, locustfile=locustfile, timeout=100
        )  # fmt: skip
    return _said(run, folder / "run")


def judge_again(world: World, row: Row) -> Said:
    """Judge the row's run, which has ended, by the four thresholds."""
    four = [part for threshold in FOUR for part in ("--threshold", threshold)]
    folder = folder_of(world, row) / "run"
    return _said(report_here(folder, *four), folder)


def folder_of(world: World, row: Row) -> Path:
    """The row's own folder."""
    return world.folder / re.sub(r"\W+", "-", row.name)


def _said(run: subprocess.CompletedProcess[str], folder: Path) -> Said:
    stalled = (folder / "summary.json").exists() and fails_by_stalls_alone(summary_of(folder))
    return Said(run.returncode, " ".join(f"{run.stdout} {run.stderr}".split()), stalled)
