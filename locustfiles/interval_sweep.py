"""An interval sweep: chats refreshed at several parts of the timeout, all at once, under the same load.

    locust -f locustfiles/interval_sweep.py --host http://127.0.0.1:8080 --headless -u 100 -r 10 --chats 4200 \\
        --flex-disconnect-timeout 45 --sweep 0.5,0.8,0.9,0.95,1.02 --run-dir reports/sweep

`chatload tune --run reports/sweep` reads it; `chatload tune --host URL` runs and reads one.
"""

from chatload.swarm.user import SweepUser


class Customer(SweepUser):
    """A customer in a browser: one chat, one connection, refreshed every so often as its arm has it."""
