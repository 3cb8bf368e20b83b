"""A comparison of runs as one HTML page: no network, no JavaScript, light and dark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from chatload.features.compare import view as text
from chatload.features.compare.compute import Comparison, Row
from chatload.features.compare.run_figures import Kind
from chatload.render.templating import environment
from chatload.run.writer import replacing

_WIDTH, _STEP = 300, 26
_COLORS = {"base": "var(--base)", "new": "var(--new)"}


def write_html(comparison: Comparison, path: str | Path) -> None:
    """Write the page, whole or not at all; raises UsageError where it cannot be written."""
    page = html(comparison)
    with replacing(path) as stream:
        stream.write(page)


def html(comparison: Comparison) -> str:
    """The page. Everything that comes from a run is escaped."""
    templates = environment()
    templates.globals.update(mean=text.mean, change=text.change, interval=text.interval)
    page: str = templates.get_template("compare.html.j2").render(
        comparison=comparison,
        answer=text.answer(comparison),
        problems=list(text.unsound((*comparison.base, *comparison.new))),
        remarks=list(text.remarks(comparison)),
        judged=[row for row in comparison.rows if row.metric.judged],
        others=[row for row in comparison.rows if not row.metric.judged and not text.nothing(row)],
        sides=(("base", comparison.base), ("new", comparison.new)),
        strips={row.metric.key: strip(row) for row in comparison.rows if row.metric.judged},
    )
    return page


def strip(row: Row) -> Markup:
    """One mark a run, a line a side, as SVG; empty where nothing was measured."""
    points = [
        {"side": side, "value": _plotted(row, figure)}
        for side, figures in (("base", row.base), ("new", row.new))
        for figure in figures
        if figure is not None
    ]
    if not points:
        return Markup()
    svg: str = vl_convert.vegalite_to_svg(json.dumps(_spec(row, points)))
    # The page says in words what the picture shows, in its table and in this label.
    label = f"{row.metric.label}, one mark a run: base {_listed(row, row.base)}; new {_listed(row, row.new)}"
    labelled = Markup('<svg role="img" aria-label="{}" ').format(label)
    return labelled + Markup(svg.removeprefix("<svg "))  # our own figures, drawn by Vega


def _listed(row: Row, figures: tuple[float | None, ...]) -> str:
    return ", ".join(text.value(row, figure) for figure in figures)


def _plotted(row: Row, figure: float) -> float:
    return figure * 100 if row.metric.kind is Kind.RATE else figure


def _spec(row: Row, points: list[dict[str, Any]]) -> dict[str, Any]:
    unit = {Kind.RATE: "%", Kind.COUNT: ""}.get(row.metric.kind, "s")
    axis = {"grid": True, "gridColor": "var(--line)", "domain": False, "ticks": False, "tickCount": 5,
            "labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12}  # fmt: skip
    x = {"field": "value", "type": "quantitative", "scale": {"zero": False, "padding": 12, "nice": True},
         "axis": {**axis, "title": None, "labelExpr": f"datum.label + ' {unit}'"}}  # fmt: skip
    y = {"field": "side", "type": "nominal", "sort": ["base", "new"],
         "axis": {**axis, "grid": False, "title": None}}  # fmt: skip
    color = {"field": "side", "type": "nominal", "legend": None,
             "scale": {"domain": list(_COLORS), "range": list(_COLORS.values())}}  # fmt: skip
    shape = {"field": "side", "type": "nominal", "legend": None,
             "scale": {"domain": list(_COLORS), "range": ["circle", "diamond"]}}  # fmt: skip
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "height": {"step": _STEP},
        "background": "transparent",
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}},
        "data": {"values": points},
        "mark": {"type": "point", "size": 70, "filled": True, "opacity": 0.75},
        "encoding": {"x": x, "y": y, "color": color, "shape": shape},
    }
