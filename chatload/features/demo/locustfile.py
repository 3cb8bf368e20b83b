"""The demo's workload: the same as locustfiles/chat.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


@events.init.add_listener
def _one_table(**_: Any) -> None:
    """The demo shows one table, chatload's; Locust's own statistics are there in every other run."""
    logging.getLogger("locust.stats_logger").disabled = True
