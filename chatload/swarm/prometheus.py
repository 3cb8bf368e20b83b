"""The figures of a run as Prometheus metrics, and the endpoint that serves them.

Names follow https://prometheus.io/docs/practices/naming/ (base units, `_total` on counters). The next run of the same
process starts the counters at 0 again, which Prometheus handles as a counter reset.
"""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from chatload import __version__
from chatload.errors import UsageError
from chatload.run.books import Books
from chatload.run.histogram import RELATIVE_ERROR, CensoredHistogram, Histogram
from chatload.swarm.snapshot import RunSnapshot
from chatload.vocabulary import Blame, Outcome, RunPhase, SessionState, Verdict

log = logging.getLogger("chatload")

#: Upper bounds (`le`, seconds) of the buckets; each is within the histogram's stated 1 %.
LATENCY_LE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LATENESS_LE = (0.0005, *LATENCY_LE[:-1])
GAP_LE = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0)


def families(snapshot: RunSnapshot) -> Iterator[Metric]:
    """Yield all metrics of a run. Before the first run they are 0 or absent."""
    books = snapshot.books
    yield InfoMetricFamily("chatload_build", "chatload's version", {"version": __version__})
    running = snapshot.phase in (RunPhase.RUNNING, RunPhase.STOPPING)
    yield GaugeMetricFamily("chatload_run_active", "1 while a run is active or its chats disconnect", int(running))
    yield from _sessions(books)
    yield from _requests(books)
    yield from _refreshes(snapshot)
    yield from _arrivals(books)
    yield from _generator(snapshot)


def _sessions(books: Books) -> Iterator[Metric]:
    yield CounterMetricFamily("chatload_sessions_started", "Sessions started", books.started)
    verdicts = {verdict.value: books.verdicts[verdict.value] for verdict in Verdict}
    yield _counter("chatload_sessions_ended", "Sessions ended, by verdict", "verdict", verdicts)
    unserved = CounterMetricFamily(
        "chatload_sessions_unserved", "Sessions that ended and were never accepted", books.fates.never_accepted.most
    )
    yield unserved
    states = GaugeMetricFamily("chatload_sessions_open", "Open sessions, by state", labels=["state"])
    for state in SessionState:
        states.add_metric([state.value], books.states[state.value])
    yield states
    blames = {blame.value: books.blames[blame.value] for blame in Blame}
    yield _counter("chatload_dropped_late", "Sessions with the verdict dropped_late, by blame", "blame", blames)


def _requests(books: Books) -> Iterator[Metric]:
    yield _counter("chatload_requests_sent", "Requests sent", "operation", books.sent)
    requests = CounterMetricFamily(
        "chatload_requests", "Requests finished, by outcome", labels=["operation", "outcome"]
    )
    for operation in sorted(books.sent.keys() | books.outcomes.keys()):
        by_outcome = books.outcomes.get(operation, Counter())
        for outcome in Outcome:
            requests.add_metric([operation, outcome.value], by_outcome[outcome.value])
    yield requests
    latency = HistogramMetricFamily(
        "chatload_latency_seconds",
        "Time from the first byte of a request to the last byte of its answer. A request without an answer counts in "
        "+Inf, and in the sum with the time until it was given up",
        labels=["operation"],
    )
    for operation, samples in sorted(books.latency.items()):
        latency.add_metric([operation], _buckets(samples, LATENCY_LE), samples.total_us / 1e6)
    yield latency


def _refreshes(snapshot: RunSnapshot) -> Iterator[Metric]:
    books = snapshot.books
    lateness = CensoredHistogram(books.lateness)
    last = "The last silence of a dropped chat counts in +Inf, and in the sum with its lower bound"
    for name, what, samples, bounds in (
        ("lateness", "Delay of a refresh in the generator itself", lateness, LATENESS_LE),
        ("gap", f"Time between two contacts of a session (upper bound). {last}", books.gap, GAP_LE),
    ):
        yield HistogramMetricFamily(
            f"chatload_refresh_{name}_seconds", what, _buckets(samples, bounds), samples.total_us / 1e6
        )
    if snapshot.timeout_s is None:
        return
    yield GaugeMetricFamily(
        "chatload_flex_disconnect_timeout_seconds",
        "Longest silence of a chat that the server allows",
        snapshot.timeout_s,
    )
    widest = books.gap.maximum
    if widest is not None:
        yield GaugeMetricFamily(
            "chatload_refresh_margin_min_seconds",
            "Smallest margin of a refresh so far (timeout minus gap); an upper bound if a chat was dropped",
            snapshot.timeout_s - widest.seconds,
        )


def _arrivals(books: Books) -> Iterator[Metric]:
    for name, what, value in (
        ("arrivals", "Chats of an open workload that were due to begin", books.arrivals),
        ("arrivals_late", "Arrivals that began more than 0.1 s after their time", books.late_starts),
        ("arrivals_not_started", "Arrivals that never began", books.not_started),
    ):
        yield CounterMetricFamily(f"chatload_{name}", what, value)
    lateness = books.start_lateness
    yield HistogramMetricFamily(
        "chatload_arrival_lateness_seconds",
        "Delay with which a chat of an open workload began",
        _buckets(CensoredHistogram(lateness), LATENESS_LE),
        lateness.total_us / 1e6,
    )


def _generator(snapshot: RunSnapshot) -> Iterator[Metric]:
    books = snapshot.books
    for name, what, value in (
        ("generator_stalls", "Stalls of generator processes", books.stalls),
        ("generator_stalled_seconds", "Time in which generator processes were stalled", books.stalled_s),
        ("generator_cpu_saturated", "Locust's warnings that a generator process was out of CPU", books.cpu_saturated),
        ("generator_suspect_drops", "Drops the generator's own lateness could have caused", books.suspects),
    ):
        yield CounterMetricFamily(f"chatload_{name}", what, value)
    yield GaugeMetricFamily(
        "chatload_generator_longest_stall_seconds", "Longest stall of a generator process", books.longest_stall_s
    )
    yield GaugeMetricFamily(
        "chatload_generator_processes", "Generator processes that have reported", snapshot.processes
    )


def _counter(name: str, what: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, what, labels=[label])
    for value, n in values.items():
        family.add_metric([value], n)
    return family


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


def _buckets(samples: CensoredHistogram, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return cumulative counts. Samples known only to be longer than a bound are in the last one."""
    counts = cumulative(samples.observed, bounds)
    return [*((str(le), float(n)) for le, n in zip(bounds, counts, strict=True)), ("+Inf", float(samples.count))]


class SwarmCollector(Collector):
    """Computes all metrics at every scrape."""

    def __init__(self, snapshot: Callable[[], RunSnapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return all metrics of the run."""
        return families(self._snapshot())


def open_endpoint(options: Namespace | None, snapshot: Callable[[], RunSnapshot]) -> WSGIServer | None:
    """Serve http://HOST:PORT/metrics if --prometheus-port is given. Raises UsageError.

    snapshot: returns the state of the run.
    """
    port = _port(getattr(options, "prometheus_port", 0))
    if not port:
        return None
    host = str(getattr(options, "prometheus_host", "")) or "127.0.0.1"
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
    return server


def _port(value: str | int | None) -> int:
    try:
        port = int(value or 0)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise UsageError(f"--prometheus-port {value} is not a port number from 0 to 65535")
    return port
