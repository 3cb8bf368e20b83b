"""Interval sweep: compares several refresh intervals in one run, under the same load.

    locust -f locustfiles/interval_sweep.py --host http://127.0.0.1:8080 --headless -u 100 -r 10 --chats 4200 \
        --flex-disconnect-timeout 45 --sweep 0.5,0.8,0.9,0.95,1.02 --run-dir reports/sweep

Each value of --sweep is a fraction of the timeout. `chatload tune --run reports/sweep` analyses the run;
`chatload tune --host URL` makes such a run and analyses it.
"""

from chatload import SweepUser


class Customer(SweepUser):
    """A customer in a browser: one chat, one connection, refreshed at one of the intervals."""
