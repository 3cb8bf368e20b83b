"""Thresholds that decide the exit code, kept in a configuration file.

    chatload simulator --flex-disconnect-timeout 5
    locust --config examples/thresholds.conf --host http://127.0.0.1:8080

Exit code 0: all thresholds hold. 1: one does not. 4: too few chats to decide. `chatload thresholds` lists the metrics.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a browser."""
