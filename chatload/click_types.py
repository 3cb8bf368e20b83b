"""The types of options of `chatload` commands that are quantities."""

from typing import Any, Final

import click

from chatload import units
from chatload.errors import UsageError
from chatload.units import Quantity


class QuantityType(click.ParamType):  # type: ignore[type-arg]  # no generic before click 8.4
    """An option whose value is a quantity: `type=DURATION`.

    listed: the text is a list with commas between, and the value a tuple.
    """

    def __init__(self, quantity: Quantity, listed: bool = False) -> None:
        self.quantity, self.listed = quantity, listed
        self.name = "LIST" if listed else quantity.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text says; raises UsageError, which names the option and gives an example."""
        try:
            if not self.listed:
                return self.quantity.read(value)
            if isinstance(value, tuple):  # a value that was converted before
                return value
            return tuple(self.quantity.read(part) for part in value.split(",") if part.strip())
        except ValueError as error:
            raise UsageError(f"{param.opts[-1] if param else self.name} {value}: {error}") from None

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return self.name


ANY_NUMBER: Final = QuantityType(units.ANY_NUMBER)
CONFIDENCE: Final = QuantityType(units.CONFIDENCE)
COUNT: Final = QuantityType(units.COUNT)
DURATION: Final = QuantityType(units.DURATION)
DURATION_OR_0: Final = QuantityType(units.DURATION_OR_0)
INTEGER: Final = QuantityType(units.INTEGER)
MARKED_SHARE: Final = QuantityType(units.MARKED_SHARE)
NUMBER: Final = QuantityType(units.NUMBER)
PERCENTAGE: Final = QuantityType(units.PERCENTAGE)
RATE_PER_H: Final = QuantityType(units.RATE_PER_H)
RATE_PER_S: Final = QuantityType(units.RATE_PER_S)
SHARE_BELOW_1: Final = QuantityType(units.SHARE_BELOW_1)
WHOLE: Final = QuantityType(units.WHOLE)
