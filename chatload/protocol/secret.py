"""A value that must not be seen: API keys and the like."""

from __future__ import annotations

from typing import Final, NoReturn

MASK: Final = "***"


class Secret:
    """Holds a value that only `reveal` gives. Text made of it by accident (repr, str, an f-string, a
    traceback's locals) shows a mask, and it refuses to be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; keep it out of everything that is written down."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def revealed(value: str | Secret) -> str:
    """The text, secret or not."""
    return value.reveal() if isinstance(value, Secret) else value


def without_login(url: str) -> str:
    """The URL without its user and password; of one that is no good URL, without all that may be one."""
    scheme, there, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if there else url.rpartition("@")[2]
