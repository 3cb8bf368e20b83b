"""report.html: one file that says what became of a run, for people to decide by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from chatload.features.report import drift_view as drift
from chatload.features.report import figures, sentences
from chatload.features.report.drawings import choose, drawing
from chatload.features.report.glossary import MEANINGS
from chatload.features.report.over_time import series
from chatload.features.report.repeat import repeat_command, repeat_files
from chatload.render import words
from chatload.render.templating import environment, script_hash
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram, Reading
from chatload.run.reader import RunReader
from chatload.run.writer import replacing
from chatload.vocabulary import Blame, Outcome, Verdict, tone

REPORT_FILE = "report.html"
_TABLE_ROWS = 60
_WITHIN = re.compile(r"(?<=\d) (?=\d{3}\b|%|(?:m?s|min|h)\b)")
#: So many processes are listed, those that stood still longest.
_PROCESSES = 40
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


def write_report(reader: RunReader, summary: Mapping[str, Any]) -> Path:
    """Write report.html of a run into its folder, whole or not at all. Raises UsageError."""
    path = reader.run_dir / REPORT_FILE
    page = render(reader, summary)
    with replacing(path) as stream:
        stream.write(page)
    return path


def render(reader: RunReader, summary: Mapping[str, Any]) -> str:
    """The page. Everything that comes from a run is escaped."""
    books = reader.books()
    started = reader.started_at or 0.0
    ended = reader.ended_at or started
    windows = reader.windows()
    over_time = series(windows, started, max(ended, started))
    timelines = reader.timelines()
    timeout_s = reader.settings.flex_disconnect_timeout
    result, why = sentences.result_and_why(summary)
    templates = environment()
    templates.filters.update(kept=_kept, breakable=_breakable)
    templates.globals.update(words=words, sentences=sentences, moment=_moment)
    page: str = templates.get_template("report.html.j2").render(
        script_hash=script_hash(templates, "tip.js.j2"),
        summary=summary,
        result=result,
        why=why,
        answer=sentences.answer(summary),
        verdicts=list(_verdicts(summary)),
        verdict_chart=figures.verdict_chart(list(_verdicts(summary))),
        outcomes=list(Outcome),
        outcome_totals={outcome: _all_of(summary, outcome) for outcome in Outcome},
        blames=_blames(summary),
        latencies=_latencies(books),
        drawings=[drawing(timeline) for timeline in choose(timelines)],
        refresh_charts=list(figures.refresh_charts(books, timeout_s)),
        heat_charts=list(figures.heat_charts(over_time, books)),
        time_charts=list(figures.time_charts(over_time, _bursts(summary, started))),
        drifting=drift.sentences(summary["drift"]),
        drift_table=drift.table(summary["drift"]),
        drift_charts=list(drift.drift_charts(summary["drift"], started)),
        generator_charts=list(figures.generator_charts(over_time)),
        processes=_processes(reader),
        table=over_time.table[:: max(1, -(-len(over_time.table) // _TABLE_ROWS))],
        unit=over_time.unit,
        settings={name: _setting(name, value) for name, value in summary["settings"].items()},
        command=repeat_command(reader.settings),
        files=repeat_files(reader.settings),
        meanings=MEANINGS,
        made=_moment(datetime.now(UTC).timestamp()),
    )
    return page


def _setting(name: str, value: Any) -> str:
    if value is None or value == "" or value == []:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at") and isinstance(value, float):
        return _moment(value)
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _kept(text: str) -> str:
    """The text, never broken between a number and its unit."""
    return _WITHIN.sub("\u00a0", text)


def _breakable(name: str) -> Markup:
    """An operation's name that may be broken before its capitals."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", name))


def _moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _verdicts(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row a verdict: name, count, share, bounds (fractions, None where nothing is known; and as text), meaning,
    kind."""
    by_verdict = summary["sessions"]["by_verdict"]
    total = sum(by_verdict.values())
    for verdict, count in by_verdict.items():
        rate = summary["rates"][verdict]
        yield {
            "name": verdict, "count": count, "share": count / total if total else None,
            "low": rate["low"], "high": rate["high"], "bounds": words.bounds(rate),
            "kind": tone(verdict) if count else "none", "meaning": Verdict(verdict).meaning,
        }  # fmt: skip


def _blames(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    by_blame = summary["sessions"]["dropped_late_by_blame"]
    rows = [{"name": name, "count": n, "meaning": Blame(name).meaning} for name, n in by_blame.items() if n]
    return sorted(rows, key=lambda row: -row["count"])


def _all_of(summary: Mapping[str, Any], outcome: str) -> int:
    return sum(row["by_outcome"][outcome] for row in summary["requests"]["by_operation"].values())


def _latencies(books: Books) -> list[tuple[str, int, int, dict[str, Reading | None]]]:
    """Name, samples, how many of them without an answer, and percentiles of each operation, GetMessages first, then
    of our own lateness."""
    operations = sorted(books.latency, key=lambda name: (name != "GetMessages", name))
    rows = [(name, books.latency[name]) for name in operations]
    rows.append(("refresh lateness (ours)", CensoredHistogram(books.lateness)))
    return [
        (
            name,
            samples.count,
            samples.censored.count,
            {**{label: samples.quantile(q) for label, q in _PERCENTILES.items()}, "max": samples.maximum},
        )
        for name, samples in rows
        if samples.count
    ]


def _processes(reader: RunReader) -> dict[str, Any]:
    """How each process fared, those that stood still longest first; more: how many are left out."""
    by_worker = sorted(reader.books_by_worker().items(), key=lambda item: (-item[1].stalled_s, item[0]))
    rows = [
        {
            **{"name": name, "sessions": books.started, "requests": books.sent.total(), "stalls": books.stalls},
            **{"stalled": books.stalled_s, "longest": books.longest_stall_s, "saturated": books.cpu_saturated},
            "lateness": books.lateness.quantile(0.99),
        }
        for name, books in by_worker[:_PROCESSES]
    ]
    return {"rows": rows, "more": len(by_worker) - len(rows)}


def _bursts(summary: Mapping[str, Any], started: float) -> list[tuple[float, float]]:
    return [(burst["start"] - started, burst["end"] - started) for burst in summary["bursts"]["bursts"]]


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
