"""A run's summary, and a reconciliation, as text for a terminal or a CI log."""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import IO, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatload.analysis.rates import under
from chatload.analysis.reconcile import ENDINGS, MISSING, UNMATCHED, Reconciliation

_STATUS_TABLE = ("0/false", "0/true", "1/false", "1/true", "2")
_GOOD = ("completed", "ended_by_agent")
_BAD = ("dropped_late", "dropped_early", "failed", "gave_up", "refused")
_RESULT_STYLES = {
    **{"passed": "bold green", "failed": "bold red", "inconclusive": "bold yellow", "invalid": "bold red"},
    **{"pass": "green", "fail": "red"},
}
_HEADINGS = {MISSING: "unknown to the ledger", UNMATCHED: "has no chat id"}
_WITHIN = re.compile(r"(?<=\d) (?=\d{3}\b|%|m?s\b)")
#: Contradictions printed in full; --json has all of them.
_SHOWN = 20


def render(summary: Mapping[str, Any], stream: IO[str], width: int = 80) -> None:
    """Write a summary to `stream`, `width` columns wide; plain text where it is no terminal."""
    console = _console(stream, width)
    with console.capture() as captured:
        _sections(console, summary)
    # rich fills every line of a table up with blanks
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _sections(console: Console, summary: Mapping[str, Any]) -> None:
    _alarms(console, summary)
    _line(console, _answer(summary), "bold")
    _line(console, _heading(summary), "dim")
    _thresholds(console, summary)
    _verdicts(console, summary["sessions"])
    _blames(console, summary["sessions"])
    if summary["requests"]["by_operation"]:
        _outcomes(console, summary["requests"]["by_operation"])
        _durations(console, summary)
    _line(console, _margin(summary))
    _line(console, _generator(summary["generator"]))
    _incidents(console, summary["incidents"])
    if summary["books"]["balanced"]:
        _line(console, f"books balance: {_books(summary['books'])}", "green")


def render_reconciliation(result: Reconciliation, stream: IO[str], width: int = 80) -> None:
    """Write a reconciliation: the answer, verdicts by ledger endings, contradictions."""
    console = _console(stream, width)
    with console.capture() as captured:
        _comparison(console, result)
    # rich fills every line of a table up with blanks
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _comparison(console: Console, result: Reconciliation) -> None:
    count = len(result.contradictions)
    if count:
        _line(console, f"CONTRADICTED: {_plural(count, 'contradiction')} between run and ledger", "bold red")
    else:
        compared = _plural(result.sessions - result.without_chat_id, "session")
        _line(console, f"run and ledger agree: nothing contradicts in {compared} compared", "bold green")
    if result.confusion:
        _confusion(console, result)
    if result.silenced:
        share = result.unproven / result.silenced
        _line(
            console,
            f"ended for silence by the ledger, with a refresh too late: {_number(result.silenced)}; "
            f"unproven by the run: {_number(result.unproven)} ({_percent(share)})",
        )
    orphans, nameless = _number(result.orphans), _number(result.without_chat_id)
    _line(console, f"in the ledger but not in the run: {orphans}; in the run without a chat id: {nameless}")
    for note in result.notes[:_SHOWN]:
        _line(console, f"note: {note}")
    for item in result.contradictions[:_SHOWN]:
        _line(console, f"- {item.sentence}", "red")
    if count > _SHOWN:
        _line(console, f"  and {_number(count - _SHOWN)} more: --json has all of them")


def _console(stream: IO[str], width: int) -> Console:
    # Not left to rich: it would colour a file wherever the environment says FORCE_COLOR.
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _line(console: Console, text: str, style: str = "") -> None:
    """One line, or where it is too long several, broken neither inside 3 214 nor inside 1.5 %."""
    kept = _WITHIN.sub("\u00a0", text)
    lines = textwrap.wrap(kept, console.width, subsequent_indent="  ", break_on_hyphens=False) or [""]
    for line in lines:
        console.print(Text(line.replace("\u00a0", " "), style), soft_wrap=True)


def _print(console: Console, title: str, table: Table, caption: str = "") -> None:
    console.print()
    _line(console, title, "bold")
    console.print(table)
    if caption:
        _line(console, f" {caption}", "dim")


def _alarms(console: Console, summary: Mapping[str, Any]) -> None:
    for reason in summary["invalid_reasons"]:
        _line(console, f"RUN INVALID: {reason}", "bold red")
    books = summary["books"]
    if not books["balanced"]:
        _line(console, f"BOOKS DO NOT BALANCE: {_books(books, '/')}", "bold red")
        for imbalance in books["imbalances"][:_SHOWN]:
            _line(console, f"- {imbalance}", "red")
        if len(books["imbalances"]) > _SHOWN:
            _line(console, f"  and {len(books['imbalances']) - _SHOWN} more: summary.json has all of them")
    if books["imbalances"] or summary["invalid_reasons"]:
        console.print()


def _thresholds(console: Console, summary: Mapping[str, Any]) -> None:
    """The gate's result, and each threshold with the reason for its judgement."""
    thresholds = summary["thresholds"]
    if not thresholds and not summary["aborted"]:
        return
    console.print()
    style = _RESULT_STYLES[summary["result"]]
    held = sum(threshold["result"] == "pass" for threshold in thresholds)
    _line(console, f"{summary['result'].upper()}: {held} of {_plural(len(thresholds), 'threshold')} hold", style)
    if summary["aborted"]:
        _line(console, f"ended early: {summary['aborted']}", "bold red")
    for threshold in thresholds:
        style = _RESULT_STYLES[threshold["result"]]
        _line(console, f"{threshold['result']:<12} {threshold['expression']}", style)
        _line(console, f"  {threshold['why']}", "dim")


def _answer(summary: Mapping[str, Any]) -> str:
    """The one line that answers: did a refresh come too late?"""
    verdicts = summary["sessions"]["by_verdict"]
    accepted = sum(verdicts.values()) - verdicts["refused"]
    late, unproven = verdicts["dropped_late"], verdicts["dropped_unproven"]
    if not accepted:
        return f"no session was accepted ({_number(verdicts['refused'])} refused): nothing was tested"
    of = f"{_number(accepted)} accepted sessions" if verdicts["refused"] else _plural(accepted, "session")
    if late:
        was, share = "was" if late == 1 else "were", _percent(late / accepted)
        answer = f"{_number(late)} of {of} {was} dropped because a refresh came too late ({share})"
        return answer + (f"; {_number(unproven)} more may have been" if unproven else "")
    if unproven:
        return f"no drop proven late in {of}, but {_number(unproven)} may have been"
    return f"no refresh came too late in {of}: under {_bound(accepted)} with 95 % confidence"


def _heading(summary: Mapping[str, Any]) -> str:
    parts = [str(summary["name"])]
    started, ended = summary["started_at"], summary["ended_at"]
    if started is not None:
        parts.append(datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    if started is not None and ended is not None:
        parts.append(f"took {_duration(ended - started)}")
    timeout = summary["settings"].get("flex_disconnect_timeout")
    if timeout is not None:
        parts.append(f"flex-disconnect-timeout {timeout} s")
    return ", ".join(parts)


def _table(first: str, columns: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(first, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _verdicts(console: Console, sessions: Mapping[str, Any]) -> None:
    by_verdict = sessions["by_verdict"]
    total = sum(by_verdict.values())
    table = _table("verdict", ("sessions", "share"))
    for verdict, count in by_verdict.items():
        share = "" if not total else _percent(count / total) if count else f"under {_bound(total)}"
        name = verdict
        if verdict == "cut_off" and count:
            name = f"cut_off ({_number(sessions['cut_off_confirmed'])} with goodbye confirmed)"
        style = "green" if verdict in _GOOD else "red" if verdict in _BAD else "yellow"
        table.add_row(name, _number(count), share, style=style if count else "dim")
    caption = "under: with 95 % confidence" if total and 0 in by_verdict.values() else ""
    _print(console, "what became of the sessions", table, caption)


def _blames(console: Console, sessions: Mapping[str, Any]) -> None:
    blames = {blame: n for blame, n in sessions["dropped_late_by_blame"].items() if n}
    if not blames:
        return
    table = _table("blame", ("dropped_late",))
    for blame, count in sorted(blames.items(), key=lambda item: -item[1]):
        table.add_row(blame, _number(count))
    _print(console, "whose fault the lateness was", table)


def _outcomes(console: Console, by_operation: Mapping[str, Any]) -> None:
    table = _table("operation", ("sent", *_STATUS_TABLE, "other"))
    for operation, row in by_operation.items():
        outcomes = row["by_outcome"]
        other = sum(n for outcome, n in outcomes.items() if outcome not in _STATUS_TABLE)
        cells = [outcomes[outcome] for outcome in _STATUS_TABLE]
        table.add_row(operation, *(_number(n) for n in (row["sent"], *cells, other)))
    totals: Counter[str] = Counter()
    for row in by_operation.values():
        totals.update({name: n for name, n in row["by_outcome"].items() if n and name not in _STATUS_TABLE})
    others = ", ".join(f"{_number(n)} {name}" for name, n in totals.items())
    _print(console, "requests by status code/chatEnded", table, f"other: {others}" if others else "")


def _durations(console: Console, summary: Mapping[str, Any]) -> None:
    refresh = summary["refresh"]
    keys = ("p50", "p99", "p99_9", "max")
    table = _table("", (key.replace("_", ".") for key in keys))
    rows = {f"{name} latency": row["latency_s"] for name, row in summary["requests"]["by_operation"].items()}
    rows["refresh lateness (ours)"] = refresh["lateness_s"]
    rows["gap between contacts"] = refresh["gap_s"]
    for name, tail in rows.items():
        if tail["max"] is not None:
            table.add_row(name, *(_seconds(tail.get(key)) for key in keys))
    _print(console, "durations", table)
    console.print()


def _margin(summary: Mapping[str, Any]) -> str:
    refresh, margin = summary["refresh"], summary["refresh"]["margin_s"]
    if margin["min"] is None:
        return "margin before the timeout: no refresh was measured"
    least, p1, p50 = (_seconds(margin[key]) for key in ("min", "p1", "p50"))
    return (
        f"margin before the timeout: least {least}, p1 {p1}, p50 {p50}, "
        f"over {_plural(refresh['count'], 'refresh', 'refreshes')}"
    )


def _generator(generator: Mapping[str, Any]) -> str:
    processes = _plural(generator["processes"], "process", "processes")
    if not generator["stalls"]:
        return f"generator: {processes}, never stood still"
    stalls = _plural(generator["stalls"], "time")
    longest, total = _seconds(generator["longest_stall_s"]), _seconds(generator["stalled_s"])
    return f"generator: {processes}, stood still {stalls} ({total} in all, longest {longest})"


def _incidents(console: Console, incidents: Iterable[Mapping[str, Any]]) -> None:
    for incident in list(incidents)[:_SHOWN]:
        when = datetime.fromtimestamp(incident["at"], UTC).strftime("%H:%M:%S")
        _line(console, f"incident at {when} UTC: {incident['kind']}: {incident['what']}", "yellow")


def _books(books: Mapping[str, Any], sign: str = "=") -> str:
    sessions = f"{_plural(books['sessions_started'], 'session')} started"
    requests = f"{_plural(books['requests_sent'], 'request')} sent"
    ended, outcomes = _number(books["sessions_ended"]), _number(books["requests_with_outcome"])
    return f"{sessions} {sign} {ended} ended; {requests} {sign} {outcomes} outcomes"


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
        said, style = (f"{_number(wrong)} contradicted", "red") if wrong else ("", "")
        table.add_row(verdict, _HEADINGS.get(ending, ending), _number(count), said, style=style)
    _print(console, "verdicts of the run by endings of the ledger", table)
    console.print()


def _number(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _plural(n: int, one: str, many: str = "") -> str:
    return f"{_number(n)} {one if n == 1 else many or one + 's'}"


def _percent(share: float) -> str:
    """Two significant digits, rounded up from below 100 % never to 100 %."""
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent >= 99:
        return f"{min(percent, 99.9999):.4g} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def _bound(n: int) -> str:
    """The bound of `under`, rounded up: rounded down it would claim more than was shown."""
    percent = 100 * under(n)
    unit = 10.0 ** (math.floor(math.log10(percent)) - 1)
    return f"{min(math.ceil(percent / unit) * unit, 100):.2g} %" if percent < 99 else "100 %"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds and abs(seconds) < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:.0f} s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
