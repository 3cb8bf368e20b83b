"""Numbers, shares and durations as every report writes them, and small pieces of sentences."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chatload.run.histogram import Reading
from chatload.stats.rates import bound_text, per_unit_text, share_text

_WITHIN_NUMBER = re.compile(r"(?<=\d) (?=\d{3}\b|%|(?:m?s|min|h)\b)")
MINUS = "\u2212"


def unbroken(text: str) -> str:
    """Return the text with no-break spaces inside numbers (3 214) and before units (1.5 %, 20 ms)."""
    return _WITHIN_NUMBER.sub("\u00a0", text)


def number(n: int) -> str:
    """Return a count with its digits in groups of three."""
    return f"{n:,}".replace(",", " ")


def plural(n: int, one: str, many: str = "") -> str:
    """Return a count and its noun. many: the plural, where it is not `one` and an s."""
    return f"{number(n)} {one if n == 1 else many or one + 's'}"


def more(n: int, noun: str, file: str) -> str:
    """Return the line that ends a list that was cut. file: where the `n` items that are left out can be found."""
    return f"and {plural(n, f'more {noun}')}: {file} has all of them"


def percent(share: float) -> str:
    """Return a share in percent (see `share_text`)."""
    return share_text(share)


def confidence(share: float) -> str:
    return f"{100 * share:g} %"


def bounds(rate: Mapping[str, Any]) -> str:
    """Return the bounds of a rate of a summary; empty where it has none."""
    if rate["low"] is None:
        return ""
    return f"{bound_text(rate['low'], up=False)} to {bound_text(rate['high'], up=True)}"


def hourly(rate: float) -> str:
    """Return a rate per hour with two significant digits."""
    return f"{rate:.2g}" if rate < 100 else number(round(rate))


def hourly_bounds(rate: Mapping[str, Any]) -> str:
    """Return the bounds of an hourly rate of a summary; empty where it has none."""
    if rate["low"] is None:
        return ""
    return f"{per_unit_text(rate['low'], up=False)} to {per_unit_text(rate['high'], up=True)}"


def under(rate: Mapping[str, Any]) -> str:
    """Return the upper bound of a rate of a summary as "under 1.49 %"; empty where it has none."""
    return "" if rate["high"] is None else f"under {bound_text(rate['high'], up=True)}"


def seconds(seconds: float | None) -> str:
    """Return a duration of a request or gap, in ms below a second; empty for None."""
    if seconds is None:
        return ""
    if seconds and abs(seconds) < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{float(f'{seconds:.2f}'):g} s" if abs(seconds) < 100 else f"{seconds:.0f} s"


def reading(reading: Reading | None) -> str:
    """Return a duration, or the bound that it exceeds; empty for None."""
    return "" if reading is None else f"over {seconds(reading.seconds)}" if reading.over else seconds(reading.seconds)


def of_tail(tail: Mapping[str, Any], name: str) -> str:
    """Return a figure of a summary's durations, or the bound that it is over (of a margin: under)."""
    value = tail.get(name)
    for beyond in ("over", "under"):
        if value is None and name in (tail.get(beyond) or {}):
            return f"{beyond} {seconds(tail[beyond][name])}"
    return seconds(value)


def duration(seconds: float) -> str:
    """Return how long a run took."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{float(f'{seconds:.1f}'):g} s"


def with_minus(text: str) -> str:
    """Return a text of numbers with minus signs in place of hyphens."""
    return text.replace("-", MINUS)


def instant(at: float | None, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """Return a Unix time as date and time; empty for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime(form)
