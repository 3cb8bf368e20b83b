"""Text from outside as a terminal may show it: what would move its cursor, colour it or reorder it is not passed on."""

from __future__ import annotations

import os
import re
import sys
from typing import IO, Any, Final

#: C0 and C1 controls but the newline and the tab, and what reorders text (Unicode TR 9, "Trojan Source").
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SIGN: Final = "\ufffd"


def printable(text: str, most: int | None = None) -> str:
    """The text without control characters, at most so many characters of it."""
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    return text if text.isprintable() else _UNSEEN.sub(_SIGN, text)


def all_printable(value: Any) -> Any:
    """A plain value (dicts, lists, texts) with every text in it printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {all_printable(key): all_printable(item) for key, item in value.items()}
    return [all_printable(item) for item in value] if isinstance(value, list | tuple) else value


class PrintableStream:
    """A text stream that passes on what is printable."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text as `printable` has it."""
        return self._stream.write(printable(text))


def drop_output() -> None:
    """Standard output goes nowhere from here on: the interpreter flushes it once more as it leaves, and must not meet
    again what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
