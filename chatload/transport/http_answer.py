"""HTTP/1.1 answers read from bytes; no I/O."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from chatload.protocol.wire import MAX_BODY_BYTES, Detail, Failure

#: More head than this (status line, headers, interim answers) is refused (bytes).
MAX_HEAD_BYTES = 64 * 1024
_PACKED = frozenset({b"gzip", b"x-gzip", b"deflate"})
#: Heads that are remembered, and how long each may be (bytes): a server's differ by its clock and their length.
_KNOWN_HEADS, _LONGEST_KNOWN = 256, 2048


class CallFailed(Exception):
    """The call ended in this failure."""

    def __init__(self, failure: Failure, detail: Detail) -> None:
        self.failure: Failure = failure
        self.detail = detail


class Head(NamedTuple):
    """What the head of an answer says. lasting: the connection may be kept. set_cookies: lines as they came."""

    status: int
    lasting: bool
    set_cookies: list[bytes] | None = None


#: An answer that came whole: its head and its body.
Whole = tuple[Head, bytes]


class Answer:
    """What has been read so far of the one answer waited for."""

    __slots__ = (
        "_framed", "_head_bytes", "_head_done", "_lasting", "_packed", "_parser", "_parts", "_set_cookies", "_size",
        "_status", "_surplus", "begun", "done", "plain",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: Any = HttpResponseParser(self)
        self.begun = self.done = self._head_done = self._framed = self._lasting = self._surplus = self._packed = False
        #: It came in one piece, with nothing but one head of its own before the body.
        self.plain = True
        self._status = self._size = self._head_bytes = 0
        self._parts: list[bytes] = []
        self._set_cookies: list[bytes] | None = None

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises CallFailed where that is no answer, or too much of one."""
        if not self._head_done:
            self._head_bytes += len(data)
        if self.begun:
            self.plain = False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self.done:
                raise CallFailed("malformed", Detail.NOT_HTTP) from None
            self._surplus = True  # rubbish after a complete answer: the answer counts
        if self._size > MAX_BODY_BYTES:
            raise CallFailed("malformed", Detail.TOO_LARGE)
        if self._head_bytes > MAX_HEAD_BYTES and not self._head_done and not self.done:
            raise CallFailed("malformed", Detail.HEAD_TOO_LARGE)

    def end(self) -> None:
        """The server closed: the end of an answer that has no other, or the loss of one (CallFailed)."""
        if not self.begun:
            raise CallFailed("connection", Detail.CLOSED)
        if self._framed or not self._head_done:
            raise CallFailed("connection", Detail.CUT_SHORT)
        self.done = True

    def whole(self) -> Whole:
        """The answer, done. Raises CallFailed where it cannot be unpacked."""
        self.let_go()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._packed:
            body = _unpacked(body)
        return Head(self._status, self._lasting and not self._surplus, self._set_cookies), body

    @property
    def heard(self) -> bool:
        """Whether anything came."""
        return self._head_bytes > 0

    def let_go(self) -> None:
        """No more will be read. The parser holds us as we hold it: nothing would free the two while the collector is
        off."""
        self._parser = None

    # -- called by the parser --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.done:
            self._surplus = True
        self.begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.done:
            return
        name = name.lower()
        if name == b"content-length" or name == b"transfer-encoding":
            self._framed = True
        elif name == b"content-encoding":
            self._packed = value.strip().lower() in _PACKED
        elif name == b"set-cookie":
            if self._set_cookies is None:
                self._set_cookies = []
            self._set_cookies.append(value)

    def on_headers_complete(self) -> None:
        if not self.done:
            self._status = self._parser.get_status_code()
            self._head_done = self._status >= 200

    def on_body(self, data: bytes) -> None:
        if not self.done:
            self._size += len(data)
            if self._size <= MAX_BODY_BYTES:
                self._parts.append(data)

    def on_message_complete(self) -> None:
        if self.done:
            return
        if self._status >= 200 or self._status == 101:
            self.done = True
            self._lasting = self._parser.should_keep_alive()  # known only here: llhttp forgets it next
        else:
            self.begun = self._framed = self.plain = False  # an interim answer: the real one is yet to come


class KnownHeads:
    """Heads of answers read before: what a head says of its answer, it says each time.

    A server answers one refresh like the other, so that most of its heads are known, byte for byte: then the body
    is cut off behind the head, and nothing is parsed.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        #: With how long the whole answer is (bytes).
        self._heads: dict[bytes, tuple[Head, int]] = {}

    def read(self, data: bytes) -> Whole | None:
        """The answer in `data`, where its head is known and it is whole; None of any other."""
        text, _, body = data.partition(b"\r\n\r\n")
        known = self._heads.get(text)
        if known is None or len(data) != known[1]:
            return None
        return known[0], body

    def learn(self, data: bytes, answer: Answer, whole: Whole) -> None:
        """`data` was all of an answer."""
        text, _, body = data.partition(b"\r\n\r\n")
        if not answer.plain or whole[0].set_cookies or body != whole[1] or len(text) > _LONGEST_KNOWN:
            return
        if len(self._heads) >= _KNOWN_HEADS:
            self._heads.clear()
        self._heads[text] = (whole[0], len(data))


def _unpacked(body: bytes) -> bytes:
    """A body some proxy compressed unasked, as a browser would read it."""
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # 32: zlib's or gzip's head; then deflate without one
        try:
            unpacked = zlib.decompressobj(wbits).decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if len(unpacked) > MAX_BODY_BYTES:
            raise CallFailed("malformed", Detail.TOO_LARGE)
        return unpacked
    raise CallFailed("malformed", Detail.NOT_UNPACKED)
