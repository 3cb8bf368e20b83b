"""A run over time: its windows merged into a limited number of columns, and the charts of these.

The windows are merged while they are read, so that few are in memory.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from chatload.render import words
from chatload.render.time_charts import MarkKind, Panel, ShadedPart, TimeChart, TimeSeries, Unit, ValueAxis
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Reading
from chatload.run.windows import COARSE_S, FINE_FOR_S, FINE_S, Window
from chatload.vocabulary import SUCCESSFUL, Outcome, SessionState

#: The most columns of a chart.
COLUMNS = 360
#: Windows are not cut to the millisecond: a column may be this much longer (share, and seconds).
_SLACK, _JITTER_S = 1.005, 0.6 * FINE_S
#: Operations whose durations are drawn; every operation is in the table.
_DRAWN = 6
#: The most incidents of a kind that the charts mark; all are in the list.
_MARKED = 40
_ENDING_COLOURS = {
    "dropped_late": "var(--v-late)", "dropped_unproven": "var(--v-unproven)", "dropped_early": "var(--v-early)",
    "gave_up": "var(--v-gave)", "failed": "var(--v-failed)", "refused": "var(--v-refused)",
}  # fmt: skip
#: Endings of sessions that were lost without being dropped.
_NOT_DROPPED = ("failed", "refused", "gave_up")
_STATE_COLOURS = {
    "held": "var(--area)", "opening": "var(--v-refused)", "retrying": "var(--v-late)", "leaving": "var(--c6)",
}  # fmt: skip
#: A colour for each user class that is drawn; all are in the tables.
_CLASS_COLOURS = ("var(--c2)", "var(--c4)", "var(--good)", "var(--c5)", "var(--c3)", "var(--c6)")
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_QUANTILE_COLOURS = {"p50": "var(--good)", "p95": "var(--c2)", "p99": "var(--c4)"}


@dataclass(frozen=True)
class Column:
    """What happened in one part of a run, from start to end (seconds into the run).

    open: sessions open at its end; states: these by state. sent, failed: requests, by operation: all, and those that
    the server did not carry out. accepted, arrivals: chats. endings: bad ones, by verdict. dropped: surely or possibly.
    latency: quantiles by operation. lateness_s: 99th percentile. cpu: of the busiest process, % of a core. memory: MiB.
    stalled_s: of all processes.
    """

    start: float
    end: float
    open: int
    states: Mapping[str, int]
    sent: Mapping[str, int]
    failed: Mapping[str, int]
    accepted: int
    arrivals: int
    ended: int
    endings: Mapping[str, int]
    dropped: int
    latency: Mapping[str, Mapping[str, Reading]]
    lateness_s: float | None
    cpu: float | None
    memory: float | None
    stalled_s: float

    @property
    def length(self) -> float:
        return max(self.end - self.start, 1e-9)

    def reading(self, operation: str, quantile: str) -> Reading | None:
        """Return a quantile of the latency of an operation; None where none of its requests ended."""
        return self.latency.get(operation, {}).get(quantile)


@dataclass(frozen=True)
class RunOverTime:
    """The columns of a run, all of width_s but the last. began: Unix time. length_s: of the run."""

    began: float
    length_s: float
    width_s: float
    columns: Sequence[Column]
    marked: Sequence[ShadedPart]

    def chart(self, heading: str, shows: str, *panels: Panel) -> TimeChart:
        middles = [(column.start + column.end) / 2 for column in self.columns]
        return TimeChart(heading, shows, middles, self.width_s, self.length_s, panels, self.marked, self.began)


def over_time(windows: Iterable[Window], summary: Mapping[str, Any], ended: float | None = None) -> RunOverTime:
    """Return the columns of a run with its bursts of drops and its incidents. ended: Unix time; by default its end."""
    began = summary["started_at"] or 0.0
    length = max((ended or summary["ended_at"] or began) - began, 1e-9)
    # All columns have the same length, in whole windows, although the first windows of a run are finer.
    step = COARSE_S if length > FINE_FOR_S else FINE_S
    width = max(1, ceil(length / COLUMNS / step)) * step
    columns = [_column(window, began) for window in _coarse(windows, width * _SLACK + _JITTER_S)]
    if columns:
        # Of a run that was never finished, the windows say how long it was.
        length = max(length, columns[-1].end)
    return RunOverTime(began, length, width, columns, tuple(_marked(summary, began)))


def of_class(run: RunOverTime, windows: Iterable[Window], figures: Mapping[str, Any]) -> RunOverTime:
    """Return one user class of a run, in the columns of the whole run: what has no window is a column of nothing.

    windows: of the class. figures: those of the class in the summary, for its bursts of drops.
    """
    found: list[Window | None] = [None] * len(run.columns)
    ends = [column.end + run.began for column in run.columns]
    for window in windows:
        number = bisect_left(ends, window.middle)
        if number < len(found):
            held = found[number]
            found[number] = window if held is None else _merged(held, window)
    columns = [
        _column(window or Window(column.start + run.began, column.end + run.began, 0, Books()), run.began)
        for column, window in zip(run.columns, found, strict=True)
    ]
    incidents = [part for part in run.marked if part.start == part.end]
    return replace(run, columns=columns, marked=(*_bursts(figures, run.began), *incidents))


def _bursts(figures: Mapping[str, Any], began: float) -> Iterator[ShadedPart]:
    for burst in figures["bursts"]["bursts"]:
        yield ShadedPart(
            burst["start"] - began, burst["end"] - began, f"burst of {words.plural(burst['count'], 'drop')}"
        )


def _marked(summary: Mapping[str, Any], began: float) -> Iterator[ShadedPart]:
    yield from _bursts(summary, began)
    length = (summary["ended_at"] or began) - began
    at: dict[str, list[list[float]]] = {}
    for incident in summary["incidents"]:
        groups = at.setdefault(incident["kind"], [])
        after = max(incident["at"] - began, 0.0)
        # Lines that are closer together than this could not be told apart.
        if groups and after - groups[-1][0] <= length / _MARKED:
            groups[-1].append(after)
        else:
            groups.append([after])
    for kind, groups in at.items():
        for group in groups:
            many = f"{words.number(len(group))} incidents" if len(group) > 1 else "incident"
            yield ShadedPart(group[0], group[0], f"{many}: {kind}")


def _coarse(windows: Iterable[Window], width: float) -> Iterator[Window]:
    """Yield windows of up to `width` seconds; the books of later ones are merged into those of the first."""
    held: Window | None = None
    for window in windows:
        if held is None:
            held = window
        elif window.end - held.start <= width:
            held = _merged(held, window)
        else:
            yield held
            held = window
    if held is not None:
        yield held


def _merged(held: Window, window: Window) -> Window:
    """Return one window for two that follow each other; the books of the first are changed."""
    books = held.books
    books.merge(window.books)
    books.states = window.books.states
    cpu = max((cpu for cpu in (held.cpu, window.cpu) if cpu is not None), default=None)
    return Window(held.start, window.end, window.open, books, cpu, window.rss)


def _column(window: Window, began: float) -> Column:
    books = window.books
    return Column(
        start=window.start - began,
        end=window.end - began,
        open=window.open,
        states=dict(books.states or {SessionState.HELD: window.open}),
        sent=dict(books.sent),
        failed={name: _failed(outcomes) for name, outcomes in books.outcomes.items()},
        accepted=books.outcomes.get("RequestChat", Counter())[Outcome.FINE.value],
        arrivals=books.arrivals,
        ended=books.verdicts.total(),
        endings={verdict: n for verdict, n in books.verdicts.items() if verdict in _ENDING_COLOURS and n},
        dropped=books.fates.dropped.most,
        latency={name: _quantiles(latency) for name, latency in books.latency.items() if latency.count},
        lateness_s=books.lateness.quantile(0.99),
        cpu=window.cpu,
        memory=window.rss / 2**20 if window.rss else None,
        stalled_s=books.stalled_s,
    )


def _failed(outcomes: Mapping[str, int]) -> int:
    return sum(n for outcome, n in outcomes.items() if outcome not in SUCCESSFUL)


def _quantiles(latency: CensoredHistogram) -> dict[str, Reading]:
    found = {name: latency.quantile(q) for name, q in _QUANTILES.items()}
    return {name: reading for name, reading in found.items() if reading is not None}


# -- charts ------------------------------------------------------------------------------------------


def overview_chart(run: RunOverTime) -> TimeChart | None:
    """Open sessions, 95th percentile of GetMessages, lost sessions and incidents; None without windows."""
    if not run.columns:
        return None
    p95 = _percentile_series(run, "GetMessages", "p95", "GetMessages p95", right=True)
    opened = TimeSeries("open sessions", "var(--area)", [column.open for column in run.columns], MarkKind.AREA)
    sessions, seconds = ValueAxis("sessions", Unit.COUNT, least=1), ValueAxis("latency", Unit.SECONDS, log=True)
    panels = [Panel(sessions, [opened, p95], seconds, 190)]
    said = "Sessions open, and the 95th percentile of GetMessages' latency (right, log scale)"
    dropped = [column.dropped for column in run.columns]
    lost = [TimeSeries("dropped (surely or possibly)", "var(--v-late)", dropped, MarkKind.BARS)]
    lost += [_ending_series(run, verdict) for verdict in _NOT_DROPPED]
    lost = [series for series in lost if any(series.values)]
    if lost:
        panels.append(Panel(ValueAxis("lost", Unit.COUNT), lost, height=60))
        said += f"; below, sessions lost in each {_lasting(run)}: {', '.join(series.name for series in lost)}"
    return run.chart("", f"{said}.{legend(run)}", *panels)


def _ending_series(run: RunOverTime, verdict: str) -> TimeSeries:
    counts = [column.endings.get(verdict, 0) for column in run.columns]
    return TimeSeries(verdict, _ENDING_COLOURS[verdict], counts, MarkKind.BARS)


def _lasting(run: RunOverTime) -> str:
    return f"{run.width_s:g} s" if run.width_s < 120 else words.duration(run.width_s)


def legend(run: RunOverTime) -> str:
    """Return what the marks behind a chart mean."""
    bursts = any(part.end > part.start for part in run.marked)
    incidents = any(part.end == part.start for part in run.marked)
    return " Red: bursts of drops." * bursts + " Dashed lines: incidents of the run." * incidents


def time_charts(run: RunOverTime) -> Iterator[TimeChart]:
    """Sessions, requests, durations and bad endings over time."""
    if not run.columns:
        return
    yield _sessions_chart(run)
    yield _requests_chart(run)
    yield from latency_charts(run)
    present = [verdict for verdict in _ENDING_COLOURS if any(verdict in column.endings for column in run.columns)]
    if present:
        bars = [_ending_series(run, verdict) for verdict in present]
        shows = f"Sessions dropped, refused, failed or given up in each {_lasting(run)}, when that was found."
        panel = Panel(ValueAxis("sessions", Unit.COUNT), bars, height=160)
        yield run.chart("Drops and other bad endings", shows, panel)


def _sessions_chart(run: RunOverTime) -> TimeChart:
    areas = [
        TimeSeries(state, _STATE_COLOURS[state], [column.states.get(state, 0) for column in run.columns], MarkKind.AREA)
        for state in SessionState
        if any(column.states.get(state) for column in run.columns)
    ]
    most = words.plural(max(column.open for column in run.columns), "session")
    panels = [Panel(ValueAxis("sessions", Unit.COUNT, least=1), areas, height=160)]
    shows = f"Sessions open by state; at most {most}."
    if any(column.arrivals for column in run.columns):
        rates = {
            "arrivals": ("var(--v-late)", [column.arrivals / column.length for column in run.columns]),
            "chats accepted": ("var(--good)", [column.accepted / column.length for column in run.columns]),
        }
        series = [TimeSeries(name, colour, values) for name, (colour, values) in rates.items()]
        panels.append(Panel(ValueAxis("chats", Unit.PER_SECOND), series, height=110))
        shows += " Below, chats that arrived and chats that were accepted."
    return run.chart("Open sessions", shows, *panels)


def _requests_chart(run: RunOverTime) -> TimeChart:
    def rate(counts: Iterable[int]) -> list[float]:
        return [n / column.length for n, column in zip(counts, run.columns, strict=True)]

    sent = rate(sum(column.sent.values()) for column in run.columns)
    series = [
        TimeSeries("all requests", "var(--c6)", sent),
        TimeSeries("GetMessages", "var(--good)", rate(column.sent.get("GetMessages", 0) for column in run.columns)),
    ]
    panels = [Panel(ValueAxis("requests", Unit.PER_SECOND), series, height=160)]
    failed = rate(sum(column.failed.values()) for column in run.columns)
    shows = f"Requests sent per second; at most {max(sent):.4g}."
    if any(failed):
        bars = [TimeSeries("failed", "var(--v-late)", failed, MarkKind.BARS)]
        panels.append(Panel(ValueAxis("failed", Unit.PER_SECOND), bars, height=60))
        shows += " Below, requests that the server did not carry out, when they ended."
    return run.chart("Requests", shows, *panels)


def latency_charts(run: RunOverTime, only: Sequence[str] = ()) -> Iterator[TimeChart]:
    """Percentiles of the latency of each operation, GetMessages and RequestChat first. only: of these; (): of all."""
    known = Counter[str]()
    for column in run.columns:
        known.update({name: column.sent.get(name, 0) + 1 for name in column.latency if not only or name in only})
    order = sorted(known, key=lambda name: (rank(name)[0], -known[name], name))
    for operation in order[:_DRAWN]:
        series = [_percentile_series(run, operation, quantile, quantile) for quantile in _QUANTILES]
        shows = f"Percentiles of the latency of {operation} (log scale)."
        if any(one.beyond for one in series):
            shows += " A triangle: at least this long; the client waited no longer."
        axis = ValueAxis("latency", Unit.SECONDS, log=True)
        heading = f"{operation} latency"
        yield run.chart(heading, shows, Panel(axis, series, height=160))


def rank(operation: str) -> tuple[int, str]:
    """Return by what operations are ordered: GetMessages and RequestChat first, the others by name."""
    first = ("GetMessages", "RequestChat")
    return first.index(operation) if operation in first else len(first), operation


def _percentile_series(run: RunOverTime, operation: str, quantile: str, name: str, right: bool = False) -> TimeSeries:
    readings = [column.reading(operation, quantile) for column in run.columns]
    values = [None if reading is None else max(reading.seconds, 1e-5) for reading in readings]
    beyond = frozenset(i for i, reading in enumerate(readings) if reading is not None and reading.over)
    return TimeSeries(name, _QUANTILE_COLOURS[quantile], values, beyond=beyond, right=right)


def class_charts(by_class: Mapping[str, RunOverTime]) -> Iterator[TimeChart]:
    """Compare the user classes of a run over time, then the percentiles of GetMessages of each.

    by_class: with the columns of the run. Only the first six are drawn.
    """
    drawn = list(zip(by_class.items(), _CLASS_COLOURS, strict=False))
    if not drawn or not drawn[0][0][1].columns:
        return
    run = drawn[0][0][1]
    others = f" {words.plural(len(by_class) - len(drawn), 'more user class', 'more user classes')} not drawn."
    others = others if len(by_class) > len(drawn) else ""

    def chart(heading: str, shows: str, axis: ValueAxis, mark: MarkKind, value: Callable[[Column], float]) -> TimeChart:
        series = [
            TimeSeries(name, colour, [value(column) for column in own.columns], mark) for (name, own), colour in drawn
        ]
        return replace(run.chart(heading, f"{shows}{others}", Panel(axis, series, height=160)), marked=())

    sessions = ValueAxis("sessions", Unit.COUNT, least=1)
    yield chart("Open sessions", "Sessions open, by user class.", sessions, MarkKind.AREA, lambda column: column.open)
    yield chart(
        "Requests", "Requests sent per second, by user class.", ValueAxis("requests", Unit.PER_SECOND), MarkKind.LINE,
        lambda column: sum(column.sent.values()) / column.length,
    )  # fmt: skip
    bad = "Sessions dropped, refused, failed or given up in each"
    if any(column.endings for own in by_class.values() for column in own.columns):
        yield chart(
            "Drops and other bad endings", f"{bad} {_lasting(run)}, by user class.", ValueAxis("sessions", Unit.COUNT),
            MarkKind.BARS, lambda column: sum(column.endings.values()),
        )  # fmt: skip
    for (name, own), _ in drawn:
        for made in latency_charts(own, ("GetMessages",)):
            yield replace(made, heading=f"GetMessages latency of {name}")


def generator_chart(run: RunOverTime) -> Iterator[TimeChart]:
    """Lateness, CPU, memory and stalls of the generator itself."""
    panels, said = [], []
    for title, unit, colour, mark, values, least in (
        ("lateness p99", Unit.SECONDS, "var(--c2)", MarkKind.LINE, [c.lateness_s for c in run.columns], 0.01),
        ("CPU, busiest process", Unit.PERCENT, "var(--good)", MarkKind.LINE, [c.cpu for c in run.columns], 100.0),
        ("memory, all processes", Unit.MEBIBYTES, "var(--good)", MarkKind.LINE, [c.memory for c in run.columns], 0.0),
        ("stalled", Unit.SECONDS, "var(--v-late)", MarkKind.BARS, [c.stalled_s or None for c in run.columns], 0.0),
    ):
        known = [value for value in values if value is not None]
        if known:
            most = words.seconds(max(known)) if unit is Unit.SECONDS else f"{max(known):.0f} {_NAMES[unit]}"
            said.append(f"{title} at most {most or '0 s'}")
            panels.append(Panel(ValueAxis("", unit, least=least), [TimeSeries(title, colour, values, mark)], height=80))
    if panels:
        yield run.chart("The generator over time", f"{'; '.join(said)}".capitalize() + ".", *panels)


_NAMES = {Unit.PERCENT: "% of a core", Unit.MEBIBYTES: "MiB"}
