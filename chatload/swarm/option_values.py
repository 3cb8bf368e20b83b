"""One option's value as what it has to be: the web UI and the environment send text. Imports no Locust."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from chatload.errors import UsageError


def number(options: Namespace, name: str) -> float | None:
    """A number above 0; None where it was left empty. Raises UsageError."""
    value: Any = getattr(options, name)
    if value is None or value == "" or value == "None":
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise UsageError(f"{_flag(name)} {value} is not a number above 0")
    return number


def whole(options: Namespace, name: str, least: int = 0) -> int:
    """A whole number from `least` on; 0 where it was left empty. Raises UsageError."""
    value: Any = getattr(options, name)
    try:
        number = int(value or 0)
    except ValueError:
        number = -1
    if number < least:
        raise UsageError(f"{_flag(name)} {value} is not a whole number from {least} on")
    return number


def existing_file(options: Namespace, name: str) -> str | None:
    """The path of a file that is there; None where it was left empty. Raises UsageError."""
    path = str(getattr(options, name) or "")
    if path and not Path(path).is_file():
        raise UsageError(f"{_flag(name)} {path}: no such file")
    return path or None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
