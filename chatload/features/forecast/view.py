"""A forecast as a document. Takes the published JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from chatload.render import charts
from chatload.render.document import (
    Badge,
    Block,
    Bullets,
    Chart,
    Document,
    Section,
    Sentence,
    Table,
    TableColumn,
    TableRow,
    Tile,
    Tone,
    columns,
    table,
)
from chatload.render.words import bounds, duration, hourly, number, percent, plural, seconds, with_minus

#: `schema_version` of the JSON.
SCHEMA_VERSION = 1
_CAPTION = (
    "calm: in % of all chats; each incident of the run: in % of the sessions open; uncertain: what the rate may be, "
    "given how little a run of that length shows"
)
_NAMES = {
    "requests_per_s": "requests per second", "dropped.rate": "dropped", "dropped_late.rate": "of it dropped_late",
}  # fmt: skip
#: What a forecast of this kind cannot know.
UNKNOWN = (
    "whether servers, proxies and networks carry the load at all: no limit of theirs is in it",
    "incidents of a kind that the run did not have, and whether those it had come as often elsewhere",
    "whether customers behave as the run's script has it, and agents as they did for so many more chats",
    "whether a session that was dropped comes back as a new chat at once, as it does here",
)

Report = Mapping[str, Any]


def forecast_document(report: Report) -> Document:
    """Return the forecast as a document: what is forecast, and how good the fit is that it rests on."""
    tone = Tone.GOOD if report["goodness"]["reproduces"] else Tone.BAD
    fit = ("figure", "measured", "reproduced", "allowed", "judged")
    forecast: list[Block] = []
    if report["predictions"]:
        predictions = [
            *columns(("sessions", "refresh", "requests/s", "dropped", "95 % interval", "margin p1")),
            TableColumn("drops per chat-hour", page_only=True),
        ]
        incidents = ("sessions", "refresh", "calm", "each incident", "uncertain")
        forecast += [
            Table("Forecast", predictions, [TableRow(_prediction(row)) for row in report["predictions"]]),
            Bullets(list(dict.fromkeys(map(_held, report["predictions"])))),
            Section("Where the drops come from", (
                table("Drops by incident", incidents, [_drops(row) for row in report["predictions"]], caption=_CAPTION),
            )),
        ]  # fmt: skip
    fits = report["goodness"]["reproduces"]
    return Document(
        answer=Sentence(answer(report), tone),
        badge=Badge("forecast" if fits else "no forecast", tone, in_text=False),
        lead=[Sentence(fit_line(report), tone, strong=True)],
        tiles=list(_tiles(report)),
        overview=_chart(report),
        sections=(
            Section("Fit to the run", (table("Fit to the run", fit, tuple(goodness_rows(report)), sides="lrrrl"),)),
            *([Section("Forecast", forecast)] if forecast else []),
            Section("What is assumed", (Bullets(report["assumed"]),)),
            Section("What this forecast cannot know", (Bullets(report["unknown"]),)),
        ),
    )


def _chart(report: Report) -> Chart | None:
    """Return the drops of each load and refresh with their interval; None without a forecast."""
    rows = []
    for row in report["predictions"]:
        name = f"{number(row['sessions'])}, {refresh(row)}"
        ends = {"low": 100 * row["low"], "high": 100 * row["high"], "at": 100 * row["drop_rate"]}
        tip = f"{name}: {percent(row['drop_rate'])} dropped, 95 % interval {bounds(row)}"
        rows.append({"name": name, "colour": "var(--good)", "tip": tip, **ends})
    if not rows:
        return None
    across = {"type": "quantitative", "title": "chats dropped, %", "scale": {"zero": True}, "axis": {"grid": True}}
    said = "a line for each number of sessions and refresh: a dot is the forecast, the line its 95 % interval"
    heading = "Chats dropped, by sessions and refresh"
    told = ", ".join(row["tip"] for row in rows)
    return Chart(heading, charts.intervals(rows, across), said, f"{heading}: {told}")


def _tiles(report: Report) -> Iterator[Tile]:
    """Yield the fit, and the forecast for the largest load."""
    goodness = report["goodness"]
    good = sum(row["good"] for row in goodness["figures"] if row["judged"])
    judged = sum(row["judged"] for row in goodness["figures"])
    tone = Tone.GOOD if goodness["reproduces"] else Tone.BAD
    yield Tile("fit", f"{good} of {judged}", f"figures of {report['run']['name']} reproduced", tone)
    worst = _worst(report) if goodness["reproduces"] else None
    if worst is not None:
        yield Tile("sessions", number(worst["sessions"]), f"refresh {refresh(worst)}")
        yield Tile("dropped", percent(worst["drop_rate"]), f"95 % interval {bounds(worst)}")
        yield Tile("requests per second", number(round(worst["requests_per_s"])))
        yield Tile("margin p1", _s(worst["margins_s"].get("p1")) or "none")
        per_hour = worst["drops_per_chat_hour"]
        if per_hour is not None:
            yield Tile("drops per chat-hour", hourly(per_hour))


def _worst(report: Report) -> Report | None:
    return max(report["predictions"], key=lambda row: (row["sessions"], row["drop_rate"]), default=None)


def answer(report: Report) -> str:
    """The forecast in one sentence."""
    if not report["goodness"]["reproduces"]:
        return "no forecast: the fit does not reproduce the run it was made from"
    worst = _worst(report)
    if worst is None:
        return "the fit reproduces the run"
    return (
        f"{number(worst['sessions'])} sessions, {refresh(worst)}: {percent(worst['drop_rate'])} dropped, "
        f"{number(round(worst['requests_per_s']))} requests per second"
    )


def fit_line(report: Report) -> str:
    """How good the fit is, in one sentence."""
    goodness = report["goodness"]
    held = goodness["customers"]
    of = "" if held == goodness["customers_in_all"] else f" with {number(held)} of its customers"
    verb = "reproduce" if goodness["reproduces"] else "do not reproduce"
    return f"{plural(goodness['replays'], 'replay')}{of} {verb} the run {report['run']['name']}"


def goodness_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Each figure of the run beside the replays'."""
    for row in report["goodness"]["figures"]:
        rate = row["name"] == "requests_per_s"
        show = _per_s if rate else percent
        word = "" if not row["judged"] else "good" if row["good"] else "NOT GOOD"
        allowed = "within 3 %" if rate else bounds(row)
        yield _NAMES[row["name"]], show(row["measured"]), show(row["reproduced"]), allowed, word
    for name, row in report["goodness"]["margins_s"].items():
        yield f"margin {name}", _s(row["measured"]), _s(row["reproduced"]), "", ""


def _prediction(row: Report) -> tuple[str, ...]:
    requests, margin = number(round(row["requests_per_s"])), _s(row["margins_s"].get("p1"))
    per_hour = row["drops_per_chat_hour"]
    shown = number(row["sessions"]), refresh(row), requests, percent(row["drop_rate"]), bounds(row), margin
    return (*shown, "" if per_hour is None else hourly(per_hour))


def _drops(row: Report) -> tuple[str, ...]:
    """Return where the drops come from: calm, and each incident of the run."""
    each = ", ".join(percent(part) for part in row["by_incident"]) or "none seen"
    uncertain = bounds({"low": row["range_low"], "high": row["range_high"]})
    return number(row["sessions"]), refresh(row), percent(row["calm_rate"]), each, uncertain


def _held(row: Report) -> str:
    if row["customers"] >= row["sessions"]:
        what = f"{number(row['sessions'])} sessions, {refresh(row)}"
        counted = f"{plural(row['held'], 'chat')}, {plural(row['requests'], 'request')}"
        return f"{what}: all held for {duration(row['for_s'])} ({counted})"
    return (
        f"{number(row['customers'])} customers were held for {duration(row['for_s'])} and stand for all: given the "
        "server, sessions do not depend on each other"
    )


def refresh(row: Report) -> str:
    """A policy in a few words."""
    if row["policy"] == "fixed":
        return f"every {row['interval_s']:g} s"
    return "deadline" if row["policy"] == "deadline" else f"after {row['interval_s']:g} s"


def _per_s(rate: float) -> str:
    return f"{rate:.1f}" if rate < 1000 else number(round(rate))


def _s(value: float | None) -> str:
    return with_minus(seconds(value))
