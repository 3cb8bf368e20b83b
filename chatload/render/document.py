"""What a report says, apart from how it is shown.

A feature builds one `Document`. `terminal`, `markdown` and `html` write it; charts and folded blocks are on the HTML
page only. A text from outside (a run's name, a server's message) is a plain `str`; each writer escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chatload.render.charts import Frame, Spec
from chatload.render.time_charts import TimeChart


class Tone(StrEnum):
    """How a text is meant. Terminal and page show it as a colour, so the text must say it too."""

    PLAIN = ""
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    SOFT = "soft"


@dataclass(frozen=True)
class Code:
    """A text that is shown exactly as it is typed: a command, a threshold, the name of a run."""

    text: str


Inline = str | Code
Text = Inline | tuple[Inline, ...]


def parts(text: Text) -> tuple[Inline, ...]:
    return text if isinstance(text, tuple) else (text,)


def plain(text: Text) -> str:
    """Return a text without its marks."""
    return "".join(part.text if isinstance(part, Code) else part for part in parts(text))


_FIRST_WORD = re.compile(r"[a-z]+(?=[ ,:;]|$)")


def capitalised(text: Text) -> Text:
    """Return the text with a capital at its start, unless it starts with a name such as `lateness.p99`."""
    first, *rest = parts(text)
    if isinstance(first, str) and _FIRST_WORD.match(first):
        first = first[0].upper() + first[1:]
    return (first, *rest)


def finished(text: Text) -> Text:
    """Return the text as a whole sentence: a capital at its start and a full stop at its end."""
    *rest, last = parts(capitalised(text))
    end = "" if isinstance(last, str) and last[-1:] in (".", ":", "!", "?", "") else "."
    return (*rest, last, end) if isinstance(last, Code) else (*rest, last + end)


@dataclass(frozen=True)
class Sentence:
    """A line of a terminal, a paragraph elsewhere; written without its capital and full stop."""

    text: Text
    tone: Tone = Tone.PLAIN
    strong: bool = False


@dataclass(frozen=True)
class Callout:
    """What must be read before anything else."""

    label: str
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list. noun, file: where the list may be long, what it lists ("incident") and the file that has all of it."""

    items: Sequence[Text]
    tone: Tone = Tone.PLAIN
    noun: str = ""
    file: str = ""


@dataclass(frozen=True)
class Verbatim:
    """Lines to copy."""

    text: str


@dataclass(frozen=True)
class Terms:
    """Words and what they mean."""

    meanings: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    side: "l" for names (left), "r" for numbers (right), "w" for words, which may take several lines. optional: left out
    of a terminal that is too narrow for the table, the last such column first. page_only: left out of a terminal and of
    Markdown.
    """

    heading: str
    side: str = "r"
    optional: bool = False
    page_only: bool = False


@dataclass(frozen=True)
class TableCell:
    """A cell of a table."""

    text: Text
    tone: Tone = Tone.PLAIN
    strong: bool = False


def as_cell(cell: TableCell | str) -> TableCell:
    """Return a cell of a row as a `TableCell`."""
    return cell if isinstance(cell, TableCell) else TableCell(cell)


@dataclass(frozen=True)
class TableRow:
    """A row of a table. note: shown below it over the whole width; a column of its own in Markdown."""

    cells: Sequence[TableCell | str]
    tone: Tone = Tone.PLAIN
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table. The first cell of a row names the row.

    name: for screen readers. noun, file: as in `Bullets`. dense: more columns than a page has room for.
    """

    name: str
    columns: Sequence[TableColumn]
    rows: Sequence[TableRow]
    caption: str = ""
    noun: str = ""
    file: str = ""
    dense: bool = False


def columns(headings: Sequence[str], sides: str = "") -> list[TableColumn]:
    """Return columns. sides: a letter for each, as in `TableColumn`; by default one l, then r."""
    letters = sides or "l" + "r" * (len(headings) - 1)
    return [TableColumn(heading, side) for heading, side in zip(headings, letters, strict=True)]


def table(
    name: str, headings: Sequence[str], rows: Sequence[Sequence[TableCell | str]], sides: str = "", caption: str = ""
) -> Table:
    """Return a table of plain rows. sides: as in `columns`."""
    return Table(name, columns(headings, sides), [TableRow(row) for row in rows], caption)


@dataclass(frozen=True)
class Chart:
    """A picture, drawn for wide and narrow windows.

    shows: what is to be seen, in words. label: the same with figures, for screen readers; by default `shows`.
    figures: its numbers, where no other table has them.
    """

    heading: str
    spec: Spec | Callable[[Frame], Spec]
    shows: str
    label: str = ""
    figures: Table | None = None


@dataclass(frozen=True)
class SideBySide:
    """Charts that a wide page shows in two columns."""

    charts: Sequence[Chart | TimeChart]


@dataclass(frozen=True)
class Fold:
    """Blocks that a page shows when asked. A terminal and Markdown leave them out."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """Blocks below a heading.

    anchor: its id on the page. minor: folded in Markdown, where it would be long. new_sheet: begins a sheet of paper.
    """

    heading: str
    blocks: Sequence[Block]
    anchor: str = ""
    minor: bool = False
    new_sheet: bool = False


Block = Sentence | Callout | Bullets | Verbatim | Terms | Table | Chart | TimeChart | SideBySide | Fold | Section


@dataclass(frozen=True)
class Badge:
    """The result of a report in one or two words. in_text: a text begins with it, if its answer does not."""

    word: str
    tone: Tone
    in_text: bool = True


@dataclass(frozen=True)
class Tile:
    """One figure of the first screen. value: as short as possible. detail: of what it is, or its interval."""

    label: str
    value: str
    detail: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Document:
    """A report: the answer in one sentence, what explains it, and sections.

    lead: sentences that the answer needs. notes: sentences that explain the figures; a page has them below its first
    chart. subject: what the report is about, such as the run, its host and its time. tiles: the figures that explain
    the answer. overview: the chart of the first screen. title: of the page's window; by default the answer.
    """

    answer: Sentence
    sections: Sequence[Section]
    badge: Badge | None = None
    lead: Sequence[Block] = ()
    notes: Sequence[Block] = ()
    title: str = ""
    footer: str = ""
    subject: Text = ""
    tiles: Sequence[Tile] = ()
    overview: Chart | TimeChart | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What follows the answer in a text: lead, notes, subject, tiles as a section, and the sections."""
        subject = [Sentence(self.subject, Tone.SOFT)] if self.subject else []
        said = [(tile.label, f"{tile.value} ({tile.detail})" if tile.detail else tile.value) for tile in self.tiles]
        tiles = [Section("At a glance", (Terms(said),))] if said else []
        return (*self.lead, *self.notes, *subject, *tiles, *self.sections)
