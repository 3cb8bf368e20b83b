"""Drawings of the worst sessions: each request, the silence, the deadline, and what the silence was spent on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chatload.chat.record import Timeline
from chatload.features.report import stories
from chatload.features.report.stories import StoryStep
from chatload.render import words
from chatload.render.charts import Frame, Spec
from chatload.render.document import Chart, Fold, Section, Sentence, Tone, table
from chatload.vocabulary import SilencePart

#: Sessions that are drawn.
DRAWN = 10
_LANE, _LETTER = 22, 6.4
_LABELS = {"wide": 116, "narrow": 92}
_KINDS = {"answered": "var(--good)", "failed": "var(--bad)", "found": "var(--ink)"}
_SHAPES = {"answered": "circle", "failed": "cross", "found": "diamond"}
_PARTS = {
    SilencePart.PLANNED.value: (SilencePart.PLANNED.label, "var(--c6)"),
    SilencePart.GENERATOR.value: (SilencePart.GENERATOR.label, "var(--c2)"),
    SilencePart.SERVER.value: (SilencePart.SERVER.label, "var(--c4)"),
    SilencePart.RETRIES.value: (SilencePart.RETRIES.label, "var(--c5)"),
    SilencePart.NETWORK.value: (SilencePart.NETWORK.label, "var(--bad)"),
}
_SILENCE, _WENT = "silence", "time went to"


def choose(timelines: Iterable[Timeline]) -> list[Timeline]:
    """Return the ten worst dropped sessions, the most severe first, at least one of each verdict and blame."""
    dropped = [timeline for timeline in timelines if timeline.verdict.startswith("dropped")]
    # Proven lateness first: it is the main question of a report.
    dropped.sort(key=lambda timeline: (timeline.verdict != "dropped_late", -timeline.severity_s))
    first: dict[tuple[str, str], Timeline] = {}
    for timeline in dropped:
        first.setdefault((timeline.verdict, timeline.blame), timeline)
    chosen = list(first.values())[:DRAWN]
    chosen += [timeline for timeline in dropped if all(timeline is not one for one in chosen)][: DRAWN - len(chosen)]
    return sorted(chosen, key=dropped.index)


def drawing(number: int, timeline: Timeline) -> Section:
    """Return one session drawn. Instants count from the moment its last sure contact was answered."""
    story, shown = stories.story(timeline), stories.steps(timeline)
    title = stories.headline(timeline)
    since = words.instant(timeline.sure_received)
    picture = Chart("", lambda frame: _spec(timeline, shown, frame), "", f"{title}. {story}")
    rows = [
        (step.operation, f"{step.due:+.3f}", "never" if step.never_left else f"{step.left:+.3f}", f"{step.over:+.3f}",
         step.outcome)
        for step in shown
    ]  # fmt: skip
    worker = f"; worker {timeline.worker}" if timeline.worker else ""
    figures = table(
        f"Requests of session {number}",
        ("operation", "due", "left", "over", "outcome"),
        rows,
        sides="lrrrl",
        caption=f"seconds since the last sure contact was answered{worker}",
    )
    return Section(
        f"{number}. {title}",
        (
            Sentence(f"chat {timeline.chat_id or 'without an id'}, silent since {since}", Tone.SOFT),
            Sentence(story),
            picture,
            Fold("Its requests in figures", (figures,)),
        ),
    )


class _Canvas:
    """The geometry of a drawing: the time shown, the lanes, and the room for texts."""

    def __init__(self, timeline: Timeline, shown: list[StoryStep], frame: Frame) -> None:
        end = max([step.over for step in shown] + [timeline.timeout_s])
        start = min([step.left for step in shown] + [0.0])
        pad = 0.03 * (end - start)
        self.start, self.end = start - pad, end + pad
        labels = _LABELS[frame.name]
        self.width = frame.width - labels
        lanes = [f"{step.operation}#{i:02d}" for i, step in enumerate(shown)]
        self.steps = dict(zip(lanes, shown, strict=True))
        self.lanes = [f"{_SILENCE}#", *lanes, *([f"{_WENT}#"] if stories.found(shown) else [])]
        self.x: Spec = {
            "type": "quantitative",
            "title": "seconds since the last sure contact",
            "scale": {"domain": [self.start, self.end], "nice": False},
        }
        self.y: Spec = {
            **{"field": "lane", "type": "ordinal", "title": None},
            "scale": {"domain": self.lanes, "paddingInner": 0.3, "paddingOuter": 0.15},
            "axis": {"labelExpr": "split(datum.label, '#')[0]", "grid": False, "ticks": False, "domain": False,
                     "labelColor": "var(--ink)", "minExtent": labels, "labelLimit": labels - 8},
        }  # fmt: skip

    def px(self, seconds: float) -> float:
        """Return the width of a stretch of time (seconds) in px."""
        return self.width * seconds / (self.end - self.start)

    def beside(self, start: float, end: float, text: str) -> dict[str, Any]:
        """Return where to put a text beside a mark from start to end: right of it if there is room, else left."""
        if self.px(self.end - end) >= len(text) * _LETTER + 8:
            return {"at": end, "align": "left", "dx": 8}
        return {"at": start, "align": "right", "dx": -8}

    def within(self, start: float, end: float, texts: Iterable[str]) -> str:
        """Return the first of the texts that fits between start and end; empty where none does."""
        return next((text for text in texts if self.px(end - start) >= len(text) * _LETTER), "")


def _spec(timeline: Timeline, shown: list[StoryStep], frame: Frame) -> Spec:
    canvas = _Canvas(timeline, shown, frame)
    layers = [
        *_silence(timeline, stories.found(shown), canvas),
        *_deadline(timeline, canvas),
        *_requests(canvas),
        *_went(timeline, stories.found(shown), canvas),
    ]
    return {"height": {"step": _LANE}, "layer": layers}


def _silence(timeline: Timeline, told: StoryStep | None, canvas: _Canvas) -> Iterator[Spec]:
    """The silence up to the end found, shaded over all lanes: what is allowed, and what was too long."""
    end = told.left if told else max(canvas.end, timeline.timeout_s)
    allowed = min(end, timeline.timeout_s)
    colour = "var(--warn)" if timeline.verdict == "dropped_unproven" else "var(--bad)"
    spans = [(0.0, allowed, "var(--soft)", 0.07)]
    if end > allowed:
        spans.append((allowed, end, colour, 0.16))
    for start, stop, shade, opacity in spans:
        yield _rect(start, stop, canvas, shade, opacity)
        yield _rect(start, stop, canvas, shade, 0.28, f"{_SILENCE}#")
    if allowed < timeline.timeout_s:
        says = f"{words.seconds(end)}, then ended: {timeline.timeout_s:.6g} s were allowed"
        yield from _texts([{"says": says, "lane": f"{_SILENCE}#", **canvas.beside(0.0, end, says)}], canvas)
        return
    middle = {"align": "center", "dx": 0, "lane": f"{_SILENCE}#"}
    says = canvas.within(0.0, allowed, (f"{timeline.timeout_s:.6g} s allowed", f"{timeline.timeout_s:.6g} s"))
    texts = [{**middle, "says": says, "at": allowed / 2}]
    if told and end > allowed:
        too, by = stories.late(timeline, told), words.seconds(end - allowed)
        fits = canvas.within(allowed, end, (too, f"{by} too late", f"{by} late", by))
        if fits:
            texts.append({**middle, "says": fits, "at": (allowed + end) / 2})
        else:
            texts = [{**middle, "says": too, **canvas.beside(allowed, end, too)}]
    yield from _texts(texts, canvas, bold=True)


def _deadline(timeline: Timeline, canvas: _Canvas) -> Iterator[Spec]:
    data = {"values": [{"at": timeline.timeout_s, "says": "deadline"}]}
    place = {"x": {**canvas.x, "field": "at"}}
    rule = {"type": "rule", "color": "var(--bad)", "strokeDash": [5, 4], "strokeWidth": 1.5, "aria": False}
    text = {"type": "text", "align": "center", "dy": -5, "baseline": "bottom", "color": "var(--bad)", "fontSize": 12}
    yield {"data": data, "mark": rule, "encoding": place}
    yield {
        "data": data,
        "mark": {**text, "aria": False},
        "encoding": {**place, "y": {"value": 0}, "text": {"field": "says"}},
    }


def _requests(canvas: _Canvas) -> Iterator[Spec]:
    """A bar from the send to the answer or failure, a mark at the send, and the outcome in words."""
    rows: list[dict[str, Any]] = [
        {
            **{"lane": lane, "from": step.left, "to": step.over, "kind": step.kind, "tip": _tip(step)},
            "says": f"{step.says}: last sure contact" if step.sure else step.says,
        }
        for lane, step in canvas.steps.items()
    ]
    data, scale = {"values": rows}, {"domain": list(_KINDS), "range": list(_KINDS.values())}
    place = {"x": {**canvas.x, "field": "from"}, "y": canvas.y, "description": {"field": "tip"}}
    colour = {"field": "kind", "type": "nominal", "legend": None, "scale": scale}
    shapes = {**colour, "scale": {"domain": list(_SHAPES), "range": list(_SHAPES.values())}}
    yield {
        "data": data,
        "mark": {"type": "bar", "height": 8, "opacity": 0.75},
        "encoding": {**place, "x2": {"field": "to"}, "color": colour},
    }
    yield {
        "data": data,
        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
        "encoding": {**place, "color": colour, "shape": shapes},
    }
    texts = [{**row, **canvas.beside(row["from"], row["to"], row["says"])} for row in rows]
    yield from _texts(texts, canvas)


def _went(timeline: Timeline, told: StoryStep | None, canvas: _Canvas) -> Iterator[Spec]:
    """The parts of the silence one after the other."""
    if told is None:
        return
    at, texts = 0.0, []
    for cause, seconds in stories.spent(timeline):
        name, colour = _PARTS.get(cause, (cause, "var(--c6)"))
        yield _rect(at, at + seconds, canvas, colour, 0.35, f"{_WENT}#", f"{name}: {words.seconds(seconds)}")
        says = canvas.within(at, at + seconds, (f"{name} {words.seconds(seconds)}", name))
        texts.append({"says": says, "at": at + seconds / 2, "align": "center", "dx": 0, "lane": f"{_WENT}#"})
        at += seconds
    yield from _texts(texts, canvas)


def _rect(
    start: float, end: float, canvas: _Canvas, colour: str, opacity: float, lane: str = "", tip: str = ""
) -> Spec:
    """A block over one lane, or over all of them."""
    mark: Spec = {"type": "bar" if lane else "rect", "color": colour, "opacity": opacity, "aria": bool(tip)}
    encoding: Spec = {"x": {**canvas.x, "field": "from"}, "x2": {"field": "to"}}
    if lane:
        mark["stroke"], mark["strokeOpacity"] = colour, 1
        encoding["y"] = canvas.y
    if tip:
        encoding["description"] = {"field": "tip"}
    return {
        "data": {"values": [{"from": start, "to": end, "lane": lane, "tip": tip}]},
        "mark": mark,
        "encoding": encoding,
    }


def _texts(rows: list[dict[str, Any]], canvas: _Canvas, bold: bool = False) -> Iterator[Spec]:
    """Texts at their places, with a rim of the page's own colour so that no line runs through them."""
    mark = {
        **{"type": "text", "fontSize": 12, "aria": False, "fontWeight": "bold" if bold else "normal"},
        **{"align": {"expr": "datum.align"}, "dx": {"expr": "datum.dx"}},
    }
    shown = {"values": [row for row in rows if row["says"]]}
    place = {"x": {**canvas.x, "field": "at"}, "y": canvas.y, "text": {"field": "says", "type": "nominal"}}
    rim = {"stroke": "var(--ground)", "strokeWidth": 3, "strokeOpacity": 0.75, "strokeJoin": "round"}
    yield {"data": shown, "mark": {**mark, "color": "var(--ground)", **rim}, "encoding": place}
    yield {"data": shown, "mark": {**mark, "color": "var(--ink)"}, "encoding": place}


def _tip(step: StoryStep) -> str:
    left = f"due {step.due:+.3f} s" + ("" if step.never_left else f", left {step.left:+.3f} s")
    return f"{step.operation}: {left}, over {step.over:+.3f} s: {step.says}"
