"""A forecast for a terminal or a CI log, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chatload.features.forecast import view as text
from chatload.features.forecast.view import Report
from chatload.features.report.markdown import escaped, markdown_table
from chatload.render.terminal import paper, print_line, print_table
from chatload.run.writer import replacing

_SPLIT = (
    "where the drops come from: calm, in % of all chats; each incident of the run, in % of the sessions open; and what "
    "the rate may be given how little a run of that length shows"
)


def render_forecast(report: Report, stream: IO[str], width: int = 80) -> None:
    """Write a forecast to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        good = report["goodness"]["reproduces"]
        print_line(console, text.fit_line(report), "green" if good else "red")
        print_table(console, text.GOODNESS, text.goodness_rows(report), last_left=True)
        console.print()
        print_line(console, text.answer(report), "bold" if good else "bold red")
        if report["predictions"]:
            print_table(console, text.PREDICTIONS, text.prediction_rows(report))
            console.print()
            print_line(console, _SPLIT, "dim")
            print_table(console, text.INCIDENTS, text.incident_rows(report))
            console.print()
        for held in text.held_lines(report):
            print_line(console, f"- {held}")
        for heading, lines in _lists(report):
            console.print()
            print_line(console, heading, "bold")
            for line in lines:
                print_line(console, f"- {line}")


def _lists(report: Report) -> Iterator[tuple[str, list[str]]]:
    yield "what is assumed", report["assumed"]
    yield "what this forecast cannot know", report["unknown"]


def write_markdown(report: Report, path: str | Path) -> None:
    """Write a forecast as Markdown, whole or not at all; raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(f"{line}\n" for line in _markdown(report))


def _markdown(report: Report) -> Iterator[str]:
    yield from (f"### {escaped(text.fit_line(report))}", "")
    yield from markdown_table(text.GOODNESS, text.goodness_rows(report))
    yield from (f"**{escaped(text.answer(report))}**", "")
    if report["predictions"]:
        yield from markdown_table(text.PREDICTIONS, text.prediction_rows(report))
        yield from (f"{_SPLIT[0].upper()}{_SPLIT[1:]}.", "")
        yield from markdown_table(text.INCIDENTS, text.incident_rows(report))
    yield from (f"- {escaped(line)}" for line in text.held_lines(report))
    for heading, lines in _lists(report):
        yield from ("", f"{heading[0].upper()}{heading[1:]}:", "")
        yield from (f"- {escaped(line)}" for line in lines)
