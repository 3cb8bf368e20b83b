"""The workload of `chatload tune`: the same as locustfiles/interval_sweep.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.swarm.user import SweepUser


class SweepCustomer(SweepUser):
    """A customer in a browser: one chat, one connection, refreshed at the interval of its arm."""


@events.init.add_listener
def _quiet(**_: Any) -> None:
    """Hide Locust's own tables: they would be printed before the answer, and the run has their figures."""
    logging.getLogger("locust.stats_logger").disabled = True
