"""Requests whose headers are known: read without the parser, which calls us once for each header.

A client's requests differ in their paths and bodies; their headers are the same but for the body's length. So what
httptools made of a header block is kept, and a whole request that brings that very block again, in one piece, has
only its first line and its length looked at. Everything else is httptools' to judge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from chatload.simulator.http.exchange import Exchange

if TYPE_CHECKING:
    from chatload.simulator.http.protocol import Connection

#: So many header blocks are known at most, of so many bytes each at most.
_MOST, _MOST_BYTES = 512, 1024
_LINE = b"POST / HTTP/1.1\r\n"
_first_line = re.compile(rb"POST (/[!-\"$->@-~]*) HTTP/1\.1\r\n").match
#: Headers after which the bytes that follow may be something else than a body of content-length.
_OTHERWISE = frozenset({b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade", b"expect"})


class KnownHeads:
    """What header blocks mean: each one's headers, and how long the body behind it is (bytes)."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[dict[bytes, bytes], int]] = {}

    def read(self, connection: Connection, data: bytes) -> Exchange | None:
        """The request that `data` is, where it is exactly one, and its headers are known."""
        line = _first_line(data)
        if line is None:
            return None
        start = line.end()
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            return None
        known = self._known.get(data[start:end])
        if known is None:
            self._learn(data[start:end])
            return None
        headers, length = known
        if len(data) != end + 4 + length:
            return None
        exchange = Exchange(connection, headers)
        exchange.method, exchange.path, exchange.keep_alive = b"POST", line[1].decode(), True
        exchange.body, exchange.whole = data[end + 4 :], True
        return exchange

    def _learn(self, block: bytes) -> None:
        if len(block) > _MOST_BYTES or len(self._known) >= _MOST:
            return
        headers = _Headers().of(block)
        length = headers.get(b"content-length", b"") if headers is not None else b""
        if headers is not None and length.isdigit() and not _OTHERWISE & headers.keys():
            self._known[block] = headers, int(length)


class _Headers:
    """What httptools makes of a header block."""

    def __init__(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._complete = False

    def of(self, block: bytes) -> dict[bytes, bytes] | None:
        """Names in lower case; None where it is no such block, or is over before its end."""
        parser = HttpRequestParser(self)
        try:
            parser.feed_data(_LINE + block + b"\r\n")
            if self._complete:
                return None
            parser.feed_data(b"\r\n")
        except (HttpParserError, HttpParserUpgrade):
            return None
        return self._headers if self._complete else None

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """That was the last one."""
        self._complete = True
