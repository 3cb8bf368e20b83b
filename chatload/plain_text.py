"""Makes untrusted text safe for a terminal: characters that move the cursor, colour or reorder text are replaced."""

from __future__ import annotations

import os
import re
import sys
from typing import IO, Any, Final

#: C0 and C1 control characters except newline and tab, and those that reorder text (Unicode TR 9, "Trojan Source").
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_REPLACEMENT: Final = "\ufffd"


def printable(text: str, most: int | None = None) -> str:
    """Return the text with its unsafe characters replaced. most: a longer text is cut to this length (characters)."""
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    return text if text.isprintable() else _UNSAFE.sub(_REPLACEMENT, text)


def all_printable(value: Any) -> Any:
    """Return a plain value (dicts, lists, texts) with `printable` applied to every text in it."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value


class PrintableStream:
    """A text stream that writes only printable text to another one."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text after `printable`; returns the number of characters written."""
        return self._stream.write(printable(text))


def drop_output() -> None:
    """Discard standard output from now on.

    Called after a failed write: at exit the interpreter flushes standard output again, which would fail again.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
