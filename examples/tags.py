"""Choose customers by tag: `--tags vip` runs one of the two classes below, `--tags chat` both.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/tags.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --chat-length 1 --tags vip

Every chat has the tag `chat`, so `--exclude-tags chat` leaves the users of another kind beside them.
"""

from locust import tag

from chatload import ChatUser


@tag("vip")
class Vip(ChatUser):
    """A customer with the tag `vip`."""


class Customer(ChatUser):
    """Any other customer."""
