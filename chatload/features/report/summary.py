"""summary.json: what became of a run, in keys that scripts rely on (see summary.schema.json)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from chatload import __version__, exit_codes
from chatload.errors import ChatloadError, NothingTestedError
from chatload.features.report import sentences
from chatload.features.report.drift import SteadyCells, drift_of, find_drift, steady_part
from chatload.features.report.silence import find_common_silence
from chatload.render import words
from chatload.run.books import LATE_START_S, Books
from chatload.run.histogram import CensoredHistogram, Histogram, Reading
from chatload.run.reader import Incident, Reads, RunEnd, RunReader, run_end
from chatload.run.steady import JudgedPart, judged_part
from chatload.run.windows import Window
from chatload.stats.bursts import find_incidence
from chatload.stats.clusters import design_effect, per_unit_lower, per_unit_upper
from chatload.stats.rates import CONFIDENCE
from chatload.stats.survival import Survival
from chatload.thresholds import dependence
from chatload.thresholds.gate import Gate, gate_of
from chatload.thresholds.metrics import Facts, Threshold, TimeBlock, metric_named
from chatload.thresholds.over_time import OverTime, read_windows
from chatload.vocabulary import DROPPED, FACTS_MISSING, UNSERVED, Blame, IncidentKind, Outcome, RunResult, Verdict

#: `schema_version` of every summary this code makes.
SCHEMA_VERSION = 1
#: A run is invalid if more than this share of its arrivals started late or never. A single one is tolerated.
LATE_SHARE = 0.01
#: Number of reasons that are kept for sessions that were not accepted.
_REASONS = 10
#: The most ages at which drops by age are given, and the steps between them (seconds).
_AGES = 20
_AGE_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
_EXIT_CODES: Mapping[str, int] = {
    RunResult.PASSED: exit_codes.PASSED,
    RunResult.NOT_JUDGED: exit_codes.PASSED,
    RunResult.FAILED: exit_codes.THRESHOLD_FAILED,
    RunResult.INCONCLUSIVE: exit_codes.INCONCLUSIVE,
    RunResult.NOTHING_TESTED: exit_codes.INCONCLUSIVE,
}


#: A wall clock is corrected at most this long after a pause (seconds): the longest usual interval of NTP between two
#: measurements. A chat learns of its end within this many timeouts.
_CORRECTED_S, _LEARNED_TIMEOUTS = 1024.0, 2.0
#: What `facts_of` reads: the lifetimes of all sessions.
FACTS_READS = Reads(sessions=1)


def summary_reads(reader: RunReader) -> Reads:
    """Return what `summarize` reads: the windows once for judged part and drift, and once for thresholds."""
    by_class = FACTS_READS if reader.books_by_class() else Reads()
    return Reads(windows=2) + FACTS_READS + by_class


def summarize(reader: RunReader, gate: Gate | None = None) -> dict[str, Any]:
    """Return the summary of one run: plain values, durations in seconds, None where nothing was measured.

    gate: thresholds to judge it by; those it was made with by default.
    """
    gate = gate_of(reader.settings) if gate is None else gate
    books, by_worker, incidents = reader.books(), reader.books_by_worker(), reader.incidents()
    timeout_s = reader.settings.flex_disconnect_timeout
    finished = reader.ended_at is not None
    facts = facts_of(reader)
    end = run_end(incidents, reader.started_at, reader.ended_at, reader.settings.run_time)
    loads = list(reader.loads())
    part = judged_part(gate.part, loads, reader.started_at, _end_began_at(reader, end))
    span = (loads[0][0], loads[-1][1]) if loads else (0.0, 0.0)
    steady = steady_part(loads)
    cells = None if steady is None else SteadyCells(steady)
    over_time = _over_time(reader, gate, part, facts, span, None if cells is None else cells.add)
    judgements = gate.judge(facts, over_time)
    reasons = invalid_reasons(books)
    reasons += [f"it was stopped: {incident.what}" for incident in incidents if incident.kind == IncidentKind.CEILING]
    of_the_load = (IncidentKind.WORKER_UNFIT, IncidentKind.DATA_USED_UP, IncidentKind.SUSPENDED)
    reasons += [incident.what for incident in incidents if incident.kind in of_the_load]
    reasons += _jumps(reader, incidents, timeout_s)
    imbalances = find_imbalances(_named(reader.books_by_part()), reader.count_by_verdict(), incidents, finished)
    aborted = next((incident.what for incident in incidents if incident.kind == IncidentKind.ABORTED), "")
    result = gate.result(judgements, books.fates.accepted)
    if reasons or imbalances:
        result = RunResult.INVALID
    elif aborted:
        result = RunResult.FAILED
    drift = find_drift((), None, timeout_s, finished) if cells is None else drift_of(cells, timeout_s, finished)
    return {
        "schema_version": SCHEMA_VERSION,
        "chatload_version": __version__,
        "name": reader.settings.name or reader.run_dir.absolute().name,
        "result": result.value,
        "thresholds": [judgement.to_dict() for judgement in judgements],
        "confidence": gate.confidence,
        "allow_inconclusive": gate.allow_inconclusive,
        "incident_size": gate.incident_size,
        "aborted": aborted,
        "judged": None if part is None else part._asdict(),
        "end": end._asdict(),
        "valid": not reasons,
        "invalid_reasons": reasons,
        "books": {"balanced": not imbalances, "imbalances": imbalances, **totals(books)},
        **_of_sessions(reader, facts, gate),
        "bursts": incidents_of(facts),
        "drift": asdict(drift),
        **measured(books, timeout_s, len(by_worker)),
        "fetches": fetches(books),
        "other_users": {
            "classes": list(reader.settings.other_user_classes),
            "requests": books.other_requests,
            "failed": books.other_failed,
        },
        "by_class": {name: _of_class(reader.of_class(name), own, gate) for name, own in facts.by_class.items()},
        "settings": reader.settings.to_dict(),
        "started_at": reader.started_at,
        "ended_at": reader.ended_at,
        "incidents": [incident._asdict() for incident in incidents],
    }


def _jumps(reader: RunReader, incidents: Sequence[Incident], timeout_s: float | None) -> Iterator[str]:
    """Yield each jump of a wall clock that may have been a pause of the machine by which chats were dropped.

    The server's timeouts go on during a pause. No clock of the generator shows it before the wall clock is corrected.
    """
    for incident in incidents:
        if incident.kind == IncidentKind.CLOCK_JUMPED:
            ended = _LEARNED_TIMEOUTS * (timeout_s or 0.0)
            count = reader.count_ended_badly(incident.at - _CORRECTED_S, incident.at, incident.at + ended)
            if count:
                yield f"{incident.what}. A pause may have caused the end of {words.plural(count, 'chat')}"


def _over_time(
    reader: RunReader,
    gate: Gate,
    part: JudgedPart | None,
    facts: Facts,
    span: tuple[float, float],
    watch: Callable[[Window], object] | None,
) -> OverTime:
    """Return what the windows of the run say about the thresholds of a gate, those of its user classes included.

    watch: see `read_windows`; of the windows of all chats.
    """
    thresholds: dict[str, list[Threshold]] = {}
    for threshold in gate.thresholds:
        thresholds.setdefault(threshold.user_class, []).append(threshold)
    of_all = read_windows(thresholds.pop("", []), reader.windows, part, facts, span, watch)
    by_class = {
        name: read_windows(own, reader.of_class(name).windows, part, facts.of(name), span)
        for name, own in thresholds.items()
    }
    return replace(of_all, by_class=by_class)


def _of_class(reader: RunReader, facts: Facts, gate: Gate) -> dict[str, Any]:
    """Return the figures of one user class, given a reader of that class: those of the summary that are about chats."""
    books = facts.books
    figures = measured(books, facts.timeout_s, 0)
    del figures["generator"]
    return {
        **_of_sessions(reader, facts, gate),
        "bursts": incidents_of(facts),
        "fetches": fetches(books),
        **figures,
    }


def _of_sessions(reader: RunReader, facts: Facts, gate: Gate) -> dict[str, Any]:
    """Return what became of the sessions that a reader reads."""
    books = facts.books
    silence = find_common_silence(reader.end_silences(), facts.timeout_s, books.gap.observed, reader.count_outlived)
    return {
        "sessions": {
            "started": books.started,
            "accepted": books.fates.accepted,
            "not_accepted": [reason._asdict() for reason in reader.not_accepted(_REASONS)],
            "common_silence": None if silence is None else asdict(silence),
            **endings(facts),
            "offline_notices": books.offline,
        },
        "rates": rates(facts, gate.confidence, gate.incident_size),
        "exposure": exposure(facts, gate.confidence, gate.incident_size),
        "dropped_by_age": dropped_by_age(facts, gate.confidence, gate.incident_size),
    }


def fetches(books: Books) -> dict[str, Any]:
    """Return the requests of hooks by the name that the hook gave them: they are not requests of chats."""
    return {
        name: {
            "sent": books.fetched[name],
            "by_outcome": dict(sorted(books.fetch_outcomes.get(name, Counter()).items())),
            "latency_s": _speeds(books.fetch_latency.get(name, CensoredHistogram())),
        }
        for name in sorted(books.fetched)
    }


def _end_began_at(reader: RunReader, end: RunEnd) -> float | None:
    """Return when the run began to end (Unix seconds): its goodbyes come after that. None: not known."""
    lengths = [length for length in (end.after_s, end.planned_s) if length is not None]
    if reader.started_at is None or end.after_s is None:
        return None
    return reader.started_at + min(lengths)


def facts_of(reader: RunReader) -> Facts:
    """Return what a run is judged by, and each of its user classes if there are several."""
    by_class = {name: _facts_of_chats(reader.of_class(name)) for name in sorted(reader.books_by_class())}
    return replace(_facts_of_chats(reader), by_class=by_class)


def _facts_of_chats(reader: RunReader) -> Facts:
    """Return what the chats that a reader reads are judged by."""
    incidence = find_incidence(reader.drop_instants(), reader.started_at, reader.ended_at)
    worst, loads = incidence.worst, list(reader.loads())
    blocks: tuple[TimeBlock, ...] = ()
    if loads and loads[-1][1] > loads[0][0]:
        start, end = loads[0][0], loads[-1][1]
        begun, ended = (
            reader.fates_by_block(column, start, end, dependence.BLOCKS) for column in ("started_at", "ended_at")
        )
        blocks = dependence.time_blocks(begun, ended, loads, start, end)
    return Facts(
        reader.books(),
        reader.settings.flex_disconnect_timeout,
        reader.count_cut_off_confirmed(),
        incidence,
        blocks,
        None if worst is None else dependence.open_then(loads, worst.start, worst.end),
        reader.lifetimes(),
    )


def incidents_of(facts: Facts) -> dict[str, Any]:
    """Return how the drops came, and how many independent sessions those of the run are worth."""
    assert facts.incidence is not None
    dropped = metric_named("dropped.rate")
    worth = dependence.worth(dropped.share(facts), dependence.design_of(dropped, facts))
    sizes = facts.incidence.sizes()
    return {
        **facts.incidence.to_dict(),
        "design_effect": design_effect(sizes) if sizes else None,
        "sessions_worth": worth,
        "open_then": facts.worst_open,
    }


def totals(books: Books) -> dict[str, int]:
    """Return both sides of the books: sessions started and ended, requests sent and their outcomes."""
    return {
        "sessions_started": books.started,
        "sessions_ended": books.verdicts.total(),
        "requests_sent": books.sent.total(),
        "requests_with_outcome": sum(by.total() for by in books.outcomes.values()),
    }


def endings(facts: Facts) -> dict[str, Any]:
    """Return how many sessions came to each end."""
    books = facts.books
    unserved = {v.value: books.verdicts[v.value] - books.fates.accepted_with(v) for v in Verdict}
    return {
        "by_verdict": {verdict.value: books.verdicts[verdict.value] for verdict in Verdict},
        "dropped_late_by_blame": {blame.value: books.blames[blame.value] for blame in Blame},
        "unserved_by_verdict": {verdict: n for verdict, n in unserved.items() if n},
        "cut_off_confirmed": facts.cut_off_confirmed,
    }


def rates(facts: Facts, confidence: float, incident_size: int = 1) -> dict[str, dict[str, Any]]:
    """Return how often sessions come to each verdict, are dropped, or are never accepted (see `rate`)."""
    names = (*(verdict.value for verdict in Verdict), DROPPED, UNSERVED)
    return {name: rate(name, facts, confidence, incident_size) for name in names}


def rate(name: str, facts: Facts, confidence: float = CONFIDENCE, incident_size: int = 1) -> dict[str, Any]:
    """Return how often sessions come to a verdict, or are "dropped" or "unserved", as a threshold on its rate uses it.

    least: sessions for which it is proven. most: sessions for which it is possible. of: the sessions that it is a
    share of. open: those of them that the end of the run cut off (`chatload.thresholds.metrics.Share`). low, high:
    one-sided bounds of the share, each at `confidence`: low of the least, high of the most. They have the design effect
    of the run's incidents, and hold if no incident takes more than incident_size sessions, or than the largest one of
    the run.
    """
    metric = metric_named(f"{name}.rate")
    share, design = metric.share(facts), dependence.design_of(metric, facts, incident_size)
    n, wanted = share.n, dependence.is_wanted(metric)
    low, high = dependence.bounds(share, design, confidence, wanted) if n else (None, None)
    return {
        "least": share.least,
        "most": share.most,
        "of": n,
        "open": share.open,
        "rate": dependence.observed(share, wanted),
        "low": low,
        "high": high,
        "confidence": confidence,
    }


def exposure(facts: Facts, confidence: float = CONFIDENCE, incident_size: int = 1) -> dict[str, Any]:
    """Return how long accepted chats were open, and the drops per chat-hour.

    least, most: drops that are proven, and that are possible. rate: of the most, per hour. low, high: one-sided bounds,
    each at `confidence`, low of the least, high of the most, for incidents as in `rate`; None without exposure.
    cut_off_share: of the accepted sessions, those cut off by the end of the run. censored: they are so many that
    rates per session are too low for whole chats.
    """
    hours, dropped = facts.chat_hours, facts.books.fates.dropped
    design = dependence.design_of(metric_named(f"{DROPPED}.rate"), facts, incident_size)
    return {
        "chat_hours": hours,
        "cut_off_share": facts.cut_off_share,
        "censored": facts.is_censored,
        "dropped_per_chat_hour": {
            "least": dropped.least,
            "most": dropped.most,
            "rate": dropped.most / hours if hours else None,
            "low": per_unit_lower(dropped.least, hours, design, confidence) if hours else None,
            "high": per_unit_upper(dropped.most, hours, design, confidence) if hours else None,
            "confidence": confidence,
        },
    }


def dropped_by_age(facts: Facts, confidence: float = CONFIDENCE, incident_size: int = 1) -> list[dict[str, Any]]:
    """Return the probability that a chat is dropped before an age, for at most _AGES ages.

    The ages are equally spaced, up to the greatest that a tenth of the chats reached. The bounds allow for incidents as
    those of `rate` do.
    """
    lifetimes = facts.lifetimes
    if lifetimes is None:
        return []
    design = dependence.design_of(metric_named(f"{DROPPED}.rate"), facts, incident_size)
    worst, best = Survival(*lifetimes.worst()), Survival(*lifetimes.best())
    points = []
    for age_s in _ages(float(np.quantile(lifetimes.alive_s, 0.9, method="lower"))) if len(worst) else ():
        most, least = (lives.failed_before(age_s, confidence, 1.0, design) for lives in (worst, best))
        points.append(
            {
                "age_s": age_s,
                "at_risk": most.at_risk,
                "least": least.failures,
                "most": most.failures,
                "rate": most.estimate,
                "low": least.low,
                "high": most.high,
            }
        )
    return points


def _ages(longest_s: float) -> list[float]:
    """Return multiples of a round step up to `longest_s`, at most _AGES of them."""
    step = next((step for step in _AGE_STEPS_S if longest_s / step < _AGES + 1), longest_s / _AGES)
    return [round(step * (i + 1), 3) for i in range(int(longest_s / step + 1e-9))]


def exit_code(summary: Mapping[str, Any]) -> int:
    return _EXIT_CODES.get(summary["result"], exit_codes.INVALID)


def refuse_untested(summary: Mapping[str, Any], run: str, hint: str = "give another run") -> None:
    """Raise NothingTestedError where no session of the run was accepted: nothing can be concluded from it."""
    if not summary["sessions"]["accepted"]:
        raise NothingTestedError(f"{run}: {sentences.answer(summary)}", hint)


def refuse_unusable(summary: Mapping[str, Any], run: str, hint: str) -> None:
    """Raise ChatloadError where the run is invalid, its books do not balance, or nothing was tested in it."""
    if problems := [*summary["invalid_reasons"], *summary["books"]["imbalances"]]:
        raise ChatloadError(f"{run}: the run is invalid or does not balance: {problems[0]}", hint)
    refuse_untested(summary, run, hint)


def invalid_reasons(books: Books) -> list[str]:
    """Return why the run shows nothing about the server: what the generator itself may have caused."""
    reasons = []
    if books.suspects:
        drops = "1 drop" if books.suspects == 1 else f"{books.suspects} drops"
        reasons.append(f"the generator's own lateness could have caused {drops}")
    if books.cpu_saturated:
        reasons.append("generator CPU was saturated")
    if books.exhausted:
        never = words.plural(books.exhausted, "request")
        reasons.append(f"the generator ran out of local ports or file descriptors: {never} never left")
    for what, count in sorted(books.code_errors.items()):
        reasons.append(
            f"code of the user classes failed {words.plural(count, 'time')} ({what}): not the load asked for"
        )
    if books.late_starts + books.not_started > max(1, LATE_SHARE * books.arrivals):
        arrivals, bound = words.plural(books.arrivals, "arrival"), words.seconds(LATE_START_S)
        late, never = words.number(books.late_starts), words.number(books.not_started)
        reasons.append(f"of {arrivals} {late} started more than {bound} late, {never} never: not the load asked for")
    return reasons


def _named(parts: Mapping[tuple[str, str], Books]) -> dict[str, Books]:
    """Return books with the process and the user class that they are of as one name."""
    return {f"{worker}, {user_class}" if user_class else worker: books for (worker, user_class), books in parts.items()}


def find_imbalances(
    by_worker: Mapping[str, Books], rows_by_verdict: Mapping[str, int], incidents: list[Incident], finished: bool
) -> list[str]:
    """Return each contradiction within the run's facts as a sentence; empty if the books balance.

    The books of each process must balance by themselves: a surplus in one does not compensate a lack in another.
    """
    found = [f"{incident.kind}: {incident.what}" for incident in incidents if incident.kind in FACTS_MISSING]
    if not finished:
        found.append("the run was never finished: what came after its last write is missing")
    verdicts: Counter[str] = Counter()
    for worker, books in by_worker.items():
        where = f"{worker}: " if len(by_worker) > 1 else ""
        found += [where + line for line in books.imbalances()]
        verdicts.update(books.verdicts)
    known = {verdict.value for verdict in Verdict}
    for verdict in sorted(verdicts.keys() | rows_by_verdict.keys()):
        booked, rows = verdicts[verdict], rows_by_verdict.get(verdict, 0)
        if verdict not in known:
            found.append(f"{max(booked, rows)} sessions have the unknown verdict {verdict!r}")
        if booked != rows:
            found.append(f"{verdict}: {booked} sessions in the books, {rows} session rows")
    return found


def measured(books: Books, timeout_s: float | None, processes: int) -> dict[str, Any]:
    """Return the summary's `requests`, `refresh`, `arrivals` and `generator`, of a run that has ended or is active."""
    by_operation = {}
    for operation in sorted(books.sent.keys() | books.outcomes.keys()):
        outcomes = books.outcomes.get(operation, Counter())
        latency = books.latency.get(operation, CensoredHistogram())
        response_time = books.response_time.get(operation, CensoredHistogram())
        by_operation[operation] = {
            "sent": books.sent[operation],
            "by_outcome": {outcome.value: outcomes[outcome.value] for outcome in Outcome},
            "latency_s": _speeds(latency),
            "response_time_s": {**_speeds(response_time), "skipped": max(0, response_time.count - latency.count)},
        }
    gaps = {name: books.gap.quantile(_QUANTILES[name]) for name in ("p50", "p99", "max")}
    margins = {
        name: None if gap is None or timeout_s is None else gap._replace(seconds=timeout_s - gap.seconds)
        for name, gap in (("min", gaps["max"]), ("p1", gaps["p99"]), ("p50", gaps["p50"]))
    }
    return {
        "requests": {
            "total": books.sent.total(),
            "resent": books.resent,
            "keys_replaced": books.rotations,
            "by_operation": by_operation,
        },
        "refresh": {
            "count": books.gap.count,
            "lateness_s": _tail(books.lateness),
            "gap_s": _readings(gaps),
            "margin_s": _readings(margins, "under"),
        },
        "arrivals": {
            "count": books.arrivals,
            "started": books.start_lateness.count,
            "late_starts": books.late_starts,
            "not_started": books.not_started,
            "start_lateness_s": _tail(books.start_lateness),
        },
        "generator": {
            "stalls": books.stalls,
            "stalled_s": _rounded(books.stalled_s),
            "longest_stall_s": _rounded(books.longest_stall_s),
            "cpu_saturated": books.cpu_saturated,
            "exhausted": books.exhausted,
            "processes": processes,
        },
    }


def _speeds(samples: CensoredHistogram) -> dict[str, Any]:
    tail = _readings({name: samples.quantile(q) for name, q in _QUANTILES.items()})
    return {**tail, "unanswered": samples.censored.count}


def _tail(histogram: Histogram) -> dict[str, float | None]:
    samples = CensoredHistogram(histogram)
    return {name: _rounded(samples.figure(q)) for name, q in _QUANTILES.items()}


def _readings(readings: Mapping[str, Reading | None], beyond: str = "over") -> dict[str, Any]:
    """Return the known readings, None for the others; under the key `beyond`, the bounds of the others."""
    known = {name: None if r is None or r.over else _rounded(r.seconds) for name, r in readings.items()}
    bounds = {name: _rounded(r.seconds) for name, r in readings.items() if r is not None and r.over}
    return {**known, beyond: bounds}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
