"""HTTP/1.1 messages as bytes, without I/O: requests are serialized, answers parsed, cookies kept."""

import logging
import re
import zlib
from collections.abc import Iterable
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from chatload.protocol.wire import MAX_BODY_BYTES, Detail, Failure, WireRequest
from chatload.transport.endpoint import Endpoint, Headers, safe_target

log = logging.getLogger("chatload")

#: A longer head (status line, headers, interim answers) is refused (bytes).
MAX_HEAD_BYTES = 64 * 1024
_PACKED = frozenset({b"gzip", b"x-gzip", b"deflate"})
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
#: Number of cached answer heads, and the greatest length of each (bytes). The heads of one server differ only by the
#: date and the content length.
_CACHED_HEADS, _LONGEST_CACHED = 256, 2048
#: Number of cached blocks of request headers. There are few, unless each chat has a token of its own.
_MOST_BLOCKS = 4096
#: Limits for the cookies of a chat, because a process holds thousands of chats: number, bytes of each (both as in
#: browsers, RFC 6265, 6.1), and bytes of all together (more than most servers accept). Bytes count name and value.
_MAX_COOKIES, _MAX_BYTES, _MAX_TOTAL_BYTES = 50, 4096, 16 * 1024
_COOKIE_DELETED = re.compile(rb"(?i)(?:^|;)\s*max-age\s*=\s*(?:-|0+\s*(?:;|$))")
_cookie_limit_logged = False


class CallFailed(Exception):
    """A call ended without an answer that can be used."""

    def __init__(self, failure: Failure, detail: Detail) -> None:
        self.failure: Failure = failure
        self.detail = detail


class SharedHeads:
    """Heads that all chats of a process share: the serialized request headers and the cache of answer heads."""

    __slots__ = ("_blocks", "_fixed", "_prefix", "answers")

    def __init__(self, endpoint: Endpoint) -> None:
        self._prefix = endpoint.prefix
        self._fixed: Headers = (("Host", endpoint.authority), ("Accept-Encoding", "identity"), *endpoint.headers)
        self._blocks: dict[Headers, bytes] = {}
        self.answers = AnswerHeadCache()

    def message(self, request: WireRequest, cookie_line: bytes) -> bytes:
        """Return the complete request as it is sent."""
        body, headers = request.body, request.headers
        block = self._blocks.get(headers)
        if block is None:
            lines = (f"{name}: {value}".replace("\r", " ").replace("\n", " ") for name, value in self._fixed + headers)
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            block = self._blocks[headers] = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")
        first = f"{request.method} {safe_target(self._prefix + request.path)} HTTP/1.1\r\n".encode("ascii")
        if not body and request.method in _BODILESS:
            return b"%b%b%b\r\n" % (first, block, cookie_line)
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (first, block, cookie_line, len(body), body)


class Head(NamedTuple):
    """The head of an answer. keep_alive: the connection may be used again. set_cookies: values as received."""

    status: int
    keep_alive: bool
    set_cookies: list[bytes] | None = None


#: A complete answer: head and body.
Whole = tuple[Head, bytes]


class AnswerParser:
    """Parses one answer, piece by piece.

    head_bytes: received until its head ended. begun: its first byte was read. done: it is complete. plain: it came in
    one piece and without interim answers.
    """

    __slots__ = (
        "_framed", "_head_done", "_keep_alive", "_packed", "_parser", "_parts", "_set_cookies", "_size", "_status",
        "_surplus", "begun", "done", "head_bytes", "plain",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser: Any = HttpResponseParser(self)
        self.begun = self.done = self._head_done = self._framed = False
        self._keep_alive = self._surplus = self._packed = False
        self.plain = True
        self._status = self._size = self.head_bytes = 0
        self._parts: list[bytes] = []
        self._set_cookies: list[bytes] | None = None

    def feed(self, data: bytes) -> None:
        """Parse received bytes. Raises CallFailed if they are not HTTP or too many."""
        if not self._head_done:
            self.head_bytes += len(data)
        if self.begun:
            self.plain = False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self.done:
                raise CallFailed("malformed", Detail.NOT_HTTP) from None
            self._surplus = True  # bytes after a complete answer do not invalidate it
        if self._size > MAX_BODY_BYTES:
            raise CallFailed("malformed", Detail.TOO_LARGE)
        if self.head_bytes > MAX_HEAD_BYTES and not self._head_done and not self.done:
            raise CallFailed("malformed", Detail.HEAD_TOO_LARGE)

    def end(self) -> None:
        """Handle the end of the connection: it completes an answer without length, else CallFailed is raised."""
        if not self.begun:
            raise CallFailed("connection", Detail.CLOSED)
        if self._framed or not self._head_done:
            raise CallFailed("connection", Detail.CUT_SHORT)
        self.done = True

    def result(self) -> Whole:
        """Return the complete answer. Raises CallFailed if it cannot be decompressed."""
        self.release()
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._packed:
            body = _unpacked(body)
        return Head(self._status, self._keep_alive and not self._surplus, self._set_cookies), body

    def release(self) -> None:
        """Break the reference cycle with the parser: garbage collection is off during a run."""
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
            self._keep_alive = self._parser.should_keep_alive()  # asked here: later llhttp cannot tell
        else:
            self.begun = self._framed = self.plain = False  # an interim answer: the final one follows


class AnswerHeadCache:
    """Caches the heads of earlier answers, so that an answer with the same head is not parsed again.

    The answers to refreshes repeat byte for byte. A known head tells where the body begins and how long it is.
    """

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        #: Head as received -> parsed head, and length of the complete answer (bytes).
        self._heads: dict[bytes, tuple[Head, int]] = {}

    def read(self, data: bytes) -> Whole | None:
        """Return the answer in `data` if its head is known and it is complete, else None."""
        text, _, body = data.partition(b"\r\n\r\n")
        known = self._heads.get(text)
        if known is None or len(data) != known[1]:
            return None
        return known[0], body

    def learn(self, data: bytes, answer: AnswerParser, whole: Whole) -> None:
        """Remember the head of an answer. data: the complete answer as received."""
        text, _, body = data.partition(b"\r\n\r\n")
        if not answer.plain or whole[0].set_cookies or body != whole[1] or len(text) > _LONGEST_CACHED:
            return
        if len(self._heads) >= _CACHED_HEADS:
            self._heads.clear()
        self._heads[text] = (whole[0], len(data))


def _unpacked(body: bytes) -> bytes:
    """Decompress a body that a proxy compressed although we did not ask for it, as a browser would."""
    for wbits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # 32: zlib or gzip header; then raw deflate
        try:
            unpacked = zlib.decompressobj(wbits).decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error:
            continue
        if len(unpacked) > MAX_BODY_BYTES:
            raise CallFailed("malformed", Detail.TOO_LARGE)
        return unpacked
    raise CallFailed("malformed", Detail.NOT_UNPACKED)


def keep_cookies(jar: dict[bytes, bytes], lines: Iterable[bytes]) -> bytes:
    """Store Set-Cookie lines in `jar` and return the Cookie header line to send, empty if there are no cookies.

    Load balancers bind a chat to a server by its cookies. Of the attributes only Max-Age matters: a server deletes a
    cookie with it.
    """
    for line in lines:
        pair, _, attributes = line.partition(b";")
        name, equals, value = pair.strip().partition(b"=")
        if not equals or not name:
            continue
        if _COOKIE_DELETED.search(attributes):
            jar.pop(name, None)
        elif _fits(len(name) + len(value), [len(key) + len(held) for key, held in jar.items() if key != name]):
            jar[name] = value
    pairs = b"; ".join(b"%b=%b" % pair for pair in jar.items())
    return b"Cookie: %b\r\n" % pairs if pairs else b""


class BoundedPolicy(DefaultCookiePolicy):
    """Applies the limits of `keep_cookies` to a cookie jar of http.cookiejar."""

    def __init__(self, jar: Iterable[Any]) -> None:
        super().__init__()
        self._jar = jar

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        if not super().set_ok(cookie, request):
            return False
        place = (cookie.name, cookie.domain, cookie.path)
        others = [_size(held) for held in self._jar if (held.name, held.domain, held.path) != place]
        return _fits(_size(cookie), others)


def _size(cookie: Cookie) -> int:
    return len(cookie.name) + len(cookie.value or "")


def _fits(size: int, others: list[int]) -> bool:
    """Return whether a cookie of `size` bytes is stored beside others. The first refusal in a process is logged."""
    global _cookie_limit_logged
    if size <= _MAX_BYTES and len(others) < _MAX_COOKIES and size + sum(others) <= _MAX_TOTAL_BYTES:
        return True
    if not _cookie_limit_logged:
        _cookie_limit_logged = True
        log.warning(
            "chatload: the server sets more cookies than are stored: the limits are %d per chat, %d bytes each and %d "
            "bytes in all; further cookies are not sent back",
            *(_MAX_COOKIES, _MAX_BYTES, _MAX_TOTAL_BYTES),
        )
    return False
