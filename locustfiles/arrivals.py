"""The open workload: chats arrive at a rate, whether or not earlier ones are done.

    locust -f locustfiles/arrivals.py --host http://127.0.0.1:8080 --headless --arrival-rate 20 -t 5m

Locust's users are sources here, which share the rate: with workers give at least one each (-u 4 -r 4).
`docs/workloads.md` says when to use this and when `chat.py`.
"""

from chatload.swarm.user import ArrivalUser


class Source(ArrivalUser):
    """Where customers come from: each chat is on a connection of its own, refreshed until it ends."""
