"""What drifts in a long run: sentences, a table, charts, and the document of `chatload drift`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from chatload.render import charts, words
from chatload.render.document import Block, Chart, Document, Section, Sentence, Table, TableCell, Tone, table

Row = Mapping[str, Any]
#: Longer names of metrics are cut in a table (characters).
_MOST_NAME = 24


def claims(drift: Mapping[str, Any]) -> list[Row]:
    """Return the metrics that drift or jump."""
    return [row for row in drift.get("metrics", ()) if row["drifts"] or row["jumps"]]


def sentences(drift: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each drift, or one that says that there is none; empty if nothing can be said."""
    if not drift.get("metrics"):
        return []
    hours = words.duration(drift["end"] - drift["start"])
    if not claims(drift):
        return [f"no drift in {hours} of steady load: {_bounds(drift)}"]
    return [sentence for row in claims(drift) for sentence in _sentences(row)]


def drift_document(drift: Mapping[str, Any]) -> Document:
    """Return what drifts as a document."""
    answer, *more = sentences(drift) or [f"nothing can be said of drift: {drift['why_not']}"]
    tone = Tone.WARN if claims(drift) else Tone.PLAIN
    rows = drift_table(drift)
    lead: list[Block] = [Sentence(said, tone, strong=True) for said in more]
    return Document(Sentence(answer, tone), () if rows is None else (Section("All metrics", (rows,)),), lead=lead)


def drift_table(drift: Mapping[str, Any]) -> Table | None:
    """Return every metric that was examined: its level, slope with interval, and what is claimed; None without one."""
    rows: list[tuple[TableCell | str, ...]] = []
    for row in drift.get("metrics", ()):
        said = [] if not row["drifts"] else ["drifts" if row["worse"] else "gets better"]
        said += [words.plural(len(row["jumps"]), "jump")] if row["jumps"] else []
        slopes = (_signed(row, row[name]) for name in ("slope", "low", "high"))
        claimed = TableCell(", ".join(said) or "steady", Tone.WARN if said else Tone.PLAIN)
        rows.append((_short(row["metric"]), _valued(row, row["level"]), *slopes, claimed))
    if not rows:
        return None
    caption = (
        f"slopes over the steady part of the run, {words.instant(drift['start'])} to {words.instant(drift['end'])}: "
        "Theil-Sen over 20 blocks. at least, at most: their 95 % intervals, widened for the correlation left between "
        "blocks. A drift is claimed if it is significant among all these metrics and large enough to matter"
    )
    headings = ("metric", "at the start", "per hour", "at least", "at most", "claimed")
    return table("Drift", headings, rows, sides="lrrrrl", caption=caption)


def _short(metric: str) -> str:
    """A metric's name for a table: a worker's is too long for one."""
    return metric if len(metric) <= _MOST_NAME else f"{metric[: _MOST_NAME - 9]}…{metric[-8:]}"


def drift_charts(drift: Mapping[str, Any], started: float) -> Iterator[Chart]:
    """A chart for each metric that drifts or jumps: its blocks, and the line through them."""
    for row in claims(drift):
        scale = {"s": 1000.0, "%": 100.0, "MB": 1.0}[row["unit"]]
        unit = {"s": "ms", "%": "%", "MB": "MB"}[row["unit"]]
        points = [{"t": (at - started) / 3600, "n": value * scale} for at, value in row["blocks"]]
        lines = [{**point, "line": part} for point, part in zip(_line(row, points, scale), _parts(row), strict=True)]
        time = charts.x("t", "hours into the run", scale={"zero": False})
        up = charts.y("n", unit, scale={"zero": False})
        dots = {"data": {"values": points}, "mark": {"type": "point", "filled": True, "color": "var(--soft)"},
                "encoding": {"x": time, "y": up}}  # fmt: skip
        fit = {"data": {"values": lines}, "mark": {"type": "line", "color": "var(--bad)", "strokeWidth": 2},
               "encoding": {"x": time, "y": up, "detail": {"field": "line"}}}  # fmt: skip
        said = ". ".join(sentence[:1].upper() + sentence[1:] for sentence in _sentences(row)) + "."
        heading = f"{row['metric']} drifts" if row["drifts"] else f"{row['metric']} jumps"
        cells = [(words.duration(3600 * p["t"]), f"{p['n']:.4g}") for p in points]
        figures = table(f"{heading} in figures", ("into the run", unit), cells, sides="rr")
        yield Chart(heading, {"layer": [dots, fit]}, said, f"{row['metric']} over the run. {said}", figures)


def _parts(row: Row) -> list[int]:
    """For each block the number of jumps before it."""
    return [sum(at > jump for jump, _ in row["jumps"]) for at, _ in row["blocks"]]


def _line(row: Row, points: list[dict[str, float]], scale: float) -> Iterator[dict[str, float]]:
    """The fitted line at each block."""
    parts, slope = _parts(row), row["slope"] * scale
    for part in sorted(set(parts)):
        own = [point for point, mine in zip(points, parts, strict=True) if mine == part]
        levels = sorted(point["n"] - slope * point["t"] for point in own)
        level = (levels[(len(levels) - 1) // 2] + levels[len(levels) // 2]) / 2
        yield from ({"t": point["t"], "n": level + slope * point["t"]} for point in own)


def _sentences(row: Row) -> Iterator[str]:
    if row["drifts"]:
        grows = "grows" if row["slope"] > 0 else "shrinks"
        low, high = sorted(abs(bound) if bound is not None else float("inf") for bound in (row["low"], row["high"]))
        said = (
            f"{row['metric']} {grows} by {_valued(row, abs(row['slope']))} an hour "
            f"(95 % interval {_valued(row, low)} to {_valued(row, high)})"
        )
        gone = row["gone_in_h"]
        if gone is not None:
            most = "never" if gone[2] is None else _hours(gone[2])
            rate = f"at this rate the margin is gone in {_hours(gone[1])} ({_hours(gone[0])} to {most})"
            said += f": {rate}" if gone[1] else ": the margin is gone"
        yield said
    for at, size in row["jumps"]:
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        yield f"{row['metric']} jumps by {_signed(row, size)} at about {when}"


def _bounds(drift: Mapping[str, Any]) -> str:
    """Return the bounds of the drift of the refreshes' latency; of the first metric if that was not measured."""
    named = {row["metric"]: row for row in drift["metrics"]}
    row = named.get("GetMessages.latency.p95") or drift["metrics"][0]
    return f"{row['metric']} changes by {_signed(row, row['low'])} to {_signed(row, row['high'])} an hour"


def _valued(row: Row, value: float | None) -> str:
    if value is None or value in (float("inf"), float("-inf")):
        return "any"
    if row["unit"] == "%":
        return f"{100 * value:.2g} %"
    return f"{value:.3g} MB" if row["unit"] == "MB" else _time(value)


def _time(seconds: float) -> str:
    return "0 ms" if not seconds else f"{1e6 * seconds:.2g} us" if abs(seconds) < 1e-4 else words.seconds(seconds)


def _signed(row: Row, value: float | None) -> str:
    return _valued(row, value) if value is None else f"{'-' if value < 0 else '+'}{_valued(row, abs(value))}"


def _hours(hours: float) -> str:
    if hours < 10:
        return words.duration(3600 * hours)
    return f"{hours:.0f} hours" if hours < 100 else f"{hours / 24:.0f} days"
