"""A run's summary, and a reconciliation, as text for a terminal or a CI log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from rich import box
from rich.console import Console
from rich.table import Table

from chatload.features.reconcile.compute import ENDINGS, MISSING, UNMATCHED, Reconciliation
from chatload.features.report import drift_view as drift
from chatload.features.report import sentences
from chatload.plain_text import all_printable, printable
from chatload.render import words
from chatload.render.terminal import paper, print_line
from chatload.vocabulary import STATUS_TABLE, RunResult, Verdict, tone

_TONE_STYLES = {"good": "green", "bad": "red", "warn": "yellow"}
_RESULT_STYLES: Mapping[str, str] = {
    RunResult.PASSED: "bold green",
    RunResult.FAILED: "bold red",
    RunResult.INCONCLUSIVE: "bold yellow",
    RunResult.INVALID: "bold red",
    RunResult.NOTHING_TESTED: "bold red",
    RunResult.NOT_JUDGED: "bold",
}
_THRESHOLD_STYLES = {"pass": "green", "fail": "red", "inconclusive": "bold yellow"}
_HEADINGS = {MISSING: "unknown to the ledger", UNMATCHED: "has no chat id"}
#: Contradictions printed in full; --json has all of them.
_SHOWN = 20


def render(summary: Mapping[str, Any], stream: IO[str], width: int = 80) -> None:
    """Write a summary to `stream`, `width` columns wide; plain text where it is no terminal."""
    with paper(stream, width) as console:
        _sections(console, all_printable(summary))


def _sections(console: Console, summary: Mapping[str, Any]) -> None:
    _alarms(console, summary)
    print_line(console, sentences.answer(summary), "bold")
    print_line(console, sentences.heading(summary), "dim")
    if early := sentences.ended_early(summary):
        print_line(console, early, "bold yellow")
    _thresholds(console, summary)
    _verdicts(console, summary["sessions"], summary["rates"])
    _blames(console, summary["sessions"])
    if summary["requests"]["by_operation"]:
        _outcomes(console, summary["requests"]["by_operation"])
        _durations(console, summary)
    print_line(console, sentences.margin(summary))
    print_line(console, sentences.generator(summary["generator"]))
    if again := sentences.resent(summary["requests"]):
        print_line(console, again)
    if arrivals := sentences.arrivals(summary):
        print_line(console, arrivals)
    for sentence in drift.sentences(summary.get("drift", {})):
        print_line(console, f"over time: {sentence}", "yellow" if drift.claims(summary["drift"]) else "")
    _incidents(console, summary["incidents"])
    if summary["books"]["balanced"]:
        print_line(console, f"books balance: {sentences.books_line(summary['books'])}", "green")


def render_reconciliation(result: Reconciliation, stream: IO[str], width: int = 80) -> None:
    """Write a reconciliation: the answer, verdicts by ledger endings, contradictions."""
    with paper(stream, width) as console:
        _comparison(console, result)


def render_drift(found: Mapping[str, Any], stream: IO[str], width: int = 80) -> None:
    """Write what drifts in a run: sentences, then a line a metric."""
    with paper(stream, width) as console:
        for sentence in drift.sentences(found) or [f"nothing can be said of drift: {found['why_not']}"]:
            print_line(console, sentence, "bold")
        rows = drift.table(found)
        if rows.rows:
            table = _table("metric", rows.heads[1:])
            for row in rows.rows:
                table.add_row(*row)
            console.print()
            console.print(table)


def _comparison(console: Console, result: Reconciliation) -> None:
    count = len(result.contradictions)
    if count:
        print_line(console, f"CONTRADICTED: {words.plural(count, 'contradiction')} between run and ledger", "bold red")
    elif not result.compared:
        print_line(console, "nothing was compared", "bold yellow")
    else:
        compared = words.plural(result.compared, "session")
        print_line(console, f"run and ledger agree: nothing contradicts in {compared} compared", "bold green")
    if result.confusion:
        _confusion(console, result)
    if result.silenced:
        share = result.unproven / result.silenced
        print_line(
            console,
            f"ended for silence by the ledger, with a refresh too late: {words.number(result.silenced)}; "
            f"unproven by the run: {words.number(result.unproven)} ({words.percent(share)})",
        )
    orphans, nameless = words.number(result.orphans), words.number(result.without_chat_id)
    print_line(console, f"in the ledger but not in the run: {orphans}; in the run without a chat id: {nameless}")
    for note in result.notes[:_SHOWN]:
        print_line(console, f"note: {note}")
    for item in result.contradictions[:_SHOWN]:
        print_line(console, f"- {item.sentence}", "red")
    if count > _SHOWN:
        print_line(console, f"  and {words.number(count - _SHOWN)} more: --json has all of them")


def _print(console: Console, title: str, table: Table, caption: str = "") -> None:
    console.print()
    print_line(console, title, "bold")
    console.print(table)
    if caption:
        print_line(console, f" {caption}", "dim")


def _alarms(console: Console, summary: Mapping[str, Any]) -> None:
    for reason in summary["invalid_reasons"]:
        print_line(console, f"RUN INVALID: {reason}", "bold red")
    books = summary["books"]
    if not books["balanced"]:
        print_line(console, f"BOOKS DO NOT BALANCE: {sentences.books_line(books, '/')}", "bold red")
        for imbalance in books["imbalances"][:_SHOWN]:
            print_line(console, f"- {imbalance}", "red")
        if len(books["imbalances"]) > _SHOWN:
            print_line(console, f"  and {len(books['imbalances']) - _SHOWN} more: summary.json has all of them")
    if books["imbalances"] or summary["invalid_reasons"]:
        console.print()


def _thresholds(console: Console, summary: Mapping[str, Any]) -> None:
    """The gate's result, and each threshold with the reason for its judgement."""
    console.print()
    result = summary["result"]
    print_line(console, f"{result.upper()}: {sentences.judged(summary)}", _RESULT_STYLES.get(result, "bold"))
    if summary["aborted"]:
        print_line(console, f"ended early: {summary['aborted']}", "bold red")
    for threshold in summary["thresholds"]:
        style = _THRESHOLD_STYLES[threshold["result"]]
        print_line(console, f"{threshold['result']:<12} {threshold['expression']}", style)
        print_line(console, f"  {threshold['why']}", "dim")


def _table(first: str, columns: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _verdicts(console: Console, sessions: Mapping[str, Any], rates: Mapping[str, Any]) -> None:
    by_verdict = sessions["by_verdict"]
    total = sum(by_verdict.values())
    table = _table("verdict", ("sessions", "share"))
    for verdict, count in by_verdict.items():
        share = words.percent(count / total) if count else words.under(rates[verdict])
        name = verdict
        if verdict == Verdict.CUT_OFF and count:
            name = f"cut_off ({words.number(sessions['cut_off_confirmed'])} with goodbye confirmed)"
        style = _TONE_STYLES[tone(verdict)] if count else "dim"
        table.add_row(name, words.number(count), share, style=style)
    confidence = f"{100 * rates['dropped']['confidence']:g} %"
    caption = f"under: with {confidence} confidence" if total and 0 in by_verdict.values() else ""
    _print(console, "what became of the sessions", table, caption)


def _blames(console: Console, sessions: Mapping[str, Any]) -> None:
    blames = {blame: n for blame, n in sessions["dropped_late_by_blame"].items() if n}
    if not blames:
        return
    table = _table("blame", ("dropped_late",))
    for blame, count in sorted(blames.items(), key=lambda item: -item[1]):
        table.add_row(blame, words.number(count))
    _print(console, "whose fault the lateness was", table)


def _outcomes(console: Console, by_operation: Mapping[str, Any]) -> None:
    table = _table("operation", ("sent", *STATUS_TABLE, "other"))
    for operation, row in by_operation.items():
        outcomes = row["by_outcome"]
        other = sum(n for outcome, n in outcomes.items() if outcome not in STATUS_TABLE)
        cells = [outcomes[outcome] for outcome in STATUS_TABLE]
        table.add_row(operation, *(words.number(n) for n in (row["sent"], *cells, other)))
    totals: Counter[str] = Counter()
    for row in by_operation.values():
        totals.update({name: n for name, n in row["by_outcome"].items() if n and name not in STATUS_TABLE})
    others = ", ".join(f"{words.number(n)} {name}" for name, n in totals.items())
    _print(console, "requests by status code/chatEnded", table, f"other: {others}" if others else "")


def _durations(console: Console, summary: Mapping[str, Any]) -> None:
    refresh = summary["refresh"]
    keys = ("p50", "p99", "p99_9", "max")
    table = _table("", (key.replace("_", ".") for key in keys))
    rows = {f"{name} latency": row["latency_s"] for name, row in summary["requests"]["by_operation"].items()}
    rows["refresh lateness (ours)"] = refresh["lateness_s"]
    rows["gap between contacts"] = refresh["gap_s"]
    for name, tail in rows.items():
        if words.of_tail(tail, "max"):
            table.add_row(name, *(words.of_tail(tail, key) for key in keys))
    _print(console, "durations", table)
    console.print()


def _incidents(console: Console, incidents: Iterable[Mapping[str, Any]]) -> None:
    for incident in list(incidents)[:_SHOWN]:
        when = datetime.fromtimestamp(incident["at"], UTC).strftime("%H:%M:%S")
        print_line(console, f"incident at {when} UTC: {incident['kind']}: {incident['what']}", "yellow")


def _confusion(console: Console, result: Reconciliation) -> None:
    """One row a pair that occurs: ten verdicts by ten endings do not fit 80 columns, and most are 0."""
    table = _table("verdict", ())
    table.add_column("ledger", no_wrap=True)
    table.add_column("sessions", justify="right")
    table.add_column("")
    disputed: dict[tuple[str, str], int] = {}
    for item in result.contradictions:
        disputed[item.verdict, item.ledger] = disputed.get((item.verdict, item.ledger), 0) + 1
    rank = {ending: i for i, ending in enumerate(ENDINGS)}
    for (verdict, ending), count in sorted(result.confusion.items(), key=lambda i: (i[0][0], rank[i[0][1]])):
        wrong = disputed.get((verdict, ending), 0)
        said, style = (f"{words.number(wrong)} contradicted", "red") if wrong else ("", "")
        table.add_row(printable(verdict), _HEADINGS.get(ending, ending), words.number(count), said, style=style)
    _print(console, "verdicts of the run by endings of the ledger", table)
    console.print()
