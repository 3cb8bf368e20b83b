"""What `chatload doctor` found, for a terminal or a CI log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console

from chatload.features.doctor.checks import CheckResult
from chatload.plain_text import printable
from chatload.render import words
from chatload.render.terminal import paper, print_line

_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red"}


def render_doctor(rows: Iterable[CheckResult], stream: IO[str], width: int = 100) -> None:
    """Write the rows: state, what was found, and below what to change; plain text where it is no terminal."""
    rows = list(rows)
    with paper(stream, width) as console:
        _rows(console, rows)


def _rows(console: Console, rows: list[CheckResult]) -> None:
    for row in rows:
        print_line(console, f"{row.state:<5} {row.name}: {row.found}", _STYLES[row.state])
        if row.change:
            # Not wrapped: it is there to be copied.
            console.print(f"      change: {printable(row.change)}", soft_wrap=True)
    bad, warn = (sum(row.state == state for row in rows) for state in ("bad", "warn"))
    said = f"{words.number(bad)} bad, {words.plural(warn, 'warning')}" if bad or warn else "nothing stands in the way"
    print_line(console, said, "bold")
