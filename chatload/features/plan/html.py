"""A capacity plan as one HTML page: no network, no JavaScript, light and dark."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import vl_convert
from markupsafe import Markup

from chatload.features.plan import console as tables
from chatload.features.plan import view as text
from chatload.features.plan.compute import Plan, servers_needed
from chatload.features.plan.view import PlanReport
from chatload.render.templating import environment
from chatload.render.words import number as _number
from chatload.run.writer import replacing
from chatload.stats import queueing as queueing

_WIDTH, _HEIGHT, _STEP = 420, 200, 26
#: Room for the inputs' names: a browser's letters are wider than those the picture was measured with.
_NAMES = 170
_POINTS = 120
#: How far growth is drawn, as a factor on the chats per hour.
_GROWTH = 2.0
_AXIS = {"grid": True, "gridColor": "var(--line)", "domain": False, "ticks": False, "tickCount": 5,
         "labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12,
         "titleFontWeight": "normal"}  # fmt: skip
_LINE = {"type": "line", "color": "var(--new)", "strokeWidth": 2}
_RULE = {"type": "rule", "color": "var(--base)", "strokeDash": [5, 4], "strokeWidth": 1.5}


def write_html(report: PlanReport, path: str | Path) -> None:
    """Write the page, whole or not at all; raises UsageError where it cannot be written."""
    page = html(report)
    with replacing(path) as stream:
        stream.write(page)


def html(report: PlanReport) -> str:
    """The page. Everything that comes from the user is escaped."""
    plan, templates = report.plan, environment()
    page: str = templates.get_template("plan.html.j2").render(
        answer=text.answer(plan),
        binding=text.binding(plan),
        drops=text.drops(plan),
        result=plan.drops.result.replace(" ", "-"),
        tables={
            "What the peak hour brings": (tables.PEAK, list(text.peak_rows(plan))),
            "What servers carry": (tables.CONSTRAINTS, list(text.constraint_rows(plan))),
            "What the plan hangs on": (tables.INFLUENCES, list(text.influence_rows(report))),
            "Inputs": (tables.INPUTS, list(text.input_rows(report))),
        },
        influence_note=tables.INFLUENCE_NOTE,
        charts={
            "What the peak hour brings": ("How often more chats are open", chats_chart(plan)),
            "What servers carry": ("Servers that carry more chats an hour", growth_chart(plan)),
            "What the plan hangs on": ("An input 10 % lower and 10 % higher", influence_chart(report)),
        },
        notes=list(text.notes(report)),
        unknown=text.UNKNOWN,
    )
    return page


def chats_chart(plan: Plan) -> Markup:
    """The share of the hour in which more than so many chats are open."""
    demand, mean = plan.demand, plan.peak.mean_chats
    low = max(2 * mean - plan.peak.chats, 0.0)
    high = plan.peak.chats + 0.1 * (plan.peak.chats - low)
    levels = sorted({round(low + (high - low) * i / _POINTS) for i in range(_POINTS + 1)})
    points = [{"x": n, "y": 100 * queueing.above(n, mean, demand.peakedness)} for n in levels]
    marks = [{"x": mean, "what": "mean"}, {"x": plan.peak.chats, "what": "planned for"}]
    label = (
        f"share of the hour with more chats open: 100 % at {_number(round(low))}, about half at the mean of "
        f"{text.figure(mean)}, {100 * demand.tail:.3g} % at {_number(plan.peak.chats)}"
    )
    return _drawn(
        label,
        [
            {"data": {"values": points}, "mark": _LINE,
             "encoding": {"x": _x("chats open at once"), "y": _y("more are open, % of the hour")}},
            {"data": {"values": marks}, "mark": _RULE, "encoding": {"x": {"field": "x", "type": "quantitative"}}},
            {"data": {"values": marks}, "mark": {"type": "text", "align": "right", "dx": -5, "color": "currentColor"},
             "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": {"value": 8}, "text": {"field": "what"}}},
        ],
    )  # fmt: skip


def growth_chart(plan: Plan) -> Markup:
    """Servers needed for up to _GROWTH times the chats per hour."""
    demand, arrivals = plan.demand, plan.peak.mean_arrivals
    factors = [1 + (_GROWTH - 1) * i / _POINTS for i in range(_POINTS + 1)]
    demands = [replace(demand, growth=(1 + demand.growth) * factor - 1) for factor in factors]
    servers = [servers_needed(more, plan.capacity) for more in demands]
    points = [{"x": arrivals * factor, "y": n} for factor, n in zip(factors, servers, strict=True)]
    label = (
        f"servers that carry the peak, spare ones not counted: {_number(plan.needed)} for "
        f"{text.figure(arrivals)} chats an hour, {_number(servers[-1])} for {text.figure(arrivals * _GROWTH)}"
    )
    line = {"data": {"values": points}, "mark": {**_LINE, "interpolate": "step-after"},
            "encoding": {"x": _x("chats per hour"), "y": _y("servers needed", tickMinStep=1)}}  # fmt: skip
    return _drawn(label, [line])


def influence_chart(report: PlanReport) -> Markup:
    """What every input that matters does to the load, 10 % lower and 10 % higher."""
    bars = [
        {"input": text.label(item.name), "step": step, "x": 100 * change}
        for item in report.influences
        for step, change in ((tables.INFLUENCES[2], item.down), (tables.INFLUENCES[3], item.up))
        if change is not None and round(1000 * item.strength)
    ]
    names = list(dict.fromkeys(bar["input"] for bar in bars))
    label = "change of the load, the strongest input first: " + "; ".join(
        f"{text.label(item.name)} {text.change(item.down) or 'no lower'} and {text.change(item.up) or 'no higher'}"
        for item in report.influences
        if text.label(item.name) in names
    )
    steps = [tables.INFLUENCES[2], tables.INFLUENCES[3]]
    y = {"field": "input", "type": "nominal", "sort": names,
         "axis": {**_AXIS, "grid": False, "title": None, "labelLimit": 260, "minExtent": _NAMES}}  # fmt: skip
    legend = {"title": None, "orient": "top", "labelColor": "currentColor", "labelFontSize": 12}
    color = {"field": "step", "type": "nominal", "sort": steps, "legend": legend,
             "scale": {"domain": steps, "range": ["var(--base)", "var(--new)"]}}  # fmt: skip
    bar = {"data": {"values": bars}, "mark": {"type": "bar"},
           "encoding": {"x": _x("change of the load, %"), "y": y, "color": color,
                        "yOffset": {"field": "step", "type": "nominal", "sort": steps}}}  # fmt: skip
    return _drawn(label, [bar], height={"step": _STEP / 2})


def _x(title: str) -> dict[str, Any]:
    thousands = "replace(format(datum.value, ',~f'), /,/g, ' ')"
    return {"field": "x", "type": "quantitative", "scale": {"zero": False, "nice": False},
            "axis": {**_AXIS, "title": title, "labelExpr": thousands}}  # fmt: skip


def _y(title: str, **axis: Any) -> dict[str, Any]:
    return {"field": "y", "type": "quantitative", "scale": {"zero": True}, "axis": {**_AXIS, "title": title, **axis}}


def _drawn(label: str, layers: list[dict[str, Any]], height: Any = _HEIGHT) -> Markup:
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": _WIDTH,
        "height": height,
        "background": "transparent",
        "config": {"font": "system-ui, sans-serif", "view": {"stroke": None}},
        **(layers[0] if len(layers) == 1 else {"layer": layers}),
    }
    svg: str = vl_convert.vegalite_to_svg(json.dumps(spec))
    # The page says in words what the picture shows, in its table and in this label.
    labelled = Markup('<svg role="img" aria-label="{}" ').format(label)
    return labelled + Markup(svg.removeprefix("<svg "))  # our own figures, drawn by Vega
