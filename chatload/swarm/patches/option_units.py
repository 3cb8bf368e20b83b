"""Locust's own options take quantities with units: -u 4,000, -r 600/min, -t 90m, -s 500ms.

Fault: they take plain numbers, and whole seconds, only. Locust 2.47.0, argument_parser.py. No upstream issue found.
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from locust import argument_parser

from chatload import units

_RATE = units.RATE_PER_S.within(0, math.inf, "a rate, such as 10 or 10/s, 600/min or 4000/h")


def install() -> None:
    """Replace the type of --spawn-rate in this process: Locust makes it anew for each of its parsers."""
    argument_parser.gt_zero = _above_0


def read_units(parser: Any) -> None:
    """Let a parser of Locust read units wherever it reads whole numbers, numbers and spans of time."""
    for kind, quantity in (
        (int, units.INTEGER),
        (float, _RATE),
        (argument_parser.timespan, units.DURATION_OR_0),
    ):
        parser.register("type", kind, partial(_read, quantity))


def _above_0(kind: type) -> Callable[[Any], Any]:
    return partial(_read, units.RATE_PER_S if kind is float else units.COUNT)


def _read(quantity: units.Quantity, text: Any) -> Any:
    try:
        value = quantity.read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return int(value) if float(value).is_integer() else value
