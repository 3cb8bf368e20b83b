"""A capacity plan for a terminal or a CI log, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from chatload.analysis import plan_drops as words
from chatload.report import plan_text as text
from chatload.report.comparison import _escaped
from chatload.report.console import _console, _line
from chatload.report.plan_text import PlanReport
from chatload.store.writer import replacing

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
    console = _console(stream, width)
    with console.capture() as captured:
        _sections(console, report)
    # rich fills every line of a table up with blanks
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def write_markdown(report: PlanReport, path: str | Path) -> None:
    """Write a plan as Markdown, whole or not at all; raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(f"{line}\n" for line in _markdown(report))


def _sections(console: Console, report: PlanReport) -> None:
    plan = report.plan
    _line(console, text.answer(plan), "bold")
    _line(console, text.binding(plan))
    _line(console, text.drops(plan), _STYLES.get(plan.drops.result, ""))
    _table(console, PEAK, text.peak_rows(plan))
    _table(console, CONSTRAINTS, text.constraint_rows(plan), last_left=True)
    _table(console, INFLUENCES, text.influence_rows(report))
    _line(console, INFLUENCE_NOTE, "dim")
    _table(console, INPUTS, text.input_rows(report), last_left=True)
    console.print()
    for note in text.notes(report):
        _line(console, f"- {note}")
    console.print()
    _line(console, "what this plan cannot know", "bold")
    for unknown in text.UNKNOWN:
        _line(console, f"- {unknown}")


def _table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], last_left: bool = False) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        left = i == 0 or (last_left and i == len(headings) - 1)
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)


def _markdown(report: PlanReport) -> Iterator[str]:
    plan = report.plan
    yield from (f"### {_escaped(text.answer(plan))}", "")
    yield from (f"{_escaped(text.binding(plan))}.", "")
    claim = f"{_escaped(text.drops(plan))}."
    yield from (f"**{claim}**" if plan.drops.result == words.MISSED else claim, "")
    yield from _markdown_table(PEAK, text.peak_rows(plan))
    yield from _markdown_table(CONSTRAINTS, text.constraint_rows(plan))
    yield from _markdown_table(INFLUENCES, text.influence_rows(report))
    yield from (INFLUENCE_NOTE, "")
    yield from (f"- {_escaped(note)}" for note in text.notes(report))
    yield from ("", "What this plan cannot know:", "")
    yield from (f"- {_escaped(unknown)}" for unknown in text.UNKNOWN)
    yield from ("", "<details><summary>Inputs</summary>", "")
    yield from _markdown_table(INPUTS, text.input_rows(report))
    yield "</details>"


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"| --- |{' ---: |' * (len(headings) - 1)}"
    yield from (f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows)
    yield ""
