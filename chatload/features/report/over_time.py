"""The windows of a run as series for charts, merged into a limited number of columns.

One window is in memory at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import Any

from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.windows import COARSE_S, FINE_FOR_S, FINE_S, Window
from chatload.vocabulary import BAD_ENDINGS, Outcome, SessionState

#: The most columns in a chart over time, and in a heat map.
COLUMNS, HEAT_COLUMNS = 160, 80
#: How much longer the latency of a heat map's cell is than that of the cell below it.
_HEAT_STEP = 1.5
#: Windows are not cut to the millisecond: a column may be this much longer (share, and seconds).
_SLACK, _JITTER_S = 1.005, 0.6 * FINE_S


@dataclass
class Series:
    """Rows for charts; t, t2 and the run's length are in `unit`s (of `scale` seconds) since the start.

    table: a row for each column, for the table beside the charts.
    """

    unit: str = "s"
    scale: float = 1.0
    length: float = 0.0
    states: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    endings: list[dict[str, Any]] = field(default_factory=list)
    cpu: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    stalls: list[dict[str, Any]] = field(default_factory=list)
    heat: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    table: list[dict[str, Any]] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Title of the time axis."""
        return {"s": "seconds", "min": "minutes", "h": "hours"}[self.unit] + " into the run"


def series(windows: Iterable[Window], started: float, ended: float) -> Series:
    """Return the series of a run from started to ended (Unix seconds)."""
    length = max(ended - started, 1e-9)
    unit = "s" if length < 180 else "min" if length < 3 * 3600 else "h"
    scale = {"s": 1.0, "min": 60.0, "h": 3600.0}[unit]
    made = Series(unit, scale, length / scale)
    # All columns have the same length, in whole windows, although the first windows of a run are finer.
    step = COARSE_S if length > FINE_FOR_S else FINE_S
    width = _whole(length / COLUMNS, step)
    heat_width = _whole(length / HEAT_COLUMNS, width)
    heat: list[tuple[float, float, Books]] = []
    for column in _coarse(windows, width * _SLACK + _JITTER_S):
        _add(made, column, started, scale)
        start, end = column.start - started, column.end - started
        if heat and end - heat[-1][0] <= heat_width * _SLACK + _JITTER_S:
            merged = Books()
            merged.merge(heat[-1][2])
            merged.merge(column.books)
            heat[-1] = (heat[-1][0], end, merged)
        else:
            heat.append((start, end, column.books))
    for rows in (made.requests, made.arrivals, made.cpu, made.memory):
        # A step reaches to the next point: without a point at its end the last column would not be drawn.
        rows += [{**row, "t": row["t2"]} for row in {row["what"]: row for row in rows}.values()]
    for operation in sorted({name for _, _, books in heat for name in books.latency}):
        made.heat[operation] = list(_heat(heat, operation, scale))
    return made


def _whole(width: float, step: float) -> float:
    """Return the smallest multiple of step that is not below width (seconds)."""
    return max(1, ceil(width / step)) * step


def _coarse(windows: Iterable[Window], width: float) -> Iterator[Window]:
    """Yield neighbouring windows merged until they are `width` seconds long."""
    held: Window | None = None
    for window in windows:
        if held is None:
            held = window
        elif window.end - held.start <= width:
            books = held.books
            books.merge(window.books)
            books.states = window.books.states
            held = Window(held.start, window.end, window.open, books, _most(held.cpu, window.cpu), window.rss)
        else:
            yield held
            held = window
    if held is not None:
        yield held


def _most(a: float | None, b: float | None) -> float | None:
    return max((value for value in (a, b) if value is not None), default=None)


def _add(made: Series, window: Window, started: float, scale: float) -> None:
    books, seconds = window.books, max(window.end - window.start, 1e-9)
    t, t2 = (window.start - started) / scale, (window.end - started) / scale
    states = books.states if books.states else {SessionState.HELD: window.open}
    made.states += [{"t": t2, "what": state, "n": states.get(state, 0)} for state in SessionState]
    per_second = books.sent.total() / seconds
    refreshes = books.sent["GetMessages"] / seconds
    made.requests += [
        {"t": t, "t2": t2, "what": "all requests", "n": per_second},
        {"t": t, "t2": t2, "what": "GetMessages", "n": refreshes},
    ]
    accepted = books.outcomes.get("RequestChat", Counter())[Outcome.FINE.value]
    made.arrivals += [
        {"t": t, "t2": t2, "what": "chats accepted", "n": accepted / seconds},
        {"t": t, "t2": t2, "what": "arrivals", "n": books.arrivals / seconds},
    ]
    ended = {verdict: n for verdict, n in books.verdicts.items() if verdict in BAD_ENDINGS and n}
    made.endings += [{"t": t, "t2": t2, "what": verdict, "n": n} for verdict, n in ended.items()]
    if window.cpu is not None:
        made.cpu.append({"t": t, "t2": t2, "what": "busiest process", "n": window.cpu})
    if window.rss:
        made.memory.append({"t": t, "t2": t2, "what": "all processes", "n": window.rss / 2**20})
    if books.stalled_s > 0:
        made.stalls.append({"t": t, "t2": t2, "what": "stalled", "n": 1000 * books.stalled_s})
    refresh = books.latency.get("GetMessages", CensoredHistogram())
    made.table.append(
        {
            "t": t,
            "t2": t2,
            "cpu": window.cpu,
            "open": window.open,
            "requests": per_second,
            "ended": books.verdicts.total(),
            "dropped": books.fates.dropped.most,
            "p50": refresh.quantile(0.5),
            "p99": refresh.quantile(0.99),
            "lateness": books.lateness.quantile(0.99),
        }
    )


def _heat(columns: list[tuple[float, float, Books]], operation: str, scale: float) -> Iterator[dict[str, Any]]:
    """Yield cells of latency (ms) over time; a cell's share is of its column's requests.

    Requests without an answer are in a row of their own above all others, because their duration is unknown.
    """
    known = [(start, end, latency) for start, end, books in columns if (latency := books.latency.get(operation))]
    highest = max((_height(low) for _, _, latency in known for low, _, _ in latency.observed.bins()), default=0)
    for start, end, latency in known:
        cells: dict[int, int] = {}
        for low, _, count in latency.observed.bins():
            cells[_height(low)] = cells.get(_height(low), 0) + count
        if latency.censored.count:
            cells[highest + 2] = latency.censored.count
        for key, count in cells.items():
            yield {
                "t": start / scale,
                "t2": end / scale,
                "low": 1000 * exp((key - 1) * log(_HEAT_STEP)),
                "high": 1000 * exp(key * log(_HEAT_STEP)),
                "share": count / latency.count,
            }


def _height(seconds: float) -> int:
    return ceil(log(max(seconds, 1e-5)) / log(_HEAT_STEP))
