"""`chatload simulator`: the chat server in a box, alone."""

from __future__ import annotations

from typing import Any

import click

from chatload.simulator.faults import FaultPlan
from chatload.simulator.options import SettingsCommand, config_of, settings


@click.command(cls=SettingsCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port; 0 takes any free one.")
@click.option("--faults", metavar="FILE", help="What goes wrong, as TOML: [[fault]] kind = ..., chance = ...")
@settings
def simulator(host: str, port: int, faults: str | None, **options: Any) -> None:
    """A chat service that speaks GMS Chat API Version 2, with agents, limits and faults.

    Prints "listening on http://HOST:PORT" first, then serves until Ctrl-C. GET /simulator/ledger
    streams what it saw of every chat, as NDJSON: each contact, when and why the chat ended.

    A chat ends for silence in two ways: its client sends no request for too long, or nobody in it
    speaks, however faithfully the client polls (inactivity control). S is seconds; [opt] marks an
    option of Genesys Chat Server, [gms] what the GMS Chat API says, [client] how the vendor's browser
    client takes it; the rest are choices.
    """
    config = config_of(options)
    plan = FaultPlan.load(faults) if faults else FaultPlan()
    from chatload.simulator.shell import run

    run(config, plan, host, port, lambda line: click.echo(line, nl=True))
