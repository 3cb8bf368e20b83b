"""Numbers, shares and durations as every report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatload.run.histogram import Reading
from chatload.stats.rates import bound_text


def number(n: int) -> str:
    """Digits in groups of three."""
    return f"{n:,}".replace(",", " ")


def plural(n: int, one: str, many: str = "") -> str:
    """A count and its noun; many: the noun's plural where it is not `one` and an s."""
    return f"{number(n)} {one if n == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Two significant digits, rounded up from below 100 % never to 100 %."""
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent >= 99:
        return f"{min(percent, 99.9999):.4g} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def bounds(rate: Mapping[str, Any]) -> str:
    """The bounds of a rate of a summary; empty where it has none."""
    if rate["low"] is None:
        return ""
    return f"{bound_text(rate['low'], up=False)} to {bound_text(rate['high'], up=True)}"


def under(rate: Mapping[str, Any]) -> str:
    """What a rate of a summary is surely under; empty where it has no bound."""
    return "" if rate["high"] is None else f"under {bound_text(rate['high'], up=True)}"


def seconds(seconds: float | None) -> str:
    """A duration of a request or gap, in ms below a second; empty where there is none."""
    if seconds is None:
        return ""
    if seconds and abs(seconds) < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:.0f} s"


def reading(reading: Reading | None) -> str:
    """A duration, or that it is longer than one; empty where there is none."""
    return "" if reading is None else f"over {seconds(reading.seconds)}" if reading.over else seconds(reading.seconds)


def of_tail(tail: Mapping[str, Any], name: str) -> str:
    """A figure of a summary's durations: what it is, or the bound that it is over (of a margin, under)."""
    value = tail.get(name)
    for beyond in ("over", "under"):
        if value is None and name in (tail.get(beyond) or {}):
            return f"{beyond} {seconds(tail[beyond][name])}"
    return seconds(value)


def duration(seconds: float) -> str:
    """How long a run took."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
