"""A comparison of runs as a document."""

from collections.abc import Iterator, Sequence

from chatload.features.compare.compute import (
    BETTER,
    ENOUGH_RUNS,
    FAMILY_TERMS,
    WORSE,
    Comparison,
    ComparisonRow,
    FigureKind,
)
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.document import Tone
from chatload.render.words import MINUS

_TONES = {WORSE: Tone.BAD, BETTER: Tone.GOOD}
_SIDE_COLOURS = {"base": "var(--c6)", "new": "var(--good)"}


def comparison_document(comparison: Comparison) -> doc.Document:
    judged = [row for row in comparison.rows if row.metric.judged]
    # Metrics whose figures are all 0 or missing are not shown.
    others = [row for row in comparison.rows if not row.metric.judged and any((*row.base, *row.new))]
    title = "Judged" if comparison.judged else "The main metrics"
    named = [
        f"{side}: " + ", ".join(f"{run.run} ({words.plural(run.sessions, 'session')})" for run in runs)
        for side, runs in (("base", comparison.base), ("new", comparison.new))
    ]
    drawn = [row for row in judged if any(figure is not None for figure in (*row.base, *row.new))]
    sections = [
        doc.Section(title, (_metrics(title, judged, bool(comparison.judged)),)),
        doc.Section("One mark per run", [_strip(row) for row in drawn]),
        doc.Section("Runs", (doc.Bullets(named),)),
        doc.Section("How to read this", [doc.Sentence(remark, Tone.SOFT) for remark in _remarks(comparison)]),
    ]
    if others:
        sections.insert(2, doc.Section("Not judged", (_metrics("Not judged", others, False),), minor=True))
    if comparison.differences:
        rows = [
            (item.name, ", ".join(item.base), ", ".join(item.new), "yes" if item.defines_load else "no")
            for item in comparison.differences
        ]
        title, headings = "Settings that differ", ("setting", "base", "new", "changes the load")
        sections.insert(0, doc.Section(title, (doc.table(title, headings, rows, sides="lwwl"),)))
    invalid = [
        doc.Callout("invalid", f"{run.run}: {'; '.join(run.problems)}")
        for run in (*comparison.base, *comparison.new)
        if run.problems
    ]
    answer = doc.Sentence(_answer(comparison), _TONES.get(comparison.word or "", Tone.PLAIN))
    return doc.Document(answer, sections, lead=invalid)


def _metrics(name: str, rows: Sequence[ComparisonRow], judged: bool) -> doc.Table:
    """Return a table of metrics. judged: with a column for better, worse or no evidence."""
    intervals = any(row.interval for row in rows)
    headings = ["metric", "base", "new", "change", *["95 % interval"] * intervals, *["result"] * judged]
    lines: list[list[doc.TableCell | str]] = []
    for row in rows:
        base, new = _mean(row, row.base_mean, row.base_is_bound), _mean(row, row.new_mean, row.new_is_bound)
        word = doc.TableCell(row.word or "not judged", _TONES.get(row.word or "", Tone.PLAIN), row.word in _TONES)
        cells = [row.metric.label, base, new, _change(row, row.change), *[_interval(row)] * intervals]
        lines.append([*cells, *[word] * judged])
    return doc.table(name, headings, lines, "lrrr" + "r" * intervals + "l" * judged)


def _answer(comparison: Comparison) -> str:
    base, new = len(comparison.base), len(comparison.new)
    if comparison.word is None:
        runs = f"{words.plural(base, 'run')} against {words.plural(new, 'run')}"
        if min(base, new) < ENOUGH_RUNS:
            return f"{runs}: not judged. A verdict (better, worse) needs at least {ENOUGH_RUNS} runs per side"
        return f"{runs}: nothing could be judged"
    changed = [row for row in comparison.rows if row.word == comparison.word]
    if comparison.word in _TONES:
        return f"{comparison.word}: " + ", ".join(f"{row.metric.label} {_change(row, row.change)}" for row in changed)
    metrics = words.plural(len(comparison.judged), "metric")
    return f"no evidence of a difference that matters: {metrics}, {base} runs against {new}"


def _remarks(comparison: Comparison) -> Iterator[str]:
    if comparison.judged:
        relative, rate = _percent(comparison.tolerance.relative), _percent(comparison.tolerance.rate)
        yield (
            f"A change matters if it is larger than {relative} of a duration, {relative} of the timeout for a margin, "
            f"or {rate} plus {relative} of the lower rate for a rate. Of 100 comparisons of equal things, at most "
            "5 say better or worse. No evidence does not mean equal: see the intervals. Each interval holds with 95 % "
            "confidence by itself."
        )
    yield f"{'; '.join(FAMILY_TERMS)}."
    yield "Figures are means over runs, geometric means for durations. pt is percentage points."
    yield from comparison.notes


def value(row: ComparisonRow, figure: float | None) -> str:
    if figure is None:
        return "none"
    if row.metric.kind is FigureKind.RATE:
        return _percent(figure)
    return f"{figure:.2f}" if row.metric.kind is FigureKind.COUNT else words.with_minus(words.seconds(figure))


def _mean(row: ComparisonRow, mean: float | None, is_bound: bool) -> str:
    beyond = "" if mean is None or not is_bound else "under " if row.metric.kind is FigureKind.MARGIN else "over "
    return beyond + value(row, mean)


def _interval(row: ComparisonRow) -> str:
    if row.interval is None:
        return ""
    return f"{_change(row, row.interval[0], unit=False)} to {_change(row, row.interval[1])}"


def _change(row: ComparisonRow, by: float | None, unit: bool = True) -> str:
    """Return how much higher or lower NEW is, with its sign; empty for None."""
    if by is None:
        return ""
    kind, percent = row.metric.kind, abs(100 * by)
    suffix = {FigureKind.MARGIN: " s", FigureKind.RATE: " pt"}.get(kind, " %")
    decimals = 2 if not kind.is_ratio or percent < 10 else 1 if percent < 100 else 0
    amount = abs(by) if kind is FigureKind.MARGIN else percent
    digits = f"{amount:.{decimals}f}"
    sign = "+" if by > 0 else MINUS
    return (sign if float(digits) else "") + digits + (suffix if unit else "")


def _percent(share: float) -> str:
    """Three significant digits: rates side by side must differ where the runs do."""
    return f"{100 * share:.3g} %" if share < 0.9995 else f"{100 * share:.5g} %"


def _strip(row: ComparisonRow) -> doc.Chart:
    """Return a mark for each run, a line for each side."""
    sides = {"base": row.base, "new": row.new}
    scale = 100 if row.metric.kind is FigureKind.RATE else 1
    points = [
        {"side": side, "value": figure * scale}
        for side, figures in sides.items()
        for figure in figures
        if figure is not None
    ]
    unit = {FigureKind.RATE: "%", FigureKind.COUNT: ""}.get(row.metric.kind, "s")
    across = charts.x("value", "", scale={"zero": False, "padding": 12, "nice": True})
    across["axis"] = {"grid": True, "tickCount": 5, "title": None, "labelExpr": f"datum.label + ' {unit}'"}
    up = charts.names("side", list(_SIDE_COLOURS))
    up["axis"]["minExtent"] = 40
    shapes = {"domain": list(_SIDE_COLOURS), "range": ["circle", "diamond"]}
    shape = {"field": "side", "type": "nominal", "legend": None, "scale": shapes}
    colour = {**charts.colour("side", _SIDE_COLOURS), "legend": None}
    mark = {"type": "point", "size": 70, "filled": True, "opacity": 0.75}
    spec = charts.layer(points, mark, x=across, y=up, color=colour, shape=shape)
    shows = "; ".join(f"{side} {', '.join(value(row, figure) for figure in sides[side])}" for side in sides)
    label = f"{row.metric.label}, one mark per run: {shows}"
    return doc.Chart(row.metric.label, {"height": {"step": 26}, **spec}, shows, label)
