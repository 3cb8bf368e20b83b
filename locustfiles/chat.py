"""Closed workload: each Locust user holds one chat after another.

    locust -f locustfiles/chat.py --host http://127.0.0.1:8080 --headless -u 100 -r 10 -t 5m

`chatload options` lists chatload's own options.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""
