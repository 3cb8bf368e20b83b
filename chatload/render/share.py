"""A share on the command line."""

from __future__ import annotations

import math
from typing import Any

import click


class ShareType(click.ParamType[float]):
    """A share: 15% or 0.15. A value above 1 needs the % sign, so that 20 is not read as 2000 %.

    least, below: the share must be at least `least` and less than `below`.
    """

    name = "share"

    def __init__(self, least: float = -math.inf, below: float = math.inf) -> None:
        self._least, self._below = least, below

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share as a number."""
        text = str(value).strip()
        try:
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = math.nan
        signed = text.endswith("%") or abs(share) <= 1
        if not (math.isfinite(share) and signed and self._least <= share < self._below):
            self.fail(f"{value!r} is not a share; write 15% or 0.15", param, ctx)
        return share
