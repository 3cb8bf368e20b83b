"""The charts of report.html, made from the facts of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatload.features.report.over_time import Series
from chatload.render import charts, words
from chatload.render.charts import Frame, Rows, Spec
from chatload.render.document import Chart, Table, table
from chatload.run.books import Books
from chatload.run.histogram import Histogram
from chatload.vocabulary import tone

_ENDING_COLOURS = {
    "dropped_late": "var(--v-late)", "dropped_unproven": "var(--v-unproven)", "dropped_early": "var(--v-early)",
    "gave_up": "var(--v-gave)", "failed": "var(--v-failed)", "refused": "var(--v-refused)",
}  # fmt: skip
_STATE_COLOURS = {
    "held": "var(--good)", "opening": "var(--v-refused)", "retrying": "var(--v-late)", "leaving": "var(--c6)",
}  # fmt: skip
_TONE_COLOURS = {"good": "var(--pass)", "bad": "var(--bad)", "warn": "var(--warn)"}
#: Heat maps drawn; every operation is in the table of latencies.
_HEAT_MAPS = 3
#: Bars of equal width up to the timeout and in all; and how much longer than its start a bar on a log scale is.
_BARS, _MOST_BARS, _GROWS = 30, 90, 1.25


def verdict_chart(summary: Mapping[str, Any]) -> Chart | None:
    """Return the share of each verdict with its bounds; None where no session ended."""
    by_verdict = summary["sessions"]["by_verdict"]
    total = sum(by_verdict.values())
    if not total:
        return None
    points = []
    for verdict, count in by_verdict.items():
        rate, share = summary["rates"][verdict], count / total
        if rate["low"] is not None:
            tip = f"{verdict}: {words.percent(share)}, bounds {words.bounds(rate)}"
            low, high = 100 * rate["low"], 100 * rate["high"]
            colour = _TONE_COLOURS[tone(verdict)] if count else "var(--soft)"
            points.append(
                {"name": verdict, "share": 100 * share, "low": low, "high": high, "tip": tip, "colour": colour}
            )
    said = ", ".join(f"{verdict} {words.percent(n / total)}" for verdict, n in by_verdict.items() if n)
    heading = "Share of each verdict with its bounds"
    return Chart(heading, charts.intervals(points), "a dot is the share, a line its bounds", f"{heading}: {said}")


def refresh_charts(books: Books, timeout_s: float | None) -> Iterator[Chart]:
    """How the gaps lie against the timeout, and the generator's own lateness."""
    if books.gap.observed.count:
        bins = _even_bins(books.gap.observed, timeout_s)
        spec = charts.distribution(bins, "gap between contacts, s", "gaps (root scale)", log=False, limit=timeout_s)
        p50, most = words.reading(books.gap.quantile(0.5)), words.reading(books.gap.maximum)
        said = f"The median gap is {p50}, the widest {most}."
        if last := books.gap.censored.count:
            said += f" The last silences of {words.plural(last, 'chat')} that may have been dropped are not drawn."
        if timeout_s is not None:
            beyond = books.gap.count_above(timeout_s)[1]
            said += f" {words.plural(beyond, 'gap')} of {words.number(books.gap.count)} reached past the timeout."
            if (books.gap.observed.maximum or 0.0) > timeout_s * (_MOST_BARS + 1) / _BARS:
                said += f" The last bar has all above {words.seconds(timeout_s * _MOST_BARS / _BARS)}."
        heading = "Gaps between contacts, against the timeout"
        yield Chart(heading, spec, said, figures=_binned(heading, bins, "gaps", 1.0))
    if books.lateness.count:
        bins = _growing_bins(books.lateness, 1000.0)
        spec = charts.distribution(bins, "lateness (log scale)", "refreshes (root scale)", log=True)
        p50, p999 = (words.seconds(books.lateness.quantile(q)) for q in (0.5, 0.999))
        most = words.seconds(books.lateness.maximum)
        said = f"Half of the refreshes left within {p50} of their time, 99.9 % within {p999}; the latest {most} late."
        heading = "The generator's own lateness"
        yield Chart(heading, spec, said, figures=_binned(heading, bins, "refreshes", 1000.0))


def heat_charts(over_time: Series, books: Books) -> Iterator[Chart]:
    """Latency over time, GetMessages first."""
    operations = sorted(over_time.heat, key=lambda name: (name != "GetMessages", -len(over_time.heat[name]), name))
    for operation in operations[:_HEAT_MAPS]:
        cells = over_time.heat[operation]
        said = "The stronger a cell's colour, the more of its column's requests took so long"
        # A window may be on the disk before the first books that tell of this operation.
        latency = books.latency.get(operation)
        said += f"; the slowest {words.reading(latency.maximum)}." if latency else "."
        if latency and latency.censored.count:
            said += f" The row at the top: {words.plural(latency.censored.count, 'request')} without an answer."
        spec = charts.heat(cells, _time(over_time), "latency (log scale)")
        yield Chart(f"{operation} over time", spec, said, f"Latency of {operation} over time. {said}")


def time_charts(over_time: Series, bursts: Sequence[tuple[float, float]]) -> Iterator[Chart]:
    """Sessions, requests and drops; bursts: start and end (seconds into the run)."""
    time, table = _time(over_time), over_time.table
    bands = [{"t": start / over_time.scale, "t2": end / over_time.scale} for start, end in bursts]
    shaded = " Shaded: bursts of drops." if bands else ""
    if over_time.states:
        most = max(row["open"] for row in table)
        spec = charts.areas(over_time.states, time, "sessions", _STATE_COLOURS)
        said = f"Sessions open by state; at most {words.plural(most, 'session')} at the end of a column.{shaded}"
        yield _timed("Sessions open", spec, said, over_time, bands)
    if over_time.requests:
        most = max(row["requests"] for row in table)
        colours = {"all requests": "var(--c6)", "GetMessages": "var(--good)"}
        spec = charts.lines(over_time.requests, time, "requests/s", colours)
        yield _timed("Request rate", spec, f"Requests per second; at most {most:.4g}.{shaded}", over_time, bands)
    arrivals = [row["n"] for row in over_time.arrivals if row["what"] == "arrivals"]
    if any(arrivals):
        colours = {"chats accepted": "var(--good)", "arrivals": "var(--v-late)"}
        spec = charts.lines(over_time.arrivals, time, "chats/s", colours)
        said = f"Chats that arrived and chats accepted, per second; at most {max(arrivals):.4g} arrived.{shaded}"
        yield _timed("Arrivals", spec, said, over_time, bands)
    endings = [row for row in over_time.endings if row["what"] in _ENDING_COLOURS]
    if endings:
        present = {row["what"] for row in endings}
        colours = {name: colour for name, colour in _ENDING_COLOURS.items() if name in present}
        said = f"Sessions dropped, refused, failed or given up, when that was found.{shaded}"
        spec = charts.blocks(endings, time, "sessions", colours)
        yield _timed("Drops and other bad endings", spec, said, over_time, bands)


def generator_charts(over_time: Series) -> Iterator[Chart]:
    """CPU, memory and stalls of the generator itself."""
    time = _time(over_time)
    for heading, rows, unit, least in (
        ("CPU of the busiest process", over_time.cpu, "% of a core", 100.0),
        ("Memory of all processes", over_time.memory, "MiB", 0.0),
    ):
        if rows:
            most = max(row["n"] for row in rows)
            spec = charts.lines(rows, time, unit, {rows[0]["what"]: "var(--good)"}, least)
            spec["encoding"]["color"] = {"value": "var(--good)"}
            yield _timed(heading, spec, f"{heading}: at most {most:.0f} {unit}.", over_time, [], 120)
    if over_time.stalls:
        most = max(row["n"] for row in over_time.stalls)
        said = f"Time the generator was stalled, per column: at most {most:.0f} ms."
        spec = charts.blocks(over_time.stalls, time, "ms per column", {"stalled": "var(--v-late)"})
        spec["encoding"]["color"] = {"value": "var(--v-late)"}
        yield _timed("Stalls", spec, said, over_time, [], 120)


def _timed(heading: str, spec: Spec, said: str, over_time: Series, bands: Rows, height: int = 200) -> Chart:
    """Return a chart over time, with bursts shaded behind it and a tip with the figures of each column."""
    tips = [{"t": row["t"], "t2": row["t2"], "tip": _tip(row, over_time.unit)} for row in over_time.table]

    def layered(frame: Frame) -> Spec:
        layers = [charts.bands(bands, _time(over_time)), spec, charts.hover(tips, _time(over_time))]
        # A phone has no pointer.
        return {"height": height, "layer": layers if frame is charts.WIDE else layers[:2]}

    return Chart(heading, layered, said)


def _tip(row: Mapping[str, Any], unit: str) -> str:
    parts = [
        f"{row['t']:.1f} to {row['t2']:.1f} {unit}",
        f"{words.number(row['open'])} open",
        f"{row['requests']:.4g} requests/s",
        f"{words.number(row['dropped'])} dropped",
    ]
    if row["p99"] is not None:
        parts.append(f"GetMessages p99 {words.reading(row['p99'])}")
    if row["cpu"] is not None:
        parts.append(f"CPU {row['cpu']:.0f} %")
    return ", ".join(parts)


def _time(over_time: Series) -> Spec:
    return charts.x("t", over_time.title, scale={"domain": [0, over_time.length]})


def _even_bins(histogram: Histogram, timeout_s: float | None) -> list[dict[str, Any]]:
    """Bars of equal width (seconds), so that they can be compared; the timeout is an edge between two, and the last
    has all that is longer than three timeouts."""
    longest = histogram.maximum or 0.0
    width = timeout_s / _BARS if timeout_s else max(longest, 1e-6) / _BARS
    counts: dict[int, int] = {}
    for low, high, count in histogram.bins():
        # A bucket that contains the timeout is put on one side by its middle.
        place = min(int(min((low + high) / 2, longest) / width), _MOST_BARS)
        counts[place] = counts.get(place, 0) + count
    bars = [_bar(place * width, (place + 1) * width, counts[place], 1.0) for place in sorted(counts)]
    if _MOST_BARS in counts:
        bars[-1]["tip"] = f"{words.number(counts[_MOST_BARS])}: above {words.seconds(_MOST_BARS * width)}"
    return bars


def _growing_bins(histogram: Histogram, scale: float) -> list[dict[str, Any]]:
    """Bars for a log scale: the buckets put together until each is _GROWS times longer than its start."""
    bins: list[tuple[float, float, int]] = []
    for low, high, count in histogram.bins():
        low = max(low, 1e-6)
        if bins and high <= bins[-1][0] * _GROWS:
            bins[-1] = (bins[-1][0], high, bins[-1][2] + count)
        else:
            bins.append((low, high, count))
    return [_bar(low, high, count, scale) for low, high, count in bins]


def _bar(low: float, high: float, count: int, scale: float) -> dict[str, Any]:
    between = f"{words.seconds(low) or '0 s'} to {words.seconds(high)}"
    return {"low": low * scale, "high": high * scale, "count": count, "tip": f"{words.number(count)}: {between}"}


def _binned(heading: str, bins: Rows, what: str, scale: float) -> Table:
    rows = [
        (words.seconds(row["low"] / scale), words.seconds(row["high"] / scale), words.number(row["count"]))
        for row in bins
    ]
    return table(f"{heading} in figures", ("above", "up to", what), rows, sides="rrr", caption=heading)
