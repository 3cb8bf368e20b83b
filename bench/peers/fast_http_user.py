"""The Locust script with FastHttpUser, that is geventhttpclient."""

from locust import FastHttpUser

import bench.peers.beat  # noqa: F401, its listener registers itself
from bench.peers.life import Life


class Customer(Life, FastHttpUser):
    """A customer who says nothing."""

    tasks = (Life.refresh,)
