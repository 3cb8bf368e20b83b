"""A distributed run: one master and two workers on this machine.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/distributed.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5 --processes 2

One process uses one core. The master writes one run folder for all workers. For workers on other machines replace
--processes by --master, and start there `locust -f examples/distributed.py --worker --master-host HOST`.
"""

from chatload import ChatUser


class Customer(ChatUser):
    """A customer in a browser."""
