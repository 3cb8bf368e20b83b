"""Two kinds of customers in one run: three of four come back at once, one of four takes a break.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/user_classes.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --chat-length 1

Locust distributes the users by `weight`. The options of chatload apply to all classes of a run.
"""

from locust import constant

from chatload import ChatUser


class Busy(ChatUser):
    """Opens a new chat as soon as the last one has ended."""

    weight = 3


class Occasional(ChatUser):
    """Opens a new chat two seconds after the last one has ended."""

    weight = 1
    wait_time = constant(2)
