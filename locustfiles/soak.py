"""Soak test: constant load for hours or days. The log reports at intervals what has drifted so far.

    locust -f locustfiles/soak.py --host http://127.0.0.1:8080 --headless -u 2000 -r 20 -t 24h --processes 2

The report shows all slow changes. `chatload drift RUN` shows them while the run is still going on.
"""

from chatload import SoakUser


class Customer(SoakUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""
