"""A soak: constant load for hours or days, and now and then in the log what drifts so far.

    locust -f locustfiles/soak.py --host http://127.0.0.1:8080 --headless -u 2000 -r 20 -t 24h --processes 2

What changed slowly is in the report; `chatload drift RUN` tells it of a run that still goes on.
"""

from chatload.swarm.user import SoakUser


class Customer(SoakUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""
