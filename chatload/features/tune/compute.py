"""Which refresh interval to choose: the arms of a sweep judged against a target drop rate.

Fixed-sequence testing, from the shortest interval up: each arm is tested at the full confidence, and the first
that does not pass ends it. So the chance that any arm is passed whose drop rate is not below the target is at
most 1 - confidence, however many arms there are, without a correction. Source: W. Maurer, L. Hothorn and
W. Lehmacher, "Multiple comparisons in drug clinical trials and preclinical assays: a-priori ordered hypotheses",
in Biometrie in der chemisch-pharmazeutischen Industrie 6 (1995); P. H. Westfall and A. Krishen, "Optimally
weighted, fixed sequence and gatekeeper multiple testing procedures", Journal of Statistical Planning and
Inference 99 (2001).

The target is one of drops per session. Drops per chat-hour are shown beside it, and decide nothing.

The bounds have the design effect of incidents: the bursts of drops of an arm (`chatload.stats.clusters`). The upper
bound of every arm counts on incidents as large as the largest one of any arm whose interval is below the timeout,
because an arm without a drop shows nothing about their size. Above the timeout all chats are dropped by the plan.

An unproven drop (`dropped_unproven`) counts against an interval. A drop that the generator's own lateness may have
caused counts against it too, but is no proof against it: if an arm's result depends only on such drops, the arm is
invalid.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import ceil
from typing import Literal, NamedTuple

from chatload.chat.policy import WIDGET_INTERVAL_S
from chatload.chat.record import SessionRecord
from chatload.chat.settings import fractions_in
from chatload.errors import UsageError
from chatload.run.books import Books, may_be_dropped
from chatload.run.histogram import Histogram
from chatload.stats.bursts import find_incidence
from chatload.stats.clusters import Design, design_effect, lower, per_unit_lower, per_unit_upper, upper
from chatload.stats.rates import CONFIDENCE, sessions_needed
from chatload.thresholds import dependence
from chatload.thresholds.metrics import Facts, metric_named
from chatload.vocabulary import Verdict

Word = Literal["pass", "fail", "inconclusive", "invalid"]
#: The metric that is judged, and its limit by default.
METRIC = "dropped.rate"
TARGET = "1%"
#: Default number of sessions per arm: this many times the number that is enough without any drop.
_ROOM = 3
_DROPPED = metric_named(METRIC)


@dataclass
class Tally:
    """Counts the sessions of one arm.

    confirmed: sessions cut off whose goodbye was confirmed. suspects: proven late drops that the generator may have
    caused; those of the books are with the unproven ones. open_s: time that accepted chats were open (seconds, summed).
    gaps: the widest gap of each session (upper bound). dropped_at: when each drop was learned. first, last: when the
    first session of the arm ended, and the last. Instants: Unix seconds.
    """

    books: Books = field(default_factory=Books)
    confirmed: int = 0
    suspects: int = 0
    requests: int = 0
    polls: int = 0
    open_s: float = 0.0
    gaps: Histogram = field(default_factory=Histogram)
    dropped_at: list[float] = field(default_factory=list)
    first: float | None = None
    last: float | None = None

    def add(self, record: SessionRecord) -> None:
        """Count one session that ended."""
        self.books.started += 1
        self.books.session_ended(record)
        self.confirmed += record.verdict == Verdict.CUT_OFF and record.goodbye_confirmed
        self.suspects += record.generator_suspect and record.verdict == Verdict.DROPPED_LATE
        self.requests += record.requests
        self.polls += record.polls
        self.first = record.ended_at if self.first is None else min(self.first, record.ended_at)
        self.last = record.ended_at if self.last is None else max(self.last, record.ended_at)
        if may_be_dropped(record):
            self.dropped_at.append(record.ended_at)
        if record.chat_id:
            self.open_s += max(0.0, record.ended_at - record.started_at)
            if record.gap_upper_s is not None:
                self.gaps.add(record.gap_upper_s)


class HourlyDrops(NamedTuple):
    """Drops per chat-hour of an arm.

    chat_hours: time for which its accepted chats were surely open. rate: of the most drops. lower, upper: one-sided
    exact bounds (Garwood) by the least and the most drops, each at the requested confidence.
    """

    chat_hours: float
    rate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Arm:
    """One refresh interval of a sweep. Durations: seconds; rates of drops: fractions of the sessions.

    sessions: those whose fate is known. worth: how many independent ones they are worth. incidents: in which its drops
    came. least, most: how many of them were dropped, proven and at most. suspects: drops that the generator may have
    caused. rate: of `most`. lower, upper: one-sided exact bounds, each at the requested confidence. per_chat_hour: None
    if no chat was open for any time. margin_min_s, margin_p1_s: timeout minus widest gap, of the session with the
    smallest, and what 99 of 100 sessions had at least. requests_per_s, polls_per_s: of one open chat. word: the result
    of its own sessions against the target. needed: how many sessions would decide it with a probability of 80 %, at the
    seen rate; None if no number would, or it is decided.
    """

    fraction: float
    interval_s: float
    sessions: int
    worth: int
    incidents: int
    least: int
    most: int
    suspects: int
    rate: float | None
    lower: float
    upper: float
    per_chat_hour: HourlyDrops | None
    word: Word
    needed: int | None
    margin_min_s: float | None
    margin_p1_s: float | None
    requests_per_s: float | None
    polls_per_s: float | None
    open_s: float
    verdicts: dict[str, int]
    blames: dict[str, int]


class Saving(NamedTuple):
    """What an interval saves compared with the vendor's widget, which polls every 3 s.

    requests_per_s_per_chat: below 0 if it needs more. share_of_polls: part of the widget's polls. chats_open: mean of
    the sweep. requests_per_s: of all these chats.
    """

    widget_interval_s: float
    requests_per_s_per_chat: float
    share_of_polls: float
    chats_open: float
    requests_per_s: float


@dataclass(frozen=True)
class Tuning:
    """The result of a sweep.

    chats_open: mean number of open chats. incident_size: the size of incidents of one arm for which the bounds hold.
    problems: why the sweep is invalid.
    """

    timeout_s: float
    target: float
    confidence: float
    arms: tuple[Arm, ...]
    chats_open: float
    incident_size: int = 1
    problems: tuple[str, ...] = ()

    @property
    def stopped_by(self) -> Arm | None:
        """The first arm, from the shortest interval up, that did not pass; None if all passed."""
        return next((arm for arm in self.arms if arm.word != "pass"), None)

    @property
    def recommended(self) -> Arm | None:
        """The longest interval that passed before the first that did not; None if none did."""
        passed = list(takewhile(lambda arm: arm.word == "pass", self.arms))
        return passed[-1] if passed and not self.problems else None

    @property
    def result(self) -> str:
        """recommended, none, inconclusive or invalid."""
        if self.problems:
            return "invalid"
        if self.recommended is not None:
            return "recommended"
        stop = self.stopped_by
        return {"fail": "none", "invalid": "invalid"}.get("" if stop is None else stop.word, "inconclusive")

    @property
    def needed(self) -> int | None:
        """Number of sessions, over all arms, that would decide the arm that ended the sequence; None if none would."""
        stop = self.stopped_by
        return None if stop is None or stop.needed is None else stop.needed * len(self.arms)

    @property
    def saving(self) -> Saving | None:
        """What the recommended interval saves; None if nothing is recommended or was measured."""
        best = self.recommended
        if best is None or best.polls_per_s is None:
            return None
        widget = 1 / WIDGET_INTERVAL_S
        per_chat = widget - best.polls_per_s
        return Saving(WIDGET_INTERVAL_S, per_chat, per_chat / widget, self.chats_open, per_chat * self.chats_open)


def tally(records: Iterable[SessionRecord]) -> dict[float, Tally]:
    """Return the sessions of each arm, by its fraction; sessions without an arm are left out.

    Raises UsageError for a group that is not an arm of a sweep.
    """
    by_group: defaultdict[str, Tally] = defaultdict(Tally)
    for record in records:
        if record.group:
            by_group[record.group].add(record)
    tallies = {}
    for group, counted in by_group.items():
        found = fractions_in(group)
        if len(found) != 1:
            raise UsageError(f"not a sweep: no part of a timeout in the group {group!r}")
        tallies[found[0]] = counted
    return tallies


def tune(
    tallies: dict[float, Tally],
    timeout_s: float,
    target: float,
    confidence: float = CONFIDENCE,
    duration_s: float = 0.0,
    problems: Sequence[str] = (),
    fractions: Iterable[float] = (),
    incident_size: int = 1,
) -> Tuning:
    """Judge the arms of a sweep.

    duration_s: of the run. fractions: of all arms, also those without any session. incident_size: the largest number of
    sessions of one arm that an incident takes, an assumption; at least the largest incident of the sweep.

    Raises UsageError if there is no arm: then the run was no sweep.
    """
    tallies = {**{fraction: Tally() for fraction in fractions}, **tallies}
    if not tallies:
        raise UsageError("not a sweep: no session has an arm", "make one with chatload tune --host URL")
    sizes = {fraction: _incidents(counted) for fraction, counted in tallies.items()}
    largest = max([incident_size, *(size for fraction, found in sizes.items() if fraction < 1 for size in found)])
    arms = tuple(
        _arm(fraction, tallies[fraction], sizes[fraction], largest, timeout_s, target, confidence)
        for fraction in sorted(tallies)
    )
    chats = sum(arm.open_s for arm in arms) / duration_s if duration_s else 0.0
    return Tuning(timeout_s, target, confidence, arms, chats, largest, tuple(problems))


def sessions_an_arm(target: float, confidence: float = CONFIDENCE, incident_size: int = 1) -> int:
    """Return the default number of sessions per arm: three times what shows the target without a drop.

    incident_size: see `tune`; so many times the number are needed.
    """
    least = sessions_needed(0, 0, target, confidence)
    if least is None:
        raise UsageError(f"no number of sessions shows a drop rate below {target:g}", "choose a higher --target")
    return _ROOM * least * incident_size


def _incidents(counted: Tally) -> list[int]:
    """Return how many drops of an arm came in each incident."""
    return find_incidence(counted.dropped_at, counted.first, counted.last).sizes()


def _arm(
    fraction: float,
    counted: Tally,
    sizes: Sequence[int],
    largest: int,
    timeout_s: float,
    target: float,
    confidence: float,
) -> Arm:
    """Return an arm. sizes: of its incidents. largest: the largest incident that counts as possible."""
    effect = design_effect(sizes)
    design = Design(effect, max(effect, largest))
    share = _DROPPED.share(Facts(counted.books, timeout_s, counted.confirmed))
    least = share.least - counted.suspects
    # Sessions that the end of the sweep cut off do not show that the rate is low (`chatload.thresholds.dependence`).
    low, high = lower(least, share.n, design, confidence), dependence.upper(share, design, confidence)
    innocent = share.most - counted.books.suspects
    word: Word = "inconclusive"
    if high < target:
        word = "pass"
    elif low > target:
        word = "fail"
    elif (
        dependence.upper(share._replace(most=innocent), design, confidence) < target
        or lower(share.least, share.n, design, confidence) > target
    ):
        word = "invalid"
    hours = Facts(counted.books).chat_hours
    hourly = None
    if hours:
        bounds = per_unit_lower(least, hours, design, confidence), per_unit_upper(share.most, hours, design, confidence)
        hourly = HourlyDrops(hours, share.most / hours, *bounds)
    needed = sessions_needed(least, share.n, target, confidence, share.most) if word == "inconclusive" else None
    gaps = counted.gaps
    margins = [None if gap is None else timeout_s - gap for gap in (gaps.maximum, gaps.quantile(0.99))]
    return Arm(
        fraction=fraction,
        interval_s=fraction * timeout_s,
        sessions=share.n,
        worth=round(share.n / effect),
        incidents=len(sizes),
        least=least,
        most=share.most,
        suspects=counted.books.suspects,
        rate=share.most / share.n if share.n else None,
        lower=low,
        upper=high,
        per_chat_hour=hourly,
        word=word,
        needed=None if needed is None else ceil(needed * (effect if share.most else largest)),
        margin_min_s=margins[0],
        margin_p1_s=margins[1],
        requests_per_s=counted.requests / counted.open_s if counted.open_s else None,
        polls_per_s=counted.polls / counted.open_s if counted.open_s else None,
        open_s=counted.open_s,
        verdicts={name: n for name, n in sorted(counted.books.verdicts.items()) if n},
        blames={name: n for name, n in sorted(counted.books.blames.items()) if n},
    )


def agree(one: Arm, other: Arm, confidence: float = CONFIDENCE) -> bool:
    """Return whether the same drop rate explains both arms: whether their bounds overlap.

    Unproven drops count in both arms. Drops that the generator may have caused widen the bounds: with and without them.
    """
    least = max(lower(arm.most - arm.suspects, arm.sessions, _design(arm), confidence) for arm in (one, other))
    return least <= min(upper(arm.most, arm.sessions, _design(arm), confidence) for arm in (one, other))


def _design(arm: Arm) -> Design:
    effect = arm.sessions / arm.worth if arm.worth else 1.0
    return Design(effect, effect)


def blamed(arm: Arm) -> Iterator[tuple[str, int]]:
    """Yield the causes of an arm's drops and their numbers, the most frequent first."""
    causes: Counter[str] = Counter(arm.blames)
    causes.update({name: arm.verdicts.get(f"dropped_{name}", 0) for name in ("early", "unproven")})
    return ((name, n) for name, n in causes.most_common() if n)
