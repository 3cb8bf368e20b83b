"""Reading a user's TOML file: one place for what can go wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from chatload.errors import FileError


def read_toml(path: str | Path) -> dict[str, Any]:
    """The file's top-level table; raises FileError, one line, where it cannot be read or is no TOML."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(path, "", f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise FileError(path, "", f"not valid TOML ({error})") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The top-level table of TOML text; `source` names it in errors."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(source, "", f"not valid TOML ({error})") from None
