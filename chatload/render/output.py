"""Delivers what a command found: files where they were asked for, and JSON or text on standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from chatload.render.document import Document
from chatload.render.json_output import json_text
from chatload.render.markdown import write_markdown
from chatload.render.terminal import render


def deliver(
    document: Document, data: Any | None = None, markdown: Path | None = None, html: Path | None = None
) -> None:
    """Write `document` to the files, and print it, or `data` as JSON where that is given.

    Raises:
        UsageError: a file cannot be written. Nothing was printed then.
    """
    if markdown is not None:
        write_markdown(document, markdown)
    if html is not None:
        from chatload.render.html import write_html

        write_html(document, html)
    if data is None:
        render(document, sys.stdout)
    else:
        click.echo(json_text(data))
