"""A comparison of runs as text: for a terminal or CI log, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from chatload.features.compare.compute import BETTER, ENOUGH_RUNS, WORSE, Comparison, Row
from chatload.features.compare.run_figures import FAMILY_TERMS, Kind, RunFigures
from chatload.features.report.markdown import aligned, escaped
from chatload.render import words
from chatload.render.terminal import paper, print_line
from chatload.run.writer import replacing

_STYLES = {WORSE: "red", BETTER: "green"}
_MINUS = "\u2212"


def render_comparison(comparison: Comparison, stream: IO[str], width: int = 80) -> None:
    """Write a comparison to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        _sections(console, comparison)


def write_markdown(comparison: Comparison, path: str | Path) -> None:
    """Write a comparison as Markdown, whole or not at all; raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.writelines(f"{line}\n" for line in _markdown(comparison))


def answer(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    base, new = len(comparison.base), len(comparison.new)
    if comparison.word is None:
        runs = f"{words.plural(base, 'run')} against {words.plural(new, 'run')}"
        if min(base, new) < ENOUGH_RUNS:
            return f"{runs}: differences only, nothing is significant; a word needs {ENOUGH_RUNS} runs a side"
        return f"{runs}: differences only, nothing could be judged"
    changes = [f"{row.metric.label} {change(row)}" for row in comparison.worse]
    if changes:
        return f"worse: {', '.join(changes)}"
    changes = [f"{row.metric.label} {change(row)}" for row in comparison.better]
    if changes:
        return f"better: {', '.join(changes)}"
    metrics = words.plural(len(comparison.judged), "metric")
    return f"no evidence of a difference that matters: {metrics}, {base} runs against {new}"


def remarks(comparison: Comparison) -> Iterator[str]:
    """What must be said with the figures: tolerances, terms, and what was left out."""
    if comparison.judged:
        tolerance = comparison.tolerance
        yield (
            f"A change matters from {_percent(tolerance.relative)} of a duration on, from "
            f"{_percent(tolerance.relative)} of the timeout for a margin, and from {_percent(tolerance.rate)} plus "
            f"{_percent(tolerance.relative)} of the lower rate for a rate. At most 5 of 100 comparisons of equal "
            "things say anything but no evidence; no evidence does not mean equal: see the intervals, which hold "
            "with 95 % confidence, each for itself."
        )
    yield f"{'; '.join(FAMILY_TERMS)}."
    yield "Figures are means over runs, geometric ones for durations; pt is percentage points."
    yield from comparison.notes


def unsound(runs: Sequence[RunFigures]) -> Iterator[str]:
    """A line for every run that is invalid or whose books do not balance."""
    for run in runs:
        if run.problems:
            yield f"INVALID: {run.run}: {'; '.join(run.problems)}"


def value(row: Row, figure: float | None) -> str:
    """A figure of a metric with its unit."""
    if figure is None:
        return "none"
    if row.metric.kind is Kind.RATE:
        return _percent(figure)
    return f"{figure:.2f}" if row.metric.kind is Kind.COUNT else _signed_seconds(figure)


def mean(row: Row, side: str) -> str:
    """The mean of a side ("base" or "new"), and whether it is only a bound."""
    figure = row.base_mean if side == "base" else row.new_mean
    is_bound = row.base_is_bound if side == "base" else row.new_is_bound
    beyond = "" if figure is None or not is_bound else "under " if row.metric.kind is Kind.MARGIN else "over "
    return beyond + value(row, figure)


def change(row: Row) -> str:
    """How much higher or lower NEW is, with its sign."""
    return "" if row.change is None else _change(row, row.change, unit=True)


def interval(row: Row) -> str:
    """The interval of the change; empty where there is none."""
    if row.interval is None:
        return ""
    low, high = row.interval
    return f"{_change(row, low, unit=False)} to {_change(row, high, unit=True)}"


def _change(row: Row, by: float, unit: bool) -> str:
    kind = row.metric.kind
    if kind is Kind.MARGIN:
        return _signed(by, f"{abs(by):.2f}") + (" s" if unit else "")
    percent = abs(100 * by)
    decimals = 2 if kind is Kind.RATE or percent < 10 else 1 if percent < 100 else 0
    digits = f"{percent:.{decimals}f}"
    suffix = " pt" if kind is Kind.RATE else " %"
    return _signed(by, digits) + (suffix if unit else "")


def _signed(by: float, digits: str) -> str:
    return f"{'+' if by > 0 else _MINUS if by < 0 else ''}{digits}" if float(digits) else digits


def _signed_seconds(seconds: float) -> str:
    return words.seconds(seconds).replace("-", _MINUS)


def _percent(share: float) -> str:
    """Three significant digits: rates side by side must differ where the runs do."""
    return f"{100 * share:.3g} %" if share < 0.9995 else f"{100 * share:.5g} %"


def _sections(console: Console, comparison: Comparison) -> None:
    for line in unsound((*comparison.base, *comparison.new)):
        print_line(console, line, "bold red")
    if comparison.differences:
        print_line(console, "settings that differ", "bold")
        for difference in comparison.differences:
            print_line(console, f"  {difference}", "yellow" if difference.defines_load else "")
        console.print()
    print_line(console, answer(comparison), f"bold {_STYLES.get(comparison.word or '', '')}".strip())
    rows = [row for row in comparison.rows if row.metric.judged]
    _table(console, rows, "judged" if comparison.judged else "the main metrics", bool(comparison.judged))
    others = [row for row in comparison.rows if not row.metric.judged and not nothing(row)]
    if others:
        _table(console, others, "for reading, not judged", False)
    console.print()
    for remark in remarks(comparison):
        print_line(console, remark, "dim")


def nothing(row: Row) -> bool:
    """A rate that was 0 in every run fills no line."""
    return not any(figure for figure in (*row.base, *row.new))


def _table(console: Console, rows: Sequence[Row], title: str, words: bool) -> None:
    intervals = any(row.interval for row in rows)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    headings = ["base", "new", "change", *(["95 % interval"] if intervals else [])]
    for name in headings:
        table.add_column(name, justify="right", no_wrap=True)
    if words:
        table.add_column("word", no_wrap=True)
    for row in rows:
        cells = [mean(row, "base"), mean(row, "new"), change(row)]
        cells += [interval(row)] if intervals else []
        word = [row.word or "not judged"] if words else []
        table.add_row(row.metric.label, *cells, *word, style=_STYLES.get(row.word or "", ""))
    console.print()
    print_line(console, title, "bold")
    console.print(table)


def _markdown(comparison: Comparison) -> Iterator[str]:
    yield f"### {escaped(answer(comparison))}"
    yield ""
    problems = list(unsound((*comparison.base, *comparison.new)))
    if problems:
        yield from (f"- **{escaped(line)}**" for line in problems)
        yield ""
    if comparison.differences:
        yield "Settings that differ:"
        yield ""
        yield from (f"- {escaped(str(difference))}" for difference in comparison.differences)
        yield ""
    rows = [row for row in comparison.rows if row.metric.judged]
    yield _markdown_table(rows, bool(comparison.judged))
    others = [row for row in comparison.rows if not row.metric.judged and not nothing(row)]
    if others:
        yield ""
        yield "<details><summary>For reading, not judged</summary>"
        yield ""
        yield _markdown_table(others, False)
        yield ""
        yield "</details>"
    yield ""
    for name, runs in (("base", comparison.base), ("new", comparison.new)):
        sessions = ", ".join(f"{escaped(run.run)} ({words.plural(run.sessions, 'session')})" for run in runs)
        yield f"- {name}: {sessions}"
    yield ""
    for remark in remarks(comparison):
        yield escaped(remark)
        yield ""


def _markdown_table(rows: Sequence[Row], words: bool) -> str:
    intervals = any(row.interval for row in rows)
    headings = ["metric", "base", "new", "change"] + ["95 % interval"] * intervals + ["word"] * words
    lines = []
    for row in rows:
        cells = [row.metric.label, mean(row, "base"), mean(row, "new"), change(row)]
        cells += [interval(row)] * intervals
        strong = f"**{row.word}**" if row.word in _STYLES else row.word or "not judged"
        lines.append([*map(escaped, cells), *[strong] * words])
    return aligned(headings, "l" + "r" * (len(headings) - 1 - words) + "l" * words, lines)
