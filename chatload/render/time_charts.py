"""Charts over time: their values, and how they are drawn without JavaScript.

A page has each chart twice. The SVG of this module is readable without JavaScript and on paper. A script (uPlot, with
`templates/time.js.j2`) draws the same values in the browser, with a cursor and zoom. Both take the geometry from here.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor, log10
from typing import Any, Final

from markupsafe import Markup, escape

from chatload.render import words
from chatload.render.charts import HALF, NARROW, WIDE, Frame


class MarkKind(StrEnum):
    """How the values of a series are drawn. Areas and bars of a panel are stacked, the first at the bottom."""

    LINE = "line"
    AREA = "area"
    BARS = "bars"


class Unit(StrEnum):
    """The unit of a value."""

    COUNT = "count"
    PER_SECOND = "per_second"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    PERCENT = "percent"
    MEBIBYTES = "mebibytes"


_SUFFIXES: Final = {
    Unit.COUNT: "", Unit.PER_SECOND: "/s", Unit.MILLISECONDS: " ms", Unit.PERCENT: " %", Unit.MEBIBYTES: " MiB",
}  # fmt: skip


@dataclass(frozen=True)
class ValueAxis:
    """A vertical axis. log: a log scale. least: a scale from 0 reaches at least to this value."""

    title: str
    unit: Unit
    log: bool = False
    least: float = 0.0


@dataclass(frozen=True)
class TimeSeries:
    """The values of one figure, one for each time of the chart; None where there is none.

    colour: a CSS colour. beyond: the indexes of values that are only lower bounds. right: it is on the right axis.
    """

    name: str
    colour: str
    values: Sequence[float | None]
    mark: MarkKind = MarkKind.LINE
    beyond: frozenset[int] = frozenset()
    right: bool = False


@dataclass(frozen=True)
class Panel:
    """A plot with its axes and series. height: of the plot (px)."""

    left: ValueAxis
    series: Sequence[TimeSeries]
    right: ValueAxis | None = None
    height: int = 190


@dataclass(frozen=True)
class ShadedPart:
    """What is marked in all panels from start to end (seconds into the run); a line where both are equal."""

    start: float
    end: float
    what: str


@dataclass(frozen=True)
class TimeChart:
    """Panels over one time axis.

    shows: what is to be seen, in words. times: of the values, seconds into the run, ascending. width_s: the time that
    one value stands for. length_s: of the axis. began: Unix time of its start; None: not known.
    """

    heading: str
    shows: str
    times: Sequence[float]
    width_s: float
    length_s: float
    panels: Sequence[Panel]
    marked: Sequence[ShadedPart] = ()
    began: float | None = None

    @property
    def margins(self) -> tuple[int, int]:
        """Room for the labels left and right of all plots of the chart (px)."""
        return 56, 56 if any(panel.right for panel in self.panels) else 20


def clock(at: float, length_s: float) -> str:
    """Return a time into the run as min:s, or as h:min in a long one. length_s: of the run."""
    whole = round(at)
    if length_s < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}"


def clock_title(length_s: float) -> str:
    """Return how `clock` counts."""
    return "min:s into the run" if length_s < 3600 else "h:min into the run"


# -- scales: the same rules are in time.js.j2 --------------------------------------------------------

_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAY_S = 86400


def time_ticks(length_s: float, most: int) -> list[float]:
    """Return at most about `most` round times from 0 to length_s (seconds)."""
    step = next((step for step in _TIME_STEPS if length_s / step <= most), 0)
    step = step or _DAY_S * ceil(length_s / _DAY_S / most)
    return [float(step * i) for i in range(int(length_s / step + 1e-9) + 1)]


def value_ticks(top: float, most: int, whole: bool = False) -> list[float]:
    """Return at most about `most` round values from 0 to `top`. whole: there is nothing between whole numbers."""
    rough = top / most
    decade = 10.0 ** floor(log10(rough))
    steps = [factor * decade for factor in (1, 2, 5, 10)]
    step = next(step for step in steps if step >= rough * (1 - 1e-9))
    # A single tick beside 0 must not lie above the top.
    step = step if step <= top else max(lower for lower in steps if lower <= top)
    step = max(step, 1.0) if whole else step
    return [step * i for i in range(int(top / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return the powers of ten from low to high; with 2 and 5 times these where they are few."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = (1, 2, 5) if log10(high / low) < 2 else (1,)
    return [f * 10.0**power for power in powers for f in factors if low * 0.999 <= f * 10.0**power <= high * 1.001]


def domain(axis: ValueAxis, drawn: Sequence[Sequence[float | None]]) -> tuple[float, float]:
    """Return the lowest and the highest value of an axis. drawn: the values of its series as they are drawn."""
    values = [value for series in drawn for value in series if value is not None]
    if axis.log:
        positive = [value for value in values if value > 0]
        if not positive:
            return 0.001, 1.0
        low, high = min(positive) / 1.15, max(positive) * 1.15
        return (low, high) if high / low >= 4 else (low / 2, high * 2)
    return 0.0, max([axis.least, *values, 0.0]) * 1.08 or 1.0


def stacked(panel: Panel) -> list[Sequence[float | None]]:
    """Return the values of each series as they are drawn: areas and bars on top of those before them."""
    below: dict[MarkKind, list[float]] = {}
    drawn: list[Sequence[float | None]] = []
    for series in panel.series:
        if series.mark is MarkKind.LINE:
            drawn.append(series.values)
            continue
        sums = below.setdefault(series.mark, [0.0] * len(series.values))
        for i, value in enumerate(series.values):
            sums[i] += value or 0.0
        drawn.append(list(sums))
    return drawn


# -- as data for the script --------------------------------------------------------------------------


def as_json(chart: TimeChart) -> Markup:
    """Return what the page's script draws, as JSON that may stand in a script element."""
    left, right = chart.margins
    data = {
        "times": [_short(at) for at in chart.times],
        "width": chart.width_s,
        "length": chart.length_s,
        "began": chart.began,
        "margins": [left, right],
        "marked": [[_short(part.start), _short(part.end), part.what] for part in chart.marked],
        "panels": [_panel_data(panel) for panel in chart.panels],
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # "</script>" and "<!--" would end or change the element.
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _panel_data(panel: Panel) -> dict[str, Any]:
    return {
        "height": panel.height,
        "axes": [None if axis is None else [axis.unit, axis.log, axis.least] for axis in (panel.left, panel.right)],
        "series": [
            {
                "name": series.name,
                "colour": series.colour,
                "mark": series.mark,
                "right": series.right,
                "values": [None if value is None else _short(value) for value in series.values],
                "drawn": None if drawn is series.values else [_short(value or 0.0) for value in drawn],
                "beyond": sorted(series.beyond),
            }
            for series, drawn in zip(panel.series, stacked(panel), strict=True)
        ],
    }


def _short(value: float) -> float:
    """Return a value with as many digits as a picture can show."""
    return float(f"{value:.4g}") if abs(value) < 1e5 else round(value)


# -- as SVG ------------------------------------------------------------------------------------------


def pictures(chart: TimeChart, panel: Panel, label: str, half: bool = False) -> Markup:
    """Return one panel as an SVG element for each frame. label: for screen readers. half: it is in two columns."""
    frames = (HALF if half else WIDE, NARROW)
    return Markup("").join(Markup(_picture(chart, panel, frame, label)) for frame in frames)


def _picture(chart: TimeChart, panel: Panel, frame: Frame, label: str) -> str:
    last = panel is chart.panels[-1]
    height = panel.height + (_TOP + _BELOW if last else 2 * _TOP)
    canvas = _TimeCanvas(chart, panel, frame)
    size = f'width="{frame.width}" height="{height}" viewBox="0 0 {frame.width} {height}"'
    lines = "".join(canvas.elements(last))
    return f'<svg class="{frame.name}" role="img" aria-label="{escape(label)}" {size} font-size="12">{lines}</svg>'


#: Room above a plot and below it (px): a tick's label is half a line higher than its tick.
_TOP, _BELOW = 8, 24


class _TimeCanvas:
    """Draws one panel in a frame."""

    def __init__(self, chart: TimeChart, panel: Panel, frame: Frame) -> None:
        self._chart, self._panel, self._frame = chart, panel, frame
        left, right = chart.margins
        self._from, self._to = left, frame.width - right
        self._low, self._high = _TOP + panel.height, _TOP
        self._drawn = stacked(panel)
        sides = [[d for s, d in zip(panel.series, self._drawn, strict=True) if s.right is on] for on in (False, True)]
        self._domains = [
            None if axis is None else domain(axis, side)
            for axis, side in zip((panel.left, panel.right), sides, strict=True)
        ]

    def elements(self, last: bool) -> Iterator[str]:
        """Yield the elements of the picture. last: the panel has the labels of the time axis."""
        yield from self._value_axis(self._panel.left, False)
        if self._panel.right is not None:
            yield from self._value_axis(self._panel.right, True)
        yield from self._time_axis(last)
        order = sorted(
            range(len(self._drawn)), key=lambda i: (_ORDER[self._panel.series[i].mark], -i * self._is_stack(i))
        )
        for i in order:
            yield from self._series(self._panel.series[i], self._drawn[i])
        yield from self._marks()

    def _is_stack(self, i: int) -> bool:
        return self._panel.series[i].mark is not MarkKind.LINE

    def _x(self, at: float) -> float:
        return self._from + (self._to - self._from) * min(max(at / self._chart.length_s, 0.0), 1.0)

    def _y(self, value: float, right: bool) -> float:
        low, high = self._domains[right] or (0.0, 1.0)
        axis = self._panel.right if right else self._panel.left
        if axis is not None and axis.log:
            share = log10(max(value, low) / low) / log10(high / low)
        else:
            share = (value - low) / (high - low)
        return self._low - (self._low - self._high) * min(max(share, 0.0), 1.0)

    def _marks(self) -> Iterator[str]:
        for part in self._chart.marked:
            start, end = self._x(part.start), self._x(part.end)
            title = f"<title>{escape(part.what)}</title>"
            box = f'y="{self._high}" height="{self._low - self._high}"'
            if part.end > part.start:
                yield (
                    f'<rect x="{start:.1f}" width="{max(end - start, 2):.1f}" {box} fill="var(--bad)" '
                    f'opacity="0.16">{title}</rect>'
                )
            else:
                yield (
                    f'<line x1="{start:.1f}" x2="{start:.1f}" y1="{self._high}" y2="{self._low}" stroke="var(--warn)" '
                    f'stroke-dasharray="4 4">{title}</line>'
                )

    def _value_axis(self, axis: ValueAxis, right: bool) -> Iterator[str]:
        low, high = self._domains[right] or (0.0, 1.0)
        ticks = (
            decades(low, high)
            if axis.log
            else value_ticks(high, max(2, self._panel.height // 45), axis.unit is Unit.COUNT)
        )
        for tick in ticks:
            y = self._y(tick, right)
            if not right:
                yield f'<line x1="{self._from}" x2="{self._to}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>'
            x, anchor = (self._to + 7, "start") if right else (self._from - 7, "end")
            yield (
                f'<text x="{x}" y="{y + 4:.1f}" text-anchor="{anchor}" fill="var(--soft)">'
                f"{escape(tick_text(tick, axis.unit))}</text>"
            )

    def _time_axis(self, labels: bool) -> Iterator[str]:
        y, length = self._low, self._chart.length_s
        for at in time_ticks(length, self._frame.ticks + 1):
            x = self._x(at)
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}" stroke="var(--line)"/>'
            if labels:
                yield (
                    f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle" fill="var(--soft)">{clock(at, length)}</text>'
                )

    def _series(self, series: TimeSeries, drawn: Sequence[float | None]) -> Iterator[str]:
        points = [
            None if value is None else (self._x(at), self._y(value, series.right))
            for at, value in zip(self._chart.times, drawn, strict=True)
        ]
        colour = escape(series.colour)
        if series.mark is MarkKind.BARS:
            half = max((self._to - self._from) * self._chart.width_s / self._chart.length_s * 0.42, 0.75)
            bars = "".join(
                f"M{x - half:.1f} {self._low}V{y:.1f}h{2 * half:.1f}V{self._low}"
                for point, value in zip(points, drawn, strict=True)
                if point is not None and value
                for x, y in (point,)
            )
            if bars:
                yield f'<path d="{bars}" fill="{colour}"/>'
            return
        for run in _runs(points):
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in run)
            if series.mark is MarkKind.AREA:
                yield f'<path d="M{run[0][0]:.1f} {self._low}L{path}V{self._low}Z" fill="{colour}"/>'
            elif len(run) == 1:
                yield f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2" fill="{colour}"/>'
            else:
                yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.75" stroke-linejoin="round"/>'
        ups = "".join(f"M{p[0] - 4:.1f} {p[1]:.1f}h8l-4 -7Z" for i in sorted(series.beyond) if (p := points[i]))
        if ups:
            yield f'<path d="{ups}" fill="{colour}"/>'


#: What is drawn first is below the rest.
_ORDER: Final = {MarkKind.AREA: 0, MarkKind.BARS: 1, MarkKind.LINE: 2}


def _runs(points: Sequence[tuple[float, float] | None]) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of a line between gaps."""
    run: list[tuple[float, float]] = []
    for point in (*points, None):
        if point is not None:
            run.append(point)
        elif run:
            yield run
            run = []


def tick_text(value: float, unit: Unit) -> str:
    """Return the label of a tick: a round value with its unit."""
    if unit is Unit.SECONDS:
        if value and value < 1e-3:
            return f"{value * 1e6:g} us"
        return f"{value:g} s" if value >= 1 or not value else f"{value * 1e3:g} ms"
    return f"{words.number(round(value)) if value == round(value) else f'{value:g}'}{_SUFFIXES[unit]}"
