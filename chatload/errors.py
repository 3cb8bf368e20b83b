"""The one error hierarchy, and how untrusted text is made safe for a terminal.

ChatloadError
├── UserInterruptError   a signal ended the command: exit code 130
├── NothingTestedError   too little was tested to answer the question: exit code 4
└── UsageError           the user asked for something that cannot be done: one line, exit code 2
    └── FileError        a file of the user's is unreadable or says something unexpected
"""

import os
import re
import sys
from pathlib import Path
from typing import Final

from chatload import exit_codes

#: A message or a hint that is longer is cut to this length (characters): it may quote a long text.
MOST_TEXT = 1000
#: C0 and C1 control characters except newline and tab, and those that reorder text (Unicode TR 9, "Trojan Source").
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str, most: int | None = None) -> str:
    """Return the text with characters replaced that move the cursor, colour or reorder text.

    most: a longer text is cut to this length (characters).
    """
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    return text if text.isprintable() else _UNSAFE.sub("\ufffd", text)


def drop_output() -> None:
    """Discard standard output from now on.

    Called after a failed write: at exit the interpreter flushes standard output again, which would fail again.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ChatloadError(Exception):
    """message: what is wrong. hint: what to do about it. `str()` is one line of both, safe for a terminal."""

    exit_code = exit_codes.INVALID

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message, self.hint] if self.hint else [self.message]
        return "; ".join(printable(part, MOST_TEXT) for part in parts)


class UserInterruptError(ChatloadError):
    """A signal ended the command, such as that of Ctrl-C."""

    exit_code = exit_codes.INTERRUPTED


class NothingTestedError(ChatloadError):
    """Nothing was tested in a run, or too little to answer the question."""

    exit_code = exit_codes.INCONCLUSIVE


class UsageError(ChatloadError):
    """The command, an option or a file asks for something that cannot be done."""

    exit_code = exit_codes.WRONG_USAGE


class FileError(UsageError):
    """A file that the user named is wrong. The message names the file, the key and what is expected there."""

    def __init__(self, path: str | Path, key: str, expected: str) -> None:
        where = f"{path}: {key}: " if key else f"{path}: "
        super().__init__(f"{where}{expected}")
