"""Charts as SVG files that stand alone, in the colours of chatload's pages, readable in light and dark."""

from __future__ import annotations

import json
from typing import Any

import vl_convert
from markupsafe import escape

from bench.results import Chart
from chatload.render.charts import colour, x, y

#: The page's own colours (base.css.j2): an image does not see its page's style.
_STYLE = """<style>
svg { --ground: #fff; --ink: #1a2230; --soft: #566172; --line: #d9dfe7; --good: #0a6ebd; --c1: #1b6e35; --c2: #7a4fb5;
  --c3: #8c2d56; --c4: #c2570c; --c5: #d1498b; --c6: #566172; background: var(--ground); }
@media (prefers-color-scheme: dark) { svg { --ground: #12161d; --ink: #e8ecf2; --soft: #a8b3c2; --line: #343d4a;
  --good: #5fb0f5; --c1: #7ddb95; --c2: #b79bea; --c3: #e58fb4; --c4: #f0a063; --c5: #f58cc0; --c6: #a8b3c2; } }
</style>"""
_COLOURS = ("--good", "--c4", "--c2", "--c1", "--c3", "--c6", "--c5")
_AXIS = {
    **{"labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "domain": False},
    **{"tickColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
    **{"labelPadding": 6, "titlePadding": 8, "labelLimit": 260},
}
_CONFIG = {
    "font": "system-ui, sans-serif",
    "background": "transparent",
    "padding": 12,
    "view": {"stroke": None},
    "axis": _AXIS,
    "axisX": {"grid": False},
    "legend": {"labelColor": "var(--ink)", "title": None, "orient": "top", "labelFontSize": 12, "columns": 4},
}


def draw(chart: Chart) -> str:
    """One SVG file's text."""
    spec = _bars(chart) if chart.kind == "bars" else _lines(chart)
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        **{"config": _CONFIG, "width": 760, "autosize": {"type": "fit-x", "contains": "padding"}, **spec},
    }
    svg: str = vl_convert.vegalite_to_svg(json.dumps(whole))
    head, _, body = svg.partition(">")
    return f'{head} role="img" aria-label="{escape(chart.label)}">{_STYLE}{body}\n'


def _bars(chart: Chart) -> dict[str, Any]:
    """A bar a name, with a line from the least to the greatest repetition, and its value in words."""
    name = {"field": "name", "type": "nominal", "sort": None, "title": None,
            "axis": {"grid": False, "labelColor": "var(--ink)", "ticks": False}}  # fmt: skip
    across = x("value", chart.y_title, axis={"tickCount": 6, "grid": True})
    text = {"mark": {"type": "text", "align": "left", "dx": 6, "color": "var(--ink)"},
            "encoding": {"x": {"field": "high", "type": "quantitative"},
                         "text": {"field": "value", "type": "quantitative", "format": ",.3~r"}}}  # fmt: skip
    return {
        "data": {"values": list(chart.rows)},
        "height": {"step": 28},
        "encoding": {"y": name},
        "layer": [
            {"mark": {"type": "bar", "color": "var(--good)", "height": 16}, "encoding": {"x": across}},
            {
                "mark": {"type": "rule", "color": "var(--ink)", "strokeWidth": 1.5},
                "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}},
            },
            text,
        ],
    }


def _lines(chart: Chart) -> dict[str, Any]:
    """A line with its points for each name."""
    names = list(dict.fromkeys(row["name"] for row in chart.rows))
    colours = {name: f"var({_COLOURS[number % len(_COLOURS)]})" for number, name in enumerate(names)}
    up = y("y", chart.y_title, scale={"type": "log"} if chart.log else {"zero": True})
    across = x("x", chart.x_title, axis={"tickCount": 8, "labelExpr": "replace(datum.label, /,/g, ' ')"})
    return {
        "data": {"values": list(chart.rows)},
        "height": 260,
        "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 50, "filled": True}},
        "encoding": {"x": across, "y": up, "color": colour("name", colours)},
    }
