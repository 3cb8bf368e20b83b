"""The few cookies a chat needs: load balancers stick chats by them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAX_COOKIES = 50
_TAKEN_BACK = re.compile(rb"(?i)(?:^|;)\s*max-age\s*=\s*(?:-|0+\s*(?:;|$))")


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
        elif name in jar or len(jar) < _MAX_COOKIES:
            jar[name] = value
    pairs = b"; ".join(b"%b=%b" % pair for pair in jar.items())
    return b"Cookie: %b\r\n" % pairs if pairs else b""
