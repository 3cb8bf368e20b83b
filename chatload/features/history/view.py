"""A history of runs as a document."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from chatload.features.history.compute import Figure, History, LevelChange, MetricHistory, SinceResult
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.document import Badge, Tone
from chatload.run.settings import settings_differences
from chatload.thresholds.metrics import Metric

_TONES = {SinceResult.WORSE: Tone.BAD, SinceResult.BETTER: Tone.GOOD, SinceResult.TOO_FEW: Tone.WARN}
_BARS = "▁▂▃▄▅▆▇█"
#: The number of bars of a timeline in a terminal.
_WIDTH = 20
#: A smaller correlation of runs is not mentioned.
_ALIKE = 0.1
_COLOURS = {"run": "var(--good)", "only a bound": "var(--warn)"}


def history_document(history: History) -> doc.Document:
    # What is worse comes first, then what changed.
    ordered = sorted(history.metrics, key=lambda row: (row.result is not SinceResult.WORSE, not row.changes))
    changed = [row for row in ordered if row.changes]
    # The table says it all of a metric that was the same in all runs.
    varied = [row for row in ordered if len({figure.value for figure in row.figures if figure is not None}) > 1]
    charts = [_chart(row, history) for row in varied or ordered[:1]]
    sections = [
        doc.Section("Metrics", (_metrics(history, ordered),)),
        *([doc.Section("One mark per run", (doc.SideBySide(charts[1:]),))] if charts[1:] else []),
        doc.Section("How to read this", [doc.Sentence(remark, Tone.SOFT) for remark in _remarks(history)]),
    ]
    if changed:
        sections.insert(1, doc.Section("Changes", (_changes(history, changed),)))
    if history.left_out:
        items = [f"{left.run}: {left.why}" for left in history.left_out]
        sections.insert(-1, doc.Section("Runs left out", (doc.Bullets(items),)))
    tone = Tone.BAD if history.worse else Tone.PLAIN if history.is_decided else Tone.WARN
    badge = Badge("worse" if history.worse else "not worse" if history.is_decided else "inconclusive", tone)
    untested = [
        doc.Callout("left out", f"the last run, {run}: nothing can be concluded from it") for run in history.untested
    ]
    return doc.Document(
        doc.Sentence(_answer(history), tone),
        sections,
        badge,
        untested,
        title="History of runs",
        tiles=list(_tiles(history)),
        overview=charts[0] if charts else None,
    )


def _tiles(history: History) -> Iterator[doc.Tile]:
    """Yield runs, what is worse and better, changes, and what can be found."""
    left = f"{words.number(len(history.left_out))} left out" if history.left_out else "none left out"
    yield doc.Tile("runs", words.number(len(history.runs)), f"judged since {history.runs[history.since].run}; {left}")
    for name, result in (("worse", SinceResult.WORSE), ("better", SinceResult.BETTER)):
        count = sum(row.result is result for row in history.metrics)
        tone = _TONES[result] if count else Tone.PLAIN
        yield doc.Tile(name, words.number(count), f"of {words.plural(len(history.metrics), 'metric')}", tone)
    changes = sum(len(row.changes) for row in history.metrics)
    yield doc.Tile("changes", words.number(changes), "of level, over all runs")
    yield doc.Tile("confidence", words.confidence(history.confidence), "that a history without changes shows none")
    if history.needed:
        yield doc.Tile("needed", words.plural(history.needed, "more run"), "until a change can be found", Tone.WARN)


def _answer(history: History) -> str:
    since = history.runs[history.since].run
    if history.worse:
        return f"since {since}: " + ", ".join(f"{row.metric.name} {_since(row)}" for row in history.worse)
    seen = f"{words.plural(len(history.metrics), 'metric')} in {words.plural(len(history.runs), 'run')}"
    if history.is_decided:
        return f"nothing is worse than at {since}: {seen}"
    if history.unmeasured or not history.metrics:
        return f"no run measured {', '.join(history.unmeasured) or 'any of the metrics'}"
    if history.untested:
        return f"nothing can be concluded from the last run, {history.untested[-1]}"
    more = words.plural(history.needed, "more run")
    return f"too few runs after {since} to find a change: {seen}. {more} with this load are needed"


def _metrics(history: History, ordered: Sequence[MetricHistory]) -> doc.Table:
    since = history.runs[history.since].run
    columns = [
        doc.TableColumn("metric", "l"),
        doc.TableColumn("timeline", "l"),
        doc.TableColumn("then"),
        doc.TableColumn("now"),
        doc.TableColumn("result", "l"),
    ]
    rows = []
    for row in ordered:
        tone = _TONES.get(row.result, Tone.PLAIN)
        result = doc.TableCell(row.result.value, tone, row.result is SinceResult.WORSE)
        levels = [_value(row.metric, level) for level in (row.then, row.now)]
        rows.append(doc.TableRow([row.metric.name, _sparkline(row.figures), *levels, result]))
    caption = f"then: the level at {since}; now: the level of the last runs. Levels are medians of runs"
    return doc.Table("Metrics", columns, rows, caption)


def _sparkline(figures: Sequence[Figure | None]) -> str:
    """Return a bar for each run; for each group of neighbouring runs if there are many. A blank: not measured."""
    size = -(-len(figures) // _WIDTH)
    groups = [[f.value for f in figures[i : i + size] if f is not None] for i in range(0, len(figures), size)]
    heights = [median(group) if group else None for group in groups]
    known = [height for height in heights if height is not None]
    low, high = min(known), max(known)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(" " if height is None else _BARS[round((height - low) / step)] for height in heights)


def _changes(history: History, rows: Sequence[MetricHistory]) -> doc.Table:
    """Return each change, the first run after it, and the settings in which that run differs from the one before."""
    lines = []
    for row in rows:
        for change in row.changes:
            run = history.runs[change.first]
            differ = settings_differences([history.runs[change.first - 1].settings], [run.settings])
            note = "; ".join(f"{item.label} {item.base[0]}, then {item.new[0]}" for item in differ)
            before, after = (_value(row.metric, level) for level in (change.before, change.after))
            cells = [row.metric.name, run.run, words.instant(run.started_at, "%Y-%m-%d"), before, after]
            lines.append(doc.TableRow([*cells, _size(row.metric, change.before, change.after)], note=note))
    columns = [
        doc.TableColumn("metric", "l"),
        doc.TableColumn("first run after", "l"),
        doc.TableColumn("date", "l", optional=True),
        doc.TableColumn("before"),
        doc.TableColumn("after"),
        doc.TableColumn("change"),
    ]
    return doc.Table("Changes", columns, lines)


def _remarks(history: History) -> Iterator[str]:
    least = history.least
    yield (
        f"Of 100 histories without a change, at most {100 * (1 - history.confidence):.3g} show one, in all metrics "
        "together. A history that is made again every night has that chance anew with each run."
    )
    if history.correlation >= _ALIKE:
        factor = (1 + history.correlation) / (1 - history.correlation)
        yield (
            f"Runs that follow each other may correlate by up to {history.correlation:.2f}: {len(history.runs)} runs "
            f"are worth {max(round(len(history.runs) / factor), 1)} independent ones."
        )
    yield (
        f"A change matters if it is at least {_percent(least.relative)} of a duration, {_percent(least.relative)} of "
        f"the timeout for a margin, or {_percent(least.rate)} plus {_percent(least.relative)} of the lower rate for a "
        "rate. Smaller changes are not shown."
    )
    if any(row.metric.kind == "hourly rate" for row in history.metrics):
        yield f"A rate per hour matters from {least.hourly:g} plus {_percent(least.relative)} of the lower rate on."
    if len(history.runs) > _WIDTH:
        yield f"A bar of a timeline is the median of up to {-(-len(history.runs) // _WIDTH)} runs."
    yield "The first run after a change is an estimate: the change may have come a few runs earlier or later."


def _since(row: MetricHistory) -> str:
    """Return what became of a metric, as in "+62 %, 52 ms to 84 ms, from nightly-20 on"."""
    levels = f"{_value(row.metric, row.then)} to {_value(row.metric, row.now)}"
    return f"{_size(row.metric, row.then, row.now)} ({levels})"


def _value(metric: Metric, value: float) -> str:
    if metric.kind == "rate":
        return _percent(value)
    return words.with_minus(words.seconds(value)) if metric.kind == "duration" else f"{value:.4g}"


def _percent(share: float) -> str:
    """Three significant digits; only 0 and 1 are 0 % and 100 %."""
    return f"{100 * share:.3g} %" if share in (0, 1) or 1e-6 <= share < 0.99 else words.percent(share)


def _size(metric: Metric, before: float, after: float) -> str:
    """Return a change with its sign: in points of a rate, in seconds of a margin, in percent of all others."""
    sign = words.MINUS if after < before else "+"
    if metric.kind == "rate":
        return f"{sign}{100 * abs(after - before):.3g} pt"
    if metric.subject == "margin" or before <= 0:
        return f"{sign}{_value(metric, abs(after - before))}"
    return f"{sign}{100 * abs(after / before - 1):.0f} %"


def _chart(row: MetricHistory, history: History) -> doc.Chart:
    """Return a mark for each run, and a line for each level."""
    metric, scale, unit = row.metric, 1.0, "per hour" if row.metric.kind == "hourly rate" else ""
    if metric.kind in ("rate", "duration"):
        largest = max(abs(figure.value) for figure in row.figures if figure is not None)
        scale, unit = (100.0, "%") if metric.kind == "rate" else (1000.0, "ms") if largest < 1 else (1.0, "s")
    points: list[dict[str, Any]] = []
    cells = []
    for number, (run, figure) in enumerate(zip(history.runs, row.figures, strict=True), 1):
        if figure is None:
            continue
        said = f"{_value(metric, figure.value)}{', only a bound' if figure.beyond else ''}"
        what = "only a bound" if figure.beyond else "run"
        tip = f"{run.run}, {words.instant(run.started_at, '%Y-%m-%d %H:%M UTC')}: {said}"
        points.append({"run": number, "n": figure.value * scale, "what": what, "tip": tip})
        cells.append((run.run, words.instant(run.started_at), said))
    across = charts.x("run", "run, the oldest first", scale={"domain": [0.5, len(history.runs) + 0.5]})
    up = charts.y("n", unit or "number", scale={"zero": False})
    dots = charts.points(points, across, up, {point["what"]: _COLOURS[point["what"]] for point in points})
    edges = [0, *(change.first for change in row.changes), len(history.runs)]
    levels = [row.changes[0].before, *(change.after for change in row.changes)] if row.changes else [row.now]
    ends = [
        {"run": at, "n": level * scale, "line": i}
        for i, ((start, end), level) in enumerate(zip(pairwise(edges), levels, strict=True))
        for at in (start + 0.6, end + 0.4)
    ]
    mark = {
        "type": "line",
        "color": "var(--bad)" if row.result is SinceResult.WORSE else "var(--soft)",
        "strokeWidth": 2,
    }
    lines = charts.layer(ends, mark, x=across, y=up, detail={"field": "line"})
    shown = [dots, lines, *(charts.mark_line(history.since + 1, "since") if history.since else [])]
    shows = f"{row.result.value}: {_value(metric, row.then)} then, {_value(metric, row.now)} now"
    if row.changes:
        shows += ". Changes: " + ", ".join(_told(metric, change, history) for change in row.changes)
    figures = doc.table(f"{metric.name} in figures", ("run", "started", "value"), cells, sides="llr")
    return doc.Chart(metric.name, {"layer": shown}, shows, f"{metric.name} over {len(points)} runs. {shows}", figures)


def _told(metric: Metric, change: LevelChange, history: History) -> str:
    return f"{_size(metric, change.before, change.after)} from {history.runs[change.first].run} on"
