"""A run while it goes on: its snapshot, the figures of it, and the rows of the web UI's table.

A figure that summary.json has too is computed by the same function. At the end of a run both are equal.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NamedTuple

from chatload.features.report.summary import endings, exposure, measured, rates, totals
from chatload.render import words
from chatload.run.books import LATE_START_S, Books
from chatload.run.lifetimes import chat_hours_text
from chatload.stats.rates import CONFIDENCE
from chatload.swarm.series import LiveSeries
from chatload.thresholds.gate import Gate
from chatload.thresholds.metrics import Facts
from chatload.vocabulary import DROPPED, UNSERVED, Blame, RunPhase, SessionState, Verdict

_SHOWN = (Verdict.DROPPED_LATE.value, DROPPED, UNSERVED)


@dataclass(frozen=True)
class RunSnapshot:
    """The state of a run at one instant.

    facts: so far, of all processes; its timeout is None before the first run. processes: number of those that have
    reported. run: name of its folder. refused: why the last start was refused, empty if it was not. notes: incidents,
    the newest last. gate: its thresholds. series: its course. summary: of an ended run, as in summary.json; None if
    there is none yet.
    """

    phase: RunPhase
    facts: Facts
    elapsed_s: float = 0.0
    processes: int = 0
    run: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()
    gate: Gate = Gate()
    series: LiveSeries = field(default_factory=LiveSeries)
    summary: Mapping[str, Any] | None = None

    @property
    def books(self) -> Books:
        """The counters of all processes."""
        return self.facts.books

    @property
    def timeout_s(self) -> float | None:
        """The flex-disconnect-timeout (seconds)."""
        return self.facts.timeout_s

    @property
    def is_active(self) -> bool:
        """Whether a run is active or its chats disconnect."""
        return self.phase in (RunPhase.RUNNING, RunPhase.STOPPING)


def figures(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return all figures of a snapshot as plain values: durations in seconds, None if nothing was measured."""
    by_class = {name: _of_chats(facts) for name, facts in snapshot.facts.by_class.items()}
    return {
        "phase": snapshot.phase,
        "run": snapshot.run,
        "refused": snapshot.refused,
        "notes": list(snapshot.notes),
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "flex_disconnect_timeout_s": snapshot.timeout_s,
        **_of_chats(snapshot.facts, snapshot.processes),
        "by_class": by_class,
    }


def _of_chats(facts: Facts, processes: int | None = None) -> dict[str, Any]:
    """Return the figures of a run or of one of its user classes. processes: that have reported; None: of a class."""
    books = facts.books
    found = measured(books, facts.timeout_s, processes or 0)
    if processes is None:
        del found["generator"]
    return {
        "sessions": {
            "started": books.started,
            "ended": books.verdicts.total(),
            "open": books.started - books.verdicts.total(),
            "by_state": {state.value: books.states[state] for state in SessionState},
            **endings(facts),
        },
        "rates": rates(facts, CONFIDENCE),
        "exposure": exposure(facts, CONFIDENCE),
        "books": totals(books),
        **found,
    }


def to_csv(figures: Mapping[str, Any]) -> str:
    """Return the figures as CSV, one line per figure, named by its path in the JSON."""
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(("figure", "value"))
    writer.writerows(_flat(figures))
    return stream.getvalue()


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else key)
    else:
        yield path, "" if value is None else value


class FigureRow(NamedTuple):
    """A row of the table of figures. area: what the figure is about. note: the figure in detail."""

    area: str
    figure: str
    value: str
    note: str


def rows(figures: Mapping[str, Any]) -> list[FigureRow]:
    """Return the figures as rows of a table: only those that say something. A count of 0 is left out."""
    return [FigureRow(*row) for row in (*_session_rows(figures), *_request_rows(figures))]


def _session_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield rows by importance: drop rates, open sessions, health of the run, counts."""
    sessions, ended = figures["sessions"], figures["sessions"]["ended"]
    for name in _SHOWN:
        entry = figures["rates"][name]
        if name != UNSERVED and entry["rate"] is not None:
            yield "drop rate", name, words.percent(entry["rate"]), _rate_note(entry)
    hourly, hours = figures["exposure"]["dropped_per_chat_hour"], figures["exposure"]["chat_hours"]
    if hourly["rate"] is not None:
        chance = f"one-sided {100 * hourly['confidence']:g} % bounds if drops are independent"
        note = f"{words.hourly_bounds(hourly)} ({chance}), in {chat_hours_text(hours)}"
        yield "drop rate", "dropped per chat-hour", words.hourly(hourly["rate"]), note
    unserved = figures["rates"][UNSERVED]
    if unserved["most"]:
        yield UNSERVED, "never accepted", words.percent(unserved["rate"]), _rate_note(unserved)
    for state, n in sessions["by_state"].items():
        if n:
            yield "open, by state", state, words.number(n), SessionState(state).meaning
    yield from _health_rows(figures)
    for verdict, n in sessions["by_verdict"].items():
        if not n:
            continue
        note = words.percent(n / ended)
        if verdict == Verdict.CUT_OFF:
            note += f"; {words.number(sessions['cut_off_confirmed'])} with goodbye confirmed"
        yield "ended, by verdict", verdict, words.number(n), note
    for blame, n in sessions["dropped_late_by_blame"].items():
        if n:
            yield "dropped_late, by blame", blame, words.number(n), Blame(blame).meaning


def _rate_note(entry: Mapping[str, Any]) -> str:
    seen = f"{words.number(entry['least'])} proven"
    if entry["most"] > entry["least"]:
        seen += f", {words.number(entry['most'])} possible"
    chance = f"one-sided {100 * entry['confidence']:g} % bounds if sessions are independent"
    return f"{words.bounds(entry)} ({chance}): {seen}, of {words.plural(entry['of'], 'session')}"


def _health_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    refresh, arrivals, generator = figures["refresh"], figures["arrivals"], figures["generator"]
    margin, gap, lateness = refresh["margin_s"], refresh["gap_s"], refresh["lateness_s"]
    over = f"over {words.plural(refresh['count'], 'refresh', 'refreshes')}"
    if refresh["count"]:
        yield "margin", "min", words.of_tail(margin, "min"), ", ".join(filter(None, (_tail(margin, "p1", "p50"), over)))
        yield "gap", "max", words.of_tail(gap, "max"), _tail(gap, "p50", "p99")
    if lateness["max"] is not None:
        yield "lateness", "max", words.seconds(lateness["max"]), _tail(lateness, "p50", "p99", "p99_9")
    if arrivals["count"]:
        tail = _tail(arrivals["start_lateness_s"], "p50", "p99", "p99_9", "max")
        late = f"began more than {words.seconds(LATE_START_S)} late"
        yield "arrivals", "count", words.number(arrivals["count"]), f"start lateness {tail}" if tail else ""
        if arrivals["late_starts"]:
            yield "arrivals", "late_starts", words.number(arrivals["late_starts"]), late
        if arrivals["not_started"]:
            yield "arrivals", "not_started", words.number(arrivals["not_started"]), "did not begin"
    stalled = f"{words.seconds(generator['stalled_s'])} in all, longest {words.seconds(generator['longest_stall_s'])}"
    if generator["stalls"]:
        yield "generator", "stalls", words.number(generator["stalls"]), stalled
    if generator["cpu_saturated"]:
        processes = words.plural(generator["processes"], "process", "processes")
        yield "generator", "cpu_saturated", words.number(generator["cpu_saturated"]), f"warnings, of {processes}"


def _tail(tail: Mapping[str, Any], *names: str) -> str:
    said = ((name.replace("_", "."), words.of_tail(tail, name)) for name in names)
    return ", ".join(f"{name} {value}" for name, value in said if value)


def _request_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for operation, entry in figures["requests"]["by_operation"].items():
        latency = _tail(entry["latency_s"], "p50", "p99", "p99_9", "max")
        yield "requests sent", operation, words.number(entry["sent"]), f"latency {latency}" if latency else ""
    books = figures["books"]
    for figure, begun, over, word, rest in (
        ("sessions", books["sessions_started"], books["sessions_ended"], "ended", "open"),
        ("requests", books["requests_sent"], books["requests_with_outcome"], "outcomes", "under way"),
    ):
        if not begun:
            continue
        balance = f"= {words.number(over)} {word} + {words.number(begun - over)} {rest}"
        yield "books", figure, words.number(begun), balance
