"""What a capacity search found, as one HTML page: no network, no JavaScript, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chatload.features.capacity import view as capacity
from chatload.features.capacity.console import HEADS, step_row
from chatload.features.report.figures import Chart
from chatload.render import charts, words
from chatload.render.charts import Spec
from chatload.render.templating import environment
from chatload.run.writer import replacing

PAGE_FILE = "capacity.html"
_OUTCOMES = {
    "held": "var(--pass)", "not held": "var(--bad)", "undecided": "var(--warn)", "spoilt": "var(--none)",
}  # fmt: skip
_MINUTES_FROM_S = 300.0


def write_page(run_dir: Path, facts: Mapping[str, Any]) -> Path:
    """Write capacity.html, whole or not at all; raises UsageError."""
    page = html(facts)
    path = run_dir / PAGE_FILE
    with replacing(path) as stream:
        stream.write(page)
    return path


def html(facts: Mapping[str, Any]) -> str:
    """The page. Everything that comes from the search is escaped."""
    page: str = (
        environment()
        .get_template("capacity.html.j2")
        .render(
            answer=capacity.answer(facts),
            sentences=capacity.sentences(facts),
            facts=facts,
            badge="passed" if facts["claim"] else "inconclusive",
            charts=list(_charts(facts)),
            heads=HEADS,
            rows=[(step_row(step), step) for step in facts["steps"]],
            words=words,
        )
    )
    return page


def _charts(facts: Mapping[str, Any]) -> Iterator[Chart]:
    if facts["steps"]:
        yield _over_time(facts)
        yield _latency(facts)
        yield _losses(facts)
    if facts["usl"] is not None:
        yield _throughput(facts["usl"])


def _over_time(facts: Mapping[str, Any]) -> Chart:
    """The load each step wanted, coloured by what came of it, and the sessions open."""
    steps = facts["steps"]
    scale, unit = (60.0, "minutes") if steps[-1]["ended_s"] > _MINUTES_FROM_S else (1.0, "seconds")
    time = charts.x("t", f"{unit} into the run")
    rows = [
        {"t": s["begun_s"] / scale, "t2": s["ended_s"] / scale, "load": s["load"], "outcome": s["outcome"],
         "tip": f"{words.plural(s['load'], 'session')}, {s['purpose']}: {s['outcome']}"}
        for s in steps
    ]  # fmt: skip
    course = [{"t": at / scale, "load": still} for at, _, still in facts["course"]]
    up = charts.y("load", "sessions", scale={"zero": True})
    there = {step["outcome"] for step in steps}
    colours = {outcome: colour for outcome, colour in _OUTCOMES.items() if outcome in there}
    spec = {
        "layer": [
            {
                "data": {"values": course},
                "mark": {"type": "area", "aria": False, "color": "var(--c6)", "opacity": 0.3},
                "encoding": {"x": time, "y": up},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "rule", "strokeWidth": 5},
                "encoding": {
                    "x": time, "x2": {"field": "t2"}, "y": up, "description": {"field": "tip"},
                    "color": charts.colour("outcome", colours),
                },
            },
        ],
    }  # fmt: skip
    said = "A bar for each step: the sessions wanted, and what came of it. Shaded: the sessions that were open."
    return Chart("Load against time", charts.draw(spec, said), said)


def _latency(facts: Mapping[str, Any]) -> Chart:
    rows = [
        {"load": s["load"], "ms": 1000 * s[key], "what": name, "tip": f"{s['load']}: {words.seconds(s[key])} {name}"}
        for s in facts["steps"]
        for name, key in (("p50", "latency_p50_s"), ("p95", "latency_p95_s"))
        if s[key]
    ]
    said = "GetMessages at each step once it had settled."
    if not rows:
        return Chart("Latency against load", charts.draw({"mark": "point"}, said), "Nothing was measured.")
    low, high = min(row["ms"] for row in rows), max(row["ms"] for row in rows)
    up = charts.y("ms", "latency", scale={"type": "log", "domain": [0.8 * low, 1.25 * high]})
    spec = _points(rows, {**up, "axis": charts.decades(low, high)}, {"p50": "var(--good)", "p95": "var(--c4)"})
    return Chart("Latency against load", charts.draw(spec, said), said)


def _losses(facts: Mapping[str, Any]) -> Chart:
    rows = [
        {"load": s["load"], "n": s[what], "what": what, "tip": f"{s['load']}: {s[what]} {what}"}
        for s in facts["steps"]
        for what in ("refused", "dropped")
    ]
    up = charts.y("n", "sessions", scale={"type": "symlog", "zero": True})
    spec = _points(rows, up, {"refused": "var(--c2)", "dropped": "var(--bad)"})
    said = "Chats refused (each try of a customer counts) and dropped at each step, on a scale that shows few and many."
    return Chart("Refused and dropped against load", charts.draw(spec, said), said)


def _throughput(usl: Mapping[str, Any]) -> Chart:
    """The fit with its band over what was measured."""
    across = charts.x("load", "sessions")
    layers: list[Spec] = [
        {
            "data": {"values": usl["curve"]},
            "mark": {"type": "area", "aria": False, "color": "var(--good)", "opacity": 0.2},
            "encoding": {"x": across, "y": charts.y("low", "successful requests/s"), "y2": {"field": "high"}},
        },
        {
            "data": {"values": usl["curve"]},
            "mark": {"type": "line", "aria": False, "color": "var(--good)", "strokeWidth": 2},
            "encoding": {"x": across, "y": charts.y("fit", "successful requests/s")},
        },
        {
            "data": {"values": usl["points"]},
            "mark": {"type": "point", "aria": False, "filled": True, "size": 60, "color": "var(--ink)", "opacity": 1},
            "encoding": {"x": across, "y": charts.y("requests_per_s", "successful requests/s")},
        },
    ]
    if usl["peak"] is not None:
        layers += charts.limit_line(usl["peak"], "peak")
    said = (
        f"Dots: measured. Line and band: the Universal Scalability Law and 95 % of its bootstrap. "
        f"{capacity.usl_words(usl)}. Sessions refresh by a clock, so that until the server is saturated this is a "
        "straight line, whatever the server."
    )
    return Chart("Throughput against load", charts.draw({"layer": layers}, said), said)


def _points(rows: list[dict[str, Any]], up: Spec, colours: Mapping[str, str]) -> Spec:
    return {
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        "encoding": {
            "x": charts.x("load", "sessions"),
            "y": up,
            "color": charts.colour("what", colours),
            "description": {"field": "tip"},
        },
    }
