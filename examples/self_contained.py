"""A run that starts its own chat server: no second terminal.

    locust -f examples/self_contained.py --headless -u 20 -r 20 -t 30s

The simulator is a process of its own on a free port, and ends with the run.
"""

import atexit

from locust import events

from chatload import ChatUser, Simulator

simulator = Simulator("--flex-disconnect-timeout", 5, "--agent-leaves-chance", 0.1)
atexit.register(simulator.stop)


class Customer(ChatUser):
    """A customer of the simulator."""


@events.init_command_line_parser.add_listener
def set_defaults(parser, **_):
    parser.set_defaults(host=simulator.url, flex_disconnect_timeout=5.0)
