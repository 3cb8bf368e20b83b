"""Writes a document for a terminal or a CI log: lines of at most 80 to 100 columns."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO

from rich.cells import cell_len
from rich.text import Text as StyledText

from chatload.errors import printable
from chatload.progress import PipeConsole
from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Tone, as_cell, plain
from chatload.render.time_charts import TimeChart

#: Columns where the width is not known, and the most that are used: longer lines are hard to read.
_WIDTH, _WIDEST = 80, 100
#: Characters shown of one text, and items of a list that names a file with all of it.
_LONGEST, _ITEMS = 2000, 20
#: Characters of its first column that a table always shows.
_LEAST_NAME = 12
_STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "red", Tone.SOFT: "dim"}

#: A line and its style; "" is an empty line.
Line = tuple[str, str]


def render(document: doc.Document, stream: IO[str], width: int | None = None) -> None:
    """Write `document` to `stream`; in colour where it is a terminal.

    width: columns; by default those of the terminal within limits, 80 if `stream` is not a terminal.
    """
    # Not left to rich: it would colour a file wherever the environment says FORCE_COLOR.
    terminal = stream.isatty()
    if width is None:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH
        width = min(max(width, _WIDTH), _WIDEST)
    console = PipeConsole(
        file=stream, width=width, force_terminal=terminal, color_system="auto" if terminal else None,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    badge = document.badge
    head = f"{badge.word.upper()}: " if badge and badge.in_text else ""
    style = f"bold {_STYLES[badge.tone if badge else document.answer.tone]}"
    answer = _wrapped(head + plain(document.answer.text), width, style)
    for line, style in chain(answer, _blocks(document.blocks, width)):
        console.print(StyledText(line, style.strip()), soft_wrap=True)


def _blocks(blocks: Sequence[doc.Block], width: int) -> Iterator[Line]:
    """Yield the lines of blocks. Tables and sections have an empty line before them, tables also one after them."""
    after_table = False
    for block in blocks:
        if lines := list(_block(block, width)):
            if isinstance(block, doc.Table | doc.Section) or after_table:
                yield "", ""
            yield from lines
            after_table = isinstance(block, doc.Table)


def _block(block: doc.Block, width: int) -> Iterator[Line]:
    match block:
        case doc.Sentence(text, tone, strong):
            yield from _wrapped(plain(text), width, f"{'bold ' if strong else ''}{_STYLES[tone]}")
        case doc.Callout(label, said):
            yield from _wrapped(f"{label.upper()}: {said}", width, "bold red")
        case doc.Bullets(items, tone, noun, file):
            shown = items[:_ITEMS] if file else items
            for item in shown:
                yield from _wrapped(f"- {plain(item)}", width, _STYLES[tone])
            if len(items) > len(shown):
                yield from _wrapped(words.more(len(items) - len(shown), noun, file), width, "dim")
        case doc.Verbatim(text):
            # Not wrapped: it is there to be copied.
            yield from ((printable(line), "") for line in text.splitlines())
        case doc.Terms(meanings):
            left = 2 + max((cell_len(word) for word, _ in meanings), default=0)
            for word, meaning in meanings:
                first, *more = textwrap.wrap(printable(meaning, _LONGEST), width - left) or [""]
                yield f"{word:<{left}}{first}", ""
                yield from ((" " * left + line, "") for line in more)
        case doc.Table():
            yield from _table(block, width)
        case doc.Section(heading, inner):
            if lines := list(_blocks(inner, width)):
                yield from _wrapped(heading, width, "bold")
                # A heading names the table below it.
                yield from lines[1:] if lines[0] == ("", "") else lines
        case doc.Chart() | TimeChart() | doc.SideBySide() | doc.Fold():
            return


def _wrapped(text: str, width: int, style: str = "", indent: str = "") -> Iterator[Line]:
    """Yield a text as lines, broken neither inside 3 214 nor inside 1.5 %."""
    kept = words.unbroken(printable(text, _LONGEST))
    hanging = f"{indent}  "
    lines = textwrap.wrap(kept, width, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False)
    for line in lines or [""]:
        yield line.replace("\u00a0", " "), style


def _table(table: doc.Table, width: int) -> Iterator[Line]:
    cells = [[column.heading for column in table.columns]]
    for row in table.rows:
        cells.append([printable(plain(as_cell(cell).text), _LONGEST).replace("\u00a0", " ") for cell in row.cells])
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    kept, gap = _fitted(table, widths, width)
    # If the table is still too wide, the names in its first column are cut.
    widths[0] = min(widths[0], max(_LEAST_NAME, width - _length(widths, kept[1:], gap) - gap))

    def line(texts: Sequence[str]) -> str:
        placed = []
        for i in kept:
            text = texts[i] if cell_len(texts[i]) <= widths[i] else f"{texts[i][: widths[i] - 1]}…"
            blank = " " * (widths[i] - cell_len(text))
            placed.append(blank + text if table.columns[i].side == "r" else text + blank)
        return (" " * gap).join(placed).rstrip()

    yield line(cells[0]), "bold"
    yield "─" * _length(widths, kept, gap), "dim"
    for row, texts in zip(table.rows, cells[1:], strict=True):
        # A row has one colour: its own, else that of its first cell that has one.
        tones = [row.tone, *(as_cell(cell).tone for cell in row.cells)]
        yield line(texts), _STYLES[next((tone for tone in tones if tone), Tone.PLAIN)]
        if row.note:
            yield from _wrapped(row.note, width, "dim", indent="  ")
    if table.caption:
        yield from _wrapped(table.caption, width, "dim")


def _fitted(table: doc.Table, widths: Sequence[int], width: int) -> tuple[list[int], int]:
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
