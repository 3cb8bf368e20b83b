"""Customers that send what the vendor's browser client sends, request for request.

    chatload simulator --flex-disconnect-timeout 5
    locust -f examples/widget_persona.py --host http://127.0.0.1:8080 --headless -u 20 -r 20 -t 30s \
           --flex-disconnect-timeout 5

The locustfile changes the default of --persona; the command line, the environment and locust.conf still override it.
docs/personas.md compares the two personas.
"""

from locust import events

from chatload import ChatUser


class Customer(ChatUser):
    """A customer with the vendor's widget."""


@events.init_command_line_parser.add_listener
def set_defaults(parser, **_):
    parser.set_defaults(persona="widget")
