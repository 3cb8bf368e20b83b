"""Writes a document as one HTML page: no network, light and dark, for a wide window, a phone and paper."""

import re
from base64 import b64encode
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from chatload.render import words
from chatload.render.charts import draw
from chatload.render.document import Code, Document, Text, as_cell, capitalised, finished, parts, plain

#: Items of a list that names a file with all of them.
_ITEMS = 50


def html(document: Document) -> str:
    """Return `document` as a page. All its texts are escaped."""
    templates = Environment(
        loader=PackageLoader("chatload.render"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters.update(
        inline=_inline, sentence=lambda text: _inline(finished(text)), head=lambda text: _inline(capitalised(text)),
        plain=plain, kind=lambda block: type(block).__name__, breakable=_breakable, as_cell=as_cell,
    )  # fmt: skip
    templates.globals.update(draw=draw, more=words.more, items=_ITEMS)
    # Allows the page's own script and no other (Content Security Policy Level 3, hash-source).
    script = templates.get_template("tip.js.j2").render()
    script_hash = f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"
    page: str = templates.get_template("page.html.j2").render(document=document, script_hash=script_hash)
    return page


def _inline(text: Text) -> Markup:
    """Return a text as HTML, never broken between a number and its unit."""
    marked = (
        Markup("<code>{}</code>").format(part.text) if isinstance(part, Code) else escape(words.unbroken(part))
        for part in parts(text)
    )
    return Markup("").join(marked)


def _breakable(name: str) -> Markup:
    """Return a name that may be broken before its capitals."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", name))
