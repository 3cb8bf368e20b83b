"""The metrics that a threshold can be about, and their values in the facts of a run.

Set-identified counts. A session is `dropped_unproven` because its end has more than one reading: it may have been
dropped late or early, but also ended by us, by the agent or by the server in another way. A chat that `gave_up` may
have been dropped too: its last requests failed, and its fate is not known. So for every other verdict only a range is
known, and a claim must hold for the whole range:

| metric                               | surely               | possibly also                     | of        |
|--------------------------------------|----------------------|-----------------------------------|-----------|
| dropped_late, blame.X, dropped_early | that verdict (blame) | dropped_unproven and gave_up      | known     |
| dropped                              | late and early       | dropped_unproven and gave_up      | known     |
| completed, ended_by_agent,           | that verdict         | dropped_unproven                  | known     |
|   closed_idle, failed, gave_up       |                      |                                   |           |
| dropped_unproven                     | that verdict         | none: it is about our proof       | known     |
| cut_off                              | that verdict         | dropped_unproven                  | accepted  |
| refused                              | that verdict         | none: the chat never began        | all ended |
| unserved                             | never accepted       | never accepted when it was cut off | all ended |

all ended: sessions with a verdict. accepted, known: see `chatload.run.books`, which counts them. Rates of the
accepted or known count accepted sessions only; a count (gave_up.count, cut_off.count) has all with that verdict.
A chat that was alive at its confirmed goodbye is evidence; a chat of unknown state is not.

Durations that are known only to be longer than a bound (requests without an answer; the last silence of a dropped chat)
count as surely above every value up to the bound, and as possibly above every other value.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from chatload.errors import UsageError
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.run.books import Books
from chatload.run.histogram import CensoredHistogram
from chatload.stats.bursts import Incidence
from chatload.vocabulary import (
    DROPPED,
    DROPPED_PERHAPS,
    DROPPED_SURELY,
    PERHAPS_UNSERVED,
    SUCCESSFUL,
    UNSERVED,
    Blame,
    Outcome,
    Verdict,
)

Kind = Literal["rate", "count", "duration"]


@dataclass(frozen=True)
class Facts:
    """The facts of a run, so far or at its end.

    timeout_s: its flex-disconnect-timeout (seconds); None if it had none. cut_off_confirmed: number of sessions that
    were cut off and whose goodbye was confirmed. incidence: the drops grouped into bursts; None if not computed.
    """

    books: Books
    timeout_s: float | None = None
    cut_off_confirmed: int = 0
    incidence: Incidence | None = None

    @property
    def known(self) -> int:
        """Accepted sessions whose fate is known."""
        return self.books.fates.known(self.cut_off_confirmed)


class Share(NamedTuple):
    """How many of `n` samples have a property. counted: by verdict or outcome. least, most: surely, and possibly."""

    least: int
    counted: int
    most: int
    n: int


@dataclass(frozen=True)
class Metric:
    """One metric: `subject` and, of requests, their `operation` ("" is every one).

    q: the quantile (0..1) of a duration; None for its extreme (`statistic` is min or max).
    """

    name: str
    kind: Kind
    subject: str
    statistic: str
    operation: str = ""
    q: float | None = None

    @property
    def of_sessions(self) -> bool:
        """Whether its samples are sessions."""
        return self.subject in ("sessions", *_SESSIONS)

    @property
    def noun(self) -> str:
        """What one sample is, in the singular."""
        if self.of_sessions:
            return "session"
        return "refresh" if self.subject in ("lateness", "gap", "margin") else "request"

    def share(self, facts: Facts) -> Share:
        """Return how many samples of a rate or count have the property that it is about."""
        if not self.of_sessions:
            return self._request_share(facts.books)
        share = _session_share(self.subject, facts)
        return share if self.kind == "rate" else _with_unserved(self.subject, share, facts)

    def samples(self, books: Books) -> CensoredHistogram:
        """Return the samples of a duration (seconds); for margin those of gap."""
        if self.subject != "latency":
            return CensoredHistogram(books.lateness) if self.subject == "lateness" else books.gap
        merged = CensoredHistogram()
        for operation, latency in books.latency.items():
            if self.operation in ("", operation):
                merged.merge(latency)
        return merged

    def _request_share(self, books: Books) -> Share:
        outcomes: Counter[str] = Counter()
        for operation, by_outcome in books.outcomes.items():
            if self.operation in ("", operation):
                outcomes.update(by_outcome)
        n = outcomes.total()
        if self.subject == _UNSUCCESSFUL:
            count = n - sum(outcomes[outcome] for outcome in SUCCESSFUL)
        else:
            count = outcomes[self.subject]
        return Share(count, count, count, n)


class MetricDoc(NamedTuple):
    """One line of help: a metric's name, its kind, its meaning."""

    name: str
    kind: Kind
    meaning: str


_UNSUCCESSFUL = "unsuccessful"
#: Rates of these are shares of all sessions that ended, not of the accepted ones.
OF_ALL = (Verdict.REFUSED.value, UNSERVED)
_OF = {Verdict.REFUSED: ", of all sessions", Verdict.CUT_OFF: ", of all accepted sessions"}
_SESSIONS: dict[str, str] = {
    **{verdict.value: verdict.meaning + _OF.get(verdict, "") for verdict in Verdict},
    DROPPED: "dropped late or early, or perhaps: dropped_unproven and those accepted that gave_up",
    UNSERVED: "started but never accepted: refused, or no answer to RequestChat, of all sessions",
    **{f"blame.{blame.value}": f"dropped late, {blame.meaning}" for blame in Blame},
}
_REQUESTS: dict[str, str] = {
    **{outcome.value: f"requests with the outcome {outcome}: {outcome.meaning}" for outcome in Outcome},
    _UNSUCCESSFUL: "requests whose outcome is neither 0/false nor 0/true",
}
_DURATIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "latency": (
        "from a request's first byte to its answer's last; without an answer, longer than we waited",
        "max",
        ("p50", "p90", "p95", "p99", "p99_9"),
    ),
    "lateness": ("by which the generator itself sent a refresh too late", "max", ("p50", "p99", "p99_9")),
    "gap": (
        "between two contacts, at most (the upper bound); of a dropped chat its last silence, longer than the timeout",
        "max",
        ("p50", "p99", "p99_9"),
    ),
    "margin": (
        "left of flex-disconnect-timeout when a refresh came, at least; of a dropped chat below 0",
        "min",
        ("p1", "p50"),
    ),
}
_PERCENTILE = re.compile(r"p(\d{1,2})(?:_(\d{1,6}))?")


def _docs() -> Iterator[MetricDoc]:
    yield MetricDoc("sessions.count", "count", "sessions started")
    for subject, meaning in _SESSIONS.items():
        yield MetricDoc(f"{subject}.rate", "rate", f"share of sessions: {meaning}")
        yield MetricDoc(f"{subject}.count", "count", f"number of sessions: {meaning}")
    for subject, meaning in _REQUESTS.items():
        yield MetricDoc(f"{subject}.rate", "rate", f"share of {meaning}; also GetMessages.{subject}.rate and so on")
        yield MetricDoc(f"{subject}.count", "count", f"number of {meaning}; also GetMessages.{subject}.count")
    for subject, (meaning, extreme, percentiles) in _DURATIONS.items():
        also = "; also GetMessages.latency and so on" if subject == "latency" else ""
        for statistic in (*percentiles, extreme):
            yield MetricDoc(f"{subject}.{statistic}", "duration", f"time {meaning}{also}")


#: Every metric that is listed. In place of p50 any percentile is allowed (p99_9 is 99.9 %), and metrics of requests may
#: begin with an operation.
METRICS = tuple(_docs())


def metric_named(name: str) -> Metric:
    """Return the metric with this name; raises UsageError, which names the most similar metric."""
    head, _, tail = name.partition(".")
    operation, rest = (head, tail) if head in OPERATION_FIELDS else ("", name)
    subject, _, statistic = rest.rpartition(".")
    if name == "sessions.count":
        return Metric(name, "count", subject, statistic)
    if subject in _REQUESTS or (subject in _SESSIONS and not operation):
        if statistic in ("rate", "count"):
            return Metric(name, "rate" if statistic == "rate" else "count", subject, statistic, operation)
    elif subject == "latency" or (subject in _DURATIONS and not operation):
        q = _quantile(statistic)
        if q is not None or statistic == _DURATIONS[subject][1]:
            return Metric(name, "duration", subject, statistic, operation, q)
    raise UsageError(f"threshold: unknown metric {name!r}", f"did you mean {_nearest(name)}?")


def _quantile(statistic: str) -> float | None:
    found = _PERCENTILE.fullmatch(statistic)
    if not found:
        return None
    q = float(f"0.{int(found[1]):02d}{found[2] or ''}")
    return q if 0 < q < 1 else None


def _nearest(name: str) -> str:
    names = [doc.name for doc in METRICS]
    requests = [known for known in names if known.rpartition(".")[0] in {*_REQUESTS, "latency"}]
    names += [f"{operation}.{known}" for operation in OPERATION_FIELDS for known in requests]
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), folded, 1, 0.0)
    return folded[close[0]]


def _session_share(subject: str, facts: Facts) -> Share:
    books, fates = facts.books, facts.books.fates
    if subject == "sessions":
        return Share(books.started, books.started, books.started, books.started)
    if subject == Verdict.REFUSED:
        refused = books.verdicts[subject]
        return Share(refused, refused, refused, fates.ended)
    if subject in (DROPPED, UNSERVED):
        least, most = fates.dropped if subject == DROPPED else fates.never_accepted
        return Share(least, most, most, facts.known if subject == DROPPED else fates.ended)
    blamed = subject.startswith("blame.")
    count = books.blames[subject.removeprefix("blame.")] if blamed else fates.accepted_with(subject)
    if subject == Verdict.DROPPED_UNPROVEN:
        perhaps = 0
    elif blamed or subject in DROPPED_SURELY:
        perhaps = fates.accepted_with(*DROPPED_PERHAPS)
    else:
        perhaps = fates.accepted_with(Verdict.DROPPED_UNPROVEN)
    return Share(count, count, count + perhaps, fates.accepted if subject == Verdict.CUT_OFF else facts.known)


def _with_unserved(subject: str, share: Share, facts: Facts) -> Share:
    """Return the share for a count: it also counts the sessions with that verdict that were never accepted."""
    if subject not in PERHAPS_UNSERVED:
        return share
    more = facts.books.unserved[subject]
    return Share(share.least + more, share.counted + more, share.most + more, share.n + more)
