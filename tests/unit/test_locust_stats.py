"""Locust's own statistics do not grow with the run, and what it shows of them stays right."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# In a process of its own: importing Locust patches everything.
CODE = """
from locust.stats import RequestStats
from chatload.swarm.locust_stats import forget_old
import time
stats, now = RequestStats(), 1_800_000_000.0
def run(forget):
    time.time = lambda: now
    stats.reset_all()
    for second in range(3000):
        time.time = lambda: now + second
        stats.log_request("CHAT", "GetMessages", 5, 10)
        stats.log_request("CHAT", "GetMessages", 5, 10)
        stats.log_error("CHAT", "GetMessages", ValueError("no"))
        if forget:
            forget_old(stats)
    entry = stats.get("GetMessages", "CHAT")
    seconds = [len(e.num_reqs_per_sec) for e in (entry, stats.total)] + [len(entry.num_fail_per_sec)]
    return seconds, (entry.num_requests, entry.current_rps, entry.current_fail_per_sec, entry.total_rps)
(long, before), (short, after) = run(False), run(True)
assert before == after, (before, after)
assert min(long) >= 3000 and max(short) <= 62, (long, short)
stats.history = [{"time": n} for n in range(20_000)]
for _ in range(20):
    forget_old(stats)
assert 300 < len(stats.history) <= 720 and stats.history[0] == {"time": 0} and stats.history[-1] == {"time": 19_999}
print("fine")
"""


def test_seconds_and_chart_rows_are_bounded_and_rates_unchanged():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fine", done.stderr
