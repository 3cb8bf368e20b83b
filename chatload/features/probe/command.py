"""`chatload probe`: measures how long a server lets a chat be silent."""

from __future__ import annotations

from pathlib import Path

import click

from chatload import exit_codes
from chatload.errors import UsageError
from chatload.features.probe.evidence import ProbePhase
from chatload.features.probe.measurement import Measurement, measurement
from chatload.features.probe.probe import Probe
from chatload.features.probe.settings import (
    DEFAULT_CHATS,
    LONGEST_S,
    MAX_CHATS,
    MIN_CHATS,
    ProbeSettings,
    make_settings,
)
from chatload.features.probe.view import probe_document
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.render.output import deliver
from chatload.target import require_agreed

_INTERRUPTED = 130


@click.command(short_help="Measure the flex-disconnect-timeout of a server.")
@click.option("--host", required=True, metavar="URL", help="URL of the server: http://HOST[:PORT][/PREFIX].")
@click.option("--service", default="default", show_default=True, metavar="NAME", help="The service's name in the URL.")
@click.option(
    "--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE",
    help="The dialect of the service: a built-in one, or a .toml file.",
)  # fmt: skip
@click.option(
    "--flex-disconnect-timeout", "configured", type=float, metavar="S",
    help="The configured timeout. Silences go up to 1.5 times this; a different result is a warning.",
)  # fmt: skip
@click.option(
    "--longest", type=float, metavar="S",
    help=f"The longest silence to try. Default: from the option above, else {LONGEST_S:g} s.",
)  # fmt: skip
@click.option(
    "--time-allowed", type=float, metavar="S",
    help="Time limit, without the goodbyes. Default: three times the longest silence plus 15 s.",
)  # fmt: skip
@click.option(
    "--sessions", type=int, default=DEFAULT_CHATS, show_default=True, metavar="N",
    help=f"Chats to open at most, {MIN_CHATS} to {MAX_CHATS}. More give narrower bounds.",
)  # fmt: skip
@click.option(
    "--ended-for", type=float, default=0.0, metavar="S",
    help="How long to ask ended chats whether they are still known. Default: as long as the rest takes.",
)  # fmt: skip
@click.option(
    "--request-timeout", type=float, default=5.0, show_default=True, metavar="S", help="Total time of one request."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the random numbers.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust in place of the system's (PEM).")
@click.option("--client-cert", metavar="FILE", help="Client certificate and its key in one file (PEM).")
@click.option(
    "--target-owner-agrees", "agreed", multiple=True, metavar="HOST",
    help="The owner of HOST agrees to this: needed unless it is loopback or private. Repeatable.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(
    host: str,
    service: str,
    dialect: str,
    configured: float | None,
    longest: float | None,
    time_allowed: float | None,
    sessions: int,
    ended_for: float,
    request_timeout: float,
    seed: int,
    ca_file: str | None,
    client_cert: str | None,
    agreed: tuple[str, ...],
    as_json: bool,
) -> int:
    """Measure how long a server lets a chat be silent before it drops it.

    Opens many chats at a time that are silent for different times, then tests the timeout between the survivors and the
    dropped chats closely. Measures

    \b
    - the timeout, with bounds that hold whatever the network did meanwhile;
    - how coarse the server's sweep is: how much longer than that a chat may live;
    - whether SendMessage, StartTyping and a failed request reset the clock;
    - what a dropped chat answers (0/true or 2), and for how long it stays known.

    Takes one to four timeouts, and first prints how many chats it will open. Their messages say "chatload probe".
    Ctrl-C disconnects them. docs/probe.md describes the method and its limits.

    Exit codes: 0 measured, 4 no timeout within the time allowed, 2 wrong usage or no service there,
    130 interrupted.

    \b
    Examples: chatload probe --host https://chat.example --service support
              chatload probe --host URL --flex-disconnect-timeout 45 --json
    """
    settings = make_settings(configured, longest, time_allowed, sessions, ended_for, request_timeout, seed)
    found = measurement(_run(settings, host, service, dialect, ca_file, client_cert, agreed))
    if not found.sessions_opened and not found.interrupted:
        why = next((warning for warning in found.warnings if "could not be opened" in warning), "no chat was opened")
        raise UsageError(why, "check that the service takes chats, and --service")
    deliver(probe_document(found), found.to_dict() if as_json else None)
    return _exit_code(found)


def _exit_code(found: Measurement) -> int:
    if found.interrupted:
        return _INTERRUPTED
    return exit_codes.INCONCLUSIVE if found.timeout_s is None else exit_codes.PASSED


def _run(
    settings: ProbeSettings,
    host: str,
    service: str,
    dialect: str,
    ca_file: str | None,
    client_cert: str | None,
    agreed: tuple[str, ...],
) -> Probe:
    from chatload.features.probe.load import ProbeRunner
    from chatload.swarm.checks import check_service
    from chatload.transport import Endpoint, make_factory

    for name, path in (("--ca-file", ca_file), ("--client-cert", client_cert)):
        if path and not Path(path).is_file():
            raise UsageError(f"{name} {path}: no such file")
    spoken = load_dialect(dialect)
    encoder = Encoder(spoken, service)
    endpoint = Endpoint(host, ca_file=ca_file, client_cert=client_cert)
    endpoint.admits = require_agreed(endpoint.host, agreed)
    open_transport = make_factory("lean", endpoint)
    check_service(encoder, open_transport, settings.request_timeout_s, endpoint.url, service)
    click.echo(settings.announcement(), err=True)
    driver = ProbeRunner(settings, encoder, spoken.response, open_transport, _tell)
    return driver.run()


def _tell(running: Probe, elapsed_s: float) -> None:
    board, open_now = running.board, sum(chat.living for chat in running.chats)
    if board.phase is ProbePhase.SEARCHING:
        known = f"silences of {board.longest_survived_s:.2f} s survived so far"
    else:
        known = f"the timeout is between {board.bounds.lower_s:.2f} and {board.bounds.upper_s:.2f} s"
    click.echo(f"{elapsed_s:.0f} s: {open_now} chats open; {known}", err=True)
