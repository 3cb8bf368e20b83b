"""Writes a document as one HTML page: no network, light and dark, for a wide window, a phone and paper."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from chatload.render import words
from chatload.render.charts import draw
from chatload.render.document import (
    Block,
    Chart,
    Code,
    Document,
    Fold,
    Section,
    SideBySide,
    Table,
    Text,
    as_cell,
    capitalised,
    finished,
    parts,
    plain,
)  # fmt: skip
from chatload.render.time_charts import TimeChart, as_json, clock_title, pictures

#: Items of a list that names a file with all of them.
_ITEMS = 50
#: A date, which is not broken at its hyphens.
_DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b")


def count_charts(document: Document) -> int:
    """Return the number of calls of `on_chart` in `html`: drawing a chart takes about a tenth of a second."""
    return sum(kind is Chart for kind in _kinds(_all_blocks(document)))


def _all_blocks(document: Document) -> tuple[Block, ...]:
    overview = [document.overview] if document.overview else []
    return (*overview, *document.lead, *document.notes, *document.sections)


def html(document: Document, on_chart: Callable[[], object] = lambda: None) -> str:
    """Return `document` as a page. All its texts are escaped. on_chart: is called after each chart was drawn."""

    def draw_and_count(*given: Any) -> Markup:
        drawn = draw(*given)
        on_chart()
        return drawn

    templates = Environment(
        loader=PackageLoader("chatload.render"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters.update(
        inline=_inline, sentence=lambda text: _inline(finished(text)), head=lambda text: _inline(capitalised(text)),
        plain=plain, kind=lambda block: type(block).__name__, breakable=_breakable, dotted=_dotted, as_cell=as_cell,
        has_cards=_has_cards,
    )  # fmt: skip
    templates.globals.update(
        draw=draw_and_count, pictures=pictures, as_json=as_json, clock_title=clock_title, more=words.more, items=_ITEMS
    )
    # Every section is in the list of links at the top of the page.
    sections = [replace(part, anchor=part.anchor or f"section-{i}") for i, part in enumerate(document.sections, 1)]
    document = replace(document, sections=sections)
    kinds = set(_kinds(_all_blocks(document)))
    scripts = [templates.get_template("tip.js.j2").render()] if Chart in kinds else []
    style = ""
    if TimeChart in kinds:
        # Inlined: a report is one file, and asks the network for nothing.
        scripts += [_asset("uPlot.iife.min.js"), _asset("zoom.js"), templates.get_template("time.js.j2").render()]
        style = _asset("uPlot.min.css")
    script = "\n".join(scripts)
    # Allows the page's own script and no other (Content Security Policy Level 3, hash-source).
    script_hash = f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}" if script else ""
    page: str = templates.get_template("page.html.j2").render(
        document=document, script=Markup(script), script_hash=script_hash, chart_style=Markup(style),
        zoomable=TimeChart in kinds,
    )  # fmt: skip
    return page


def _kinds(blocks: Iterable[Block]) -> Iterable[type[Block]]:
    for block in blocks:
        yield type(block)
        if isinstance(block, Section | Fold):
            yield from _kinds(block.blocks)
        elif isinstance(block, SideBySide):
            yield from _kinds(block.charts)


def _asset(name: str) -> str:
    return files("chatload.render").joinpath("assets", name).read_text().strip()


def _inline(text: Text) -> Markup:
    """Return a text as HTML, never broken between a number and its unit."""
    marked = (
        Markup("<code>{}</code>").format(part.text) if isinstance(part, Code) else escape(words.unbroken(part))
        for part in parts(text)
    )
    # All of it is escaped by now.
    return Markup(_DATE.sub(r'<span class="whole">\g<0></span>', str(Markup("").join(marked))))


def _dotted(text: Text) -> Markup:
    """Return a text as HTML in which a long name such as GetMessages.latency.p95 may be broken after its dots."""
    return Markup(re.sub(r"(?<=[a-z])\.(?=[a-z])", ".<wbr>", str(_inline(text))))


#: Characters of a row that a phone has room for, with these for the distance between columns; and the least and the
#: most of the first column, whose names are broken into lines (page.css.j2).
_PHONE_CHARACTERS, _COLUMN_GAP, _LEAST_NAME, _MOST_NAME = 46, 3, 14, 18


def _has_cards(table: Table) -> bool:
    """Return whether a phone has no room for the table, and shows each row as a card."""
    if len(table.columns) > 4:
        return True
    cells = [[plain(as_cell(cell).text) for cell in row.cells] for row in table.rows]
    width = 0
    for i, column in enumerate(table.columns):
        longest = max((len(row[i]) for row in cells), default=0)
        # Names of rows and words are broken into lines, other cells are not.
        longest = min(longest, _MOST_NAME) if i == 0 or column.side == "w" else longest
        width += max(longest, _LEAST_NAME if i == 0 else 0, *map(len, column.heading.split()), 0) + _COLUMN_GAP
    return width > _PHONE_CHARACTERS


def _breakable(name: str) -> Markup:
    """Return a name that may be broken before its capitals."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", name))
