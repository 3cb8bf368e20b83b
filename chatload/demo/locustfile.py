"""The demo's workload: the same as locustfiles/chat.py, shipped with the package."""

from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""
