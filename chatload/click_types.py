"""The types of options of `chatload` commands that are quantities."""

from collections.abc import Iterable
from typing import Any, Final

import click
from click.core import ParameterSource

from chatload import units
from chatload.errors import UsageError
from chatload.plausibility import doubtful
from chatload.units import Quantity

#: How values are written, by the metavar of their options.
_WRITTEN: Final = {
    "DURATION": "45 or 45s, 250ms, 8m, 1h30m",
    "SHARE": "0.5 or 50%",
    "RATE": "20/s, 600/min, 4000/h",
    "PERCENT": "95 or 95%",
    "N": "4000 or 4,000",
}


def warn(texts: Iterable[str]) -> None:
    """Print warnings of a command, on stderr."""
    for text in texts:
        click.echo(f"chatload: warning: {text}", err=True)


def explain_quantities(command: click.Command) -> None:
    """Let the help of a command end with how the quantities among its options are written."""
    names = {getattr(parameter, "metavar", None) or parameter.type.name for parameter in command.params}
    names |= {"DURATION"} if "LOW HIGH" in names else set()
    told = [f"{name}: {text}." for name, text in _WRITTEN.items() if name in names]
    if told:
        command.epilog = " ".join(told)


def _numbers(ctx: click.Context) -> dict[str, float]:
    """Return the quantities that a user gave and that are known so far, by the flag of their options."""
    return {
        parameter.opts[-1]: value
        for parameter in ctx.command.params
        if isinstance(value := ctx.params.get(parameter.name or ""), int | float) and _is_given(parameter, ctx)
    }


def _is_given(parameter: click.Parameter, ctx: click.Context) -> bool:
    """Return whether a user gave the value of an option: a default is not meant otherwise."""
    return ctx.get_parameter_source(parameter.name or "") not in (None, ParameterSource.DEFAULT)


class QuantityType(click.ParamType):  # type: ignore[type-arg]  # no generic before click 8.4
    """An option whose value is a quantity: `type=DURATION`.

    listed: the text is a list with commas between, and the value a tuple.
    """

    def __init__(self, quantity: Quantity, listed: bool = False) -> None:
        self.quantity, self.listed = quantity, listed
        self.name = "LIST" if listed else quantity.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text says; raises UsageError, which names the option and gives an example.

        Prints a warning about a value that surely is meant otherwise.
        """
        flag = param.opts[-1] if param else self.name
        try:
            if self.listed:
                # A tuple was converted before.
                parts = value if isinstance(value, tuple) else [part for part in value.split(",") if part.strip()]
                return tuple(map(self.quantity.read, parts))
            found = self.quantity.read(value)
        except ValueError as error:
            raise UsageError(f"{flag} {value}: {error}") from None
        if ctx is not None and not ctx.resilient_parsing and param is not None and _is_given(param, ctx):
            warn(doubtful({**_numbers(ctx), flag: found}, flag))
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name


ANY_NUMBER: Final = QuantityType(units.ANY_NUMBER)
CONFIDENCE: Final = QuantityType(units.CONFIDENCE)
COUNT: Final = QuantityType(units.COUNT)
DURATION: Final = QuantityType(units.DURATION)
DURATION_OR_0: Final = QuantityType(units.DURATION_OR_0)
HOURLY_RATE: Final = QuantityType(units.HOURLY_RATE)
INTEGER: Final = QuantityType(units.INTEGER)
MARKED_SHARE: Final = QuantityType(units.MARKED_SHARE)
NUMBER: Final = QuantityType(units.NUMBER)
PERCENTAGE: Final = QuantityType(units.PERCENTAGE)
RATE_PER_H: Final = QuantityType(units.RATE_PER_H)
RATE_PER_S: Final = QuantityType(units.RATE_PER_S)
SHARE_BELOW_1: Final = QuantityType(units.SHARE_BELOW_1)
WHOLE: Final = QuantityType(units.WHOLE)
