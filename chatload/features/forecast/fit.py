"""Fits the conditions of the virtual driver to a measured run, from its run file alone.

Round trips, failures, incidents, and who ended chats and when are read from the file. How soon agents join and answer,
and where within a window an incident ends, are found by replaying the run until the figures that depend on them are as
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import sqrt

from chatload.chat.record import SessionRecord
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S, SessionSettings
from chatload.errors import FileError, UsageError
from chatload.features.forecast.conditions import (
    Conditions,
    FailureIncident,
    ServerBehaviour,
    Stretch,
    find_incidents,
    odds_of,
    read_cells,
    stretches_of,
)
from chatload.features.forecast.replay import CohortResult, Replayer, ReplayJob
from chatload.run.books import may_be_dropped
from chatload.run.reader import RunReader
from chatload.run.settings import not_replayed, session_settings
from chatload.vocabulary import PERHAPS_LATE, Outcome, Verdict

#: A replay for fitting sends about this many requests at most; a sample of the customers stands for larger runs.
FITTING_REQUESTS = 60_000
#: Replays that search how soon agents join and answer, and when incidents end.
ROUNDS = 6
_BINS = 12
_AGAIN = 12
#: Verdicts of late chats; what the server answers to a dropped chat is learned from these.
_BROKEN = 200
#: Numbers of drops differ if they are this many standard deviations apart.
_SIGMAS = 1.0

#: Called with what is done from now on.
StatusCallback = Callable[[str], None]


@dataclass(frozen=True)
class MeasuredRun:
    """Figures of the run that a replay must reproduce. Times in seconds.

    known: sessions whose fate is known; dropped: of these, those that were or may have been dropped; late: of these,
    those proven late.
    """

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
class FittedRun:
    """A run as the virtual driver can replay it.

    starts: when each of its customers started (seconds). drops: how many sessions each incident dropped in the run.
    """

    settings: SessionSettings
    conditions: Conditions
    starts: tuple[float, ...]
    stop_at: float
    measured: MeasuredRun
    drops: tuple[int, ...] = ()

    def share(self, requests: int) -> tuple[float, ...]:
        """The starts of every n-th customer, so that at most about this many requests are sent."""
        step = max(1, -(-self.measured.requests // requests))
        return self.starts[::step]

    def job(self, starts: tuple[float, ...], seed: int) -> ReplayJob:
        """Return a replay of the run with these of its customers."""
        return ReplayJob(self.settings, self.conditions, starts, self.stop_at, seed)


def fit(
    reader: RunReader, replayer: Replayer, script: str | None = None, told: StatusCallback = lambda _: None
) -> FittedRun:
    """Fit a run. script: the customers' script, if the run's own file was moved.

    Raises UsageError if the run lacks what a fit needs.
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
    books = reader.books()
    cells = read_cells(windows, began, settings.request_timeout_s, _unsent(sessions, books.outcomes))
    incidents, calm = find_incidents(cells, settings.timeout_s)
    usual = odds_of(calm or cells)

    def stretches() -> tuple[Stretch, ...]:
        return stretches_of(calm, usual, incidents)

    stop_at = _stopped(sessions, began, ended)
    conditions = Conditions(
        stretches=stretches(),
        length_s=stop_at,
        server=_server(accepted),
        dropped_answer=_dropped_answer(sessions),
        connection_s=_broken_s(reader),
        sessions=max(window.open for window in windows),
    )
    gaps = {"p50": books.gap.figure(0.5), "p1": books.gap.figure(0.99)}
    measured = MeasuredRun(
        sessions=len(sessions),
        accepted=books.fates.accepted,
        known=max(books.fates.known(reader.count_cut_off_confirmed()), 1),
        dropped=books.fates.dropped.most,
        late=books.verdicts[Verdict.DROPPED_LATE],
        unproven=books.verdicts[Verdict.DROPPED_UNPROVEN],
        requests=books.sent.total(),
        length_s=ended - began,
        most_open=conditions.sessions,
        messages_sent=sum(record.messages_sent for record in accepted),
        messages_heard=sum(record.messages_received for record in accepted),
        margins_s={name: settings.timeout_s - gap for name, gap in gaps.items() if gap is not None},
        incidents=len(incidents),
    )
    lingers_s = settings.timeout_s + settings.policy.interval_s
    drops = tuple(_drops(sessions, incident, began, lingers_s) for incident in incidents)
    fitted = FittedRun(settings, conditions, _starts(sessions, began), stop_at, measured, drops)
    return _calibrated(fitted, incidents, stretches, replayer, told)


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
    """Return which part of the failed connections were never made, so that nothing can have been sent."""
    never = sum(max(record.requests - record.contacts, 0) for record in sessions)
    broken = sum(by.get(Outcome.CONNECTION.value, 0) for by in outcomes.values())
    return min(never / broken, 1.0) if broken else 0.0


def _stopped(sessions: Sequence[SessionRecord], began: float, ended: float) -> float:
    """Return when the customers were stopped (seconds since the run began)."""
    cut = [record.ended_at for record in sessions if record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed]
    return (min(cut) if cut else ended) - began


def _starts(sessions: Sequence[SessionRecord], began: float) -> tuple[float, ...]:
    """Return when each customer started: a chat that starts while no known customer is free is of a new one."""
    free: list[float] = []
    starts = []
    for record in sessions:
        if free and free[0] <= record.started_at:
            heappop(free)
        else:
            starts.append(record.started_at - began)
        heappush(free, record.ended_at + (0.0 if record.chat_id else PAUSE_AFTER_REFUSAL_S))
    return tuple(starts)


def _server(accepted: Sequence[SessionRecord]) -> ServerBehaviour:
    open_s = max(sum(record.ended_at - record.started_at for record in accepted), 1e-9)

    def per_s(verdict: Verdict) -> float:
        return sum(record.verdict == verdict for record in accepted) / open_s

    return ServerBehaviour(
        leaving=_hazard(accepted, Verdict.ENDED_BY_AGENT),
        closing=_hazard(accepted, Verdict.CLOSED_IDLE),
        early=per_s(Verdict.DROPPED_EARLY),
        lost=per_s(Verdict.FAILED),
    )


def _hazard(accepted: Sequence[SessionRecord], verdict: Verdict) -> tuple[tuple[float, float], ...]:
    """The chance per second of such an end by age (W. Nelson, "Theory and applications of hazard plotting for
    censored failure data", Technometrics 14 (1972)): events over the time spent at that age by all."""
    ages, events = [], []
    for record in accepted:
        age = record.ended_at - record.started_at
        if record.verdict == verdict:
            # It ended at some instant of the last gap, before we learned of it.
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


def _drops(sessions: Iterable[SessionRecord], incident: FailureIncident, began: float, lingers_s: float) -> int:
    """The sessions dropped in an incident, as replays count them (see `chatload.features.forecast.replay`)."""
    return sum(
        may_be_dropped(record) and incident.start <= record.ended_at - began < incident.latest + lingers_s
        for record in sessions
    )


def _dropped_answer(sessions: Iterable[SessionRecord]) -> str:
    told = [record.learned_by for record in sessions if record.verdict in PERHAPS_LATE]
    return "2" if told.count(Outcome.UNRECOVERABLE.value) > len(told) / 2 else "0/true"


def _broken_s(reader: RunReader) -> tuple[float, ...]:
    """Return how long connections took to break (seconds), of those in the stored timelines."""
    durations = [
        contact.received - contact.sent
        for timeline in reader.timelines()
        for contact in timeline.contacts
        if contact.outcome == Outcome.CONNECTION and contact.sent is not None
    ]
    return tuple(sorted(durations)[:: max(1, len(durations) // _BROKEN)])


# -- what must be found by replaying ---------------------------------------------------------------


def _calibrated(
    fitted: FittedRun,
    incidents: list[FailureIncident],
    stretches: Callable[[], tuple[Stretch, ...]],
    replayer: Replayer,
    told: StatusCallback,
) -> FittedRun:
    """Return the fit with the ends of incidents and the times of agents that reproduce the run's figures.

    Then, for an incident that drops more chats than in the run, some of its failed requests reach the server.
    """
    # A small run is repeated: by chance alone one replay of it is some percent off.
    starts = fitted.share(FITTING_REQUESTS) * min(max(FITTING_REQUESTS // fitted.measured.requests, 1), _AGAIN)
    part = len(starts) / len(fitted.starts)
    search = _AgentSearch(fitted.measured, part, fitted.settings.script)
    reached = [_ReachSearch(incident, drops * part) for incident, drops in zip(incidents, fitted.drops, strict=True)]

    def made() -> FittedRun:
        server = replace(fitted.conditions.server, join_s=search.join_s, answer_s=search.answer_s)
        return replace(fitted, conditions=replace(fitted.conditions, server=server, stretches=stretches()))

    def replayed() -> CohortResult:
        watched = tuple(incident.watch for incident in incidents)
        return replayer(replace(made().job(starts, seed=1), watched=watched))

    for number in range(ROUNDS):
        told(f"fitting: replay {number + 1}")
        cohort = replayed()
        search.saw(cohort)
        for i, incident in enumerate(incidents):
            if cohort.failures[i] > incident.target * part:
                incident.latest = incident.end
            else:
                incident.earliest = incident.end
            incident.end = (incident.earliest + incident.latest) / 2
    for number in range(ROUNDS if incidents else 0):
        told(f"fitting: replay {ROUNDS + number + 1}")
        cohort = replayed()
        # A list: every search must see the replay, whether or not another one is done.
        asked = [found.saw(cohort.drops[i]) for i, found in enumerate(reached)]
        if not any(asked):
            break
    return made()


class _ReachSearch:
    """Searches the part of an incident's failed requests that the server took all the same.

    The client cannot know it, but each such request was a contact and kept its chat alive. Searched only if an incident
    without them drops more chats than the run did.
    """

    def __init__(self, incident: FailureIncident, drops: float) -> None:
        self._incident, self._drops = incident, drops
        self._least, self._most = 0.0, 1.0

    def saw(self, drops: int) -> bool:
        """Note how many chats a replay dropped in the incident; return whether another replay is needed."""
        incident = self._incident
        # Differences within chance need no search.
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


class _AgentSearch:
    """Searches how soon agents join and answer, so that customers send and receive as many messages as in the run."""

    def __init__(self, measured: MeasuredRun, part: float, script: CustomerScript) -> None:
        self._sent, self._heard = measured.messages_sent * part, measured.messages_heard * part
        speaks = measured.messages_sent > 0
        self.answer_s: float | None = 1.0 if measured.messages_heard else None
        self.join_s: float | None = 1.0 if speaks or measured.messages_heard else None
        self._waits = script.waits_for_agent and speaks
        self._low, self._high = 0.0, 20.0 * max(script.think.mean(), 1.0)

    def saw(self, cohort: CohortResult) -> None:
        """Note the result of a replay."""
        if self.answer_s is not None and cohort.sent and self._sent:
            unanswered = max(1 - cohort.heard / cohort.sent, 1e-4)
            wanted = max(1 - self._heard / self._sent, 1e-4)
            self.answer_s = min(max(self.answer_s * min(max(wanted / unanswered, 0.3), 3.0), 1e-3), 600.0)
        if self._waits and self.join_s is not None:
            if cohort.sent > self._sent:
                self._low = max(self._low, self.join_s)
            else:
                self._high = min(self._high, self.join_s)
            self.join_s = (self._low + min(self._high, 8 * self.join_s + 0.1)) / 2
