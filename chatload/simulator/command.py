"""`chatload simulator`: the chat server in a box, alone."""

from __future__ import annotations

import json
from typing import Any

import click

from chatload.errors import UsageError
from chatload.protocol.dialect import load_dialect
from chatload.protocol.secret import Secret
from chatload.simulator.http.openapi import document
from chatload.simulator.model.faults import FaultPlan
from chatload.simulator.options import SettingsCommand, config_of, settings


@click.command(cls=SettingsCommand, short_help="A chat service with agents, limits and faults.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, metavar="PORT", help="0 takes any free one.")
@click.option("--faults", metavar="FILE", help="What goes wrong, as TOML: [[fault]] kind = ..., chance = ...")
@click.option(
    "--dialect",
    default="gms-v2",
    show_default=True,
    metavar="NAME_OR_FILE",
    help="How it names things: a built-in dialect, or a .toml file.",
)
@click.option(
    "--apikey",
    metavar="KEY",
    envvar="CHATLOAD_SIMULATOR_APIKEY",
    help="Answer only requests with this in their apikey header: else 401, or 403 for a wrong one. "
    "Better in the environment: CHATLOAD_SIMULATOR_APIKEY.",
)
@click.option(
    "--read-timeout",
    default=10.0,
    show_default=True,
    metavar="S",
    help="A request's headers, and then its body, must be in within this; else 408.",
)
@click.option("--tls-cert", metavar="FILE", help="Speak TLS, with this certificate (PEM; the chain after it).")
@click.option("--tls-key", metavar="FILE", help="... and the key to it (PEM, without a password).")
@click.option("--openapi", is_flag=True, help="Print its OpenAPI document instead of serving.")
@settings
def simulator(
    host: str,
    port: int,
    faults: str | None,
    dialect: str,
    apikey: str | None,
    read_timeout: float,
    tls_cert: str | None,
    tls_key: str | None,
    openapi: bool,
    **options: Any,
) -> None:  # fmt: skip
    """A chat service with agents, limits and faults, that speaks GMS Chat API Version 2 or any dialect.

    Prints "listening on http://HOST:PORT" (https with --tls-cert) first, then serves until Ctrl-C. GET
    /simulator/ledger streams what it saw of every chat, as NDJSON: each contact, when and why the chat ended. GET
    /simulator/openapi.json describes it (OpenAPI 3.1). Pages of any origin may use it (CORS).

    A chat ends for silence in two ways: its client sends no request for too long, or nobody in it
    speaks, however faithfully the client polls (inactivity control). S is seconds; [opt] marks an
    option of Genesys Chat Server, [gms] what the GMS Chat API says, [client] how the vendor's browser
    client takes it; the rest are choices.
    """
    config = config_of(options)
    if not 0 < read_timeout < float("inf"):
        raise UsageError(f"--read-timeout {read_timeout:g}", "expected seconds, above 0")
    if apikey is not None and not (apikey.isascii() and apikey.isprintable() and apikey == apikey.strip() != ""):
        raise UsageError("--apikey is not fit for a header", "expected ASCII text without space around it")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together", "give both, or neither")
    plan = FaultPlan.load(faults) if faults else FaultPlan()
    spoken = load_dialect(dialect, None)
    if openapi:
        click.echo(json.dumps(document(spoken, config.service or "default", apikey is not None), indent=1))
        return
    from chatload.simulator.http.serve import run, tls_context

    tls = None if tls_cert is None or tls_key is None else tls_context(tls_cert, tls_key)
    key = None if apikey is None else Secret(apikey)
    run(config, plan, host, port, lambda line: click.echo(line, nl=True), spoken, key, read_timeout, tls)
