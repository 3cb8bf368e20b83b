"""A load shape with two classes: always 2 watchers, and all other users are customers.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/fixed_count.py --host http://127.0.0.1:8080 --headless --flex-disconnect-timeout 5 --processes 2

`fixed_count` and `weight` are Locust's. The report shows how each class fared.
"""

from locust import LoadTestShape

from chatload import ChatUser


class Watcher(ChatUser):
    """Holds one long chat and looks every quarter of a second."""

    fixed_count = 2
    refresh_interval = "250ms"
    chat_length = "1m"


class Customer(ChatUser):
    """A customer in a browser."""

    chat_length = 1


class Steps(LoadTestShape):
    """4 users, then 10; the end after 3 seconds."""

    def tick(self):
        """Return users and users started per second."""
        seconds = self.get_run_time()
        if seconds < 1:
            return 4, 10
        return (10, 10) if seconds < 3 else None
