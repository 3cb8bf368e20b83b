"""report.html: one file that says what became of a run, for people to decide by."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chatload.analysis.rates import interval
from chatload.report import charts, sentences, words
from chatload.report.drawings import choose, drawing
from chatload.report.glossary import BLAMES, MEANINGS, OUTCOMES, VERDICTS
from chatload.report.over_time import Series, series
from chatload.session.books import Books
from chatload.session.histogram import Histogram
from chatload.store.reader import RunReader
from chatload.store.writer import replacing

REPORT_FILE = "report.html"
#: Verdicts by how they are meant: as planned, bad, and neither.
_GOOD = ("completed", "ended_by_agent")
_BAD = ("dropped_late", "dropped_early", "failed", "gave_up", "refused")
_ENDING_COLOURS = {
    "dropped_late": "var(--bad)", "dropped_unproven": "var(--warn)", "dropped_early": "var(--c5)",
    "gave_up": "var(--c4)", "failed": "var(--c3)", "refused": "var(--c2)", "ended_by_agent": "var(--good)",
    "closed_idle": "var(--c6)",
}  # fmt: skip
_STATE_COLOURS = {
    "held": "var(--good)", "opening": "var(--c2)", "retrying": "var(--bad)", "leaving": "var(--c6)",
}  # fmt: skip
_TABLE_ROWS = 60


class Chart(NamedTuple):
    """A picture, what it shows in words, and its heading."""

    heading: str
    picture: Markup
    said: str


def write_report(reader: RunReader, summary: Mapping[str, Any]) -> Path:
    """Write report.html of a run into its folder, whole or not at all. Raises UsageError."""
    path = reader.run_dir / REPORT_FILE
    page = render(reader, summary)
    with replacing(path) as stream:
        stream.write(page)
    return path


def render(reader: RunReader, summary: Mapping[str, Any]) -> str:
    """The page. Everything that comes from a run is escaped."""
    books = reader.books()
    started = reader.started_at or 0.0
    ended = reader.ended_at or started
    windows = reader.windows()
    over_time = series(windows, started, max(ended, started))
    timelines = reader.timelines()
    result, why = sentences.result_and_why(summary)
    environment = Environment(
        loader=PackageLoader("chatload.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(words=words, sentences=sentences, moment=_moment)
    page: str = environment.get_template("report.html.j2").render(
        summary=summary,
        result=result,
        why=why,
        answer=sentences.answer(summary),
        verdicts=list(_verdicts(summary)),
        verdict_chart=_verdict_chart(summary),
        outcomes=OUTCOMES,
        blames=_blames(summary),
        drawings=[drawing(timeline) for timeline in choose(timelines)],
        refresh_charts=list(_refresh_charts(books, summary)),
        heat_charts=list(_heat_charts(over_time)),
        time_charts=list(_time_charts(over_time)),
        generator_charts=list(_generator_charts(over_time)),
        table=over_time.table[:: max(1, -(-len(over_time.table) // _TABLE_ROWS))],
        unit=over_time.unit,
        command=repeat_command(summary["settings"]),
        meanings=MEANINGS,
        made=_moment(datetime.now(UTC).timestamp()),
    )
    return page


def repeat_command(settings: Mapping[str, Any]) -> str:
    """The Locust command that makes such a run again; no secrets, for settings hold none."""
    options = {
        "--host": settings.get("host"), "-u": settings.get("users"), "-r": settings.get("spawn_rate"),
        "-t": settings.get("run_time"), "--processes": settings.get("workers") or None,
        "--flex-disconnect-timeout": settings.get("flex_disconnect_timeout"),
        "--refresh-policy": settings.get("refresh_policy"), "--refresh-interval": settings.get("refresh_interval"),
        "--service": settings.get("service"), "--dialect": settings.get("dialect"),
        "--script": settings.get("script") or None, "--chat-length": settings.get("chat_length"),
        "--chats": settings.get("chats") or None, "--request-timeout": settings.get("request_timeout"),
        "--transport": settings.get("transport"), "--chat-seed": settings.get("chat_seed"),
    }  # fmt: skip
    name = settings.get("name") or "chat"
    parts = ["locust", "-f", f"locustfiles/{name}.py", "--headless"]
    for flag, value in options.items():
        if value is not None and str(value) not in ("", "None", "0"):
            parts += [flag, f"{value:g}" if isinstance(value, float) else f"{value}s" if flag == "-t" else str(value)]
    if settings.get("allow_late_refresh"):
        parts.append("--allow-late-refresh")
    for threshold in settings.get("thresholds") or ():
        parts += ["--threshold", threshold]
    return shlex.join(parts)


def _moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _verdicts(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row a verdict: name, count, share and 95 % interval (fractions), meaning, kind."""
    by_verdict = summary["sessions"]["by_verdict"]
    total = sum(by_verdict.values())
    for verdict, count in by_verdict.items():
        low, high = interval(count, total) if total else (0.0, 1.0)
        kind = "good" if verdict in _GOOD else "bad" if verdict in _BAD else "warn"
        yield {
            "name": verdict, "count": count, "share": count / total if total else None,
            "low": low, "high": high, "kind": kind if count else "none", "meaning": VERDICTS.get(verdict, ""),
        }  # fmt: skip


def _verdict_chart(summary: Mapping[str, Any]) -> Markup:
    rows = [row for row in _verdicts(summary) if row["share"] is not None]
    if not rows:
        return Markup()
    points = [
        {"name": row["name"], "share": 100 * row["share"], "low": 100 * row["low"], "high": 100 * row["high"],
         "tip": f"{row['name']}: {words.percent(row['low'])} to {words.percent(row['high'])}",
         "colour": "var(--soft)" if row["kind"] == "none" else f"var(--{row['kind']})"}
        for row in rows
    ]  # fmt: skip
    said = ", ".join(f"{row['name']} {words.percent(row['share'])}" for row in rows if row["count"])
    return charts.draw(charts.intervals(points), f"Share of each verdict with its 95 % interval: {said}")


def _blames(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_blame = summary["sessions"]["dropped_late_by_blame"]
    rows = [{"name": name, "count": n, "meaning": BLAMES.get(name, "")} for name, n in by_blame.items() if n]
    return sorted(rows, key=lambda row: -row["count"])


def _bins(histogram: Histogram, scale: float, width: float) -> list[dict[str, Any]]:
    """Bars of a histogram, its buckets put together until each is `width` times longer than its start."""
    bins: list[dict[str, Any]] = []
    for low, high, count in histogram.bins():
        low, high = max(low, 1e-6) * scale, high * scale
        if bins and high <= bins[-1]["low"] * width:
            bins[-1]["high"] = high
            bins[-1]["count"] += count
        else:
            bins.append({"low": low, "high": high, "count": count})
    return bins


def _refresh_charts(books: Books, summary: Mapping[str, Any]) -> Iterator[Chart]:
    timeout = summary["settings"].get("flex_disconnect_timeout")
    limit = float(timeout) if isinstance(timeout, int | float) else None
    if books.gap.count:
        spec = charts.distribution(
            _bins(books.gap, 1.0, 1.06), "gap between contacts, s", "gaps (root scale)", log=False, limit=limit
        )
        p50, most = words.seconds(books.gap.quantile(0.5)), words.seconds(books.gap.maximum)
        said = f"Half of the gaps are under {p50}, the widest is {most}."
        beyond = books.gap.count_above(limit)[1] if limit is not None else 0
        if limit is not None:
            said += f" {words.plural(beyond, 'gap')} of {words.number(books.gap.count)} reached past the timeout."
        yield Chart("Gaps between contacts, against the timeout", charts.draw(spec, said), said)
    if books.lateness.count:
        bins = _bins(books.lateness, 1000.0, 1.25)
        spec = charts.distribution(bins, "lateness (log scale)", "refreshes (root scale)", log=True)
        p50, p999, most = (words.seconds(books.lateness.quantile(q)) for q in (0.5, 0.999, 1.0))
        said = f"Half of the refreshes left within {p50} of their time, 99.9 % within {p999}; the latest {most} late."
        yield Chart("The generator's own lateness", charts.draw(spec, said), said)


def _time(over_time: Series) -> charts.Spec:
    return charts.x("t", over_time.title, scale={"domain": [0, over_time.length]})


def _heat_charts(over_time: Series) -> Iterator[Chart]:
    operations = sorted(over_time.heat, key=lambda name: (name != "GetMessages", name))
    for operation in operations[:3]:
        cells = over_time.heat[operation]
        said = f"Latency of {operation} over time: the darker, the more of that time's requests."
        picture = charts.draw(charts.heat(cells, _time(over_time), "latency (log scale)"), said)
        yield Chart(operation, picture, said)


def _time_charts(over_time: Series) -> Iterator[Chart]:
    time = _time(over_time)
    if over_time.states:
        most = max(row["open"] for row in over_time.table)
        said = f"Sessions open by state; at most {words.plural(most, 'session')} at the end of a window."
        yield Chart(
            "Sessions open", charts.draw(charts.areas(over_time.states, time, "sessions", _STATE_COLOURS), said), said
        )
    if over_time.requests:
        most = max(row["requests"] for row in over_time.table)
        said = f"Requests a second; at most {most:.0f}."
        colours = {"all requests": "var(--c6)", "GetMessages": "var(--good)"}
        yield Chart(
            "Request rate", charts.draw(charts.lines(over_time.requests, time, "requests/s", colours), said), said
        )
    if over_time.endings:
        present = {row["what"] for row in over_time.endings}
        colours = {name: colour for name, colour in _ENDING_COLOURS.items() if name in present}
        said = "Sessions that ended otherwise than by our own Disconnect, when that was found."
        picture = charts.draw(charts.blocks(over_time.endings, time, "sessions", colours), said)
        yield Chart("Drops and other endings", picture, said)


def _generator_charts(over_time: Series) -> Iterator[Chart]:
    for heading, rows, unit in (
        ("CPU of the busiest process", over_time.cpu, "% of a core"),
        ("Memory of all processes", over_time.memory, "MiB"),
    ):
        if rows:
            most = max(row["n"] for row in rows)
            said = f"{heading}: at most {most:.0f} {unit}."
            spec = charts.lines(rows, _time(over_time), unit, {rows[0]["what"]: "var(--good)"})
            spec["height"] = 120
            spec["encoding"]["color"] = {"value": "var(--good)"}
            yield Chart(heading, charts.draw(spec, said), said)
    if over_time.stalls:
        most = max(row["n"] for row in over_time.stalls)
        said = f"Time the generator stood still, per window: at most {most:.0f} ms."
        spec = charts.blocks(over_time.stalls, _time(over_time), "ms a window", {"stood still": "var(--bad)"})
        spec["height"] = 120
        spec["encoding"]["color"] = {"value": "var(--bad)"}
        yield Chart("Stalls", charts.draw(spec, said), said)
