"""The one error hierarchy.

ChatloadError
├── NothingTestedError   too little was tested to answer the question: exit code 4
└── UsageError           the user asked for something that cannot be done: one line, exit code 2
    └── FileError        a file of the user's is unreadable or says something unexpected
"""

from __future__ import annotations

from pathlib import Path

from chatload import exit_codes
from chatload.plain_text import printable

#: A message or a hint that is longer is cut to this length (characters): it may quote a long text.
MOST_TEXT = 1000


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
