"""The charts of report.html: rows made from the facts of a run, and how they are drawn.

The windows of a run are merged into a limited number of columns while they are read, so that few are in memory.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import Any

from chatload.render import charts, words
from chatload.render.charts import Frame, Rows, Spec
from chatload.render.document import Chart, Table, table
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Histogram
from chatload.run.windows import COARSE_S, FINE_FOR_S, FINE_S, Window
from chatload.vocabulary import Outcome, SessionState, tone

#: The most columns in a chart over time, and in a heat map.
COLUMNS, HEAT_COLUMNS = 160, 80
#: How much longer the latency of a heat map's cell is than that of the cell below it.
_HEAT_STEP = 1.5
#: Windows are not cut to the millisecond: a column may be this much longer (share, and seconds).
_SLACK, _JITTER_S = 1.005, 0.6 * FINE_S
#: Units of the time axis, in seconds; and its title.
_SCALES = {"s": 1.0, "min": 60.0, "h": 3600.0}
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours"}
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


@dataclass
class Series:
    """A run over time; t, t2 and the run's length are in `unit`s (of `scale` seconds) since the start.

    columns: rows t, t2 and the figures of that time. heat: cells of latency, by operation.
    """

    unit: str
    scale: float
    length: float
    columns: list[dict[str, Any]] = field(default_factory=list)
    heat: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def axis(self) -> Spec:
        return charts.x("t", f"{_UNITS[self.unit]} into the run", scale={"domain": [0, self.length]})

    def most(self, figure: str) -> float:
        return max(column[figure] or 0 for column in self.columns)

    def rows(self, figures: Mapping[str, str], steps: bool = True) -> list[dict[str, Any]]:
        """Return rows t, t2, what, n of the columns that have a figure. figures: what -> its key.

        steps: for a line of steps, which reaches to the next point, so that it needs one at the end of the last column.
        """
        rows = [
            {"t": column["t"], "t2": column["t2"], "what": what, "n": column[key]}
            for column in self.columns
            for what, key in figures.items()
            if column.get(key) is not None
        ]
        last = {row["what"]: {**row, "t": row["t2"]} for row in rows}
        return [*rows, *last.values()] if steps else rows


def series(windows: Iterable[Window], started: float, ended: float) -> Series:
    """Return the series of a run from started to ended (Unix seconds)."""
    length = max(ended - started, 1e-9)
    unit = "s" if length < 180 else "min" if length < 3 * 3600 else "h"
    scale = _SCALES[unit]
    made = Series(unit, scale, length / scale)
    # All columns have the same length, in whole windows, although the first windows of a run are finer.
    step = COARSE_S if length > FINE_FOR_S else FINE_S
    width = _whole(length / COLUMNS, step)
    heat_width = _whole(length / HEAT_COLUMNS, width)
    coarse = list(_coarse(windows, width * _SLACK + _JITTER_S))
    made.columns = [_column(window, started, scale) for window in coarse]
    heat = list(_coarse(coarse, heat_width * _SLACK + _JITTER_S))
    for operation in sorted({name for window in heat for name in window.books.latency}):
        made.heat[operation] = list(_heat(heat, operation, started, scale))
    return made


def _whole(width: float, step: float) -> float:
    """Return the smallest multiple of step that is not below width (seconds)."""
    return max(1, ceil(width / step)) * step


def _coarse(windows: Iterable[Window], width: float) -> Iterator[Window]:
    """Yield windows of up to `width` seconds; the books of later ones are merged into those of the first."""
    held: Window | None = None
    for window in windows:
        if held is None:
            held = window
        elif window.end - held.start <= width:
            books = held.books
            books.merge(window.books)
            books.states = window.books.states
            cpu = max((cpu for cpu in (held.cpu, window.cpu) if cpu is not None), default=None)
            held = Window(held.start, window.end, window.open, books, cpu, window.rss)
        else:
            yield held
            held = window
    if held is not None:
        yield held


def _column(window: Window, started: float, scale: float) -> dict[str, Any]:
    books, seconds = window.books, max(window.end - window.start, 1e-9)
    accepted = books.outcomes.get("RequestChat", Counter())[Outcome.FINE.value]
    refresh = books.latency.get("GetMessages", CensoredHistogram())
    states = books.states or {SessionState.HELD: window.open}
    return {
        "t": (window.start - started) / scale,
        "t2": (window.end - started) / scale,
        "open": window.open,
        **{state.value: states.get(state, 0) for state in SessionState},
        "requests": books.sent.total() / seconds,
        "refreshes": books.sent["GetMessages"] / seconds,
        "accepted": accepted / seconds,
        "arrivals": books.arrivals / seconds,
        "ended": books.verdicts.total(),
        **{verdict: n for verdict, n in books.verdicts.items() if verdict in _ENDING_COLOURS and n},
        "dropped": books.fates.dropped.most,
        "p50": refresh.quantile(0.5),
        "p99": refresh.quantile(0.99),
        "lateness": books.lateness.quantile(0.99),
        "cpu": window.cpu,
        "memory": window.rss / 2**20 if window.rss else None,
        "stalled": 1000 * books.stalled_s if books.stalled_s > 0 else None,
    }


def _heat(columns: list[Window], operation: str, started: float, scale: float) -> Iterator[dict[str, Any]]:
    """Yield cells of latency (ms) over time; a cell's share is of its column's requests.

    Requests without an answer are in a row of their own above all others, because their duration is unknown.
    """
    known = [(window, latency) for window in columns if (latency := window.books.latency.get(operation))]
    highest = max((_height(low) for _, latency in known for low, _, _ in latency.observed.bins()), default=0)
    for window, latency in known:
        cells: Counter[int] = Counter()
        for low, _, count in latency.observed.bins():
            cells[_height(low)] += count
        if latency.censored.count:
            cells[highest + 2] = latency.censored.count
        for key, count in cells.items():
            yield {
                "t": (window.start - started) / scale,
                "t2": (window.end - started) / scale,
                "low": 1000 * exp((key - 1) * log(_HEAT_STEP)),
                "high": 1000 * exp(key * log(_HEAT_STEP)),
                "share": count / latency.count,
            }


def _height(seconds: float) -> int:
    return ceil(log(max(seconds, 1e-5)) / log(_HEAT_STEP))


def verdict_chart(summary: Mapping[str, Any]) -> Iterator[Chart]:
    """The share of each verdict, a dot, with its bounds, a line; no chart where no session ended."""
    by_verdict = summary["sessions"]["by_verdict"]
    total = sum(by_verdict.values())
    if not total:
        return
    rows = []
    for verdict, count in by_verdict.items():
        rate = summary["rates"][verdict]
        # Without a chat that was seen to its end, the share of those that ended well has bounds but no value.
        if rate["rate"] is not None:
            tip = f"{verdict}: {words.percent(rate['rate'])}, bounds {words.bounds(rate)}"
            colour = _TONE_COLOURS[tone(verdict)] if count else "var(--soft)"
            figures = {"share": 100 * rate["rate"], "low": 100 * rate["low"], "high": 100 * rate["high"]}
            rows.append({"name": verdict, **figures, "tip": tip, "colour": colour})
    share = {"type": "quantitative", "title": "share of the sessions, % (root scale)",
             "axis": {"grid": True, "values": [0, 1, 5, 10, 20, 40, 60, 80, 100]},
             "scale": {"type": "sqrt", "domain": [0, 100]}}  # fmt: skip
    shade = {"field": "colour", "type": "nominal", "scale": None, "legend": None}
    place = {"y": charts.names("name"), "color": shade, "description": {"field": "tip"}}
    line, dot = {"type": "rule", "strokeWidth": 3, "opacity": 0.55}, {"type": "point", "filled": True, "size": 60}
    layers = [
        charts.layer(rows, line, x={"field": "low", **share}, x2={"field": "high"}, **place),
        charts.layer(rows, {**dot, "opacity": 1}, x={"field": "share", **share}, **place),
    ]
    said = ", ".join(f"{verdict} {words.percent(n / total)}" for verdict, n in by_verdict.items() if n)
    heading, spec = "Share of each verdict with its bounds", {"height": {"step": 24}, "layer": layers}
    yield Chart(heading, spec, "a dot is the share, a line its bounds", f"{heading}: {said}")


def age_chart(summary: Mapping[str, Any]) -> Iterator[Chart]:
    """The probability that a chat was dropped before an age, a line, with its bounds, a band."""
    by_age = summary["dropped_by_age"]
    if len(by_age) < 2:
        return
    unit = "s" if by_age[-1]["age_s"] < 180 else "min"
    rows = [
        {"age": row["age_s"] / _SCALES[unit], **{key: 100 * row[key] for key in ("rate", "low", "high")}}
        for row in ({"age_s": 0.0, "rate": 0.0, "low": 0.0, "high": 0.0}, *by_age)
    ]
    across = charts.x("age", f"age of the chat, {_UNITS[unit]}", scale={"zero": True})
    up = charts.y("rate", "dropped before this age, %", scale={"zero": True})
    spec = {"layer": [charts.band(rows, across, "low", "high"), charts.line(rows, across, up)]}
    heading = "Drops by age of the chat, with bounds"
    cells = [
        (
            *(words.duration(row["age_s"]), words.number(row["at_risk"]), words.percent(row["rate"])),
            words.bounds(row),
        )
        for row in by_age
    ]
    headings = ("age", "chats that reached it", "dropped before", "bounds")
    shown = table(
        f"{heading} in figures", headings, cells, caption="Kaplan-Meier; bounds: beta product confidence procedure"
    )
    said = "the line is the share of chats dropped before an age (Kaplan-Meier), the band its bounds at each age"
    yield Chart(heading, spec, said, figures=shown)


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
    """Latency over time, GetMessages first: rectangles from low to high (ms), darker for a larger share."""
    mark = {"type": "rect", "aria": False, "color": "var(--good)"}
    shade = {"field": "share", "type": "quantitative", "scale": {"type": "sqrt", "range": [0.12, 1]}, "legend": None}
    operations = sorted(over_time.heat, key=lambda name: (name != "GetMessages", -len(over_time.heat[name]), name))
    for operation in operations[:_HEAT_MAPS]:
        said = "The stronger a cell's colour, the more of its column's requests took so long"
        # A window may be on the disk before the first books that tell of this operation.
        latency = books.latency.get(operation)
        said += f"; the slowest {words.reading(latency.maximum)}." if latency else "."
        if latency and latency.censored.count:
            said += f" The row at the top: {words.plural(latency.censored.count, 'request')} without an answer."
        cells = over_time.heat[operation]
        low, high = min(cell["low"] for cell in cells), max(cell["high"] for cell in cells)
        scale = {"type": "log", "domain": [low, high]}
        up = {"y": charts.y("low", "latency (log scale)", scale=scale, axis=charts.decades(low, high))}
        place = {"x": over_time.axis, "x2": {"field": "t2"}, **up, "y2": {"field": "high"}}
        spec = charts.layer(cells, mark, **place, opacity=shade)
        yield Chart(f"{operation} over time", spec, said, f"Latency of {operation} over time. {said}")


def time_charts(over_time: Series, bursts: Sequence[tuple[float, float]]) -> Iterator[Chart]:
    """Sessions, requests and drops; bursts: start and end (seconds into the run)."""
    if not over_time.columns:
        return
    time = over_time.axis
    bands = [{"t": start / over_time.scale, "t2": end / over_time.scale} for start, end in bursts]
    shaded = " Shaded: bursts of drops." if bands else ""
    states = [{**row, "t": row["t2"]} for row in over_time.rows({state: state for state in SessionState}, steps=False)]
    area = {"type": "area", "aria": False, "interpolate": "step-after", "opacity": 0.85}
    colour = charts.colour("what", _STATE_COLOURS)
    spec = charts.layer(states, area, x=time, y=charts.y("n", "sessions"), color=colour)
    open_sessions = words.plural(int(over_time.most("open")), "session")
    said = f"Sessions open by state; at most {open_sessions} at the end of a column.{shaded}"
    yield _timed("Sessions open", spec, said, over_time, bands)
    colours = {"all requests": "var(--c6)", "GetMessages": "var(--good)"}
    requests = over_time.rows({"all requests": "requests", "GetMessages": "refreshes"})
    said = f"Requests per second; at most {over_time.most('requests'):.4g}.{shaded}"
    yield _timed("Request rate", charts.lines(requests, time, "requests/s", colours), said, over_time, bands)
    if most_arrived := over_time.most("arrivals"):
        colours = {"chats accepted": "var(--good)", "arrivals": "var(--v-late)"}
        arrivals = over_time.rows({"chats accepted": "accepted", "arrivals": "arrivals"})
        said = f"Chats that arrived and chats accepted, per second; at most {most_arrived:.4g} arrived.{shaded}"
        yield _timed("Arrivals", charts.lines(arrivals, time, "chats/s", colours), said, over_time, bands)
    present = {verdict: verdict for verdict in _ENDING_COLOURS if any(verdict in row for row in over_time.columns)}
    if endings := over_time.rows(present, steps=False):
        colours = {verdict: _ENDING_COLOURS[verdict] for verdict in present}
        said = f"Sessions dropped, refused, failed or given up, when that was found.{shaded}"
        spec = charts.blocks(endings, time, "sessions", colours)
        yield _timed("Drops and other bad endings", spec, said, over_time, bands)


def generator_charts(over_time: Series) -> Iterator[Chart]:
    """CPU, memory and stalls of the generator itself."""
    one_colour = {"value": "var(--good)"}
    for heading, what, key, unit, least in (
        ("CPU of the busiest process", "busiest process", "cpu", "% of a core", 100.0),
        ("Memory of all processes", "all processes", "memory", "MiB", 0.0),
    ):
        if rows := over_time.rows({what: key}):
            spec = charts.lines(rows, over_time.axis, unit, {}, least)
            spec["encoding"]["color"] = one_colour
            yield _timed(heading, spec, f"{heading}: at most {over_time.most(key):.0f} {unit}.", over_time, [], 120)
    if stalls := over_time.rows({"stalled": "stalled"}, steps=False):
        said = f"Time the generator was stalled, per column: at most {over_time.most('stalled'):.0f} ms."
        spec = charts.blocks(stalls, over_time.axis, "ms per column", {"stalled": ""})
        spec["encoding"]["color"] = {"value": "var(--v-late)"}
        yield _timed("Stalls", spec, said, over_time, [], 120)


def _timed(heading: str, spec: Spec, said: str, over_time: Series, bands: Rows, height: int = 200) -> Chart:
    """Return a chart over time, with bursts shaded behind it and a tip with the figures of each column."""
    tips = [{"t": row["t"], "t2": row["t2"], "tip": _tip(row, over_time.unit)} for row in over_time.columns]
    span = {"x": over_time.axis, "x2": {"field": "t2"}}
    shade = charts.layer(bands, {"type": "rect", "aria": False, "color": "var(--bad)", "opacity": 0.18}, **span)
    hover = charts.layer(tips, {"type": "rect", "opacity": 0}, **span, description={"field": "tip"})

    def layered(frame: Frame) -> Spec:
        layers = [shade, spec, hover]
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


def _even_bins(histogram: Histogram, timeout_s: float | None) -> list[dict[str, Any]]:
    """Bars of equal width (seconds). The timeout is the edge between two; the last has all above three timeouts."""
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
