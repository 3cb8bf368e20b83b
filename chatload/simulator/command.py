"""`chatload simulator`: the chat service alone, as a command and as a process that tests start.

Its settings are options of the command, and keys of a settings file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import Field
from typing import Any

import click

from chatload.click_types import DURATION, QuantityType
from chatload.errors import ChatloadError, FileError, UsageError
from chatload.plausibility import SIMULATOR_KEY
from chatload.protocol.dialect import load_dialect
from chatload.protocol.toml_file import read_toml
from chatload.simulator.http.openapi import document
from chatload.simulator.model.config import SETTINGS, SimulatorConfig, setting_value, type_of
from chatload.simulator.model.faults import FaultPlan


class _SettingOption(click.Option):
    """The option of one setting. group: the heading under which the help lists it."""

    def __init__(self, key: str, setting: Field[Any]) -> None:
        self.group = setting.metadata["group"]
        python_type, kind = type_of(key)
        name = f"--{key}"
        more: dict[str, Any] = {"type": python_type, "metavar": kind.metavar}
        shown_default: bool | str = setting.default is not None
        if python_type is bool:
            name, more = f"--{key}/--no-{key}", {}
            shown_default = "on" if setting.default else "off"
        elif kind.choices:
            more = {"type": click.Choice(kind.choices)}
        elif kind.quantity is not None:
            quantity = QuantityType(kind.quantity)
            more["type"] = (quantity, quantity) if isinstance(setting.default, tuple) else quantity
        more |= {"default": setting.default, "show_default": shown_default, "help": setting.metadata["help"]}
        super().__init__([name, setting.name], **more)


class _SimulatorCommand(click.Command):
    """The command; its help lists the options of settings by group, after the other options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _config_of(options: dict[str, Any]) -> SimulatorConfig:
    """Return the settings in the parsed options. Raises UsageError."""
    for key, setting in SETTINGS.items():
        value = options[setting.name]
        if value == setting.default:
            continue
        try:
            setting_value(key, value)
        except ValueError as error:
            values = value if isinstance(value, tuple) else (value,)
            shown = " ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in values)
            raise UsageError(f"--{key} {shown}", str(error)) from None
    return SimulatorConfig(**options)


def _take_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Make the settings of a file the defaults of the options."""
    if path is None:
        return
    values = {}
    for key, value in read_toml(path).items():
        if key not in SETTINGS:
            raise FileError(path, key, "unknown key; expected an option's name, e.g. long-poll (see --help)")
        try:
            values[SETTINGS[key].name] = setting_value(key, value)
        except ValueError as error:
            raise FileError(path, key, str(error)) from None
    ctx.default_map = {**(ctx.default_map or {}), **values}


@click.command(cls=_SimulatorCommand, short_help="A chat service with agents, limits and faults.")
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
    envvar=SIMULATOR_KEY,
    help="Require this value in the apikey header: without it 401, with a wrong one 403. "
    f"Better set in the environment: {SIMULATOR_KEY}.",
)
@click.option(
    "--token-life",
    type=DURATION,
    help="Chats need a Bearer token of POST /simulator/token, valid for this long: without one 401. Default: none.",
)
@click.option(
    "--read-timeout",
    default=10.0,
    type=DURATION,
    show_default=True,
    help="Time in which the headers of a request, and then its body, must arrive; else 408.",
)
@click.option("--tls-cert", metavar="FILE", help="Serve TLS with this certificate (PEM; the chain after it).")
@click.option("--tls-key", metavar="FILE", help="Key of --tls-cert (PEM, without a password).")
@click.option("--openapi", is_flag=True, help="Print its OpenAPI document instead of serving.")
@click.option(
    "--config",
    "settings_file",
    metavar="FILE",
    is_eager=True,
    expose_value=False,
    callback=_take_file,
    help='Settings as TOML, by option name: long-poll = "25s", agent-wait = [1, 2]. Options override the file.',
)
def simulator(
    host: str,
    port: int,
    faults: str | None,
    dialect: str,
    apikey: str | None,
    token_life: float | None,
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
    the client polls (inactivity control). [opt] marks an option of Genesys Chat Server, [gms] a rule of
    the GMS Chat API, [client] a behaviour of the vendor's browser client; the others are choices.
    """
    config = _config_of(options)
    if apikey is not None and not (apikey.isascii() and apikey.isprintable() and apikey == apikey.strip() != ""):
        raise UsageError("--apikey is not fit for a header", "expected ASCII text without space around it")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key go together", "give both, or neither")
    plan = FaultPlan.load(faults) if faults else FaultPlan()
    spoken = load_dialect(dialect, None)
    if openapi:
        click.echo(
            json.dumps(document(spoken, (config.service or "default").partition(",")[0], apikey is not None), indent=1)
        )
        return
    from chatload.simulator.http.server import ChatHandler, run, tls_context

    tls = None if tls_cert is None or tls_key is None else tls_context(tls_cert, tls_key)
    run(ChatHandler(config, plan, spoken, apikey, token_life), host, port, read_timeout, tls)


simulator.params += [_SettingOption(key, setting) for key, setting in SETTINGS.items()]


# -- as a process, for tests and examples ------------------------------------------------------------


#: The process gets this long (seconds) to end after SIGTERM.
_STOP_S = 10.0
_LEDGER_TIMEOUT_S = 30.0


class Simulator:
    """A running `chatload simulator` on a free port of loopback.

    Use it as a context manager, or call `stop`. `url` is its base URL, for example http://127.0.0.1:40123.

        with Simulator("--flex-disconnect-timeout", 2) as simulator:
            requests.post(f"{simulator.url}/genesys/2/chat/default", {"nickname": "Ann"})
    """

    def __init__(self, *options: object) -> None:
        """Start the process and wait until it listens. options: those of `chatload simulator`.

        Raises:
            ChatloadError: it did not start; its own message is on stderr.
        """
        command = [sys.executable, "-m", "chatload", "simulator", "--port", "0", *map(str, options)]
        # Not in the terminal's process group: Ctrl-C would end it before the chats of its user have disconnected.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        announced = self._process.stdout.readline().split()
        if announced[:2] != ["listening", "on"]:
            self.stop()
            raise ChatloadError("the simulator did not start", "see its message above")
        self.url = announced[-1]

    def ledger(self) -> bytes:
        """Return what the server saw of each chat, as NDJSON: the input of `chatload reconcile --ledger`."""
        with urllib.request.urlopen(f"{self.url}/simulator/ledger", timeout=_LEDGER_TIMEOUT_S) as answer:
            return bytes(answer.read())

    def chats(self) -> list[dict[str, Any]]:
        """Return the ledger as one dict per chat."""
        return [json.loads(line) for line in self.ledger().splitlines()]

    def stop(self) -> None:
        """End the process. Does nothing if it has ended."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=_STOP_S)

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
