"""HTTP clients behind one interface (`Transport`).

`lean` is fast and measures exact instants. `requests` supports proxies and everything else that the requests library
supports.
"""

from collections.abc import Callable
from typing import Protocol

from chatload.errors import UsageError
from chatload.protocol.wire import WireRequest, WireResult
from chatload.transport.endpoint import Endpoint

__all__ = ["Endpoint", "OpenTransport", "Transport", "make_factory"]


class Transport(Protocol):
    """The HTTP client of one chat. Only one greenlet may use it at a time."""

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send the request and read its answer. A failure is returned, never raised.

        The request is sent once; a second time only if WireRequest.repeatable allows it. timeout_s: total time allowed
        (seconds), name resolution and connecting included.
        """

    def close(self) -> None:
        """Close the connection. A later call opens a new one."""


#: Opens the transport of one chat.
OpenTransport = Callable[[], Transport]


def make_factory(kind: str, endpoint: Endpoint, connections: int = 0) -> OpenTransport:
    """Return the function that opens the transport of a chat.

    kind: "lean" or "requests". connections: number of connections that all chats share ("lean" only); 0 gives each chat
    its own. Raises UsageError if there is no such transport, or a certificate file cannot be read.
    """
    # Imported here: a run with one transport does not load the libraries of the other.
    if endpoint.tls:
        _ = endpoint.context  # an unreadable certificate file is reported once, here, and not by every chat
    if kind == "lean":
        from chatload.transport.http_messages import SharedHeads
        from chatload.transport.lean import ConnectionPool, LeanTransport, SharedTransport

        heads = SharedHeads(endpoint)
        if connections:
            pool = ConnectionPool(connections)
            return lambda: SharedTransport(endpoint, heads, pool)
        return lambda: LeanTransport(endpoint, heads)
    if kind == "requests" and not connections:
        from chatload.transport.requests_transport import RequestsTransport

        return lambda: RequestsTransport(endpoint)
    raise UsageError(f"no transport {kind!r}", "use --transport lean or --transport requests")
