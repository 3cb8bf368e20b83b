"""What commands have in common: they deliver a document, files and JSON, and take tolerances as options."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chatload.click_types import HOURLY_RATE, SHARE_BELOW_1
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


def tolerance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which change matters: tolerance and rate_tolerance (shares), hourly_tolerance."""
    options = (
        click.option(
            "--tolerance", type=SHARE_BELOW_1, default="5%", show_default=True,
            help="The least change of a duration that matters; of a margin, this part of the timeout.",
        ),
        click.option(
            "--rate-tolerance", type=SHARE_BELOW_1, default="0.1%", show_default=True,
            help="The least change of a rate that matters, to which --tolerance of the lower rate is added.",
        ),
        click.option(
            "--hourly-tolerance", type=HOURLY_RATE, default=0.01, show_default=True,
            help="The same for a rate per chat-hour. 0.01 is 0.1 % of chats of 6 minutes.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
