"""The sweep's own Locust option; its defaults are those of an interval sweep."""

from __future__ import annotations

from typing import Any

from locust import events

from chatload.session.sweep import DEFAULT_SWEEP
from chatload.swarm import options
from chatload.swarm.option_list import variable

__all__ = ["options"]  # whose parser listener must come first, for the defaults set here


@events.init_command_line_parser.add_listener
def _add_options(parser: Any, **_: Any) -> None:
    parser.add_argument(
        "--sweep", default=DEFAULT_SWEEP, env_var=variable("--sweep"), metavar="X,X,...",
        help="Refresh intervals to sweep, parts of the timeout; beyond 1 on purpose. All at once, in permuted blocks.",
    )  # fmt: skip
    parser.set_defaults(refresh_policy="fraction")
