"""chatload's options on Locust's command line, in its configuration files and in its web UI; and `chatload options`.

The options themselves are declared in `chatload.run.settings`. Imports no Locust: importing that patches the process.
"""

import argparse
import os
import re
import shutil
import socket
import sys
from argparse import Namespace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import click

from chatload.errors import UsageError
from chatload.run.settings import FLAG, Option, OptionGroup, options_of

#: Users have this long (seconds) to end their chats where --stop-timeout is not set: without it Locust kills them in
#: the middle of their chats.
DEFAULT_STOP_TIMEOUT = "5"
#: The address of Locust's web UI where --web-host is not set: Locust's own default is all interfaces, where anybody
#: could start load.
WEB_HOST = "127.0.0.1"
_OWN_GROUPS = (OptionGroup.ARRIVALS, OptionGroup.SWEEP, OptionGroup.CAPACITY)
#: How similar an unknown option must be to a known one to be taken for a misspelling of it.
_CLOSE = 0.8
_checked = False
#: Attribute of the parsed options -> where Locust found its value, if that is not the command line, and its text.
_origins: dict[str, tuple[str, str]] = {}


def add_options(parser: Any, **_: Any) -> None:
    """Declare the options that every locustfile has to Locust's parser, and check what it parses."""
    # Imported here: chatload options and tests of the options need no Locust, whose import patches the process.
    from chatload.swarm.patches.option_units import read_units

    read_units(parser)
    add_group(parser, OptionGroup.RUN)
    parser.set_defaults(stop_timeout=DEFAULT_STOP_TIMEOUT, web_host=WEB_HOST)
    _fail_in_one_line(parser)
    _check_when_parsed(parser)


def _fail_in_one_line(parser: Any) -> None:
    """Let an error of Locust's parser be one line that says what to do.

    Locust names the program by its file, which is __main__.py for `python -m locust`, and for an unknown option it
    adds a line with whatever option is spelt similarly.
    """

    def fail(message: str) -> NoReturn:
        hint = ""
        if unknown := re.match(r"unrecognized arguments: (--?[^\s=]+)", message):
            known = re.findall(r"(?<![\w-])--[a-z][a-z-]+", parser.format_help())
            near = get_close_matches(unknown[1], known, 1, _CLOSE)
            message = f"no such option: {unknown[1]}"
            hint = f"did you mean {near[0]}? " if near else ""
            hint += "chatload options lists chatload's options, locust --help those of Locust"
        print(f"chatload: {UsageError(' '.join(message.split()), hint)}", file=sys.stderr, flush=True)
        raise SystemExit(UsageError.exit_code)

    parser.error = fail


def add_group(parser: Any, group: OptionGroup) -> None:
    """Declare the options of a group to Locust's parser, with their environment variables.

    Locust's own start form has none of them: it would set them back to the command line's values before each run.
    chatload's form has them (`chatload.swarm.start_form`).
    """
    for option in options_of(group):
        option.add_to(parser, env_var=option.variable or None, include_in_web_ui=False)
    if group is OptionGroup.SWEEP:  # its intervals are parts of the timeout
        parser.set_defaults(refresh_policy="fraction")


# -- checks before Locust starts -------------------------------------------------------------------


def _check_when_parsed(parser: Any) -> None:
    """Check the options that `parser` parses first.

    Locust has no event between reading its command line and forking workers or opening ports, where a mistake makes it
    print a traceback and exit with 1. So the parser is wrapped. Locust parses again for the web UI, when its ports are
    open: that is not checked.
    """
    if "locust.main" not in sys.modules:  # not the locust command: only the options are wanted
        return
    parse = parser.parse_args

    def parse_and_check(*args: Any, **named: Any) -> Any:
        global _checked
        options = parse(*args, **named)
        if not _checked:
            _checked = True
            _note_origins(parser)
            try:
                check(options)
            except UsageError as error:
                print(f"chatload: {error}", file=sys.stderr, flush=True)
                raise SystemExit(error.exit_code) from None
        return options

    parser.parse_args = parse_and_check


def _note_origins(parser: Any) -> None:
    for source, found in parser.get_source_to_settings_dict().items():
        kind, _, file = source.partition("|")
        for name, (action, text) in found.items():
            if kind == "config_file" and action is not None:
                _origins[action.dest] = Path(file).name, str(text)
            elif kind == "environment_variables":
                _origins[action.dest] = f"the environment ({name})", str(text)


def place_of(option: Option, value: Any) -> str:
    """Return where the value of an option was given; "" if that is not known, as for a form of the web UI."""
    place, text = _origins.get(option.dest, ("", ""))
    return place if place and option.value(text) == value else ""


def check(options: Namespace) -> None:
    """Raise UsageError where Locust cannot start with these of its own options."""
    # 1 is Locust's default. 0 says that failed requests are no error, which is so here.
    if options.exit_code_on_error not in (0, 1):
        raise UsageError(
            f"--exit-code-on-error {options.exit_code_on_error} cannot be obeyed: chatload's exit codes are fixed "
            "(0 passed or not judged, 1 a threshold failed, 2 wrong usage, 3 invalid run, 4 inconclusive)",
            "leave it out, and say with --threshold how many requests may fail",
        )
    if options.worker:
        return
    if options.master or options.processes:
        hint = "give this run its own: --master-bind-port N, and --master-port N for its workers"
        _check_port("--master-bind-host", options.master_bind_host, options.master_bind_port, hint)
    if not options.headless or options.headful:
        _check_port("--web-host", options.web_host, options.web_port, "give this run its own: --web-port N")


def _check_port(option: str, host: str, port: int, hint: str) -> None:
    """Raise UsageError where this process cannot listen there. port: 0 is any."""
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


# -- chatload options ------------------------------------------------------------------------------


@click.command(name="options")
@click.option("--markdown", is_flag=True, help="Print the page docs/options.md.")
def options_command(markdown: bool) -> None:
    """List chatload's options of every locustfile.

    Locust prints its --help before it reads the locustfile, so they are not in it.

    \b
    Example: chatload options
    """
    click.echo(_page() if markdown else _help(), nl=False)


def _help() -> str:
    width = shutil.get_terminal_size((80, 24)).columns
    parser = argparse.ArgumentParser(
        prog="locust -f locustfiles/chat.py",
        usage="locust -f locustfiles/chat.py --host URL [-u N -r R -t TIME] [OPTIONS]",
        description="Beside Locust's own options (locust --help). A duration is in seconds, or has a unit: 250ms, 45s, "
        "8m, 1h30m. A share is 0.5 or 50%. A rate is per second, or has a unit: 20/s, 600/min, 4000/h. A number may "
        "be 4,000. Locust's own -u, -r, -t and -s take the same.",
        epilog="Each (but --insecure) also from the environment as CHATLOAD_..., such as "
        "CHATLOAD_REFRESH_POLICY=deadline, from locust.conf, from [tool.locust] of pyproject.toml, and in the web UI.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=width),
        add_help=False,
    )
    for option in options_of(OptionGroup.RUN):
        option.add_to(parser)
    for group in _OWN_GROUPS:
        section = parser.add_argument_group(f"of {group}")
        for option in options_of(group):
            option.add_to(section)
    return parser.format_help()


def _page() -> str:
    """docs/options.md: every option with its environment variable and default."""
    lines = [
        "# Options",
        "",
        "chatload's options of its locustfiles, beside Locust's own (`locust --help`). Each can also be set by its "
        "environment variable, in `locust.conf`, in `[tool.locust]` of `pyproject.toml`, and in Locust's web UI.",
        "",
        "A duration is in seconds, or has a unit: `250ms`, `45s`, `8m`, `1h30m` (also `us`, `d`). A share is `0.5` or "
        "`50%`. A rate is per second, or has a unit: `20/s`, `600/min`, `4000/h`. A number may be `4,000`. "
        "Locust's own `-u`, `-r`, `-t` and `-s` take the same units.",
        "",
        "This page is made by `chatload options --markdown`.",
    ]
    for group in (OptionGroup.RUN, *_OWN_GROUPS):
        lines += ["", f"## Of {group}", "", "| option | meaning | environment variable |", "|---|---|---|"]
        for option in options_of(group):
            value = "" if option.kind is FLAG else " " + ("\\|".join(filter(None, option.choices)) or option.metavar)
            web = "" if option.web_ui else " Not in the web UI."
            text = option.help.replace("%%", "%").replace("|", "\\|")
            variable = f"`{option.variable}`" if option.variable else "none: for one run only"
            lines.append(f"| `{option.flag}{value}` | {text}{web} | {variable} |")
    return "\n".join(lines) + "\n"
