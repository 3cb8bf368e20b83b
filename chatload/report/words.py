"""Numbers, shares and durations as every report writes them."""

from __future__ import annotations

import math

from chatload.analysis.rates import under


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


def zero_bound(n: int) -> str:
    """The bound of `under`, rounded up: rounded down it would claim more than was shown."""
    percent = 100 * under(n)
    unit = 10.0 ** (math.floor(math.log10(percent)) - 1)
    return f"{min(math.ceil(percent / unit) * unit, 100):.2g} %" if percent < 99 else "100 %"


def seconds(seconds: float | None) -> str:
    """A duration of a request or gap, in ms below a second; empty where there is none."""
    if seconds is None:
        return ""
    if seconds and abs(seconds) < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:.0f} s"


def duration(seconds: float) -> str:
    """How long a run took."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
