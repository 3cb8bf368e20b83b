"""A faulty TCP proxy: between a generator and a real simulator, and it does to requests and answers what a row says."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.integration.rawserver import Peer, RawServer

_BY_PATH = {"refresh": "GetMessages", "send": "SendMessage", "disconnect": "Disconnect"}


@dataclass
class Call:
    """One request that came in. chat: its id, "" of RequestChat; nth: of its operation in its chat, from 1;
    connection: from 0, of its proxy; kept: its connection has carried a request before."""

    proxy: Proxy
    peer: Peer
    request: bytes
    operation: str
    chat: str
    nth: int
    connection: int
    kept: bool

    def body(self) -> bytes:
        """What the simulator behind answers."""
        return self.proxy.fetch(self)

    def answer(self) -> None:
        """Let request and answer through."""
        self.say(http_answer(self.body()))

    def say(self, data: bytes) -> None:
        """Send these bytes in place of an answer."""
        self.peer.send(data)

    def close(self) -> None:
        """End the connection properly (FIN)."""
        self.peer.close()

    def reset(self) -> None:
        """End it with a TCP reset."""
        self.peer.reset()


#: What is done to a call.
Deed = Callable[[Call], None]


def http_answer(body: bytes, first: str = "HTTP/1.1 200 OK", *headers: str, length: int | None = None) -> bytes:
    """A whole answer; length: what it says of its body, where that is not true."""
    lines = [first, "Content-Type: application/json", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


class Proxy(RawServer):
    """A RawServer whose script is to let through, but where `deed` has something else in mind.

    deed: called for every request; it answers as it likes. welcome: called with a new connection's Peer.
    """

    def __init__(self, upstream: str, deed: Deed, welcome: Callable[[Peer], None] | None = None, **more: Any) -> None:
        super().__init__(self._serve_peer, **more)
        self.upstream = urlsplit(upstream).netloc
        self._deed, self._welcome = deed, welcome
        self.calls: list[Call] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.lock = threading.Lock()
        self._peers: list[Peer] = []
        self._first_chat_at: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the first RequestChat came in; 0 before it."""
        return 0.0 if self._first_chat_at is None else time.monotonic() - self._first_chat_at

    def fetch(self, call: Call) -> bytes:
        """The body of the right answer: the upstream's."""
        head, _, body = call.request.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        upstream = http.client.HTTPConnection(self.upstream, timeout=10)
        upstream.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = upstream.getresponse().read()
        upstream.close()
        return answer

    def _serve_peer(self, peer: Peer, number: int) -> None:
        self._peers.append(peer)
        if self._welcome is not None:
            self._welcome(peer)
        kept = False
        while request := peer.read():
            call = self._call(peer, request, number, kept)
            kept = True
            self._deed(call)

    def _call(self, peer: Peer, request: bytes, number: int, kept: bool) -> Call:
        path = request.split(b" ", 2)[1].decode().rstrip("/").split("/")
        operation = _BY_PATH.get(path[-1], "RequestChat")
        chat = "" if operation == "RequestChat" else path[-2]
        with self.lock:
            if operation == "RequestChat" and self._first_chat_at is None:
                self._first_chat_at = time.monotonic()
            self.counts[chat, operation] += 1
            call = Call(self, peer, request, operation, chat, self.counts[chat, operation], number, kept)
            self.calls.append(call)
        return call

    def go(self) -> None:
        """Be gone, as a server that was killed: no listener, and every connection reset."""
        self.stop_listening()
        for peer in self._peers:
            try:
                peer.reset()
            except OSError:
                continue


def let_through(call: Call) -> None:
    """No fault."""
    call.answer()


def at(operation: str, deed: Deed, *nths: int) -> Deed:
    """The deed for these of an operation's requests in each chat (all where none is given); others pass."""

    def act(call: Call) -> None:
        if call.operation == operation and (not nths or call.nth in nths):
            deed(call)
        else:
            call.answer()

    return act
