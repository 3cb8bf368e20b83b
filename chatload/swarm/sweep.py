"""The sweep's own Locust option; its defaults are those of an interval sweep."""

from __future__ import annotations

from locust import events

from chatload.swarm import options, user

__all__ = ["user"]  # whose listener must come first, for the default set by this one

events.init_command_line_parser.add_listener(options.add_sweep_options)
