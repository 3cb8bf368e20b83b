"""Keeps Locust's statistics, web UI and other people's listeners right, at a tenth of an event for each request.

Where nobody but Locust itself listens to `events.request`, requests that went well reach its statistics many at a time,
once a second at least; everything else is fired as Locust has it.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from locust import stats as locust_stats
from locust.env import Environment

from chatload.protocol.reply import Reply
from chatload.protocol.wire import WireResult
from chatload.vocabulary import Outcome

#: The type that Locust shows for our requests.
REQUEST_TYPE = "CHAT"
#: So many requests of one name are kept back at most.
_AT_ONCE = 500
_FINE, _ENDED = Outcome.FINE, Outcome.ENDED


class RequestFailed(Exception):
    """A request that did not succeed; its text is one of a few constants, fit for statistics."""


class Tally:
    """Tells Locust of the requests of one environment."""

    def __init__(self, environment: Environment) -> None:
        self._stats = environment.stats
        self._event = environment.events.request
        self._listeners: list[Any] = self._event._handlers
        self._locusts_own = [each for each in self._listeners if each.__module__ == "locust.runners"]
        self._kept: dict[str, list[float]] = {}
        self._bytes: Counter[str] = Counter()

    def request(self, operation: str, result: WireResult, reply: Reply) -> None:
        """A request has ended."""
        sent = result.received_at if result.sent_at is None else result.sent_at
        took_ms = (result.received_at - sent) * 1000
        good = reply.outcome is _FINE or reply.outcome is _ENDED
        if not good or self._listeners != self._locusts_own:
            self._event.fire(
                request_type=REQUEST_TYPE,
                name=operation,
                response_time=took_ms,
                response_length=len(result.body),
                exception=None if good else RequestFailed(f"{reply.outcome}: {reply.detail}"),
                context={},
            )
            return
        kept = self._kept.get(operation)
        if kept is None:
            kept = self._kept[operation] = []
        kept.append(took_ms)
        self._bytes[operation] += len(result.body)
        if len(kept) >= _AT_ONCE:
            self._hand_on(operation)

    def flush(self) -> None:
        """Hand on whatever is kept."""
        for operation in self._kept:
            self._hand_on(operation)

    def _hand_on(self, operation: str) -> None:
        times, size = self._kept[operation], self._bytes[operation]
        if not times:
            return
        self._kept[operation], self._bytes[operation] = [], 0
        buckets = Counter(map(locust_stats.bucket_response_time, times))
        for entry in (self._stats.total, self._stats.entries[(operation, REQUEST_TYPE)]):
            _add(entry, times, buckets, size)


def _add(entry: Any, times: list[float], buckets: Counter[int], size: int) -> None:
    """What StatsEntry.log does for each of them."""
    now = time.time()
    if entry.use_response_times_cache and entry.last_request_timestamp and int(now) > int(entry.last_request_timestamp):
        entry._cache_response_times(int(now) - 1)
    entry.num_requests += len(times)
    entry.num_reqs_per_sec[int(now)] += len(times)
    entry.last_request_timestamp = now
    entry.total_response_time += sum(times)
    least, most = min(times), max(times)
    if entry.min_response_time is None or least < entry.min_response_time:
        entry.min_response_time = least
    entry.max_response_time = max(entry.max_response_time, most)
    for bucket, count in buckets.items():
        entry.response_times[bucket] += count
    entry.total_content_length += size
