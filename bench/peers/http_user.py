"""The naive Locust script: HttpUser, that is `requests`."""

from locust import HttpUser

import bench.peers.beat  # noqa: F401, its listener registers itself
from bench.peers.life import Life


class Customer(Life, HttpUser):
    """A customer who says nothing."""

    tasks = (Life.refresh,)
