"""summary.md: a run's summary for a pull-request comment or a CI job summary (GitHub, GitLab)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatload.features.report import drift_view as drift
from chatload.features.report import sentences
from chatload.render import words
from chatload.run.writer import replacing
from chatload.stats.rates import bound_text
from chatload.vocabulary import STATUS_TABLE, RunResult

MARKDOWN_FILE = "summary.md"

#: So much is shown of what a run can have any number of; summary.json and junit.xml have all of it.
_THRESHOLDS, _NOTES = 12, 5
_NAME_CHARACTERS, _SENTENCE_CHARACTERS = 80, 300
#: Invisible; between a sign and a word it keeps @somebody, #12, !12, ~label from being a reference.
_APART = "\u200b"
_ORDER = {"fail": 0, "inconclusive": 1, "pass": 2}


def markdown(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown, under 60 lines: the answer, thresholds, verdicts, blame, requests, health."""
    sections = [
        _result(summary),
        _thresholds(summary["thresholds"], float(summary["confidence"])),
        _verdicts(summary),
        _requests(summary["requests"]["by_operation"]),
        _health(summary),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def write_markdown(run_dir: str | Path, summary: Mapping[str, Any]) -> Path:
    """Write summary.md of a run into its folder; whole or not at all. Raises UsageError."""
    path = Path(run_dir) / MARKDOWN_FILE
    with replacing(path) as stream:
        stream.write(markdown(summary))
    return path


# -- sections ------------------------------------------------------------------------------------


def _result(summary: Mapping[str, Any]) -> str:
    result, why = sentences.result_and_why(summary)
    lines = [f"### chatload: {_text(result)}", f"**{_text(why)}**"]
    if early := sentences.ended_early(summary):
        lines.append(f"**{_text(early)}**")
    if why != (answer := sentences.answer(summary)):
        lines.append(_text(answer))
    if result == RunResult.NOT_JUDGED:
        lines.append(sentences.judged(summary))
    lines.append(_about(summary))
    return "\n\n".join(lines)


def _about(summary: Mapping[str, Any]) -> str:
    settings = summary["settings"]
    parts = [_code(summary["name"])]
    if settings.get("host"):
        parts.append(f"on {_code(settings['host'])}")
    started, ended = summary["started_at"], summary["ended_at"]
    if started is not None:
        parts.append(datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M UTC"))
    if started is not None and ended is not None:
        parts.append(f"took {words.duration(ended - started)}")
    if settings.get("flex_disconnect_timeout") is not None:
        parts.append(f"flex-disconnect-timeout {_text(settings['flex_disconnect_timeout'])} s")
    if connections := sentences.shared(summary):
        parts.append(connections)
    if unverified := sentences.insecure(summary):
        parts.append(f"**{unverified}**")
    return ", ".join(parts)


def _thresholds(thresholds: Iterable[Mapping[str, Any]], confidence: float) -> str:
    ordered = sorted(thresholds, key=lambda threshold: _ORDER.get(threshold["result"], 0))
    if not ordered:
        return ""
    rows = [
        (
            _code(threshold["expression"]).replace("|", "\\|"),  # else it ends a table's cell even in a code span
            "pass" if threshold["result"] == "pass" else f"**{_text(threshold['result'])}**",
            _valued(threshold, "value"),
            _between(_valued(threshold, "lower"), _valued(threshold, "upper")),
            _samples(threshold),
            _text(threshold.get("why") or ""),
        )
        for threshold in ordered[:_THRESHOLDS]
    ]
    bounds = f"one-sided {100 * confidence:g} % bounds"
    table = aligned(("threshold", "result", "value", bounds, "samples", "why"), "llrrrl", rows)
    more = len(ordered) - _THRESHOLDS
    return table + (f"\n\nand {words.plural(more, 'more threshold')}: junit.xml has all of them" if more > 0 else "")


def _samples(threshold: Mapping[str, Any]) -> str:
    samples, needed = threshold.get("samples"), threshold.get("needed")
    shown = "" if samples is None else words.number(samples)
    return f"{shown} (needs {words.number(needed)})" if needed is not None else shown


def _valued(threshold: Mapping[str, Any], key: str) -> str:
    """A threshold's value or bound in its unit; shares are fractions of 1, durations seconds."""
    value = threshold.get(key)
    if value is None:
        return ""
    if threshold.get("unit") == "%":
        return words.percent(value) if key == "value" else bound_text(value, up=key == "upper")
    if threshold.get("unit") != "s":
        return f"{value:g}"
    beyond = key == "value" and threshold.get("beyond")
    past = "under " if str(threshold["expression"]).startswith("margin.") else "over "
    return (past if beyond else "") + words.seconds(value)


def _between(low: str, high: str) -> str:
    if low and high:
        return f"{low} … {high}"
    return f"≥ {low}" if low else f"≤ {high}" if high else ""


def _verdicts(summary: Mapping[str, Any]) -> str:
    sessions = summary["sessions"]
    by_verdict = sessions["by_verdict"]
    total = sum(by_verdict.values())
    if not total:
        return "no session ended"
    rows, confidence = [], f"{100 * summary['rates']['dropped']['confidence']:g} %"
    for verdict, count in by_verdict.items():
        if count:
            rows.append(
                (
                    verdict,
                    words.number(count),
                    words.percent(count / total),
                    words.bounds(summary["rates"][verdict]),
                )
            )
    lines = [aligned(("verdict", "sessions", "share", f"one-sided {confidence} bounds"), "lrrr", rows)]
    notes = list(_none(summary["rates"], [verdict for verdict, count in by_verdict.items() if not count]))
    if by_verdict["cut_off"]:
        notes.append(f"{words.number(sessions['cut_off_confirmed'])} of the cut_off with goodbye confirmed")
    blames = [f"{blame} {words.number(n)}" for blame, n in sessions["dropped_late_by_blame"].items() if n]
    if blames:
        notes.append(f"**blame** of the dropped_late: {', '.join(blames)}")
    notes += _bursts(summary.get("bursts") or {})
    return "\n\n".join([*lines, _list(notes)])


def _none(rates: Mapping[str, Any], verdicts: Iterable[str]) -> Iterator[str]:
    """That there was none of these verdicts, with what each is under: those with the same bound in one note."""
    by_bound: dict[str, list[str]] = {}
    for verdict in verdicts:
        by_bound.setdefault(words.under(rates[verdict]), []).append(verdict)
    for bound, named in by_bound.items():
        confidence = f"{100 * rates[named[0]]['confidence']:g} % confidence"
        yield f"none {', '.join(named)}" + (f": each {bound} with {confidence}" if bound else "")


def _bursts(bursts: Mapping[str, Any]) -> list[str]:
    drops, incidents = bursts.get("drops", 0), bursts.get("incidents", 0)
    if drops <= incidents:
        return []
    came = f"{words.plural(drops, 'drop')} came in {words.plural(incidents, 'incident')}"
    return [f"**bursts**: {came}: they are not independent, and the intervals, which assume it, are too narrow"]


def _requests(by_operation: Mapping[str, Any]) -> str:
    if not by_operation:
        return ""
    rows, others = [], dict[str, int]()
    for operation, row in by_operation.items():
        outcomes, latency = row["by_outcome"], row["latency_s"]
        other = {name: n for name, n in outcomes.items() if n and name not in STATUS_TABLE}
        for name, n in other.items():
            others[name] = others.get(name, 0) + n
        counts = (row["sent"], *(outcomes[name] for name in STATUS_TABLE), sum(other.values()))
        rows.append(
            (
                _text(operation),
                *map(words.number, counts),
                *(words.of_tail(latency, key) for key in ("p50", "p99", "max")),
            )
        )
    heads = ("operation", "sent", *STATUS_TABLE, "other", "p50", "p99", "max")
    table = aligned(heads, "l" + "r" * (len(heads) - 1), rows)
    told = ", ".join(f"{words.number(n)} {name}" for name, n in others.items())
    return "requests by status code/chatEnded, and latency" + (f" (other: {told})" if told else "") + f"\n\n{table}"


def _health(summary: Mapping[str, Any]) -> str:
    lateness, gap = summary["refresh"]["lateness_s"], summary["refresh"]["gap_s"]
    notes = [sentences.margin(summary)]
    if widest := words.of_tail(gap, "max"):
        p50, p99 = words.of_tail(gap, "p50"), words.of_tail(gap, "p99")
        notes.append(f"gap between contacts: p50 {p50}, p99 {p99}, widest {widest}")
    if lateness["max"] is not None:
        notes.append(
            f"refresh lateness (ours): p99 {words.seconds(lateness['p99'])}, most {words.seconds(lateness['max'])}"
        )
    notes.append(sentences.generator(summary["generator"]))
    if again := sentences.resent(summary["requests"]):
        notes.append(again)
    if arrivals := sentences.arrivals(summary):
        notes.append(arrivals)
    notes += [f"over time: {sentence}" for sentence in drift.sentences(summary.get("drift", {}))]
    incidents = summary["incidents"]
    for incident in incidents[:_NOTES]:
        when = datetime.fromtimestamp(incident["at"], UTC).strftime("%H:%M:%S")
        notes.append(f"incident at {when} UTC: {_text(incident['kind'])}: {_text(incident['what'])}")
    if len(incidents) > _NOTES:
        notes.append(f"and {words.plural(len(incidents) - _NOTES, 'more incident')}: summary.json has all of them")
    balanced = summary["books"]["balanced"]
    books = sentences.books_line(summary["books"], "=" if balanced else "/")
    notes.append(f"books balance: {books}" if balanced else f"**books do not balance**: {books}")
    return _list(notes)


# -- Markdown ------------------------------------------------------------------------------------


def aligned(heads: Iterable[str], sides: str, rows: Iterable[Iterable[str]]) -> str:
    """A table; `sides` has l or r a column. Cells are Markdown already."""
    lines = [_row(heads), _row("--:" if side == "r" else ":--" for side in sides), *map(_row, rows)]
    return "\n".join(lines)


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table of names and, to their right, numbers, and the empty line behind it. Cells are words from outside."""
    yield aligned(heads, "l" + "r" * (len(heads) - 1), (map(escaped, row) for row in rows))
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(notes: Iterable[str]) -> str:
    return "\n".join(f"- {note}" for note in notes)


def _clean(value: object, most: int) -> str:
    """The value in one line of at most so many characters, without what cannot be seen."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(value: object, most: int = 2000) -> str:
    """Words from outside as Markdown that shows just these words, at most so many characters: no markup, no table
    cell, no reference to anybody or anything, no link."""
    line = _clean(value, most)
    line = re.sub(r"""(@|[#!~$%^&](?=[\w"])|://|\bwww\.)""", rf"\1{_APART}", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line).replace(_APART, "&#8203;")


def _text(value: object) -> str:
    return escaped(value, _SENTENCE_CHARACTERS)


def _code(value: object) -> str:
    """Words from outside as a code span: GitHub and GitLab read no markup and no reference in one."""
    line = _clean(value, _NAME_CHARACTERS) or "?"
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"
