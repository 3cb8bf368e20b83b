"""`chatload simulator`: the chat service alone, with its settings as options and as keys of a settings file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, Field
from typing import Any, TypeVar

import click

from chatload.errors import FileError, UsageError
from chatload.protocol.dialect import load_dialect
from chatload.protocol.secret import Secret
from chatload.protocol.toml_file import read_toml
from chatload.simulator.http.openapi import document
from chatload.simulator.model.config import SETTINGS, SettingKind, SimulatorConfig, wrong
from chatload.simulator.model.faults import FaultPlan

Command = TypeVar("Command", bound=Callable[..., Any])
#: Kind of setting -> type of the option.
_TYPES: dict[str, Any] = {
    "seconds": float,
    "timeout": float,
    "chance": float,
    "rate": float,
    "count": int,
    "limit": int,
    "text": str,
}
_METAVARS = {"seconds": "S", "timeout": "S", "chance": "0..1", "rate": "X", "count": "N", "limit": "N", "text": "TEXT"}


class SettingsCommand(click.Command):
    """A command whose help lists its settings by group, after its other options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class _SettingOption(click.Option):
    """An option that belongs to a group of settings."""

    def __init__(self, *names: Any, group: str, **more: Any) -> None:
        super().__init__(*names, **more)
        self.group = group


def settings(command: Command) -> Command:
    """Add --config and an option for every setting to a command; `config_of` reads them."""
    for key, setting in reversed(SETTINGS.items()):
        command = _option(key, setting)(command)
    return click.option(
        "--config", "settings_file", metavar="FILE", is_eager=True, expose_value=False, callback=_take_file,
        help="Settings as TOML, by option name: long-poll = 25, agent-wait = [1, 2]. Options override the file.",
    )(command)  # fmt: skip


def config_of(options: dict[str, Any]) -> SimulatorConfig:
    """Return the settings from parsed options, and remove them from `options`. Raises UsageError."""
    values = {}
    for key, setting in SETTINGS.items():
        value = options.pop(setting.name)
        if value != setting.default:
            expected = wrong(key, value)
            if expected:
                shown = " ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else value
                raise UsageError(f"--{key} {shown:g}" if isinstance(shown, float) else f"--{key} {shown}", expected)
        values[setting.name] = value
    return SimulatorConfig(**values)


def _option(key: str, setting: Field[Any]) -> Callable[[Command], Command]:
    kind: SettingKind = setting.metadata["kind"]
    assert setting.default is not MISSING
    more: dict[str, Any] = {"type": _TYPES.get(kind.name), "metavar": _METAVARS.get(kind.name)}
    shown: bool | str
    name, shown = f"--{key}", setting.default is not None
    if kind.name == "switch":
        name, shown = f"--{key}/--no-{key}", "on" if setting.default else "off"
    elif kind.name == "span":
        more = {"type": (float, float), "metavar": "LOW HIGH"}
    elif kind.name == "choice":
        more = {"type": click.Choice(kind.choices)}

    return click.option(
        name, setting.name, cls=_SettingOption, group=setting.metadata["group"], default=setting.default,
        show_default=shown, help=setting.metadata["help"], **more,
    )  # fmt: skip


def _take_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Make the settings of a file the defaults of the options."""
    if path is None:
        return
    values = {}
    for key, value in read_toml(path).items():
        if key not in SETTINGS:
            raise FileError(path, key, "unknown key; expected an option's name, e.g. long-poll (see --help)")
        expected = wrong(key, value)
        if expected:
            raise FileError(path, key, expected)
        values[SETTINGS[key].name] = tuple(value) if isinstance(value, list) else value
    ctx.default_map = {**(ctx.default_map or {}), **values}


@click.command(cls=SettingsCommand, short_help="A chat service with agents, limits and faults.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, metavar="PORT", help="Port to listen on; 0: any free one.")
@click.option("--faults", metavar="FILE", help="Faults as TOML: [[fault]] kind = ..., chance = ...")
@click.option(
    "--dialect",
    default="gms-v2",
    show_default=True,
    metavar="NAME_OR_FILE",
    help="The dialect it speaks: a built-in one, or a .toml file.",
)
@click.option(
    "--apikey",
    metavar="KEY",
    envvar="CHATLOAD_SIMULATOR_APIKEY",
    help="Require this value in the apikey header: without it 401, with a wrong one 403. "
    "Better set in the environment: CHATLOAD_SIMULATOR_APIKEY.",
)
@click.option(
    "--read-timeout",
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds in which the headers of a request, and then its body, must arrive; else 408.",
)
@click.option("--tls-cert", metavar="FILE", help="Serve TLS with this certificate (PEM; the chain after it).")
@click.option("--tls-key", metavar="FILE", help="Key of --tls-cert (PEM, without a password).")
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
    """A chat service with agents, limits and faults. It speaks GMS Chat API Version 2 or another dialect.

    Prints "listening on http://HOST:PORT" (https with --tls-cert) first, then serves until Ctrl-C. GET
    /simulator/ledger streams every chat as NDJSON: each contact, and when and why the chat ended. GET
    /simulator/openapi.json describes the service (OpenAPI 3.1). Pages of any origin may use it (CORS).

    Silence ends a chat in two ways: its client sends no request for too long, or no participant speaks although
    the client polls (inactivity control). S is seconds. [opt] marks an option of Genesys Chat Server, [gms] a rule of
    the GMS Chat API, [client] a behaviour of the vendor's browser client; the others are choices.
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
    from chatload.simulator.http.server import run, tls_context

    tls = None if tls_cert is None or tls_key is None else tls_context(tls_cert, tls_key)
    key = None if apikey is None else Secret(apikey)
    run(config, plan, host, port, click.echo, spoken, key, read_timeout, tls)
