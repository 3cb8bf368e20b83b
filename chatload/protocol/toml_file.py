"""Reading a user's TOML file: one place for what can go wrong with it."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chatload.errors import FileError

#: A larger file is refused (bytes): parsing it could take minutes.
MOST_BYTES = 2**20


#: More parts of one dotted key are refused: tomllib takes memory by their square, 512 MB for 20 000 of them.
_MOST_PARTS = 100
#: Objects in a request are not nested deeper: JSON's writer gives up at 254.
MOST_DEPTH = 50
_KEY_ENDS = re.compile(r"[=\n{,]")


def without_mark(data: bytes) -> bytes:
    """The bytes of a text file in UTF-8, without the byte order mark that editors on Windows begin it with."""
    return data.removeprefix(codecs.BOM_UTF8)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The file's top-level table; raises FileError, one line, where it cannot be read or is no TOML."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise FileError(path, "", f"larger than {MOST_BYTES // 2**20} MiB")
        text = without_mark(data).decode("utf-8")
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise FileError(path, "", f"not valid TOML ({error})") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The top-level table of TOML text; `source` names it in errors."""
    if any(part.count(".") > _MOST_PARTS for part in _KEY_ENDS.split(text)):
        raise FileError(source, "", f"more than {_MOST_PARTS} dots in one name")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # besides its own error, of numbers with too many digits
        raise FileError(source, "", f"not valid TOML ({error})") from None
    except RecursionError:
        raise FileError(source, "", "not valid TOML (nested too deep)") from None


def format_toml(data: Mapping[str, Any], path: str = "") -> str:
    """TOML text of tables, lists, texts, numbers and truths; comments of a file that it came from are not kept."""
    parts = [f"{_key(name)} = {_value(value)}" for name, value in data.items() if not _is_section(value)]
    for name, value in data.items():
        if _is_section(value):
            own = f"{path}{_key(name)}"
            tables, brackets = (value, "[[{}]]") if isinstance(value, list) else ([value], "[{}]")
            parts += [f"\n{brackets.format(own)}\n{format_toml(table, own + '.').rstrip()}" for table in tables]
    return "\n".join(parts).lstrip("\n") + "\n"


def _is_section(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)
    )


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(name)} = {_value(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one character that TOML forbids in the open.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else str(value)


class Table:
    """A TOML table that knows its file and key, so that every mistake can be named. Raises FileError."""

    def __init__(self, source: str, key: str, data: dict[str, Any]) -> None:
        self.source, self.key, self.data = source, key, data

    def wrong(self, name: str, expected: str) -> FileError:
        """The mistake at a key of this table."""
        return FileError(self.source, f"{self.key}.{name}".lstrip("."), expected)

    def table(self, name: str, default: dict[str, Any] | None = None) -> Table:
        """The table at a key."""
        value = self.data.get(name, default)
        if not isinstance(value, dict):
            raise self.wrong(name, "expected a table")
        return Table(self.source, f"{self.key}.{name}".lstrip("."), value)

    def text(self, name: str, default: str | None = None, starts: str = "") -> str:
        """The text at a key."""
        value = self.data.get(name, default)
        if not isinstance(value, str) or not value.startswith(starts):
            raise self.wrong(name, f'expected text starting with "{starts}"' if starts else "expected text")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """The table at a key, all of its values text."""
        table = self.table(name, {})
        return {key: table.text(key) for key in table.data}

    def path(self, name: str) -> tuple[str, ...]:
        """The name at a key: text, or a list of texts that lead into nested objects."""
        value = self.data.get(name)
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
            raise self.wrong(name, 'expected a name, or a list of them as in ["outer", "inner"]')
        if len(parts) > MOST_DEPTH:
            raise self.wrong(name, f"expected a list of {MOST_DEPTH} names at most")
        return tuple(parts)

    def paths(self, name: str, known: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The table at a key, from some of the known words to names."""
        table = self.table(name, {})
        table.only(*known)
        return {key: table.path(key) for key in table.data}

    def seconds(self, name: str, default: float) -> float:
        """The number of seconds at a key."""
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise self.wrong(name, "expected seconds, a number not below 0")
        return float(value)

    def truth(self, name: str, default: bool) -> bool:
        """The true or false at a key."""
        value = self.data.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "expected true or false")
        return value

    def only(self, *known: str) -> None:
        """Refuse every key but these."""
        for name in self.data:
            if name not in known:
                raise self.wrong(name, f"unknown key; expected one of {', '.join(known)}")
