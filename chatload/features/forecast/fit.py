"""The virtual driver's conditions, fitted to a measured run: from its run file alone.

What can be read off is read off: round trips, failures, incidents, who ended chats and when. What cannot (how soon
agents come and answer, where within a window an incident ends) is found by replaying the run until the figures that
hang on it come out as they were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import sqrt
from typing import Any

from chatload.chat.record import SessionRecord
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S, SessionSettings
from chatload.errors import FileError, UsageError
from chatload.features.forecast.conditions import Agents, Conditions
from chatload.features.forecast.crowd import Crowd, Job
from chatload.features.forecast.crowds import Holder
from chatload.features.forecast.weather import Incident, find_incidents, read_cells, stretches_of
from chatload.run.books import may_be_dropped
from chatload.run.reader import RunReader
from chatload.run.settings import not_replayed, session_settings
from chatload.vocabulary import PERHAPS_LATE, Outcome, Verdict

#: A replay while fitting sends about so many requests at most: beyond, a part of the customers stands for all.
FITTING_REQUESTS = 60_000
#: Replays to find how soon agents come and answer, and when incidents end.
ROUNDS = 6
_BINS = 12
_AGAIN = 12
#: What a chat that was too late may be taken for; what the server answers to such a one is learned from these.
_BROKEN = 200
#: Drops of a replay that differ by so many standard deviations are different.
_SIGMAS = 1.0

#: Told what is being done.
Told = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What the run came to, as far as a replay has to come to the same. Times in seconds. known: sessions whose fate
    is known; dropped: of these, those that were dropped or may have been; late: those that were, proven late."""

    sessions: int
    accepted: int
    known: int
    dropped: int
    late: int
    unproven: int
    requests: int
    length_s: float
    most_open: int
    messages_sent: int
    messages_heard: int
    margins_s: dict[str, float]
    incidents: int = 0

    @property
    def requests_per_s(self) -> float:
        """Over the whole run."""
        return self.requests / self.length_s


@dataclass(frozen=True)
class Fitted:
    """A run as the virtual driver can hold it again. starts: when each of its customers came, seconds.

    incidents: from and to; drops: how many sessions each dropped in the run.
    """

    settings: SessionSettings
    conditions: Conditions
    starts: tuple[float, ...]
    stop_at: float
    measured: Measured
    incidents: tuple[tuple[float, float], ...] = ()
    drops: tuple[int, ...] = ()

    def share(self, requests: int) -> tuple[float, ...]:
        """The starts of every so-manieth customer, so that about so many requests are sent at most."""
        step = max(1, -(-self.measured.requests // requests))
        return self.starts[::step]

    def job(self, starts: Sequence[float], seed: int) -> Job:
        """The run again, with these customers of it."""
        return Job(self.settings, self.conditions, 0, tuple(starts), self.stop_at, seed)


def fit(reader: RunReader, holder: Holder, script: str | None = None, told: Told = lambda _: None) -> Fitted:
    """Fit a run. script: the customers' script where the run's own is not where it was.

    Raises UsageError where the run does not hold what that takes.
    """
    told("reading the run")
    settings = settings_of(reader, script)
    began, ended = reader.started_at, reader.ended_at
    windows = list(reader.windows())
    if began is None or ended is None or ended <= began or not windows:
        raise UsageError(f"{reader.path}: no whole run with windows to fit", "give one that came to its end")
    sessions = sorted(reader.sessions(), key=lambda record: record.started_at)
    accepted = [record for record in sessions if record.chat_id]
    if not accepted:
        raise UsageError(f"{reader.path}: no chat was ever accepted", "there is nothing to forecast from")
    unsent = _unsent(sessions, reader.books().outcomes)
    cells = read_cells(windows, began, settings.request_timeout_s, unsent)
    incidents, flags = find_incidents(cells, settings.timeout_s)
    stop_at = _stopped(sessions, began, ended)
    conditions = Conditions(
        stretches=stretches_of(cells, flags, incidents),
        length_s=stop_at,
        agents=_agents(accepted),
        dropped_answer=_dropped_answer(sessions),
        connection_s=_broken_s(reader),
        sessions=max(window.open for window in windows),
    )
    measured = _measured(reader, sessions, accepted, conditions.sessions, ended - began, len(incidents))
    lingers_s = settings.timeout_s + settings.policy.interval_s
    drops = tuple(_drops(sessions, incident, began, lingers_s) for incident in incidents)
    fitted = Fitted(settings, conditions, _starts(sessions, began), stop_at, measured, _spans(incidents), drops)
    return _calibrated(fitted, incidents, lambda found: stretches_of(cells, flags, found), holder, told)


def settings_of(reader: RunReader, script: str | None = None) -> SessionSettings:
    """The run's settings, as its sessions had them; raises UsageError."""
    run = reader.settings
    if what := not_replayed(run):
        raise UsageError(f"{reader.path}: a run with {what} cannot be forecast: it is not modelled", "give one without")
    try:
        return session_settings(run, script=None if script is None else load_script(script))
    except FileError as error:
        raise UsageError(f"the run's script cannot be read: {error}", "name it with --script FILE") from None
    except UsageError as error:
        raise UsageError(f"{reader.path}: {error}") from None


# -- what can be read off --------------------------------------------------------------------------


def _unsent(sessions: Iterable[SessionRecord], outcomes: Mapping[str, Mapping[str, int]]) -> float:
    """Which part of the broken connections were never made, so that nothing can have been sent."""
    never = sum(max(record.requests - record.contacts, 0) for record in sessions)
    broken = sum(by.get(Outcome.CONNECTION.value, 0) for by in outcomes.values())
    return min(never / broken, 1.0) if broken else 0.0


def _stopped(sessions: Sequence[SessionRecord], began: float, ended: float) -> float:
    """When the customers were told to go (seconds since the run began)."""
    cut = [record.ended_at for record in sessions if record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed]
    return (min(cut) if cut else ended) - began


def _starts(sessions: Sequence[SessionRecord], began: float) -> tuple[float, ...]:
    """When each customer came: whoever starts a chat while no known customer is free is a new one."""
    free: list[float] = []
    starts = []
    for record in sessions:
        if free and free[0] <= record.started_at:
            heappop(free)
        else:
            starts.append(record.started_at - began)
        heappush(free, record.ended_at + (0.0 if record.chat_id else PAUSE_AFTER_REFUSAL_S))
    return tuple(starts)


def _agents(accepted: Sequence[SessionRecord]) -> Agents:
    open_s = max(sum(record.ended_at - record.started_at for record in accepted), 1e-9)
    by_verdict = {
        verdict: sum(record.verdict == verdict for record in accepted)
        for verdict in (Verdict.DROPPED_EARLY, Verdict.FAILED)
    }
    return Agents(
        leaving=_hazard(accepted, Verdict.ENDED_BY_AGENT),
        closing=_hazard(accepted, Verdict.CLOSED_IDLE),
        early=by_verdict[Verdict.DROPPED_EARLY] / open_s,
        lost=by_verdict[Verdict.FAILED] / open_s,
    )


def _hazard(accepted: Sequence[SessionRecord], verdict: Verdict) -> tuple[tuple[float, float], ...]:
    """The chance per second of such an end by age (W. Nelson, "Theory and applications of hazard plotting for
    censored failure data", Technometrics 14 (1972)): events over the time spent at that age by all."""
    ages, events = [], []
    for record in accepted:
        age = record.ended_at - record.started_at
        if record.verdict == verdict:
            # It was over before we learned of it, anywhere in the last gap.
            age = max(age - (record.gap_upper_s or 0.0) / 2, 0.0)
            events.append(age)
        ages.append(age)
    if not events:
        return ()
    events.sort()
    bins = min(_BINS, len(events))
    edges = sorted({0.0, *(events[len(events) * i // bins] for i in range(1, bins)), events[0] * 0.999})
    found = []
    for low, high in zip(edges, [*edges[1:], events[-1] * 1.001], strict=True):
        at_risk = sum(min(age, high) - low for age in ages if age > low)
        found.append((low, sum(low <= age < high for age in events) / at_risk if at_risk else 0.0))
    return (*found, (events[-1] * 1.001, 0.0))


def _drops(sessions: Iterable[SessionRecord], incident: Incident, began: float, lingers_s: float) -> int:
    """The sessions dropped in an incident, as replays count them (see `chatload.features.forecast.crowd`)."""
    return sum(
        may_be_dropped(record) and incident.start <= record.ended_at - began < incident.latest + lingers_s
        for record in sessions
    )


def _dropped_answer(sessions: Iterable[SessionRecord]) -> str:
    told = [record.learned_by for record in sessions if record.verdict in PERHAPS_LATE]
    return "2" if told.count(Outcome.UNRECOVERABLE.value) > len(told) / 2 else "0/true"


def _broken_s(reader: RunReader) -> tuple[float, ...]:
    """How long broken connections took to show, of those whose instants were kept."""
    durations = [
        contact.received - contact.sent
        for timeline in reader.timelines()
        for contact in timeline.contacts
        if contact.outcome == Outcome.CONNECTION and contact.sent is not None
    ]
    return tuple(sorted(durations)[:: max(1, len(durations) // _BROKEN)])


def _measured(
    reader: RunReader,
    sessions: Sequence[SessionRecord],
    accepted: Sequence[SessionRecord],
    most_open: int,
    length_s: float,
    incidents: int,
) -> Measured:
    books = reader.books()
    timeout_s = reader.settings.flex_disconnect_timeout or 0.0
    return Measured(
        sessions=len(sessions),
        accepted=books.fates.accepted,
        known=max(books.fates.known(reader.count_cut_off_confirmed()), 1),
        dropped=books.fates.dropped.most,
        late=books.verdicts[Verdict.DROPPED_LATE],
        unproven=books.verdicts[Verdict.DROPPED_UNPROVEN],
        requests=books.sent.total(),
        length_s=length_s,
        most_open=most_open,
        messages_sent=sum(record.messages_sent for record in accepted),
        messages_heard=sum(record.messages_received for record in accepted),
        margins_s={
            name: timeout_s - gap for name, q in (("p50", 0.5), ("p1", 0.99))
            if (gap := books.gap.figure(q)) is not None
        },
        incidents=incidents,
    )  # fmt: skip


def _spans(incidents: Iterable[Incident]) -> tuple[tuple[float, float], ...]:
    return tuple((incident.start, incident.end) for incident in incidents)


# -- what must be found by replaying ---------------------------------------------------------------


def _calibrated(
    fitted: Fitted, incidents: list[Incident], stretches: Callable[[list[Incident]], Any], holder: Holder, told: Told
) -> Fitted:
    """The fit with the ends of incidents, and agents as quick, that give the run's own figures; and then, where an
    incident drops more than it did, with some of its failed requests taken by the server all the same."""
    # A small run again and again: by chance alone one replay of it is some percent off.
    starts = fitted.share(FITTING_REQUESTS) * min(max(FITTING_REQUESTS // fitted.measured.requests, 1), _AGAIN)
    part = len(starts) / len(fitted.starts)
    search = _Agents(fitted.measured, part, fitted.settings.script)
    reached = [_Reached(incident, drops * part) for incident, drops in zip(incidents, fitted.drops, strict=True)]

    def made() -> Fitted:
        agents = replace(fitted.conditions.agents, join_s=search.join_s, answer_s=search.answer_s)
        conditions = replace(fitted.conditions, agents=agents, stretches=stretches(incidents))
        return replace(fitted, conditions=conditions, incidents=_spans(incidents))

    def replayed() -> Crowd:
        watched = tuple(incident.watch for incident in incidents)
        return holder(replace(made().job(starts, seed=1), watched=watched))

    for number in range(ROUNDS):
        told(f"fitting: replay {number + 1}")
        crowd = replayed()
        search.saw(crowd)
        for i, incident in enumerate(incidents):
            if crowd.failures[i] > incident.target * part:
                incident.latest = incident.end
            else:
                incident.earliest = incident.end
            incident.end = (incident.earliest + incident.latest) / 2
    for number in range(ROUNDS if incidents else 0):
        told(f"fitting: replay {ROUNDS + number + 1}")
        crowd = replayed()
        # All are asked, whether or not one has an answer already.
        asked = [found.saw(crowd.drops[i]) for i, found in enumerate(reached)]
        if not any(asked):
            break
    return made()


class _Reached:
    """How many of an incident's failed requests the server took all the same: unknown to the client, but each
    that was one contact kept its chat alive. Found where none would drop more chats than were dropped."""

    def __init__(self, incident: Incident, drops: float) -> None:
        self._incident, self._drops = incident, drops
        self._least, self._most = 0.0, 1.0

    def saw(self, drops: int) -> bool:
        """A replay dropped so many in it; whether another is to be made."""
        incident = self._incident
        # Within what chance alone would do there is nothing to be found.
        if abs(drops - self._drops) <= _SIGMAS * sqrt(max(self._drops, 1.0)):
            return False
        if drops > self._drops:
            self._least = incident.reaches
        elif incident.reaches:
            self._most = incident.reaches
        else:
            return False
        incident.reaches = (self._least + self._most) / 2
        return True


class _Agents:
    """How soon agents join and answer: so that customers send, and hear, as many messages as they did."""

    def __init__(self, measured: Measured, part: float, script: CustomerScript) -> None:
        self._sent, self._heard = measured.messages_sent * part, measured.messages_heard * part
        speaks = measured.messages_sent > 0
        self.answer_s: float | None = 1.0 if measured.messages_heard else None
        self.join_s: float | None = 1.0 if speaks or measured.messages_heard else None
        self._waits = script.waits_for_agent and speaks
        self._low, self._high = 0.0, 20.0 * max(script.think.mean(), 1.0)

    def saw(self, crowd: Crowd) -> None:
        """A replay came to this."""
        if self.answer_s is not None and crowd.sent and self._sent:
            unanswered = max(1 - crowd.heard / crowd.sent, 1e-4)
            wanted = max(1 - self._heard / self._sent, 1e-4)
            self.answer_s = min(max(self.answer_s * min(max(wanted / unanswered, 0.3), 3.0), 1e-3), 600.0)
        if self._waits and self.join_s is not None:
            if crowd.sent > self._sent:
                self._low = max(self._low, self.join_s)
            else:
                self._high = min(self._high, self.join_s)
            self.join_s = (self._low + min(self._high, 8 * self.join_s + 0.1)) / 2
