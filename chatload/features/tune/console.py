"""A sweep of refresh intervals for a terminal or a CI log, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console

from chatload.features.report.markdown import escaped, markdown_table
from chatload.features.tune import view as text
from chatload.features.tune.view import TuneReport
from chatload.render.terminal import paper, print_line, print_table
from chatload.run.writer import replacing

_STYLES = {"recommended": "bold green", "none": "bold red", "invalid": "bold red", "inconclusive": "bold yellow"}


def render_tuning(report: TuneReport, stream: IO[str], width: int = 80) -> None:
    """Write it to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        _sections(console, report)


def write_markdown(report: TuneReport, path: str | Path) -> None:
    """Write it as Markdown, whole or not at all; raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(f"{line}\n" for line in _markdown(report))


def _sections(console: Console, report: TuneReport) -> None:
    tuning = report.tuning
    print_line(console, text.answer(tuning), _STYLES[tuning.result])
    for sentence in _said(report):
        print_line(console, sentence)
    for problem in tuning.problems[1:]:
        print_line(console, f"also: {problem}", "red")
    print_table(console, text.HEADINGS, _narrow(text.rows(tuning)), last_left=True)
    print_line(console, text.bounds_note(tuning), "dim")
    if report.model is not None:
        console.print()
        print_line(console, "the same sweep in the model, in virtual time", "bold")
        print_table(console, text.MODEL_HEADINGS, text.model_rows(report), last_left=True)
    console.print()
    for note in (*report.notes, *text.LIMITS):
        print_line(console, f"- {note}")


def _said(report: TuneReport) -> Iterator[str]:
    tuning = report.tuning
    best = tuning.recommended
    if best is not None:
        yield f"no longer one: {text.stopped(tuning)}"
        yield text.saved(tuning)
        yield f"as options: {text.settings_for(best)}"


def _narrow(rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """A range needs less room in a table."""
    for row in rows:
        yield [cell.replace(" to ", "-") for cell in row]


def _markdown(report: TuneReport) -> Iterator[str]:
    tuning = report.tuning
    yield from (f"### {escaped(text.answer(tuning))}", "")
    for sentence in (*_said(report), *(f"**{problem}**" for problem in tuning.problems[1:])):
        yield from (f"{escaped(sentence)}.", "")
    yield from markdown_table(text.HEADINGS, text.rows(tuning))
    yield from (escaped(text.bounds_note(tuning)), "")
    if report.model is not None:
        yield from ("The same sweep in the model, in virtual time:", "")
        yield from markdown_table(text.MODEL_HEADINGS, text.model_rows(report))
    yield from (f"- {escaped(note)}" for note in (*report.notes, *text.LIMITS))
