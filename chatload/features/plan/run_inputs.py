"""Capacity of servers as a run shows it: what they held, which need not be their limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from chatload.chat.record import SessionRecord
from chatload.errors import UsageError
from chatload.features.plan.drops import Drops
from chatload.features.plan.inputs import DEFAULT_TIMEOUT_S, Capacity, Constraint, Origin
from chatload.run.books import is_unserved, may_be_dropped
from chatload.run.reader import RunReader
from chatload.run.windows import Window
from chatload.stats.bursts import find_bursts
from chatload.vocabulary import DROPPED_SURELY, Verdict

_POLL = "GetMessages"
#: Sessions with these verdicts have no known chat length.
_UNENDED = (Verdict.CUT_OFF, Verdict.REFUSED)


class Held(NamedTuple):
    """The most that was held, each over a stretch of its own: sessions open throughout, means of the rates."""

    sessions: int
    requests_per_s: float
    starts_per_s: float


@dataclass(frozen=True)
class Measured:
    """The figures of one run that a plan uses. Times are seconds; None if there was nothing to measure.

    held: by all servers together. chat_length_s: mean: time that chats were open, divided by the chats that ended.
    poll_interval_s: this time divided by the polls. other_requests_per_chat: requests other than polls. bursts: bursts
    of drops.
    """

    run: str
    held: Held
    held_for_s: float
    servers: int
    drops: Drops
    sessions: int
    refused: int
    bursts: int
    timeout_s: float | None
    chat_length_s: float | None
    poll_interval_s: float | None
    other_requests_per_chat: float | None

    def capacity(self) -> dict[Constraint, float]:
        """Return what one server held: an equal part."""
        parts = {
            Constraint.SESSIONS: self.held.sessions / self.servers,
            Constraint.REQUESTS: self.held.requests_per_s / self.servers,
            Constraint.STARTS: self.held.starts_per_s / self.servers,
        }
        return {constraint: value for constraint, value in parts.items() if value > 0}


def measure_run(reader: RunReader, name: str, servers: int = 1) -> Measured:
    """Read a run. servers: number of servers that shared its load.

    Raises UsageError if it held nothing. A load counts as held if it lasted for at least one flex-disconnect-timeout,
    because a refresh that comes too late shows only after that time.
    """
    if servers < 1:
        raise UsageError(f"--run-servers {servers} is not a whole number from 1")
    timeout_s = reader.settings.flex_disconnect_timeout
    stretch = timeout_s or DEFAULT_TIMEOUT_S
    held = most_held(list(reader.windows()), stretch)
    if held is None or held.sessions == 0:
        raise UsageError(
            f"{name}: no session was held for one flex-disconnect-timeout ({stretch:g} s)",
            "give a longer run, or --sessions-per-server N",
        )
    open_s, ended, drops, possible, refused = _totals(reader.sessions())
    books = reader.books()
    polls = books.sent[_POLL]
    accepted = books.started - refused
    return Measured(
        run=name,
        held=held,
        held_for_s=stretch,
        servers=servers,
        drops=Drops(drops, possible, open_s),
        sessions=books.started,
        refused=refused,
        bursts=_bursts(reader),
        timeout_s=timeout_s,
        chat_length_s=open_s / ended if ended else None,
        poll_interval_s=open_s / polls if polls else None,
        other_requests_per_chat=(books.sent.total() - polls) / accepted if accepted else None,
    )


def most_held(windows: Sequence[Window], stretch_s: float) -> Held | None:
    """Return the most that was held over at least `stretch_s` seconds of whole windows; None if the run is shorter."""
    opens = [window.open for window in windows]
    sent = list(accumulate((window.books.sent.total() for window in windows), initial=0))
    started = list(accumulate((window.books.started for window in windows), initial=0))
    held: Held | None = None
    end = 0
    for first, window in enumerate(windows):
        while end < len(windows) and windows[end].end - window.start < stretch_s:
            end += 1
        if end == len(windows):
            break
        length = windows[end].end - window.start
        sessions = min(opens[first : end + 1])
        requests, starts = (sent[end + 1] - sent[first]) / length, (started[end + 1] - started[first]) / length
        best = held or Held(0, 0.0, 0.0)
        held = Held(max(sessions, best[0]), max(requests, best[1]), max(starts, best[2]))
    return held


def capacity_of(measured: Measured | None, preset: dict[Constraint, float], typed: dict[Constraint, float]) -> Capacity:
    """Return one server's capacity. A figure typed in overrides the run's, which overrides the preset's."""
    sources = ((preset, Origin.PRESET), (measured.capacity() if measured else {}, Origin.HELD), (typed, Origin.TYPED))
    figures: dict[Constraint, float] = {}
    origins: dict[Constraint, Origin] = {}
    for found, origin in sources:
        figures.update(found)
        origins.update(dict.fromkeys(found, origin))
    return Capacity(origins=origins, **{constraint.value: value for constraint, value in figures.items()})


def _bursts(reader: RunReader) -> int:
    instants = reader.drop_instants()
    if not instants:
        return 0
    start, end = reader.started_at or instants[0], reader.ended_at or instants[-1]
    return len(find_bursts(instants, start, end))


def _totals(sessions: Iterable[SessionRecord]) -> tuple[float, int, int, int, int]:
    """Return seconds open (summed), chats that ended, drops, possible drops, and sessions never accepted."""
    open_s, ended, drops, possible, refused = 0.0, 0, 0, 0, 0
    for session in sessions:
        if is_unserved(session):
            refused += 1
            continue
        open_s += max(session.ended_at - session.started_at, 0.0)
        ended += session.verdict not in _UNENDED
        drops += session.verdict in DROPPED_SURELY
        possible += may_be_dropped(session)
    return open_s, ended, drops, possible, refused
