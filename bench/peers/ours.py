"""chatload itself: what locustfiles/chat.py is, with the beat."""

import bench.peers.beat
import bench.peers.twice  # noqa: F401, their listeners register themselves
from chatload.swarm.user import ChatUser


class Customer(ChatUser):
    """A customer who says nothing: one chat, one connection, refreshed until the run ends."""
