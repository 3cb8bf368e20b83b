"""A load that changes over time, with Locust's LoadTestShape: 10 customers, then 30, then 10 again.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/load_shape.py --host http://127.0.0.1:8080 --headless --flex-disconnect-timeout 5

The run ends when the last stage ends. The report shows the sessions over time.
"""

from locust import LoadTestShape

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a browser."""


class Peak(LoadTestShape):
    """Returns (users, users started per second) for each second of the run, and None at its end."""

    stages = ((1, 10), (2, 30), (3, 10))  # (until this second, number of users)

    def tick(self):
        for until, users in self.stages:
            if self.get_run_time() < until:
                return users, 30
        return None
