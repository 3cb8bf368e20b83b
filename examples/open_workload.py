"""Open workload: 10 chats arrive per second on average, however slow the server is.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/open_workload.py --host http://127.0.0.1:8080 --headless -t 30s \
           --flex-disconnect-timeout 5 --arrival-rate 10 --chat-length 2

One Locust user is one source of arrivals; it holds all its chats at once. docs/workloads.md has more.
"""

from chatload import ArrivalUser


class Source(ArrivalUser):
    """A source of arrivals."""
