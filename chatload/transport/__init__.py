"""HTTP clients behind one interface (`base.Transport`).

`lean` is fast and measures exact instants. `requests` supports proxies and everything else that the requests library
supports.
"""

from __future__ import annotations

import time

from chatload.errors import UsageError
from chatload.transport.base import Clock, Headers, OpenTransport, Transport
from chatload.transport.endpoint import Endpoint

__all__ = ["Clock", "Endpoint", "Headers", "OpenTransport", "Transport", "make_factory"]


def make_factory(
    kind: str, endpoint: Endpoint, headers: Headers = (), clock: Clock = time.monotonic, connections: int = 0
) -> OpenTransport:
    """Return the function that opens the transport of a chat.

    kind: "lean" or "requests". headers: sent with every request. connections: number of connections that all chats
    share ("lean" only); 0 gives each chat its own.

    Raises:
        UsageError: there is no such transport, or a certificate file cannot be read.
    """
    # Imported here: a run with one transport does not load the libraries of the other.
    fixed = endpoint.headers + headers
    if endpoint.tls:
        _ = endpoint.context  # an unreadable certificate file is reported once, here, and not by every chat
    if kind == "lean":
        from chatload.transport.http_messages import SharedHeads
        from chatload.transport.lean import ConnectionPool, LeanTransport, SharedTransport

        heads = SharedHeads(endpoint.authority, endpoint.prefix, fixed)
        if connections:
            pool = ConnectionPool(connections)
            return lambda: SharedTransport(endpoint, heads, pool, clock)
        return lambda: LeanTransport(endpoint, heads, clock)
    if kind == "requests" and not connections:
        from chatload.transport.requests_transport import RequestsTransport

        return lambda: RequestsTransport(endpoint, fixed, clock)
    raise UsageError(f"no transport {kind!r}", "use --transport lean or --transport requests")
