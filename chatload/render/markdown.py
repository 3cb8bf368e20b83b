"""Writes a document as Markdown for a pull-request comment or a CI job summary (GitHub, GitLab)."""

import re
from collections.abc import Iterator, Sequence

from chatload.render import document as doc
from chatload.render import words
from chatload.render.document import Code, Text, as_cell, capitalised, finished, parts
from chatload.render.time_charts import TimeChart

#: Rows of a table and items of a list that name a file with all of them.
_ROWS, _ITEMS = 12, 5
#: Characters shown of a text, of a text in a list that may be long, and of a text shown as code.
_LONGEST, _SHORTER, _CODE = 2000, 300, 80
#: Invisible; between a sign and a word it keeps @somebody, #12, !12, ~label from being a reference.
_APART = "\u200b"


def markdown(document: doc.Document) -> str:
    answer = _inline(capitalised(document.answer.text))
    if document.badge is None or not document.badge.in_text:
        head = [f"### {answer}"]
    else:
        head = [f"### chatload: {escaped(document.badge.word)}", f"**{answer}**"]
    return "\n\n".join([*head, *_blocks(document.blocks)]) + "\n"


def _blocks(blocks: Sequence[doc.Block]) -> Iterator[str]:
    for block in blocks:
        match block:
            case doc.Sentence(text, _, strong):
                said = _not_a_mark(_inline(finished(text)))
                yield f"**{said}**" if strong else said
            case doc.Callout(label, said):
                yield f"**{escaped(label[:1].upper() + label[1:])}: {escaped(said, _SHORTER)}**"
            case doc.Bullets(items, _, noun, file):
                most, longest = (_ITEMS, _SHORTER) if file else (len(items), _LONGEST)
                lines = [f"- {_inline(item, longest)}" for item in items[:most]]
                if len(items) > most:
                    lines.append(f"- {words.more(len(items) - most, noun, file)}")
                if lines:
                    yield "\n".join(lines)
            case doc.Verbatim(text):
                yield "\n".join(f"    {_clean(line, _LONGEST)}" for line in text.splitlines())
            case doc.Terms(meanings):
                yield "\n".join(f"- **{escaped(word)}**: {escaped(meaning)}" for word, meaning in meanings)
            case doc.Table():
                yield from _table(block)
            case doc.Section(heading, inner, _, minor):
                if paragraphs := list(_blocks(inner)):
                    yield f"<details><summary>{escaped(heading)}</summary>" if minor else f"#### {escaped(heading)}"
                    yield from paragraphs
                    if minor:
                        yield "</details>"
            case doc.Chart() | TimeChart() | doc.SideBySide() | doc.Fold():
                continue


def _table(table: doc.Table) -> Iterator[str]:
    notes = any(row.note for row in table.rows)
    rows = table.rows[:_ROWS] if table.file else table.rows
    shown = [i for i, column in enumerate(table.columns) if not column.page_only]
    heads = [escaped(table.columns[i].heading) for i in shown]
    sides = ["--:" if table.columns[i].side == "r" else ":--" for i in shown]
    lines = [[*heads, *["why"] * notes], [*sides, *[":--"] * notes]]
    for row in rows:
        lines.append([*(_cell(row.cells[i]) for i in shown), *[escaped(row.note, _SHORTER)] * notes])
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if len(table.rows) > len(rows):
        yield words.more(len(table.rows) - len(rows), table.noun, table.file)
    if table.caption:
        yield _inline(finished(table.caption))


def _cell(cell: doc.TableCell | str) -> str:
    cell = as_cell(cell)
    # A | ends a table's cell even in a code span; elsewhere it is escaped already.
    text = "".join(
        _code(part.text).replace("|", "\\|") if isinstance(part, Code) else escaped(part) for part in parts(cell.text)
    )
    return f"**{text}**" if cell.strong and text else text


def _inline(text: Text, longest: int = _LONGEST) -> str:
    return "".join(_code(part.text) if isinstance(part, Code) else _spaced(part, longest) for part in parts(text))


def _not_a_mark(line: str) -> str:
    """Return a paragraph so that it is no heading, list or rule, whatever it starts with."""
    return re.sub(r"^(\d+)(?=[.)] )", r"\1\\", re.sub(r"^(?=[#+=-])", r"\\", line))


def _spaced(part: str, longest: int) -> str:
    """Return a part of a sentence, escaped, with the blank that separates it from the next part."""
    before, after = part[:1].isspace() * " ", part[-1:].isspace() * " "
    return f"{before}{escaped(part, longest)}{after}" if part.strip() else before


def _clean(value: str, most: int) -> str:
    """Return the text in one line of at most `most` characters, without invisible characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(value: str, most: int = _LONGEST) -> str:
    """Return a text as Markdown that shows just this text, at most so many characters of it.

    It is no markup, ends no table cell, refers to nobody and nothing, and links nowhere.
    """
    line = _clean(value, most)
    line = re.sub(r"""(@|[#!~$%^&](?=[\w"])|://|\bwww\.)""", rf"\1{_APART}", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line).replace(_APART, "&#8203;")


def _code(value: str) -> str:
    """Return a text as a code span: GitHub and GitLab read no markup and no reference in one."""
    line = _clean(value, _CODE) or "?"
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if "`" in line else ""
    return f"{ticks}{space}{line}{space}{ticks}"
