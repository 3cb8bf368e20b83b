"""The Locust user of an interval sweep, and the option --sweep with its defaults."""

from __future__ import annotations

from typing import Any

from locust import events

from chatload.swarm import options
from chatload.swarm.option_list import declare_sweep
from chatload.swarm.user import ChatUser

__all__ = ["SweepUser"]


class SweepUser(ChatUser):
    """Holds one chat after another, each with one of the refresh intervals of --sweep."""

    abstract = True


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    declare_sweep(options.adder(parser))
    parser.set_defaults(refresh_policy="fraction")
