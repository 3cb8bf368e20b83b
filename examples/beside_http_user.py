"""Chats and visitors of the web site in one run: a ChatUser beside Locust's HttpUser.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/beside_http_user.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

Locust's statistics show the requests of both. chatload's thresholds and verdicts are about chats. Its reports say in
one line how many requests of the visitors failed, and an exception in their code makes the run invalid.
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
        # A bad answer is a failed request. An exception instead would make the run invalid.
        with self.client.get("/simulator/status", catch_response=True) as answer:
            if "live_sessions" not in answer.text:
                answer.failure("no status")
