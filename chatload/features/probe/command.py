"""`chatload probe`: measures how long a server lets a chat be silent."""

from pathlib import Path
from typing import Any

import click

from chatload import exit_codes
from chatload.click_types import COUNT, DURATION, DURATION_OR_0, INTEGER
from chatload.errors import UsageError, UserInterruptError
from chatload.features.probe.evidence import DEFAULT_CHATS, LONGEST_S, MAX_CHATS, MIN_CHATS, chats_within, make_settings
from chatload.features.probe.measurement import measurement, probe_document
from chatload.protocol.dialect import load_dialect
from chatload.protocol.encode import Encoder
from chatload.render.output import deliver
from chatload.target import read_rules, require_agreed


@click.command(short_help="Measure the flex-disconnect-timeout of a server.")
@click.option("--host", required=True, metavar="URL", help="URL of the server: http://HOST[:PORT][/PREFIX].")
@click.option("--service", default="default", show_default=True, metavar="NAME", help="The service's name in the URL.")
@click.option(
    "--dialect", default="gms-v2", show_default=True, metavar="NAME_OR_FILE",
    help="The dialect of the service: a built-in one, or a .toml file.",
)  # fmt: skip
@click.option(
    "--flex-disconnect-timeout", "configured_s", type=DURATION,
    help="The configured timeout. Silences go up to 1.5 times this; a different result is a warning.",
)  # fmt: skip
@click.option(
    "--longest", "longest_s", type=DURATION,
    help=f"The longest silence to try. Default: from the option above, else {LONGEST_S:g} s.",
)  # fmt: skip
@click.option(
    "--time-allowed", "time_allowed_s", type=DURATION,
    help="Time limit, without the goodbyes. Default: three times the longest silence plus 15 s.",
)  # fmt: skip
@click.option(
    "--sessions", "chats", type=COUNT, default=DEFAULT_CHATS, show_default=True,
    help=f"Chats to open at most, {MIN_CHATS} to {MAX_CHATS}. More give narrower bounds.",
)  # fmt: skip
@click.option(
    "--ended-for", "ended_for_s", type=DURATION_OR_0, default=0.0,
    help="How long to ask ended chats whether they are still known. Default: as long as the rest takes.",
)  # fmt: skip
@click.option(
    "--request-timeout", "request_timeout_s", type=DURATION, default=5.0, show_default=True,
    help="Total time of one request.",
)  # fmt: skip
@click.option("--seed", type=INTEGER, default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--ca-file", metavar="FILE", help="Certificate authorities to trust in place of the system's (PEM).")
@click.option("--client-cert", metavar="FILE", help="Client certificate and its key in one file (PEM).")
@click.option(
    "--target-owner-agrees", "agreed", multiple=True, metavar="HOST",
    help="The owner of HOST agrees to this: needed unless it is loopback or private. Repeatable.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write it as one HTML page too.")
def probe(
    host: str,
    service: str,
    dialect: str,
    ca_file: str | None,
    client_cert: str | None,
    agreed: tuple[str, ...],
    as_json: bool,
    html: Path | None,
    **limits: Any,
) -> int:
    """Measure how long a server lets a chat be silent before it drops it.

    Opens many chats at a time that are silent for different times, then tests the timeout between the survivors and the
    dropped chats closely. Measures

    \b
    - the timeout, with bounds that hold whatever the network did meanwhile;
    - how coarse the server's sweep is: how much longer than that a chat may live;
    - whether SendMessage, StartTyping and a failed request reset the clock;
    - what a dropped chat answers (0/true or 2), and for how long it stays known.

    Takes one to four timeouts, and first prints how many chats it will open. The ceilings of chatload.toml lower
    this number. Their messages say "chatload probe". Ctrl-C disconnects them. docs/probe.md describes the method and
    its limits.

    Exit codes: 0 measured, 4 no timeout within the time allowed, 2 wrong usage or no service there,
    130 interrupted.

    \b
    Examples: chatload probe --host https://chat.example --service support
              chatload probe --host URL --flex-disconnect-timeout 45 --json
    """
    from chatload.features.probe.load import ProbeRunner, hide_interrupts
    from chatload.swarm.checks import check_service
    from chatload.transport import Endpoint, make_factory

    rules = read_rules()
    limits["chats"] = chats_within(limits["chats"], rules.max_sessions, rules.max_requests_per_s)
    settings = make_settings(**limits)
    for name, path in (("--ca-file", ca_file), ("--client-cert", client_cert)):
        if path and not Path(path).is_file():
            raise UsageError(f"{name} {path}: no such file")
    spoken = load_dialect(dialect)
    encoder = Encoder(spoken, service)
    endpoint = Endpoint(host, ca_file=ca_file, client_cert=client_cert)
    endpoint.admits = require_agreed(endpoint.host, agreed, rules)
    open_transport = make_factory("lean", endpoint)
    hide_interrupts()
    check_service(
        encoder, open_transport, settings.request_timeout_s, endpoint.url, service,
        login="a header of --dialect (docs/running.md)",  # a probe takes no locustfile, so it has no hooks
    )  # fmt: skip
    click.echo(settings.announcement(), err=True)
    found = measurement(ProbeRunner(settings, encoder, spoken.response, open_transport).run())
    if not found.sessions_opened and not found.interrupted:
        why = next((warning for warning in found.warnings if "could not be opened" in warning), "no chat was opened")
        raise UsageError(why, "check that the service takes chats, and --service")
    deliver(probe_document(found), found.to_dict() if as_json else None, html_file=html)
    if found.interrupted:
        raise UserInterruptError("interrupted", f"{found.sessions_opened} chats were opened and have disconnected")
    return exit_codes.INCONCLUSIVE if found.timeout_s is None else exit_codes.PASSED
