"""A comparison of runs as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chatload.features.compare.compute import BETTER, ENOUGH_RUNS, WORSE, Comparison, ComparisonRow
from chatload.features.compare.run_figures import FAMILY_TERMS, FigureKind, RunFigures
from chatload.render import charts, words
from chatload.render.charts import Spec
from chatload.render.document import (
    Block,
    Bullets,
    Callout,
    Chart,
    Document,
    Section,
    Sentence,
    Table,
    TableCell,
    TableRow,
    Tone,
    columns,
    table,
)
from chatload.render.words import MINUS

_TONES = {WORSE: Tone.BAD, BETTER: Tone.GOOD}
_SIDE_COLOURS = {"base": "var(--c6)", "new": "var(--good)"}


def comparison_document(comparison: Comparison) -> Document:
    """Return the comparison as a document."""
    judged = [row for row in comparison.rows if row.metric.judged]
    others = [row for row in comparison.rows if not row.metric.judged and not nothing(row)]
    title = "Judged" if comparison.judged else "The main metrics"
    sections = [
        Section(title, (_metrics(title, judged, words=bool(comparison.judged)),)),
        Section(
            "One mark per run", [strip(row) for row in judged if any(f is not None for f in (*row.base, *row.new))]
        ),
        Section("Runs", (Bullets([f"{side}: {_named(runs)}" for side, runs in _sides(comparison)]),)),
        Section("How to read this", [Sentence(remark, Tone.SOFT) for remark in remarks(comparison)]),
    ]
    if others:
        sections.insert(2, Section("Not judged", (_metrics("Not judged", others, words=False),), minor=True))
    if comparison.differences:
        sections.insert(0, Section("Settings that differ", (_differences(comparison),)))
    return Document(
        answer=Sentence(answer(comparison), _TONES.get(comparison.word or "", Tone.PLAIN)),
        lead=[
            Callout("invalid", f"{run.run}: {'; '.join(run.problems)}")
            for run in (*comparison.base, *comparison.new)
            if run.problems
        ],
        sections=sections,
    )


def _sides(comparison: Comparison) -> tuple[tuple[str, Sequence[RunFigures]], ...]:
    return ("base", comparison.base), ("new", comparison.new)


def _named(runs: Sequence[RunFigures]) -> str:
    return ", ".join(f"{run.run} ({words.plural(run.sessions, 'session')})" for run in runs)


def _differences(comparison: Comparison) -> Block:
    rows = [
        (item.name, ", ".join(item.base), ", ".join(item.new), "yes" if item.defines_load else "no")
        for item in comparison.differences
    ]
    return table("Settings that differ", ("setting", "base", "new", "changes the load"), rows, sides="lwwl")


def _metrics(name: str, rows: Sequence[ComparisonRow], words: bool) -> Table:
    """Return a table of metrics. words: with a column for better, worse or no evidence."""
    intervals = any(row.interval for row in rows)
    headings = ["metric", "base", "new", "change", *["95 % interval"] * intervals, *["result"] * words]
    sides = "lrrr" + "r" * intervals + "l" * words
    lines = []
    for row in rows:
        cells: list[TableCell | str] = [row.metric.label, mean(row, "base"), mean(row, "new"), change(row)]
        cells += [interval(row)] * intervals
        cells += [
            TableCell(row.word or "not judged", _TONES.get(row.word or "", Tone.PLAIN), row.word in _TONES)
        ] * words
        lines.append(TableRow(cells))
    return Table(name, columns(headings, sides), lines)


def answer(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    base, new = len(comparison.base), len(comparison.new)
    if comparison.word is None:
        runs = f"{words.plural(base, 'run')} against {words.plural(new, 'run')}"
        if min(base, new) < ENOUGH_RUNS:
            return f"{runs}: not judged. A verdict (better, worse) needs at least {ENOUGH_RUNS} runs per side"
        return f"{runs}: nothing could be judged"
    changes = [f"{row.metric.label} {change(row)}" for row in comparison.worse]
    if changes:
        return f"worse: {', '.join(changes)}"
    changes = [f"{row.metric.label} {change(row)}" for row in comparison.better]
    if changes:
        return f"better: {', '.join(changes)}"
    metrics = words.plural(len(comparison.judged), "metric")
    return f"no evidence of a difference that matters: {metrics}, {base} runs against {new}"


def remarks(comparison: Comparison) -> Iterator[str]:
    """Yield remarks on the figures: tolerances, terms, and what was left out."""
    if comparison.judged:
        tolerance = comparison.tolerance
        yield (
            f"A change matters if it is larger than {_percent(tolerance.relative)} of a duration, "
            f"{_percent(tolerance.relative)} of the timeout for a margin, or {_percent(tolerance.rate)} plus "
            f"{_percent(tolerance.relative)} of the lower rate for a rate. Of 100 comparisons of equal things, at most "
            "5 say better or worse. No evidence does not mean equal: see the intervals. Each interval holds with 95 % "
            "confidence by itself."
        )
    yield f"{'; '.join(FAMILY_TERMS)}."
    yield "Figures are means over runs, geometric means for durations. pt is percentage points."
    yield from comparison.notes


def value(row: ComparisonRow, figure: float | None) -> str:
    """A figure of a metric with its unit."""
    if figure is None:
        return "none"
    if row.metric.kind is FigureKind.RATE:
        return _percent(figure)
    return f"{figure:.2f}" if row.metric.kind is FigureKind.COUNT else words.with_minus(words.seconds(figure))


def mean(row: ComparisonRow, side: str) -> str:
    """The mean of a side ("base" or "new"), and whether it is only a bound."""
    figure = row.base_mean if side == "base" else row.new_mean
    is_bound = row.base_is_bound if side == "base" else row.new_is_bound
    beyond = "" if figure is None or not is_bound else "under " if row.metric.kind is FigureKind.MARGIN else "over "
    return beyond + value(row, figure)


def change(row: ComparisonRow) -> str:
    """How much higher or lower NEW is, with its sign."""
    return "" if row.change is None else _change(row, row.change, unit=True)


def interval(row: ComparisonRow) -> str:
    """The interval of the change; empty where there is none."""
    if row.interval is None:
        return ""
    low, high = row.interval
    return f"{_change(row, low, unit=False)} to {_change(row, high, unit=True)}"


def _change(row: ComparisonRow, by: float, unit: bool) -> str:
    kind = row.metric.kind
    if kind is FigureKind.MARGIN:
        return _signed(by, f"{abs(by):.2f}") + (" s" if unit else "")
    percent = abs(100 * by)
    decimals = 2 if kind is FigureKind.RATE or percent < 10 else 1 if percent < 100 else 0
    digits = f"{percent:.{decimals}f}"
    suffix = " pt" if kind is FigureKind.RATE else " %"
    return _signed(by, digits) + (suffix if unit else "")


def _signed(by: float, digits: str) -> str:
    return f"{'+' if by > 0 else MINUS if by < 0 else ''}{digits}" if float(digits) else digits


def _percent(share: float) -> str:
    """Three significant digits: rates side by side must differ where the runs do."""
    return f"{100 * share:.3g} %" if share < 0.9995 else f"{100 * share:.5g} %"


def nothing(row: ComparisonRow) -> bool:
    """Return whether all figures of a metric are 0 or missing: it is not shown."""
    return not any(figure for figure in (*row.base, *row.new))


def strip(row: ComparisonRow) -> Chart:
    """Return a mark for each run, a line for each side."""
    points = [
        {"side": side, "value": figure * 100 if row.metric.kind is FigureKind.RATE else figure}
        for side, figures in (("base", row.base), ("new", row.new))
        for figure in figures
        if figure is not None
    ]
    listed = {
        side: ", ".join(value(row, figure) for figure in figures)
        for side, figures in (("base", row.base), ("new", row.new))
    }
    shows = f"base {listed['base']}; new {listed['new']}"
    return Chart(row.metric.label, _strip(row, points), shows, f"{row.metric.label}, one mark per run: {shows}")


def _strip(row: ComparisonRow, points: list[dict[str, Any]]) -> Spec:
    unit = {FigureKind.RATE: "%", FigureKind.COUNT: ""}.get(row.metric.kind, "s")
    across = charts.x("value", "", scale={"zero": False, "padding": 12, "nice": True})
    across["axis"] = {"grid": True, "tickCount": 5, "title": None, "labelExpr": f"datum.label + ' {unit}'"}
    up = charts.names("side", list(_SIDE_COLOURS))
    up["axis"]["minExtent"] = 40
    shapes = {"domain": list(_SIDE_COLOURS), "range": ["circle", "diamond"]}
    return {
        "height": {"step": 26},
        "data": {"values": points},
        "mark": {"type": "point", "size": 70, "filled": True, "opacity": 0.75},
        "encoding": {
            "x": across,
            "y": up,
            "color": {**charts.colour("side", _SIDE_COLOURS), "legend": None},
            "shape": {"field": "side", "type": "nominal", "legend": None, "scale": shapes},
        },
    }
