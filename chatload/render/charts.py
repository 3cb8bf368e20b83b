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


#: Each chart is drawn for both, and the page shows the one that fits. A picture scaled down could not be read.
WIDE, NARROW = Frame("wide", 960, 9), Frame("narrow", 350, 4)


def draw(spec: Spec | Callable[[Frame], Spec], label: str) -> Markup:
    """Return the chart as one SVG element for each frame, with `label` for screen readers."""
    # Imported here: the library is large, and a terminal needs no picture.
    import vl_convert

    drawn = Markup("")
    for frame in (WIDE, NARROW):
        legend = _LEGEND if frame is WIDE else {**_LEGEND, "columns": 2}
        config = {**_CONFIG, "axisX": {"grid": False, "tickCount": frame.ticks}, "legend": legend}
        fit = {"type": "fit-x", "contains": "padding"}
        whole = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            **{"config": config, "width": frame.width, "height": 200, "autosize": fit},
            **(spec(frame) if callable(spec) else spec),
        }
        svg: str = vl_convert.vegalite_to_svg(json.dumps(whole))
        # A hundredth of a pixel is enough. The further digits would be half of the size of a heat map.
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


def distribution(bins: Rows, x_title: str, y_title: str, *, log: bool, limit: float | None = None) -> Spec:
    """Return a histogram with a line at `limit`. bins: low, high, count, tip. On its root scale, small counts show."""
    lowest, highest = bins[0]["low"], max(bins[-1]["high"], limit or 0.0)
    scale = {"type": "log", "domain": [lowest, highest]} if log else {"domain": [0, 1.02 * highest]}
    across = x("low", x_title, scale=scale)
    if log:
        across["axis"] = decades(lowest, highest)
    up = {"y": y("count", y_title, scale={"type": "sqrt", "zero": True}), "y2": {"datum": 0}}
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
    return layer(rows, mark, x=across, y=up, color=colour("what", colours), description={"field": "tip"})


def lines(rows: Rows, time: Spec, y_title: str, colours: Mapping[str, str], least: float = 0.0) -> Spec:
    """Return lines over time: t, what, n. The scale goes from 0 to at least `least`."""
    most = 1.05 * max([least / 1.05, *(row["n"] for row in rows)])
    mark = {"type": "line", "aria": False, "interpolate": "step-after", "strokeWidth": 1.75}
    up = y("n", y_title, scale={"domain": [0, most]})
    return layer(rows, mark, x=time, y=up, color=colour("what", colours))


def blocks(rows: Rows, time: Spec, y_title: str, colours: Mapping[str, str]) -> Spec:
    """Return blocks over time, each from t to t2 and n high, stacked in the order of the colours: what, n."""
    stacked: list[dict[str, Any]] = []
    tops: dict[float, float] = {}
    for row in sorted(rows, key=lambda row: (row["t"], list(colours).index(row["what"]))):
        below = tops.get(row["t"], 0.0)
        tops[row["t"]] = below + row["n"]
        stacked.append({**row, "from": below, "to": below + row["n"]})
    up = {"y": y("from", y_title, scale={"zero": True}), "y2": {"field": "to"}}
    mark = {"type": "rect", "aria": False}
    return layer(stacked, mark, x=time, x2={"field": "t2"}, **up, color=colour("what", colours))
