"""One row of the table, run by a real `locust` process and judged twice."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.badruns.rows import FOUR, LOAD, SCRIPT, Row, World
from tests.integration.processes import CHAT, chatload, locust

#: What the runs themselves are judged by.
GATE = ("--gate", "standard")


@dataclass(frozen=True)
class Said:
    """What a command came to. said: all its output, in single spaces, for a console breaks lines anywhere."""

    code: int
    said: str


@dataclass(frozen=True)
class Judged:
    """A run, judged twice: by the standard gate as it ended, and by the four thresholds later."""

    first: Said
    second: Said


def run_row(world: World, row: Row) -> Judged:
    """Start the row's server, run locust on it, then judge the run anew."""
    folder = world.folder / re.sub(r"\W+", "-", row.name)
    folder.mkdir()
    script, locustfile = folder / "script.toml", folder / "locustfile.py"
    script.write_text(row.script or SCRIPT)
    locustfile.write_text(row.locustfile or CHAT.read_text())
    options = [option.format(authority=world.certificates.authority) for option in row.options]
    with row.serve(world, folder) as host:
        run = locust(
            host, folder / "run", *LOAD, "--script", script, *GATE, *options, locustfile=locustfile, timeout=100
        )  # fmt: skip
    four = [part for threshold in FOUR for part in ("--threshold", threshold)]
    report = chatload("report", folder / "run", *four, timeout=150)
    return Judged(_said(run.returncode, run.stdout, run.stderr), _said(report.returncode, report.stdout, report.stderr))


def _said(code: int, *texts: str) -> Said:
    return Said(code, " ".join(" ".join(texts).split()))
