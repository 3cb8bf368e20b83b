"""Thresholds as users write them, and the values of their metrics in the facts of a run.

A threshold is METRIC OP VALUE[UNIT], or METRIC OP VALUE[UNIT] in every LENGTH. CLASS: before it restricts it to the
chats of one user class. All metrics are about chats and their requests, so each is kept by class too.

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

A rate per chat-hour has the same range of events, over the exposure of all accepted sessions. `dropped.by_age(8m)` is
the probability that a chat is dropped before it is 8 minutes old; sessions that ended in another way are censored.

all ended: sessions with a verdict. accepted, known: see `chatload.run.books`, which counts them. Rates of the
accepted or known count accepted sessions only; a count (gave_up.count, cut_off.count) has all with that verdict.

Among the known are sessions that the end of the run cut off and whose goodbye was confirmed (`Share.open`). Such a chat
was not dropped, and did not fail, so far. What would have become of it is not known, so it proves neither that a rate
is low nor that it is high (`chatload.thresholds.dependence.bounds`).

Incidents are bursts of drops, and drops that came alone (`chatload.stats.bursts`). `incidents.per_hour` is a rate of
time with an exact interval. `incident.share` is an observed fact: the drops of the largest burst as a share of the
chats that were open then (`Facts.worst_open`), or of the sessions whose fate is known if this is not known. A drop that
came alone is no burst, so in a run of few chats it is not a large share.

Durations that are known only to be longer than a bound (requests without an answer; the last silence of a dropped chat)
count as surely above every value up to the bound, and as possibly above every other value.
"""

import difflib
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chatload import units
from chatload.errors import UsageError
from chatload.protocol.operations import OPERATION_FIELDS
from chatload.run.books import Books, RunBooks
from chatload.run.histogram import CensoredHistogram
from chatload.run.lifetimes import Lifetimes
from chatload.run.settings import DURATION
from chatload.run.windows import COARSE_S
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

#: A rate is a share of samples or a probability. An hourly rate is a number of events per chat-hour, or of incidents
#: per hour.
Kind = Literal["rate", "hourly rate", "count", "duration"]
#: The operators of a threshold; == is for counts only.
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip


#: If more than this share of the accepted sessions was cut off, rates per session are called censored. With steady
#: arrivals that is a run shorter than about 10 chat lengths; its rates per session are 5 % too low at least.
CENSORED_ABOVE = 0.1


class TimeBlock(NamedTuple):
    """A block of a run's time.

    begun, ended: verdicts and blames of the sessions that began in it, and that ended in it.
    open_s: time that sessions were open in it (seconds, summed over sessions).
    """

    begun: Books
    ended: Books
    open_s: float


@dataclass(frozen=True)
class Facts:
    """The facts of a run, so far or at its end.

    timeout_s: its flex-disconnect-timeout (seconds); None if it had none. cut_off_confirmed: number of sessions that
    were cut off and whose goodbye was confirmed. incidence: the drops grouped into bursts; None if not computed.
    blocks: of equal time, what happened in each; empty if not known. worst_open: chats that were open when the largest
    burst of drops came; None if not known. lifetimes: of the accepted sessions; None if not read, as in a run that goes
    on. by_class: the same of each user class, in a run with several.
    """

    books: Books
    timeout_s: float | None = None
    cut_off_confirmed: int = 0
    incidence: Incidence | None = None
    blocks: tuple[TimeBlock, ...] = ()
    worst_open: int | None = None
    lifetimes: Lifetimes | None = None
    by_class: Mapping[str, "Facts"] = field(default_factory=dict)

    @classmethod
    def so_far(cls, books: RunBooks, timeout_s: float | None, cut_off_confirmed: Mapping[str, int] = {}) -> "Facts":
        """Return the facts of a run that goes on. cut_off_confirmed: by user class."""
        confirmed = {name: cut_off_confirmed.get(name, 0) for name in books.by_class}
        by_class = {name: cls(own, timeout_s, confirmed[name]) for name, own in books.by_class.items()}
        return cls(books.total, timeout_s, sum(cut_off_confirmed.values()), by_class=by_class)

    def of(self, user_class: str) -> "Facts":
        """Return the facts of a user class; "": of the whole run. A class that is not known has no samples."""
        return self.by_class.get(user_class, Facts(Books(), self.timeout_s)) if user_class else self

    @property
    def known(self) -> int:
        """Accepted sessions whose fate is known."""
        return self.books.fates.known(self.cut_off_confirmed)

    @property
    def cut_off_share(self) -> float:
        """The share of the accepted sessions that the end of the run cut off."""
        fates = self.books.fates
        return fates.accepted_with(Verdict.CUT_OFF) / fates.accepted if fates.accepted else 0.0

    @property
    def is_censored(self) -> bool:
        """Whether rates per session are too low for whole chats, because many chats were cut off."""
        return self.cut_off_share > CENSORED_ABOVE

    @property
    def chat_hours(self) -> float:
        """The exposure of the accepted sessions (hours)."""
        return max(0.0, self.books.exposure_s) / 3600


class Share(NamedTuple):
    """How many of `n` samples have a property.

    counted: by verdict or outcome. least, most: surely, and possibly. open: samples without the property so far that
    the end of the run cut off: they might have got it.
    """

    least: int
    counted: int
    most: int
    n: int
    open: int = 0

    @property
    def whole(self) -> int:
        """How many samples were observed to their end."""
        return self.n - self.open

    @property
    def is_mostly_open(self) -> bool:
        """Whether more samples were cut off than observed to their end: then these may be unlike the others."""
        return self.open > self.whole


@dataclass(frozen=True)
class Metric:
    """One metric: `subject` and, of requests, their `operation` ("" is every one).

    q: the quantile (0..1) of a duration; None for its extreme: the least margin, or the longest of others.
    age_s: of a probability by age, this age (seconds); otherwise None.
    """

    name: str
    kind: Kind
    subject: str
    operation: str = ""
    q: float | None = None
    age_s: float | None = None

    @property
    def of_sessions(self) -> bool:
        """Whether its samples are sessions."""
        return self.subject in ("sessions", *_SESSIONS)

    @property
    def is_request_rate(self) -> bool:
        """Whether it is a share of requests with an outcome."""
        return self.kind == "rate" and self.subject in _REQUESTS

    @property
    def sample_q(self) -> float:
        """The quantile (0..1) of its samples, 1 for an extreme. Those of a margin are gaps: less margin is more gap."""
        if self.q is None:
            return 1.0
        return 1 - self.q if self.subject == "margin" else self.q

    @property
    def is_speed(self) -> bool:
        """Whether it is about how fast the server answers."""
        return self.subject in _SPEEDS

    @property
    def per_chat_hour(self) -> str:
        """The name of the hourly rate of the same events; "" if there is none."""
        return f"{self.subject}.{_PER_HOUR}" if self.subject in _SESSIONS.keys() - _NOT_PER_HOUR else ""

    @property
    def of_incidents(self) -> bool:
        """Whether it is about incidents."""
        return self.subject in (INCIDENTS, INCIDENT)

    @property
    def noun(self) -> str:
        """What one sample is, in the singular."""
        if self.of_sessions:
            return "session"
        if self.of_incidents:
            return "incident"
        return "refresh" if self.subject in ("lateness", "gap", "margin") else "request"

    def share(self, facts: Facts) -> Share:
        """Return how many samples of a rate or count have the property that it is about."""
        books = facts.books
        if self.of_sessions:
            share = _session_share(self.subject, facts)
            if self.kind != "count" or self.subject not in PERHAPS_UNSERVED:
                return share
            # A count also has the sessions with that verdict that were never accepted.
            more = books.unserved[self.subject]
            return Share(*(count + more for count in share[:4]))
        outcomes: Counter[str] = Counter()
        for operation, by_outcome in books.outcomes.items():
            if self.operation in ("", operation):
                outcomes.update(by_outcome)
        n = outcomes.total()
        successful = sum(outcomes[outcome] for outcome in SUCCESSFUL)
        count = n - successful if self.subject == _UNSUCCESSFUL else outcomes[self.subject]
        return Share(count, count, count, n)

    def samples(self, books: Books) -> CensoredHistogram:
        """Return the samples of a duration (seconds); for margin those of gap."""
        if not self.is_speed:
            return CensoredHistogram(books.lateness) if self.subject == "lateness" else books.gap
        merged = CensoredHistogram()
        for operation, samples in (books.latency if self.subject == "latency" else books.response_time).items():
            if self.operation in ("", operation):
                merged.merge(samples)
        return merged


class MetricDoc(NamedTuple):
    """One line of help: a metric's name, its kind, its meaning."""

    name: str
    kind: Kind
    meaning: str


_UNSUCCESSFUL = "unsuccessful"
#: The subjects of metrics of incidents.
INCIDENTS, INCIDENT = "incidents", "incident"
#: Rates of these are shares of all sessions that ended, not of the accepted ones.
OF_ALL = (Verdict.REFUSED.value, UNSERVED)
_OF = {Verdict.REFUSED: ", of all sessions", Verdict.CUT_OFF: ", of all accepted sessions"}
_SESSIONS: dict[str, str] = {
    **{verdict.value: verdict.meaning + _OF.get(verdict, "") for verdict in Verdict},
    DROPPED: "dropped late or early, or perhaps: dropped_unproven and those accepted that gave_up",
    UNSERVED: "started but never accepted: refused, or no answer to RequestChat, of all sessions",
    **{f"blame.{blame.value}": f"dropped late, {blame.meaning}" for blame in Blame},
}
_PER_HOUR, _BY_AGE = "per_chat_hour", re.compile(rf"{DROPPED}\.by_age\((.*)\)")
#: What has no rate per chat-hour: it does not happen to a chat that was accepted, or it is an end as planned.
_NOT_PER_HOUR = frozenset({*OF_ALL, Verdict.CUT_OFF, Verdict.COMPLETED, Verdict.ENDED_BY_AGENT})
_REQUESTS: dict[str, str] = {
    **{outcome.value: f"requests with the outcome {outcome}: {outcome.meaning}" for outcome in Outcome},
    _UNSUCCESSFUL: "requests whose outcome is neither 0/false nor 0/true",
}
#: Subject -> its meaning, and the statistics that are listed; the last one is its extreme.
_DURATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "latency": (
        "from a request's first byte to its answer's last; without an answer, longer than we waited",
        ("p50", "p90", "p95", "p99", "p99_9", "max"),
    ),
    "response_time": (
        "from the instant for which a request was scheduled to its answer; polls that were skipped meanwhile count too",
        ("p50", "p90", "p95", "p99", "p99_9", "max"),
    ),
    "lateness": ("by which the generator itself sent a refresh too late", ("p50", "p99", "p99_9", "max")),
    "gap": (
        "between two contacts, at most (the upper bound); of a dropped chat its last silence, longer than the timeout",
        ("p50", "p99", "p99_9", "max"),
    ),
    "margin": (
        "left of flex-disconnect-timeout when a refresh came, at least; of a dropped chat below 0",
        ("p1", "p50", "min"),
    ),
}
#: Durations of requests, which may be restricted to an operation.
_SPEEDS = ("latency", "response_time")
_INCIDENTS = (
    MetricDoc("incidents.per_hour", "hourly rate", "incidents an hour: bursts of drops, and drops that came alone"),
    MetricDoc(
        "incident.share", "rate",
        "drops of the largest burst, as a share of the chats that were open then; as observed",
    ),
)  # fmt: skip
_PERCENTILE = re.compile(r"p(\d{1,2})(?:_(\d{1,6}))?")


def _docs() -> Iterator[MetricDoc]:
    yield MetricDoc("sessions.count", "count", "sessions started")
    for subject, meaning in _SESSIONS.items():
        yield MetricDoc(f"{subject}.rate", "rate", meaning)
        yield MetricDoc(f"{subject}.count", "count", meaning)
    for subject, meaning in _SESSIONS.items():
        if subject not in _NOT_PER_HOUR:
            yield MetricDoc(f"{subject}.{_PER_HOUR}", "hourly rate", f"per chat-hour: {meaning}")
    yield MetricDoc(f"{DROPPED}.by_age(8m)", "rate", "probability that a chat is dropped before this age")
    for subject, meaning in _REQUESTS.items():
        yield MetricDoc(f"{subject}.rate", "rate", f"share of {meaning}")
        yield MetricDoc(f"{subject}.count", "count", f"number of {meaning}")
    for subject, (meaning, statistics) in _DURATIONS.items():
        for statistic in statistics:
            yield MetricDoc(f"{subject}.{statistic}", "duration", f"time {meaning}")
    yield from _INCIDENTS


#: Every metric that is listed. In place of p50 any percentile is allowed (p99_9 is 99.9 %), and metrics of requests may
#: begin with an operation.
METRICS = tuple(_docs())


def metric_named(name: str) -> Metric:
    """Return the metric with this name; raises UsageError, which names the most similar metric."""
    if found := _BY_AGE.fullmatch(name):
        return Metric(name, "rate", DROPPED, age_s=_age(name, found[1]))
    head, _, tail = name.partition(".")
    operation, rest = (head, tail) if head in OPERATION_FIELDS else ("", name)
    subject, _, statistic = rest.rpartition(".")
    if name == "sessions.count":
        return Metric(name, "count", subject)
    if incident := next((doc for doc in _INCIDENTS if doc.name == name), None):
        return Metric(name, incident.kind, subject)
    if subject in _REQUESTS or (subject in _SESSIONS and not operation):
        if statistic in ("rate", "count"):
            return Metric(name, "rate" if statistic == "rate" else "count", subject, operation)
        if statistic == _PER_HOUR and subject in _SESSIONS and subject not in _NOT_PER_HOUR:
            return Metric(name, "hourly rate", subject)
    elif subject in _SPEEDS or (subject in _DURATIONS and not operation):
        q = _quantile(statistic)
        if q is not None or statistic == _DURATIONS[subject][1][-1]:
            return Metric(name, "duration", subject, operation, q)
    raise UsageError(f"threshold: unknown metric {name!r}", f"did you mean {_nearest(name)}?")


def _age(name: str, text: str) -> float:
    try:
        return round(float(DURATION.parse(text.strip())), 3)
    except ValueError:
        raise UsageError(f"threshold: {name}: {text!r} is not an age", f"expected {DURATION.expected}") from None


def _quantile(statistic: str) -> float | None:
    found = _PERCENTILE.fullmatch(statistic)
    if not found:
        return None
    q = float(f"0.{int(found[1]):02d}{found[2] or ''}")
    return q if 0 < q < 1 else None


def _nearest(name: str) -> str:
    names = [doc.name for doc in METRICS]
    requests = [known for known in names if known.rpartition(".")[0] in {*_REQUESTS, *_SPEEDS}]
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
        if subject == UNSERVED:
            return Share(least, most, most, fates.ended)
        return Share(least, most, most, facts.known, facts.cut_off_confirmed)
    blamed = subject.startswith("blame.")
    count = books.blames[subject.removeprefix("blame.")] if blamed else fates.accepted_with(subject)
    if subject == Verdict.DROPPED_UNPROVEN:
        perhaps = 0
    elif blamed or subject in DROPPED_SURELY:
        perhaps = fates.accepted_with(*DROPPED_PERHAPS)
    else:
        perhaps = fates.accepted_with(Verdict.DROPPED_UNPROVEN)
    if subject == Verdict.CUT_OFF:
        return Share(count, count, count + perhaps, fates.accepted)
    return Share(count, count, count + perhaps, facts.known, facts.cut_off_confirmed)


# -- the grammar ---------------------------------------------------------------------------------

#: A longer text is not accepted (characters).
_LONGEST = 300
EXAMPLE = "dropped_late.rate < 0.1%"
#: Unit -> the kind of metric, and two whole numbers: the first in this unit equals the second in ours (fraction or
#: second). With two whole numbers 0.1% becomes exactly the float 0.001.
_UNITS: dict[str, tuple[Kind, int, int]] = {
    "%": ("rate", 100, 1),
    "/h": ("hourly rate", 1, 1),
    **{unit: ("duration", *numbers) for unit, numbers in units.TIME_UNITS.items()},
}
_TAKES = {
    "rate": "% or a bare fraction, as in 0.1% or 0.001",
    "hourly rate": "a number of events per hour, as in 0.2 or 0.2/h",
    "duration": "us, ms, s, m or h, as in 250ms",
    "count": "a whole number without a unit",
}
#: What may follow a threshold. A window of a run lasts up to LEAST_EVERY_S.
_IN_EVERY = re.compile(r"(.*?)\s+in\s+every\s+(.*?)\s*", re.DOTALL)
LEAST_EVERY_S = COARSE_S
_OF_CLASS = re.compile(r"\s*([^\s<>=!~:]*)\s*:(.*)", re.DOTALL)
_SHAPE = re.compile(r"\s*([^\s<>=!~]*)\s*([<>=!~]+)\s*(.*?)\s*", re.DOTALL)
_VALUE = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Threshold:
    """One requirement on a run; `parse` reads what `str()` writes.

    number, unit: as written. limit: the same as a fraction, in seconds, or as a count. every_s: it must hold in every
    part of the run that is this long (seconds); None: in the run as a whole. user_class: the one whose chats it is
    about; "": all.
    """

    metric: Metric
    op: str
    number: float
    unit: str = ""
    every_s: float | None = None
    user_class: str = ""
    limit: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        _, per, ours = _UNITS.get(self.unit, ("count", 1, 1))
        object.__setattr__(self, "limit", self.number * ours / per)

    def __str__(self) -> str:
        every = "" if self.every_s is None else f" in every {length_text(self.every_s)}"
        return f"{self.about} {self.op} {self.amount}{every}"

    @property
    def about(self) -> str:
        """What it is about, as written: the metric, after its user class if it names one."""
        return f"{self.user_class}: {self.metric.name}" if self.user_class else self.metric.name

    @property
    def amount(self) -> str:
        """The limit as written: number and unit."""
        number = repr(self.number).removesuffix(".0")
        return f"{number} {self.unit}" if self.unit.isalpha() else number + self.unit

    @property
    def wants_low(self) -> bool:
        """Whether the metric must stay below the limit."""
        return self.op in ("<", "<=")

    def holds(self, value: float) -> bool:
        """Return whether a value of the metric meets the threshold."""
        return _OPERATORS[self.op](value, self.limit)

    def is_lost(self, value: float) -> bool:
        """Return whether a count that only grows, or an extreme, does not meet the threshold now nor later."""
        return value > self.limit if self.op == "==" else not self.holds(value)


def parse(text: str) -> Threshold:
    """Return the threshold in a text; raises UsageError, which says what is wrong and what is expected."""
    if len(text) > _LONGEST:
        raise _wrong(f"{text[:20]}…", "too long", f"write it like {EXAMPLE}")
    of_class = _OF_CLASS.fullmatch(text)
    if of_class and not of_class[1].isidentifier():
        what = f"{of_class[1]!r} is not the name of a user class" if of_class[1] else "no user class before the colon"
        raise _wrong(text, what, f"write it like Vip: {EXAMPLE}")
    windowed = _IN_EVERY.fullmatch(of_class[2] if of_class else text)
    found = _SHAPE.fullmatch(windowed[1] if windowed else of_class[2] if of_class else text)
    if not found or not found[1]:
        raise _wrong(text, "no METRIC OP VALUE", f"write it like {EXAMPLE}")
    name, op, rest = found.groups()
    metric = metric_named(name)
    fitting = [fit for fit in _OPERATORS if fit != "==" or metric.kind == "count"]
    if op not in fitting:
        known = op in _OPERATORS
        what = f"{op!r} does not fit {name}, which is {_a(metric.kind)}" if known else f"unknown operator {op!r}"
        raise _wrong(text, what, f"expected one of {' '.join(fitting)}")
    every_s = _every(text, metric, windowed[2]) if windowed else None
    threshold = Threshold(metric, op, *_amount(text, metric, rest), every_s, of_class[1] if of_class else "")
    _possible(text, threshold)
    return threshold


def parse_abort(text: str) -> Threshold:
    """Return a threshold for --abort-on; raises UsageError also if it cannot be lost before the end of the run."""
    threshold = parse(text)
    metric = threshold.metric
    if threshold.every_s is not None:
        raise _wrong(text, "`in every` is judged at the end of the run", "leave it to --threshold")
    if metric.subject == "cut_off":
        raise _wrong(text, "sessions are cut off only when the run ends", "leave it to --threshold")
    if metric.of_incidents:
        raise _wrong(text, "incidents are found when the run has ended", "leave it to --threshold")
    if metric.age_s is not None:
        raise _wrong(text, "the ages of chats are read when the run has ended", "leave it to --threshold")
    if metric.kind == "hourly rate" and not threshold.wants_low:
        raise _wrong(text, "a rate may still rise to it until the run ends", "leave it to --threshold")
    if metric.kind == "count" and threshold.op in (">", ">="):
        raise _wrong(text, "a count only grows, and may still reach it", "leave it to --threshold")
    if metric.kind == "duration" and metric.q is None and threshold.wants_low != (metric.subject != "margin"):
        raise _wrong(text, f"{metric.name} may still get there until the run ends", "leave it to --threshold")
    return threshold


def _a(kind: Kind) -> str:
    return f"an {kind}" if kind == "hourly rate" else f"a {kind}"


def _wrong(text: str, what: str, hint: str) -> UsageError:
    return UsageError(f"threshold {' '.join(text.split())!r}: {what}", hint)


def _amount(text: str, metric: Metric, rest: str) -> tuple[float, str]:
    found, expected = _VALUE.fullmatch(rest), f"expected {_TAKES[metric.kind]}"
    if not found or not math.isfinite(float(found[1])):
        raise _wrong(text, f"{rest!r} is not a number" if rest else "no value", expected)
    number, unit = float(found[1]), found[2]
    if unit and unit not in _UNITS:
        near = difflib.get_close_matches(unit.lower(), _UNITS, 1, 0.4)
        meant = f"did you mean {near[0]}? " if near else ""
        raise _wrong(text, f"unknown unit {unit!r}", meant + expected)
    if metric.kind == "duration" and not unit:
        raise _wrong(text, f"{metric.name} is a duration, and its value has no unit", expected)
    if unit and _UNITS[unit][0] != metric.kind:
        raise _wrong(text, f"unit {unit!r} does not fit {metric.name}, which is {_a(metric.kind)}", expected)
    return number, unit


def _every(text: str, metric: Metric, length: str) -> float:
    """Return the length (seconds) behind `in every`."""
    if metric.of_sessions:
        raise _wrong(text, "`in every` is for requests and their durations, not for sessions", "leave `in every` out")
    if metric.kind == "count" or (metric.kind == "duration" and metric.q is None):
        raise _wrong(text, f"{metric.name} is the same in every part and in the whole run", "leave `in every` out")
    try:
        every_s = units.duration(length, unit_needed=True)
    except ValueError:
        raise _wrong(text, f"{length!r} is not a length of time", "expected for example 30s, 1m or 1h") from None
    if every_s < LEAST_EVERY_S:
        raise _wrong(text, f"{length!r} is shorter than the windows of a run", f"expected {LEAST_EVERY_S:g}s or more")
    return every_s


def length_text(seconds: float) -> str:
    """Return a length of time as `in every` has it: in the largest unit of which it is a whole number."""
    unit, length_s = next((pair for pair in (("h", 3600.0), ("m", 60.0)) if seconds % pair[1] == 0), ("s", 1.0))
    return f"{seconds / length_s:.10g}{unit}"


def _possible(text: str, threshold: Threshold) -> None:
    """Refuse a threshold that no run can pass, or that no run can fail."""
    metric, limit, op = threshold.metric, threshold.limit, threshold.op
    expected = f"expected {_TAKES[metric.kind]}"
    counted = metric.name.rpartition(".")[0] if metric.age_s is None else metric.subject
    instead_of_0 = {
        "rate": "write a share above 0" if metric.of_incidents else f"write {counted}.count == 0, or a rate above 0",
        "hourly rate": "write a number above 0"
        if metric.of_incidents
        else f"write {counted}.count == 0, or a rate above 0",
        "duration": "write a limit above 0",
        "count": "write == 0",
    }[metric.kind]
    if math.copysign(1, threshold.number) < 0:
        raise _wrong(text, f"{_a(metric.kind)} is never negative", expected)
    if metric.kind == "count" and not limit.is_integer():
        raise _wrong(text, "a count is a whole number", expected)
    if limit == 0 and op == "<":
        raise _wrong(text, f"{_a(metric.kind)} is never below 0, so no run passes", instead_of_0)
    if metric.kind == "hourly rate" and limit == 0:
        if op == "<=":
            length = "length of a run" if metric.of_incidents else "number of chat-hours"
            raise _wrong(text, f"no {length} can show that", instead_of_0)
        if op == ">=":
            raise _wrong(text, "that is always so", f"write it like {EXAMPLE}")
    if metric.kind == "rate":
        if limit > 1:
            raise _wrong(text, "a rate is never above 100 %", expected)
        if (limit, op) in ((0, "<="), (1, ">="), (1, ">")) and not metric.of_incidents:
            hint = "write less than 100%" if limit else instead_of_0
            raise _wrong(text, "no number of samples can show that", hint)
        if (limit, op) in ((0, ">="), (1, "<=")):
            raise _wrong(text, "that is always so", f"write it like {EXAMPLE}")
