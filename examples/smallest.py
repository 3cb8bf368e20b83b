"""The smallest customer: one class, no settings.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/smallest.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

Each of the 20 users holds one chat after another: it opens a chat, refreshes it, says something, and disconnects.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a browser."""
