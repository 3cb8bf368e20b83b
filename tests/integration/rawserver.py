"""A TCP server that does exactly what a test tells it to, faults included; one thread a connection."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """One accepted connection, from the server's side."""

    def __init__(self, server: RawServer, sock: Any) -> None:
        self._server, self._sock, self._unread = server, sock, b""

    def read(self) -> bytes:
        """One request, whole; b"" where the client has closed."""
        while b"\r\n\r\n" not in self._unread:
            if not self._more():
                return b""
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            if not self._more():
                return b""
            rest = self._unread.partition(b"\r\n\r\n")[2]
        self._unread = rest[length:]
        request = head + b"\r\n\r\n" + rest[:length]
        self._server.seen.append((time.monotonic(), request))
        return request

    def read_bytes(self, count: int) -> None:
        """So many bytes, whatever they are."""
        while len(self._unread) < count and self._more():
            pass

    def _more(self) -> bool:
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""
        self._unread += data
        return bool(data)

    def send(self, data: bytes) -> bool:
        """Whether the client still took it."""
        try:
            self._sock.sendall(data)
        except OSError:
            return False
        return True

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        self._sock.close()


def stop_listening(listener: socket.socket) -> None:
    """Close a listener that a thread accepts from.

    Closing alone leaves the thread in accept(). If the process is stopped and continued, the kernel restarts the call
    with the number of a file that may be the listener of another server by then, and the thread takes its connections.
    """
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@dataclass
class RawServer:
    """Runs `script(peer, n)` for the nth connection (from 0); closes it afterwards."""

    script: Callable[[Peer, int], None]
    context: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    seen: list[tuple[float, bytes]] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> RawServer:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self.port = self._listener.getsockname()[1]
        scheme = "https" if self.context else "http"
        self.url = f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()

    def stop_listening(self) -> None:
        """Accept no more connections; the open ones stay. May be called again."""
        stop_listening(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number, self.connections = self.connections, self.connections + 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: Any, number: int) -> None:
        try:
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
            self.script(Peer(self, sock), number)
        except OSError:
            pass
        finally:
            sock.close()


def answering(*answers: bytes) -> Callable[[Peer, int], None]:
    """A script: every request of every connection gets the next of these; the last one repeats."""
    left = list(answers)

    def script(peer: Peer, _: int) -> None:
        while peer.read():
            peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def once(answer: bytes, *, reset: bool = False) -> Callable[[Peer, int], None]:
    """A script: read one request, send these bytes, close (or reset) the connection."""

    def script(peer: Peer, _: int) -> None:
        if peer.read():
            peer.send(answer)
            if reset:
                time.sleep(0.05)  # let the bytes be read before the reset discards them
                peer.reset()

    return script
