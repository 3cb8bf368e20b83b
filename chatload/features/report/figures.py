"""The charts of report.html that are not over time: verdicts, drops by age, gaps and lateness."""

from collections.abc import Iterator, Mapping
from typing import Any

from chatload.render import charts, words
from chatload.render.charts import Rows
from chatload.render.document import Chart, Table, table
from chatload.run.books import Books
from chatload.run.histogram import Histogram
from chatload.vocabulary import tone

#: Units of the axis of ages: its scale in seconds, and its title.
_SCALES, _UNITS = {"s": 1.0, "min": 60.0}, {"s": "seconds", "min": "minutes"}
_TONE_COLOURS = {"good": "var(--pass)", "bad": "var(--bad)", "warn": "var(--warn)"}
#: Bars of equal width up to the timeout and in all; and how much longer than its start a bar on a log scale is.
_BARS, _MOST_BARS, _GROWS = 30, 90, 1.25


def verdict_chart(summary: Mapping[str, Any]) -> Iterator[Chart]:
    """The share of each verdict, a dot, with its bounds, a line; no chart where no session ended."""
    by_verdict = summary["sessions"]["by_verdict"]
    if not sum(by_verdict.values()):
        return
    rows: list[dict[str, Any]] = []
    for verdict, count in by_verdict.items():
        rate = summary["rates"][verdict]
        # Without a chat that was seen to its end, the share of those that ended well has no value, or no bounds.
        if rate["rate"] is not None and rate["low"] is not None:
            tip = f"{verdict}: {words.percent(rate['rate'])}, bounds {words.bounds(rate)}"
            colour = _TONE_COLOURS[tone(verdict)] if count else "var(--soft)"
            figures = {"at": 100 * rate["rate"], "low": 100 * rate["low"], "high": 100 * rate["high"]}
            rows.append({"name": verdict, **figures, "tip": tip, "colour": colour})
    share = {"type": "quantitative", "title": "share of the sessions, % (root scale)",
             "axis": {"grid": True, "values": [0, 1, 5, 10, 20, 40, 60, 80, 100]},
             "scale": {"type": "sqrt", "domain": [0, 100]}}  # fmt: skip
    said = ", ".join(f"{row['name']} {words.percent(row['at'] / 100)}" for row in rows if row["at"])
    heading, spec = "Share of each verdict with its bounds", charts.intervals(rows, share)
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
            said += f" {words.number(beyond) if beyond else 'None'} of {words.plural(books.gap.count, 'gap')} "
            said += f"{'was' if beyond < 2 else 'were'} longer than the timeout."
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
        # A bucket of zeros has no width.
        high = high if high > low else low * _GROWS
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
