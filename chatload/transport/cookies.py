"""The cookies of a chat: load balancers stick chats by them. Bounded, for a process holds thousands of chats."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import Any

log = logging.getLogger("chatload")

#: How many, how long each may be, as in browsers (RFC 6265, 6.1), and all together: more than most servers take in a
#: request (bytes of name and value).
_MAX_COOKIES, _MAX_BYTES, _MAX_TOTAL_BYTES = 50, 4096, 16 * 1024
_TAKEN_BACK = re.compile(rb"(?i)(?:^|;)\s*max-age\s*=\s*(?:-|0+\s*(?:;|$))")
_said = False


def keep_cookies(jar: dict[bytes, bytes], lines: Iterable[bytes]) -> bytes:
    """Put what Set-Cookie lines say into the jar; gives the line to send back, b"" where there is none.

    Attributes do not matter but for Max-Age, with which a server takes a cookie back.
    """
    for line in lines:
        pair, _, attributes = line.partition(b";")
        name, equals, value = pair.strip().partition(b"=")
        if not equals or not name:
            continue
        if _TAKEN_BACK.search(attributes):
            jar.pop(name, None)
        elif _fits(len(name) + len(value), [len(key) + len(held) for key, held in jar.items() if key != name]):
            jar[name] = value
    pairs = b"; ".join(b"%b=%b" % pair for pair in jar.items())
    return b"Cookie: %b\r\n" % pairs if pairs else b""


class BoundedPolicy(DefaultCookiePolicy):
    """The same bounds for a jar of http.cookiejar's."""

    def __init__(self, jar: Iterable[Any]) -> None:
        super().__init__()
        self._jar = jar

    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        """Whether a cookie is kept."""
        if not super().set_ok(cookie, request):
            return False
        place = (cookie.name, cookie.domain, cookie.path)
        others = [_size(held) for held in self._jar if (held.name, held.domain, held.path) != place]
        return _fits(_size(cookie), others)


def _size(cookie: Cookie) -> int:
    return len(cookie.name) + len(cookie.value or "")


def _fits(size: int, others: list[int]) -> bool:
    """Whether a cookie of so many bytes is kept beside others; where not, that is said, once in a process."""
    global _said
    if size <= _MAX_BYTES and len(others) < _MAX_COOKIES and size + sum(others) <= _MAX_TOTAL_BYTES:
        return True
    if not _said:
        _said = True
        log.warning(
            "chatload: the server sets more cookies than are kept: %d a chat, %d bytes each, %d bytes in all; the rest "
            "is not sent back",
            *(_MAX_COOKIES, _MAX_BYTES, _MAX_TOTAL_BYTES),
        )
    return False
