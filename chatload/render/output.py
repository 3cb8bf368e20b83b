"""What commands have in common: they deliver a document, files and JSON, and take shares and tolerances as options."""

import json
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from chatload.render.document import Document
from chatload.render.markdown import markdown
from chatload.render.terminal import render
from chatload.run.writer import replacing


def deliver(
    document: Document, data: Any | None = None, markdown_file: Path | None = None, html_file: Path | None = None
) -> None:
    """Write `document` to the files, then print it, or `data` as JSON where that is given.

    Raises UsageError, and prints nothing, where a file cannot be written.
    """
    if markdown_file is not None:
        write_text(markdown(document), markdown_file)
    if html_file is not None:
        from chatload.render.html import html

        write_text(html(document), html_file)
    if data is None:
        render(document, sys.stdout)
    else:
        click.echo(_json_text(data))


def write_text(text: str, path: Path) -> None:
    """Write a text file, whole or not at all. Raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.write(text)


def write_json(data: Any, path: Path) -> None:
    """Write `data` as JSON (see `write_text`)."""
    write_text(f"{_json_text(data)}\n", path)


def _json_text(data: Any) -> str:
    """Return `data` as JSON that strict readers accept. Raises ValueError for a number that JSON does not have."""
    return json.dumps(data, indent=2, allow_nan=False)


def share_type(least: float = -math.inf, below: float = math.inf) -> Callable[[Any], float]:
    """Return the type of an option that is a share: 15% or 0.15, at least `least` and less than `below`.

    A value above 1 needs the % sign, so that 20 is not read as 2000 %.
    """

    def share(value: Any) -> float:
        text = str(value).strip()
        number, percent = text.removesuffix("%"), text.endswith("%")
        with suppress(ValueError):
            found = float(number) / (100 if percent else 1)
            if math.isfinite(found) and (percent or abs(found) <= 1) and least <= found < below:
                return found
        raise click.BadParameter(f"{value!r} is not a share; write 15% or 0.15")

    return share


class FiniteRange(click.FloatRange):
    """A range that has no nan, which lies within no range and passes each comparison of click's, and no infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a number", param, ctx)
        return found


def tolerance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which change matters: tolerance and rate_tolerance (shares), hourly_tolerance."""
    options = (
        click.option(
            "--tolerance", type=share_type(0, 1), default="5%", show_default=True, metavar="SHARE",
            help="The least change of a duration that matters; of a margin, this part of the timeout.",
        ),
        click.option(
            "--rate-tolerance", type=share_type(0, 1), default="0.1%", show_default=True, metavar="SHARE",
            help="The least change of a rate that matters, to which --tolerance of the lower rate is added.",
        ),
        click.option(
            "--hourly-tolerance", type=FiniteRange(0), default=0.01, show_default=True,
            metavar="RATE", help="The same for a rate per chat-hour. 0.01 is 0.1 % of chats of 6 minutes.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
