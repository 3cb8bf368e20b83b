"""Lines and tables for a terminal or a CI log: what every report in text is written with."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chatload.plain_text import printable

_WITHIN = re.compile(r"(?<=\d) (?=\d{3}\b|%|m?s\b)")
#: So much is shown of one line (characters).
_LONGEST = 2000


@contextmanager
def paper(stream: IO[str], width: int) -> Iterator[Console]:
    """What is printed inside goes to `stream` at the end, `width` columns wide; plain text where it is no terminal."""
    # Not left to rich: it would colour a file wherever the environment says FORCE_COLOR.
    terminal = stream.isatty()
    console = Console(
        file=stream,
        width=width,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        yield console
    # rich fills every line of a table up with blanks
    stream.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_line(console: Console, text: str, style: str = "") -> None:
    """One line, or where it is too long several, broken neither inside 3 214 nor inside 1.5 %."""
    kept = _WITHIN.sub("\u00a0", printable(text, _LONGEST))
    lines = textwrap.wrap(kept, console.width, subsequent_indent="  ", break_on_hyphens=False) or [""]
    for line in lines:
        console.print(Text(line.replace("\u00a0", " "), style), soft_wrap=True)


def print_table(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], last_left: bool = False
) -> None:
    """An empty line and a table: names to the left, numbers to the right; last_left: the last column is words."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for i, heading in enumerate(headings):
        left = i == 0 or (last_left and i == len(headings) - 1)
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
