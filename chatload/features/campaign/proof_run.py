"""The workload of a campaign's proof: the same as locustfiles/chat.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.swarm.user import ChatUser


class ProofCustomer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


@events.init.add_listener
def _quiet(**_: Any) -> None:
    """Hide Locust's own tables: the run has their figures."""
    logging.getLogger("locust.stats_logger").disabled = True
