"""chatload's options of every locustfile, as data. Imports no Locust: importing that patches the process."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from typing import Any

import click

from chatload.chat.sweep import DEFAULT_SWEEP
from chatload.swarm.capacity_options import declare_capacity
from chatload.thresholds.gate import GATES


class Listed(argparse._AppendAction):
    """A repeatable option whose value is one text, "; " between what was given: the web UI can show no list."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """One more; the first replaces the default."""
        given = getattr(namespace, f"_{self.dest}", [])
        setattr(namespace, f"_{self.dest}", [*given, values])
        setattr(namespace, self.dest, "; ".join([*given, values]))


#: Options that belong to the process and not to a run: the web UI comes too late for them.
OF_THE_PROCESS = frozenset({"--prometheus-port", "--prometheus-host"})
#: Said for one run only: an environment that says it says it of every run.
OF_ONE_RUN = frozenset({"--insecure"})


def listed(text: str | None) -> list[str]:
    """What a Listed option holds, one by one."""
    return [part.strip() for part in (text or "").split(";") if part.strip()]


def declare(add: Callable[..., Any]) -> None:
    """Call `add(flag, default, help, **argparse settings)` for every option, in order."""
    add("--flex-disconnect-timeout", "45", "The server's flex-disconnect-timeout: the longest silence it "
        "forgives, 1 to 1728000 s. Default 45, the server's own default.", metavar="S")  # fmt: skip
    add("--persona", "strict", "Whose wire behaviour: strict (by the status table) or widget (the vendor's browser "
        "client, request for request: polls every 3 s, gives up after 3 s).", choices=["strict", "widget"])  # fmt: skip
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
    add("--transport", "lean", "lean (fast, exact instants) or requests (for proxies).",
        choices=["lean", "requests"])  # fmt: skip
    add("--ca-file", "", "Authorities to believe in place of the system's, PEM.", metavar="FILE")
    add("--connections", "0", "The chats of a process share so many connections, as behind a reverse proxy; a chat "
        "that waits for one is late by that. 0: each has its own.", metavar="N")  # fmt: skip
    add("--client-cert", "", "Our own certificate and its key in one file, PEM.", metavar="FILE")
    add("--insecure", False, "Do not verify the server's certificate, for this run; its reports say so.",
        action="store_true")  # fmt: skip
    add("--target-owner-agrees", "", "The owner of this host agrees to load on it: needed of every --host that is not "
        "loopback or private; repeatable, or ';' between.", metavar="HOST", action=Listed)  # fmt: skip
    add("--max-sessions", "", "Never have more sessions open than this. chatload.toml may lock it.", metavar="N")
    add("--max-requests-per-s", "", "Refuse a run that plans for more requests per second, and stop one that makes "
        "more. chatload.toml may lock it.", metavar="R")  # fmt: skip
    add("--request-timeout", "", "Total time one call may take. Default: the smaller of 10 and half the "
        "timeout.", metavar="S")  # fmt: skip
    add("--long-poll", "", "The server may hold a GetMessages for so long, s. Default: what the dialect says, 0 "
        "for gms-v2.", metavar="S")  # fmt: skip
    add("--chat-seed", "0", "Seed of what customers do.", metavar="N")
    add("--gate", "", "standard: thresholds that any chat service should meet (docs/ci.md). A --threshold about the "
        "same metric takes the place of one.", choices=["", *GATES])  # fmt: skip
    add("--threshold", "", "What must hold, such as 'dropped_late.rate < 0.1%%' or 'GetMessages.latency.p99 < "
        "300ms'; repeatable, or ';' between. See chatload thresholds.", metavar="EXPR", action=Listed)  # fmt: skip
    add("--confidence", "95", "Confidence that thresholds demand, in %%.", metavar="PERCENT")
    add("--allow-inconclusive", False, "A threshold that too few sessions leave undecided does not fail the run. "
        "Where no session was accepted, nothing was tested all the same.", action="store_true")  # fmt: skip
    add("--abort-on", "", "A threshold whose loss ends the run early, such as 'dropped_late.rate < 5%%'; repeatable. "
        "A run that meets it is given up with a chance of 5 %% at most.", metavar="EXPR", action=Listed)  # fmt: skip
    add("--prometheus-port", "0", "Serve metrics for Prometheus at this port. 0: do not.", metavar="PORT")
    add("--prometheus-host", "127.0.0.1", "The address --prometheus-port is opened on.", metavar="ADDRESS")
    add("--keep-windows", "86400", "Windows older than this are folded together, the older the more; 0 keeps each. "
        "Default 86400, a day.", metavar="S")  # fmt: skip
    add("--run-dir", "", "Folder for the run's files. Default: reports/<UTC time>-<name>.", metavar="DIR")


def declare_arrivals(add: Callable[..., Any]) -> None:
    """The same for the options of the open workload."""
    add("--arrival-rate", "", "Chats arrive at this rate, per second, of all users together.", metavar="PER_S")
    add("--arrival-profile", "", "Chats arrive at a rate that changes over time: a .csv file (docs/workloads.md). The "
        "run ends with its last chat.", metavar="FILE")  # fmt: skip
    add("--arrival-compress", "", "The profile's time runs so many times as fast, at the same rates: 24 makes an "
        "hour of a day.", metavar="X")  # fmt: skip
    add("--max-open", "", "So many chats may be open in one process; what arrives beyond is counted as not started. "
        "Default: what the limit of open files leaves room for.", metavar="N")  # fmt: skip


def declare_sweep(add: Callable[..., Any]) -> None:
    """The same for the option of the interval sweep."""
    add("--sweep", DEFAULT_SWEEP, "Refresh intervals to sweep, parts of the timeout; beyond 1 on purpose. All at once, "
        "in permuted blocks.", metavar="X,X,...")  # fmt: skip


def variable(flag: str) -> str:
    """The environment variable that sets an option."""
    return "CHATLOAD_" + flag.strip("-").replace("-", "_").upper()


@click.command()
def options() -> None:
    """List chatload's options of every locustfile.

    Locust prints its --help before it reads the locustfile, so ours are not in it.
    """
    width = shutil.get_terminal_size((80, 24)).columns
    parser = argparse.ArgumentParser(
        prog="locust -f locustfiles/chat.py",
        usage="locust -f locustfiles/chat.py --host URL [-u N -r R -t TIME] [OPTIONS]",
        description="Beside Locust's own options (locust --help). Times are seconds, floats allowed.",
        epilog="Each (but --insecure) also from the environment as CHATLOAD_..., such as "
        "CHATLOAD_REFRESH_POLICY=deadline, from locust.conf, from [tool.locust] of pyproject.toml, and in the web UI.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=width),
        add_help=False,
    )
    declare(lambda flag, default, text, **more: parser.add_argument(flag, help=text, **more))
    of_arrivals = parser.add_argument_group("of locustfiles/arrivals.py")
    declare_arrivals(lambda flag, default, text, **more: of_arrivals.add_argument(flag, help=text, **more))
    of_sweep = parser.add_argument_group("of locustfiles/interval_sweep.py")
    declare_sweep(lambda flag, default, text, **more: of_sweep.add_argument(flag, help=text, **more))
    capacity = parser.add_argument_group("of locustfiles/capacity.py")
    declare_capacity(lambda flag, default, text, **more: capacity.add_argument(flag, help=text, **more))
    click.echo(parser.format_help(), nl=False)
