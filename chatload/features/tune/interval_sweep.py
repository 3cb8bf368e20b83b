"""The workload of `chatload tune`: the same as locustfiles/interval_sweep.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.swarm.user import SweepUser


class Customer(SweepUser):
    """A customer in a browser: one chat, one connection, refreshed every so often as its arm has it."""


@events.init.add_listener
def _quiet(**_: Any) -> None:
    """Locust's own tables would stand before the answer; what they hold is in the run."""
    logging.getLogger("locust.stats_logger").disabled = True
