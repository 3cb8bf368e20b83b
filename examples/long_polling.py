"""Long polling: the server may hold a GetMessages until it has a new event.

    chatload simulator --flex-disconnect-timeout 10 --long-poll 2
    locust -f examples/long_polling.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 10 --long-poll 2

--long-poll says how long the server may hold a request. chatload then waits this much longer for an answer, and counts
a held request as a contact for that time.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """A customer whose polls are held."""
