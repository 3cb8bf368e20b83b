"""What drifts in a long run: sentences, a table and charts for reports, and `chatload drift`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import click

from chatload.features.report.summary import refuse_untested, summarize, summary_reads
from chatload.progress import CommandProgress
from chatload.render import charts, words
from chatload.render.document import (
    Badge,
    Block,
    Chart,
    Document,
    Section,
    Sentence,
    SideBySide,
    Table,
    TableCell,
    Tile,
    Tone,
    table,
)  # fmt: skip
from chatload.render.output import deliver
from chatload.run.reader import RunReader

#: Longer names of metrics are cut in a table (characters).
_MOST_NAME = 24


@click.command(short_help="Say what changes slowly in RUN: latency, drops, memory.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as in summary.json.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
def drift(run: Path, as_json: bool, html: Path | None) -> None:
    """Say what changes slowly in RUN: latency tails, drops, refusals, margin, lateness, memory.

    RUN may still be active. Each slope has a 95 % interval. A drift is claimed only if it is significant among all
    metrics and all checks together (a run without drift has a false alarm with a chance of 5 % at most), and if it
    is large enough to matter. A jump (a restart, a failover) is no drift. Needs 10 minutes of steady load.
    Exits 4 if the run has ended and no session of it was accepted.

    \b
    Example: locust -f locustfiles/soak.py --run-dir reports/soak ... &
             chatload drift reports/soak
    """
    with CommandProgress() as progress, RunReader.open(run, progress.advance) as reader:
        progress.stage("reading the run", reader.work(summary_reads(reader)))
        summary = summarize(reader)
        if reader.ended_at is not None:
            refuse_untested(summary, str(run))
    deliver(drift_document(summary["drift"]), summary["drift"] if as_json else None, html_file=html)


def claims(drift: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the metrics that drift or jump."""
    return [row for row in drift.get("metrics", ()) if row["drifts"] or row["jumps"]]


def sentences(drift: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each drift, or one that says that there is none; empty if nothing can be said."""
    if not drift.get("metrics"):
        return []
    hours = words.duration(drift["end"] - drift["start"])
    if not claims(drift):
        # The bounds of the refreshes' latency; of the first metric if that was not measured.
        named = {row["metric"]: row for row in drift["metrics"]}
        row = named.get("GetMessages.latency.p95") or drift["metrics"][0]
        between = f"{_signed(row, row['low'])} to {_signed(row, row['high'])} an hour"
        return [f"no drift in {hours} of steady load: {row['metric']} changes by {between}"]
    return [sentence for row in claims(drift) for sentence in _sentences(row)]


def drift_document(drift: Mapping[str, Any]) -> Document:
    answer, *more = sentences(drift) or [f"nothing can be said of drift: {drift['why_not']}"]
    tone = Tone.WARN if claims(drift) else Tone.PLAIN
    rows = drift_table(drift)
    notes: list[Block] = [Sentence(said, tone, strong=True) for said in more]
    sections = [] if rows is None else [Section("All metrics", (rows,))]
    charts = list(drift_charts(drift, drift["start"])) if rows is not None else []
    if charts:
        sections.append(Section("What changes", (SideBySide(charts[1:]),)))
    word = "drift" if claims(drift) else "steady" if rows is not None else "not measured"
    badge = Badge(word, Tone.WARN if word != "steady" else Tone.GOOD, in_text=False)
    overview = charts[0] if charts else None
    return Document(Sentence(answer, tone), sections, badge, notes=notes, tiles=list(_tiles(drift)), overview=overview)


def _tiles(drift: Mapping[str, Any]) -> Iterator[Tile]:
    """Yield the length of the steady part, and how many metrics drift, jump or are steady; nothing if none was."""
    rows = drift.get("metrics", ())
    if not rows:
        return
    steady = f"{words.instant(drift['start'], '%H:%M')} to {words.instant(drift['end'], '%H:%M UTC')}"
    yield Tile("steady load", words.duration(drift["end"] - drift["start"]), steady)
    yield Tile("metrics", words.number(len(rows)), "examined")
    for name, count in (
        ("drift", sum(row["drifts"] for row in rows)),
        ("jumps", sum(len(row["jumps"]) for row in rows)),
    ):
        yield Tile(name, words.number(count), "claimed", Tone.WARN if count else Tone.GOOD)


def drift_table(drift: Mapping[str, Any]) -> Table | None:
    """Return every metric that was examined: its level, slope with interval, and what is claimed; None without one."""
    rows: list[tuple[TableCell | str, ...]] = []
    for row in drift.get("metrics", ()):
        said = [] if not row["drifts"] else ["drifts" if row["worse"] else "gets better"]
        said += [words.plural(len(row["jumps"]), "jump")] if row["jumps"] else []
        slopes = (_signed(row, row[name]) for name in ("slope", "low", "high"))
        claimed = TableCell(
            (" or " if row["either"] else ", ").join(said) or "steady", Tone.WARN if said else Tone.PLAIN
        )
        name = row["metric"]
        if len(name) > _MOST_NAME:
            name = f"{name[: _MOST_NAME - 9]}…{name[-8:]}"
        rows.append((name, _valued(row, row["level"]), *slopes, claimed))
    if not rows:
        return None
    caption = (
        f"slopes over the steady part of the run, {words.instant(drift['start'])} to {words.instant(drift['end'])}: "
        "Theil-Sen over 20 blocks. at least, at most: their 95 % intervals, widened for the correlation left between "
        "blocks. A change is claimed if it is significant among all these metrics and large enough to matter. "
        "drifts or 1 jump: it is one of the two, and the blocks do not show which"
    )
    headings = ("metric", "at the start", "per hour", "at least", "at most", "claimed")
    return table("Drift", headings, rows, sides="lrrrrl", caption=caption)


def drift_charts(drift: Mapping[str, Any], started: float) -> Iterator[Chart]:
    """A chart for each metric that drifts or jumps: its blocks, and the line through them."""
    for row in claims(drift):
        scale, unit = {"s": (1.0, "s"), "%": (100.0, "%"), "MB": (1.0, "MB")}[row["unit"]]
        if unit == "s" and max(abs(value) for _, value in row["blocks"]) < 1:
            scale, unit = 1000.0, "ms"
        points = [{"t": (at - started) / 3600, "n": value * scale} for at, value in row["blocks"]]
        place = {
            "x": charts.x("t", "hours into the run", scale={"zero": False}),
            "y": charts.y("n", unit, scale={"zero": False}),
        }
        dots = charts.layer(points, {"type": "point", "filled": True, "color": "var(--soft)"}, **place)
        mark = {"type": "line", "color": "var(--bad)", "strokeWidth": 2}
        fit = charts.layer(_fitted(row, points, scale), mark, **place, detail={"field": "line"})
        said = ". ".join(sentence[:1].upper() + sentence[1:] for sentence in _sentences(row)) + "."
        kinds = [kind for kind, is_it in (("drifts", row["drifts"]), ("jumps", row["jumps"])) if is_it]
        heading = f"{row['metric']} {(' or ' if row['either'] else ' and ').join(kinds)}"
        cells = [(words.duration(3600 * p["t"]), f"{p['n']:.4g}") for p in points]
        figures = table(f"{heading} in figures", ("into the run", unit), cells, sides="rr")
        yield Chart(heading, {"layer": [dots, fit]}, said, f"{row['metric']} over the run. {said}", figures)


def _fitted(row: Mapping[str, Any], points: list[dict[str, float]], scale: float) -> list[dict[str, float]]:
    """Return the fitted line at each block; a line of its own between two jumps that are certain."""
    lines: dict[int, list[dict[str, float]]] = {}
    jumps = [] if row["either"] else row["jumps"]
    for point, (at, _) in zip(points, row["blocks"], strict=True):
        lines.setdefault(sum(at > jump[0] for jump in jumps), []).append(point)
    slope, fitted = row["slope"] * scale, []
    for line, own in lines.items():
        level = median(point["n"] - slope * point["t"] for point in own)
        fitted += [{"t": point["t"], "n": level + slope * point["t"], "line": line} for point in own]
    return fitted


def _sentences(row: Mapping[str, Any]) -> Iterator[str]:
    if row["drifts"]:
        grows = "grows" if row["slope"] > 0 else "shrinks"
        said = f"{row['metric']} {grows} by {_valued(row, abs(row['slope']))} an hour (95 % interval {_between(row)})"
        gone = row["gone_in_h"]
        if gone is not None:
            most = "never" if gone[2] is None else _hours(gone[2])
            rate = f"at this rate the margin is gone in {_hours(gone[1])} ({_hours(gone[0])} to {most})"
            said += f": {rate}" if gone[1] else ": the margin is gone"
        if row["either"]:
            said += f", or jumps by {_jump(row, *row['jumps'][0])}; the blocks do not show which"
        yield said
    if not row["either"]:
        yield from (f"{row['metric']} jumps by {_jump(row, *jump)}" for jump in row["jumps"])


def _between(row: Mapping[str, Any]) -> str:
    """Return the interval of a slope, without signs if both ends have that of the slope."""
    low, high = row["low"], row["high"]
    if low is not None and high is not None and low < 0 < high:
        return f"{_signed(row, low)} to {_signed(row, high)}"
    least, most = sorted(float("inf") if bound is None else abs(bound) for bound in (low, high))
    return f"{_valued(row, least)} to {_valued(row, most)}"


def _jump(row: Mapping[str, Any], at: float, size: float, low: float, high: float) -> str:
    between = f"95 % interval {_signed(row, low)} to {_signed(row, high)}"
    return f"{_signed(row, size)} at about {words.instant(at, '%Y-%m-%d %H:%M UTC')} ({between})"


def _valued(row: Mapping[str, Any], value: float | None) -> str:
    if value is None or value in (float("inf"), float("-inf")):
        return "any"
    if row["unit"] == "%":
        return words.percent(value)
    if row["unit"] == "MB":
        return f"{value:.3g} MB"
    return "0 ms" if not value else f"{1e6 * value:.2g} us" if abs(value) < 1e-4 else words.seconds(value)


def _signed(row: Mapping[str, Any], value: float | None) -> str:
    return _valued(row, value) if value is None else f"{'-' if value < 0 else '+'}{_valued(row, abs(value))}"


def _hours(hours: float) -> str:
    if hours < 10:
        return words.duration(3600 * hours)
    return f"{hours:.0f} hours" if hours < 100 else f"{hours / 24:.0f} days"
