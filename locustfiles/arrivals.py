"""Open workload: chats arrive at a given rate, whether or not earlier chats have ended.

    locust -f locustfiles/arrivals.py --host http://127.0.0.1:8080 --headless --arrival-rate 20 -t 5m

Each Locust user is a source of arrivals, and all sources share the rate. With workers, start at least one source per
worker, for example -u 4 -r 4. docs/workloads.md compares the open and the closed workload.
"""

from chatload import ArrivalUser


class Source(ArrivalUser):
    """A source of arrivals: each chat has a connection of its own and is refreshed until it ends."""
