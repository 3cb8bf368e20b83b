"""report.html: the summary of a run with its charts, its worst sessions and its settings."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatload.errors import printable
from chatload.features.report import drift_view, figures
from chatload.features.report.view import PageBlocks, summary_document
from chatload.features.report.worst_sessions import choose, drawing
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone
from chatload.render.html import html
from chatload.render.output import write_text
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.reader import RunReader
from chatload.run.settings import SETTINGS, RunSettings
from chatload.vocabulary import Outcome

#: Rows of the table over time, processes listed, and bursts listed.
_TABLE_ROWS, _PROCESSES, _BURSTS = 60, 40, 20
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
_MEANINGS = {
    "contact": "a request the server may have seen",
    "gap": "the time between two contacts; here its upper bound, from one leaving to the next one's answer",
    "deadline": "the instant by which the next contact must have arrived: last contact plus flex-disconnect-timeout",
    "margin": "what was left of the timeout when the contact came",
    "lateness": "how much later than scheduled a refresh left: the generator's own fault",
    "arrival": "a chat that starts at its own time, whether or not earlier chats have ended: the open workload",
    "late start": "an arrival whose chat started more than 100 ms after its time: the generator's own fault",
    "blame": "the cause without which the session would have been in time",
    "inconclusive": "too few samples to say with the confidence asked for",
}


def write_report(reader: RunReader, summary: Mapping[str, Any]) -> Path:
    """Write report.html of a run into its folder, whole or not at all. Raises UsageError."""
    path = reader.run_dir / "report.html"
    write_text(html(page_document(reader, summary)), path)
    return path


def page_document(reader: RunReader, summary: Mapping[str, Any]) -> doc.Document:
    books = reader.books()
    started = reader.started_at or 0.0
    over_time = figures.series(reader.windows(), started, max(reader.ended_at or started, started))
    bursts, drift = summary["bursts"]["bursts"], summary["drift"]
    rows = drift_view.drift_table(drift)
    more = PageBlocks(
        verdicts=(*figures.verdict_chart(summary), *figures.age_chart(summary)),
        outcomes=(_outcomes(summary),),
        drops=(*_bursts(bursts, summary["started_at"]), *_worst_sessions(reader)),
        refresh=tuple(figures.refresh_charts(books, reader.settings.flex_disconnect_timeout)),
        latency=(_latencies(books), *figures.heat_charts(over_time, books)),
        time=tuple(_over_time(over_time, [(b["start"] - started, b["end"] - started) for b in bursts])),
        drift=() if rows is None else (rows, *drift_view.drift_charts(drift, started)),
        generator=(*figures.generator_charts(over_time), *_processes(reader)),
        settings=tuple(_settings(reader, summary)),
    )
    made = f"Made by chatload {summary['chatload_version']} on {words.instant(datetime.now(UTC).timestamp())}"
    return summary_document(
        summary,
        more,
        title=f"{summary['name']}: {summary['result']}",
        footer=f"{made} from {summary['name']}'s run file.",
        tips=True,
    )


def _outcomes(summary: Mapping[str, Any]) -> doc.Block:
    by_operation = summary["requests"]["by_operation"]
    shown = doc.columns(
        ("statusCode / chatEnded", "ended?", "client does", "all", *by_operation), "llwr" + "r" * len(by_operation)
    )
    rows = []
    for outcome in Outcome:
        counts = [counted["by_outcome"][outcome] for counted in by_operation.values()]
        numbers = [doc.TableCell(words.number(n), Tone.PLAIN if n else Tone.SOFT) for n in (sum(counts), *counts)]
        rows.append(doc.TableRow((outcome.label, outcome.ended, outcome.meaning, *numbers)))
    sent = (summary["requests"]["total"], *(counted["sent"] for counted in by_operation.values()))
    rows.append(doc.TableRow(("sent", "", "", *(doc.TableCell(words.number(n), strong=True) for n in sent))))
    caption = "the chat service's status table, then what is not in it; a column for each operation"
    return doc.Table("Outcomes", shown, rows, caption, dense=True)


def _bursts(bursts: list[Mapping[str, Any]], started: float | None) -> Iterator[doc.Block]:
    if not bursts:
        return
    rows = [
        (
            words.instant(burst["start"]),
            "" if started is None else words.duration(burst["start"] - started),
            words.duration(burst["end"] - burst["start"]),
            words.number(burst["count"]),
        )
        for burst in bursts[:_BURSTS]
    ]
    yield doc.table("Bursts of drops", ("from", "after the start", "lasted", "drops"), rows, caption="bursts of drops")
    if len(bursts) > _BURSTS:
        yield doc.Sentence(words.more(len(bursts) - _BURSTS, "burst", "summary.json"), Tone.SOFT)


def _worst_sessions(reader: RunReader) -> Iterator[doc.Block]:
    stories = [drawing(number, timeline) for number, timeline in enumerate(choose(reader.timelines()), 1)]
    if not stories:
        return
    count = words.plural(len(stories), "session") if len(stories) > 1 else "session"
    how = (
        "each line is one request: a mark where it left, a bar until it was over. Grey is the silence that the server "
        "allows after the last contact it surely saw. Red (amber, where not proven) is what was too long. The last "
        "line says what the silence was spent on"
    )
    yield doc.Section(f"The worst {count}, request by request", (doc.Sentence(how, Tone.SOFT), *stories))


def _latencies(books: Books) -> doc.Block:
    operations = sorted(books.latency, key=lambda name: (name != "GetMessages", name))
    measured = [
        (f"{name} {what}", by_operation[name])
        for name in operations
        for what, by_operation in (("latency", books.latency), ("response time", books.response_time))
        if name in by_operation
    ]
    measured.append(("refresh lateness (ours)", CensoredHistogram(books.lateness)))
    rows = [
        (
            *(name, words.number(samples.count), words.number(samples.censored.count)),
            *(words.reading(samples.quantile(q)) for q in _PERCENTILES.values()),
        )
        for name, samples in measured
        if samples.count
    ]
    if not rows:
        return doc.Sentence("no request was sent", Tone.SOFT)
    caption = (
        "latency: from the first byte of a request to the last byte of its answer, within 1 %. Response time: from the "
        "instant for which it was scheduled, skipped polls included. A request without an answer took longer than the "
        "client waited"
    )
    headings = ("duration", "samples", "without an answer", *_PERCENTILES)
    return doc.table("Latency", headings, rows, caption=caption)


def _over_time(over_time: figures.Series, bursts: list[tuple[float, float]]) -> Iterator[doc.Block]:
    charts = list(figures.time_charts(over_time, bursts))
    if not charts:
        yield doc.Sentence("this run has no windows over time", Tone.SOFT)
    yield from charts
    windows = over_time.columns[:: max(1, -(-len(over_time.columns) // _TABLE_ROWS))]
    if not windows:
        return
    rows = [
        (
            *(f"{row['t']:.1f}", words.number(row["open"]), f"{row['requests']:.0f}"),
            *(words.number(row["ended"]), words.number(row["dropped"])),
            *(words.reading(row["p50"]), words.reading(row["p99"]), words.seconds(row["lateness"])),
        )
        for row in windows
    ]
    headings = (over_time.unit, "open", "requests/s", "ended", "dropped", "GetMessages p50", "p99", "lateness p99")
    caption = f"a row for each window; where there are more than {_TABLE_ROWS}, only some of them"
    yield doc.Fold("The same in figures", (doc.table("Figures over time", headings, rows, caption=caption),))


def _processes(reader: RunReader) -> Iterator[doc.Block]:
    by_worker = sorted(reader.books_by_worker().items(), key=lambda item: (-item[1].stalled_s, item[0]))
    rows = [
        (
            *(name, words.number(books.started), words.number(books.sent.total())),
            *(words.seconds(books.lateness.quantile(0.99)), words.plural(books.stalls, "time")),
            *(words.seconds(books.stalled_s), words.seconds(books.longest_stall_s)),
            words.plural(books.cpu_saturated, "time") if books.cpu_saturated else "never",
        )
        for name, books in by_worker[:_PROCESSES]
    ]
    if rows:
        headings = ("process", "sessions", "requests", "lateness p99", "stalled", "in all", "longest", "CPU saturated")
        left_out = len(by_worker) - len(rows)
        caption = "the generator's processes, those that stalled longest first"
        caption += f"; {words.plural(left_out, 'more process', 'more processes')} left out" if left_out else ""
        yield doc.table("Generator processes", headings, rows, caption=caption)


def _settings(reader: RunReader, summary: Mapping[str, Any]) -> Iterator[doc.Block]:
    yield doc.Verbatim(repeat_command(reader.settings))
    for name, text in repeat_files(reader.settings).items():
        heading = f"{name} as this run had it: save it under this name if the file has changed or is gone"
        yield doc.Fold(heading, (doc.Verbatim(text),))
    rows = []
    for name, value in summary["settings"].items():
        if name == "classes":  # a table of its own
            continue
        said = _setting(name, value)
        rows.append(doc.TableRow((name, doc.TableCell(said, Tone.SOFT if said == "not set" else Tone.PLAIN))))
    caption = f"settings of the run; chatload {summary['chatload_version']}"
    yield doc.Table("Settings", doc.columns(("setting", "value"), "lw"), rows, caption)
    yield doc.Section("Terms", (doc.Terms(tuple(_MEANINGS.items())),))


def repeat_command(run: RunSettings) -> str:
    """Return the Locust command that makes such a run again, an option a line. It holds no secrets."""
    locustfile = run.locustfile or f"locustfiles/{run.name or 'chat'}.py"
    first = f"-f{locustfile}" if locustfile.startswith("-") else "-f"
    classes = [word for word in run.user_classes if not word.startswith("-")]
    parts = [["locust", first, *([] if first != "-f" else [locustfile]), *classes, "--headless"]]
    # What a policy makes of the interval is no option of it: Locust would be refused.
    skipped = {"locustfile"} | (set() if run.refresh_policy == "fixed" else {"refresh_interval"})
    for name, setting in SETTINGS.items():
        value = getattr(run, name)
        if setting.option is not None and setting.is_set(value) and name not in skipped:
            parts += setting.option.words(value)
    parts += [["--threshold", threshold] for threshold in run.step_thresholds]
    return printable(" \\\n  ".join(map(shlex.join, parts)))


def repeat_files(run: RunSettings) -> dict[str, str]:
    """Return the files that the command names, as the run stored them: the name of each, and its text."""
    names = {setting: getattr(run, setting.removesuffix("_text")) for setting in run.files()}
    # A script that was written in Python has no file.
    return {names[setting]: text for setting, text in run.files().items() if names[setting]}


def _setting(name: str, value: Any) -> str:
    if value is None or value == "" or value == []:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_at") and isinstance(value, float):
        return words.instant(value)
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
