"""How many sessions the server carries: doubles them until something gives, narrows it down, and holds it again.

    locust -f locustfiles/capacity.py --host http://127.0.0.1:8080 --headless --max-sessions 2000 --chat-length 600

What must hold at each step is --threshold; `chatload options` lists the settings, docs/capacity.md explains them.
"""

from chatload.features.capacity.load import CapacityShape
from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


class Search(CapacityShape):
    """As many customers as the search wants."""
