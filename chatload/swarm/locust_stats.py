"""Keeps Locust's own statistics from growing with the length of a run.

Locust 2.47 keeps a count for every second and name for ever (5.7 MB a name and day), of which it reads the last
twelve, and a row of chart data every five seconds (16 MB a day on the master).
"""

from __future__ import annotations

from locust.stats import RequestStats

#: Seconds of per-second counts that are kept: Locust reads the last 12.
KEPT_S = 60
#: Rows of chart data that are kept: an hour of them (0.8 MB), after that the older half is thinned again and again.
MOST_ROWS = 720


def forget_old(stats: RequestStats) -> None:
    """Drop the seconds that nobody reads any more, and every second row of an old half of the charts."""
    last = stats.last_request_timestamp
    if last is not None:
        for entry in (stats.total, *stats.entries.values()):
            for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
                for second in [second for second in per_second if second < last - KEPT_S]:
                    del per_second[second]
    if len(stats.history) > MOST_ROWS:
        half = len(stats.history) // 2
        stats.history[:half] = stats.history[:half:2]
