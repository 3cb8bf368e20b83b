"""`chatload doctor`: checks whether this machine and the way to the host are ready for a run."""

import math
from typing import Any

import click

from chatload import exit_codes, units
from chatload.click_types import COUNT, QuantityType
from chatload.features.doctor.host import TIMEOUT_S, check_host, examine
from chatload.features.doctor.machine import PlannedLoad, check_machine, read_machine
from chatload.features.doctor.view import doctor_document, to_dict, worst
from chatload.progress import CommandProgress
from chatload.protocol.dialect import load_dialect
from chatload.render.output import deliver

_INTERVAL = units.DURATION.within(0.01, math.inf, "a duration from 10ms on, such as 3s")
_LENGTH = units.DURATION.within(0.1, math.inf, "a duration from 100ms on, such as 60s or 8m")


@click.command(short_help="Check whether this machine and the host are ready for a run.")
@click.option("--host", metavar="URL", help="Also examine the way to this host, and open one chat on it.")
@click.option("--users", type=COUNT, default=100, show_default=True, help="Chats at a time.")
@click.option(
    "--processes", type=COUNT, default=1, show_default=True,
    help="Processes of the generator on this machine.",
)  # fmt: skip
@click.option(
    "--refresh-interval", "interval_s", type=QuantityType(_INTERVAL), default=3.0, show_default=True,
    help="Time between two GetMessages of a chat.",
)  # fmt: skip
@click.option(
    "--chat-length", "chat_length_s", type=QuantityType(_LENGTH), default=60.0, show_default=True,
    help="Mean length of a chat.",
)  # fmt: skip
@click.option("--service", default="default", show_default=True, metavar="NAME", help="The chat service's name.")
@click.option(
    "--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE",
    help="The dialect of the service: a built-in one, or a .toml file.",
)  # fmt: skip
@click.option(
    "--target-owner-agrees", "agreed", multiple=True, metavar="HOST",
    help="Its owner agrees to load on this host: needed where it is not loopback or private.",
)  # fmt: skip
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Certificate authorities to trust (PEM).")
@click.option("--client-cert", type=click.Path(exists=True, dir_okay=False), help="Client certificate and key (PEM).")
@click.option("--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option("--run-dir", default="reports", show_default=True, metavar="DIR", help="Where runs will be written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    host: str | None,
    service: str,
    dialect: str,
    agreed: tuple[str, ...],
    ca_file: str | None,
    client_cert: str | None,
    insecure: bool,
    run_dir: str,
    as_json: bool,
    **load: Any,
) -> int:
    """Check whether this machine is ready for a run of this many chats, and name the command that corrects what is not.

    Checks limits on files and ports, cores and their load, clocks, memory, disk and versions. With --host also name,
    connection and certificate, and one chat: RequestChat, then Disconnect.

    Exit codes: 0 nothing bad, 1 something bad, 2 wrong usage.

    \b
    Examples: chatload doctor --users 5000
              chatload doctor --host https://chat.example --users 500
    """
    spoken, wish = load_dialect(dialect), PlannedLoad(**load)
    rows = check_machine(read_machine(run_dir), wish)
    if host:
        with CommandProgress() as progress, progress.waiting(f"examining the host, each step {TIMEOUT_S:g} s at most"):
            facts = examine(host, spoken, service, agreed, ca_file, client_cert, insecure)
        rows += check_host(facts)
    deliver(doctor_document(rows), to_dict(rows, wish.users, wish.processes) if as_json else None)
    return exit_codes.THRESHOLD_FAILED if worst(rows) == "bad" else exit_codes.PASSED
