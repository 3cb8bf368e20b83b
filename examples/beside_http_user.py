"""Chats and visitors of the web site in one run: a ChatUser beside Locust's HttpUser.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/beside_http_user.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

Locust's statistics show the requests of both. chatload's report, thresholds and exit code are about chats only.
"""

from locust import HttpUser, constant, task

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a chat."""

    weight = 3


class Visitor(HttpUser):
    """Reads a page every second. Here the page is the simulator's status."""

    weight = 1
    wait_time = constant(1)

    @task
    def read(self):
        self.client.get("/simulator/status")
