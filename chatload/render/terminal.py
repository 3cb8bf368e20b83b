"""Writes a document for a terminal or a CI log: lines of at most 80 to 100 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text as StyledText

from chatload.errors import printable
from chatload.render import words
from chatload.render.document import (
    Block,
    Bullets,
    Callout,
    Chart,
    Document,
    Fold,
    Section,
    Sentence,
    Side,
    Table,
    TableCell,
    TableRow,
    Terms,
    Tone,
    Verbatim,
    plain,
)

#: Columns where the width is not known, and the most that are used: longer lines are hard to read.
_WIDTH, _WIDEST = 80, 100
#: Characters shown of one text, and items of a list that names a file with all of it.
_LONGEST, _ITEMS = 2000, 20
#: Characters of its first column that a table always shows.
_LEAST_NAME = 12
_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "red", Tone.SOFT: "dim"}

#: A line and its style; "" is an empty line.
Line = tuple[str, str]


def terminal_width(stream: IO[str]) -> int:
    """Return how many columns to use: those of the terminal within limits, 80 where `stream` is none."""
    if not stream.isatty():
        return _WIDTH
    return min(max(shutil.get_terminal_size((_WIDTH, 24)).columns, _WIDTH), _WIDEST)


def render(document: Document, stream: IO[str], width: int | None = None) -> None:
    """Write `document` to `stream`; in colour where it is a terminal.

    width: columns; by default those of the terminal.
    """
    width = width or terminal_width(stream)
    # Not left to rich: it would colour a file wherever the environment says FORCE_COLOR.
    terminal = stream.isatty()
    console = Console(
        file=stream, width=width, force_terminal=terminal, color_system="auto" if terminal else None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    for line, style in _document(document, width):
        console.print(StyledText(line, style.strip()), soft_wrap=True)


def _document(document: Document, width: int) -> Iterator[Line]:
    answer, badge = document.answer, document.badge
    head = f"{badge.word.upper()}: " if badge else ""
    tone = badge.tone if badge else answer.tone
    yield from _wrapped(head + plain(answer.text), width, f"bold {_STYLES[tone]}")
    yield from _blocks(document.blocks, width)


def _blocks(blocks: Sequence[Block], width: int) -> Iterator[Line]:
    after_table = False
    for block in blocks:
        lines = list(_block(block, width))
        apart = isinstance(block, Table | Section) or after_table
        if lines and apart:
            yield "", ""
        yield from lines
        if lines:
            after_table = isinstance(block, Table)


def _block(block: Block, width: int) -> Iterator[Line]:
    match block:
        case Sentence(text, tone, strong):
            yield from _wrapped(plain(text), width, f"{'bold ' if strong else ''}{_STYLES[tone]}")
        case Callout():
            yield from _callout(block, width)
        case Bullets(items, tone, noun, file):
            for item in items[:_ITEMS] if file else items:
                yield from _wrapped(f"- {plain(item)}", width, _STYLES[tone])
            if file and len(items) > _ITEMS:
                yield from _wrapped(words.more(len(items) - _ITEMS, noun, file), width, "dim")
        case Verbatim(text):
            # Not wrapped: it is there to be copied.
            yield from ((printable(line), "") for line in text.splitlines())
        case Terms(meanings):
            yield from _terms(meanings, width)
        case Table():
            yield from _table(block, width)
        case Section(heading, inner):
            lines = list(_blocks(inner, width))
            if lines:
                yield from _wrapped(heading, width, "bold")
                # A heading names the table below it.
                yield from lines[1:] if lines[0] == ("", "") else lines
        case Chart() | Fold():
            return


def _terms(meanings: Sequence[tuple[str, str]], width: int) -> Iterator[Line]:
    """Yield each word at the left and its meaning at the right."""
    left = 2 + max((cell_len(word) for word, _ in meanings), default=0)
    for word, meaning in meanings:
        first, *more = textwrap.wrap(printable(meaning, _LONGEST), width - left) or [""]
        yield f"{word:<{left}}{first}", ""
        yield from ((" " * left + line, "") for line in more)


def _callout(callout: Callout, width: int) -> Iterator[Line]:
    yield from _wrapped(f"{callout.label.upper()}: {callout.text}", width, "bold red")
    for detail in callout.details[:_ITEMS]:
        yield from _wrapped(f"- {detail}", width, "red")
    if len(callout.details) > _ITEMS:
        yield from _wrapped(words.more(len(callout.details) - _ITEMS, "", callout.file), width)


def _wrapped(text: str, width: int, style: str = "", indent: str = "") -> Iterator[Line]:
    """Yield a text as lines, broken neither inside 3 214 nor inside 1.5 %."""
    kept = words.unbroken(printable(text, _LONGEST))
    more = f"{indent}  "
    for line in textwrap.wrap(kept, width, initial_indent=indent, subsequent_indent=more, break_on_hyphens=False) or [
        ""
    ]:
        yield line.replace("\u00a0", " "), style


def _shown(cell: TableCell | str) -> str:
    text = plain(cell.text) if isinstance(cell, TableCell) else cell
    return printable(text, _LONGEST).replace("\u00a0", " ")


def _table(table: Table, width: int) -> Iterator[Line]:
    heads = [column.heading for column in table.columns]
    cells = [heads, *([_shown(cell) for cell in row.cells] for row in table.rows)]
    widths = [max(cell_len(line[i]) for line in cells) for i in range(len(table.columns))]
    kept, gap = _fitted(table, widths, width)
    # If the table is still too wide, the names in its first column are cut.
    widths[0] = min(widths[0], max(_LEAST_NAME, width - _length(widths, kept[1:], gap) - gap))

    def line(texts: Sequence[str]) -> str:
        placed = []
        for i in kept:
            text = texts[i] if cell_len(texts[i]) <= widths[i] else f"{texts[i][: widths[i] - 1]}…"
            blank = " " * (widths[i] - cell_len(text))
            placed.append(blank + text if table.columns[i].side is Side.NUMBER else text + blank)
        return (" " * gap).join(placed).rstrip()

    yield line(cells[0]), "bold"
    yield "─" * _length(widths, kept, gap), "dim"
    for row, texts in zip(table.rows, cells[1:], strict=True):
        yield line(texts), _row_style(row)
        if row.note:
            yield from _wrapped(row.note, width, "dim", indent="  ")
    if table.caption:
        yield from _wrapped(table.caption, width, "dim")


def _row_style(row: TableRow) -> str:
    """A row has one colour: its own, else that of its first cell that has one."""
    tones = [row.tone, *(cell.tone for cell in row.cells if isinstance(cell, TableCell))]
    return _STYLES[next((tone for tone in tones if tone), Tone.PLAIN)]


def _fitted(table: Table, widths: Sequence[int], width: int) -> tuple[list[int], int]:
    """Return the numbers of the columns that are shown, and how many blanks are between two."""
    kept = [i for i, column in enumerate(table.columns) if not column.page_only]
    for left_out in (None, *(i for i in reversed(kept) if table.columns[i].optional)):
        kept = [i for i in kept if i != left_out]
        for gap in (2, 1):
            if _length(widths, kept, gap) <= width:
                return kept, gap
    return kept, 1


def _length(widths: Sequence[int], kept: Sequence[int], gap: int) -> int:
    return sum(widths[i] for i in kept) + gap * (len(kept) - 1)
