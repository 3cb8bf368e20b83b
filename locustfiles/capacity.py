"""Capacity search: finds the highest number of sessions that the server holds.

    locust -f locustfiles/capacity.py --host http://127.0.0.1:8080 --headless --max-sessions 2000 --chat-length 600

The search doubles the sessions until a load is not held, repeats steps near there until the capacity is known as an
interval, and confirms its lower end. --threshold says what must hold at each step. `chatload options` lists the
settings; docs/capacity.md explains them.
"""

from chatload import CapacityShape, ChatUser


class Customer(ChatUser):
    """A customer in a browser: one chat, one connection, refreshed until it ends."""


class Search(CapacityShape):
    """Sets the number of customers for each step of the search."""
