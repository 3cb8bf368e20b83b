"""chatload's settings as Locust options: flag, environment, locust.conf, [tool.locust], web UI."""

from __future__ import annotations

from typing import Any

from locust import events

#: Users are given this long (seconds) to say goodbye where --stop-timeout is not set: without it
#: Locust kills them in the middle of their chats.
DEFAULT_STOP_TIMEOUT = "5"


@events.init_command_line_parser.add_listener
def add_options(parser: Any, **_: Any) -> None:
    """Register every option of every chatload locustfile. Times are seconds, floats allowed."""

    def add(flag: str, default: Any, help: str, **more: Any) -> None:
        env = "CHATLOAD_" + flag.strip("-").replace("-", "_").upper()
        parser.add_argument(flag, default=default, env_var=env, help=help, **more)

    add("--flex-disconnect-timeout", "45", "The server's flex-disconnect-timeout: the longest silence it "
        "forgives, 1 to 1728000 s. Default 45, the server's own default.", metavar="S")  # fmt: skip
    add("--refresh-policy", "fixed", "When GetMessages is sent: fixed (every --refresh-interval, as a "
        "browser does), fraction (of the timeout), deadline (as late as is safe).",
        choices=["fixed", "fraction", "deadline"])  # fmt: skip
    add("--refresh-interval", "", "For fixed: every so many seconds. Default: the smaller of 3 and a "
        "third of the timeout.", metavar="S")  # fmt: skip
    add("--refresh-fraction", "", "For fraction: this part of the timeout. Default 0.5.", metavar="X")
    add("--allow-late-refresh", False, "Let the interval be as long as the timeout or longer, to drop "
        "chats on purpose.", action="store_true")  # fmt: skip
    add("--service", "default", "The chat service's name in the URL.", metavar="NAME")
    add("--dialect", "gms-v2", "How the service names things: a built-in dialect, or a .toml file.",
        metavar="NAME_OR_FILE")  # fmt: skip
    add("--script", "", "What customers do: a .toml file. Default: a short conversation.", metavar="FILE")
    add("--chat-length", "", "Mean length of a chat, exponential, s. Default: the script's (60).", metavar="S")
    add("--chats", "0", "Stop once this many chats have ended. 0: do not.", metavar="N")
    add("--transport", "lean", "lean (fast, exact instants) or requests (proxies, client certificates).",
        choices=["lean", "requests"])  # fmt: skip
    add("--request-timeout", "", "Total time one call may take. Default: the smaller of 10 and half the "
        "timeout.", metavar="S")  # fmt: skip
    add("--chat-seed", "0", "Seed of what customers do.", metavar="N")
    add("--run-dir", "", "Folder for the run's files. Default: reports/<UTC time>-<name>.", metavar="DIR")
    parser.set_defaults(stop_timeout=DEFAULT_STOP_TIMEOUT)
