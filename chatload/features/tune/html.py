"""A sweep of refresh intervals as one HTML page: no network, no JavaScript, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chatload.chat.policy import WIDGET_INTERVAL_S
from chatload.features.report.figures import Chart
from chatload.features.tune import view as text
from chatload.features.tune.compute import Arm, Tuning
from chatload.features.tune.view import TuneReport
from chatload.render import charts, words
from chatload.render.charts import Frame, Spec
from chatload.render.templating import environment

_COLOURS = {"pass": "var(--pass)", "fail": "var(--bad)", "inconclusive": "var(--warn)", "invalid": "var(--warn)"}
_BADGES = {"recommended": "passed", "none": "failed", "inconclusive": "inconclusive", "invalid": "invalid"}
_MODEL = "var(--c2)"
#: The drop rate is drawn on a root scale, in which 1 % and 80 % can both be read.
_TICKS = (0, 1, 5, 10, 20, 40, 60, 80, 100)


def html(report: TuneReport) -> str:
    """The page. Everything that comes from a run is escaped."""
    tuning = report.tuning
    best = tuning.recommended
    page: str = (
        environment()
        .get_template("tune.html.j2")
        .render(
            report=report,
            tuning=tuning,
            badge=_BADGES[tuning.result],
            answer=text.answer(tuning),
            stopped="" if best is None else text.stopped(tuning),
            saved=text.saved(tuning),
            options="" if best is None else text.settings_for(best),
            charts=list(_charts(report)),
            headings=text.HEADINGS,
            rows=list(text.rows(tuning)),
            bounds_note=text.bounds_note(tuning),
            model_headings=text.MODEL_HEADINGS,
            model_rows=list(text.model_rows(report)),
            notes=(*report.notes, *text.LIMITS),
        )
    )
    return page


def _charts(report: TuneReport) -> Iterator[Chart]:
    tuning = report.tuning
    arms = [arm for arm in tuning.arms if arm.sessions]
    if not arms:
        return
    said = ", ".join(f"{text.interval(arm)} {words.percent(arm.rate or 0)}" for arm in arms)
    note = f"Bars are bounds, each at {100 * tuning.confidence:g} % confidence; a dot is what was counted. "
    note += "Green: passed; red: failed; yellow: undecided or invalid; hollow: not tested, beyond where the test ended."
    note += " Violet squares: the model's curve." if report.model is not None else ""
    picture = charts.draw(lambda frame: _drops(report, frame), f"Drop rate against the refresh interval: {said}")
    yield Chart("Drop rate against the refresh interval", picture, note)
    measured = [arm for arm in arms if arm.requests_per_s is not None]
    if measured:
        said = ", ".join(f"{text.interval(arm)} {arm.requests_per_s:.3f}" for arm in measured)
        note = "All requests of an open chat, and its polls alone. Dotted: the polls of the widget, one every "
        note += f"{WIDGET_INTERVAL_S:g} s. Chats that are dropped make room for new ones, whose opening costs requests."
        picture = charts.draw(_requests(measured, tuning), f"Requests per second of an open chat: {said}")
        yield Chart("Requests per second of one open chat", picture, note)


def _drops(report: TuneReport, frame: Frame) -> Spec:
    tuning = report.tuning
    arms = [arm for arm in tuning.arms if arm.sessions]
    most = max(arm.upper for arm in arms)
    top = min(100.0, 130 * max(most, 2 * tuning.target))
    axis = {"grid": True, "values": [tick for tick in _ticks(tuning) if tick <= top], "labelExpr": "datum.label + ' %'"}
    scale = {"type": "sqrt", "domain": [0, top], "nice": False}
    up = {"type": "quantitative", "title": "sessions dropped (root scale)", "axis": axis, "scale": scale}
    across = _across(tuning)
    rows = [_point(arm, tuning) for arm in arms]
    bar = {"x": {**across, "field": "x"}, "y": {**up, "field": "low"}, "y2": {"field": "high"}, **_shade()}
    dot = {"x": {**across, "field": "x"}, "y": {**up, "field": "rate"}, **_shade(), "description": {"field": "tip"}}
    layer: list[Spec] = [
        {"mark": {"type": "rule", "strokeWidth": 4, "opacity": 0.45, "aria": False}, "encoding": bar},
        {"mark": {"type": "line", "color": "var(--soft)", "strokeWidth": 1, "aria": False},
         "encoding": {"x": dot["x"], "y": dot["y"]}},
        {"mark": {"type": "point", "size": 75, "opacity": 1, "strokeWidth": 2},
         "encoding": {**dot, "fill": {"field": "fill", "type": "nominal", "scale": None, "legend": None}}},
        *_target(tuning, up, frame),
        *charts.limit_line(tuning.timeout_s, "timeout" if frame is charts.NARROW else "flex-disconnect-timeout"),
    ]  # fmt: skip
    if report.model is not None:
        layer += _model(report.model, across, up)
    if tuning.recommended is not None:
        layer += _mark(tuning.recommended, across)
    return {"height": 260, "data": {"values": rows}, "layer": layer}


def _ticks(tuning: Tuning) -> list[float]:
    """Ticks in percent; below 1 % where the target is."""
    fine = [100 * tuning.target * part for part in (1, 10)] if tuning.target < 0.01 else []
    return sorted({*_TICKS, *fine})


def _across(tuning: Tuning) -> Spec:
    low, high = tuning.arms[0].interval_s, max(tuning.arms[-1].interval_s, tuning.timeout_s)
    room = 0.06 * (high - low or high)
    return {"type": "quantitative", "title": "refresh interval, s", "scale": {"domain": [low - room, high + room],
            "nice": False, "zero": False}}  # fmt: skip


def _shade() -> Spec:
    return {"color": {"field": "colour", "type": "nominal", "scale": None, "legend": None}}


def _point(arm: Arm, tuning: Tuning) -> dict[str, Any]:
    word = text.word(arm, tuning)
    colour = "var(--none)" if word == "not tested" else _COLOURS[arm.word]
    rate = 100 * (arm.rate or 0.0)
    tip = (
        f"{text.interval(arm)} ({arm.fraction:g}): {text.dropped(arm)} of {words.number(arm.sessions)} dropped, {word}"
    )
    return {
        **{"x": arm.interval_s, "low": 100 * arm.lower, "high": 100 * arm.upper, "rate": rate, "tip": tip},
        **{"colour": colour, "fill": "var(--ground)" if word == "not tested" else colour},
    }


def _target(tuning: Tuning, up: Spec, frame: Frame) -> list[Spec]:
    data = {"data": {"values": [{"at": 100 * tuning.target, "text": f"target {words.percent(tuning.target)}"}]}}
    place = {"y": {**up, "field": "at"}}
    rule = {"type": "rule", "strokeDash": [5, 4], "color": "var(--ink)", "strokeWidth": 1, "aria": False}
    label = {"type": "text", "align": "left", "dx": 4, "dy": -7, "color": "var(--ink)", "fontSize": 12}
    return [
        {**data, "mark": rule, "encoding": place},
        {**data, "mark": label, "encoding": {**place, "x": {"value": 0}, "text": {"field": "text"}}},
    ]


def _mark(best: Arm, across: Spec) -> list[Spec]:
    data = {"data": {"values": [{"x": best.interval_s, "text": f"recommended {text.interval(best)}"}]}}
    rule = {"type": "rule", "color": "var(--pass)", "strokeWidth": 1.5, "aria": False}
    label = {"type": "text", "align": "right", "dx": -6, "baseline": "top", "color": "var(--pass)", "fontSize": 12,
             "fontWeight": "bold"}  # fmt: skip
    place = {"x": {**across, "field": "x"}}
    return [
        {**data, "mark": rule, "encoding": place},
        {**data, "mark": label, "encoding": {**place, "y": {"value": 20}, "text": {"field": "text"}}},
    ]


def _model(model: Tuning, across: Spec, up: Spec) -> list[Spec]:
    rows = [{**_point(arm, model), "tip": f"model, {_point(arm, model)['tip']}"} for arm in model.arms if arm.sessions]
    place = {"x": {**across, "field": "x"}}
    bar = {"y": {**up, "field": "low"}, "y2": {"field": "high"}}
    data, shift = {"data": {"values": rows}}, {"xOffset": 7, "color": _MODEL}
    return [
        {**data, "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6, "aria": False, **shift},
         "encoding": {**place, **bar}},
        {**data, "mark": {"type": "point", "shape": "square", "filled": True, "size": 40, **shift},
         "encoding": {**place, "y": {**up, "field": "rate"}, "description": {"field": "tip"}}},
    ]  # fmt: skip


def _requests(arms: list[Arm], tuning: Tuning) -> Spec:
    rows = [
        {"x": arm.interval_s, "n": value, "what": what, "tip": f"{text.interval(arm)}: {what} {value:.3f}/s"}
        for arm in arms
        for what, value in (("all requests", arm.requests_per_s), ("polls", arm.polls_per_s))
        if value is not None
    ]
    top = 1.1 * max([1 / WIDGET_INTERVAL_S, *(float(row["n"]) for row in rows)])  # type: ignore[arg-type]
    up = charts.y("n", "requests/s of one chat", scale={"domain": [0, top], "nice": False})
    place = {"x": {**_across(tuning), "field": "x"}, "y": up,
             "color": charts.colour("what", {"all requests": "var(--good)", "polls": "var(--c4)"})}  # fmt: skip
    widget = {
        "data": {"values": [{"at": 1 / WIDGET_INTERVAL_S, "text": f"widget's polls, every {WIDGET_INTERVAL_S:g} s"}]}
    }
    level = {"y": {"field": "at", "type": "quantitative"}}
    label = {"type": "text", "align": "left", "dx": 4, "dy": -7, "color": "var(--soft)", "fontSize": 12}
    return {
        "layer": [
            {"data": {"values": rows}, "mark": {"type": "line", "strokeWidth": 1.75, "aria": False}, "encoding": place},
            {"data": {"values": rows}, "mark": {"type": "point", "filled": True, "size": 55},
             "encoding": {**place, "description": {"field": "tip"}}},
            {**widget, "mark": {"type": "rule", "strokeDash": [2, 3], "color": "var(--soft)", "aria": False},
             "encoding": level},
            {**widget, "mark": label, "encoding": {**level, "x": {"value": 0}, "text": {"field": "text"}}},
        ]
    }  # fmt: skip
