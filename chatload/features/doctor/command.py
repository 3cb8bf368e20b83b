"""`chatload doctor`: what stands in the way of a run, on this machine and on the way to the host."""

from __future__ import annotations

import click

from chatload import exit_codes
from chatload.features.doctor.checks import check_host, check_machine, worst
from chatload.features.doctor.facts import Wish
from chatload.features.doctor.reach import Tls, examine
from chatload.features.doctor.reading import read_machine
from chatload.features.doctor.view import doctor_document, to_dict
from chatload.protocol.dialect import load_dialect
from chatload.render.output import deliver


@click.command(short_help="Say what stands in the way of a run, and what mends it.")
@click.option("--host", metavar="URL", help="Also look at the way there, and ask it for one chat.")
@click.option("--users", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="Chats at once.")
@click.option(
    "--processes", type=click.IntRange(1), default=1, show_default=True, metavar="N", help="Of the generator, here."
)
@click.option(
    "--refresh-interval", type=click.FloatRange(0.01), default=3.0, show_default=True, metavar="S",
    help="Between two GetMessages of a chat.",
)  # fmt: skip
@click.option(
    "--chat-length", type=click.FloatRange(0.1), default=60.0, show_default=True, metavar="S", help="Mean, of a chat."
)
@click.option("--service", default="default", show_default=True, metavar="NAME", help="The chat service's name.")
@click.option("--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE", help="How it names things.")
@click.option(
    "--target-owner-agrees", "agreed", multiple=True, metavar="HOST",
    help="Its owner agrees to load on this host: needed where it is not loopback or private.",
)  # fmt: skip
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Authorities to believe, PEM.")
@click.option("--client-cert", type=click.Path(exists=True, dir_okay=False), help="Our certificate and key, PEM.")
@click.option("--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option("--run-dir", default="reports", show_default=True, metavar="DIR", help="Where runs are to be written.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(
    host: str | None,
    users: int,
    processes: int,
    refresh_interval: float,
    chat_length: float,
    service: str,
    dialect: str,
    agreed: tuple[str, ...],
    ca_file: str | None,
    client_cert: str | None,
    insecure: bool,
    run_dir: str,
    as_json: bool,
) -> int:
    """Say what stands in the way of a run of so many chats, and with which command that is mended.

    Looks at limits on files and ports, cores and what else they do, clocks, memory, disk and versions; with --host
    also at name, connection, certificate, and at one chat: RequestChat, and Disconnect at once.

    Exit codes: 0 nothing bad, 1 something is, 2 wrong usage.

    \b
    Examples: chatload doctor --users 5000
              chatload doctor --host https://chat.example --users 500
    """
    spoken = load_dialect(dialect)
    rows = check_machine(read_machine(run_dir), Wish(users, processes, refresh_interval, chat_length))
    if host:
        rows += check_host(examine(host, spoken, service, agreed, Tls(ca_file, client_cert, insecure)))
    deliver(doctor_document(rows), to_dict(rows, users, processes) if as_json else None)
    return exit_codes.THRESHOLD_FAILED if worst(rows) == "bad" else exit_codes.PASSED
