"""The naive Locust script: HttpUser, that is `requests`."""

import bench.peers.beat  # noqa: F401, its listener registers itself
from bench.peers.life import Life
from locust import HttpUser


class Customer(Life, HttpUser):
    """A customer who says nothing."""

    tasks = [Life.refresh]
