"""The worst sessions, each in words and drawn: requests, silence, deadline, and what the silence was spent on."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from chatload.chat.record import CONTACTS, Contact, Timeline
from chatload.render import charts, words
from chatload.render.charts import Frame, Spec
from chatload.render.document import Chart, Fold, Section, Sentence, Tone, table
from chatload.vocabulary import TELL_THE_END, Outcome, SilencePart

#: Sessions that are drawn.
DRAWN = 10
#: Requests shown before the last sure contact: they show the rhythm before the silence.
_BEFORE = 3
#: Requests are shown back to this share of the time after the last sure contact; older ones would squeeze the picture.
_PAST = 0.7
_SAME_S = 1e-6
_SHORT = {outcome.value: outcome.short for outcome in Outcome}
_LANE, _LETTER = 22, 6.4
_LABELS = {"wide": 116, "narrow": 92}
#: Colour and shape of a request, by its kind.
_KINDS = {"answered": ("var(--good)", "circle"), "failed": ("var(--bad)", "cross"), "found": ("var(--ink)", "diamond")}
_PART_COLOURS: dict[str, str] = {
    SilencePart.PLANNED: "var(--c6)", SilencePart.GENERATOR: "var(--c2)", SilencePart.SERVER: "var(--c4)",
    SilencePart.RETRIES: "var(--c5)", SilencePart.NETWORK: "var(--bad)",
}  # fmt: skip
_SILENCE, _WENT = "silence", "time went to"


def choose(timelines: Iterable[Timeline]) -> list[Timeline]:
    """Return the ten worst dropped sessions, the most severe first, at least one of each verdict and blame.

    In a run with several user classes: one of each class, verdict and blame, as far as ten are enough.
    """
    dropped = [timeline for timeline in timelines if timeline.verdict.startswith("dropped")]
    # Proven lateness first: it is the main question of a report.
    dropped.sort(key=lambda timeline: (timeline.verdict != "dropped_late", -timeline.severity_s))
    first: dict[tuple[str, str, str], Timeline] = {}
    for timeline in dropped:
        first.setdefault((timeline.user_class, timeline.verdict, timeline.blame), timeline)
    chosen = list(first.values())[:DRAWN]
    chosen += [timeline for timeline in dropped if all(timeline is not one for one in chosen)][: DRAWN - len(chosen)]
    return sorted(chosen, key=dropped.index)


def drawing(number: int, timeline: Timeline) -> Section:
    """Return one session drawn. Instants count from the moment its last sure contact was answered."""
    shown = steps(timeline)
    said, title = story(timeline), headline(timeline)
    since = words.instant(timeline.sure_received)

    def picture(frame: Frame) -> Spec:
        canvas = _Canvas(timeline, shown, frame)
        layers = [*_silence(canvas), *_deadline(canvas), *_requests(canvas), *_went(canvas)]
        return {"height": {"step": _LANE}, "layer": layers}

    rows = [
        (step.operation, f"{step.due:+.3f}", "never" if step.never_left else f"{step.left:+.3f}", f"{step.over:+.3f}",
         step.outcome)
        for step in shown
    ]  # fmt: skip
    worker = f"; worker {timeline.worker}" if timeline.worker else ""
    caption = f"seconds since the last sure contact was answered{worker}"
    headings = ("operation", "due", "left", "over", "outcome")
    figures = table(f"Requests of session {number}", headings, rows, sides="lrrrl", caption=caption)
    of_class = f" of user class {timeline.user_class}" if timeline.user_class else ""
    blocks = (
        Sentence(f"chat {timeline.chat_id or 'without an id'}{of_class}, silent since {since}", Tone.SOFT),
        Sentence(said),
        Chart("", picture, "", f"{title}. {said}"),
        Fold("Its requests in figures", (figures,)),
    )
    return Section(f"{number}. {title}", blocks)


@dataclass(frozen=True)
class StoryStep:
    """One request; left (or was due), over: seconds since the last sure contact was answered. kind: answered, failed,
    or found (it told that the chat has ended). sure: it is the last sure contact."""

    operation: str
    due: float
    left: float
    over: float
    outcome: str
    kind: str
    sure: bool = False
    never_left: bool = False

    @property
    def says(self) -> str:
        what = _SHORT.get(self.outcome, self.outcome)
        if self.never_left:
            return f"{what}, never left"
        took = self.over - self.left
        if self.outcome == Outcome.TIMEOUT.value:
            return f"{what} in {words.seconds(took)}"
        return what if took < 0.1 else f"{what} after {words.seconds(took)}"


def steps(timeline: Timeline) -> list[StoryStep]:
    """Return the requests around the silence in order: a few before it, all in it, and the one that found the end."""
    sure_left = timeline.sure_sent - timeline.sure_received
    every = sorted((_step(contact, timeline.sure_received) for contact in timeline.contacts), key=lambda s: s.left)
    before = [step for step in every if step.left < sure_left - _SAME_S]
    sure = [step for step in every if abs(step.left - sure_left) <= _SAME_S and not step.never_left][-1:]
    after = [step for step in every if step.left > sure_left - _SAME_S and step not in sure]
    told = next((i for i, step in enumerate(after) if step.kind == "found"), len(after) - 1)
    after = after[: told + 1]
    last = max([timeline.timeout_s, *(step.over for step in after)])
    past = [step for step in before[-_BEFORE:] if -step.left <= _PAST * last]
    # Of a session with many failures the contact itself may no longer be kept; that it was there is known.
    unkept = StoryStep("(a contact)", sure_left, sure_left, 0.0, Outcome.FINE.value, "answered")
    return [*past, replace(sure[0] if sure else unkept, sure=True), *after]


def _step(contact: Contact, zero: float) -> StoryStep:
    operation, due, sent, over, outcome = contact
    left = due if sent is None else sent
    answered = "answered" if outcome == Outcome.FINE.value else "failed"
    kind = "found" if outcome in TELL_THE_END else answered
    return StoryStep(operation, due - zero, left - zero, max(over, left) - zero, outcome, kind, never_left=sent is None)


def found(shown: list[StoryStep]) -> StoryStep | None:
    """Return the request whose answer said that the chat had ended; None where no answer did."""
    return shown[-1] if shown and shown[-1].kind == "found" else None


def headline(timeline: Timeline) -> str:
    """Return verdict, blame, and how late the session was."""
    blame = f", blame {timeline.blame}" if timeline.blame else ""
    told = found(steps(timeline))
    return f"{timeline.verdict}{blame}" + (f": {late(timeline, told)}" if told else "")


def late(timeline: Timeline, told: StoryStep) -> str:
    """Return how long before or after the deadline the request left that found the chat ended."""
    by = told.left - timeline.timeout_s
    if by <= 0:
        return f"{words.seconds(-by)} before the deadline" if by < 0 else "at the deadline"
    return f"{'up to ' if timeline.verdict == 'dropped_unproven' else ''}{words.seconds(by)} too late"


def story(timeline: Timeline) -> str:
    """Return how the session ended, in a few sentences."""
    shown = steps(timeline)
    told = found(shown)
    shares = spent(timeline)
    since = shown[next(i for i, step in enumerate(shown) if step.sure) + 1 :]
    failed = [step for step in since if step.kind == "failed"]
    said = [_failures(timeline, failed)]
    if told is not None:
        said.append(f"{told.operation} at {told.left:+.2f} s found the chat ended: {late(timeline, told)}.")
        if shares and told.left > 0:
            meanings = {part.value: part.meaning for part in SilencePart}
            parts = ", ".join(f"{meanings.get(cause, cause)} took {words.seconds(s)}" for cause, s in shares)
            said.append(f"Of these {words.seconds(told.left)} {parts}.")
    elif since:
        said.append(f"The last word was {since[-1].says}, {since[-1].over:+.2f} s.")
    if timeline.verdict == "dropped_unproven" and failed:
        which = "It" if len(failed) == 1 else "Any of those that failed"
        said.append(f"{which} may have reached the server, and then the silence was shorter.")
    return " ".join([*said, f"Why this verdict: {timeline.why}."])


def spent(timeline: Timeline) -> list[tuple[str, float]]:
    """Return what the silence was spent on, the largest part first, without parts below 1 %."""
    total = sum(timeline.shares.values())
    shares = [(cause, s) for cause, s in timeline.shares.items() if s >= 0.01 * total and s > 0]
    return sorted(shares, key=lambda share: -share[1])


def _failures(timeline: Timeline, failed: list[StoryStep]) -> str:
    start = f"The server allows {timeline.timeout_s:.6g} s of silence after a contact"
    if not failed:
        return f"{start}; no request went wrong."
    first, last = failed[0], failed[-1]
    if len(failed) == 1:
        return f"{start}. {first.operation} at {first.left:+.2f} s went wrong ({first.says})."
    kinds = Counter(_SHORT.get(step.outcome, step.outcome) for step in failed)
    what = next(iter(kinds)) if len(kinds) == 1 else ", ".join(f"{n} × {kind}" for kind, n in kinds.items())
    kept = "The last " if len(timeline.contacts) == CONTACTS and len(failed) + 1 >= CONTACTS else ""
    between = f"between {first.left:+.2f} s and {last.over:+.2f} s"
    return f"{start}. {kept}{words.plural(len(failed), 'request')} went wrong {between} ({what})."


class _Canvas:
    """The geometry of a drawing: the time shown, the lanes, and the room for texts."""

    def __init__(self, timeline: Timeline, shown: list[StoryStep], frame: Frame) -> None:
        self.timeline, self.told = timeline, found(shown)
        end = max([step.over for step in shown] + [timeline.timeout_s])
        start = min([step.left for step in shown] + [0.0])
        pad = 0.03 * (end - start)
        self.start, self.end = start - pad, end + pad
        labels = _LABELS[frame.name]
        self.width = frame.width - labels
        lanes = [f"{step.operation}#{i:02d}" for i, step in enumerate(shown)]
        self.steps = dict(zip(lanes, shown, strict=True))
        self.lanes = [f"{_SILENCE}#", *lanes, *([f"{_WENT}#"] if self.told else [])]
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

    def fits(self, text: str, seconds: float, gap: int = 0) -> bool:
        """Whether a text and a gap (px) are no longer than a stretch of time (seconds) is wide."""
        return self.width * seconds / (self.end - self.start) >= len(text) * _LETTER + gap

    def beside(self, start: float, end: float, *texts: str) -> dict[str, Any]:
        """Return the first text that has room beside a mark from start to end, and its place: right of it, else left.

        The last of the texts is put left of it, even without room.
        """
        for text in texts:
            if self.fits(text, self.end - end, 8):
                return {"says": text, "at": end, "align": "left", "dx": 8}
            if self.fits(text, start - self.start, 8):
                break
        return {"says": text, "at": start, "align": "right", "dx": -8}

    def within(self, start: float, end: float, texts: Iterable[str], bold: bool = False) -> str:
        """Return the first of the texts that fits between start and end; empty where none does."""
        # A bold letter is about 1 px wider.
        return next((text for text in texts if self.fits(text, end - start, 6 + len(text) * bold)), "")


def _silence(canvas: _Canvas) -> Iterator[Spec]:
    """The silence up to the end found, shaded over all lanes: what is allowed, and what was too long."""
    timeline, told = canvas.timeline, canvas.told
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
        yield from _texts([{"lane": f"{_SILENCE}#", **canvas.beside(0.0, end, says)}], canvas)
        return
    middle = {"align": "center", "dx": 0, "lane": f"{_SILENCE}#"}
    limit = f"{timeline.timeout_s:.6g} s"
    says = canvas.within(0.0, allowed, (f"{limit} allowed", limit), bold=True)
    texts = [{**middle, "says": says, "at": allowed / 2}]
    if told and end > allowed:
        too, by = late(timeline, told), words.seconds(end - allowed)
        fits = canvas.within(allowed, end, (too, f"{by} too late", f"{by} late", by), bold=True)
        if fits:
            texts.append({**middle, "says": fits, "at": (allowed + end) / 2})
        else:
            texts = [{**middle, **canvas.beside(allowed, end, too)}]
    yield from _texts(texts, canvas, bold=True)


def _deadline(canvas: _Canvas) -> Iterator[Spec]:
    rows = [{"at": canvas.timeline.timeout_s, "says": "deadline"}]
    x = {**canvas.x, "field": "at"}
    rule = {"type": "rule", "color": "var(--bad)", "strokeDash": [5, 4], "strokeWidth": 1.5, "aria": False}
    text = {"type": "text", "align": "center", "dy": -5, "baseline": "bottom", "color": "var(--bad)", "fontSize": 12}
    yield charts.layer(rows, rule, x=x)
    yield charts.layer(rows, {**text, "aria": False}, x=x, y={"value": 0}, text={"field": "says"})


def _requests(canvas: _Canvas) -> Iterator[Spec]:
    """A bar from the send to the answer or failure, a mark at the send, and the outcome in words."""
    rows: list[dict[str, Any]] = [
        {
            **{"lane": lane, "from": step.left, "to": step.over, "kind": step.kind, "tip": _tip(step)},
            "says": f"{step.says}: last sure contact" if step.sure else step.says,
        }
        for lane, step in canvas.steps.items()
    ]
    colours, shapes = ({"domain": list(_KINDS), "range": list(values)} for values in zip(*_KINDS.values(), strict=True))
    kind = {"field": "kind", "type": "nominal", "legend": None}
    place = {"x": {**canvas.x, "field": "from"}, "y": canvas.y, "description": {"field": "tip"}}
    colour = {**kind, "scale": colours}
    bar = {"type": "bar", "height": 8, "opacity": 0.75}
    mark = {"type": "point", "filled": True, "size": 80, "opacity": 1}
    yield charts.layer(rows, bar, **place, x2={"field": "to"}, color=colour)
    yield charts.layer(rows, mark, **place, color=colour, shape={**kind, "scale": shapes})
    # Where there is no room for it, how long the request took is left out.
    places = [canvas.beside(row["from"], row["to"], row["says"], row["says"].split(" after ")[0]) for row in rows]
    yield from _texts([{**row, **place} for row, place in zip(rows, places, strict=True)], canvas)


def _went(canvas: _Canvas) -> Iterator[Spec]:
    """The parts of the silence one after the other."""
    if canvas.told is None:
        return
    labels = {part.value: part.label for part in SilencePart}
    at, texts = 0.0, []
    for cause, seconds in spent(canvas.timeline):
        label = labels.get(cause, cause)
        tip = f"{label}: {words.seconds(seconds)}"
        yield _rect(at, at + seconds, canvas, _PART_COLOURS.get(cause, "var(--c6)"), 0.35, f"{_WENT}#", tip)
        says = canvas.within(at, at + seconds, (f"{label} {words.seconds(seconds)}", label))
        texts.append({"says": says, "at": at + seconds / 2, "align": "center", "dx": 0, "lane": f"{_WENT}#"})
        at += seconds
    yield from _texts(texts, canvas)


def _rect(
    start: float, end: float, canvas: _Canvas, colour: str, opacity: float, lane: str = "", tip: str = ""
) -> Spec:
    """A block over one lane, or over all of them."""
    mark: Spec = {"type": "bar" if lane else "rect", "color": colour, "opacity": opacity, "aria": bool(tip)}
    channels: Spec = {"x": {**canvas.x, "field": "from"}, "x2": {"field": "to"}}
    if lane:
        mark["stroke"], mark["strokeOpacity"] = colour, 1
        channels["y"] = canvas.y
    if tip:
        channels["description"] = {"field": "tip"}
    return charts.layer([{"from": start, "to": end, "lane": lane, "tip": tip}], mark, **channels)


def _texts(rows: list[dict[str, Any]], canvas: _Canvas, bold: bool = False) -> Iterator[Spec]:
    """Texts at their places, with a rim of the page's own colour so that no line runs through them."""
    mark = {
        **{"type": "text", "fontSize": 12, "aria": False, "fontWeight": "bold" if bold else "normal"},
        **{"align": {"expr": "datum.align"}, "dx": {"expr": "datum.dx"}},
    }
    shown = [row for row in rows if row["says"]]
    place = {"x": {**canvas.x, "field": "at"}, "y": canvas.y, "text": {"field": "says", "type": "nominal"}}
    rim = {"stroke": "var(--ground)", "strokeWidth": 3, "strokeOpacity": 0.75, "strokeJoin": "round"}
    yield charts.layer(shown, {**mark, "color": "var(--ground)", **rim}, **place)
    yield charts.layer(shown, {**mark, "color": "var(--ink)"}, **place)


def _tip(step: StoryStep) -> str:
    left = "" if step.never_left else f", left {step.left:+.3f} s"
    return f"{step.operation}: due {step.due:+.3f} s{left}, over {step.over:+.3f} s: {step.says}"
