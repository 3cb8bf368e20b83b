"""The worst sessions drawn: each request, the silence, the deadline, and how the end was learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chatload.protocol.status import Outcome
from chatload.report import words
from chatload.report.charts import draw
from chatload.session.timeline import Contact, Timeline

#: So many sessions are drawn, and before each one's last sure contact so many requests.
DRAWN = 10
_BEFORE = 3
_LANE = 22
_FINE, _ENDED = Outcome.FINE.value, Outcome.ENDED.value
_SHADES = {"answered": "var(--good)", "failed": "var(--bad)", "told of the end": "var(--ink)"}
_CAUSES = {
    "planned": "waiting as planned",
    "generator": "the generator's own lateness",
    "server": "waiting in vain for answers",
    "retries": "unsuccessful requests and the waits after them",
    "network": "broken connections and the waits after them",
}


@dataclass(frozen=True)
class Drawing:
    """One session: a heading, its story in words, the picture."""

    title: str
    story: str
    picture: Markup


def choose(timelines: Iterable[Timeline]) -> list[Timeline]:
    """The worst ten dropped sessions, the most severe first, at least one of each verdict and blame."""
    dropped = [timeline for timeline in timelines if timeline.verdict.startswith("dropped")]
    # Proven lateness first: it is what the report is asked about.
    dropped.sort(key=lambda timeline: (timeline.verdict != "dropped_late", -timeline.severity_s))
    first: dict[tuple[str, str], Timeline] = {}
    for timeline in dropped:
        first.setdefault((timeline.verdict, timeline.blame), timeline)
    chosen = list(first.values())[:DRAWN]
    chosen += [timeline for timeline in dropped if all(timeline is not one for one in chosen)][: DRAWN - len(chosen)]
    return sorted(chosen, key=dropped.index)


def drawing(timeline: Timeline) -> Drawing:
    """One session drawn; instants count from the moment its last sure contact left."""
    blame = f", blame: {timeline.blame}" if timeline.blame else ""
    story = _story(timeline)
    return Drawing(f"{timeline.chat_id or 'no chat id'}: {timeline.verdict}{blame}", story, _picture(timeline, story))


def _shown(timeline: Timeline) -> list[Contact]:
    """The requests around the silence: a few before it, all within, and the one that learned of the end."""
    contacts = timeline.contacts
    before = [c for c in contacts if _sent(c) <= timeline.sure_sent]
    after = [c for c in contacts if _sent(c) > timeline.sure_sent]
    told = next((i for i, c in enumerate(after) if c.outcome == _ENDED), len(after) - 1)
    return before[-_BEFORE:] + after[: told + 1]


def _sent(contact: Contact) -> float:
    return contact.due if contact.sent is None else contact.sent


def _story(timeline: Timeline) -> str:
    zero = timeline.sure_sent
    after = [contact for contact in _shown(timeline) if _sent(contact) > zero]
    failed = [contact for contact in after if contact.outcome not in (_FINE, _ENDED)]
    parts = []
    if failed:
        parts.append(f"After the last sure contact {_failures(failed, zero)}.")
    else:
        parts.append("Nothing failed after the last sure contact.")
    if after:
        last = after[-1]
        late = _sent(last) - timeline.deadline
        when = f"{words.seconds(abs(late))} {'after' if late > 0 else 'before'} the deadline"
        told = "told of the end" if last.outcome == _ENDED else f"was the last word ({last.outcome})"
        parts.append(f"{last.operation} at {_plus(_sent(last) - zero)}, {when}, {told}.")
    spent = {cause: s for cause, s in timeline.shares.items() if s >= 0.005 * timeline.timeout_s}
    if spent:
        largest = sorted(spent.items(), key=lambda item: -item[1])
        parts.append("The time went into " + ", ".join(f"{_CAUSES[cause]} {words.seconds(s)}" for cause, s in largest))
        parts[-1] += "."
    return " ".join([*parts, f"Verdict: {timeline.why}."])


def _failures(failed: list[Contact], zero: float) -> str:
    kinds: dict[str, int] = {}
    for contact in failed:
        kinds[contact.outcome] = kinds.get(contact.outcome, 0) + 1
    what = ", ".join(f"{n} × {kind}" if n > 1 else kind for kind, n in kinds.items())
    first, last = _sent(failed[0]) - zero, failed[-1].received - zero
    requests = words.plural(len(failed), "request")
    return f"{requests} failed ({what}), from {_plus(first)} to {_plus(last)}"


def _plus(seconds: float) -> str:
    return f"+{seconds:.2f} s"


def _picture(timeline: Timeline, story: str) -> Markup:
    zero, shown = timeline.sure_sent, _shown(timeline)
    rows = [_row(i, contact, zero) for i, contact in enumerate(shown)]
    end = max([row["to"] for row in rows] + [timeline.deadline - zero])
    start = min([row["from"] for row in rows] + [0.0])
    pad = 0.04 * (end - start)
    span = {"domain": [start - pad, end + 4.5 * pad], "nice": False}
    place = {"field": "from", "type": "quantitative", "title": "seconds since the last sure contact", "scale": span}
    lanes = {"domain": [row["lane"] for row in rows], "paddingInner": 0.35}
    lane = {"field": "lane", "type": "ordinal", "title": None, "scale": lanes,
            "axis": {"labelExpr": "split(datum.label, '#')[0]", "labelFontSize": 12, "grid": False,
                     "labelColor": "var(--ink)"}}  # fmt: skip
    shade = {"field": "kind", "type": "nominal", "legend": None,
             "scale": {"domain": list(_SHADES), "range": list(_SHADES.values())}}  # fmt: skip
    last = rows[-1]["from"] if rows else 0.0
    deadline = timeline.deadline - zero
    spec = {
        "height": {"step": _LANE},
        "layer": [
            _band(timeline.sure_received - zero, last, place),
            _line(deadline, place),
            {
                "data": {"values": rows},
                "mark": {"type": "bar", "minBandSize": 3, "stroke": None},
                "encoding": {
                    "x": place,
                    "x2": {"field": "to"},
                    "y": lane,
                    "color": shade,
                    "description": {"field": "tip"},
                },
            },
            {
                "data": {"values": rows},
                "mark": {"type": "tick", "thickness": 3, "bandSize": 14},
                "encoding": {"x": place, "y": lane, "color": shade, "description": {"field": "tip"}},
            },
            {
                "data": {"values": rows},
                "mark": {
                    "type": "text",
                    "aria": False,
                    "align": "left",
                    "dx": 7,
                    "fontSize": 12,
                    "color": "var(--ink)",
                },
                "encoding": {"x": {**place, "field": "to"}, "y": lane, "text": {"field": "says"}},
            },
        ],
    }
    return draw(spec, story)


def _row(i: int, contact: Contact, zero: float) -> dict[str, Any]:
    kind = "answered" if contact.outcome == _FINE else "told of the end" if contact.outcome == _ENDED else "failed"
    took = contact.received - _sent(contact)
    says = contact.outcome if took < 0.1 else f"{contact.outcome} after {words.seconds(took)}"
    at, late = _sent(contact) - zero, max(0.0, _sent(contact) - contact.due)
    return {
        "tip": f"{contact.operation} at {_plus(at)}, {words.seconds(late)} behind its time: {contact.outcome} "
        f"after {words.seconds(took)}",
        "lane": f"{contact.operation}#{i:02d}",
        "from": _sent(contact) - zero,
        "to": contact.received - zero,
        "kind": kind,
        "says": "told of the end" if kind == "told of the end" else says,
    }


def _band(start: float, end: float, place: dict[str, Any]) -> dict[str, Any]:
    """The silence, shaded over all lanes."""
    return {
        "data": {"values": [{"from": start, "to": max(end, start)}]},
        "mark": {"type": "rect", "color": "var(--bad)", "opacity": 0.10},
        "encoding": {"x": place, "x2": {"field": "to"}},
    }


def _line(deadline: float, place: dict[str, Any]) -> dict[str, Any]:
    data = {"values": [{"from": deadline, "text": "deadline"}]}
    text = {"type": "text", "align": "left", "dx": 5, "dy": -8, "baseline": "bottom", "color": "var(--bad)"}
    return {
        "data": data,
        "layer": [
            {"mark": {"type": "rule", "color": "var(--bad)", "strokeDash": [5, 4], "strokeWidth": 1.5},
             "encoding": {"x": place}},
            {"mark": {**text, "fontSize": 12},
             "encoding": {"x": place, "y": {"value": 0}, "text": {"field": "text"}}},
        ],
    }  # fmt: skip
