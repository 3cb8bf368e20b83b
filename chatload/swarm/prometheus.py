"""The figures of a run as Prometheus metrics, and the endpoint that serves them.

Names follow https://prometheus.io/docs/practices/naming/ (base units, `_total` on counters). The next run of the same
process starts the counters at 0 again, which Prometheus handles as a counter reset.
"""

import os
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chatload import __version__
from chatload.errors import UsageError
from chatload.run.books import Books
from chatload.run.histogram import RELATIVE_ERROR, CensoredHistogram, Histogram
from chatload.swarm import log
from chatload.swarm.snapshot import RunSnapshot
from chatload.vocabulary import Blame, Outcome, SessionState, Verdict

#: Upper bounds (`le`, seconds) of the buckets; each is within the histogram's stated 1 %.
LATENCY_LE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENESS_LE = (0.0005, *LATENCY_LE[:-1])
GAP_LE = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0)


class _Chats(NamedTuple):
    """The books of the chats that have these label values: of a user class if there are several, otherwise of all."""

    labels: tuple[str, ...]
    books: Books


def _chats(snapshot: RunSnapshot) -> list[_Chats]:
    by_class = snapshot.facts.by_class
    # Without the whole: a sum over the classes would count everything twice.
    return [_Chats((name,), facts.books) for name, facts in by_class.items()] or [_Chats((), snapshot.books)]


def families(snapshot: RunSnapshot) -> Iterator[Metric]:
    """Yield all metrics of a run. Before the first run they are 0 or absent.

    In a run with several user classes, what is about chats has the label user_class.
    """
    yield InfoMetricFamily("chatload_build", "chatload's version", {"version": __version__})
    yield from _of_processes(snapshot)
    chats = _chats(snapshot)
    own = ["user_class"] if chats[0].labels else []
    if snapshot.timeout_s is not None:
        what = "Smallest margin of a refresh so far (timeout minus gap); an upper bound if a chat was dropped"
        margin = GaugeMetricFamily("chatload_refresh_margin_min_seconds", what, labels=own)
        for labels, books in chats:
            if (widest := books.gap.maximum) is not None:
                margin.add_metric(labels, snapshot.timeout_s - widest.seconds)
        if margin.samples:
            yield margin
    states = GaugeMetricFamily("chatload_sessions_open", "Open sessions, by state", labels=[*own, "state"])
    for labels, books in chats:
        for state in SessionState:
            states.add_metric([*labels, state], books.states[state])
    yield states
    for name, what, value in _COUNTERS:
        counter = CounterMetricFamily(f"chatload_{name}", what, labels=own)
        for labels, books in chats:
            counter.add_metric(labels, value(books))
        yield counter
    for name, what, label, counts in _LABELLED:
        counter = CounterMetricFamily(f"chatload_{name}", what, labels=[*own, label])
        for labels, books in chats:
            for label_value, n in counts(books).items():
                counter.add_metric([*labels, label_value], n)
        yield counter
    names = [*own, "operation", "outcome"]
    requests = CounterMetricFamily("chatload_requests", "Requests finished, by outcome", labels=names)
    for labels, books in chats:
        for operation in sorted(books.sent.keys() | books.outcomes.keys()):
            by_outcome = books.outcomes.get(operation, Counter())
            for outcome in Outcome:
                requests.add_metric([*labels, operation, outcome], by_outcome[outcome])
    yield requests
    yield from _histograms(chats, own)


_COUNTERS: tuple[tuple[str, str, Callable[[Books], int]], ...] = (
    ("sessions_started", "Sessions started", lambda books: books.started),
    (
        "sessions_unserved", "Sessions that ended and were never accepted",
        lambda books: books.fates.never_accepted.most,
    ),
    ("arrivals", "Chats of an open workload that were due to begin", lambda books: books.arrivals),
    ("arrivals_late", "Arrivals that began more than 0.1 s after their time", lambda books: books.late_starts),
    ("arrivals_not_started", "Arrivals that never began", lambda books: books.not_started),
    (
        "generator_suspect_drops", "Drops the generator's own lateness could have caused",
        lambda books: books.suspects,
    ),
)  # fmt: skip
_LABELLED: tuple[tuple[str, str, str, Callable[[Books], Mapping[str, int]]], ...] = (
    (
        "sessions_ended", "Sessions ended, by verdict", "verdict",
        lambda books: {kind: books.verdicts[kind] for kind in Verdict},
    ),
    (
        "dropped_late", "Sessions with the verdict dropped_late, by blame", "blame",
        lambda books: {blame: books.blames[blame] for blame in Blame},
    ),
    ("requests_sent", "Requests sent", "operation", lambda books: books.sent),
)  # fmt: skip


def _of_processes(snapshot: RunSnapshot) -> Iterator[Metric]:
    """Yield the metrics of the run and its processes, which belong to no user class."""
    books, timeout_s = snapshot.books, snapshot.timeout_s
    gauges: list[tuple[str, str, float]] = [
        ("run_active", "1 while a run is active or its chats disconnect", int(snapshot.is_active)),
        ("generator_longest_stall_seconds", "Longest stall of a generator process", books.longest_stall_s),
        ("generator_processes", "Generator processes that have reported", snapshot.processes),
    ]
    if timeout_s is not None:
        what = "Longest silence of a chat that the server allows"
        gauges.append(("flex_disconnect_timeout_seconds", what, timeout_s))
    for name, what, value in gauges:
        yield GaugeMetricFamily(f"chatload_{name}", what, value)
    for name, what, value in (
        ("generator_stalls", "Stalls of generator processes", books.stalls),
        ("generator_stalled_seconds", "Time in which generator processes were stalled", books.stalled_s),
        ("generator_cpu_saturated", "Locust's warnings that a generator process was out of CPU", books.cpu_saturated),
    ):
        yield CounterMetricFamily(f"chatload_{name}", what, value)


def _histograms(chats: Sequence[_Chats], own: Sequence[str]) -> Iterator[Metric]:
    """Yield the histograms. own: the names of the labels of `chats`."""
    unanswered = "A request without an answer counts in +Inf, and in the sum with the time until it was given up"
    scheduled = "Time from the instant for which a request was scheduled to its answer, skipped polls included"
    by_operation: tuple[tuple[str, str, Callable[[Books], Mapping[str, CensoredHistogram]]], ...] = (
        (
            "latency", "Time from the first byte of a request to the last byte of its answer",
            lambda books: books.latency,
        ),
        ("response_time", scheduled, lambda books: books.response_time),
    )  # fmt: skip
    for name, what, of in by_operation:
        family = HistogramMetricFamily(f"chatload_{name}_seconds", f"{what}. {unanswered}", labels=[*own, "operation"])
        for labels, books in chats:
            for operation, durations in sorted(of(books).items()):
                family.add_metric([*labels, operation], *_buckets(durations, LATENCY_LE))
        yield family
    last = "The last silence of a dropped chat counts in +Inf, and in the sum with its lower bound"
    of_refreshes: tuple[tuple[str, str, Callable[[Books], CensoredHistogram], Sequence[float]], ...] = (
        (
            "refresh_lateness", "Delay of a refresh in the generator itself",
            lambda books: CensoredHistogram(books.lateness), LATENESS_LE,
        ),
        (
            "refresh_gap", f"Time between two contacts of a session (upper bound). {last}",
            lambda books: books.gap, GAP_LE,
        ),
        (
            "arrival_lateness", "Delay with which a chat of an open workload began",
            lambda books: CensoredHistogram(books.start_lateness), LATENESS_LE,
        ),
    )  # fmt: skip
    for name, what, samples, bounds in of_refreshes:
        family = HistogramMetricFamily(f"chatload_{name}_seconds", what, labels=own)
        for labels, books in chats:
            family.add_metric(labels, *_buckets(samples(books), bounds))
        yield family


def cumulative(histogram: Histogram, bounds: Sequence[float]) -> list[int]:
    """Return how many samples are at most each of `bounds` (seconds, ascending).

    Each bound is moved to the nearest edge of the histogram's own buckets, by RELATIVE_ERROR at most.
    """
    counts, seen, bins = [], 0, deque(histogram.bins())
    for bound in bounds:
        while bins and bins[0][1] <= bound * (1 + RELATIVE_ERROR):
            seen += bins.popleft()[2]
        counts.append(seen)
    return counts


def _buckets(samples: CensoredHistogram, bounds: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative counts and the sum. Samples known only to be longer than a bound are in the last bucket."""
    counts = zip(map(str, bounds), map(float, cumulative(samples.observed, bounds)), strict=True)
    return [*counts, ("+Inf", float(samples.count))], samples.total_us / 1e6


class SwarmCollector(Collector):
    """Computes all metrics at every scrape."""

    def __init__(self, snapshot: Callable[[], RunSnapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot())


def open_endpoint(options: Namespace, snapshot: Callable[[], RunSnapshot]) -> None:
    """Serve the run's metrics at http://HOST:PORT/metrics if --prometheus-port is given. Raises UsageError."""
    try:
        port = int(options.prometheus_port)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise UsageError(f"--prometheus-port {options.prometheus_port} is not a port number from 0 to 65535")
    if not port:
        return
    host = options.prometheus_host or "127.0.0.1"
    registry = CollectorRegistry()
    registry.register(SwarmCollector(snapshot))
    server = WSGIServer((host, port), make_wsgi_app(registry), log=None, error_log=log)
    try:
        server.start()
    except OSError as error:
        # gevent puts the address into strerror. A name that cannot be resolved has a negative number.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror
        raise UsageError(f"--prometheus-port {port} cannot be opened on {host}: {why}", "choose another") from error
