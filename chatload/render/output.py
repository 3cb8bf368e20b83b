"""What commands have in common: they deliver a document, files and JSON, and take a share as an option."""

from __future__ import annotations

import json
import math
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click

from chatload.render.document import Document
from chatload.render.markdown import write_markdown
from chatload.render.terminal import render
from chatload.run.writer import replacing


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
        click.echo(_json_text(data))


def write_json(data: Any, path: str | Path) -> None:
    """Write `data` to `path`, whole or not at all. Raises UsageError where it cannot be written."""
    with replacing(path) as stream:
        stream.write(f"{_json_text(data)}\n")


def _json_text(data: Any) -> str:
    """Return `data` as JSON that strict readers accept. Raises ValueError for a number that JSON does not have."""
    return json.dumps(data, indent=2, allow_nan=False)


def read_schema(package: str, name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) in the file `name` of a package."""
    schema: dict[str, Any] = json.loads((resources.files(package) / name).read_text(encoding="utf-8"))
    return schema


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
