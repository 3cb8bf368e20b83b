"""Answers for pages of other origins (the fetch standard's CORS): any origin, any header."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Headers = list[tuple[bytes, bytes]]

#: For how long a browser may remember a preflight (seconds).
MAX_AGE_S = 600


def for_origin(origin: bytes) -> Headers:
    """What every answer to a page of that origin carries."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"content-disposition"),
        (b"vary", b"origin"),
    ]


def preflight(asked: Mapping[bytes, bytes], methods: Iterable[str]) -> Headers:
    """What an answer to OPTIONS carries beside; asked: its headers; methods: those of the path asked for."""
    allowed = ", ".join((*methods, "OPTIONS")).encode()
    answer = [(b"allow", allowed)]
    if b"access-control-request-method" in asked:
        answer += [(b"access-control-allow-methods", allowed), (b"access-control-max-age", b"%d" % MAX_AGE_S)]
    wanted = asked.get(b"access-control-request-headers")
    if wanted:
        answer.append((b"access-control-allow-headers", wanted))
    if asked.get(b"access-control-request-private-network") == b"true":
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer
