"""chatload itself: what locustfiles/chat.py is, with the beat."""

import bench.peers.beat  # noqa: F401, its listener registers itself
from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer who says nothing: one chat, one connection, refreshed until the run ends."""
