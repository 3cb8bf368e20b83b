"""Where every HTML page gets its template: base.html.j2 and base.css.j2 are what all pages share."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Templates in which everything is escaped, and a name that was not given is an error."""
    return Environment(
        loader=PackageLoader("chatload.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
