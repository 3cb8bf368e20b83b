"""Fits the conditions of the virtual driver to a measured run, from its run file alone, and predicts other loads.

Round trips, failures, incidents, and who ended chats and when are read from the file. How soon agents join and answer,
and where within a window an incident ends, are found by replaying the run until the figures that depend on them are as
measured. `reproduce` says how good the fit is, `predict` what to expect, both as in forecast.schema.json.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from math import log10, sqrt
from typing import Any

from chatload.chat.policy import RefreshPolicy
from chatload.chat.record import SessionRecord
from chatload.chat.script import CustomerScript, load_script
from chatload.chat.settings import PAUSE_AFTER_REFUSAL_S, SessionSettings
from chatload.errors import FileError, UsageError
from chatload.features.forecast.conditions import (
    Conditions,
    FailureIncident,
    Stretch,
    find_incidents,
    odds_of,
    read_cells,
    stretches_of,
)
from chatload.features.forecast.replay import CALM, CohortResult, Replayer, ReplayJob
from chatload.run.books import Books, may_be_dropped
from chatload.run.reader import Reads, RunReader
from chatload.run.settings import not_replayed, session_settings
from chatload.stats.rates import interval, per_unit
from chatload.vocabulary import PERHAPS_LATE, Outcome, Verdict

#: A replay for fitting sends about this many requests at most; a sample of the customers stands for larger runs.
FITTING_REQUESTS = 60_000
#: Replays that search how soon agents join and answer, and when incidents end.
ROUNDS = 6
#: Ages of chats at which the chance of an end may change, at most.
_BINS = 12
#: A small run is replayed this many times at most for each fit.
_AGAIN = 12
#: Durations of broken connections that are kept.
_BROKEN = 200
#: Numbers of drops differ if they are this many standard deviations apart.
_SIGMAS = 1.0

#: The request rate of a good fit differs from the run's by at most this part.
REQUESTS_TOLERANCE = 0.03
#: Replays that judge the fit, each of at most this many requests.
REPLAYS, REPLAY_REQUESTS = 5, 500_000
#: A run of fewer requests is replayed this often: by chance alone one replay of it is some percent off.
SMALL, OFTEN = 20_000, 25
#: Customers of a forecast start over this part of its time, and over at most a minute (seconds).
_RAMP, _RAMP_S = 0.1, 60.0


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


@dataclass(frozen=True)
class FittedRun:
    """A run as the virtual driver can replay it.

    starts: when each of its customers started (seconds). drops: how many sessions each incident dropped in the run.
    """

    settings: SessionSettings
    conditions: Conditions
    starts: tuple[float, ...]
    measured: MeasuredRun
    drops: tuple[int, ...] = ()

    def share(self, requests: int) -> tuple[float, ...]:
        """Return the starts of every n-th customer, so that at most about this many requests are sent."""
        step = max(1, -(-self.measured.requests // requests))
        return self.starts[::step]

    def job(self, starts: tuple[float, ...], seed: int) -> ReplayJob:
        """Return a replay of the run with these of its customers."""
        return ReplayJob(self.settings, self.conditions, starts, self.conditions.length_s, seed)


#: Called when replays begin: with what they are for, the number of customers to replay, and what these are called.
Stage = Callable[[str, float, str], object]
#: What `fit` reads.
FIT_READS = Reads(windows=1, sessions=1)


def _no_stage(_: str, __: float, ___: str) -> None:
    return None


def fit(reader: RunReader, replayer: Replayer, script: str | None = None, stage: Stage = _no_stage) -> FittedRun:
    """Fit a run. script: the customers' script, if the run's own file was moved. stage: see `Stage`.

    Raises UsageError if the run lacks what a fit needs.
    """
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
    # The search changes the incidents. Each call uses them as they are then.
    stretches = partial(stretches_of, calm, odds_of(calm or cells), incidents)
    # The first goodbye of a chat that was cut off shows when the customers were stopped.
    cut_off = (record.ended_at for record in sessions if record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed)
    open_s = max(sum(record.ended_at - record.started_at for record in accepted), 1e-9)
    ends = Counter(record.verdict for record in accepted)
    conditions = Conditions(
        stretches=stretches(),
        length_s=min(cut_off, default=ended) - began,
        dropped_answer=_dropped_answer(sessions),
        connection_s=_broken_s(reader),
        sessions=max(window.open for window in windows),
        leaving=_hazard(accepted, Verdict.ENDED_BY_AGENT),
        closing=_hazard(accepted, Verdict.CLOSED_IDLE),
        early=ends[Verdict.DROPPED_EARLY] / open_s,
        lost=ends[Verdict.FAILED] / open_s,
    )
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
        margins_s=_margins(books, settings.timeout_s, p50=0.5, p1=0.99),
        incidents=len(incidents),
    )
    drops = _drops(sessions, began, incidents, settings.timeout_s + settings.policy.interval_s)
    fitted = FittedRun(settings, conditions, _starts(sessions, began), measured, drops)
    return _calibrated(fitted, incidents, stretches, replayer, stage)


def settings_of(reader: RunReader, script: str | None = None) -> SessionSettings:
    """Return the settings that the run's sessions had. Raises UsageError."""
    run = reader.settings
    if run.classes:
        names = ", ".join(one.name for one in run.classes)
        raise UsageError(
            f"{reader.path}: a run with several user classes ({names}) cannot be forecast: a replay has customers of "
            "one kind",
            f"give a run of one class: name it behind the locustfile, as in locust -f FILE {run.classes[0].name}",
        )
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


def _drops(
    sessions: Iterable[SessionRecord], began: float, incidents: Iterable[FailureIncident], lingers_s: float
) -> tuple[int, ...]:
    """Return how many sessions were dropped in each incident, or at most `lingers_s` after it, as replays count them.

    See `chatload.features.forecast.replay.replay`.
    """
    dropped_at = [record.ended_at - began for record in sessions if may_be_dropped(record)]
    spans = [(incident.start, incident.latest + lingers_s) for incident in incidents]
    return tuple(sum(start <= at < end for at in dropped_at) for start, end in spans)


def _dropped_answer(sessions: Iterable[SessionRecord]) -> str:
    """Return what the server answers to a dropped chat: "0/true" or "2". It is learned from late chats."""
    told = [record.learned_by for record in sessions if record.verdict in PERHAPS_LATE]
    return "2" if told.count(Outcome.UNRECOVERABLE.value) > len(told) / 2 else "0/true"


def _hazard(accepted: Sequence[SessionRecord], verdict: Verdict) -> tuple[tuple[float, float], ...]:
    """Return the chance per second of an end with this verdict, by age of the chat: (from age, chance).

    It is the number of such ends at an age, divided by the time that all chats were open at that age. Source:
    W. Nelson, "Theory and applications of hazard plotting for censored failure data", Technometrics 14 (1972).
    """
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
    stage: Stage,
) -> FittedRun:
    """Return the fit with the ends of incidents and the times of agents that reproduce the run's figures.

    Then, for an incident that drops more chats than in the run, some of its failed requests reach the server.
    """
    # A small run is repeated: by chance alone one replay of it is some percent off.
    starts = fitted.share(FITTING_REQUESTS) * min(max(FITTING_REQUESTS // fitted.measured.requests, 1), _AGAIN)
    part = len(starts) / len(fitted.starts)
    search = _AgentSearch(fitted.measured, part, fitted.settings.script)

    # At most so many replays; those that search the reach of incidents may end earlier.
    stage("fitting the run", ROUNDS * (2 if incidents else 1) * len(starts), "customers at most")

    def made() -> FittedRun:
        found = replace(fitted.conditions, stretches=stretches(), join_s=search.join_s, answer_s=search.answer_s)
        return replace(fitted, conditions=found)

    def replayed() -> CohortResult:
        watched = tuple(incident.watch for incident in incidents)
        return replayer(replace(made().job(starts, seed=1), watched=watched))

    for _ in range(ROUNDS):
        cohort = replayed()
        search.saw(cohort)
        for i, incident in enumerate(incidents):
            if cohort.failures[i] > incident.target * part:
                incident.latest = incident.end
            else:
                incident.earliest = incident.end
            incident.end = (incident.earliest + incident.latest) / 2
    for _ in range(ROUNDS if incidents else 0):
        cohort = replayed()
        # A list: every search must see the replay, whether or not another one is done.
        asked = [_search_reach(incidents[i], cohort.drops[i], drops * part) for i, drops in enumerate(fitted.drops)]
        if not any(asked):
            break
    return made()


def _search_reach(incident: FailureIncident, drops: int, wanted: float) -> bool:
    """Search the part of an incident's failed requests that the server took all the same.

    The client cannot know it, but each such request was a contact and kept its chat alive. Searched only if an incident
    without them drops more chats than the run did. drops: of a replay. Returns whether another replay is needed.
    """
    # Differences within chance need no search.
    if abs(drops - wanted) <= _SIGMAS * sqrt(max(wanted, 1.0)) or (drops <= wanted and not incident.reaches):
        return False
    least, most = incident.reach_bounds
    incident.reach_bounds = (incident.reaches, most) if drops > wanted else (least, incident.reaches)
    incident.reaches = sum(incident.reach_bounds) / 2
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


# -- how good the fit is, and what it predicts ------------------------------------------------------


def reproduce(fitted: FittedRun, replayer: Replayer, seed: int = 100, stage: Stage = _no_stage) -> dict[str, Any]:
    """Replay the run, with other random numbers than those of the fit, and compare each figure with the run's.

    A figure is good if that of the replays is within the run's own 95 % interval, or its tolerance. stage: see
    `Stage`.
    """
    measured = fitted.measured
    replays = OFTEN if measured.requests < SMALL else REPLAYS
    starts = fitted.share(REPLAY_REQUESTS)
    total = CohortResult()
    stage("reproducing the run", replays * len(starts), "customers")
    for number in range(replays):
        total.merge(replayer(fitted.job(starts, seed + number)))
    rate, known = measured.requests / measured.length_s, max(total.known, 1)
    reproduced = total.books.sent.total() * len(fitted.starts) / (len(starts) * replays) / measured.length_s
    tolerated = rate * (1 - REQUESTS_TOLERANCE), rate * (1 + REQUESTS_TOLERANCE)
    compared = [("requests_per_s", rate, reproduced, tolerated, True)]
    for name, count, seen, judged in (
        ("dropped.rate", measured.dropped, total.dropped, True),
        ("dropped_late.rate", measured.late, total.late, False),
    ):
        compared.append((name, count / measured.known, seen / known, interval(count, measured.known), judged))
    figures = [
        {"name": name, "measured": own, "reproduced": again, "low": low, "high": high, "judged": judged,
         "good": low <= again <= high}
        for name, own, again, (low, high), judged in compared
    ]  # fmt: skip
    margins = _margins(total.books, fitted.settings.timeout_s, p50=0.5, p1=0.99)
    return {
        "reproduces": all(figure["good"] for figure in figures if figure["judged"]),
        "replays": replays,
        "customers": len(starts),
        "customers_in_all": len(fitted.starts),
        "figures": figures,
        "margins_s": {
            name: {"measured": own, "reproduced": margins[name]}
            for name, own in measured.margins_s.items()
            if name in margins
        },
    }


def _margins(books: Books, timeout_s: float, **quantiles: float) -> dict[str, float]:
    """Return figures of the margin before the timeout (seconds) by name. quantiles: of the gap."""
    gaps = {name: books.gap.figure(q) for name, q in quantiles.items()}
    return {name: timeout_s - gap for name, gap in gaps.items() if gap is not None}


@dataclass(frozen=True)
class ForecastQuestion:
    """A load to forecast: sessions open at a time, refreshed by this policy, for this long (seconds).

    customers: how many are held; they stand for all. growth: factor on round trips for ten times as many sessions.
    """

    sessions: int
    policy: RefreshPolicy
    for_s: float
    customers: int
    growth: float = 1.0


def job_of(fitted: FittedRun, question: ForecastQuestion, seed: int) -> ReplayJob:
    """Return the customers to hold for a question."""
    customers, measured = min(question.customers, question.sessions), fitted.conditions.sessions
    ramp = min(_RAMP * question.for_s, _RAMP_S)
    factor = float(question.growth ** log10(question.sessions / measured)) if measured else 1.0
    settings = replace(fitted.settings, policy=question.policy)
    starts = tuple(ramp * number / customers for number in range(customers))
    return ReplayJob(settings, fitted.conditions, starts, question.for_s, seed, factor)


def predict(fitted: FittedRun, question: ForecastQuestion, replayer: Replayer, seed: int = 1000) -> dict[str, Any]:
    """Hold the customers of a question and return its figures. Rates are of sessions whose fate is known.

    drop_rate: with incidents as often as in the run; low, high: its 95 % interval for the sessions held. range_low,
    range_high: an interval that also allows for the few incidents that the run showed. calm_rate: outside incidents.
    by_incident: for each incident of the run, the part of the open sessions that one such incident drops.
    drops_per_chat_hour: the same drops, per hour that an accepted chat was open; None if none was.
    """
    job = job_of(fitted, question, seed)
    cohort = replayer(job)
    books, known = cohort.books, max(cohort.known, 1)
    per_s = question.sessions / cohort.customers_s
    low, high = interval(cohort.dropped, known)
    range_low, range_high = _range(fitted, cohort, known)
    return {
        "sessions": question.sessions,
        "policy": question.policy.kind,
        "interval_s": question.policy.interval_s,
        "for_s": question.for_s,
        "customers": cohort.customers,
        "held": books.fates.accepted,
        "requests": books.sent.total(),
        "requests_per_s": books.sent.total() * per_s,
        "refreshes_per_s": books.sent["GetMessages"] * per_s,
        "starts_per_s": books.sent["RequestChat"] * per_s,
        "drop_rate": cohort.dropped / known,
        "drops_per_chat_hour": 3600 * cohort.dropped / books.exposure_s if books.exposure_s > 0 else None,
        "low": low,
        "high": high,
        "range_low": range_low,
        "range_high": range_high,
        "late_rate": cohort.late / known,
        "calm_rate": cohort.drops[CALM] / known,
        "by_incident": _by_incident(fitted, cohort, question.for_s),
        "margins_s": _margins(books, job.settings.timeout_s, p50=0.5, p1=0.99, min=1.0),
        "verdicts": dict(sorted(books.verdicts.items())),
        "latency_factor": job.factor,
    }


def _range(fitted: FittedRun, cohort: CohortResult, known: int) -> tuple[float, float]:
    """Return an interval of the drop rate that allows for uncertainty in calm and in the number of incidents.

    Incidents are a Poisson process with a rate from its exact interval; each drops as many as it did in the run.
    """
    measured = fitted.measured
    calm_low, calm_high = interval(cohort.drops[CALM], known)
    # The run's own sessions outside incidents bound the calm rate too.
    calm = max(measured.dropped - sum(fitted.drops), 0)
    calm_high = max(calm_high, interval(min(calm, measured.known), measured.known)[1])
    if not measured.incidents:
        return calm_low, calm_high
    low, high = per_unit(measured.incidents, measured.incidents)
    in_incidents = (cohort.dropped - cohort.drops[CALM]) / known
    return calm_low + low * in_incidents, min(calm_high + high * in_incidents, 1.0)


def _by_incident(fitted: FittedRun, cohort: CohortResult, for_s: float) -> list[float]:
    """Return what one incident of each kind drops, as a part of the open sessions."""
    turns, rest_s = divmod(for_s, fitted.conditions.length_s)
    shares = []
    for number, (start, _, _) in enumerate(fitted.conditions.incidents):
        sessions = (turns + (rest_s > start)) * cohort.customers
        shares.append(min(cohort.drops[number] / sessions, 1.0) if sessions else 0.0)
    return shares
