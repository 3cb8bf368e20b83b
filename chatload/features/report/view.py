"""A run's summary as a document, for a terminal and summary.md; `page` adds the charts and tables of report.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatload.features.report import drift_view, sentences
from chatload.features.report.junit import write_junit
from chatload.features.report.summary import write_summary
from chatload.render import words
from chatload.render.document import (
    Badge,
    Block,
    Bullets,
    Callout,
    Code,
    Document,
    Section,
    Sentence,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    Terms,
    Tone,
    Verbatim,
    table,
)
from chatload.render.markdown import write_markdown
from chatload.stats.rates import bound_text
from chatload.thresholds.gate import Gate
from chatload.thresholds.metrics import METRICS, MetricDoc
from chatload.vocabulary import STATUS_TABLE, Blame, RunResult, ThresholdResult, Verdict, tone

MARKDOWN_FILE = "summary.md"
_RESULTS = {
    RunResult.PASSED: Tone.GOOD, RunResult.FAILED: Tone.BAD, RunResult.INCONCLUSIVE: Tone.WARN,
    RunResult.INVALID: Tone.BAD, RunResult.NOTHING_TESTED: Tone.BAD, RunResult.NOT_JUDGED: Tone.SOFT,
}  # fmt: skip
_THRESHOLDS = {
    ThresholdResult.FAIL: Tone.BAD, ThresholdResult.INCONCLUSIVE: Tone.WARN, ThresholdResult.PASS: Tone.GOOD,
}  # fmt: skip
_ALL = "summary.json"


@dataclass(frozen=True)
class PageBlocks:
    """What only the page shows, by section. requests and latency: in place of the shorter tables of a text."""

    verdicts: Sequence[Block] = ()
    requests: Sequence[Block] = ()
    drops: Sequence[Block] = ()
    refresh: Sequence[Block] = ()
    latency: Sequence[Block] = ()
    over_time: Sequence[Block] = ()
    drift: Sequence[Block] = ()
    generator: Sequence[Block] = ()
    sections: Sequence[Section] = ()


def write_outputs(run: str | Path, gate: Gate | None = None) -> dict[str, Any]:
    """Write summary.json, summary.md and junit.xml beside a run's file, each whole or not at all.

    report.html is not among them: drawing it takes seconds, in which a generator would not send.

    Args:
        run: the run's folder or file.
        gate: the thresholds to judge by; by default those of the run.

    Returns:
        The summary.

    Raises:
        UsageError: a file cannot be written.
    """
    summary = write_summary(run, gate)
    run_dir = Path(run) if Path(run).is_dir() else Path(run).parent
    write_markdown(summary_document(summary), run_dir / MARKDOWN_FILE)
    write_junit(run_dir, summary)
    return summary


def summary_document(summary: Mapping[str, Any], more: PageBlocks = PageBlocks(), **page: Any) -> Document:
    """Return a run's summary as a document. page: further fields of `Document`."""
    result, why = sentences.result_and_why(summary)
    return Document(
        answer=Sentence(why),
        badge=Badge(result, _RESULTS[RunResult(result)]),
        lead=list(_lead(summary, why)),
        sections=[
            Section("Thresholds", _thresholds(summary), "thresholds"),
            Section("What became of the sessions", (*_verdicts(summary), *more.verdicts), "verdicts"),
            Section("Requests by statusCode and chatEnded", more.requests or (_requests(summary),), "outcomes"),
            Section("Why sessions were dropped", (*_drops(summary), *more.drops), "drops"),
            Section("Refresh health", (Sentence(sentences.margin(summary)), *more.refresh), "refresh"),
            Section("Latency", more.latency or (_durations(summary),), "latency"),
            Section("Over time", (*more.over_time, *_drift(summary, more)), "time"),
            Section("Generator health", (*_generator(summary), *more.generator, *_incidents(summary)), "generator"),
            *more.sections,
        ],
        **page,
    )


def _lead(summary: Mapping[str, Any], why: str) -> Iterator[Block]:
    if not summary["valid"]:
        yield Sentence("what was measured cannot be held against the server", Tone.BAD)
    books = summary["books"]
    if not books["balanced"]:
        yield Callout("the books do not balance", sentences.books_line(books, "/"))
        yield Bullets(books["imbalances"], Tone.BAD, "imbalance", _ALL)
    if summary["aborted"] and summary["aborted"] not in why:
        yield Callout("ended early", summary["aborted"])
    if early := sentences.ended_early(summary):
        yield Sentence(f"{early}: what the run shows is judged all the same", Tone.WARN, strong=True)
    if why != (answer := sentences.answer(summary)) and not answer.endswith(why):
        yield Sentence(answer, strong=True)
    yield Sentence(sentences.heading(summary), Tone.SOFT)
    if unverified := sentences.insecure(summary):
        yield Sentence(unverified, Tone.WARN, strong=True)


def _thresholds(summary: Mapping[str, Any]) -> tuple[Block, ...]:
    """The judgement of each threshold, those that failed first, with its reason."""
    order = list(_THRESHOLDS)
    ordered = sorted(summary["thresholds"], key=lambda threshold: order.index(ThresholdResult(threshold["result"])))
    if not ordered:
        return (Sentence(("no threshold was set. ", Code("chatload report RUN --gate standard"), " judges the run")),)
    columns = [
        TableColumn("threshold", "l"),
        TableColumn("result", "l"),
        TableColumn("value"),
        TableColumn("bounds", optional=True),
        TableColumn("samples", optional=True),
        TableColumn("would settle it", page_only=True),
    ]
    rows = [
        TableRow(
            (
                TableCell(Code(threshold["expression"])),
                TableCell(threshold["result"], _THRESHOLDS[ThresholdResult(threshold["result"])], strong=True),
                _value(threshold, "value"),
                _between(_value(threshold, "lower"), _value(threshold, "upper")),
                *("" if n is None else words.number(n) for n in (threshold.get("samples"), threshold.get("needed"))),
            ),
            note=threshold.get("why") or "",
        )
        for threshold in ordered
    ]
    caption = f"bounds: one-sided and exact, each with {words.confidence(summary['confidence'])} confidence"
    return (
        Sentence(sentences.judged(summary)),
        Table("Thresholds", columns, rows, caption, noun="threshold", file="junit.xml"),
    )


def _value(threshold: Mapping[str, Any], key: str) -> str:
    """A threshold's value or bound in its unit; shares are fractions of 1, durations seconds."""
    value = threshold.get(key)
    if value is None:
        return ""
    if threshold.get("unit") == "%":
        return words.percent(value) if key == "value" else bound_text(value, up=key == "upper")
    if threshold.get("unit") != "s":
        return words.number(value) if isinstance(value, int) else f"{value:g}"
    beyond = key == "value" and threshold.get("beyond")
    past = "under " if str(threshold["expression"]).startswith("margin.") else "over "
    return (past if beyond else "") + words.seconds(value)


def _between(low: str, high: str) -> str:
    if low and high:
        return f"{low} … {high}"
    return f"≥ {low}" if low else f"≤ {high}" if high else ""


def _verdicts(summary: Mapping[str, Any]) -> Iterator[Block]:
    sessions, books = summary["sessions"], summary["books"]
    by_verdict = sessions["by_verdict"]
    if any(by_verdict.values()):
        yield _verdict_table(by_verdict, summary["rates"])
    else:
        yield Sentence("no session ended")
    if by_verdict[Verdict.CUT_OFF]:
        confirmed = words.number(sessions["cut_off_confirmed"])
        yield Sentence(f"{confirmed} of the cut_off with goodbye confirmed")
    if books["balanced"]:
        yield Sentence(f"books balance: {sentences.books_line(books)}", Tone.GOOD)


def _verdict_table(by_verdict: Mapping[str, int], rates: Mapping[str, Any]) -> Table:
    total = sum(by_verdict.values())
    rows = []
    for verdict, count in by_verdict.items():
        kind = Tone(tone(verdict)) if count else Tone.SOFT
        cells = (words.number(count), words.percent(count / total), words.bounds(rates[verdict]))
        rows.append(
            TableRow((TableCell(verdict, kind), *cells, Verdict(verdict).meaning), Tone.PLAIN if count else kind)
        )
    columns = [
        *(TableColumn("verdict", "l"), TableColumn("sessions"), TableColumn("share"), TableColumn("bounds")),
        TableColumn("meaning", "w", page_only=True),
    ]
    confidence = words.confidence(rates["dropped"]["confidence"])
    caption = (
        f"bounds: one-sided and exact, each with {confidence} confidence, of the share of the sessions that count for "
        "the verdict"
    )
    return Table("Verdicts", columns, rows, caption)


def _requests(summary: Mapping[str, Any]) -> Block:
    by_operation = summary["requests"]["by_operation"]
    if not by_operation:
        return Sentence("no request was sent")
    rows, others = [], Counter[str]()
    for operation, row in by_operation.items():
        other = {name: n for name, n in row["by_outcome"].items() if n and name not in STATUS_TABLE}
        others.update(other)
        counts = (row["sent"], *(row["by_outcome"][name] for name in STATUS_TABLE), sum(other.values()))
        rows.append((operation, *map(words.number, counts)))
    said = ", ".join(f"{words.number(n)} {name}" for name, n in others.items())
    headings = ("operation", "sent", *STATUS_TABLE, "other")
    return table("Requests", headings, rows, caption=f"other: {said}" if said else "")


def _durations(summary: Mapping[str, Any]) -> Block:
    keys = ("p50", "p99", "p99_9", "max")
    tails = {f"{name} latency": row["latency_s"] for name, row in summary["requests"]["by_operation"].items()}
    tails["refresh lateness (ours)"] = summary["refresh"]["lateness_s"]
    tails["gap between contacts"] = summary["refresh"]["gap_s"]
    rows = [
        (name, *(words.of_tail(tail, key) for key in keys))
        for name, tail in tails.items()
        if words.of_tail(tail, "max")
    ]
    if not rows:
        return Sentence("nothing was measured")
    return table("Durations", ("", *(key.replace("_", ".") for key in keys)), rows)


def _drops(summary: Mapping[str, Any]) -> Iterator[Block]:
    """The blame of late drops, one silence that most drops have in common, and bursts."""
    sessions, bursts = summary["sessions"], summary["bursts"]
    blames = {blame: n for blame, n in sessions["dropped_late_by_blame"].items() if n}
    early = sessions["by_verdict"][Verdict.DROPPED_EARLY]
    if blames:
        rows = [
            (blame, words.number(n), Blame(blame).meaning) for blame, n in sorted(blames.items(), key=lambda i: -i[1])
        ]
        caption = "blame: the cause without which the session would have been in time"
        yield table("Blame", ("blame", "dropped_late", "meaning"), rows, sides="lrl", caption=caption)
    elif not sessions["accepted"]:
        yield Sentence("no session was accepted")
    else:
        ended = f"; {words.plural(early, 'session')} ended though every refresh was in time" if early else ""
        yield Sentence(f"no session was proven to be dropped because a refresh came too late{ended}")
    if silence := sessions["common_silence"]:
        ended = f"{words.number(silence['sessions'])} of {words.plural(silence['dropped'], 'dropped session')}"
        said = (
            f"by its own timestamps the server ended {ended} {silence['lower_s']:.3g} to {silence['upper_s']:.3g} s "
            f"after their last answered request: the timeout of {silence['timeout_s']:g} s is probably wrong. "
        )
        yield Sentence((said, Code("chatload probe"), " measures it"))
    if drops := bursts["drops"]:
        count, alone = len(bursts["bursts"]), bursts["incidents"] - len(bursts["bursts"])
        came = f"{words.plural(drops, 'drop')} (late, early and unproven) came in "
        came += words.plural(bursts["incidents"], "incident")
        if drops > bursts["incidents"]:
            came += f": {words.plural(count, 'burst')} and {words.number(alone)} alone. Drops are not independent, so "
            yield Sentence(f"{came}bounds that assume independent sessions are too narrow", Tone.WARN)
        else:
            yield Sentence(f"{came}; none of them in a burst")


def _drift(summary: Mapping[str, Any], more: PageBlocks) -> Iterator[Block]:
    found = summary.get("drift") or {}
    claimed = Tone.WARN if drift_view.claims(found) else Tone.PLAIN
    said = [Sentence(f"over time: {sentence}", claimed) for sentence in drift_view.sentences(found)]
    if more.drift:
        yield Section("What changes slowly", (*said, *more.drift), "drift")
    else:
        yield from said


def _generator(summary: Mapping[str, Any]) -> Iterator[Block]:
    yield Sentence(sentences.generator(summary["generator"]))
    for said in (sentences.resent(summary["requests"]), sentences.arrivals(summary)):
        if said:
            yield Sentence(said)


def _incidents(summary: Mapping[str, Any]) -> Iterator[Block]:
    if summary["incidents"]:
        lines = [
            f"incident at {words.time_of_day(incident['at'])}: {incident['kind']}: {incident['what']}"
            for incident in summary["incidents"]
        ]
        yield Bullets(lines, Tone.WARN, "incident", _ALL)


_EXAMPLES = """\
  dropped_late.rate < 0.1%          GetMessages.latency.p99 < 300ms
  margin.p1 > 5s                    lateness.p99_9 <= 10ms
  failed.count == 0                 GetMessages.timeout.rate < 0.5%"""
_UNITS = (
    "Rates take % or a fraction; durations take us, ms, s or min. Any percentile can be used: p50, p99, p99_9 "
    "(99.9 %). An operation before a metric of requests restricts it to that operation: GetMessages.timeout.rate."
)
_JUDGEMENT = (
    "Rates and percentiles are judged by exact one-sided bounds (Clopper-Pearson) with --confidence. A threshold "
    "passes if the whole interval is on its right side, fails if the whole interval is on its wrong side, and is "
    "inconclusive otherwise, with the number of sessions that would settle it. Unproven drops count against every "
    "claim. Counts, min and max are compared as observed."
)


def thresholds_document() -> Document:
    """Return every metric with its meaning, grouped by kind."""
    titles = {"rate": "Rates, and counts: the same with .count", "duration": "Durations"}
    return Document(
        answer=Sentence("A threshold is METRIC OP VALUE[UNIT]. OP is one of < <= > >=, or == for counts."),
        lead=(Verbatim(_EXAMPLES), Sentence(_UNITS), Sentence(_JUDGEMENT)),
        sections=[
            Section(title, (Terms([(doc.name, _meaning(doc.meaning)) for doc in METRICS if _belongs(doc, kind)]),))
            for kind, title in titles.items()
        ],
    )


def _belongs(doc: MetricDoc, kind: str) -> bool:
    return doc.kind == kind or (kind == "rate" and doc.name == "sessions.count")


def _meaning(text: str) -> str:
    return text.partition("; also")[0].removeprefix("share of sessions: ")
