"""Where every HTML page gets its template: base.html.j2 and base.css.j2 are what all pages share."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Templates in which everything is escaped, and a name that was not given is an error."""
    return Environment(
        loader=PackageLoader("chatload.render"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def script_hash(templates: Environment, name: str) -> str:
    """What lets a page's own script run, and no other (Content Security Policy Level 3, hash-source)."""
    text = templates.get_template(name).render()
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
