"""The memory of Locust's statistics is bounded.

Fault: Locust keeps a count for every second and request name (5.7 MB per name and day), of which it reads the last 12
seconds, and a row of chart data every five seconds (16 MB per day on the master). Locust 2.47.0, stats.py.
https://github.com/locustio/locust/issues/1790, https://github.com/locustio/locust/issues/2045 (both closed as stale)
"""

from locust.stats import RequestStats

#: Seconds of per-second counts that are kept: Locust reads the last 12.
KEPT_S = 60
#: Rows of chart data that are kept: one hour (0.8 MB). The older half of more rows is thinned.
MAX_ROWS = 720


def drop_old_statistics(stats: RequestStats) -> None:
    """Drop per-second counts that Locust does not read any more, and every second row of the older half of charts."""
    last = stats.last_request_timestamp
    if last is not None:
        for entry in (stats.total, *stats.entries.values()):
            for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in [second for second in per_second if second < last - KEPT_S]:
                    del per_second[second]
    if len(stats.history) > MAX_ROWS:
        half = len(stats.history) // 2
        stats.history[:half] = stats.history[:half:2]
