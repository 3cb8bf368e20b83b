"""The result of a sweep of refresh intervals, as a document and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from chatload import __version__
from chatload.chat.policy import WIDGET_INTERVAL_S
from chatload.features.tune.compute import Arm, Tuning, agree, blamed
from chatload.render import charts, words
from chatload.render import document as doc
from chatload.render.charts import Frame, Spec
from chatload.render.document import Tone
from chatload.stats.rates import bound_text, per_unit_text

#: `schema_version` of the JSON that `TuneReport.to_dict` makes.
SCHEMA_VERSION = 1
_WORDS = {"pass": "passed", "fail": "failed", "inconclusive": "undecided", "invalid": "invalid"}
_NOT_TESTED = "not tested"
_TONES = {"passed": Tone.GOOD, "failed": Tone.BAD, "undecided": Tone.WARN, "invalid": Tone.WARN, _NOT_TESTED: Tone.SOFT}
_RESULTS = {
    "recommended": doc.Badge("recommended", Tone.GOOD), "none": doc.Badge("none recommended", Tone.BAD),
    "inconclusive": doc.Badge("inconclusive", Tone.WARN), "invalid": doc.Badge("invalid", Tone.BAD),
}  # fmt: skip
_COLOURS = {
    Tone.GOOD: "var(--pass)", Tone.BAD: "var(--bad)", Tone.WARN: "var(--warn)", Tone.SOFT: "var(--none)",
}  # fmt: skip
#: Ticks of the drop rate (percent), on a root scale, in which 1 % and 80 % can both be read.
_TICKS = (0, 1, 5, 10, 20, 40, 60, 80, 100)
_CHATS = 1000
#: What no sweep can say; reports print it.
LIMITS = (
    "All arms shared one load. If all chats use the recommended interval, the server gets fewer requests than in the "
    "sweep.",
    "The result holds for this load, server, network and length of chats. Longer chats have more refreshes to miss.",
    "An outage hits all arms at once, and says nothing about the interval.",
    "Unproven drops count as drops.",
)


@dataclass(frozen=True)
class TuneReport:
    """A sweep judged, the run it was, and the model's curve where it was asked for."""

    tuning: Tuning
    run: str
    model: Tuning | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said with it."""
        return (assumed(self.tuning),)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe form, as in tune.schema.json."""
        tuning = self.tuning
        best, stop, saving = tuning.recommended, tuning.stopped_by, tuning.saving
        return {
            "schema_version": SCHEMA_VERSION,
            "chatload_version": __version__,
            "run": self.run,
            "result": tuning.result,
            "problems": list(tuning.problems),
            "timeout_s": tuning.timeout_s,
            "target": tuning.target,
            "confidence": tuning.confidence,
            "incident_size": tuning.incident_size,
            "recommended": None if best is None else {"fraction": best.fraction, "interval_s": best.interval_s},
            "saving": None if saving is None else saving._asdict(),
            "stopped_by": None if stop is None else stop.fraction,
            "sessions_needed": tuning.needed,
            "arms": [_arm(arm, tuning) for arm in tuning.arms],
            "model": None if self.model is None else [_arm(arm, self.model) for arm in self.model.arms],
            "notes": list(self.notes),
        }


def tune_document(report: TuneReport) -> doc.Document:
    """Return the sweep as a document."""
    tuning, best = report.tuning, report.tuning.recommended
    lead = [doc.Sentence(f"also: {problem}", Tone.BAD) for problem in tuning.problems[1:]]
    more: list[doc.Block] = []
    if best is not None:
        lead.append(doc.Sentence(("use ", doc.Code(f"--refresh-policy fraction --refresh-fraction {best.fraction:g}"))))
        more.append(doc.Sentence(f"no longer interval is recommended: {stopped(tuning)}"))
        more += [doc.Sentence(said) for said in (saved(tuning),) if said]
    charts = list(_charts(report))
    sections = [doc.Section("All intervals", (_arms(tuning), *charts[1:]))]
    if report.model is not None:
        sections.append(
            doc.Section("The same sweep in the model, in virtual time", (_model_arms(report.model, tuning),))
        )
    sections.append(doc.Section("What must be known with it", (doc.Bullets((*report.notes, *LIMITS)),)))
    return doc.Document(
        doc.Sentence(answer(tuning)),
        sections,
        _RESULTS[tuning.result],
        lead,
        more,
        subject=(doc.Code(report.run), f", flex-disconnect-timeout {tuning.timeout_s:g} s"),
        tiles=list(_tiles(tuning)),
        overview=charts[0] if charts else None,
    )


def _tiles(tuning: Tuning) -> Iterator[doc.Tile]:
    """Yield the recommended interval with its drops, margin and saving, and the size of the sweep."""
    best, saving = tuning.recommended, tuning.saving
    sure = f"with {words.confidence(tuning.confidence)} confidence"
    if best is None:
        yield doc.Tile("refresh every", "none", "no interval is recommended", _RESULTS[tuning.result].tone)
    else:
        yield doc.Tile("refresh every", interval(best), f"{best.fraction:g} of the timeout", Tone.GOOD)
        counted = f"{dropped(best)} of {words.plural(best.sessions, 'session')}"
        yield doc.Tile("dropped there", f"≤ {bound_text(best.upper, up=True)}", f"{counted}, {sure}")
        yield doc.Tile("margin p1", words.seconds(best.margin_p1_s) or "none", "what 99 of 100 sessions had left")
    if saving is not None:
        share = f"requests of a chat: {100 * saving.share_of_polls:.0f} % of the widget's polls"
        yield doc.Tile("saved", f"{saving.requests_per_s_per_chat:.3f}/s", share)
    yield doc.Tile("target", words.percent(tuning.target), "of the sessions dropped at most")
    results = [word(arm, tuning) for arm in tuning.arms]
    counted = ", ".join(f"{results.count(name)} {name}" for name in _TONES if name in results)
    yield doc.Tile("intervals", words.number(len(tuning.arms)), counted)


def _arms(tuning: Tuning) -> doc.Table:
    columns = [
        doc.TableColumn("interval", "l"),
        doc.TableColumn("part"),
        doc.TableColumn("sessions"),
        doc.TableColumn("dropped"),
        doc.TableColumn("drop rate"),
        doc.TableColumn("drops/h"),
        doc.TableColumn("margin p1", optional=True),
        doc.TableColumn("req/s"),
        doc.TableColumn("result", "l"),
    ]
    rows: list[doc.TableRow] = []
    for arm in tuning.arms:
        rate = "" if arm.requests_per_s is None else f"{arm.requests_per_s:.3f}"
        came = word(arm, tuning)
        result = doc.TableCell(came, _TONES[came], strong=True)
        margin = words.with_minus(words.seconds(arm.margin_p1_s))
        rows.append(doc.TableRow([*_counted(arm), _hourly(arm), margin, rate, result]))
    caption = (
        f"drop rate: its exact bounds, each at {words.confidence(tuning.confidence)} confidence. drops/h: those of the "
        "drops per chat-hour. margin p1: what 99 of 100 sessions had left of the timeout at their widest gap (upper "
        "bound). req/s: of one open chat. Intervals are tested from the shortest up, until one does not pass. So no "
        "correction for repeated tests is needed"
    )
    return doc.Table("All intervals", columns, rows, caption)


def _model_arms(model: Tuning, tuning: Tuning) -> doc.Table:
    """A row for each arm of the model, and whether the run agrees with it."""
    seen = {arm.fraction: arm for arm in tuning.arms}
    rows = []
    for arm in model.arms:
        own = seen.get(arm.fraction)
        agrees = "" if own is None else "agree" if agree(arm, own, tuning.confidence) else "differ"
        rows.append((*_counted(arm), agrees))
    headings = ("interval", "part", "sessions", "dropped", "drop rate", "the run")
    return doc.table("The same sweep in the model", headings, rows, sides="lrrrrl")


def _counted(arm: Arm) -> tuple[str, ...]:
    """The cells that the run and the model share. A range has a dash in place of "to": it needs less room."""
    low, high = bound_text(arm.lower, up=False).removesuffix(" %"), bound_text(arm.upper, up=True)
    ranges = dropped(arm).replace(" to ", "–"), f"{low}–{high}"
    return (interval(arm), f"{arm.fraction:g}", words.number(arm.sessions), *ranges)


def _hourly(arm: Arm) -> str:
    """Return the bounds of the drops per chat-hour."""
    hourly = arm.per_chat_hour
    if hourly is None:
        return ""
    return f"{per_unit_text(hourly.lower, up=False)}–{per_unit_text(hourly.upper, up=True)}"


def answer(tuning: Tuning) -> str:
    """Return the result in one sentence."""
    best, stop = tuning.recommended, tuning.stopped_by
    target, sure = words.percent(tuning.target), f"{100 * tuning.confidence:g} % confidence"
    if best is not None:
        return (
            f"refresh every {interval(best)} ({best.fraction:g} of the timeout): at most "
            f"{bound_text(best.upper, up=True)} of the sessions dropped at {sure}, below the target of {target}"
            f"{_hourly_bound(best, up=True)}"
        )
    if tuning.problems:
        return f"the sweep is invalid: {tuning.problems[0]}"
    assert stop is not None
    if stop.word == "fail":
        return (
            f"no interval of the sweep keeps the target of {target}: at {interval(stop)}, the shortest, at least "
            f"{bound_text(stop.lower, up=False)} of the sessions were dropped, at {sure}"
            f"{_hourly_bound(stop, up=False)}"
        )
    return f"no interval is shown to keep the target of {target} at {sure}: {stopped(tuning)}"


def _hourly_bound(arm: Arm, up: bool) -> str:
    """Return a bound of the drops per chat-hour as the end of a sentence; empty if no chat was open."""
    hourly = arm.per_chat_hour
    if hourly is None:
        return ""
    bound = hourly.upper if up else hourly.lower
    return f"; at {'most' if up else 'least'} {per_unit_text(bound, up)} drops per chat-hour"


def assumed(tuning: Tuning) -> str:
    """Return for which incidents the bounds hold."""
    size = words.plural(tuning.incident_size, "session")
    return (
        f"The bounds hold if no incident drops more than {size} of one interval: that is the largest incident of the "
        "sweep, or --incident-size if it is larger."
    )


def stopped(tuning: Tuning) -> str:
    """Return why no longer interval is recommended."""
    stop = tuning.stopped_by
    if stop is None:
        return "every interval of the sweep passed: a longer one may pass too"
    sessions = words.plural(stop.sessions, "session")
    seen = f"at {interval(stop)} ({stop.fraction:g} x timeout), {dropped(stop)} of {sessions}"
    causes = ", ".join(f"{words.number(n)} {name}" for name, n in blamed(stop))
    seen += f" were dropped ({causes})" if causes else " were dropped"
    if stop.most > stop.incidents:
        seen += (
            f" in {words.plural(stop.incidents, 'incident')}, so the sessions are worth {stop.worth} independent ones"
        )
    if stop.word == "fail":
        return f"{seen}: above the target"
    if stop.word == "invalid":
        suspects = words.plural(stop.suspects, "drop")
        return f"{seen}, but the generator's own lateness may have caused {suspects}: use a less busy machine"
    probably = "probably (80 %) " if stop.most else ""
    if tuning.needed is None:
        return f"{seen}: undecided, and no number of sessions at these shares would settle it"
    return (
        f"{seen}: undecided; {words.number(stop.needed or 0)} sessions in that arm would {probably}settle it, "
        f"a sweep of {words.number(tuning.needed)}"
    )


def saved(tuning: Tuning) -> str:
    """Return what the recommended interval saves; empty if none is recommended."""
    saving, timeout_s = tuning.saving, tuning.timeout_s
    if saving is None:
        return ""
    per_chat, than = saving.requests_per_s_per_chat, f"the widget's {WIDGET_INTERVAL_S:g} s"
    if timeout_s <= WIDGET_INTERVAL_S:
        return (
            f"{abs(per_chat):.3f} requests/s {'less' if per_chat > 0 else 'more'} a chat than {than}, "
            f"which no chat survives at a timeout of {timeout_s:g} s"
        )
    if per_chat <= 0:
        return f"{-per_chat:.3f} requests/s more a chat than {than}: nothing is saved"
    return (
        f"it saves {per_chat:.3f} requests/s a chat against {than} ({100 * saving.share_of_polls:.0f} % of the polls): "
        f"{_CHATS * per_chat:.0f} at {words.number(_CHATS)} chats, {saving.requests_per_s:.1f} at the sweep's "
        f"{saving.chats_open:.0f}"
    )


def interval(arm: Arm) -> str:
    """The arm's refresh interval."""
    return f"{arm.interval_s:.4g} s"


def dropped(arm: Arm) -> str:
    """Return how many were dropped: a range if some drops are unproven, or may be due to the generator."""
    least, most = words.number(arm.least), words.number(arm.most)
    return most if arm.least == arm.most else f"{least} to {most}"


def word(arm: Arm, tuning: Tuning) -> str:
    """Return the result of an arm; arms after the one that ended the sequence are not tested."""
    stop = tuning.stopped_by
    return _NOT_TESTED if stop is not None and arm.fraction > stop.fraction else _WORDS[arm.word]


def _arm(arm: Arm, tuning: Tuning) -> dict[str, Any]:
    hourly = None if arm.per_chat_hour is None else arm.per_chat_hour._asdict()
    return {**asdict(arm), "per_chat_hour": hourly, "tested": word(arm, tuning) != _NOT_TESTED}


def _charts(report: TuneReport) -> Iterator[doc.Chart]:
    tuning = report.tuning
    arms = [arm for arm in tuning.arms if arm.sessions]
    if not arms:
        return
    said = ", ".join(f"{interval(arm)} {words.percent(arm.rate or 0)}" for arm in arms)
    note = f"Bars are bounds, each at {100 * tuning.confidence:g} % confidence; a dot is what was counted. "
    note += "Green: passed; red: failed; yellow: undecided or invalid; hollow: not tested, beyond where the test ended."
    note += " Violet squares: the model's curve." if report.model is not None else ""
    heading = "Drop rate against the refresh interval"
    yield doc.Chart(heading, lambda frame: _drops(report, frame), note, f"{heading}: {said}")
    measured = [arm for arm in arms if arm.requests_per_s is not None]
    if measured:
        said = ", ".join(f"{interval(arm)} {arm.requests_per_s:.3f}" for arm in measured)
        note = "All requests of an open chat, and its polls alone. Dotted: the polls of the widget, one every "
        note += f"{WIDGET_INTERVAL_S:g} s. Chats that are dropped make room for new ones, whose opening costs requests."
        label = f"Requests per second of an open chat: {said}"
        yield doc.Chart("Requests per second of one open chat", _requests(measured, tuning), note, label)


def _drops(report: TuneReport, frame: Frame) -> Spec:
    tuning = report.tuning
    arms = [arm for arm in tuning.arms if arm.sessions]
    top = min(100.0, 130 * max(*(arm.upper for arm in arms), 2 * tuning.target))
    # Below 1 % there is a tick where the target is.
    fine = [100 * tuning.target * part for part in (1, 10)] if tuning.target < 0.01 else []
    ticks = [tick for tick in sorted({*_TICKS, *fine}) if tick <= top]
    up = {
        "type": "quantitative",
        "title": "sessions dropped (root scale)",
        "axis": {"grid": True, "values": ticks, "labelExpr": "datum.label + ' %'"},
        "scale": {"type": "sqrt", "domain": [0, top], "nice": False},
    }
    rows, place = [_point(arm, tuning) for arm in arms], {"x": _across(tuning), "y": {**up, "field": "rate"}}
    bounds = {"x": place["x"], "y": {**up, "field": "low"}, "y2": {"field": "high"}}
    shade = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    dot = {**place, "color": shade, "fill": {**shade, "field": "fill"}, "description": {"field": "tip"}}
    timeout = "timeout" if frame is charts.NARROW else "flex-disconnect-timeout"
    layer = [
        charts.layer(rows, {"type": "rule", "strokeWidth": 4, "opacity": 0.45, "aria": False}, **bounds, color=shade),
        charts.layer(rows, {"type": "line", "color": "var(--soft)", "strokeWidth": 1, "aria": False}, **place),
        charts.layer(rows, {"type": "point", "size": 75, "opacity": 1, "strokeWidth": 2}, **dot),
        *charts.level_line(100 * tuning.target, f"target {words.percent(tuning.target)}", "var(--ink)"),
        *charts.mark_line(tuning.timeout_s, timeout, "var(--bad)"),
    ]
    if report.model is not None:
        points = [_point(arm, report.model) for arm in report.model.arms if arm.sessions]
        points = [{**point, "tip": f"model, {point['tip']}"} for point in points]
        bar = {"type": "rule", "strokeWidth": 2, "opacity": 0.6, "aria": False, "xOffset": 7, "color": "var(--c2)"}
        square = {"type": "point", "shape": "square", "filled": True, "size": 40, "xOffset": 7, "color": "var(--c2)"}
        layer += [
            charts.layer(points, bar, **bounds),
            charts.layer(points, square, **place, description={"field": "tip"}),
        ]
    if tuning.recommended is not None:
        best = tuning.recommended
        # Beside the left edge there is room on the right only.
        is_left = best.interval_s < (tuning.arms[0].interval_s + tuning.timeout_s) / 2
        name = f"recommended {interval(best)}"
        layer += charts.mark_line(best.interval_s, name, "var(--pass)", top=20, name_right=is_left)
    return {"height": 260, "layer": layer}


def _across(tuning: Tuning) -> Spec:
    low, high = tuning.arms[0].interval_s, max(tuning.arms[-1].interval_s, tuning.timeout_s)
    room = 0.06 * (high - low or high)
    return charts.x("x", "refresh interval, s", scale={"domain": [low - room, high + room]})


def _point(arm: Arm, tuning: Tuning) -> dict[str, Any]:
    came = word(arm, tuning)
    colour = _COLOURS[_TONES[came]]
    return {
        "x": arm.interval_s,
        "low": 100 * arm.lower,
        "high": 100 * arm.upper,
        "rate": 100 * (arm.rate or 0.0),
        "tip": f"{interval(arm)} ({arm.fraction:g}): {dropped(arm)} of {words.number(arm.sessions)} dropped, {came}",
        "colour": colour,
        "fill": "var(--ground)" if came == _NOT_TESTED else colour,
    }


def _requests(arms: list[Arm], tuning: Tuning) -> Spec:
    rows: list[dict[str, Any]] = [
        {"x": arm.interval_s, "n": value, "what": what, "tip": f"{interval(arm)}: {what} {value:.3f}/s"}
        for arm in arms
        for what, value in (("all requests", arm.requests_per_s), ("polls", arm.polls_per_s))
        if value is not None
    ]
    top = 1.1 * max([1 / WIDGET_INTERVAL_S, *(row["n"] for row in rows)])
    place = {
        "x": _across(tuning),
        "y": charts.y("n", "requests/s of one chat", scale={"domain": [0, top], "nice": False}),
        "color": charts.colour("what", {"all requests": "var(--good)", "polls": "var(--c4)"}),
    }
    layer = [
        charts.layer(rows, {"type": "line", "strokeWidth": 1.75, "aria": False}, **place),
        charts.layer(rows, {"type": "point", "filled": True, "size": 55}, **place, description={"field": "tip"}),
        *charts.level_line(1 / WIDGET_INTERVAL_S, f"widget's polls, every {WIDGET_INTERVAL_S:g} s", dash=(2, 3)),
    ]
    return {"layer": layer}
