"""What is refused before Locust forks workers and opens ports: Locust would print a traceback, and exit with 1.

Locust has no event between reading its command line and both of them, so the parser itself is wrapped.
"""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace
from typing import Any

from chatload.errors import UsageError

_EXIT_CODES = "0 passed or not judged, 1 a threshold failed, 2 wrong usage, 3 invalid run, 4 inconclusive"
_checked = False


def check_when_parsed(parser: Any) -> None:
    """Have what `parser` parses first checked. Locust parses again for the web UI, when its ports are open."""
    if "locust.main" not in sys.modules:  # no locust command: somebody asks for the options only
        return
    parse = parser.parse_args

    def parse_and_check(*args: Any, **named: Any) -> Any:
        global _checked
        options = parse(*args, **named)
        if not _checked:
            _checked = True
            try:
                check(options)
            except UsageError as error:
                print(f"chatload: {error}", file=sys.stderr, flush=True)
                raise SystemExit(error.exit_code) from None
        return options

    parser.parse_args = parse_and_check


def check(options: Namespace) -> None:
    """Raises UsageError where these options of Locust's cannot be obeyed."""
    _check_exit_code(options.exit_code_on_error)
    if options.worker:
        return
    if options.master or options.processes:
        hint = "give this run its own: --master-bind-port N, and --master-port N for its workers"
        _check_port("--master-bind-host", options.master_bind_host, options.master_bind_port, hint)
    if not options.headless or options.headful:
        _check_port("--web-host", options.web_host, options.web_port, "give this run its own: --web-port N")


def _check_exit_code(code: int) -> None:
    # 1 is Locust's default. 0 says that failed requests are no error, which is so here.
    if code not in (0, 1):
        raise UsageError(
            f"--exit-code-on-error {code} cannot be obeyed: chatload's exit codes are fixed ({_EXIT_CODES})",
            "leave it out, and say with --threshold how many requests may fail",
        )


def _check_port(option: str, host: str, port: int, hint: str) -> None:
    """Whether this process may listen there. port: 0 is any."""
    try:
        rows = socket.getaddrinfo("0.0.0.0" if host in ("*", "") else host, port, type=socket.SOCK_STREAM)
        family, kind, proto, _, address = rows[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except socket.gaierror:
        raise UsageError(f"{option} {host}: name not resolved", "give an address of this machine") from None
    except OSError as error:
        where = f"{option.replace('host', 'port')} {port}" + ("" if host in ("*", "") else f" of {host}")
        raise UsageError(f"{where} cannot be listened on: {os.strerror(error.errno or 0).lower()}", hint) from None
