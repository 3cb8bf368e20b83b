"""The interface of a transport: what the drivers need from an HTTP client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatload.protocol.wire import WireRequest, WireResult

#: Header names and values that are sent with every request.
Headers = tuple[tuple[str, str], ...]
#: Returns seconds of a monotonic clock.
Clock = Callable[[], float]


class Transport(Protocol):
    """The HTTP client of one chat. Only one greenlet may use it at a time."""

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer. A failure is returned, never raised.

        The request is sent once; a second time only if WireRequest.repeatable allows it. timeout_s: total time allowed
        (seconds), name resolution and connecting included.
        """
        ...

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""
        ...


#: Opens the transport of one chat.
OpenTransport = Callable[[], Transport]
