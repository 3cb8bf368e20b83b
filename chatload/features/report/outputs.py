"""All that is written about a run once it is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatload.features.report.junit import write_junit
from chatload.features.report.markdown import write_markdown
from chatload.features.report.summary import write_summary
from chatload.thresholds.gate import Gate


def write_outputs(run: str | Path, gate: Gate | None = None) -> dict[str, Any]:
    """Write summary.json, summary.md and junit.xml beside a run's file, each whole or not at all; gives
    the summary.

    gate: thresholds to judge by; the run's own by default. Raises UsageError where one cannot be written.
    report.html is not among them: drawing takes seconds, in which a generator would stand still.
    """
    summary = write_summary(run, gate)
    run_dir = Path(run) if Path(run).is_dir() else Path(run).parent
    write_markdown(run_dir, summary)
    write_junit(run_dir, summary, summary["allow_inconclusive"])
    return summary
