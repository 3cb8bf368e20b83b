"""All chats of a process share four connections, as behind a reverse proxy.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/shared_connections.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

Without --connections each chat has a connection of its own, as each browser has. A refresh that waits for a free
connection is late by that time, and the report counts it as lateness of the generator.
"""

from locust import events

from chatload import ChatUser


class Customer(ChatUser):
    """A customer behind a proxy."""


@events.init_command_line_parser.add_listener
def set_defaults(parser, **_):
    parser.set_defaults(connections=4)
