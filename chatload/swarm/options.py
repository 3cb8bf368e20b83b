"""chatload's settings as Locust options: flag, environment, locust.conf, [tool.locust], web UI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatload.swarm.option_list import OF_ONE_RUN, OF_THE_PROCESS, declare, declare_arrivals, variable
from chatload.swarm.start_checks import check_when_parsed

#: Users are given this long (seconds) to say goodbye where --stop-timeout is not set: without it
#: Locust kills them in the middle of their chats.
DEFAULT_STOP_TIMEOUT = "5"
#: Where Locust's web UI listens where --web-host is not set.
WEB_HOST = "127.0.0.1"


def add_options(parser: Any, **_: Any) -> None:
    """Register every option of every chatload locustfile. Times are seconds, floats allowed."""
    declare(adder(parser))
    # Locust's web UI, where anybody could start load, listens on all interfaces unless told otherwise.
    parser.set_defaults(stop_timeout=DEFAULT_STOP_TIMEOUT, web_host=WEB_HOST)
    check_when_parsed(parser)


def add_arrival_options(parser: Any, **_: Any) -> None:
    """Register the options of locustfiles with sources: those of others have nothing to do with them."""
    declare_arrivals(adder(parser))


def adder(parser: Any) -> Callable[..., None]:
    """What adds one option to Locust's parser, with its environment variable and its place in the web UI."""

    def add(flag: str, default: Any, text: str, **more: Any) -> None:
        in_ui = flag not in OF_THE_PROCESS
        env = None if flag in OF_ONE_RUN else variable(flag)
        parser.add_argument(flag, default=default, env_var=env, include_in_web_ui=in_ui, help=text, **more)

    return add
