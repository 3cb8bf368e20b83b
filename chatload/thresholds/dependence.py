"""Dependence: how many independent sessions the sessions of a run are worth.

Drops, refusals and failures come in clusters: an outage takes many sessions at once. The design effect of a rate of
sessions is the larger of two estimates (`chatload.stats.clusters` has the formulas): by blocks of time, which needs no
knowledge of clusters; and for drops by incidents (`chatload.stats.bursts`), which also finds short clusters in few
drops.

In a block of time, as many drops and failures are expected as its part of the time that sessions were open; of those
that were never accepted, as its part of the sessions that began. Other ends come at the age at which a chat is over,
not at any time, so they have no estimate by blocks.

How many sessions a future incident takes cannot be learned from a run without one. So an upper bound names an
assumption, the incident size: the largest number of sessions that one incident takes. It is 1 unless the user says more
(`--incident-size`), and never less than the largest incident that the run had.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from chatload.run.books import Books
from chatload.stats import clusters
from chatload.stats.clusters import Design, design_effect, design_effect_of_blocks
from chatload.stats.rates import CONFIDENCE
from chatload.thresholds.metrics import OF_ALL, Facts, Metric, Share, TimeBlock
from chatload.vocabulary import DROPPED, DROPPED_SURELY, GOOD_ENDINGS, Verdict

#: Into how many blocks of equal time a run is divided for the design effect.
BLOCKS = 20
_DROPS = frozenset({DROPPED, *DROPPED_SURELY, Verdict.DROPPED_UNPROVEN})
#: Ends of accepted sessions that may come at any age.
_AT_ANY_AGE = _DROPS | {Verdict.FAILED, Verdict.GAVE_UP}


def is_wanted(metric: Metric) -> bool:
    """Return whether the metric is a share of sessions that ended well: then its events are the other sessions."""
    return metric.subject in GOOD_ENDINGS


def comes_in_clusters(metric: Metric) -> bool:
    """Return whether an incident may decide the fate of many of the metric's sessions.

    Sessions that the end of the run cut off were cut off by the plan. Requests are not judged here.
    """
    return metric.of_sessions and metric.subject != Verdict.CUT_OFF


def design_of(metric: Metric, facts: Facts, incident_size: int = 1) -> Design:
    """Return how far the sessions of a rate were from independent; requests count as independent.

    incident_size: the largest number of sessions that one incident takes, 1 or more: an assumption.
    """
    if not comes_in_clusters(metric):
        return clusters.INDEPENDENT
    effect = design_effect_of_blocks(_expected_by_block(metric, facts))
    largest = float(incident_size)
    if about_drops(metric) and facts.incidence is not None:
        sizes = facts.incidence.sizes()
        effect = max(effect, design_effect(sizes))
        largest = max(largest, *sizes, 1)
    return Design(effect, max(largest, effect))


def bounds(share: Share, design: Design, confidence: float = CONFIDENCE, wanted: bool = False) -> tuple[float, float]:
    """Return the one-sided bounds of a share of sessions, each at `confidence`.

    Sessions that the end of the run cut off are in the lower bound of events, as if they would have had none. They are
    not in the upper bound. If chats are equally long, this bound is rather too high: of the chats that the run is too
    short for, it has only those with an event. If lengths are exponential and the danger is the same at each age, it is
    exact. It may be too low if lengths vary and old chats are in more danger, because the end cuts off the long ones.
    So if more sessions were cut off than not, there is no upper bound (docs/statistics.md has the measured effect).

    wanted: the events that come in clusters are the sessions that do *not* have the property (`is_wanted`).
    """
    least, most = (min(count, share.whole) for count in (share.least, share.most))
    if wanted:
        low = clusters.lower(share.whole - most, share.n, design, confidence)
        return 1 - _upper(share.whole - least, share, design, confidence), 1 - low
    return clusters.lower(least, share.n, design, confidence), _upper(most, share, design, confidence)


def upper(share: Share, design: Design, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of a share of sessions: that of `bounds`."""
    return _upper(min(share.most, share.whole), share, design, confidence)


def _upper(events: int, share: Share, design: Design, confidence: float) -> float:
    return 1.0 if share.is_mostly_open else clusters.upper(events, share.whole, design, confidence)


def observed(share: Share, wanted: bool = False) -> float | None:
    """Return the observed value of a share: it lies within its `bounds`. None without samples."""
    n = share.whole if wanted else share.n
    return share.counted / n if n else None


def about_drops(metric: Metric) -> bool:
    """Return whether the sessions that speak against a threshold on this metric are drops, all or many of them."""
    return metric.subject in _DROPS or metric.subject.startswith("blame.") or is_wanted(metric)


def worth(share: Share, design: Design) -> int:
    """Return how many independent sessions those of a share are worth."""
    return max(1, round(share.n / design.effect)) if share.n else 0


def groups(metric: Metric, facts: Facts, surely: bool) -> list[float]:
    """Return the sizes of the groups in which the events of a rate of sessions came: those of `bounds`.

    Incidents for drops that are all counted there, otherwise blocks of time, which may hold several incidents each. If
    neither is known, all events are one group. surely: only those that are proven, otherwise all that are possible.
    """
    events = _events(metric, metric.share(facts), surely)
    incidence = facts.incidence
    if metric.subject in _DROPS and incidence is not None and incidence.events == events:
        return [float(size) for size in incidence.sizes()]
    by_block = [_events(metric, share, surely) for share in _shares(metric, facts)]
    if sum(by_block) != events:
        by_block = [events]
    return [float(size) for size in by_block if size]


def _events(metric: Metric, share: Share, surely: bool) -> int:
    """Return how many sessions of a share are events, for which it is proven or possible."""
    if is_wanted(metric):
        return share.whole - min(share.most if surely else share.least, share.whole)
    return min(share.least if surely else share.most, share.n)


def open_then(loads: Iterable[tuple[float, float, int]], start: float, end: float) -> int | None:
    """Return how many chats were open when a burst came: the most at the ends of the windows around it.

    loads: start, end and open sessions of each window, in order of time. start, end: of the burst. Instants: Unix
    seconds. None if no window ended before or during the burst.
    """
    before: int | None = None
    for _, ended, still_open in loads:
        if ended > end:
            break
        before = still_open if before is None or ended <= start else max(before, still_open)
    return before


def time_blocks(
    begun: Sequence[Books], ended: Sequence[Books], loads: Iterable[tuple[float, float, int]], start: float, end: float
) -> tuple[TimeBlock, ...]:
    """Return the blocks of a run. begun, ended: by block. loads: see `open_then`. start, end: of all blocks."""
    edges = np.linspace(start, end, len(begun) + 1)
    open_s = np.zeros(len(begun))
    for since, until, still_open in loads:
        open_s += still_open * np.clip(np.minimum(until, edges[1:]) - np.maximum(since, edges[:-1]), 0.0, None)
    return tuple(map(TimeBlock, begun, ended, open_s.tolist()))


def _shares(metric: Metric, facts: Facts) -> list[Share]:
    """Return the share of each block of time."""
    books = (block.begun if metric.subject in OF_ALL else block.ended for block in facts.blocks)
    return [metric.share(Facts(each, facts.timeout_s)) for each in books]


def _expected_by_block(metric: Metric, facts: Facts) -> list[tuple[float, int]]:
    """Return the sessions that are expected in each block of time, and how many of them are events; [] if not known."""
    shares, n = _shares(metric, facts), metric.share(facts).n
    if metric.subject in OF_ALL:
        return [(share.n, _events(metric, share, False)) for share in shares]
    open_s = sum(block.open_s for block in facts.blocks)
    if not open_s or not (metric.subject in _AT_ANY_AGE or metric.subject.startswith("blame.")):
        return []
    exposed = (n * block.open_s / open_s for block in facts.blocks)
    return [(trials, _events(metric, share, False)) for trials, share in zip(exposed, shares, strict=True)]
