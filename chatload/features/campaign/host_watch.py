"""Whether the host of a campaign can be reached, while a step loads it and after its end."""

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from chatload.target import Admits, resolve

#: An attempt to connect may take this long (seconds).
_CONNECT_S = 5.0
#: The host is down after this many failed attempts in a row. While a step runs, only refusals count: a host under load
#: may be too slow to accept a connection.
_ATTEMPTS = 3
#: The time between the attempts after a step (seconds).
_PAUSE_S = 2.0
_NO_ANSWER = f"no answer within {_CONNECT_S:g} s"


class HostWatch:
    """Opens connections to a host, and closes them without a request.

    url: of the host. admits: whether an address may be connected to (see `require_agreed`).
    """

    def __init__(self, url: str, admits: Admits, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        self._name = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._admits, self._sleep = admits, sleep
        self._refused = 0

    def is_up(self) -> bool:
        """Try once; return False after _ATTEMPTS refusals in a row. Called from time to time while a step runs."""
        trouble = self._try()
        self._refused = self._refused + 1 if trouble and trouble != _NO_ANSWER else 0
        return self._refused < _ATTEMPTS

    def trouble(self) -> str:
        """Return why the host cannot be reached, after _ATTEMPTS attempts; empty if it can be."""
        self._refused = 0
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_PAUSE_S)
            trouble = self._try()
            if not trouble:
                break
        return trouble

    def _try(self) -> str:
        addresses = resolve(self._name)
        if not addresses:
            return "name not resolved"
        trouble = ""
        for address in addresses:
            if not self._admits(address):
                trouble = f"{address} is not an address that its owner agreed on"
                continue
            try:
                socket.create_connection((address, self._port), _CONNECT_S).close()
                return ""
            except TimeoutError:
                trouble = _NO_ANSWER
            except OSError as error:
                trouble = (error.strerror or str(error)).lower()
        return trouble
