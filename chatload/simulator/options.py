"""The settings as command line options, in groups, and as keys of a settings file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field
from typing import Any, TypeVar

import click

from chatload.errors import FileError, UsageError
from chatload.protocol.toml_file import read_toml
from chatload.simulator.model.config import SETTINGS, Kind, SimulatorConfig, wrong

Command = TypeVar("Command", bound=Callable[..., Any])
#: What each kind of setting is for click.
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
    """A command whose settings are listed by group in its help, after its other options."""

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


class _Setting(click.Option):
    group = "Options"


def settings(command: Command) -> Command:
    """Add --config and an option for every setting; `config_of` makes a SimulatorConfig of them."""
    for key, setting in reversed(SETTINGS.items()):
        command = _option(key, setting)(command)
    return click.option(
        "--config", "settings_file", metavar="FILE", is_eager=True, expose_value=False, callback=_take_file,
        help="Settings as TOML, each by its option's name: long-poll = 25, agent-wait = [1, 2]. Options win over it.",
    )(command)  # fmt: skip


def config_of(options: dict[str, Any]) -> SimulatorConfig:
    """The settings from what click made of the options; takes them out of `options`. Raises UsageError."""
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
    kind: Kind = setting.metadata["kind"]
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

    class Setting(_Setting):
        group = setting.metadata["group"]

    return click.option(
        name, setting.name, cls=Setting, default=setting.default, show_default=shown,
        help=setting.metadata["help"], **more,
    )  # fmt: skip


def _take_file(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Make the settings of a file the defaults of the options that come after."""
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
