"""report.html: the summary of a run with its charts, its worst sessions and its settings."""

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from chatload import exit_codes
from chatload.errors import ChatloadError, printable
from chatload.features.report import drift_view, figures, over_time
from chatload.features.report.summary import summarize
from chatload.features.report.view import PageBlocks, summary_document
from chatload.features.report.worst_sessions import choose, drawing
from chatload.features.workloads import name_of
from chatload.progress import CommandProgress
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone
from chatload.render.html import count_charts, html
from chatload.render.output import write_text
from chatload.render.time_charts import clock, clock_title
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.run.reader import Reads, RunReader
from chatload.run.settings import DURATION, RUN_TIME, SETTINGS, RunSettings
from chatload.vocabulary import STATUS_TABLE, SUCCESSFUL, Outcome

#: Rows of the table over time, processes listed, bursts listed, and sessions drawn that are not folded.
_TABLE_ROWS, _PROCESSES, _BURSTS, _SHOWN = 60, 40, 20, 3
#: By how much a page that a run makes by itself gives way to other processes.
_NICENESS = 10
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


def write_report(reader: RunReader, summary: Mapping[str, Any], progress: CommandProgress | None = None) -> Path:
    """Write report.html of a run into its folder, whole or not at all. Raises UsageError.

    progress: of the command; it gets a stage for the charts.
    """
    path = reader.run_dir / "report.html"
    document = page_document(reader, summary)
    if progress is None:
        page = html(document)
    else:
        progress.stage("drawing report.html", count_charts(document), "charts")
        page = html(document, progress.advance)
    write_text(page, path)
    return path


def main(arguments: Sequence[str]) -> int:
    """Write the page of the run in a folder, judged by its own thresholds. Return the exit code."""
    # The machine may already hold the chats of the next run.
    os.nice(_NICENESS)
    try:
        with RunReader.open(arguments[0]) as reader:
            write_report(reader, summarize(reader))
    except ChatloadError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return exit_codes.PASSED


#: What `page_document` reads.
PAGE_READS = Reads(windows=1)


def page_document(reader: RunReader, summary: Mapping[str, Any]) -> doc.Document:
    books, drift = reader.books(), summary["drift"]
    run = over_time.over_time(reader.windows(), summary)
    rows = drift_view.drift_table(drift)
    more = PageBlocks(
        verdicts=_pair(figures.verdict_chart(summary), figures.age_chart(summary)),
        classes=tuple(_classes(reader, summary, run)),
        requests=tuple(_requests(summary, books, run.length_s)),
        time=tuple(_over_time(run)),
        drops=(*_bursts(summary["bursts"]["bursts"], summary["started_at"]), *_worst_sessions(reader)),
        refresh=_pair(figures.refresh_charts(books, reader.settings.flex_disconnect_timeout)),
        drift=() if rows is None else (rows, *drift_view.drift_charts(drift, summary["started_at"] or 0.0)),
        generator=(*over_time.generator_chart(run), *_processes(reader)),
        settings=tuple(_settings(reader, summary)),
    )
    made = f"Made by chatload {summary['chatload_version']} on {words.instant(datetime.now(UTC).timestamp())}"
    return summary_document(
        summary,
        more,
        title=f"{summary['name']}: {summary['result']}",
        footer=f"{made} from {summary['name']}'s run file.",
        overview=over_time.overview_chart(run),
    )


def _pair(*charts: Iterable[doc.Chart]) -> tuple[doc.Block, ...]:
    found = tuple(chain(*charts))
    return (doc.SideBySide(found),) if found else ()


def _classes(reader: RunReader, summary: Mapping[str, Any], run: over_time.RunOverTime) -> Iterator[doc.Block]:
    """Yield the user classes over time, and the operations and charts of each, of a run with several."""
    by_class = {
        name: over_time.of_class(run, reader.of_class(name).windows(), figures)
        for name, figures in summary["by_class"].items()
    }
    charts = list(over_time.class_charts(by_class))
    if charts:
        yield doc.Section("User classes over time", (doc.SideBySide(charts),), "classes-time")
    for name, own in by_class.items():
        figures, books = summary["by_class"][name], reader.of_class(name).books()
        whose = f" of {name}"
        blocks = (*_requests(figures, books, run.length_s, whose), *_over_time(own, whose))
        yield doc.Fold(f"{name}: operations, latency and endings over time", blocks)


def _requests(summary: Mapping[str, Any], books: Books, length_s: float, whose: str = "") -> Iterator[doc.Block]:
    """Yield a table with a row for each operation, and the details below it.

    summary: of a run or a user class. whose: the end of the names of the tables, "" for those of the run.
    """
    by_operation = summary["requests"]["by_operation"]
    if not by_operation:
        yield doc.Sentence("no request was sent")
        return
    rows = [
        doc.TableRow((operation, *_counted(row, length_s), *_timed(row["latency_s"])))
        for operation, row in sorted(by_operation.items(), key=lambda item: over_time.rank(item[0]))
    ]
    headings = (
        *("operation", "sent", "per second", "failed", *STATUS_TABLE, "other"),
        *("p50", "p95", "p99", "max", "no answer"),
    )
    caption = (
        "failed: the share of requests that the server did not carry out. 0/false to 2: statusCode/chatEnded of the "
        "answers. p50 to max: latency. A request without an answer took longer than the client waited, and counts as "
        "slower than all others"
    )
    yield doc.Table(f"Operations{whose}", doc.columns(headings), rows, caption, dense=True)
    details = (_outcomes(summary, whose), _latencies(books, whose))
    yield doc.Fold("What each outcome means, response times and more percentiles", details)


def _counted(row: Mapping[str, Any], length_s: float) -> Iterator[doc.TableCell]:
    outcomes, sent = row["by_outcome"], row["sent"]
    ended = sum(outcomes.values())
    failed = sum(n for outcome, n in outcomes.items() if outcome not in SUCCESSFUL)
    yield doc.TableCell(words.number(sent), strong=True)
    yield doc.TableCell(f"{sent / length_s:.3g}" if sent < 1000 * length_s else words.number(round(sent / length_s)))
    yield doc.TableCell(words.percent(failed / ended) if ended else "", Tone.BAD if failed else Tone.PLAIN)
    other = sum(n for outcome, n in outcomes.items() if outcome not in STATUS_TABLE)
    for n in (*(outcomes[outcome] for outcome in STATUS_TABLE), other):
        yield doc.TableCell(words.number(n), Tone.PLAIN if n else Tone.SOFT)


def _timed(tail: Mapping[str, Any]) -> Iterator[doc.TableCell]:
    for name in ("p50", "p95", "p99", "max"):
        yield doc.TableCell(words.of_tail(tail, name), strong=name == "p95")
    yield doc.TableCell(words.number(tail["unanswered"]), Tone.BAD if tail["unanswered"] else Tone.SOFT)


def _outcomes(summary: Mapping[str, Any], whose: str) -> doc.Block:
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
    return doc.Table(f"Outcomes{whose}", shown, rows, caption, dense=True)


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
    shown, folded = stories[:_SHOWN], stories[_SHOWN:]
    more = [doc.Fold(story.heading, story.blocks) for story in folded]
    yield doc.Section(f"The worst {count}, request by request", (doc.Sentence(how, Tone.SOFT), *shown, *more))


def _latencies(books: Books, whose: str = "") -> doc.Block:
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
    return doc.table(f"Latency{whose}", headings, rows, caption=caption)


def _over_time(run: over_time.RunOverTime, whose: str = "") -> Iterator[doc.Block]:
    charts = list(over_time.time_charts(run))
    if not charts:
        yield doc.Sentence("this run has no windows over time", Tone.SOFT)
        return
    if meaning := over_time.legend(run).strip():
        yield doc.Sentence(meaning, Tone.SOFT)
    yield doc.SideBySide(charts)
    every = max(1, -(-len(run.columns) // _TABLE_ROWS))
    rows = [
        (
            *(clock(column.start, run.length_s), words.number(column.open)),
            *(f"{sum(column.sent.values()) / column.length:.0f}", words.number(column.ended)),
            words.number(column.dropped),
            *(words.reading(column.reading("GetMessages", quantile)) for quantile in ("p50", "p95", "p99")),
            words.seconds(column.lateness_s),
        )
        for column in run.columns[::every]
    ]
    quantiles = ("GetMessages p50", "p95", "p99")
    headings = (clock_title(run.length_s), "open", "requests/s", "ended", "dropped", *quantiles, "lateness p99")
    caption = f"a row for each {run.width_s:g} s" + (f", of which every {every}th is shown" if every > 1 else "")
    yield doc.Fold("The same in figures", (doc.table(f"Figures over time{whose}", headings, rows, caption=caption),))


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
    start = ["locust", first, *([] if first != "-f" else [locustfile])]
    if workload := name_of(locustfile):
        start = ["chatload", "run", workload]
    parts = [[*start, *classes, "--headless"]]
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
    if isinstance(value, float):
        unit = " s" if name in SETTINGS and SETTINGS[name].kind in (DURATION, RUN_TIME) else ""
        return f"{value:g}{unit}"
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
