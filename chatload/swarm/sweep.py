"""The sweep's own Locust option; its defaults are those of an interval sweep."""

from __future__ import annotations

from typing import Any

from locust import events

from chatload.swarm import options
from chatload.swarm.option_list import declare_sweep

__all__ = ["options"]  # whose parser listener must come first, for the defaults set here


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    declare_sweep(options.adder(parser))
    parser.set_defaults(refresh_policy="fraction")
