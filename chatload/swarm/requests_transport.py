"""The requests transport: for proxies, client certificates and corporate TLS, as requests has them.

Slower, and its instants are wider: sent_at is taken before requests begins to connect, so connecting
counts as part of the call. The bounds stay true, they are only less tight.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import gevent
import requests
from requests.adapters import HTTPAdapter

from chatload.protocol.wire import MAX_BODY_BYTES, WireRequest, WireResult
from chatload.swarm.transport import Endpoint

_CHUNK = 65536


class RequestsTransport:
    """One chat's requests.Session; no retries, no redirects, a total deadline."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._base = endpoint.base
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def call(self, request: WireRequest, timeout_s: float) -> WireResult:
        """Send once, and wait for the whole answer; timeout_s is the total time it may take."""
        sent = monotonic()
        total = gevent.Timeout(timeout_s)
        total.start()
        try:
            with self._session.request(
                request.method, self._base + request.path, data=request.body, headers=dict(request.headers),
                allow_redirects=False, stream=True, timeout=timeout_s,
            ) as answer:  # fmt: skip
                body = _read(answer)
                received = monotonic()
            if body is None:
                self.close()
                return WireResult(sent, received, failure="malformed", detail="body too large")
            return WireResult(sent, received, http_status=answer.status_code, body=body)
        except gevent.Timeout as timeout:
            if timeout is not total:
                raise
            self.close()
            return WireResult(sent, monotonic(), failure="timeout", detail="timeout waiting for the answer")
        except (requests.RequestException, OSError) as error:
            return self._failed(error, sent)
        finally:
            total.close()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _failed(self, error: Exception, sent: float) -> WireResult:
        self.close()
        now = monotonic()
        if isinstance(error, requests.exceptions.SSLError):
            return WireResult(None, now, failure="connection", detail="TLS failed")
        if isinstance(error, requests.ConnectTimeout):
            return WireResult(None, now, failure="timeout", detail="timeout while connecting")
        if isinstance(error, requests.Timeout):
            return WireResult(sent, now, failure="timeout", detail="timeout waiting for the answer")
        if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
            return WireResult(sent, now, failure="connection", detail="answer cut short")
        text = repr(error)
        if "NameResolutionError" in text:
            return WireResult(None, now, failure="connection", detail="name not resolved")
        if "NewConnectionError" in text:
            detail = "connection refused" if "refused" in text else "connection failed"
            return WireResult(None, now, failure="connection", detail=detail)
        closed = "RemoteDisconnected" in text
        detail = "connection closed before the answer" if closed else "connection reset"
        return WireResult(sent, now, failure="connection", detail=detail)


def _read(answer: Any) -> bytes | None:
    """The body; None where it is too large."""
    parts, size = [], 0
    for part in answer.iter_content(_CHUNK):
        size += len(part)
        if size > MAX_BODY_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
