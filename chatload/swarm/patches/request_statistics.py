"""Requests are added to Locust's statistics in batches.

Fault: Locust updates its statistics in a listener of `events.request`, 7 us per request: a quarter of the time of a
refresh. Locust 2.47.0, stats.py and runners.py. No upstream issue found.

If another listener is registered, every request fires the event as Locust does. The one of this module counts only
requests that are neither of chats nor of hooks.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from locust import stats as locust_stats
from locust.env import Environment

from chatload.protocol.reply import Reply
from chatload.protocol.wire import WireResult
from chatload.vocabulary import Outcome

#: The request types that Locust shows: of chats, and of hooks.
REQUEST_TYPE, FETCH_TYPE = "CHAT", "HOOK"
#: Requests of one name that are buffered at most.
_MAX_BUFFERED = 500
_FINE, _ENDED = Outcome.FINE, Outcome.ENDED


class RequestFailed(Exception):
    """A failed request. Its text is one of a few constants, so that Locust's error statistics stay small."""


class LocustStatistics:
    """Reports the requests of one environment to Locust."""

    def __init__(self, environment: Environment, on_other: Callable[[bool], None]) -> None:
        """on_other: called with each request that another user reports, such as an HttpUser: whether it failed."""
        self._stats = environment.stats
        self._event = environment.events.request
        self._listeners: list[Any] = self._event._handlers
        self._on_other = on_other
        self._event.add_listener(self._other_request)
        self._usual = [each for each in self._listeners if each.__module__ in ("locust.runners", __name__)]
        self._times_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._bytes: defaultdict[str, int] = defaultdict(int)

    def request(self, operation: str, result: WireResult, reply: Reply) -> None:
        sent = result.received_at if result.sent_at is None else result.sent_at
        took_ms = (result.received_at - sent) * 1000
        good = reply.outcome is _FINE or reply.outcome is _ENDED
        if not good or self._listeners != self._usual:
            self._event.fire(
                request_type=REQUEST_TYPE,
                name=operation,
                response_time=took_ms,
                response_length=len(result.body),
                exception=None if good else RequestFailed(f"{reply.outcome}: {reply.detail}"),
                context={},
            )
            return
        buffered = self._times_ms[operation]
        buffered.append(took_ms)
        self._bytes[operation] += len(result.body)
        if len(buffered) >= _MAX_BUFFERED:
            self._flush(operation)

    def fetched(self, name: str, took_s: float, size: int, why: str) -> None:
        """Report a request of a hook. why: the reason of its failure, "" if it did not fail."""
        self._event.fire(
            request_type=FETCH_TYPE,
            name=name,
            response_time=took_s * 1000,
            response_length=size,
            exception=RequestFailed(why) if why else None,
            context={},
        )

    def _other_request(self, request_type: str, exception: BaseException | None, **_: Any) -> None:
        if request_type not in (REQUEST_TYPE, FETCH_TYPE):
            self._on_other(exception is not None)

    def flush(self) -> None:
        """Add all buffered requests to Locust's statistics."""
        for operation in self._times_ms:
            self._flush(operation)

    def _flush(self, operation: str) -> None:
        times, size = self._times_ms[operation], self._bytes[operation]
        if not times:
            return
        self._times_ms[operation], self._bytes[operation] = [], 0
        buckets = Counter(map(locust_stats.bucket_response_time, times))
        for entry in (self._stats.total, self._stats.entries[(operation, REQUEST_TYPE)]):
            _add(entry, times, buckets, size)


def _add(entry: Any, times_ms: list[float], buckets: Counter[int], size: int) -> None:
    """Do what StatsEntry.log does, for many requests at once."""
    now = time.time()
    if entry.use_response_times_cache and entry.last_request_timestamp and int(now) > int(entry.last_request_timestamp):
        entry._cache_response_times(int(now) - 1)
    entry.num_requests += len(times_ms)
    entry.num_reqs_per_sec[int(now)] += len(times_ms)
    entry.last_request_timestamp = now
    entry.total_response_time += sum(times_ms)
    least, most = min(times_ms), max(times_ms)
    if entry.min_response_time is None or least < entry.min_response_time:
        entry.min_response_time = least
    entry.max_response_time = max(entry.max_response_time, most)
    for bucket, count in buckets.items():
        entry.response_times[bucket] += count
    entry.total_content_length += size
