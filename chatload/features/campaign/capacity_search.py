"""The workload of a campaign's capacity step: the same as locustfiles/capacity.py, shipped with the package."""

import logging
from typing import Any

from locust import events

from chatload.features.capacity.load import CapacityShape
from chatload.swarm.user import ChatUser


class SearchCustomer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


class CampaignSearch(CapacityShape):
    """Sets the number of customers for each step of the search."""


@events.init.add_listener
def _quiet(**_: Any) -> None:
    """Hide Locust's own tables: the run has their figures."""
    logging.getLogger("locust.stats_logger").disabled = True
