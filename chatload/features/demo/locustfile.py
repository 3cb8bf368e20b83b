"""The demo's workload: the same as locustfiles/chat.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.swarm.user import ChatUser


class DemoCustomer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


@events.init.add_listener
def _one_table(**_: Any) -> None:
    """Hide Locust's own table: the demo shows only chatload's."""
    logging.getLogger("locust.stats_logger").disabled = True
