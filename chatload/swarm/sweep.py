"""The Locust user of an interval sweep, and the option --sweep with its defaults."""

from __future__ import annotations

from locust import events

from chatload.swarm import options
from chatload.swarm.user import ChatUser

__all__ = ["SweepUser"]


class SweepUser(ChatUser):
    """Holds one chat after another, each with one of the refresh intervals of --sweep."""

    abstract = True


events.init_command_line_parser.add_listener(options.add_sweep_options)
