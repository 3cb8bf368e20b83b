"""Charts: Vega-Lite specifications, and how they are drawn as SVG. Colours are the page's CSS variables."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

Spec = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

_CONFIG = {
    "font": "system-ui, sans-serif", "background": "transparent", "view": {"stroke": None},
    "padding": {"left": 2, "right": 8, "top": 4, "bottom": 2},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "domain": False,
        "tickColor": "var(--line)", "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
        "labelPadding": 6, "titlePadding": 8,
    },
}  # fmt: skip
_LEGEND = {
    "labelColor": "var(--ink)", "title": None, "orient": "top", "labelFontSize": 12, "labelLimit": 300,
    "columnPadding": 24, "symbolStrokeWidth": 2,
}  # fmt: skip
_GEOMETRY = re.compile(r' (?:d|transform|opacity|fill-opacity|width|height)="[^"<]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")


class Frame(NamedTuple):
    """A size in which each chart is drawn: its CSS class, its width in px, and the ticks its x axis has room for."""

    name: str
    width: int
    ticks: int


#: Each chart is drawn for a wide window and for a phone, and the page shows the one that fits. A picture scaled down
#: could not be read. HALF takes the place of WIDE in two columns.
WIDE, HALF, NARROW = Frame("wide", 1180, 11), Frame("wide", 580, 6), Frame("narrow", 350, 4)


def draw(spec: Spec | Callable[[Frame], Spec], label: str, half: bool = False) -> Markup:
    """Return the chart as an SVG element for each frame. label: for screen readers. half: it is in two columns."""
    # Imported here: the library is large, and a terminal needs no picture.
    import vl_convert

    drawn = Markup("")
    for frame in (HALF if half else WIDE, NARROW):
        legend = _LEGEND if frame is not NARROW else {**_LEGEND, "columns": 2}
        config = {**_CONFIG, "axisX": {"grid": False, "tickCount": frame.ticks}, "legend": legend}
        fit = {"type": "fit-x", "contains": "padding"}
        whole = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            **{"config": config, "width": frame.width, "height": 200, "autosize": fit},
            **(spec(frame) if callable(spec) else spec),
        }
        svg: str = vl_convert.vegalite_to_svg(json.dumps(whole))
        # A hundredth of a pixel is enough. The further digits would be half of the size of a histogram.
        svg = _GEOMETRY.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), svg)
        svg = svg.removeprefix("<svg ").replace('class="marks"', f'class="marks {frame.name}"', 1)
        # Drawn from our own numbers and words by Vega, which escapes text; the label is escaped here.
        drawn += Markup('<svg role="img" aria-label="{}" ').format(label) + Markup(svg)
    return drawn


_THOUSANDS = "replace(datum.label, /,/g, ' ')"


def x(field: str, title: str, **more: Any) -> Spec:
    """Return a quantitative x channel. more: further keys of it."""
    scale = {"nice": False, "zero": False, **more.pop("scale", {})}
    axis = {"labelExpr": _THOUSANDS}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis, **more}


def y(field: str, title: str, **more: Any) -> Spec:
    """Return a quantitative y channel. more: further keys of it."""
    axis = {"tickCount": 5, "labelExpr": _THOUSANDS}
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, **more}


def colour(field: str, colours: Mapping[str, str]) -> Spec:
    """Return a colour for each value of a field, in that order."""
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "sort": list(colours), "scale": scale}


def names(field: str, order: Sequence[str] | None = None) -> Spec:
    """Return a y channel with a line for each name, in that order; by default in the order of the rows."""
    axis = {"grid": False, "minExtent": 130, "labelLimit": 260, "labelColor": "var(--ink)"}
    return {"field": field, "type": "nominal", "sort": order, "title": None, "axis": axis}


def decades(low: float, high: float) -> Spec:
    """Return an axis for a log scale of durations in ms: a tick for each power of ten, with its unit."""
    first, last = math.floor(math.log10(max(low, 1e-9))), math.ceil(math.log10(max(high, 1e-9)))
    label = "datum.value >= 1000 ? datum.value / 1000 + ' s' : datum.value + ' ms'"
    return {"values": [10.0**power for power in range(first, last + 1)], "labelExpr": label}


def layer(rows: Rows, mark: Spec, **channels: Any) -> Spec:
    """Return a mark for each row. channels: the encoding of Vega-Lite, such as x, y and color."""
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": channels}


def intervals(rows: Rows, across: Spec) -> Spec:
    """Return a line from low to high for each row, and a dot at its value. rows: name, low, high, at, colour, tip."""
    shade = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    place = {"y": names("name"), "color": shade, "description": {"field": "tip"}}
    # The mark of a layer without data has no name, which a screen reader would need.
    dots = [row for row in rows if row["at"] is not None]
    line, dot = {"type": "rule", "strokeWidth": 3, "opacity": 0.55}, {"type": "point", "filled": True, "size": 60}
    layers = [layer(rows, line, x={**across, "field": "low"}, x2={"field": "high"}, **place)]
    if dots:
        layers.append(layer(dots, {**dot, "opacity": 1}, x={**across, "field": "at"}, **place))
    return {"height": {"step": 24}, "layer": layers}


def distribution(bins: Rows, x_title: str, y_title: str, *, log: bool, limit: float | None = None) -> Spec:
    """Return a histogram with a line at `limit`. bins: low, high, count, tip. On its root scale, small counts show."""
    lowest, highest = bins[0]["low"], max(bins[-1]["high"], limit or 0.0)
    if log:
        # A log scale of less than a decade would have no ticks.
        highest = max(highest, 10 * lowest)
    scale = {"type": "log", "domain": [lowest, highest]} if log else {"domain": [0, 1.02 * highest]}
    across = x("low", x_title, scale=scale)
    if log:
        across["axis"] = decades(lowest, highest)
    # Above the highest bar there is room for the name of the line.
    top = max(row["count"] for row in bins) * (1.0 if limit is None else 1.25)
    up = {"y": y("count", y_title, scale={"type": "sqrt", "domain": [0, top], "nice": False}), "y2": {"datum": 0}}
    mark = {"type": "rect", "color": "var(--good)", "opacity": 0.85}
    blocks = layer(bins, mark, x=across, x2={"field": "high"}, **up, description={"field": "tip"})
    return {"layer": [blocks, *([] if limit is None else mark_line(limit, "flex-disconnect-timeout", "var(--bad)"))]}


def mark_line(at: float, text: str, colour: str = "var(--soft)", top: int = 2, name_right: bool = False) -> list[Spec]:
    """Return a vertical line with its name to the left or right of it, `top` pixels below the upper edge."""
    label = {"align": "left" if name_right else "right", "dx": 6 if name_right else -6, "baseline": "top"}
    return _named_line("x", at, text, colour, (5, 4), label, y={"value": top})


def level_line(at: float, text: str, colour: str = "var(--soft)", dash: Sequence[int] = (5, 4)) -> list[Spec]:
    """Return a horizontal line with its name above it."""
    return _named_line("y", at, text, colour, dash, {"align": "left", "dx": 4, "dy": -7}, x={"value": 0})


def _named_line(
    axis: str, at: float, text: str, colour: str, dash: Sequence[int], label: Spec, **place: Spec
) -> list[Spec]:
    rows, along = [{"at": at, "text": text}], {axis: {"field": "at", "type": "quantitative"}}
    rule = {"type": "rule", "strokeDash": list(dash), "color": colour, "aria": False}
    name = {"type": "text", "color": colour, "fontSize": 12, **label}
    return [layer(rows, rule, **along), layer(rows, name, **along, **place, text={"field": "text"})]


def line(rows: Rows, across: Spec, up: Spec, interpolate: str = "linear") -> Spec:
    """Return one line through the points x, y."""
    mark = {"type": "line", "aria": False, "color": "var(--good)", "strokeWidth": 2, "interpolate": interpolate}
    return layer(rows, mark, x=across, y=up)


def band(rows: Rows, across: Spec, low: str, high: str) -> Spec:
    """Return the area between two fields of the rows."""
    mark = {"type": "area", "aria": False, "color": "var(--good)", "opacity": 0.2}
    return layer(rows, mark, x=across, y={"field": low, "type": "quantitative"}, y2={"field": high})


def points(rows: Rows, across: Spec, up: Spec, colours: Mapping[str, str]) -> Spec:
    """Return a dot for each row: its tip, and a colour for each `what`."""
    mark = {"type": "point", "filled": True, "size": 60, "opacity": 0.9}
    shade = colour("what", colours) | ({"legend": None} if len(colours) < 2 else {})
    return layer(rows, mark, x=across, y=up, color=shade, description={"field": "tip"})
