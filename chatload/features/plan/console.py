"""A capacity plan for a terminal or a CI log, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console

from chatload.features.plan import drops as words
from chatload.features.plan import view as text
from chatload.features.plan.view import PlanReport
from chatload.features.report.markdown import escaped, markdown_table
from chatload.render.terminal import paper, print_line, print_table
from chatload.run.writer import replacing

_STYLES = {words.SHOWN: "green", words.MISSED: "red", words.INCONCLUSIVE: "yellow", words.NOT_MEASURED: "yellow"}
CONSTRAINTS = ("constraint", "needed", "a server", "servers", "left", "with spare", "from")
INFLUENCES = ("input", "value", "−10 %", "+10 %", "one more server at")
PEAK = ("the peak hour", "mean", "planned for")
INPUTS = ("input", "value", "from")
INFLUENCE_NOTE = (
    "Change of the load in servers when one input is 10 % lower or higher (of the percentile: the share of time above "
    "it), and the value from which on one more server is needed, within a factor of 10."
)


def render_plan(report: PlanReport, stream: IO[str], width: int = 80) -> None:
    """Write a plan to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        _sections(console, report)


def write_markdown(report: PlanReport, path: str | Path) -> None:
    """Write a plan as Markdown, whole or not at all; raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(f"{line}\n" for line in _markdown(report))


def _sections(console: Console, report: PlanReport) -> None:
    plan = report.plan
    print_line(console, text.answer(plan), "bold")
    print_line(console, text.binding(plan))
    print_line(console, text.drops(plan), _STYLES.get(plan.drops.result, ""))
    print_table(console, PEAK, text.peak_rows(plan))
    print_table(console, CONSTRAINTS, text.constraint_rows(plan), last_left=True)
    print_table(console, INFLUENCES, text.influence_rows(report))
    print_line(console, INFLUENCE_NOTE, "dim")
    print_table(console, INPUTS, text.input_rows(report), last_left=True)
    console.print()
    for note in text.notes(report):
        print_line(console, f"- {note}")
    console.print()
    print_line(console, "what this plan cannot know", "bold")
    for unknown in text.UNKNOWN:
        print_line(console, f"- {unknown}")


def _markdown(report: PlanReport) -> Iterator[str]:
    plan = report.plan
    yield from (f"### {escaped(text.answer(plan))}", "")
    yield from (f"{escaped(text.binding(plan))}.", "")
    claim = f"{escaped(text.drops(plan))}."
    yield from (f"**{claim}**" if plan.drops.result == words.MISSED else claim, "")
    yield from markdown_table(PEAK, text.peak_rows(plan))
    yield from markdown_table(CONSTRAINTS, text.constraint_rows(plan))
    yield from markdown_table(INFLUENCES, text.influence_rows(report))
    yield from (INFLUENCE_NOTE, "")
    yield from (f"- {escaped(note)}" for note in text.notes(report))
    yield from ("", "What this plan cannot know:", "")
    yield from (f"- {escaped(unknown)}" for unknown in text.UNKNOWN)
    yield from ("", "<details><summary>Inputs</summary>", "")
    yield from markdown_table(INPUTS, text.input_rows(report))
    yield "</details>"
