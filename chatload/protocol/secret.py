"""Values that must not be shown, such as API keys, and the login in a URL."""

from base64 import b64encode
from typing import NoReturn
from urllib.parse import unquote_to_bytes, urlsplit


class Secret:
    """Holds a value that only `reveal` returns.

    Where it becomes text by accident (repr, str, an f-string, the locals of a traceback) a mask is shown. It cannot be
    pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; it must not be written to any file or log."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def revealed(value: str | Secret) -> str:
    """Return the text of a value, secret or not."""
    return value.reveal() if isinstance(value, Secret) else value


def basic_authorization(url: str) -> str:
    """Return the Authorization header for the user and password in a URL (RFC 7617); "" if it has none."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return ""
    user, _, password = login.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + b64encode(pair).decode()


def without_login(url: str) -> str:
    """Return the URL without user and password; if it is malformed, without anything that may be a password."""
    scheme, there, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if there else url.rpartition("@")[2]
